-- name: user_by_username
SELECT id, username, password_hash, display_name, role, team, community_id, street_id, grid_id, household_id,
       leads, disabled_at IS NOT NULL AS disabled, must_change, password_until
FROM app_user WHERE username = $1 AND NOT service

-- name: users_by_ids
SELECT id, username, password_hash, display_name, role, team, community_id, street_id, grid_id, household_id,
       leads, disabled_at IS NOT NULL AS disabled, must_change, password_until
FROM app_user WHERE id = ANY ($1::text[])

-- name: workers_by_ids
SELECT id, username, display_name, role, team, community_id, street_id, grid_id, household_id, leads,
       disabled_at IS NOT NULL AS disabled
FROM app_user WHERE id = ANY ($1::text[])

-- name: communities
SELECT c.id, c.name, s.city, s.district, s.name AS street, c.street_id, c.households, c.residents, c.latitude,
       c.longitude, c.timezone
FROM community AS c JOIN street AS s ON s.id = c.street_id
WHERE ($1::text IS NULL OR c.id = $1) AND ($2::text IS NULL OR c.street_id = $2)
ORDER BY c.id

-- name: plan
SELECT plan FROM community WHERE id = $1

-- name: plan_version
SELECT plan_version FROM community WHERE id = $1

-- name: buildings
SELECT id, name, floors, x, y, width, depth, grid_id FROM building WHERE community_id = $1 ORDER BY id

-- name: devices_of_community
SELECT d.device_no, d.id, d.community_id, d.kind, d.name, d.place, d.x, d.y, d.floor, b.id AS building_id,
       g.id AS gateway_id, d.household_id, coalesce(d.grid_id, b.grid_id) AS grid_id, d.tags,
       coalesce(s.online, false) AS online, s.last_seen_at, s.vals_ts, s.vals, s.last_event, s.last_event_ts,
       consents_now(k.vitals, k.location) AS consents
FROM device AS d
LEFT JOIN device_states($1) AS s ON s.device_no = d.device_no
LEFT JOIN device AS g ON g.device_no = d.gateway_no
LEFT JOIN household AS h ON h.id = d.household_id
LEFT JOIN unit AS u ON u.id = coalesce(d.unit_id, h.unit_id)
LEFT JOIN building AS b ON b.id = coalesce(d.building_id, u.building_id)
LEFT JOIN device_consent AS k ON k.device_no = d.device_no
WHERE d.community_id = $1 AND d.retired_at IS NULL
  AND ($2::text IS NULL OR d.kind = $2)
  AND ($3::text IS NULL OR b.id = $3)
  AND ($4::text IS NULL OR d.id > $4)
ORDER BY d.id
LIMIT $5

-- name: device_by_id
SELECT d.device_no, d.id, d.community_id, d.kind, d.name, d.place, d.x, d.y, d.floor, b.id AS building_id,
       g.id AS gateway_id, d.household_id, d.person_id, coalesce(d.grid_id, b.grid_id) AS grid_id, d.tags,
       coalesce(s.online, false) AS online, s.last_seen_at, s.vals_ts, s.vals, s.last_event, s.last_event_ts,
       consents_now(k.vitals, k.location) AS consents
FROM device AS d
LEFT JOIN LATERAL device_states(d.community_id, ARRAY[d.device_no]) AS s ON true
LEFT JOIN device AS g ON g.device_no = d.gateway_no
LEFT JOIN household AS h ON h.id = d.household_id
LEFT JOIN unit AS u ON u.id = coalesce(d.unit_id, h.unit_id)
LEFT JOIN building AS b ON b.id = coalesce(d.building_id, u.building_id)
LEFT JOIN device_consent AS k ON k.device_no = d.device_no
WHERE d.id = $1 AND d.retired_at IS NULL

-- name: device_changes
SELECT d.device_no, d.id, d.kind, coalesce(d.grid_id, b.grid_id) AS grid_id, s.online, s.last_seen_at,
       CASE WHEN s.vals_ts < k.worn_since THEN NULL ELSE s.vals_ts END AS vals_ts,
       vals_since(s.vals, s.vals_ts, s.vals_at, k.worn_since) AS vals,
       CASE WHEN s.last_event_ts < k.worn_since THEN NULL ELSE s.last_event END AS last_event,
       CASE WHEN s.last_event_ts < k.worn_since THEN NULL ELSE s.last_event_ts END AS last_event_ts,
       consents_now(k.vitals, k.location) AS consents
FROM device AS d
JOIN device_state AS s ON s.device_no = d.device_no
LEFT JOIN household AS h ON h.id = d.household_id
LEFT JOIN unit AS u ON u.id = coalesce(d.unit_id, h.unit_id)
LEFT JOIN building AS b ON b.id = coalesce(d.building_id, u.building_id)
LEFT JOIN device_consent AS k ON k.device_no = d.device_no
WHERE d.community_id = $1 AND d.retired_at IS NULL
  AND ($2::timestamptz IS NULL OR s.last_seen_at >= $2 OR NOT s.online OR k.changed_at >= $2)
ORDER BY d.device_no

-- name: alerts_open
SELECT a.*, d.id AS device_id, coalesce(d.grid_id, b.grid_id) AS grid_id,
       consents_now(k.vitals, k.location, k.worn_since, a.fired_at) AS consents
FROM alert AS a
LEFT JOIN device AS d ON d.device_no = a.device_no
LEFT JOIN building AS b ON b.id = a.building_id
LEFT JOIN device_consent AS k ON k.device_no = d.device_no
WHERE a.community_id = $1 AND a.state <> 'cleared'
  AND a.shadow = $6
  AND ($2::text IS NULL OR d.id = $2)
  AND ($3::timestamptz IS NULL OR (a.fired_at, a.id) < ($3, $4::uuid))
ORDER BY a.fired_at DESC, a.id DESC
LIMIT $5

-- name: alerts_all
SELECT a.*, d.id AS device_id, coalesce(d.grid_id, b.grid_id) AS grid_id,
       consents_now(k.vitals, k.location, k.worn_since, a.fired_at) AS consents
FROM alert AS a
LEFT JOIN device AS d ON d.device_no = a.device_no
LEFT JOIN building AS b ON b.id = a.building_id
LEFT JOIN device_consent AS k ON k.device_no = d.device_no
WHERE a.community_id = $1
  AND a.shadow = $6
  AND ($2::text IS NULL OR d.id = $2)
  AND ($3::timestamptz IS NULL OR (a.fired_at, a.id) < ($3, $4::uuid))
ORDER BY a.fired_at DESC, a.id DESC
LIMIT $5

-- name: alerts_by_ids
SELECT a.*, d.id AS device_id, coalesce(d.grid_id, b.grid_id) AS grid_id,
       consents_now(k.vitals, k.location, k.worn_since, a.fired_at) AS consents
FROM alert AS a
LEFT JOIN device AS d ON d.device_no = a.device_no
LEFT JOIN building AS b ON b.id = a.building_id
LEFT JOIN device_consent AS k ON k.device_no = d.device_no
WHERE a.id = ANY ($1::uuid[])

-- name: orders_open
SELECT o.*, d.id AS device_id, p.display_name AS assignee, a.rule_id,
       coalesce(o.grid_id, d.grid_id, b.grid_id) AS place_grid_id,
       consents_now(k.vitals, k.location, k.worn_since, o.created_at) AS consents
FROM work_order AS o
LEFT JOIN device AS d ON d.device_no = o.device_no
LEFT JOIN building AS b ON b.id = o.building_id
LEFT JOIN app_user AS p ON p.id = o.assignee_id
LEFT JOIN alert AS a ON a.id = o.alert_id
LEFT JOIN device_consent AS k ON k.device_no = d.device_no
WHERE o.community_id = $1 AND o.state NOT IN ('closed', 'cancelled', 'false_alarm', 'merged')
  AND ($2::uuid IS NULL OR o.alert_id = $2)
  AND ($3::timestamptz IS NULL OR (o.created_at, o.id) < ($3, $4::uuid))
  AND ($6::text IS NULL OR o.state = $6)
  AND ($7::text IS NULL OR o.team = $7)
  AND ($8::text IS NULL OR o.assignee_id = $8)
  AND ($9::text IS NULL OR o.class_id = $9
       AND (a.rule_id IS NULL OR split_part(a.rule_id, '.', 1) <> ALL ($14::text[])
            OR (coalesce(o.grid_id, d.grid_id, b.grid_id) = $15::text OR $15::text = '*') AND k.vitals @> now()
               AND o.created_at >= k.worn_since))
  AND ($10::text IS NULL OR o.source = $10)
  AND ($11::text IS NULL OR o.severity = $11)
  AND ($12::text IS NULL OR o.building_id = $12)
  AND ($13::text IS NULL OR o.number::text = $13 OR position(lower($13) IN lower(o.place)) > 0
       OR position(lower($13) IN lower(o.title_zh || ' ' || o.title_en)) > 0
          AND (a.rule_id IS NULL OR split_part(a.rule_id, '.', 1) <> ALL ($14::text[])
               OR (coalesce(o.grid_id, d.grid_id, b.grid_id) = $15::text OR $15::text = '*') AND k.vitals @> now()
               AND o.created_at >= k.worn_since))
ORDER BY o.created_at DESC, o.id DESC
LIMIT $5

-- name: orders_all
SELECT o.*, d.id AS device_id, p.display_name AS assignee, a.rule_id,
       coalesce(o.grid_id, d.grid_id, b.grid_id) AS place_grid_id,
       consents_now(k.vitals, k.location, k.worn_since, o.created_at) AS consents
FROM work_order AS o
LEFT JOIN device AS d ON d.device_no = o.device_no
LEFT JOIN building AS b ON b.id = o.building_id
LEFT JOIN app_user AS p ON p.id = o.assignee_id
LEFT JOIN alert AS a ON a.id = o.alert_id
LEFT JOIN device_consent AS k ON k.device_no = d.device_no
WHERE o.community_id = $1
  AND ($2::uuid IS NULL OR o.alert_id = $2)
  AND ($3::timestamptz IS NULL OR (o.created_at, o.id) < ($3, $4::uuid))
  AND ($6::text IS NULL OR o.state = $6)
  AND ($7::text IS NULL OR o.team = $7)
  AND ($8::text IS NULL OR o.assignee_id = $8)
  AND ($9::text IS NULL OR o.class_id = $9
       AND (a.rule_id IS NULL OR split_part(a.rule_id, '.', 1) <> ALL ($14::text[])
            OR (coalesce(o.grid_id, d.grid_id, b.grid_id) = $15::text OR $15::text = '*') AND k.vitals @> now()
               AND o.created_at >= k.worn_since))
  AND ($10::text IS NULL OR o.source = $10)
  AND ($11::text IS NULL OR o.severity = $11)
  AND ($12::text IS NULL OR o.building_id = $12)
  AND ($13::text IS NULL OR o.number::text = $13 OR position(lower($13) IN lower(o.place)) > 0
       OR position(lower($13) IN lower(o.title_zh || ' ' || o.title_en)) > 0
          AND (a.rule_id IS NULL OR split_part(a.rule_id, '.', 1) <> ALL ($14::text[])
               OR (coalesce(o.grid_id, d.grid_id, b.grid_id) = $15::text OR $15::text = '*') AND k.vitals @> now()
               AND o.created_at >= k.worn_since))
ORDER BY o.created_at DESC, o.id DESC
LIMIT $5

-- name: orders_by_ids
SELECT o.*, d.id AS device_id, p.display_name AS assignee, a.rule_id,
       coalesce(o.grid_id, d.grid_id, b.grid_id) AS place_grid_id,
       consents_now(k.vitals, k.location, k.worn_since, o.created_at) AS consents
FROM work_order AS o
LEFT JOIN device AS d ON d.device_no = o.device_no
LEFT JOIN building AS b ON b.id = o.building_id
LEFT JOIN app_user AS p ON p.id = o.assignee_id
LEFT JOIN alert AS a ON a.id = o.alert_id
LEFT JOIN device_consent AS k ON k.device_no = d.device_no
WHERE o.id = ANY ($1::uuid[])

-- name: orders_linked
SELECT l.how, o.id, o.number, o.state, o.photos_before, o.photos_after, o.signatures
FROM (
    SELECT 'parent' AS how, parent_id AS id FROM work_order WHERE id = $1 AND parent_id IS NOT NULL
    UNION ALL SELECT 'child', id FROM work_order WHERE parent_id = $1
    UNION ALL SELECT 'merged_into', merged_into FROM work_order WHERE id = $1 AND merged_into IS NOT NULL
    UNION ALL SELECT 'merged', id FROM work_order WHERE merged_into = $1
) AS l
JOIN work_order AS o ON o.id = l.id
ORDER BY o.number

-- name: order_alerts
SELECT id, state, severity, fired_at FROM alert WHERE order_id = $1 ORDER BY fired_at, id LIMIT 500

-- name: people_named
SELECT id, display_name, team FROM app_user WHERE id = ANY ($1::text[])

-- name: order_asked
SELECT detail ->> 'digest' FROM work_order_history WHERE order_id = $1 AND version = 1

-- name: place_of_device
SELECT d.device_no, d.kind, d.place, d.x, d.y, d.building_id, coalesce(d.grid_id, b.grid_id) AS grid_id
FROM device AS d
LEFT JOIN building AS b ON b.id = d.building_id
WHERE d.id = $2 AND d.community_id = $1

-- name: place_of_building
SELECT name, grid_id FROM building WHERE id = $2 AND community_id = $1

-- name: grid_of_point
SELECT grid_id FROM building WHERE community_id = $1
ORDER BY (x + width / 2 - $2) ^ 2 + (y + depth / 2 - $3) ^ 2, id
LIMIT 1

-- name: order_history
SELECT h.version, h.move, h.from_state, h.to_state, h.at, coalesce(p.display_name, h.actor_id) AS actor,
       h.actor_role, h.reason, h.detail
FROM work_order_history AS h
LEFT JOIN app_user AS p ON p.id = h.actor_id
WHERE h.order_id = $1
ORDER BY h.version

-- name: kpi_now
SELECT (SELECT count(*) FROM alert WHERE community_id = $1 AND state <> 'cleared' AND NOT shadow)
           AS open_alerts,
       o.devices, o.online AS devices_online
FROM devices_online($1) AS o

-- name: outbox_head
SELECT coalesce(max(seq), 0) FROM outbox

-- name: outbox_head_of
SELECT coalesce(max(seq), -1) FROM outbox WHERE community_id = $1

-- name: outbox_oldest
SELECT min(seq) FROM outbox

-- name: outbox_at
SELECT at FROM outbox WHERE seq <= $1 ORDER BY seq DESC LIMIT 1

-- name: outbox_after
SELECT seq, type, community_id, subject, data FROM outbox WHERE seq > $1 ORDER BY seq LIMIT $2

-- name: outbox_between
SELECT seq, type, community_id, subject, data FROM outbox
WHERE community_id = $1 AND seq > $2 AND seq <= $3
ORDER BY seq LIMIT $4

-- name: quarantine_page
SELECT id, received_at, worker, scope, reason, detail, topic, device_id, message_id,
       substring(payload FOR 2048) AS payload, payload_size
FROM quarantine
WHERE community_id = $1 AND ($2::timestamptz IS NULL OR (received_at, id) < ($2, $3::bigint))
ORDER BY received_at DESC, id DESC
LIMIT $4

-- name: quarantine_counts
SELECT reason, count(*) AS n FROM quarantine
WHERE community_id = $1 AND received_at >= $2
GROUP BY reason ORDER BY reason

-- name: ledger
SELECT worker, partition, lane, received, stored, duplicate, rejected, updated_at
FROM ingest_ledger ORDER BY worker, partition, lane

-- name: audit_append
SELECT audit_append($1, $2, $3, $4, $5, $6)

-- name: person_by_id
SELECT id, community_id, household_id FROM person WHERE id = $1

-- name: engine_of_community
SELECT EXISTS (
    SELECT FROM worker_lease AS l JOIN community AS c ON c.partition = l.partition
    WHERE c.id = $1 AND l.consumer = $2 AND l.expires_at > now()
)

-- name: meters
SELECT device_no FROM device WHERE community_id = $1 AND kind = $2

-- name: gauge_sum
SELECT bucket, value FROM readings_mean($6, $1::integer[], $2, $3, $4, $5) ORDER BY bucket

-- name: counter_sum
SELECT bucket, value FROM readings_used($7, $1::integer[], $2, $3, $4, $5, $6) ORDER BY bucket

-- name: gauge_hours
SELECT by_device.bucket, sum(by_device.mean) AS value
FROM (
    SELECT time_bucket($7::interval, h.bucket) AS bucket, sum(h.mean * h.n) / sum(h.n) AS mean
    FROM rollup_of($1, $2, $3::integer[], $4, $5, $6, 'hour') AS h
    GROUP BY h.device_no, 1
) AS by_device
GROUP BY by_device.bucket ORDER BY by_device.bucket

-- name: raw_readings
SELECT ts AS bucket, value FROM readings_of($6, $1, $4, $2, $3, $5) ORDER BY ts

-- name: public_values
SELECT d.id, d.kind, d.name, d.place, s.vals_ts, s.vals
FROM device AS d JOIN device_states($1) AS s ON s.device_no = d.device_no
WHERE d.community_id = $1 AND d.retired_at IS NULL AND d.kind = ANY ($2::text[]) AND s.vals_ts IS NOT NULL
ORDER BY d.id

-- name: device_rollup
SELECT bucket, n AS count, low, high, mean, last, NULL::float8 AS used, NULL::bigint AS breaks
FROM rollup_series($1, $2, $3, $4, $5, $6)

-- name: device_meter
SELECT bucket, r.n AS count, r.low, r.high, r.mean, r.last, m.used, m.breaks
FROM rollup_series($1, $2, $3, $4, $5, $6) AS r
JOIN meter_series($1, $2, $3, $4, $5, $6) AS m USING (bucket)
ORDER BY bucket

-- name: community_rollup
SELECT bucket, devices AS count, low, high, total AS mean, NULL::float8 AS last, NULL::float8 AS used,
       NULL::bigint AS breaks
FROM rollup_sum($1, $2, $3, $4, $5, $6)

-- name: community_meter
SELECT bucket, devices AS count, NULL::float8 AS low, NULL::float8 AS high, NULL::float8 AS mean,
       NULL::float8 AS last, used, breaks
FROM meter_sum($1, $2, $3, $4, $5, $6)

-- name: insert_silence
INSERT INTO silence (community_id, sort, matcher, place, starts_at, ends_at, recurs, why, created_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
RETURNING *

-- name: silence_by_id
SELECT * FROM silence WHERE id = $1

-- name: silences_open
SELECT * FROM silence
WHERE community_id = $1 AND ended_at IS NULL AND ends_at > $2
ORDER BY starts_at DESC, id LIMIT 500

-- name: silences_all
SELECT * FROM silence WHERE community_id = $1 ORDER BY starts_at DESC, id LIMIT 500

-- name: end_silence
UPDATE silence SET ended_at = greatest($2, starts_at), ended_by = $3 WHERE id = $1 AND ended_at IS NULL AND ends_at > $2
RETURNING *

-- name: matchable_alerts
SELECT a.id, a.rule_id, a.family, a.kind, a.severity, a.life_safety, a.building_id, a.place, a.title_zh, a.title_en,
       a.held, a.order_id, d.id AS device_id, d.household_id, coalesce(d.grid_id, b.grid_id) AS grid_id
FROM alert AS a
LEFT JOIN device AS d ON d.device_no = a.device_no
LEFT JOIN building AS b ON b.id = a.building_id
WHERE a.community_id = $1 AND a.state <> 'cleared' AND NOT a.shadow
ORDER BY a.fired_at DESC, a.id LIMIT 5000

-- name: caps
SELECT c.alert_caps, count(d.device_no)::integer AS devices
FROM community AS c LEFT JOIN device AS d ON d.community_id = c.id AND d.retired_at IS NULL
WHERE c.id = $1 GROUP BY c.id

-- name: set_caps
UPDATE community SET alert_caps = $2 WHERE id = $1

-- name: askable_alert
SELECT a.id, a.community_id, a.state, a.held, a.correlation, c.partition, d.household_id,
       coalesce(d.grid_id, b.grid_id) AS grid_id
FROM alert AS a
JOIN community AS c ON c.id = a.community_id
LEFT JOIN device AS d ON d.device_no = a.device_no
LEFT JOIN building AS b ON b.id = a.building_id
WHERE a.id = $1

-- name: insert_answer
INSERT INTO alert_answer (alert_id, partition, ok, note, answered_by) VALUES ($1, $2, $3, $4, $5)

-- name: person_at_home
SELECT p.id, p.community_id, p.household_id, p.away_until, b.grid_id
FROM person AS p
LEFT JOIN household AS h ON h.id = p.household_id
LEFT JOIN unit AS u ON u.id = h.unit_id
LEFT JOIN building AS b ON b.id = u.building_id
WHERE p.id = $1

-- name: set_away
UPDATE person SET away_until = $2 WHERE id = $1

-- name: alert_counts
SELECT count(*) FILTER (WHERE fired_at >= $2 AND NOT shadow) AS raised,
       count(*) FILTER (WHERE fired_at >= $2 AND NOT shadow AND life_safety) AS life_safety,
       count(*) FILTER (WHERE fired_at >= $2 AND shadow) AS shadow,
       count(*) FILTER (WHERE state <> 'cleared' AND NOT shadow) AS open,
       count(*) FILTER (WHERE released_at >= $2) AS released,
       count(*) FILTER (WHERE acknowledged_at >= $2) AS answered_well,
       coalesce(sum(occurrences) FILTER (WHERE last_at >= $2 AND NOT shadow), 0)::bigint AS occurrences
FROM alert
WHERE community_id = $1 AND (fired_at >= $2 OR last_at >= $2 OR state <> 'cleared' OR released_at >= $2)

-- name: orders_today
SELECT count(*) FROM work_order WHERE community_id = $1 AND source = 'alert' AND created_at >= $2

-- name: held_now
SELECT reason, count(*) AS n FROM alert AS a, unnest(a.held) AS reason
WHERE a.community_id = $1 AND a.state <> 'cleared' AND a.held <> '{}'
GROUP BY reason

-- name: held_count
SELECT count(*) FROM alert WHERE community_id = $1 AND state <> 'cleared' AND held <> '{}'

-- name: suppressed_since
SELECT reason, count(DISTINCT a.id) AS n FROM alert AS a, unnest(a.held) AS reason
WHERE a.community_id = $1 AND a.state = 'cleared' AND a.held <> '{}' AND a.cleared_at >= $2
GROUP BY reason

-- name: suppressed_count
SELECT count(*) FROM alert WHERE community_id = $1 AND state = 'cleared' AND held <> '{}' AND cleared_at >= $2
