-- name: in_emergency
SELECT EXISTS (
    SELECT FROM emergency_access WHERE person_id = $1 AND account_id = $2 AND at <= now() AND until > now()
)

-- name: elders
SELECT p.id, p.name, p.birth_year, p.tags, p.away_until, p.household_id, b.id AS building_id, b.name AS building,
       b.grid_id
FROM person AS p
LEFT JOIN household AS h ON h.id = p.household_id
LEFT JOIN unit AS u ON u.id = h.unit_id
LEFT JOIN building AS b ON b.id = u.building_id
WHERE p.community_id = $1 AND p.erased_at IS NULL AND p.moved_out_at IS NULL
  AND (p.tags @> ARRAY[$2::text]
       OR p.id = ANY (ARRAY(SELECT d.person_id FROM device AS d
                            WHERE d.community_id = $1 AND d.person_id IS NOT NULL AND d.retired_at IS NULL)))
  AND ($3::text IS NULL OR b.grid_id = $3)
ORDER BY p.id

-- name: elder_devices
SELECT d.device_no, d.id, d.kind, d.person_id, d.household_id, s.online, s.vals, s.vals_ts, s.last_event,
       s.last_event_ts, consents_now(k.vitals, k.location) AS consents
FROM device AS d
LEFT JOIN device_state AS s ON s.device_no = d.device_no
LEFT JOIN device_consent AS k ON k.device_no = d.device_no
WHERE d.community_id = $1 AND d.retired_at IS NULL
  AND (d.person_id = ANY ($2::text[]) OR d.household_id = ANY ($3::text[]) AND d.kind = ANY ($4::text[]))
ORDER BY d.device_no

-- name: elder_alerts
SELECT a.device_no, a.rule_id, a.active_rules, a.severity, a.life_safety, a.title_zh, a.title_en, a.fired_at
FROM alert AS a
WHERE a.device_no = ANY ($1::integer[]) AND a.state <> 'cleared' AND NOT a.shadow
ORDER BY a.fired_at, a.id

-- name: baselines
SELECT device_no, metric, mean, spread FROM vital_baseline WHERE device_no = ANY ($1::integer[])
