-- alerts with their occurrences, work orders with their append-only history, and who has read how far
CREATE TABLE checkpoint (
    consumer   text NOT NULL,
    partition  smallint NOT NULL,
    lane       smallint NOT NULL,
    seq        bigint NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (consumer, partition, lane)
) WITH (fillfactor = 50);

CREATE TABLE worker_lease (
    consumer   text NOT NULL,
    partition  smallint NOT NULL,
    owner      text NOT NULL,
    epoch      bigint NOT NULL DEFAULT 1,
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (consumer, partition)
);
COMMENT ON COLUMN worker_lease.epoch IS 'grows with each change of owner; a write names the epoch it was made under';

CREATE TABLE rule_state (
    rule_id   text NOT NULL,
    subject   text NOT NULL,
    partition smallint NOT NULL,
    state     jsonb NOT NULL,
    due_at    timestamptz,
    PRIMARY KEY (rule_id, subject)
) WITH (fillfactor = 70);
CREATE INDEX rule_state_partition ON rule_state (partition);

CREATE TABLE alert (
    id           uuid PRIMARY KEY,
    community_id text NOT NULL REFERENCES community ON DELETE CASCADE,
    rule_id      text NOT NULL,
    rule_version integer NOT NULL,
    family       text NOT NULL,
    subject      text NOT NULL,
    active_rules text[] NOT NULL,
    device_no    integer REFERENCES device ON DELETE SET NULL,
    building_id  text REFERENCES building ON DELETE SET NULL,
    kind         text NOT NULL,
    severity     text NOT NULL CHECK (severity IN ('info', 'minor', 'major', 'critical')),
    team         text NOT NULL,
    life_safety  boolean NOT NULL DEFAULT false,
    state        text NOT NULL CHECK (state IN ('firing', 'recovering', 'cleared')),
    title_zh     text NOT NULL,
    title_en     text NOT NULL,
    why_zh       text NOT NULL,
    why_en       text NOT NULL,
    place        text NOT NULL DEFAULT '',
    onset_at     timestamptz NOT NULL,
    fired_at     timestamptz NOT NULL,
    last_at      timestamptz NOT NULL,
    cleared_at   timestamptz,
    acknowledged_at timestamptz,
    acknowledged_by text,
    occurrences  integer NOT NULL DEFAULT 1,
    trigger      jsonb NOT NULL DEFAULT '{}',
    correlation  text NOT NULL,
    order_id     uuid,
    CHECK ((state = 'cleared') = (cleared_at IS NOT NULL))
);
CREATE UNIQUE INDEX alert_open ON alert (family, subject) WHERE state <> 'cleared';
CREATE INDEX alert_community_open ON alert (community_id, fired_at DESC) WHERE state <> 'cleared';
CREATE INDEX alert_community ON alert (community_id, fired_at DESC);
CREATE INDEX alert_device ON alert (device_no, fired_at DESC);
CREATE INDEX alert_family_subject ON alert (family, subject, fired_at DESC);
COMMENT ON COLUMN alert.family IS 'rules of one family speak of one trouble: one open alert a family and subject';
COMMENT ON COLUMN alert.active_rules IS 'rules of the family that hold now; the alert clears when none does';
COMMENT ON COLUMN alert.subject IS 'what the alert is about: device:{device_no} or building:{id}';
COMMENT ON COLUMN alert.onset_at IS 'the device''s own time of the reading that began it';

CREATE TABLE alert_occurrence (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alert_id    uuid NOT NULL REFERENCES alert ON DELETE CASCADE,
    at          timestamptz NOT NULL,
    what        text NOT NULL CHECK (what IN ('raised', 'repeated', 'severity', 'recovering', 'cleared')),
    severity    text NOT NULL,
    trigger     jsonb NOT NULL DEFAULT '{}',
    correlation text NOT NULL,
    UNIQUE (alert_id, what, at)
);

CREATE TABLE work_order (
    id            uuid PRIMARY KEY,
    number        bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    community_id  text NOT NULL REFERENCES community ON DELETE CASCADE,
    source        text NOT NULL CHECK (source IN ('alert', 'resident', 'patrol', 'platform', 'staff')),
    alert_id      uuid REFERENCES alert ON DELETE SET NULL,
    parent_id     uuid REFERENCES work_order ON DELETE SET NULL,
    device_no     integer REFERENCES device ON DELETE SET NULL,
    building_id   text REFERENCES building ON DELETE SET NULL,
    grid_id       text REFERENCES grid ON DELETE SET NULL,
    kind          text NOT NULL,
    severity      text NOT NULL CHECK (severity IN ('info', 'minor', 'major', 'critical')),
    title_zh      text NOT NULL,
    title_en      text NOT NULL,
    place         text NOT NULL DEFAULT '',
    x             double precision,
    y             double precision,
    team          text NOT NULL,
    assignee_id   text REFERENCES app_user ON DELETE SET NULL,
    state         text NOT NULL,
    version       integer NOT NULL,
    rung          smallint NOT NULL DEFAULT 0,
    returns       smallint NOT NULL DEFAULT 0,
    created_at    timestamptz NOT NULL,
    dispatched_at timestamptz,
    accepted_at   timestamptz,
    arrived_at    timestamptz,
    resolved_at   timestamptz,
    resolved_by   text,
    verified_at   timestamptz,
    closed_at     timestamptz,
    paused_at     timestamptz,
    accept_due    timestamptz,
    arrive_due    timestamptz,
    resolve_due   timestamptz,
    verify_due    timestamptz,
    correlation   text NOT NULL
);
CREATE UNIQUE INDEX work_order_open_alert ON work_order (alert_id)
    WHERE alert_id IS NOT NULL AND state NOT IN ('closed', 'cancelled', 'false_alarm', 'merged');
CREATE INDEX work_order_community_open ON work_order (community_id, created_at DESC)
    WHERE state NOT IN ('closed', 'cancelled', 'false_alarm', 'merged');
CREATE INDEX work_order_community ON work_order (community_id, created_at DESC);
CREATE INDEX work_order_alert ON work_order (alert_id);
COMMENT ON TABLE work_order IS 'the fold of work_order_history; rung: how far up the ladder it has been escalated';

ALTER TABLE alert ADD FOREIGN KEY (order_id) REFERENCES work_order ON DELETE SET NULL;
CREATE INDEX alert_order ON alert (order_id) WHERE order_id IS NOT NULL;
COMMENT ON COLUMN alert.order_id IS
    'the order this alert is worked on in: opened by it, or joined; several alerts may share one order';

CREATE TABLE work_order_history (
    order_id        uuid NOT NULL REFERENCES work_order ON DELETE CASCADE,
    version         integer NOT NULL,
    move            text NOT NULL,
    from_state      text,
    to_state        text NOT NULL,
    at              timestamptz NOT NULL,
    actor_id        text NOT NULL,
    actor_role      text NOT NULL,
    reason          text,
    detail          jsonb NOT NULL DEFAULT '{}',
    idempotency_key text,
    PRIMARY KEY (order_id, version)
);
CREATE UNIQUE INDEX work_order_history_key ON work_order_history (order_id, idempotency_key)
    WHERE idempotency_key IS NOT NULL;

CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER work_order_history_append_only BEFORE UPDATE OR DELETE ON work_order_history
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER alert_occurrence_append_only BEFORE UPDATE OR DELETE ON alert_occurrence
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
