-- name: narrow
CREATE TABLE reading (device_no integer NOT NULL, metric smallint NOT NULL, ts timestamptz NOT NULL, value double precision NOT NULL)

-- name: wide
CREATE TABLE reading (device_no integer NOT NULL, ts timestamptz NOT NULL, vals double precision[] NOT NULL)

-- name: real
CREATE TABLE reading (device_no integer NOT NULL, ts timestamptz NOT NULL, vals real[] NOT NULL)

-- name: columns
CREATE TABLE reading (ts timestamptz NOT NULL, device_no integer NOT NULL, v1 float8, v2 float8, v3 float8, v4 float8, v5 float8, more float8[])

-- name: hypertable
SELECT create_hypertable('reading', 'ts', chunk_time_interval => $1::interval, create_default_indexes => false)

-- name: key_device_ts
CREATE UNIQUE INDEX reading_key ON reading (device_no, ts)

-- name: key_device_ts_desc
CREATE UNIQUE INDEX reading_key ON reading (device_no, ts DESC)

-- name: key_device_metric_ts
CREATE UNIQUE INDEX reading_key ON reading (device_no, metric, ts)

-- name: key_device_ts_tight
CREATE UNIQUE INDEX reading_key ON reading (device_no, ts) WITH (fillfactor = 100)

-- name: brin_ts
CREATE INDEX reading_brin ON reading USING brin (ts)

-- name: settle
VACUUM (ANALYZE) reading

-- name: sparse
INSERT INTO reading (device_no, ts, vals)
SELECT device, $1::timestamptz + make_interval(days => day, hours => h), ARRAY[day, h]::float8[]
FROM generate_series(1, 20) AS device, generate_series($2::integer, $3::integer - 1) AS day, generate_series(0, 23, 6) AS h

-- name: plan_each
SET plan_cache_mode = force_custom_plan

-- name: plan_once
SET plan_cache_mode = force_generic_plan

-- name: locked_chunks
SELECT count(DISTINCT l.relation) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
WHERE l.pid = pg_backend_pid() AND c.relkind = 'r' AND c.relname ~ '^_hyper_.*_chunk$'

-- name: states
INSERT INTO device_state (device_no, online, last_seen_at, vals)
SELECT n, true, now(), ARRAY[1, 2, 3] FROM generate_series(1, 10000) AS n

-- name: states_without_devices
ALTER TABLE device_state DROP CONSTRAINT device_state_device_no_fkey

-- name: states_before
CREATE INDEX device_state_seen ON device_state (last_seen_at)

-- name: update_states
UPDATE device_state SET last_seen_at = clock_timestamp(), vals = ARRAY[1, 2, vals[3] + 1]
WHERE device_no BETWEEN $1 AND $2

-- name: packed
CREATE TABLE packed (body bytea NOT NULL); ALTER TABLE packed ALTER body SET STORAGE EXTENDED

-- name: pack_pglz
ALTER TABLE packed ALTER body SET COMPRESSION pglz

-- name: pack_lz4
ALTER TABLE packed ALTER body SET COMPRESSION lz4

-- name: pack
INSERT INTO packed VALUES ($1)

-- name: packed_size
SELECT sum(pg_column_size(body)) FROM packed

-- name: unpack
TRUNCATE packed

-- name: bulk_wide
INSERT INTO reading (device_no, ts, vals)
SELECT s.device_no, s.ts, bench_vals(s.device_no, s.n) FROM bench_sent($1, $2, $3, $4, $5) AS s ON CONFLICT DO NOTHING

-- name: bulk_real
INSERT INTO reading (device_no, ts, vals)
SELECT s.device_no, s.ts, bench_vals(s.device_no, s.n)::real[] FROM bench_sent($1, $2, $3, $4, $5) AS s ON CONFLICT DO NOTHING

-- name: bulk_narrow
INSERT INTO reading (device_no, metric, ts, value)
SELECT s.device_no, v.metric - 1, s.ts, v.value
FROM bench_sent($1, $2, $3, $4, $5) AS s, unnest(bench_vals(s.device_no, s.n)) WITH ORDINALITY AS v (value, metric)
ON CONFLICT DO NOTHING

-- name: bulk_columns
INSERT INTO reading (device_no, ts, v1, v2, v3, v4, v5, more)
SELECT s.device_no, s.ts, v[1], v[2], v[3], v[4], v[5], CASE WHEN cardinality(v) > 5 THEN v[6:] END
FROM bench_sent($1, $2, $3, $4, $5) AS s, LATERAL (SELECT bench_vals(s.device_no, s.n) AS v OFFSET 0) AS drawn
ON CONFLICT DO NOTHING

-- name: functions
CREATE FUNCTION bench_width(device integer) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (ARRAY[5,2,1,3,2,5,1,3,2,5,1,3,2,5,1,2,5,3,2,8])[device % 20 + 1]
$$;
-- A register that counts in thousandths, a value with one decimal that drifts, a battery that stands nearly still.
CREATE FUNCTION bench_vals(device integer, n bigint) RETURNS float8[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (ARRAY[round(1e8::float8 + device * 7000 + n * 13) / 1000, round(2200 + 80 * sin(n / 40.0::float8 + device)) / 10,
                  round(360 - n / 20000) / 100, (n % 97)::float8, round(90 + 5 * sin(n / 9.0::float8)) / 100,
                  (n / 50 % 100)::float8, round(31.25e5::float8 + device) / 1e5, round(121.5e5::float8 + n % 17) / 1e5])[: bench_width(device)]
$$;
-- One row a device and turn, in the order in which they come: each device at its own moment of the interval.
CREATE FUNCTION bench_sent(start timestamptz, every interval, devices integer, first bigint, last bigint)
    RETURNS TABLE (device_no integer, ts timestamptz, n bigint) LANGUAGE sql STABLE ROWS 100000 AS $$
    SELECT (slot * 7919 % devices)::integer + 1, start + (turn + slot / devices::float8) * every, turn
    FROM generate_series(first, last - 1) AS turn, generate_series(0, devices - 1) AS slot
$$

-- name: insert_wide
INSERT INTO reading (device_no, ts, vals)
SELECT device_no, 'epoch'::timestamptz + ts_ms * interval '1 ms', ($4::float8[])[start : start + width - 1]
FROM unnest($1::integer[], $2::bigint[], $3::smallint[], $5::integer[]) AS row (device_no, ts_ms, width, start)
ON CONFLICT (device_no, ts) DO NOTHING

-- name: insert_real
INSERT INTO reading (device_no, ts, vals)
SELECT device_no, 'epoch'::timestamptz + ts_ms * interval '1 ms', ($4::float8[])[start : start + width - 1]::real[]
FROM unnest($1::integer[], $2::bigint[], $3::smallint[], $5::integer[]) AS row (device_no, ts_ms, width, start)
ON CONFLICT (device_no, ts) DO NOTHING

-- name: insert_columns
INSERT INTO reading (device_no, ts, v1, v2, v3, v4, v5, more)
SELECT device_no, 'epoch'::timestamptz + ts_ms * interval '1 ms', ($4::float8[])[start],
       CASE WHEN width > 1 THEN ($4::float8[])[start + 1] END, CASE WHEN width > 2 THEN ($4::float8[])[start + 2] END,
       CASE WHEN width > 3 THEN ($4::float8[])[start + 3] END, CASE WHEN width > 4 THEN ($4::float8[])[start + 4] END,
       CASE WHEN width > 5 THEN ($4::float8[])[start + 5 : start + width - 1] END
FROM unnest($1::integer[], $2::bigint[], $3::smallint[], $5::integer[]) AS row (device_no, ts_ms, width, start)
ON CONFLICT (device_no, ts) DO NOTHING

-- name: insert_narrow
INSERT INTO reading (device_no, metric, ts, value)
SELECT device_no, metric, 'epoch'::timestamptz + ts_ms * interval '1 ms', value
FROM unnest($1::integer[], $2::bigint[], $3::smallint[], $4::float8[]) AS row (device_no, ts_ms, metric, value)
ON CONFLICT (device_no, metric, ts) DO NOTHING

-- name: latest_wide
SELECT ts, vals[1] FROM reading WHERE device_no = $1 ORDER BY ts DESC LIMIT 1

-- name: latest_columns
SELECT ts, v1 FROM reading WHERE device_no = $1 ORDER BY ts DESC LIMIT 1

-- name: latest_narrow
SELECT ts, value FROM reading WHERE device_no = $1 AND metric = 0 ORDER BY ts DESC LIMIT 1

-- name: curve_wide
SELECT ts AS bucket, vals[1] AS value FROM reading
WHERE device_no = $1 AND ts >= $2 AND ts < $3 AND vals[1] IS NOT NULL ORDER BY ts LIMIT 5000

-- name: curve_columns
SELECT ts AS bucket, v1 AS value FROM reading
WHERE device_no = $1 AND ts >= $2 AND ts < $3 AND v1 IS NOT NULL ORDER BY ts LIMIT 5000

-- name: curve_narrow
SELECT ts AS bucket, value FROM reading
WHERE device_no = $1 AND metric = 0 AND ts >= $2 AND ts < $3 ORDER BY ts LIMIT 5000

-- name: sum_wide
SELECT bucket, sum(mean) AS value FROM unnest($1::integer[]) AS meter (device_no) CROSS JOIN LATERAL (
    SELECT time_bucket('1 hour', r.ts) AS bucket, avg(r.vals[1]) AS mean FROM reading AS r
    WHERE r.device_no = meter.device_no AND r.ts >= $2 AND r.ts < $3 AND r.vals[1] IS NOT NULL GROUP BY 1) AS by_device
GROUP BY bucket ORDER BY bucket

-- name: sum_columns
SELECT bucket, sum(mean) AS value FROM unnest($1::integer[]) AS meter (device_no) CROSS JOIN LATERAL (
    SELECT time_bucket('1 hour', r.ts) AS bucket, avg(r.v1) AS mean FROM reading AS r
    WHERE r.device_no = meter.device_no AND r.ts >= $2 AND r.ts < $3 AND r.v1 IS NOT NULL GROUP BY 1) AS by_device
GROUP BY bucket ORDER BY bucket

-- name: sum_narrow
SELECT bucket, sum(mean) AS value FROM unnest($1::integer[]) AS meter (device_no) CROSS JOIN LATERAL (
    SELECT time_bucket('1 hour', r.ts) AS bucket, avg(r.value) AS mean FROM reading AS r
    WHERE r.device_no = meter.device_no AND r.metric = 0 AND r.ts >= $2 AND r.ts < $3 GROUP BY 1) AS by_device
GROUP BY bucket ORDER BY bucket

-- name: bytes
SELECT coalesce(sum(pg_table_size(c)), 0)::bigint AS heap, coalesce(sum(pg_indexes_size(c)), 0)::bigint AS indexes,
       count(*) AS chunks
FROM show_chunks('reading') AS c

-- name: log_bytes
SELECT pg_total_relation_size('ingest_log')

-- name: log_pglz
ALTER TABLE ingest_log ALTER packed SET COMPRESSION pglz

-- name: log_lz4
ALTER TABLE ingest_log ALTER packed SET COMPRESSION lz4

-- name: log_uncompressed
ALTER TABLE ingest_log ALTER packed SET STORAGE EXTERNAL

-- name: own_log
INSERT INTO worker_lease (consumer, partition, owner, expires_at) VALUES ('ingest', 0, $1, now() + interval '1 day')

-- name: delete_log
DELETE FROM ingest_log WHERE seq <= $1

-- name: no_autovacuum
ALTER TABLE ingest_log SET (autovacuum_enabled = false, toast.autovacuum_enabled = false)

-- name: vacuum_log
VACUUM ingest_log
