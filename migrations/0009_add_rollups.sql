-- hour and day roll-ups of every metric, metering of counters, and how far both are filled
ALTER TABLE catalogue_metric
    ADD COLUMN max_per_h double precision CHECK (max_per_h > 0),
    ADD COLUMN household_per_h double precision CHECK (household_per_h > 0),
    ADD COLUMN slack_h double precision CHECK (slack_h >= 0),
    ADD COLUMN modulus double precision CHECK (modulus > 0),
    ADD COLUMN retentive boolean;
COMMENT ON COLUMN catalogue_metric.max_per_h IS 'of counters: the most that the largest device of the kind counts in an hour';

-- A day is made of hours, so a local day must begin at a whole hour of UTC; every zone of China does.
CREATE FUNCTION whole_hours(p_timezone text) RETURNS boolean LANGUAGE sql STABLE AS $$
    SELECT extract(minute FROM now() AT TIME ZONE p_timezone) = extract(minute FROM now() AT TIME ZONE 'UTC')
$$;
ALTER TABLE community ADD CONSTRAINT community_timezone_whole_hours CHECK (whole_hours(timezone));

CREATE TABLE meter_rating (
    device_no integer NOT NULL REFERENCES device ON DELETE CASCADE,
    position  smallint NOT NULL,
    max_per_h double precision CHECK (max_per_h > 0),
    modulus   double precision CHECK (modulus > 0),
    PRIMARY KEY (device_no, position)
);
COMMENT ON TABLE meter_rating IS 'what one device is built for, where that is not what its kind is';

CREATE TABLE meter_swap (
    device_no   integer NOT NULL REFERENCES device ON DELETE CASCADE,
    position    smallint NOT NULL,
    at          timestamptz NOT NULL,
    final_old   double precision NOT NULL CHECK (final_old >= 0),
    initial_new double precision NOT NULL CHECK (initial_new >= 0),
    recorded_by text NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (device_no, position, at)
);
COMMENT ON TABLE meter_swap IS 'readings from `at` on are the new meter''s';

CREATE VIEW meter AS
SELECT d.device_no, m.position, m.metric, coalesce(m.slack_h, 0) AS slack, coalesce(m.retentive, true) AS retentive,
       coalesce(r.max_per_h, CASE WHEN d.household_id IS NOT NULL THEN m.household_per_h END, m.max_per_h) AS rate,
       coalesce(r.modulus, m.modulus) AS modulus,
       EXISTS (SELECT FROM meter_swap s WHERE s.device_no = d.device_no AND s.position = m.position) AS swapped
FROM device d
JOIN catalogue_metric m ON m.kind = d.kind AND m.max_per_h IS NOT NULL
LEFT JOIN meter_rating r ON r.device_no = d.device_no AND r.position = m.position;

-- What services/domain/metering.py calls an offset: what swaps up to this time added to the register.
CREATE FUNCTION meter_offset(p_device integer, p_position smallint, p_ms bigint) RETURNS double precision
    LANGUAGE sql STABLE AS $$
    SELECT coalesce(sum(final_old - initial_new), 0) FROM meter_swap
    WHERE device_no = p_device AND position = p_position AND at <= 'epoch'::timestamptz + p_ms * interval '1 ms'
$$;

CREATE FUNCTION epoch_ms(p_at timestamptz) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT round(date_part('epoch', p_at) * 1000)::bigint
$$;

-- Meter.onward, Meter.restarted and Meter.gain of services/domain/metering.py, in the same arithmetic.
CREATE FUNCTION meter_onward(gap_ms bigint, moved float8, rate float8, slack float8, modulus float8) RETURNS float8
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN moved >= 0 AND moved <= rate * (gap_ms / 3600000.0::float8 + slack) THEN moved
                WHEN moved < 0 AND moved + modulus >= 0 AND moved + modulus <= rate * (gap_ms / 3600000.0::float8 + slack)
                THEN moved + modulus END
$$;

CREATE FUNCTION meter_restarted(gap_ms bigint, moved float8, value float8, rate float8, slack float8) RETURNS float8
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE WHEN moved < 0 AND value <= rate * (gap_ms / 3600000.0::float8 + slack) THEN value END
$$;

-- What a reading adds after the two before it (NULL in place of one that is not there); NULL: a break.
-- Hand it plain columns only: then the planner writes it out in place of calling it, a tenth of the cost.
CREATE FUNCTION meter_gain(two_ms bigint, two float8, two_off float8, one_ms bigint, one float8, one_off float8,
                           ms bigint, value float8, off float8,
                           rate float8, slack float8, modulus float8, retentive boolean) RETURNS float8
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE
        WHEN one_ms IS NULL THEN 0
        WHEN two_ms IS NOT NULL
             AND meter_onward(one_ms - two_ms, (one - two) + (one_off - two_off), rate, slack, modulus) IS NULL
             AND meter_onward(ms - two_ms, (value - two) + (off - two_off), rate, slack, modulus) IS NOT NULL
             AND (meter_onward(ms - one_ms, (value - one) + (off - one_off), rate, slack, modulus) IS NULL
                  OR (retentive AND (one - two) + (one_off - two_off) < 0))
        THEN greatest(meter_onward(ms - two_ms, (value - two) + (off - two_off), rate, slack, modulus)
                      - coalesce(meter_restarted(one_ms - two_ms, (one - two) + (one_off - two_off), one, rate, slack),
                                 0), 0)
        ELSE coalesce(meter_onward(ms - one_ms, (value - one) + (off - one_off), rate, slack, modulus),
                      meter_restarted(ms - one_ms, (value - one) + (off - one_off), value, rate, slack)) END
$$;

CREATE TABLE rollup_hour (
    device_no integer NOT NULL,
    bucket    timestamptz NOT NULL,
    readings  integer NOT NULL,
    n         integer[] NOT NULL,
    low       double precision[] NOT NULL,
    high      double precision[] NOT NULL,
    total     double precision[] NOT NULL,
    last      double precision[] NOT NULL
);
COMMENT ON TABLE rollup_hour IS
    'arrays in the order of catalogue_metric; read it through rollup_series(), which knows what is not yet in it';
SELECT create_hypertable('rollup_hour', 'bucket', chunk_time_interval => INTERVAL '90 days', create_default_indexes => false);
CREATE UNIQUE INDEX rollup_hour_key ON rollup_hour (device_no, bucket);

CREATE TABLE rollup_day (
    device_no integer NOT NULL,
    bucket    timestamptz NOT NULL,
    readings  integer NOT NULL,
    n         integer[] NOT NULL,
    low       double precision[] NOT NULL,
    high      double precision[] NOT NULL,
    total     double precision[] NOT NULL,
    last      double precision[] NOT NULL,
    PRIMARY KEY (device_no, bucket)
);
COMMENT ON COLUMN rollup_day.bucket IS 'where the day begins in the community''s time zone';

CREATE TABLE meter_hour (
    device_no integer NOT NULL,
    position  smallint NOT NULL,
    n         integer NOT NULL,
    bucket    timestamptz NOT NULL,
    first_ms  bigint NOT NULL,
    first     double precision NOT NULL,
    second_ms bigint,
    second    double precision,
    penult_ms bigint,
    penult    double precision,
    last_ms   bigint NOT NULL,
    last      double precision NOT NULL,
    used      double precision NOT NULL,
    breaks    integer NOT NULL
);
COMMENT ON TABLE meter_hour IS
    'a Summary of services/domain/metering.py: the first two and last two readings of the hour, and what was used from
     the third on; what the first two add depends on the hours before and is found when it is read: meter_series()';
SELECT create_hypertable('meter_hour', 'bucket', chunk_time_interval => INTERVAL '90 days', create_default_indexes => false);
CREATE UNIQUE INDEX meter_hour_key ON meter_hour (device_no, position, bucket);

CREATE TABLE meter_day (
    device_no integer NOT NULL,
    position  smallint NOT NULL,
    n         integer NOT NULL,
    bucket    timestamptz NOT NULL,
    first_ms  bigint NOT NULL,
    first     double precision NOT NULL,
    second_ms bigint,
    second    double precision,
    penult_ms bigint,
    penult    double precision,
    last_ms   bigint NOT NULL,
    last      double precision NOT NULL,
    used      double precision NOT NULL,
    breaks    integer NOT NULL,
    PRIMARY KEY (device_no, position, bucket)
);

-- Two rows and not one: telemetry shares the first while it commits, the roll-up job holds the second while it works.
CREATE TABLE rollup_boundary (
    partition smallint PRIMARY KEY,
    closed_to timestamptz NOT NULL DEFAULT '-infinity'
) WITH (fillfactor = 50);
COMMENT ON COLUMN rollup_boundary.closed_to IS
    'a reading older than this says so in rollup_stale; telemetry holds the row FOR SHARE from reading it to its commit';

CREATE TABLE rollup_progress (
    partition   smallint PRIMARY KEY,
    filled_to   timestamptz NOT NULL DEFAULT '-infinity',
    next_device integer NOT NULL DEFAULT 0
) WITH (fillfactor = 50);
COMMENT ON TABLE rollup_progress IS
    'hours before filled_to stand in the roll-ups unless marked stale; of the hour at filled_to the devices below next_device';
INSERT INTO rollup_boundary (partition) SELECT generate_series(0, 15);
INSERT INTO rollup_progress (partition) SELECT generate_series(0, 15);

CREATE TABLE rollup_stale (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    device_no integer NOT NULL,
    hour      timestamptz NOT NULL
);
CREATE INDEX rollup_stale_hour ON rollup_stale (device_no, hour);
COMMENT ON TABLE rollup_stale IS
    'hours that are read from `reading` until they are worked out again. Only ever appended to, so a mark that is not
     yet committed can never be mistaken for one that is being worked off';

-- A device that comes to a partition that is further on would be missing from the hours in between.
CREATE FUNCTION rollup_moved() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_since timestamptz;
    v_upto timestamptz;
BEGIN
    SELECT op.filled_to, np.filled_to INTO v_since, v_upto
    FROM community nc
    JOIN rollup_progress np ON np.partition = nc.partition
    CROSS JOIN community oc
    JOIN rollup_progress op ON op.partition = oc.partition
    WHERE nc.id = NEW.community_id AND oc.id = OLD.community_id AND np.filled_to > op.filled_to;
    IF FOUND THEN
        -- In a statement of its own, which hardly ever runs: it looks into every chunk there is.
        IF NOT isfinite(v_since) THEN
            SELECT date_trunc('hour', min(ts)) INTO v_since FROM reading WHERE device_no = NEW.device_no;
        END IF;
        INSERT INTO rollup_stale (device_no, hour)
        SELECT NEW.device_no, hour FROM generate_series(v_since, v_upto, INTERVAL '1 hour') AS hour;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER device_rollup_moved AFTER UPDATE OF community_id ON device
    FOR EACH ROW WHEN (OLD.community_id <> NEW.community_id) EXECUTE FUNCTION rollup_moved();

-- Readings older than this may have been dropped: what was rolled up of them stands and cannot be worked out again.
CREATE FUNCTION readings_from() RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT coalesce(min(range_start), 'infinity') FROM timescaledb_information.chunks
    WHERE hypertable_schema = 'public' AND hypertable_name = 'reading'
$$;

-- A swap changes how the hour it falls into is counted, and that hour's day; every other is joined when it is read.
CREATE FUNCTION meter_swap_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO rollup_stale (device_no, hour)
    SELECT DISTINCT row.device_no, date_trunc('hour', row.at)
    FROM (SELECT old.device_no, old.at WHERE TG_OP <> 'INSERT'
          UNION ALL SELECT new.device_no, new.at WHERE TG_OP <> 'DELETE') AS row
    WHERE row.at >= readings_from();
    RETURN NULL;
END
$$;
CREATE TRIGGER meter_swap_changed AFTER INSERT OR UPDATE OR DELETE ON meter_swap
    FOR EACH ROW EXECUTE FUNCTION meter_swap_changed();

-- Another bound judges every step anew, as far back as there are readings to judge.
CREATE FUNCTION meter_rating_changed() RETURNS trigger LANGUAGE plpgsql SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    v_from timestamptz := readings_from();
BEGIN
    INSERT INTO rollup_stale (device_no, hour)
    SELECT h.device_no, h.bucket
    FROM meter_hour h
    WHERE h.device_no = coalesce(new.device_no, old.device_no) AND h.position = coalesce(new.position, old.position)
      AND h.bucket >= v_from;
    RETURN NULL;
END
$$;
CREATE TRIGGER meter_rating_changed AFTER INSERT OR UPDATE OR DELETE ON meter_rating
    FOR EACH ROW EXECUTE FUNCTION meter_rating_changed();

-- What both kinds of series begin with; no row where the kind has no such metric. `kept` ends what is taken from the
-- roll-ups, `days` what is taken from those of days; `stale_from` and `stale_to` bound what is stale (NULL: nothing is).
CREATE TYPE rollup_range AS (
    slot integer, zone text, bucket text, first timestamptz, past timestamptz, filled timestamptz, kept timestamptz,
    days timestamptz, stale_from timestamptz, stale_to timestamptz
);

CREATE FUNCTION rollup_scope(p_community text, p_kind text, p_devices integer[], p_metric text, p_from timestamptz,
                             p_to timestamptz, p_bucket text)
    RETURNS SETOF rollup_range LANGUAGE sql STABLE ROWS 1 AS $$
    SELECT scope.slot, scope.zone, p_bucket, scope.first, scope.past, scope.filled, scope.kept,
           CASE p_bucket WHEN 'day' THEN greatest(scope.first, date_trunc('day', scope.kept, scope.zone))
                         ELSE scope.first END,
           stale.begin, stale.past
    FROM (
        SELECT m.position + 1 AS slot, c.timezone AS zone, edge.first, edge.past,
               coalesce(p.filled_to, '-infinity') AS filled,
               greatest(edge.first, least(edge.past, coalesce(p.filled_to, '-infinity'))) AS kept
        FROM community c
        JOIN catalogue_metric m ON m.kind = p_kind AND m.metric = p_metric
        LEFT JOIN rollup_progress p ON p.partition = c.partition
        CROSS JOIN LATERAL (
            SELECT date_trunc(p_bucket, p_from, c.timezone),
                   CASE p_bucket
                       WHEN 'hour' THEN date_trunc('hour', p_to - INTERVAL '1 microsecond') + INTERVAL '1 hour'
                       WHEN 'day' THEN (date_trunc('day', p_to - INTERVAL '1 microsecond', c.timezone)
                                        AT TIME ZONE c.timezone + INTERVAL '1 day') AT TIME ZONE c.timezone END
        ) AS edge (first, past)
        WHERE c.id = p_community AND p_from < p_to
    ) AS scope
    CROSS JOIN LATERAL (
        SELECT min(s.hour), max(s.hour) + INTERVAL '1 hour'
        FROM rollup_stale s
        WHERE s.device_no = ANY (p_devices) AND s.hour < least(scope.kept, scope.filled)
    ) AS stale (begin, past)
$$;

-- What the buckets of one metric are made of, from wherever it stands: whole days, hours, single readings; each for one
-- bucket, none twice. A source is asked only where the range needs it, and planned anew for its own times: a plan for
-- all times would lock every chunk of history, and fail beside one that is just being dropped.
-- Each device is read by itself (LATERAL … OFFSET 0): all at once, the planner would read whole chunks.
CREATE FUNCTION rollup_pieces(p_devices integer[], v rollup_range)
    RETURNS TABLE (no integer, b timestamptz, at timestamptz, n integer, low float8, high float8, total float8, last float8)
    LANGUAGE plpgsql STABLE ROWS 1000 SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    v_at integer := v.slot;
    v_zone text := v.zone;
    v_stale_days timestamptz := v.stale_from - INTERVAL '2 days';
    v_stale_past timestamptz := v.stale_to + INTERVAL '2 days';
BEGIN
    IF v.bucket = 'day' AND v.first < v.days THEN
        RETURN QUERY
        SELECT a.no, r.*
        FROM unnest(p_devices) AS a (no) CROSS JOIN LATERAL (
            SELECT h.bucket, h.bucket, h.n[v_at], h.low[v_at], h.high[v_at], h.total[v_at], h.last[v_at]
            FROM rollup_day h
            WHERE h.device_no = a.no AND h.bucket >= v.first AND h.bucket < v.days OFFSET 0
        ) AS r (b, at, n, low, high, total, last)
        WHERE NOT EXISTS (SELECT FROM rollup_stale s
                          WHERE s.device_no = a.no AND s.hour >= v.stale_from AND s.hour < v.stale_to
                            AND date_trunc('day', s.hour, v_zone) = r.b);
    END IF;
    IF v.days < v.kept THEN
        RETURN QUERY
        SELECT a.no, CASE v.bucket WHEN 'day' THEN date_trunc('day', r.at, v_zone) ELSE r.at END, r.*
        FROM unnest(p_devices) AS a (no) CROSS JOIN LATERAL (
            SELECT h.bucket, h.n[v_at], h.low[v_at], h.high[v_at], h.total[v_at], h.last[v_at]
            FROM rollup_hour h
            WHERE h.device_no = a.no AND h.bucket >= v.days AND h.bucket < v.kept OFFSET 0
        ) AS r (at, n, low, high, total, last)
        WHERE NOT EXISTS (SELECT FROM rollup_stale s
                          WHERE s.device_no = a.no AND s.hour >= v.stale_from AND s.hour < v.stale_to AND s.hour = r.at);
    END IF;
    IF v.kept < v.past THEN
        RETURN QUERY
        SELECT a.no, date_trunc(v.bucket, r.ts, v_zone), r.ts, 1, r.value, r.value, r.value, r.value
        FROM unnest(p_devices) AS a (no) CROSS JOIN LATERAL (
            SELECT g.ts, g.vals[v_at] FROM reading g
            WHERE g.device_no = a.no AND g.ts >= v.kept AND g.ts < v.past AND g.vals[v_at] IS NOT NULL OFFSET 0
        ) AS r (ts, value);
    END IF;
    IF v.stale_from IS NULL THEN
        RETURN;
    END IF;
    -- The hours of stale days that are not stale themselves, then the readings of those that are.
    RETURN QUERY
    WITH stale AS MATERIALIZED (
        SELECT DISTINCT s.device_no AS no, s.hour, date_trunc('day', s.hour, v_zone) AS day
        FROM rollup_stale s
        WHERE s.device_no = ANY (p_devices) AND s.hour >= v.stale_from AND s.hour < v.stale_to AND s.hour >= v.first
    )
    SELECT a.no, a.day, r.*
    FROM (SELECT DISTINCT s.no, s.day FROM stale s WHERE s.day >= v.first AND s.day < v.days AND v.bucket = 'day') AS a
    CROSS JOIN LATERAL (
        SELECT h.bucket, h.n[v_at], h.low[v_at], h.high[v_at], h.total[v_at], h.last[v_at]
        FROM rollup_hour h
        WHERE h.device_no = a.no AND h.bucket >= a.day
          AND h.bucket < (a.day AT TIME ZONE v_zone + INTERVAL '1 day') AT TIME ZONE v_zone
          AND h.bucket >= v_stale_days AND h.bucket < v_stale_past OFFSET 0
    ) AS r (at, n, low, high, total, last)
    WHERE NOT EXISTS (SELECT FROM stale s WHERE s.no = a.no AND s.hour = r.at)
    UNION ALL
    SELECT a.no, date_trunc(v.bucket, r.ts, v_zone), r.ts, 1, r.value, r.value, r.value, r.value
    FROM stale a CROSS JOIN LATERAL (
        SELECT g.ts, g.vals[v_at] FROM reading g
        WHERE g.device_no = a.no AND g.ts >= a.hour AND g.ts < a.hour + INTERVAL '1 hour'
          AND g.ts >= v.stale_from AND g.ts < v.stale_to AND g.vals[v_at] IS NOT NULL OFFSET 0
    ) AS r (ts, value);
END
$$;

-- One metric of devices of one kind by hours (of UTC) or days (of their community), exact at the instant of the caller's
-- snapshot: from the roll-ups where they are filled and not stale, from the readings themselves elsewhere. Empty buckets
-- are left out; from and to are widened to whole ones; devices that are not of this community and kind are left out.
CREATE FUNCTION rollup_of(p_community text, p_kind text, p_devices integer[], p_metric text, p_from timestamptz,
                          p_to timestamptz, p_bucket text)
    RETURNS TABLE (device_no integer, bucket timestamptz, n bigint, low float8, high float8, mean float8, last float8)
    LANGUAGE plpgsql STABLE ROWS 500 SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    v rollup_range;
    v_nos integer[];
BEGIN
    v_nos := ARRAY(SELECT d.device_no FROM device d
                   WHERE d.device_no = ANY (p_devices) AND d.community_id = p_community AND d.kind = p_kind);
    SELECT * INTO v FROM rollup_scope(p_community, p_kind, v_nos, p_metric, p_from, p_to, p_bucket);
    IF NOT FOUND THEN
        RETURN;
    END IF;
    RETURN QUERY
    SELECT p.no, p.b, sum(p.n)::bigint, min(p.low), max(p.high), sum(p.total) / sum(p.n), public.last(p.last, p.at)
    FROM rollup_pieces(v_nos, v) p
    WHERE p.n > 0
    GROUP BY p.no, p.b
    ORDER BY p.no, p.b;
END
$$;

-- The same of a counter, as Summaries of services/domain/metering.py, in any order. What stands before the first bucket
-- has '-infinity' for its bucket: the last two readings are among it, however old, and no stretch twice.
CREATE FUNCTION meter_pieces(p_devices integer[], v rollup_range)
    RETURNS TABLE (no integer, b timestamptz, first_ms bigint, first float8, n integer, second_ms bigint, second float8,
                   penult_ms bigint, penult float8, last_ms bigint, last float8, used float8, breaks integer)
    LANGUAGE plpgsql STABLE ROWS 1000 SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    v_at integer := v.slot;
    v_position smallint := v.slot - 1;
    v_zone text := v.zone;
    v_stale_days timestamptz := v.stale_from - INTERVAL '2 days';
    v_stale_past timestamptz := v.stale_to + INTERVAL '2 days';
    -- Where the roll-ups end before the first bucket, and where that day begins.
    v_edge timestamptz := least(v.first, v.filled);
    v_day timestamptz := date_trunc('day', v_edge, v_zone);
BEGIN
    IF v.bucket = 'day' AND v.first < v.days THEN
        RETURN QUERY
        SELECT a.no, r.*
        FROM unnest(p_devices) AS a (no) CROSS JOIN LATERAL (
            SELECT h.bucket, h.first_ms, h.first, h.n, h.second_ms, h.second, h.penult_ms, h.penult, h.last_ms, h.last,
                   h.used, h.breaks
            FROM meter_day h
            WHERE h.device_no = a.no AND h.position = v_position AND h.bucket >= v.first AND h.bucket < v.days OFFSET 0
        ) AS r (b)
        WHERE NOT EXISTS (SELECT FROM rollup_stale s
                          WHERE s.device_no = a.no AND s.hour >= v.stale_from AND s.hour < v.stale_to
                            AND date_trunc('day', s.hour, v_zone) = r.b);
    END IF;
    IF v.days < v.kept THEN
        RETURN QUERY
        SELECT a.no, CASE v.bucket WHEN 'day' THEN date_trunc('day', r.hour, v_zone) ELSE r.hour END, r.first_ms,
               r.first, r.n, r.second_ms, r.second, r.penult_ms, r.penult, r.last_ms, r.last, r.used, r.breaks
        FROM unnest(p_devices) AS a (no) CROSS JOIN LATERAL (
            SELECT h.bucket AS hour, h.* FROM meter_hour h
            WHERE h.device_no = a.no AND h.position = v_position AND h.bucket >= v.days AND h.bucket < v.kept OFFSET 0
        ) AS r
        WHERE NOT EXISTS (SELECT FROM rollup_stale s
                          WHERE s.device_no = a.no AND s.hour >= v.stale_from AND s.hour < v.stale_to
                            AND s.hour = r.hour);
    END IF;
    IF v.kept < v.past THEN
        RETURN QUERY
        SELECT a.no, date_trunc(v.bucket, r.ts, v_zone), epoch_ms(r.ts), r.value, 1, NULL::bigint, NULL::float8,
               NULL::bigint, NULL::float8, epoch_ms(r.ts), r.value, 0::float8, 0
        FROM unnest(p_devices) AS a (no) CROSS JOIN LATERAL (
            SELECT g.ts, g.vals[v_at] FROM reading g
            WHERE g.device_no = a.no AND g.ts >= v.kept AND g.ts < v.past AND g.vals[v_at] IS NOT NULL OFFSET 0
        ) AS r (ts, value);
    END IF;
    -- Before the first bucket: what is not rolled up yet, the hours of the day it lies in, the days before.
    IF v.filled < v.first THEN
        RETURN QUERY
        SELECT a.no, '-infinity'::timestamptz, epoch_ms(r.ts), r.value, 1, NULL::bigint, NULL::float8,
               NULL::bigint, NULL::float8, epoch_ms(r.ts), r.value, 0::float8, 0
        FROM unnest(p_devices) AS a (no) CROSS JOIN LATERAL (
            SELECT g.ts, g.vals[v_at] FROM reading g
            WHERE g.device_no = a.no AND g.ts >= v.filled AND g.ts < v.first AND g.vals[v_at] IS NOT NULL
            ORDER BY g.ts DESC LIMIT 2
        ) AS r (ts, value);
    END IF;
    IF v_day < v_edge THEN
        RETURN QUERY
        SELECT a.no, '-infinity'::timestamptz, r.first_ms, r.first, r.n, r.second_ms, r.second, r.penult_ms, r.penult,
               r.last_ms, r.last, r.used, r.breaks
        FROM unnest(p_devices) AS a (no) CROSS JOIN LATERAL (
            SELECT h.* FROM meter_hour h
            WHERE h.device_no = a.no AND h.position = v_position AND h.bucket >= v_day AND h.bucket < v_edge
              AND NOT EXISTS (SELECT FROM rollup_stale s
                              WHERE s.device_no = h.device_no AND s.hour = h.bucket
                                AND s.hour >= v.stale_from AND s.hour < v.stale_to)
            ORDER BY h.bucket DESC LIMIT 2
        ) AS r;
    END IF;
    RETURN QUERY
    SELECT a.no, '-infinity'::timestamptz, r.first_ms, r.first, r.n, r.second_ms, r.second, r.penult_ms, r.penult,
           r.last_ms, r.last, r.used, r.breaks
    FROM unnest(p_devices) AS a (no) CROSS JOIN LATERAL (
        SELECT h.* FROM meter_day h
        WHERE h.device_no = a.no AND h.position = v_position AND h.bucket < v_day
          AND NOT EXISTS (SELECT FROM rollup_stale s
                          WHERE s.device_no = h.device_no AND s.hour >= v.stale_from AND s.hour < v.stale_to
                            AND date_trunc('day', s.hour, v_zone) = h.bucket)
        ORDER BY h.bucket DESC LIMIT 2
    ) AS r;
    IF v.stale_from IS NULL THEN
        RETURN;
    END IF;
    -- The hours of stale days that are not stale themselves, then the readings of those that are.
    RETURN QUERY
    WITH stale AS MATERIALIZED (
        SELECT DISTINCT s.device_no AS no, s.hour, date_trunc('day', s.hour, v_zone) AS day
        FROM rollup_stale s
        WHERE s.device_no = ANY (p_devices) AND s.hour >= v.stale_from AND s.hour < v.stale_to
    )
    SELECT a.no, CASE WHEN a.day >= v.first THEN a.day ELSE '-infinity' END, r.first_ms, r.first, r.n, r.second_ms,
           r.second, r.penult_ms, r.penult, r.last_ms, r.last, r.used, r.breaks
    FROM (SELECT DISTINCT s.no, s.day FROM stale s
          WHERE s.day < v_day OR (s.day >= v.first AND s.day < v.days AND v.bucket = 'day')) AS a
    CROSS JOIN LATERAL (
        SELECT h.bucket AS hour, h.* FROM meter_hour h
        WHERE h.device_no = a.no AND h.position = v_position AND h.bucket >= a.day
          AND h.bucket < (a.day AT TIME ZONE v_zone + INTERVAL '1 day') AT TIME ZONE v_zone
          AND h.bucket >= v_stale_days AND h.bucket < v_stale_past OFFSET 0
    ) AS r
    WHERE NOT EXISTS (SELECT FROM stale s WHERE s.no = a.no AND s.hour = r.hour)
    UNION ALL
    SELECT a.no, CASE WHEN a.hour >= v.first THEN date_trunc(v.bucket, r.ts, v_zone) ELSE '-infinity' END,
           epoch_ms(r.ts), r.value, 1, NULL, NULL, NULL, NULL, epoch_ms(r.ts), r.value, 0, 0
    FROM stale a CROSS JOIN LATERAL (
        SELECT g.ts, g.vals[v_at] FROM reading g
        WHERE g.device_no = a.no AND g.ts >= a.hour AND g.ts < a.hour + INTERVAL '1 hour'
          AND g.ts >= v.stale_from AND g.ts < v.stale_to AND g.vals[v_at] IS NOT NULL OFFSET 0
    ) AS r (ts, value);
END
$$;

-- What a counter counted, by hours or days, with the breaks: jumps that cannot have been, which count nothing. Each
-- step belongs to the bucket of its later reading; the first looks back to the last two readings before, however old.
CREATE FUNCTION meter_of(p_community text, p_kind text, p_devices integer[], p_metric text, p_from timestamptz,
                         p_to timestamptz, p_bucket text)
    RETURNS TABLE (device_no integer, bucket timestamptz, used float8, breaks bigint)
    LANGUAGE plpgsql STABLE ROWS 500 SET plan_cache_mode = force_generic_plan AS $$
DECLARE
    v rollup_range;
    v_nos integer[];
BEGIN
    v_nos := ARRAY(SELECT d.device_no FROM device d
                   WHERE d.device_no = ANY (p_devices) AND d.community_id = p_community AND d.kind = p_kind);
    SELECT * INTO v FROM rollup_scope(p_community, p_kind, v_nos, p_metric, p_from, p_to, p_bucket);
    IF NOT FOUND THEN
        RETURN;
    END IF;
    RETURN QUERY
    WITH asked AS MATERIALIZED (
        SELECT m.device_no AS no, m.position AS pos, m.rate, m.slack, m.modulus, m.retentive, m.swapped
        FROM meter m
        WHERE m.device_no = ANY (v_nos) AND m.position = v.slot - 1
    ), neighbours AS (
        SELECT p.no, p.b, p.n, p.used, p.breaks, p.first_ms, p.first, p.second_ms, p.second,
               lag(p.last_ms) OVER w AS one_ms, lag(p.last) OVER w AS one,
               CASE WHEN lag(p.n) OVER w > 1 THEN lag(p.penult_ms) OVER w ELSE lag(p.last_ms, 2) OVER w END AS two_ms,
               CASE WHEN lag(p.n) OVER w > 1 THEN lag(p.penult) OVER w ELSE lag(p.last, 2) OVER w END AS two
        FROM meter_pieces(v_nos, v) p
        WINDOW w AS (PARTITION BY p.no ORDER BY p.first_ms)
    ), stepped AS (
        SELECT k.*, a.rate, a.slack, a.modulus, a.retentive,
               CASE WHEN a.swapped THEN meter_offset(k.no, a.pos, k.two_ms) ELSE 0 END AS two_off,
               CASE WHEN a.swapped THEN meter_offset(k.no, a.pos, k.one_ms) ELSE 0 END AS one_off,
               CASE WHEN a.swapped THEN meter_offset(k.no, a.pos, k.first_ms) ELSE 0 END AS first_off,
               CASE WHEN a.swapped THEN meter_offset(k.no, a.pos, k.second_ms) ELSE 0 END AS second_off
        FROM neighbours k JOIN asked a ON a.no = k.no
        WHERE isfinite(k.b)
        OFFSET 0
    ), gained AS (
        SELECT k.no, k.b, k.n, k.used, k.breaks,
               meter_gain(k.two_ms, k.two, k.two_off, k.one_ms, k.one, k.one_off, k.first_ms, k.first, k.first_off,
                          k.rate, k.slack, k.modulus, k.retentive) AS at_first,
               meter_gain(k.one_ms, k.one, k.one_off, k.first_ms, k.first, k.first_off, k.second_ms, k.second,
                          k.second_off, k.rate, k.slack, k.modulus, k.retentive) AS at_second
        FROM stepped k
    )
    SELECT g.no, g.b,
           sum(g.used + coalesce(g.at_first, 0) + CASE WHEN g.n > 1 THEN coalesce(g.at_second, 0) ELSE 0 END),
           sum(g.breaks + CASE WHEN g.at_first IS NULL THEN 1 ELSE 0 END
               + CASE WHEN g.n > 1 AND g.at_second IS NULL THEN 1 ELSE 0 END)
    FROM gained g
    GROUP BY g.no, g.b
    ORDER BY g.no, g.b;
END
$$;

-- The same of one device. The community must be the device's own.
CREATE FUNCTION rollup_series(p_community text, p_device integer, p_metric text, p_from timestamptz, p_to timestamptz,
                              p_bucket text)
    RETURNS TABLE (bucket timestamptz, n bigint, low float8, high float8, mean float8, last float8)
    LANGUAGE sql STABLE ROWS 500 AS $$
    SELECT s.bucket, s.n, s.low, s.high, s.mean, s.last
    FROM rollup_of(p_community, (SELECT kind FROM device WHERE device_no = p_device), ARRAY[p_device], p_metric, p_from,
                   p_to, p_bucket) s
    ORDER BY s.bucket
$$;

CREATE FUNCTION meter_series(p_community text, p_device integer, p_metric text, p_from timestamptz, p_to timestamptz,
                             p_bucket text)
    RETURNS TABLE (bucket timestamptz, used float8, breaks bigint) LANGUAGE sql STABLE ROWS 500 AS $$
    SELECT s.bucket, s.used, s.breaks
    FROM meter_of(p_community, (SELECT kind FROM device WHERE device_no = p_device), ARRAY[p_device], p_metric, p_from,
                  p_to, p_bucket) s
    ORDER BY s.bucket
$$;

-- Summed over every device of a kind in a community, the retired too: their past counts.
CREATE FUNCTION meter_sum(p_community text, p_kind text, p_metric text, p_from timestamptz, p_to timestamptz,
                          p_bucket text)
    RETURNS TABLE (bucket timestamptz, devices bigint, used float8, breaks bigint) LANGUAGE sql STABLE ROWS 500 AS $$
    SELECT s.bucket, count(*), sum(s.used), sum(s.breaks)::bigint
    FROM meter_of(p_community, p_kind,
                  ARRAY(SELECT device_no FROM device WHERE community_id = p_community AND kind = p_kind),
                  p_metric, p_from, p_to, p_bucket) s
    GROUP BY s.bucket
    ORDER BY s.bucket
$$;

-- Of a gauge: the sum of each device's mean, and the extremes of all.
CREATE FUNCTION rollup_sum(p_community text, p_kind text, p_metric text, p_from timestamptz, p_to timestamptz,
                           p_bucket text)
    RETURNS TABLE (bucket timestamptz, devices bigint, low float8, high float8, total float8)
    LANGUAGE sql STABLE ROWS 500 AS $$
    SELECT s.bucket, count(*), min(s.low), max(s.high), sum(s.mean)
    FROM rollup_of(p_community, p_kind,
                   ARRAY(SELECT device_no FROM device WHERE community_id = p_community AND kind = p_kind),
                   p_metric, p_from, p_to, p_bucket) s
    GROUP BY s.bucket
    ORDER BY s.bucket
$$;

-- After writing readings past ingest (an import, a restored archive): from here on they are read raw and filled anew.
CREATE FUNCTION rollup_refill(p_from timestamptz) RETURNS void LANGUAGE sql AS $$
    UPDATE rollup_progress SET filled_to = date_trunc('hour', p_from), next_device = 0
    WHERE filled_to > date_trunc('hour', p_from)
$$;

-- Readings before this may be dropped: the roll-ups have them all.
CREATE FUNCTION rollup_covers() RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT least((SELECT min(p.filled_to) FROM rollup_progress p
                  WHERE EXISTS (SELECT FROM community c WHERE c.partition = p.partition)),
                 (SELECT min(hour) FROM rollup_stale))
$$;
