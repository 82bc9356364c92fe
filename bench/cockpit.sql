-- name: load_readings
INSERT INTO reading (device_no, ts, vals)
SELECT d.device_no, s.ts,
       (ARRAY[1e5 + d.device_no * 7 + extract(epoch FROM s.ts) / 86400.0,
              round((300 + 200 * sin(extract(epoch FROM s.ts) / 13750.0 + d.device_no))::numeric, 1)::float8,
              220 + d.device_no % 9, d.device_no % 97, 0.9, 31.25, 12, 7])[1:w.width]
FROM generate_series($1::timestamptz, $2::timestamptz - interval '1 second', interval '1 minute') AS s (ts)
CROSS JOIN device AS d
JOIN (SELECT kind, count(*)::integer AS width FROM catalogue_metric GROUP BY kind) AS w ON w.kind = d.kind

-- name: widths
SELECT coalesce(sum(w.width), 0)
FROM device AS d JOIN (SELECT kind, count(*) AS width FROM catalogue_metric GROUP BY kind) AS w ON w.kind = d.kind

-- name: load_states
INSERT INTO device_state (device_no, online, last_seen_at, vals, vals_ts)
SELECT d.device_no, true, now(), r.vals, r.ts
FROM device AS d
JOIN LATERAL (SELECT ts, vals FROM reading WHERE device_no = d.device_no ORDER BY ts DESC LIMIT 1) AS r ON true
ON CONFLICT (device_no) DO UPDATE SET online = true, vals = excluded.vals, vals_ts = excluded.vals_ts

-- name: load_orders
INSERT INTO work_order (id, community_id, source, device_no, kind, severity, title_zh, title_en, place, team, state,
    version, created_at, dispatched_at, accepted_at, arrived_at, resolved_at, verified_at, closed_at, filed_at,
    resolve_due, correlation, terms)
SELECT gen_random_uuid(), $1, 'alert', d.device_no, d.kind, 'minor', '测', 'bench', d.place, 'patrol',
       CASE WHEN n <= $3 THEN 'dispatched' ELSE 'closed' END, 2, t.at, t.at,
       CASE WHEN n > $3 THEN t.at + interval '40 s' END, CASE WHEN n > $3 THEN t.at + interval '8 min' END,
       CASE WHEN n > $3 THEN t.at + interval '30 min' END, CASE WHEN n > $3 THEN t.at + interval '40 min' END,
       CASE WHEN n > $3 THEN t.at + interval '1 h' END, t.at, t.at + interval '4 h', 'bench', $4
FROM generate_series(1, $2::integer) AS n
CROSS JOIN LATERAL (SELECT now() - n * interval '25 s' AS at) AS t
JOIN (SELECT device_no, kind, place, row_number() OVER (ORDER BY device_no) AS no FROM device) AS d
    ON d.no = n % $5::integer + 1

-- name: settle
VACUUM (ANALYZE) reading, device, device_state, work_order, alert

-- name: checkpoint
CHECKPOINT
