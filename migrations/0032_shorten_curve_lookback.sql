-- What counters counted, by the arithmetic of meter_gain; a step belongs to the bucket of its later reading.
--
-- meter_gain looks at two readings before each, so of those before the first bucket a device's last two are enough: they
-- are looked for `p_back` back and no more of them is read. Reading all two hours of them for each running quarter of an
-- hour cost twenty times as much. Each device is read by itself, through (device_no, ts), however long the history is:
-- OFFSET 0 keeps the planner from reading the readings of all devices and joining afterwards.
CREATE OR REPLACE FUNCTION curve_counter(p_community text, p_kind text, p_metric text, p_from timestamptz,
                                         p_to timestamptz, p_bucket interval, p_back interval)
    RETURNS TABLE (bucket timestamptz, value float8) LANGUAGE plpgsql STABLE ROWS 100
    SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    v_slot integer := metric_slot(p_kind, p_metric);
BEGIN
    RETURN QUERY
    WITH read AS (
        SELECT m.no, r.ts, epoch_ms(r.ts) AS ms, r.value
        FROM unnest(devices_of_kind(p_community, p_kind)) AS m (no)
        CROSS JOIN LATERAL (
            (SELECT g.ts, g.vals[v_slot] AS value FROM reading g
             WHERE g.device_no = m.no AND g.ts >= p_from - p_back AND g.ts < p_from AND g.vals[v_slot] IS NOT NULL
             ORDER BY g.ts DESC LIMIT 2)
            UNION ALL
            (SELECT g.ts, g.vals[v_slot] FROM reading g
             WHERE g.device_no = m.no AND g.ts >= p_from AND g.ts < p_to AND g.vals[v_slot] IS NOT NULL
             OFFSET 0)
        ) AS r
    ), near AS (
        SELECT r.no, r.ts, r.ms, r.value, lag(r.ms) OVER w AS one_ms, lag(r.value) OVER w AS one,
               lag(r.ms, 2) OVER w AS two_ms, lag(r.value, 2) OVER w AS two
        FROM read r WINDOW w AS (PARTITION BY r.no ORDER BY r.ts)
    ), stepped AS (
        SELECT n.*, m.rate, m.slack, m.modulus, m.retentive,
               CASE WHEN m.swapped THEN meter_offset(n.no, m.position, n.two_ms) ELSE 0 END AS two_off,
               CASE WHEN m.swapped THEN meter_offset(n.no, m.position, n.one_ms) ELSE 0 END AS one_off,
               CASE WHEN m.swapped THEN meter_offset(n.no, m.position, n.ms) ELSE 0 END AS off
        FROM near n JOIN meter m ON m.device_no = n.no AND m.position = v_slot - 1
        WHERE n.ts >= p_from AND n.one_ms IS NOT NULL
        OFFSET 0
    )
    SELECT time_bucket(p_bucket, s.ts),
           sum(coalesce(meter_gain(s.two_ms, s.two, s.two_off, s.one_ms, s.one, s.one_off, s.ms, s.value, s.off,
                                   s.rate, s.slack, s.modulus, s.retentive), 0))
    FROM stepped s GROUP BY 1 ORDER BY 1;
END
$$;

-- A function that is replaced loses its owner's rights and its guard.
SELECT tenant_guard('curve_counter(text, text, text, timestamptz, timestamptz, interval, interval)'::regprocedure);
