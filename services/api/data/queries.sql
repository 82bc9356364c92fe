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
