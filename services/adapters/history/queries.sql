-- name: readings_on_time
SELECT device_no, (extract(epoch FROM ts) * 1000)::bigint AS ts_ms, coalesce(delay_ms, 0) AS delay_ms, vals
FROM reading
WHERE device_no = ANY ($1::integer[])
  AND ts >= $2::timestamptz - $4::interval AND ts < $3::timestamptz + interval '10 minutes'
  AND coalesce(delay_ms, 0) < extract(epoch FROM $4::interval) * 1000
  AND ts + coalesce(delay_ms, 0) * interval '1 ms' >= $2
  AND ts + coalesce(delay_ms, 0) * interval '1 ms' < $3
ORDER BY ts + coalesce(delay_ms, 0) * interval '1 ms', device_no, ts

-- name: readings_late
SELECT device_no, (extract(epoch FROM ts) * 1000)::bigint AS ts_ms, delay_ms, vals
FROM reading
WHERE device_no = ANY ($1::integer[])
  AND ts >= $2::timestamptz - interval '8 days' AND ts < $3
  AND delay_ms >= extract(epoch FROM $4::interval) * 1000
  AND ts + delay_ms * interval '1 ms' >= $2 AND ts + delay_ms * interval '1 ms' < $3
ORDER BY ts + delay_ms * interval '1 ms', device_no, ts

-- name: events
SELECT device_no, (extract(epoch FROM ts) * 1000)::bigint AS ts_ms,
       (extract(epoch FROM received_at) * 1000)::bigint AS received_ms, event, data
FROM device_event
WHERE device_no = ANY ($1::integer[])
  AND ts >= $2::timestamptz - interval '8 days' AND ts < $3::timestamptz + interval '10 minutes'
  AND received_at >= $2 AND received_at < $3
ORDER BY received_at, device_no, ts, event

-- name: notes
SELECT device_no, (extract(epoch FROM received_at) * 1000)::bigint AS received_ms, note
FROM device_note
WHERE device_no = ANY ($1::integer[]) AND received_at >= $2 AND received_at < $3 AND note->>'type' <> 'silence'
ORDER BY received_at, device_no, note->>'type', (note->>'session')::bigint, (note->>'online')::boolean DESC, note

-- name: silences
SELECT device_no, (note->>'from_ms')::bigint AS from_ms, (extract(epoch FROM received_at) * 1000)::bigint AS to_ms
FROM device_note
WHERE device_no = ANY ($1::integer[]) AND received_at >= $2 AND note->>'type' = 'silence'
  AND (note->>'from_ms')::bigint < extract(epoch FROM $3::timestamptz) * 1000
UNION ALL
SELECT device_no, (extract(epoch FROM last_seen_at) * 1000)::bigint, NULL
FROM device_state
WHERE device_no = ANY ($1::integer[]) AND last_seen_at < $3
ORDER BY device_no, from_ms

-- name: oldest_log
SELECT partition, lane, seq, (extract(epoch FROM committed_at) * 1000)::bigint AS committed_ms
FROM unnest($1::smallint[]) AS p (number), generate_series(0, 1) AS l (lane_no),
     LATERAL (SELECT partition, lane, seq, committed_at FROM ingest_log
              WHERE partition = p.number AND lane = l.lane_no ORDER BY seq LIMIT 1) AS oldest

-- name: log
SELECT lane, seq, committed_at, readings, packed, body
FROM ingest_log
WHERE partition = $1 AND lane = $2 AND committed_at >= $3::timestamptz - interval '1 day'
ORDER BY seq

-- name: delays_since
SELECT min(applied_at) AS at FROM schema_migration WHERE id = '0014_add_history_for_backtests'

-- name: buildings
SELECT id, name, grid_id, x + width / 2 AS x, y + depth / 2 AS y FROM building WHERE community_id = $1

-- name: away
SELECT household_id, (extract(epoch FROM min(away_until)) * 1000)::bigint AS away_until_ms
FROM person WHERE community_id = $1 AND household_id IS NOT NULL
GROUP BY household_id
HAVING bool_and(away_until IS NOT NULL AND away_until > now())

-- name: held_back
SELECT id, community_id, sort, matcher, greatest(starts_at, created_at) AS starts_at, ends_at, ended_at, recurs
FROM silence
WHERE community_id = $1 AND least(ends_at, coalesce(ended_at, ends_at)) > $2
  AND greatest(starts_at, created_at) < $3

-- name: caps
SELECT c.alert_caps, count(d.device_no)::integer AS devices
FROM community AS c LEFT JOIN device AS d ON d.community_id = c.id AND d.retired_at IS NULL
WHERE c.id = $1 GROUP BY c.id
