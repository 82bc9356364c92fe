-- name: sites
-- The communities that an account bound like this reaches.
SELECT id, name, latitude, longitude FROM community
WHERE CASE WHEN $1::text IS NOT NULL THEN id = $1 WHEN $2::text IS NOT NULL THEN street_id = $2 ELSE $3::boolean END
ORDER BY id

-- name: granted
-- What an administrator has granted the account, by all of its subscriptions that stand.
SELECT DISTINCT unnest(classes) AS class FROM city_subscription WHERE account_id = $1 AND state = 'active'

-- name: marks
SELECT DISTINCT mark FROM city_subscription WHERE account_id = $1 AND state = 'active'

-- name: site_of_alert
SELECT c.id, c.name, c.latitude, c.longitude FROM alert AS a JOIN community AS c ON c.id = a.community_id WHERE a.id = $1

-- name: holding
-- In which communities these devices and alerts are.
SELECT community_id FROM device WHERE id = ANY ($1::text[])
UNION SELECT community_id FROM alert WHERE id = ANY ($2::uuid[])

-- name: devices
-- Nobody's: what somebody wears or carries is left out here, whatever the kind.
WITH wanted AS (
    SELECT d.device_no, d.id, d.kind, d.name, d.place, d.x, d.y, d.tags,
           d.household_id IS NOT NULL OR d.unit_id IS NOT NULL AS at_home
    FROM device AS d
    WHERE d.community_id = $1 AND d.retired_at IS NULL AND d.person_id IS NULL AND d.kind = ANY ($2::text[])
      AND ($3::text[] IS NULL OR d.id = ANY ($3))
)
SELECT w.id, w.kind, w.name, w.place, w.x, w.y, w.tags, w.at_home, coalesce(s.online, false) AS online, s.last_seen_at,
       s.vals_ts, s.vals
FROM wanted AS w
LEFT JOIN device_states($1, ARRAY(SELECT device_no FROM wanted)) AS s ON s.device_no = w.device_no
ORDER BY w.id

-- name: alerts
-- Those that are open; of those that are named, the ones that are over as well.
SELECT a.id, a.kind, a.rule_id, a.active_rules, a.severity, a.state, a.team, a.life_safety, a.title_zh, a.title_en, a.why_zh,
       a.why_en, a.place, CASE WHEN d.person_id IS NULL THEN d.id END AS device_id, a.onset_at, a.fired_at, a.last_at,
       a.cleared_at, a.occurrences
FROM alert AS a LEFT JOIN device AS d ON d.device_no = a.device_no
WHERE a.community_id = $1 AND NOT a.shadow
  AND CASE WHEN $2::uuid[] IS NULL THEN a.state <> 'cleared' ELSE a.id = ANY ($2) END
ORDER BY a.id
