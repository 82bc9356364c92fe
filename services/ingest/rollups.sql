-- name: open_partitions
WITH boundary AS (
    INSERT INTO rollup_boundary (partition) SELECT unnest($1::smallint[]) ON CONFLICT DO NOTHING
)
INSERT INTO rollup_progress (partition) SELECT unnest($1::smallint[]) ON CONFLICT DO NOTHING

-- name: share_boundary
SELECT date_part('epoch', closed_to) * 1000 AS closed_ms
FROM rollup_boundary
WHERE partition = ANY ($1::smallint[])
ORDER BY partition
FOR SHARE

-- name: mark_stale
INSERT INTO rollup_stale (device_no, hour)
SELECT DISTINCT device_no, date_trunc('hour', 'epoch'::timestamptz + ts_ms * interval '1 ms')
FROM unnest($1::integer[], $2::bigint[]) AS late (device_no, ts_ms)

-- name: lock_timeout
SELECT set_config('lock_timeout', $1, true)

-- name: close
UPDATE rollup_boundary SET closed_to = date_trunc('hour', now() - $2::interval)
WHERE partition = ANY ($1::smallint[]) AND closed_to < date_trunc('hour', now() - $2::interval)

-- name: lock_progress
SELECT nullif(p.filled_to, '-infinity') AS filled_to, p.next_device, nullif(b.closed_to, '-infinity') AS closed_to
FROM rollup_progress p
JOIN rollup_boundary b USING (partition)
WHERE p.partition = $1
FOR UPDATE OF p SKIP LOCKED

-- name: first_hour
SELECT least(date_trunc('hour', readings_from()), $1)

-- name: save_progress
UPDATE rollup_progress SET filled_to = $2, next_device = $3 WHERE partition = $1

-- name: take_marks
DELETE FROM rollup_stale
WHERE id IN (
    SELECT s.id
    FROM rollup_stale s
    JOIN device d USING (device_no)
    JOIN community c ON c.id = d.community_id
    WHERE c.partition = $1
    ORDER BY s.id
    LIMIT $2
)
RETURNING device_no, hour

-- name: next_devices
SELECT d.device_no
FROM device d
JOIN community c ON c.id = d.community_id
WHERE c.partition = $1 AND d.device_no >= $2
ORDER BY d.device_no
LIMIT $3

-- name: fill_hours
INSERT INTO rollup_hour AS kept (device_no, bucket, readings, n, low, high, total, last)
SELECT todo.device_no, todo.hour, found.readings, found.n, found.low, found.high, found.total, found.last
FROM unnest($1::integer[], $2::timestamptz[]) AS todo (device_no, hour)
CROSS JOIN LATERAL (
    SELECT max(metric.readings) AS readings, array_agg(metric.n ORDER BY metric.slot) AS n,
           array_agg(metric.low ORDER BY metric.slot) AS low, array_agg(metric.high ORDER BY metric.slot) AS high,
           array_agg(metric.total ORDER BY metric.slot) AS total, array_agg(metric.last ORDER BY metric.slot) AS last
    FROM (
        SELECT cell.slot, count(*) AS readings, count(cell.value) AS n, min(cell.value) AS low, max(cell.value) AS high,
               sum(cell.value) AS total, last(cell.value, cell.ts) FILTER (WHERE cell.value IS NOT NULL) AS last
        FROM (
            SELECT r.ts, generate_subscripts(r.vals, 1) AS slot, unnest(r.vals) AS value
            FROM reading r
            WHERE r.device_no = todo.device_no AND r.ts >= todo.hour AND r.ts < todo.hour + INTERVAL '1 hour'
              AND r.ts >= $3 AND r.ts < $4
        ) AS cell
        GROUP BY cell.slot
    ) AS metric
) AS found
WHERE found.readings > 0
-- Fewer readings than before: the rest was dropped as too old. What was found while they were there stands.
ON CONFLICT (device_no, bucket) DO UPDATE SET
    readings = excluded.readings, n = excluded.n, low = excluded.low, high = excluded.high, total = excluded.total,
    last = excluded.last
WHERE excluded.readings >= kept.readings

-- name: fill_meter_hours
INSERT INTO meter_hour AS kept (device_no, position, n, bucket, first_ms, first, second_ms, second, penult_ms, penult,
                                last_ms, last, used, breaks)
SELECT found.device_no, found.position, found.n, found.hour, epoch_ms(at[1]), val[1], epoch_ms(at[2]), val[2],
       epoch_ms(CASE WHEN found.n > 1 THEN at[found.n - 1] END), CASE WHEN found.n > 1 THEN val[found.n - 1] END,
       epoch_ms(at[found.n]), val[found.n],
       CASE WHEN found.n < 3 THEN 0 WHEN found.smooth THEN val[found.n] - val[2] ELSE step.used END,
       CASE WHEN found.n < 3 OR found.smooth THEN 0 ELSE step.breaks END
FROM (
    SELECT todo.device_no, todo.hour, m.position, m.rate, m.slack, m.modulus, m.retentive, m.swapped, raw.n, raw.at,
           raw.val,
           -- It never fell, and rose by less in all than a single step may: no need to judge each.
           NOT m.swapped AND raw.rising AND raw.val[raw.n] - raw.val[1] <= m.rate * m.slack AS smooth
    FROM unnest($1::integer[], $2::timestamptz[]) AS todo (device_no, hour)
    JOIN meter m ON m.device_no = todo.device_no
    CROSS JOIN LATERAL (
        SELECT count(*)::integer AS n, array_agg(ts ORDER BY ts) AS at, array_agg(value ORDER BY ts) AS val,
               array_agg(value ORDER BY value) = array_agg(value ORDER BY ts) AS rising
        FROM (
            SELECT r.ts, r.vals[m.position + 1] AS value
            FROM reading r
            WHERE r.device_no = todo.device_no AND r.ts >= todo.hour AND r.ts < todo.hour + INTERVAL '1 hour'
              AND r.ts >= $3 AND r.ts < $4 AND r.vals[m.position + 1] IS NOT NULL
            ORDER BY r.ts
        ) AS point
    ) AS raw
    WHERE raw.n > 0
    OFFSET 0
) AS found
CROSS JOIN LATERAL (
    SELECT coalesce(sum(gain), 0) AS used, count(*) FILTER (WHERE gain IS NULL) AS breaks
    FROM (
        SELECT meter_gain(two_ms, two, two_off, one_ms, one, one_off, ms, value, off, found.rate, found.slack,
                          found.modulus, found.retentive) AS gain
        FROM (
            SELECT ms, value, off, lag(ms) OVER w AS one_ms, lag(value) OVER w AS one, lag(off) OVER w AS one_off,
                   lag(ms, 2) OVER w AS two_ms, lag(value, 2) OVER w AS two, lag(off, 2) OVER w AS two_off
            FROM (
                SELECT epoch_ms(u.ts) AS ms, u.value,
                       CASE WHEN found.swapped THEN meter_offset(found.device_no, found.position, epoch_ms(u.ts))
                            ELSE 0 END AS off
                FROM unnest(CASE WHEN NOT found.smooth THEN found.at END, CASE WHEN NOT found.smooth THEN found.val END)
                    AS u (ts, value)
                OFFSET 0
            ) AS point
            WINDOW w AS (ORDER BY ms)
        ) AS near
        WHERE two_ms IS NOT NULL
    ) AS judged
) AS step
ON CONFLICT (device_no, position, bucket) DO UPDATE SET
    n = excluded.n, first_ms = excluded.first_ms, first = excluded.first, second_ms = excluded.second_ms,
    second = excluded.second, penult_ms = excluded.penult_ms, penult = excluded.penult, last_ms = excluded.last_ms,
    last = excluded.last, used = excluded.used, breaks = excluded.breaks
WHERE excluded.n >= kept.n

-- name: whole_days
SELECT DISTINCT d.device_no, day.begin, day.past
FROM unnest($1::integer[], $2::timestamptz[]) AS todo (device_no, hour)
JOIN device d USING (device_no)
JOIN community c ON c.id = d.community_id
CROSS JOIN LATERAL (
    SELECT date_trunc('day', todo.hour, c.timezone) AS begin,
           (date_trunc('day', todo.hour, c.timezone) AT TIME ZONE c.timezone + INTERVAL '1 day')
               AT TIME ZONE c.timezone AS past
) AS day
WHERE day.past <= $3

-- name: fill_days
INSERT INTO rollup_day AS kept (device_no, bucket, readings, n, low, high, total, last)
SELECT todo.device_no, todo.begin, found.*
FROM unnest($1::integer[], $2::timestamptz[], $3::timestamptz[]) AS todo (device_no, begin, past)
CROSS JOIN LATERAL (
    SELECT max(metric.readings), array_agg(metric.n ORDER BY slot), array_agg(metric.low ORDER BY slot),
           array_agg(metric.high ORDER BY slot), array_agg(metric.total ORDER BY slot),
           array_agg(metric.last ORDER BY slot)
    FROM (
        SELECT cell.slot, sum(cell.readings)::integer AS readings, sum(cell.n)::integer AS n, min(cell.low) AS low,
               max(cell.high) AS high, sum(cell.total) AS total,
               last(cell.last, cell.bucket) FILTER (WHERE cell.n > 0) AS last
        FROM (
            SELECT h.bucket, h.readings, generate_subscripts(h.n, 1) AS slot, unnest(h.n) AS n, unnest(h.low) AS low,
                   unnest(h.high) AS high, unnest(h.total) AS total, unnest(h.last) AS last
            FROM rollup_hour h
            WHERE h.device_no = todo.device_no AND h.bucket >= todo.begin AND h.bucket < todo.past
              AND h.bucket >= $4 AND h.bucket < $5
        ) AS cell
        GROUP BY cell.slot
    ) AS metric
) AS found (readings, n, low, high, total, last)
WHERE found.readings > 0
ON CONFLICT (device_no, bucket) DO UPDATE SET
    readings = excluded.readings, n = excluded.n, low = excluded.low, high = excluded.high, total = excluded.total,
    last = excluded.last
WHERE excluded.readings >= kept.readings

-- name: fill_meter_days
WITH hour AS (
    SELECT h.*, todo.begin, m.rate, m.slack, m.modulus, m.retentive, m.swapped,
           lag(h.last_ms) OVER w AS one_ms, lag(h.last) OVER w AS one,
           CASE WHEN lag(h.n) OVER w > 1 THEN lag(h.penult_ms) OVER w ELSE lag(h.last_ms, 2) OVER w END AS two_ms,
           CASE WHEN lag(h.n) OVER w > 1 THEN lag(h.penult) OVER w ELSE lag(h.last, 2) OVER w END AS two,
           lead(h.first_ms) OVER w AS next_ms, lead(h.first) OVER w AS next
    FROM unnest($1::integer[], $2::timestamptz[], $3::timestamptz[]) AS todo (device_no, begin, past)
    JOIN meter m ON m.device_no = todo.device_no
    JOIN meter_hour h ON h.device_no = m.device_no AND h.position = m.position AND h.bucket >= todo.begin
        AND h.bucket < todo.past AND h.bucket >= $4 AND h.bucket < $5
    WINDOW w AS (PARTITION BY h.device_no, h.position, todo.begin ORDER BY h.bucket)
), stepped AS (
    SELECT h.*,
           CASE WHEN h.swapped THEN meter_offset(h.device_no, h.position, h.two_ms) ELSE 0 END AS two_off,
           CASE WHEN h.swapped THEN meter_offset(h.device_no, h.position, h.one_ms) ELSE 0 END AS one_off,
           CASE WHEN h.swapped THEN meter_offset(h.device_no, h.position, h.first_ms) ELSE 0 END AS first_off,
           CASE WHEN h.swapped THEN meter_offset(h.device_no, h.position, h.second_ms) ELSE 0 END AS second_off
    FROM hour h
    OFFSET 0
), gained AS (
    SELECT s.*,
           -- The day's own first two readings are left to whoever knows the day before.
           s.two_ms IS NOT NULL AS counts_first, s.n > 1 AND s.one_ms IS NOT NULL AS counts_second,
           meter_gain(s.two_ms, s.two, s.two_off, s.one_ms, s.one, s.one_off, s.first_ms, s.first, s.first_off,
                      s.rate, s.slack, s.modulus, s.retentive) AS at_first,
           meter_gain(s.one_ms, s.one, s.one_off, s.first_ms, s.first, s.first_off, s.second_ms, s.second,
                      s.second_off, s.rate, s.slack, s.modulus, s.retentive) AS at_second
    FROM stepped s
)
INSERT INTO meter_day AS kept (device_no, position, n, bucket, first_ms, first, second_ms, second, penult_ms, penult,
                               last_ms, last, used, breaks)
SELECT g.device_no, g.position, sum(g.n), g.begin, first(g.first_ms, g.bucket), first(g.first, g.bucket),
       first(coalesce(g.second_ms, g.next_ms), g.bucket), first(coalesce(g.second, g.next), g.bucket),
       last(coalesce(g.penult_ms, g.one_ms), g.bucket), last(coalesce(g.penult, g.one), g.bucket),
       last(g.last_ms, g.bucket), last(g.last, g.bucket),
       sum(g.used + CASE WHEN g.counts_first THEN coalesce(g.at_first, 0) ELSE 0 END
           + CASE WHEN g.counts_second THEN coalesce(g.at_second, 0) ELSE 0 END),
       sum(g.breaks + CASE WHEN g.counts_first AND g.at_first IS NULL THEN 1 ELSE 0 END
           + CASE WHEN g.counts_second AND g.at_second IS NULL THEN 1 ELSE 0 END)
FROM gained g
GROUP BY g.device_no, g.position, g.begin
ON CONFLICT (device_no, position, bucket) DO UPDATE SET
    n = excluded.n, first_ms = excluded.first_ms, first = excluded.first, second_ms = excluded.second_ms,
    second = excluded.second, penult_ms = excluded.penult_ms, penult = excluded.penult, last_ms = excluded.last_ms,
    last = excluded.last, used = excluded.used, breaks = excluded.breaks
WHERE excluded.n >= kept.n
