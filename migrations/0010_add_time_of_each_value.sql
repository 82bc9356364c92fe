-- device_state: the time of each value, where a device's metrics come apart
ALTER TABLE device_state ADD COLUMN vals_at bigint[];
COMMENT ON COLUMN device_state.vals_ts IS 'of the newest reading';
COMMENT ON COLUMN device_state.vals_at IS
    'the time of each of vals, epoch ms, 0 where there is none; NULL: all are of vals_ts, as with most devices at most times';

-- Two states of one device as one: of each metric the newer value; of one time, the first state's.
CREATE FUNCTION newest_vals(vals float8[], ts timestamptz, at bigint[], o_vals float8[], o_ts timestamptz, o_at bigint[])
    RETURNS float8[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT coalesce(array_agg(CASE WHEN o_vals[i] IS NULL THEN vals[i]
                                   WHEN vals[i] IS NULL OR coalesce(o_at[i], o_ms) > coalesce(at[i], ms) THEN o_vals[i]
                                   ELSE vals[i] END ORDER BY i), '{}')
    FROM (SELECT epoch_ms(ts) AS ms, epoch_ms(o_ts) AS o_ms) AS newest,
         generate_series(1, greatest(cardinality(vals), cardinality(o_vals))) AS i
$$;

CREATE FUNCTION newest_at(vals float8[], ts timestamptz, at bigint[], o_vals float8[], o_ts timestamptz, o_at bigint[])
    RETURNS bigint[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN bool_or(each.ms NOT IN (0, greatest(newest.ms, o_ms))) THEN array_agg(each.ms ORDER BY i) END
    FROM (SELECT epoch_ms(ts) AS ms, epoch_ms(o_ts) AS o_ms) AS newest,
         generate_series(1, greatest(cardinality(vals), cardinality(o_vals))) AS i,
         LATERAL (SELECT greatest(CASE WHEN vals[i] IS NULL THEN 0 ELSE coalesce(at[i], newest.ms) END,
                                  CASE WHEN o_vals[i] IS NULL THEN 0 ELSE coalesce(o_at[i], o_ms) END) AS ms) AS each
$$;

-- Whether a state says of each metric of an older one something newer. The server inlines it: each write asks.
CREATE FUNCTION replaces_vals(vals float8[], ts timestamptz, at bigint[], old_vals float8[], old_ts timestamptz)
    RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT ts > old_ts AND at IS NULL AND cardinality(vals) >= cardinality(old_vals)
       AND (array_position(vals, NULL) IS NULL OR array_positions(vals, NULL) <@ array_positions(old_vals, NULL))
$$;

-- States of old are put right from the readings. One whose newest reading has all its values stands as it is.
WITH apart AS (
    SELECT s.device_no, s.vals, s.vals_ts
    FROM device_state s
    WHERE s.vals_ts IS NOT NULL AND NOT EXISTS (
        SELECT FROM reading r WHERE r.device_no = s.device_no AND r.ts = s.vals_ts AND r.vals = s.vals
    )
), each AS (
    SELECT a.device_no, i, coalesce(n.val, a.vals[i]) AS val,
           -- What no reading is left of is older than any that may still come.
           CASE WHEN a.vals[i] IS NULL THEN 0 ELSE coalesce(n.ms, 1) END AS ms, epoch_ms(a.vals_ts) AS newest
    FROM apart a
    CROSS JOIN generate_series(1, cardinality(a.vals)) AS i
    LEFT JOIN LATERAL (
        SELECT r.vals[i] AS val, epoch_ms(r.ts) AS ms
        FROM reading r
        WHERE r.device_no = a.device_no AND r.ts <= a.vals_ts AND r.vals[i] IS NOT NULL AND a.vals[i] IS NOT NULL
        ORDER BY r.ts DESC
        LIMIT 1
    ) AS n ON true
), found AS (
    SELECT device_no, array_agg(val ORDER BY i) AS vals,
           CASE WHEN bool_or(ms NOT IN (0, newest)) THEN array_agg(ms ORDER BY i) END AS vals_at
    FROM each
    GROUP BY device_no
)
UPDATE device_state s SET vals = f.vals, vals_at = f.vals_at
FROM found f
WHERE s.device_no = f.device_no;
