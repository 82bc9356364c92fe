-- name: communities
SELECT id FROM community ORDER BY id

-- name: claim
SELECT pg_try_advisory_xact_lock(hashtextextended('data:' || $1, 0))

-- name: closed_to
SELECT CASE WHEN isfinite(b.closed_to) THEN b.closed_to END
FROM community AS c JOIN rollup_boundary AS b ON b.partition = c.partition WHERE c.id = $1

-- name: curve_gauge
SELECT bucket, value FROM curve_gauge($1, $2, $3, $4, $5, $6)

-- name: curve_counter
SELECT bucket, value FROM curve_counter($1, $2, $3, $4, $5, $6, $7)

-- name: curve_level
SELECT bucket, value FROM curve_level($1, $2, $3, $4, $5, $6, $7, $8)

-- name: mean_hours
SELECT bucket, total FROM rollup_sum($1, $2, $3, $4, $5, 'hour') WHERE total IS NOT NULL

-- name: used_hours
SELECT bucket, used FROM meter_sum($1, $2, $3, $4, $5, 'hour') WHERE used IS NOT NULL

-- name: kept_quarters
SELECT bucket, value, final FROM curve_quarter
WHERE community_id = $1 AND curve = $2 AND bucket >= $3 AND bucket < $4
ORDER BY bucket

-- name: quarters_known
SELECT (SELECT min(bucket) FROM curve_quarter WHERE community_id = $1 AND curve = $2) AS first,
       (SELECT max(bucket) + INTERVAL '15 minutes' FROM curve_quarter WHERE community_id = $1 AND curve = $2)
           AS known_to,
       (SELECT bucket + INTERVAL '15 minutes' FROM curve_quarter
        WHERE community_id = $1 AND curve = $2 AND final ORDER BY bucket DESC LIMIT 1) AS final_to

-- name: hours_known
SELECT max(bucket) + INTERVAL '1 hour' FROM curve_hour WHERE community_id = $1 AND curve = $2

-- name: put_quarters
INSERT INTO curve_quarter (community_id, curve, bucket, value, final)
SELECT $1, $2, r.* FROM unnest($3::timestamptz[], $4::float8[], $5::boolean[]) AS r
ON CONFLICT (community_id, curve, bucket) DO UPDATE SET value = excluded.value, final = excluded.final
WHERE (curve_quarter.value, curve_quarter.final) IS DISTINCT FROM (excluded.value, excluded.final)

-- name: put_hours
INSERT INTO curve_hour (community_id, curve, bucket, value)
SELECT $1, $2, r.* FROM unnest($3::timestamptz[], $4::float8[]) AS r
ON CONFLICT (community_id, curve, bucket) DO UPDATE SET value = excluded.value
WHERE curve_hour.value IS DISTINCT FROM excluded.value

-- name: drop_quarters
DELETE FROM curve_quarter WHERE community_id = $1 AND bucket < $2

-- name: drop_hours
DELETE FROM curve_hour WHERE community_id = $1 AND bucket < $2

-- name: stale
SELECT s.id, s.hour FROM curve_stale AS s
WHERE s.community_id = $1 AND s.hour IN (
    SELECT DISTINCT hour FROM curve_stale WHERE community_id = $1 ORDER BY hour LIMIT $2
)

-- name: drop_stale
DELETE FROM curve_stale WHERE id = ANY ($1::bigint[])

-- name: curve_hours
SELECT bucket, value FROM curve_hour
WHERE community_id = $1 AND curve = $2 AND bucket >= $3 AND bucket < $4
ORDER BY bucket

-- name: states_of_kinds
SELECT d.device_no, d.id, d.kind, d.name, d.place, d.tags, coalesce(s.online, false) AS online, s.last_seen_at, s.vals,
       s.vals_ts, s.last_event, s.last_event_ts
FROM device AS d LEFT JOIN device_states($1) AS s ON s.device_no = d.device_no
WHERE d.community_id = $1 AND d.retired_at IS NULL AND d.kind = ANY ($2::text[])
ORDER BY d.id

-- name: sum_now
SELECT sum(s.vals[metric_slot($2, $3)]) AS total, max(s.vals_ts) AS ts, count(*) AS heard
FROM device AS d JOIN device_states($1) AS s ON s.device_no = d.device_no
WHERE d.community_id = $1 AND d.kind = $2 AND d.retired_at IS NULL AND s.online AND s.vals_ts >= $4
  AND s.vals[metric_slot($2, $3)] IS NOT NULL

-- name: quarters_sum
SELECT sum(value) FROM curve_quarter WHERE community_id = $1 AND curve = $2 AND bucket >= $3 AND bucket < $4

-- name: fills
SELECT d.device_no, r.ts, r.value
FROM unnest($2::integer[]) AS d (device_no)
CROSS JOIN LATERAL readings_of($1, d.device_no, $3, $4, $5, 500) AS r
ORDER BY d.device_no, r.ts

-- name: air_of_a_day
SELECT count(*) AS hours, avg(total / devices) AS mean FROM rollup_sum($1, 'environment', $2, $3, $4, 'hour')
WHERE devices > 0

-- name: used_by_device
SELECT m.device_no, m.bucket, m.used FROM meter_of($1, $2, $3, $4, $5, $6, $7) AS m ORDER BY m.device_no, m.bucket

-- name: overrides_of
SELECT DISTINCT ON (subject) subject, parameters FROM rule_override
WHERE community_id = $1 AND rule_id = $2 ORDER BY subject, version DESC

-- name: forecast_claim
INSERT INTO forecast_made (community_id, curve, made_for, made_at, history_days, ready)
VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (community_id, curve) DO UPDATE SET made_for = excluded.made_for, made_at = excluded.made_at,
    history_days = excluded.history_days, ready = excluded.ready
WHERE forecast_made.made_for < excluded.made_for
RETURNING true

-- name: forecast_due
SELECT $2::text[] <@ coalesce(array_agg(curve) FILTER (WHERE made_for >= $3), '{}') FROM forecast_made
WHERE community_id = $1

-- name: put_forecast
INSERT INTO forecast_hour (community_id, curve, hour, made_at, p10, p50, p90, day_made_at, day_p10, day_p50, day_p90)
SELECT $1, $2, r.hour, $3, r.p10, r.p50, r.p90, CASE WHEN r.ahead THEN $3::timestamptz END,
       CASE WHEN r.ahead THEN r.p10 END, CASE WHEN r.ahead THEN r.p50 END, CASE WHEN r.ahead THEN r.p90 END
FROM unnest($4::timestamptz[], $5::float8[], $6::float8[], $7::float8[], $8::boolean[])
    AS r (hour, p10, p50, p90, ahead)
ON CONFLICT (community_id, curve, hour) DO UPDATE SET
    made_at = excluded.made_at, p10 = excluded.p10, p50 = excluded.p50, p90 = excluded.p90,
    day_made_at = coalesce(excluded.day_made_at, forecast_hour.day_made_at),
    day_p10 = coalesce(excluded.day_p10, forecast_hour.day_p10),
    day_p50 = coalesce(excluded.day_p50, forecast_hour.day_p50),
    day_p90 = coalesce(excluded.day_p90, forecast_hour.day_p90)

-- name: drop_forecasts
DELETE FROM forecast_hour WHERE community_id = $1 AND hour < $2

-- name: forecast_made
SELECT curve, made_for, made_at, history_days, ready FROM forecast_made WHERE community_id = $1

-- name: forecast_hours
SELECT hour, p10, p50, p90, day_p10, day_p50, day_p90 FROM forecast_hour
WHERE community_id = $1 AND curve = $2 AND hour >= $3 ORDER BY hour

-- name: place_of_community
SELECT timezone, latitude, longitude FROM community WHERE id = $1

-- name: open_communities
SELECT c.id, c.name, s.city, s.district, s.name AS street
FROM community AS c JOIN street AS s ON s.id = c.street_id WHERE c.open_data ORDER BY c.id

-- name: open_community
SELECT c.id, c.name, s.city, s.district, s.name AS street
FROM community AS c JOIN street AS s ON s.id = c.street_id WHERE c.open_data AND c.id = $1

-- name: set_open
UPDATE community SET open_data = $2 WHERE id = $1 AND open_data <> $2 RETURNING id

-- name: devices_asked
SELECT d.device_no, d.id, d.community_id, d.kind, d.interval_s, d.person_id, coalesce(d.grid_id, b.grid_id) AS grid_id,
       consents_now(k.vitals, k.location) AS consents
FROM device AS d
LEFT JOIN household AS h ON h.id = d.household_id
LEFT JOIN unit AS u ON u.id = coalesce(d.unit_id, h.unit_id)
LEFT JOIN building AS b ON b.id = coalesce(d.building_id, u.building_id)
LEFT JOIN device_consent AS k ON k.device_no = d.device_no
WHERE d.community_id = $1 AND ($2::text[] IS NULL OR d.id = ANY ($2)) AND ($3::text IS NULL OR d.kind = $3)
ORDER BY d.id LIMIT $4

-- name: readings_of
SELECT ts, value FROM readings_of($1, $2, $3, $4, $5, $6)

-- name: readings_bucketed
SELECT bucket, mean, low, high, total, newest FROM readings_bucketed($1, $2, $3, $4, $5, $6)

-- name: consumption
SELECT time_bucket($6::interval, m.bucket) AS bucket, sum(m.used) AS used
FROM meter_series($1, $2, $3, $4, $5, 'hour') AS m GROUP BY 1 ORDER BY 1

-- name: lines
SELECT line FROM readings_lines($1, $2, $3, $4, $5, $6)
WHERE $7 = 0 OR EXISTS (SELECT FROM device_consent AS k
                        WHERE k.device_no = $2 AND consents_now(k.vitals, k.location) & $7 = $7)

-- name: states_at
SELECT d.device_no, d.id, d.kind, d.name, d.place, d.x, d.y, d.floor, b.id AS building_id, g.id AS gateway_id,
       coalesce(d.grid_id, b.grid_id) AS grid_id, d.tags, s.online, NULL::timestamptz AS last_seen_at, s.vals_ts,
       s.vals, s.last_event, s.last_event_ts, consents_also_at(k.vitals, k.location, $2) AS consents
FROM states_at($1, $2, $3, $4) AS s
JOIN device AS d ON d.device_no = s.device_no
LEFT JOIN device AS g ON g.device_no = d.gateway_no
LEFT JOIN household AS h ON h.id = d.household_id
LEFT JOIN unit AS u ON u.id = coalesce(d.unit_id, h.unit_id)
LEFT JOIN building AS b ON b.id = coalesce(d.building_id, u.building_id)
LEFT JOIN device_consent AS k ON k.device_no = d.device_no
ORDER BY d.id

-- name: alerts_at
SELECT a.*, d.id AS device_id, coalesce(d.grid_id, b.grid_id) AS grid_id,
       consents_also_at(k.vitals, k.location, $2) AS consents,
       l.severity AS then_severity, l.what AS then_what, l.at AS then_at, l.trigger AS then_trigger,
       n.occurrences AS then_occurrences, w.created_at AS order_at
FROM alert AS a
LEFT JOIN work_order AS w ON w.id = a.order_id
LEFT JOIN device AS d ON d.device_no = a.device_no
LEFT JOIN building AS b ON b.id = a.building_id
LEFT JOIN device_consent AS k ON k.device_no = a.device_no
LEFT JOIN LATERAL (
    SELECT o.severity, o.what, o.at, o.trigger FROM alert_occurrence AS o
    WHERE o.alert_id = a.id AND o.at <= $2 ORDER BY o.at DESC, o.id DESC LIMIT 1
) AS l ON true
LEFT JOIN LATERAL (
    SELECT count(*)::integer AS occurrences FROM alert_occurrence AS o
    WHERE o.alert_id = a.id AND o.at <= $2 AND o.what IN ('raised', 'repeated')
) AS n ON true
WHERE a.community_id = $1 AND NOT a.shadow AND alert_stood(a.fired_at, a.cleared_at) @> $2::timestamptz
ORDER BY a.fired_at DESC, a.id DESC LIMIT $3

-- name: orders_at
SELECT w.id, consents_also_at(k.vitals, k.location, $2) AS consents
FROM work_order AS w LEFT JOIN device_consent AS k ON k.device_no = w.device_no
WHERE w.id IN (
SELECT o.id FROM work_order AS o
WHERE o.community_id = $1 AND o.created_at <= $2
  AND o.state NOT IN ('closed', 'cancelled', 'false_alarm', 'merged')
UNION
SELECT o.id FROM work_order AS o WHERE o.community_id = $1 AND o.closed_at > $2 AND o.created_at <= $2
UNION
SELECT o.id FROM work_order AS o
WHERE o.community_id = $1 AND o.created_at <= $2 AND o.state IN ('cancelled', 'false_alarm', 'merged')
  AND (SELECT max(h.at) FROM work_order_history AS h WHERE h.order_id = o.id) > $2
)

-- name: histories_at
SELECT h.order_id, h.version, h.move, h.from_state, h.to_state, h.at, h.actor_id, h.actor_role, h.reason, h.detail,
       h.idempotency_key
FROM work_order_history AS h
WHERE h.order_id = ANY ($1::uuid[]) AND h.at <= $2 ORDER BY h.order_id, h.version

-- name: kept_from
SELECT min(range_start) FROM timescaledb_information.chunks WHERE hypertable_name = 'reading'

-- name: density
SELECT b.at, coalesce(a.n, 0) AS alerts, coalesce(a.critical, 0) AS critical, coalesce(o.n, 0) AS orders
FROM generate_series(time_bucket($4::interval, $2::timestamptz), $3::timestamptz - interval '1 microsecond', $4)
    AS b (at)
LEFT JOIN (
    SELECT time_bucket($4::interval, fired_at) AS at, count(*) AS n, count(*) FILTER (WHERE severity = 'critical') AS critical
    FROM alert WHERE community_id = $1 AND fired_at >= $2 AND fired_at < $3 AND NOT shadow GROUP BY 1
) AS a ON a.at = b.at
LEFT JOIN (
    SELECT time_bucket($4::interval, created_at) AS at, count(*) AS n
    FROM work_order WHERE community_id = $1 AND created_at >= $2 AND created_at < $3 GROUP BY 1
) AS o ON o.at = b.at
ORDER BY b.at

-- name: gravest
SELECT a.*, d.id AS device_id, coalesce(d.grid_id, b.grid_id) AS grid_id,
       consents_also_at(k.vitals, k.location, a.fired_at) AS consents
FROM alert AS a
LEFT JOIN device AS d ON d.device_no = a.device_no
LEFT JOIN building AS b ON b.id = a.building_id
LEFT JOIN device_consent AS k ON k.device_no = a.device_no
WHERE a.community_id = $1 AND a.fired_at >= $2 AND a.fired_at < $3 AND NOT a.shadow
  AND a.severity IN ('critical', 'major')
ORDER BY a.severity, a.fired_at DESC LIMIT $4

-- name: played
SELECT * FROM (
    SELECT x.at, 'alert' AS what, a.id::text AS id, x.what AS state, x.severity, a.id AS alert_id, 'a' || x.id AS key,
           consents_also_at(k.vitals, k.location, x.at) AS consents
    FROM alert_occurrence AS x JOIN alert AS a ON a.id = x.alert_id
    LEFT JOIN device_consent AS k ON k.device_no = a.device_no
    WHERE a.community_id = $1 AND NOT a.shadow AND a.fired_at < $3 AND (a.cleared_at IS NULL OR a.cleared_at >= $2)
      AND x.at >= $2 AND x.at < $3
    UNION ALL
    SELECT h.at, 'order', h.order_id::text, h.to_state, o.severity, o.alert_id, 'o' || h.order_id || h.version, 0
    FROM work_order_history AS h JOIN work_order AS o ON o.id = h.order_id
    WHERE o.community_id = $1 AND o.created_at < $3 AND o.created_at >= $2::timestamptz - INTERVAL '60 days'
      AND h.at >= $2 AND h.at < $3
    UNION ALL
    SELECT p.at, 'device', d.id, CASE WHEN p.online THEN 'online' ELSE 'offline' END, NULL, NULL, 'd' || d.id, 0
    FROM device_online AS p JOIN device AS d ON d.device_no = p.device_no
    WHERE p.community_id = $1 AND p.at >= $2 AND p.at < $3
) AS e
WHERE ($4::timestamptz IS NULL OR (e.at, e.key) > ($4, $5::text))
ORDER BY e.at, e.key LIMIT $6
