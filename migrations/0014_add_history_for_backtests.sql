-- what a backtest needs beside readings and events: when each was received, what else the log said, who was silent when
ALTER TABLE reading ADD COLUMN delay_ms integer;
COMMENT ON COLUMN reading.delay_ms IS
    'how long after ts the server received the row as it was first stored; NULL: stored before this was kept';

CREATE TABLE device_note (
    device_no   integer NOT NULL,
    received_at timestamptz NOT NULL,
    note        jsonb NOT NULL
);
SELECT create_hypertable('device_note', 'received_at', chunk_time_interval => INTERVAL '7 days',
                         create_default_indexes => false);
CREATE INDEX device_note_device ON device_note (device_no, received_at);
COMMENT ON TABLE device_note IS
    'what else is known of a device, for backtests: {"type":"status"|"clock"|"flood", …} as in the log, and
     {"type":"silence","from_ms"}: nothing was received between then and received_at, more than two of its intervals';

-- What an administrator or the desk asked the rules to prove on history; the newest are kept.
CREATE TABLE rule_proof (
    id           uuid PRIMARY KEY,
    community_id text NOT NULL REFERENCES community ON DELETE CASCADE,
    what         text NOT NULL CHECK (what IN ('backtest', 'diff')),
    asked_by     text NOT NULL,
    asked_at     timestamptz NOT NULL DEFAULT now(),
    from_at      timestamptz NOT NULL,
    to_at        timestamptz NOT NULL CHECK (to_at > from_at),
    documents    jsonb NOT NULL,
    state        text NOT NULL DEFAULT 'waiting'
                 CHECK (state IN ('waiting', 'running', 'done', 'failed', 'cancelled')),
    progress     real NOT NULL DEFAULT 0 CHECK (progress BETWEEN 0 AND 1),
    result       jsonb,
    why          text,
    started_at   timestamptz,
    ended_at     timestamptz,
    CHECK ((state IN ('done', 'failed', 'cancelled')) = (ended_at IS NOT NULL))
);
CREATE INDEX rule_proof_community ON rule_proof (community_id, asked_at DESC);
CREATE INDEX rule_proof_waiting ON rule_proof (asked_at) WHERE state IN ('waiting', 'running');
COMMENT ON COLUMN rule_proof.documents IS 'the rules asked about: {"rules"} of a backtest, {"a", "b"} of a diff';
