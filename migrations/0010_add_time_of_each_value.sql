-- device_state: the time of each value, where a device's metrics come apart
ALTER TABLE device_state ADD COLUMN vals_at bigint[];
COMMENT ON COLUMN device_state.vals_ts IS 'of the newest reading';
COMMENT ON COLUMN device_state.vals_at IS
    'the time of each of vals, epoch ms, 0 where there is none; NULL: all are of vals_ts, as with most devices at most times';

-- Two states of one device as one: of each metric the newer value; of one time, the first state's. Loops, because a
-- query in their place costs ten times as much, once a device and write.
CREATE FUNCTION newest_vals(vals float8[], ts timestamptz, at bigint[], o_vals float8[], o_ts timestamptz, o_at bigint[])
    RETURNS float8[] LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    ms bigint := epoch_ms(ts);
    o_ms bigint := epoch_ms(o_ts);
BEGIN
    FOR i IN 1 .. greatest(cardinality(vals), cardinality(o_vals)) LOOP
        IF vals[i] IS NULL OR (o_vals[i] IS NOT NULL AND coalesce(o_at[i], o_ms) > coalesce(at[i], ms)) THEN
            vals[i] := o_vals[i];
        END IF;
    END LOOP;
    RETURN vals;
END
$$;

CREATE FUNCTION newest_at(vals float8[], ts timestamptz, at bigint[], o_vals float8[], o_ts timestamptz, o_at bigint[])
    RETURNS bigint[] LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
    ms bigint := epoch_ms(ts);
    o_ms bigint := epoch_ms(o_ts);
    newest bigint := greatest(ms, o_ms);
    one bigint;
    apart boolean := false;
    found bigint[] := '{}';
BEGIN
    FOR i IN 1 .. greatest(cardinality(vals), cardinality(o_vals)) LOOP
        one := greatest(CASE WHEN vals[i] IS NULL THEN 0 ELSE coalesce(at[i], ms) END,
                        CASE WHEN o_vals[i] IS NULL THEN 0 ELSE coalesce(o_at[i], o_ms) END);
        apart := apart OR one NOT IN (0, newest);
        found[i] := one;
    END LOOP;
    RETURN CASE WHEN apart THEN found END;
END
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
