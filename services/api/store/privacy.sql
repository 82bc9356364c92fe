-- name: in_emergency
SELECT EXISTS (
    SELECT FROM emergency_access WHERE person_id = $1 AND account_id = $2 AND at <= now() AND until > now()
)

-- name: opened_by_emergency
SELECT DISTINCT person_id FROM emergency_access WHERE account_id = $1 AND at <= now() AND until > now()

-- name: consents_of
SELECT k.device_no, consents_now(k.vitals, k.location) AS consents, nullif(k.worn_since, '-infinity') AS worn_since
FROM device_consent AS k JOIN device AS d ON d.device_no = k.device_no
WHERE d.community_id = $1

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
LEFT JOIN device_states($1) AS s ON s.device_no = d.device_no
LEFT JOIN device_consent AS k ON k.device_no = d.device_no
WHERE d.community_id = $1 AND d.retired_at IS NULL
  AND (d.person_id = ANY ($2::text[]) OR d.household_id = ANY ($3::text[]) AND d.kind = ANY ($4::text[]))
ORDER BY d.device_no

-- name: elder_alerts
SELECT a.device_no, a.rule_id, a.active_rules, a.severity, a.life_safety, a.title_zh, a.title_en, a.fired_at
FROM alert AS a
WHERE a.device_no = ANY ($1::integer[]) AND a.state <> 'cleared' AND NOT a.shadow
  AND a.fired_at >= worn_since(a.device_no)
ORDER BY a.fired_at, a.id

-- name: baselines
SELECT device_no, metric, mean, spread FROM vital_baseline
WHERE device_no = ANY ($1::integer[]) AND refreshed_at >= worn_since(device_no)

-- name: elder
SELECT p.id, p.community_id, p.name, p.phone, p.birth_year, p.tags, p.away_until, p.household_id, p.account_id,
       p.guardian_id, b.id AS building_id, b.name AS building, u.name AS unit, h.room, b.grid_id
FROM person AS p
LEFT JOIN household AS h ON h.id = p.household_id
LEFT JOIN unit AS u ON u.id = h.unit_id
LEFT JOIN building AS b ON b.id = u.building_id
WHERE p.id = $1 AND p.erased_at IS NULL

-- name: life_events
SELECT e.ts AS at, d.kind, e.event
FROM device_events($3, $1::integer[], $2, 200) AS e JOIN device AS d ON d.device_no = e.device_no
ORDER BY e.ts DESC

-- name: life_alerts
SELECT a.fired_at AS at, a.rule_id, a.active_rules, a.title_zh, a.title_en
FROM alert AS a
WHERE a.device_no = ANY ($1::integer[]) AND a.fired_at > $2 AND a.community_id = $3 AND NOT a.shadow
  AND a.fired_at >= worn_since(a.device_no)
ORDER BY a.fired_at DESC LIMIT 100

-- name: life_answers
SELECT n.answered_at AS at, n.ok, n.note
FROM alert_answer AS n JOIN alert AS a ON a.id = n.alert_id
WHERE a.device_no = ANY ($1::integer[]) AND n.answered_at > $2 AND a.community_id = $3
  AND a.fired_at >= worn_since(a.device_no)
ORDER BY n.answered_at DESC LIMIT 100

-- name: visits
SELECT o.id, o.number, o.title_zh, o.title_en, o.severity, o.state, o.created_at, o.arrived_at, o.closed_at, a.rule_id
FROM work_order AS o LEFT JOIN alert AS a ON a.id = o.alert_id
WHERE o.device_no = ANY ($1::integer[]) AND o.created_at >= worn_since(o.device_no)
ORDER BY o.created_at DESC LIMIT 50

-- name: contacts_whole
SELECT c.id, c.name, c.relation, c.position, min(n.address) FILTER (WHERE n.sort IN ('sms', 'phone')) AS phone
FROM person_contact AS c LEFT JOIN contact_channel AS n ON n.contact_id = c.id
WHERE c.person_id = $1
GROUP BY c.id ORDER BY c.position, c.created_at

-- name: half_hours
SELECT bucket, mean AS value FROM readings_bucketed($5, $1, $4, $2, $3, '30 minutes')

-- name: bands_of_community
SELECT d.device_no
FROM device AS d JOIN device_consent AS k ON k.device_no = d.device_no AND k.vitals @> now()
WHERE d.community_id = $1 AND d.kind = 'wristband' AND d.retired_at IS NULL

-- name: stale_communities
SELECT c.id, c.timezone FROM community AS c
WHERE EXISTS (
    SELECT FROM device AS d
    JOIN device_consent AS k ON k.device_no = d.device_no AND k.vitals @> now()
    LEFT JOIN vital_baseline AS v ON v.device_no = d.device_no AND v.metric = 'heart_rate'
    WHERE d.community_id = c.id AND d.kind = 'wristband' AND d.retired_at IS NULL
      AND (v.refreshed_at IS NULL OR v.refreshed_at < $1)
)
ORDER BY c.id

-- name: put_baselines
INSERT INTO vital_baseline (device_no, metric, mean, spread, days, refreshed_at)
SELECT r.device_no, $2, avg(r.mean), coalesce(stddev_samp(r.mean), 0), count(*), $6
FROM rollup_of($1, 'wristband', $3::integer[], $2, $4, $5, 'day') AS r
WHERE r.mean IS NOT NULL
GROUP BY r.device_no
HAVING count(*) >= 3
ON CONFLICT (device_no, metric) DO UPDATE
    SET mean = excluded.mean, spread = excluded.spread, days = excluded.days, refreshed_at = excluded.refreshed_at

-- name: drop_baselines
DELETE FROM vital_baseline AS v
USING device AS d
LEFT JOIN device_consent AS k ON k.device_no = d.device_no
WHERE d.device_no = v.device_no AND (d.retired_at IS NOT NULL OR NOT coalesce(k.vitals @> now(), false))
