-- readings, events, the committed log, device state, the ledger and the quarantine
CREATE TABLE reading (
    device_no integer NOT NULL,
    ts        timestamptz NOT NULL,
    vals      double precision[] NOT NULL
);
COMMENT ON TABLE reading IS 'one row per device and time; vals in the order of catalogue_metric, NULL where not sent';
SELECT create_hypertable('reading', 'ts', chunk_time_interval => INTERVAL '1 day', create_default_indexes => false);
CREATE UNIQUE INDEX reading_device_ts ON reading (device_no, ts);

CREATE TABLE device_event (
    device_no   integer NOT NULL,
    ts          timestamptz NOT NULL,
    event       text NOT NULL,
    data        jsonb NOT NULL DEFAULT '{}',
    message_id  text,
    received_at timestamptz NOT NULL
);
SELECT create_hypertable('device_event', 'ts', chunk_time_interval => INTERVAL '7 days', create_default_indexes => false);
CREATE UNIQUE INDEX device_event_key ON device_event (device_no, event, ts);

-- Fills the holes of a stored row from a later message with the same device and time; the first value stands.
CREATE FUNCTION merge_vals(stored double precision[], sent double precision[]) RETURNS double precision[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT array_agg(coalesce(stored[i], sent[i]) ORDER BY i)
    FROM generate_series(1, greatest(cardinality(stored), cardinality(sent))) AS i
$$;

CREATE VIEW reading_by_metric AS
SELECT r.device_no, d.community_id, c.metric, c.unit, r.ts, r.vals[c.position + 1] AS value
FROM reading r
JOIN device d USING (device_no)
JOIN catalogue_metric c ON c.kind = d.kind
WHERE r.vals[c.position + 1] IS NOT NULL;

CREATE TABLE device_state (
    device_no    integer PRIMARY KEY REFERENCES device ON DELETE CASCADE,
    online       boolean NOT NULL DEFAULT false,
    session      bigint NOT NULL DEFAULT 0,
    online_since timestamptz,
    last_seen_at timestamptz,
    vals         double precision[] NOT NULL DEFAULT '{}',
    vals_ts      timestamptz,
    last_event   text,
    last_event_ts timestamptz,
    clock_offset_ms integer
) WITH (fillfactor = 60);
CREATE INDEX device_state_seen ON device_state (last_seen_at);
COMMENT ON TABLE device_state IS 'the latest of each device: read this, never history, for what is so now';

-- The committed log. Its single owner per (partition, lane) numbers seq without gaps; the key is the fence.
CREATE TABLE ingest_log (
    partition    smallint NOT NULL,
    lane         smallint NOT NULL CHECK (lane IN (0, 1)),
    seq          bigint NOT NULL CHECK (seq > 0),
    committed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    worker       text NOT NULL,
    device_nos   integer[] NOT NULL DEFAULT '{}',
    ts_ms        bigint[] NOT NULL DEFAULT '{}',
    received_ms  bigint[] NOT NULL DEFAULT '{}',
    widths       smallint[] NOT NULL DEFAULT '{}',
    vals         double precision[] NOT NULL DEFAULT '{}',
    body         jsonb NOT NULL DEFAULT '[]',
    PRIMARY KEY (partition, lane, seq)
);
CREATE INDEX ingest_log_committed ON ingest_log USING brin (committed_at);
COMMENT ON TABLE ingest_log IS
    'lane 1 telemetry: reading i has widths[i] values of vals, in order; lane 0 events: body is a list of
     {"type":"event"|"status"|"reply","device_no","ts_ms","received_ms", …}. Kept 48 h';

CREATE TABLE ingest_ledger (
    worker     text NOT NULL,
    partition  smallint NOT NULL,
    lane       smallint NOT NULL,
    received   bigint NOT NULL DEFAULT 0,
    stored     bigint NOT NULL DEFAULT 0,
    duplicate  bigint NOT NULL DEFAULT 0,
    rejected   bigint NOT NULL DEFAULT 0,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (worker, partition, lane),
    CHECK (received = stored + duplicate + rejected)
) WITH (fillfactor = 50);
COMMENT ON TABLE ingest_ledger IS 'partition -1: messages whose topic names no community';

CREATE TABLE quarantine (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received_at  timestamptz NOT NULL DEFAULT now(),
    worker       text NOT NULL,
    scope        text NOT NULL CHECK (scope IN ('message', 'value')),
    reason       text NOT NULL,
    detail       text NOT NULL,
    topic        text NOT NULL,
    community_id text,
    device_id    text,
    message_id   text,
    payload      bytea NOT NULL,
    payload_size integer NOT NULL
);
CREATE INDEX quarantine_received ON quarantine (received_at DESC);
CREATE INDEX quarantine_community ON quarantine (community_id, received_at DESC);
COMMENT ON COLUMN quarantine.payload IS 'the first 64 KiB as sent; payload_size says how much there was';
