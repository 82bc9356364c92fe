-- curves of a community by the quarter and the hour, forecasts, when devices were online, and states of a time past
ALTER TABLE community ADD COLUMN open_data boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN community.open_data IS 'its air, parking left and facilities may be read by anybody, without a login';

-- ---- curves ---------------------------------------------------------------------------------------------------

CREATE TABLE curve_quarter (
    community_id text NOT NULL REFERENCES community ON DELETE CASCADE,
    curve        text NOT NULL,
    bucket       timestamptz NOT NULL,
    value        double precision,
    final        boolean NOT NULL,
    PRIMARY KEY (community_id, curve, bucket)
) WITH (fillfactor = 80);
COMMENT ON TABLE curve_quarter IS
    'one curve of a whole community by quarters of an hour; value NULL: nothing was observed; final: its hour is closed
     to telemetry, and what comes later says so in curve_stale';

CREATE TABLE curve_hour (
    community_id text NOT NULL REFERENCES community ON DELETE CASCADE,
    curve        text NOT NULL,
    bucket       timestamptz NOT NULL,
    value        double precision,
    PRIMARY KEY (community_id, curve, bucket)
) WITH (fillfactor = 90);
COMMENT ON TABLE curve_hour IS 'what forecasts are made of, from the roll-ups; value NULL: nothing was observed';

CREATE TABLE curve_stale (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    community_id text NOT NULL REFERENCES community ON DELETE CASCADE,
    hour         timestamptz NOT NULL
);
CREATE INDEX curve_stale_community ON curve_stale (community_id, hour);
COMMENT ON TABLE curve_stale IS 'hours in which readings came late; only ever appended to, and worked off by id';

CREATE FUNCTION curve_marks() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO curve_stale (community_id, hour)
    SELECT DISTINCT d.community_id, n.hour FROM marked n JOIN device d ON d.device_no = n.device_no;
    RETURN NULL;
END
$$;
CREATE TRIGGER rollup_stale_marks_curves AFTER INSERT ON rollup_stale REFERENCING NEW TABLE AS marked
    FOR EACH STATEMENT EXECUTE FUNCTION curve_marks();

-- rollup_refill() says that readings changed past ingest.
CREATE FUNCTION curve_refill() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM curve_quarter q USING community c
    WHERE c.id = q.community_id AND c.partition = NEW.partition AND q.bucket >= NEW.filled_to;
    DELETE FROM curve_hour h USING community c
    WHERE c.id = h.community_id AND c.partition = NEW.partition AND h.bucket >= NEW.filled_to;
    RETURN NULL;
END
$$;
CREATE TRIGGER rollup_refill_refills_curves AFTER UPDATE OF filled_to ON rollup_progress
    FOR EACH ROW WHEN (NEW.filled_to < OLD.filled_to) EXECUTE FUNCTION curve_refill();

CREATE FUNCTION devices_of_kind(p_community text, p_kind text) RETURNS integer[] LANGUAGE sql STABLE AS $$
    SELECT coalesce(array_agg(device_no ORDER BY device_no), '{}') FROM device
    WHERE community_id = p_community AND kind = p_kind
$$;

CREATE FUNCTION metric_slot(p_kind text, p_metric text) RETURNS integer LANGUAGE sql STABLE AS $$
    SELECT position + 1 FROM catalogue_metric WHERE kind = p_kind AND metric = p_metric
$$;

-- The sum over devices of each one's average. Each device is read by itself through (device_no, ts).
CREATE FUNCTION curve_gauge(p_community text, p_kind text, p_metric text, p_from timestamptz, p_to timestamptz,
                            p_bucket interval)
    RETURNS TABLE (bucket timestamptz, value float8) LANGUAGE plpgsql STABLE ROWS 100
    SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    v_slot integer := metric_slot(p_kind, p_metric);
BEGIN
    RETURN QUERY
    SELECT s.at, sum(s.mean) FROM unnest(devices_of_kind(p_community, p_kind)) AS m (no)
    CROSS JOIN LATERAL (
        SELECT time_bucket(p_bucket, r.ts) AS at, avg(r.vals[v_slot]) AS mean FROM reading r
        WHERE r.device_no = m.no AND r.ts >= p_from AND r.ts < p_to AND r.vals[v_slot] IS NOT NULL
        GROUP BY 1
    ) AS s
    GROUP BY s.at ORDER BY s.at;
END
$$;

-- What counters counted, by the arithmetic of meter_gain; a step belongs to the bucket of its later reading. A
-- device's readings before the first bucket are looked for `p_back` back.
CREATE FUNCTION curve_counter(p_community text, p_kind text, p_metric text, p_from timestamptz, p_to timestamptz,
                              p_bucket interval, p_back interval)
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
            SELECT g.ts, g.vals[v_slot] AS value FROM reading g
            WHERE g.device_no = m.no AND g.ts >= p_from - p_back AND g.ts < p_to AND g.vals[v_slot] IS NOT NULL
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

-- Of switches that speak when they change: how many were on at the end of each bucket, by the last word within p_back,
-- scaled up to all of them; nothing where fewer than half are known. p_without: the tag of those that do not count.
CREATE FUNCTION curve_level(p_community text, p_kind text, p_metric text, p_from timestamptz, p_to timestamptz,
                            p_bucket interval, p_back interval, p_without text)
    RETURNS TABLE (bucket timestamptz, value float8) LANGUAGE plpgsql STABLE ROWS 100
    SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    v_slot integer := metric_slot(p_kind, p_metric);
    -- Of all buckets together, for the planner: those of a bucket are known to it only when it has opened the chunks.
    v_from timestamptz := p_from + p_bucket - p_back;
    v_to timestamptz := p_to + p_bucket;
BEGIN
    RETURN QUERY
    WITH asked AS (
        SELECT device_no AS no FROM device
        WHERE community_id = p_community AND kind = p_kind AND retired_at IS NULL AND NOT p_without = ANY (tags)
    ), known AS (
        SELECT b.at, count(r.value) AS n, sum(r.value) AS taken
        FROM generate_series(p_from, p_to - interval '1 microsecond', p_bucket) AS b (at)
        CROSS JOIN asked a
        LEFT JOIN LATERAL (
            SELECT g.vals[v_slot] AS value FROM reading g
            WHERE g.device_no = a.no AND g.ts < b.at + p_bucket AND g.ts >= b.at + p_bucket - p_back
              AND g.ts >= v_from AND g.ts < v_to AND g.vals[v_slot] IS NOT NULL
            ORDER BY g.ts DESC LIMIT 1
        ) AS r ON true
        GROUP BY b.at
    ), whole AS (SELECT count(*) AS n FROM asked)
    SELECT k.at, k.taken * w.n / k.n FROM known k CROSS JOIN whole w
    WHERE k.n > 0 AND k.n * 2 >= w.n ORDER BY k.at;
END
$$;

-- ---- forecasts ------------------------------------------------------------------------------------------------

CREATE TABLE forecast_hour (
    community_id text NOT NULL REFERENCES community ON DELETE CASCADE,
    curve        text NOT NULL,
    hour         timestamptz NOT NULL,
    made_at      timestamptz NOT NULL,
    p10          double precision NOT NULL,
    p50          double precision NOT NULL,
    p90          double precision NOT NULL,
    day_made_at  timestamptz,
    day_p10      double precision,
    day_p50      double precision,
    day_p90      double precision,
    PRIMARY KEY (community_id, curve, hour),
    CHECK (p10 <= p50 AND p50 <= p90)
) WITH (fillfactor = 70);
COMMENT ON TABLE forecast_hour IS
    'the newest foretelling of each hour, made before it began; day_*: the last made before its local day began';

CREATE TABLE forecast_made (
    community_id text NOT NULL REFERENCES community ON DELETE CASCADE,
    curve        text NOT NULL,
    made_for     timestamptz NOT NULL,
    made_at      timestamptz NOT NULL,
    history_days integer NOT NULL,
    ready        boolean NOT NULL,
    PRIMARY KEY (community_id, curve)
);
COMMENT ON COLUMN forecast_made.made_for IS 'the hour from which it foretells; an hour is foretold by one process';

-- ---- what was so at a time past ---------------------------------------------------------------------------------

CREATE TABLE device_online (
    device_no    integer NOT NULL REFERENCES device ON DELETE CASCADE,
    at           timestamptz NOT NULL,
    community_id text NOT NULL,
    online       boolean NOT NULL,
    PRIMARY KEY (device_no, at)
);
CREATE INDEX device_online_community ON device_online (community_id, at);
COMMENT ON TABLE device_online IS 'each change of device_state.online, at the time at which it was known; for replay';

CREATE FUNCTION device_online_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO device_online (device_no, at, community_id, online)
    SELECT NEW.device_no, clock_timestamp(), d.community_id, NEW.online FROM device d WHERE d.device_no = NEW.device_no
    ON CONFLICT (device_no, at) DO UPDATE SET online = excluded.online;
    RETURN NULL;
END
$$;
CREATE TRIGGER device_state_online AFTER UPDATE OF online ON device_state
    FOR EACH ROW WHEN (NEW.online IS DISTINCT FROM OLD.online) EXECUTE FUNCTION device_online_changed();
CREATE TRIGGER device_state_online_first AFTER INSERT ON device_state
    FOR EACH ROW WHEN (NEW.online) EXECUTE FUNCTION device_online_changed();
INSERT INTO device_online (device_no, at, community_id, online)
SELECT s.device_no, coalesce(s.online_since, s.last_seen_at, now()), d.community_id, s.online
FROM device_state s JOIN device d USING (device_no) WHERE s.online;

CREATE INDEX device_event_device_ts ON device_event (device_no, ts DESC);
-- What ends an alert may be older than what fired it: a clock that was put right, a reading that came late.
CREATE FUNCTION alert_stood(p_fired timestamptz, p_cleared timestamptz) RETURNS tstzrange
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT tstzrange(p_fired, CASE WHEN p_cleared < p_fired THEN p_fired ELSE p_cleared END)
$$;
CREATE INDEX alert_span ON alert USING gist (community_id, alert_stood(fired_at, cleared_at));
CREATE INDEX alert_occurrence_alert_at ON alert_occurrence (alert_id, at);

-- Every device of a community as it stood at a time: of each metric the newest value by then, the newest event, and
-- whether it was online. A state is taken from the newest reading; only where that one says nothing of some metric are
-- the readings before it asked, p_deep of them at most. No reading is looked for further back than p_back, no event
-- further than ninety days. What bounds a reading by another is bounded by p_at as well: chunks are opened by it alone.
CREATE FUNCTION states_at(p_community text, p_at timestamptz, p_back interval, p_deep integer)
    RETURNS TABLE (device_no integer, vals float8[], vals_ts timestamptz, online boolean, last_event text,
                   last_event_ts timestamptz) LANGUAGE plpgsql STABLE ROWS 2000
    SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    RETURN QUERY
    SELECT d.device_no,
           CASE WHEN array_position(r.vals, NULL) IS NULL AND cardinality(r.vals) = k.width THEN r.vals
                ELSE (SELECT array_agg(f.value ORDER BY f.slot) FROM (
                          SELECT i.slot, (array_agg(g.vals[i.slot] ORDER BY g.ts DESC)
                                              FILTER (WHERE g.vals[i.slot] IS NOT NULL))[1] AS value
                          FROM generate_series(1, k.width) AS i (slot)
                          CROSS JOIN (SELECT x.ts, x.vals FROM reading x
                                      WHERE x.device_no = d.device_no AND x.ts <= r.ts
                                        AND x.ts <= p_at AND x.ts > p_at - p_back
                                        AND x.ts >= coalesce(w.worn_since, '-infinity')
                                      ORDER BY x.ts DESC LIMIT p_deep) AS g
                          GROUP BY i.slot) AS f) END,
           r.ts, coalesce(o.online, false), e.event, e.ts
    FROM device d
    LEFT JOIN (SELECT c.kind, count(*)::integer AS width FROM catalogue_metric c GROUP BY c.kind) AS k ON k.kind = d.kind
    LEFT JOIN device_consent AS w ON w.device_no = d.device_no
    LEFT JOIN LATERAL (
        SELECT x.ts, x.vals FROM reading x
        WHERE x.device_no = d.device_no AND x.ts <= p_at AND x.ts > p_at - p_back
          AND x.ts >= coalesce(w.worn_since, '-infinity')
        ORDER BY x.ts DESC LIMIT 1
    ) AS r ON true
    LEFT JOIN LATERAL (
        SELECT x.online FROM device_online x WHERE x.device_no = d.device_no AND x.at <= p_at
        ORDER BY x.at DESC LIMIT 1
    ) AS o ON true
    LEFT JOIN LATERAL (
        SELECT x.event, x.ts FROM device_event x
        WHERE x.device_no = d.device_no AND x.ts <= p_at AND x.ts > p_at - INTERVAL '90 days'
          AND x.ts >= coalesce(w.worn_since, '-infinity')
        ORDER BY x.ts DESC LIMIT 1
    ) AS e ON true
    WHERE d.community_id = p_community AND d.created_at <= p_at AND (d.retired_at IS NULL OR d.retired_at > p_at);
END
$$;

-- Readings of one device as they are stored, for curves; never without its community.
CREATE FUNCTION readings_of(p_community text, p_device integer, p_slot integer, p_from timestamptz, p_to timestamptz,
                            p_limit integer)
    RETURNS TABLE (ts timestamptz, value float8) LANGUAGE plpgsql STABLE ROWS 1000
    SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    v_from timestamptz := greatest(p_from, worn_since(p_device));
BEGIN
    IF NOT EXISTS (SELECT FROM device d WHERE d.device_no = p_device AND d.community_id = p_community) THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT r.ts, r.vals[p_slot] FROM reading r
    WHERE r.device_no = p_device AND r.ts >= v_from AND r.ts < p_to AND r.vals[p_slot] IS NOT NULL
    ORDER BY r.ts LIMIT p_limit;
END
$$;

-- The same in buckets, empty ones left out.
CREATE FUNCTION readings_bucketed(p_community text, p_device integer, p_slot integer, p_from timestamptz,
                                  p_to timestamptz, p_bucket interval)
    RETURNS TABLE (bucket timestamptz, n bigint, mean float8, low float8, high float8, total float8, newest float8)
    LANGUAGE plpgsql STABLE ROWS 1000 SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    v_from timestamptz := greatest(p_from, worn_since(p_device));
BEGIN
    IF NOT EXISTS (SELECT FROM device d WHERE d.device_no = p_device AND d.community_id = p_community) THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT time_bucket(p_bucket, r.ts), count(*), avg(r.vals[p_slot]), min(r.vals[p_slot]), max(r.vals[p_slot]),
           sum(r.vals[p_slot]), public.last(r.vals[p_slot], r.ts)
    FROM reading r
    WHERE r.device_no = p_device AND r.ts >= v_from AND r.ts < p_to AND r.vals[p_slot] IS NOT NULL
    GROUP BY 1 ORDER BY 1;
END
$$;

-- Lines of an export, a page of one device: id, time in UTC to the millisecond, and the values asked for, by commas.
CREATE FUNCTION readings_lines(p_community text, p_device integer, p_slots integer[], p_after timestamptz,
                               p_to timestamptz, p_limit integer)
    RETURNS TABLE (line text) LANGUAGE plpgsql STABLE ROWS 1000 SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    v_since timestamptz := worn_since(p_device);
BEGIN
    RETURN QUERY
    SELECT d.id || ',' || to_char(r.ts AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') || ','
           || array_to_string(ARRAY(SELECT r.vals[s.slot] FROM unnest(p_slots) WITH ORDINALITY AS s (slot, n)
                                    ORDER BY s.n), ',', '')
    FROM device d
    CROSS JOIN LATERAL (
        SELECT x.ts, x.vals FROM reading x
        WHERE x.device_no = d.device_no AND x.ts > p_after AND x.ts >= v_since AND x.ts < p_to
        ORDER BY x.ts LIMIT p_limit
    ) AS r
    WHERE d.device_no = p_device AND d.community_id = p_community
    ORDER BY r.ts;
END
$$;

-- What devices said of themselves since a time, newest first.
CREATE FUNCTION device_events(p_community text, p_devices integer[], p_since timestamptz, p_limit integer)
    RETURNS TABLE (device_no integer, ts timestamptz, event text) LANGUAGE plpgsql STABLE ROWS 100
    SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    RETURN QUERY
    SELECT e.device_no, e.ts, e.event FROM device_event e JOIN device d ON d.device_no = e.device_no
    WHERE e.device_no = ANY (p_devices) AND d.community_id = p_community AND e.ts > p_since
      AND e.ts >= worn_since(e.device_no)
    ORDER BY e.ts DESC LIMIT p_limit;
END
$$;

-- Of a device that somebody wears, roll-ups begin with its present wearer: a bucket in which it changed hands is nobody's.
ALTER FUNCTION rollup_of(text, text, integer[], text, timestamptz, timestamptz, text) RENAME TO rollup_of_whole;
CREATE FUNCTION rollup_of(p_community text, p_kind text, p_devices integer[], p_metric text, p_from timestamptz,
                          p_to timestamptz, p_bucket text)
    RETURNS TABLE (device_no integer, bucket timestamptz, n bigint, low float8, high float8, mean float8, last float8)
    LANGUAGE plpgsql STABLE ROWS 500 AS $$
BEGIN
    RETURN QUERY
    SELECT s.* FROM rollup_of_whole(p_community, p_kind, p_devices, p_metric, p_from, p_to, p_bucket) AS s
    LEFT JOIN device_consent AS k ON k.device_no = s.device_no
    WHERE k.device_no IS NULL OR s.bucket >= k.worn_since
    ORDER BY s.device_no, s.bucket;
END
$$;

ALTER FUNCTION meter_of(text, text, integer[], text, timestamptz, timestamptz, text) RENAME TO meter_of_whole;
CREATE FUNCTION meter_of(p_community text, p_kind text, p_devices integer[], p_metric text, p_from timestamptz,
                         p_to timestamptz, p_bucket text)
    RETURNS TABLE (device_no integer, bucket timestamptz, used float8, breaks bigint)
    LANGUAGE plpgsql STABLE ROWS 500 AS $$
BEGIN
    RETURN QUERY
    SELECT s.* FROM meter_of_whole(p_community, p_kind, p_devices, p_metric, p_from, p_to, p_bucket) AS s
    LEFT JOIN device_consent AS k ON k.device_no = s.device_no
    WHERE k.device_no IS NULL OR s.bucket >= k.worn_since;
END
$$;

CREATE INDEX work_order_closed ON work_order (community_id, closed_at) WHERE closed_at IS NOT NULL;
CREATE INDEX work_order_dropped ON work_order (community_id, created_at)
    WHERE state IN ('cancelled', 'false_alarm', 'merged');
