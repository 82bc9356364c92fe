-- name: synchronous_commit
SELECT current_setting('synchronous_commit')

-- name: turn_on_synchronous_commit
SET synchronous_commit = on

-- name: registry
SELECT d.device_no, d.id, d.community_id, d.kind, d.gateway_no, d.codec, d.address, d.profile
FROM device d
WHERE d.retired_at IS NULL

-- name: communities
SELECT id, partition FROM community

-- name: open_ledger
INSERT INTO ingest_ledger (worker, partition, lane)
SELECT $1, partition, $2 FROM unnest($3::smallint[]) AS partition
ON CONFLICT DO NOTHING

-- name: lock_ledger
SELECT max(updated_at) = $3 AS committed
FROM (SELECT updated_at FROM ingest_ledger WHERE worker = $1 AND lane = $2 ORDER BY partition FOR UPDATE) AS mine

-- name: silent_s
SELECT extract(epoch FROM now() - max(updated_at)) FROM ingest_ledger WHERE partition = ANY ($1::smallint[]) AND received > 0

-- name: last_numbers
SELECT p.partition, coalesce((SELECT max(l.seq) FROM ingest_log l WHERE l.partition = p.partition AND l.lane = $1), 0) AS seq
FROM unnest($2::smallint[]) AS p (partition)

-- name: insert_readings
WITH stored AS (
    INSERT INTO reading (device_no, ts, delay_ms, vals)
    SELECT device_no, 'epoch'::timestamptz + ts_ms * interval '1 ms', delay_ms,
           array_replace(($4::float8[])[start : start + width - 1], 'NaN', NULL)
    FROM unnest($1::integer[], $2::bigint[], $3::smallint[], $5::integer[], $6::integer[])
        AS row (device_no, ts_ms, width, start, delay_ms)
    ON CONFLICT (device_no, ts) DO NOTHING
    RETURNING device_no, ts
)
SELECT count(*) AS count,
       CASE WHEN count(*) < cardinality($1) THEN array_agg(device_no) END AS device_nos,
       CASE WHEN count(*) < cardinality($1) THEN array_agg((extract(epoch FROM ts) * 1000)::bigint) END AS ts_ms
FROM stored

-- name: stored_readings
SELECT r.device_no, (extract(epoch FROM r.ts) * 1000)::bigint AS ts_ms, r.vals
FROM unnest($1::integer[], $2::bigint[]) AS asked (device_no, ts_ms)
JOIN reading r ON r.device_no = asked.device_no AND r.ts = 'epoch'::timestamptz + asked.ts_ms * interval '1 ms'
WHERE r.ts BETWEEN ((timestamp 'epoch' + $3::bigint * interval '1 ms') AT TIME ZONE 'UTC')
              AND ((timestamp 'epoch' + $4::bigint * interval '1 ms') AT TIME ZONE 'UTC')

-- name: fill_reading
INSERT INTO reading (device_no, ts, vals)
VALUES ($1, 'epoch'::timestamptz + $2::bigint * interval '1 ms', $3)
ON CONFLICT (device_no, ts) DO UPDATE SET vals = excluded.vals

-- name: insert_events
WITH sent AS (
    SELECT device_no, 'epoch'::timestamptz + ts_ms * interval '1 ms' AS ts, event, data, message_id,
           'epoch'::timestamptz + received_ms * interval '1 ms' AS received_at
    FROM unnest($1::integer[], $2::bigint[], $3::text[], $4::jsonb[], $5::text[], $6::bigint[])
        AS row (device_no, ts_ms, event, data, message_id, received_ms)
)
INSERT INTO device_event (device_no, ts, event, data, message_id, received_at)
SELECT device_no, ts, event, data, message_id, received_at FROM sent
ON CONFLICT (device_no, event, ts) DO NOTHING
RETURNING device_no, (extract(epoch FROM ts) * 1000)::bigint AS ts_ms, event

-- name: stored_events
SELECT e.device_no, (extract(epoch FROM e.ts) * 1000)::bigint AS ts_ms, e.event, e.data
FROM unnest($1::integer[], $2::bigint[], $3::text[]) AS asked (device_no, ts_ms, event)
JOIN device_event e ON e.device_no = asked.device_no AND e.event = asked.event
    AND e.ts = 'epoch'::timestamptz + asked.ts_ms * interval '1 ms'
WHERE e.ts BETWEEN ((timestamp 'epoch' + $4::bigint * interval '1 ms') AT TIME ZONE 'UTC')
              AND ((timestamp 'epoch' + $5::bigint * interval '1 ms') AT TIME ZONE 'UTC')

-- name: answered_events
SELECT e.device_no, e.event, e.message_id
FROM unnest($1::integer[], $2::text[], $3::text[]) AS asked (device_no, event, message_id)
JOIN device_event e ON e.device_no = asked.device_no AND e.event = asked.event AND e.message_id = asked.message_id
WHERE e.ts > now() - interval '7 days'

-- name: insert_notes
INSERT INTO device_note (device_no, received_at, note)
SELECT device_no, 'epoch'::timestamptz + received_ms * interval '1 ms', note
FROM unnest($1::integer[], $2::bigint[], $3::jsonb[]) AS row (device_no, received_ms, note)

-- name: append_log
WITH ours AS (
    -- Held to the commit: a new owner's claim waits for what is being written under the old one.
    SELECT FROM worker_lease WHERE consumer = 'ingest' AND partition = $1 AND owner = $4 FOR KEY SHARE
), written AS (
    INSERT INTO ingest_log (partition, lane, seq, worker, readings, packed, body)
    SELECT $1::smallint, $2::smallint, $3::bigint, $4::text, $5::integer, $6::bytea, $7::jsonb FROM ours
    RETURNING partition, lane, seq
)
SELECT pg_notify('ingest_log', partition || ':' || lane || ':' || seq) FROM written

-- name: count
INSERT INTO ingest_ledger AS l (worker, partition, lane, received, stored, duplicate, rejected, updated_at)
SELECT $1, partition, $2, stored + duplicate + rejected, stored, duplicate, rejected, $7
FROM unnest($3::smallint[], $4::bigint[], $5::bigint[], $6::bigint[]) AS row (partition, stored, duplicate, rejected)
ORDER BY partition
ON CONFLICT (worker, partition, lane) DO UPDATE SET
    received = l.received + excluded.received, stored = l.stored + excluded.stored,
    duplicate = l.duplicate + excluded.duplicate, rejected = l.rejected + excluded.rejected,
    updated_at = excluded.updated_at

-- name: known_refusals
SELECT digest FROM quarantine WHERE digest = ANY ($1::bytea[])

-- name: quarantine
INSERT INTO quarantine AS q (received_at, first_at, worker, scope, reason, detail, topic, community_id, device_id,
                             message_id, payload, payload_size, digest, times)
SELECT at, at, $1, scope, reason, detail, topic, community_id, device_id, message_id, payload, payload_size, digest, times
FROM unnest($2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[], $9::text[],
            $10::bytea[], $11::integer[], $12::bytea[], $13::integer[])
    AS row (received_ms, scope, reason, detail, topic, community_id, device_id, message_id, payload, payload_size,
            digest, times),
    LATERAL (SELECT 'epoch'::timestamptz + received_ms * interval '1 ms' AS at) AS time
ON CONFLICT (digest) DO UPDATE SET
    times = q.times + excluded.times,
    received_at = greatest(q.received_at, excluded.received_at),
    detail = excluded.detail

-- name: sessions
SELECT s.device_no, s.session, s.online
FROM device_state s
WHERE s.session > 0

-- name: state_positions
SELECT partition, lane, seq FROM checkpoint WHERE consumer = 'device_state' AND partition = ANY ($1::smallint[])

-- name: state_behind
SELECT seq, readings, packed, body
FROM ingest_log
WHERE partition = $1 AND lane = $2 AND seq > $3
ORDER BY seq
LIMIT 200

-- name: save_position
INSERT INTO checkpoint AS c (consumer, partition, lane, seq)
SELECT 'device_state', partition, lane, seq
FROM unnest($1::smallint[], $2::smallint[], $3::bigint[]) AS row (partition, lane, seq)
ON CONFLICT (consumer, partition, lane) DO UPDATE SET seq = greatest(c.seq, excluded.seq), updated_at = now()

-- name: note_silences
INSERT INTO device_note (device_no, received_at, note)
SELECT s.device_no, 'epoch'::timestamptz + n.first_ms * interval '1 ms',
       jsonb_build_object('type', 'silence', 'from_ms', (extract(epoch FROM s.last_seen_at) * 1000)::bigint)
FROM unnest($1::integer[], $2::bigint[]) AS n (device_no, first_ms)
JOIN device_state s USING (device_no)
JOIN device d USING (device_no)
WHERE 'epoch'::timestamptz + n.first_ms * interval '1 ms' > s.last_seen_at + make_interval(secs => $3 * d.interval_s)

-- name: save_state
WITH sent AS (
    SELECT *
    FROM unnest($1::integer[], $2::smallint[], $3::integer[], $5::bigint[], $6::bigint[], $7::bigint[], $8::text[],
                $9::bigint[], $10::bigint[], $11::boolean[], $12::bigint[], $13::integer[])
        AS row (device_no, width, start, seen_ms, made_ms, vals_ms, event, event_ms, session, online, status_ms,
                clock_off_ms)
), latest AS (
    SELECT n.device_no,
           CASE WHEN n.session > coalesce(s.session, -1) OR (n.session = s.session AND NOT n.online)
                THEN n.online OR n.made_ms > n.status_ms
                WHEN coalesce(s.session, 0) = 0 THEN true
                ELSE s.online OR 'epoch'::timestamptz + n.made_ms * interval '1 ms' > s.last_seen_at END AS online,
           greatest(n.session, s.session, 0) AS session,
           coalesce(s.online, false) AS was_online,
           s.online_since,
           'epoch'::timestamptz + n.seen_ms * interval '1 ms' AS seen_at,
           array_replace(($4::float8[])[n.start : n.start + n.width - 1], 'NaN', NULL) AS vals,
           CASE WHEN n.vals_ms > 0 THEN 'epoch'::timestamptz + n.vals_ms * interval '1 ms' END AS vals_ts,
           ($16::bigint[])[a.start : a.start + n.width - 1] AS vals_at,
           n.event,
           CASE WHEN n.event_ms > 0 THEN 'epoch'::timestamptz + n.event_ms * interval '1 ms' END AS event_ts,
           n.clock_off_ms
    FROM sent n
    JOIN device d USING (device_no)
    LEFT JOIN device_state s USING (device_no)
    LEFT JOIN unnest($14::integer[], $15::integer[]) AS a (device_no, start) USING (device_no)
)
INSERT INTO device_state AS s
    (device_no, online, session, online_since, last_seen_at, vals, vals_ts, vals_at, last_event, last_event_ts,
     clock_offset_ms)
SELECT device_no, online, session, CASE WHEN NOT online THEN NULL WHEN was_online THEN online_since ELSE seen_at END,
       seen_at, vals, vals_ts, vals_at, event, event_ts, clock_off_ms
FROM latest
ORDER BY device_no
ON CONFLICT (device_no) DO UPDATE SET
    online = excluded.online,
    session = excluded.session,
    online_since = excluded.online_since,
    last_seen_at = greatest(s.last_seen_at, excluded.last_seen_at),
    vals = CASE WHEN excluded.vals_ts IS NULL THEN s.vals
                WHEN s.vals_ts IS NULL THEN excluded.vals
                WHEN replaces_vals(excluded.vals, excluded.vals_ts, excluded.vals_at, s.vals, s.vals_ts)
                THEN excluded.vals
                ELSE newest_vals(s.vals, s.vals_ts, s.vals_at, excluded.vals, excluded.vals_ts, excluded.vals_at) END,
    vals_at = CASE WHEN excluded.vals_ts IS NULL THEN s.vals_at
                   WHEN s.vals_ts IS NULL
                     OR replaces_vals(excluded.vals, excluded.vals_ts, excluded.vals_at, s.vals, s.vals_ts)
                   THEN excluded.vals_at
                   ELSE newest_at(s.vals, s.vals_ts, s.vals_at, excluded.vals, excluded.vals_ts, excluded.vals_at) END,
    vals_ts = greatest(s.vals_ts, excluded.vals_ts),
    last_event = CASE WHEN excluded.last_event_ts >= coalesce(s.last_event_ts, '-infinity') THEN excluded.last_event
                      ELSE s.last_event END,
    last_event_ts = greatest(s.last_event_ts, excluded.last_event_ts),
    clock_offset_ms = excluded.clock_offset_ms

-- name: sweep_begin
SELECT pg_try_advisory_lock($1)

-- name: sweep_end
SELECT pg_advisory_unlock($1)

-- name: purge_log
DELETE FROM ingest_log
WHERE partition = $1 AND lane = $2 AND seq IN (
    SELECT oldest.seq
    FROM (SELECT seq, committed_at FROM ingest_log WHERE partition = $1 AND lane = $2 ORDER BY seq LIMIT 100) AS oldest
    WHERE oldest.committed_at < now() - $3::interval
      AND oldest.seq < (SELECT max(seq) FROM ingest_log WHERE partition = $1 AND lane = $2)
      AND oldest.seq <= ALL (SELECT c.seq FROM checkpoint c WHERE c.partition = $1 AND c.lane = $2)
)

-- name: unread_log
SELECT c.consumer, c.partition, c.lane, c.seq, extract(epoch FROM now() - next.committed_at)::float8 AS age_s
FROM checkpoint c
CROSS JOIN LATERAL (
    SELECT l.committed_at FROM ingest_log l
    WHERE l.partition = c.partition AND l.lane = c.lane AND l.seq > c.seq
    ORDER BY l.seq LIMIT 1
) AS next
WHERE next.committed_at < now() - $1::interval
ORDER BY c.consumer, c.partition, c.lane

-- name: expired_chunks
SELECT chunk_schema || '.' || chunk_name AS name, range_end,
       $1 <> 'reading' OR range_end <= coalesce(rollup_covers(), 'infinity') AS summed
FROM timescaledb_information.chunks
WHERE hypertable_schema = 'public' AND hypertable_name = $1 AND range_end <= now() - $2::interval
ORDER BY range_end
LIMIT $3

-- name: lock_briefly
SELECT set_config('lock_timeout', $1, true)

-- name: drop_chunk
SELECT count(*) FROM drop_chunks($1::text::regclass, older_than => $2::timestamptz)

-- name: purge_quarantine
DELETE FROM quarantine WHERE id IN (
    SELECT id FROM quarantine WHERE received_at < now() - $1::interval ORDER BY received_at LIMIT 1000
)

-- name: quarantine_size
SELECT pg_total_relation_size('quarantine')

-- name: quarantine_overflow
SELECT max(id) FROM (
    SELECT id, sum(pg_column_size(payload) + pg_column_size(detail) + pg_column_size(topic) + 200)
                   OVER (ORDER BY id DESC) AS total
    FROM quarantine
) AS newest_first
WHERE total > $1

-- name: trim_quarantine
DELETE FROM quarantine WHERE id IN (SELECT id FROM quarantine WHERE id <= $1 ORDER BY id LIMIT 1000)

-- name: private_due
SELECT d.device_no, d.kind, m.upto AS since, cut.upto
FROM device AS d
CROSS JOIN LATERAL (
    SELECT date_trunc('hour', now() - make_interval(days => coalesce(
        (SELECT r.days FROM retention_rule AS r WHERE r.community_id = d.community_id AND r.class = $1), $2))) AS upto
) AS cut
LEFT JOIN retention_mark AS m ON m.device_no = d.device_no AND m.class = $1
WHERE d.kind = ANY ($3::text[]) AND (m.upto IS NULL OR m.upto < cut.upto)
ORDER BY m.upto NULLS FIRST, d.device_no
LIMIT $4

-- name: first_of
SELECT least((SELECT min(ts) FROM reading WHERE device_no = $1), (SELECT min(bucket) FROM rollup_day WHERE device_no = $1),
             (SELECT min(ts) FROM device_event WHERE device_no = $1))

-- name: private_mark
INSERT INTO retention_mark (device_no, class, upto) VALUES ($1, $2, $3)
ON CONFLICT (device_no, class) DO UPDATE SET upto = excluded.upto

-- name: forget_vitals
DELETE FROM reading WHERE device_no = $1 AND ts >= $2 AND ts < $3

-- name: forget_positions
UPDATE reading
SET vals = ARRAY(SELECT CASE WHEN i = ANY ($4::integer[]) THEN NULL ELSE vals[i] END
                 FROM generate_series(1, cardinality(vals)) AS i ORDER BY i)
WHERE device_no = $1 AND ts >= $2 AND ts < $3 AND EXISTS (SELECT FROM unnest($4::integer[]) AS i WHERE vals[i] IS NOT NULL)

-- name: forget_position_hours
UPDATE rollup_hour
SET n = ARRAY(SELECT CASE WHEN i = ANY ($4::integer[]) THEN 0 ELSE n[i] END FROM generate_series(1, cardinality(n)) AS i ORDER BY i),
    low = ARRAY(SELECT CASE WHEN i <> ALL ($4::integer[]) THEN low[i] END FROM generate_series(1, cardinality(low)) AS i ORDER BY i),
    high = ARRAY(SELECT CASE WHEN i <> ALL ($4::integer[]) THEN high[i] END FROM generate_series(1, cardinality(high)) AS i ORDER BY i),
    total = ARRAY(SELECT CASE WHEN i <> ALL ($4::integer[]) THEN total[i] END FROM generate_series(1, cardinality(total)) AS i ORDER BY i),
    last = ARRAY(SELECT CASE WHEN i <> ALL ($4::integer[]) THEN last[i] END FROM generate_series(1, cardinality(last)) AS i ORDER BY i)
WHERE device_no = $1 AND bucket >= $2 AND bucket < $3

-- name: forget_position_days
UPDATE rollup_day
SET n = ARRAY(SELECT CASE WHEN i = ANY ($4::integer[]) THEN 0 ELSE n[i] END FROM generate_series(1, cardinality(n)) AS i ORDER BY i),
    low = ARRAY(SELECT CASE WHEN i <> ALL ($4::integer[]) THEN low[i] END FROM generate_series(1, cardinality(low)) AS i ORDER BY i),
    high = ARRAY(SELECT CASE WHEN i <> ALL ($4::integer[]) THEN high[i] END FROM generate_series(1, cardinality(high)) AS i ORDER BY i),
    total = ARRAY(SELECT CASE WHEN i <> ALL ($4::integer[]) THEN total[i] END FROM generate_series(1, cardinality(total)) AS i ORDER BY i),
    last = ARRAY(SELECT CASE WHEN i <> ALL ($4::integer[]) THEN last[i] END FROM generate_series(1, cardinality(last)) AS i ORDER BY i)
WHERE device_no = $1 AND bucket >= $2 AND bucket < $3

-- name: forget_vital_hours
DELETE FROM rollup_hour WHERE device_no = $1 AND bucket >= $2 AND bucket < $3

-- name: forget_vital_days
DELETE FROM rollup_day WHERE device_no = $1 AND bucket >= $2 AND bucket < $3

-- name: forget_meter_hours
DELETE FROM meter_hour WHERE device_no = $1 AND bucket >= $2 AND bucket < $3

-- name: forget_meter_days
DELETE FROM meter_day WHERE device_no = $1 AND bucket >= $2 AND bucket < $3

-- name: forget_health_events
DELETE FROM device_event WHERE device_no = $1 AND ts >= $2 AND ts < $3
