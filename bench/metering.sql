-- name: clear
TRUNCATE reading, rollup_hour, rollup_day, meter_hour, meter_day, rollup_stale, street CASCADE

-- name: community
WITH street AS (INSERT INTO street VALUES ('s', 'c', 'd', 'n') RETURNING id)
INSERT INTO community (id, street_id, name, partition, latitude, longitude, households, residents)
SELECT 'bench', id, 'bench', 0, 30, 120, 1, 1 FROM street

-- name: devices
INSERT INTO device (id, community_id, kind, name, interval_s)
SELECT 'd' || n, 'bench', $1, 'x', 60 FROM generate_series(1, $2::integer) AS n

-- name: speak
INSERT INTO reading (device_no, ts, vals)
SELECT d.device_no, ts + d.device_no % 800 * INTERVAL '1 ms',
       CASE $1 WHEN 'electricity_meter' THEN ARRAY[date_part('epoch', ts) / 36000 - 40000, 500 + d.device_no % 90, 228, 2, 0.95]
               WHEN 'water_meter' THEN ARRAY[date_part('epoch', ts) / 360000, 0.01, 3.6, 0]
               ELSE ARRAY[20 + d.device_no % 10, 50, 55] END
FROM generate_series($2::timestamptz, $3::timestamptz - INTERVAL '1 ms', $4::float8 * INTERVAL '1 s') AS ts
CROSS JOIN device d
WHERE d.kind = $1

-- name: settle
ANALYZE

-- name: progress
WITH boundary AS (UPDATE rollup_boundary SET closed_to = $2)
UPDATE rollup_progress SET filled_to = $1, next_device = 0

-- name: reopen
UPDATE rollup_boundary SET closed_to = '-infinity'

-- name: messages
SELECT count(*) FROM reading

-- name: counted
SELECT sum(readings) FROM rollup_hour

-- name: past_hours
INSERT INTO rollup_hour
SELECT d.device_no, at, 60, ARRAY[60, 60, 60, 60, 60], ARRAY[date_part('epoch', at) / 36000 - 40000, 400, 225, 1, 0.9],
       ARRAY[date_part('epoch', at) / 36000 - 39999.9, 600, 231, 3, 0.99],
       ARRAY[60 * (date_part('epoch', at) / 36000 - 40000), 30000 + d.device_no, 13680, 120, 57],
       ARRAY[date_part('epoch', at) / 36000 - 39999.9, 500, 228, 2, 0.95]
FROM generate_series($1::timestamptz, $2::timestamptz - INTERVAL '1 s', INTERVAL '1 hour') AS at
CROSS JOIN device d

-- name: past_meter_hours
INSERT INTO meter_hour
SELECT d.device_no, 0, 60, at, ms, base, ms + 60000, base + 60 / 36000.0, ms + 3480000, base + 3480 / 36000.0,
       ms + 3540000, base + 3540 / 36000.0, 3480 / 36000.0, 0
FROM generate_series($1::timestamptz, $2::timestamptz - INTERVAL '1 s', INTERVAL '1 hour') AS at
CROSS JOIN LATERAL (SELECT epoch_ms(at) AS ms, date_part('epoch', at) / 36000 - 40000 AS base) AS register
CROSS JOIN device d

-- name: past_days
INSERT INTO rollup_day
SELECT d.device_no, at, 1440, ARRAY[1440, 1440, 1440, 1440, 1440],
       ARRAY[date_part('epoch', at) / 36000 - 40000, 400, 225, 1, 0.9],
       ARRAY[date_part('epoch', at) / 36000 - 39997.6, 600, 231, 3, 0.99],
       ARRAY[1440 * (date_part('epoch', at) / 36000 - 40000), 720000 + d.device_no, 328320, 2880, 1368],
       ARRAY[date_part('epoch', at) / 36000 - 39997.6, 500, 228, 2, 0.95]
FROM generate_series(date_trunc('day', $1::timestamptz, 'Asia/Shanghai'), $2::timestamptz - INTERVAL '1 day', INTERVAL '1 day') AS at
CROSS JOIN device d

-- name: past_meter_days
INSERT INTO meter_day
SELECT d.device_no, 0, 1440, at, ms, base, ms + 60000, base + 60 / 36000.0, ms + 86280000, base + 86280 / 36000.0,
       ms + 86340000, base + 86340 / 36000.0, 86280 / 36000.0, 0
FROM generate_series(date_trunc('day', $1::timestamptz, 'Asia/Shanghai'), $2::timestamptz - INTERVAL '1 day', INTERVAL '1 day') AS at
CROSS JOIN LATERAL (SELECT epoch_ms(at) AS ms, date_part('epoch', at) / 36000 - 40000 AS base) AS register
CROSS JOIN device d

-- name: sizes
SELECT name, pg_size_pretty(coalesce(hypertable_size(name), pg_total_relation_size(name))) AS size,
       approximate_row_count(name) AS rows
FROM unnest(ARRAY['reading', 'rollup_hour', 'meter_hour', 'rollup_day', 'meter_day']::regclass[]) AS name

-- name: a_device
SELECT min(device_no) + 7 FROM device

-- name: meter_series
SELECT * FROM meter_series('bench', $1, 'energy_kwh', $2, $3, $4)

-- name: rollup_series
SELECT * FROM rollup_series('bench', $1, 'power', $2, $3, $4)

-- name: meter_sum
SELECT * FROM meter_sum('bench', 'electricity_meter', 'energy_kwh', $1, $2, $3)

-- name: rollup_sum
SELECT * FROM rollup_sum('bench', 'electricity_meter', 'power', $1, $2, $3)

-- name: conserved
SELECT (SELECT sum(used) FROM meter_series('bench', $1, 'energy_kwh', $2, $3, 'day')) AS used,
       (SELECT vals[1] FROM reading WHERE device_no = $1 ORDER BY ts DESC LIMIT 1)
       - (SELECT first FROM meter_day WHERE device_no = $1 ORDER BY bucket LIMIT 1) AS difference

-- name: explain_on
LOAD 'auto_explain'; SET auto_explain.log_min_duration = 0; SET auto_explain.log_nested_statements = on;
SET auto_explain.log_analyze = on; SET auto_explain.log_buffers = on; SET auto_explain.log_timing = off;
SET auto_explain.log_level = 'notice'; SET plan_cache_mode = 'force_custom_plan'
