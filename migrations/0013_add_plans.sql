-- linkage plans as data, their runs step by step, and the commands that plans and people send to devices
CREATE TABLE plan_version (
    community_id text NOT NULL REFERENCES community ON DELETE CASCADE,
    plan_id      text NOT NULL CHECK (plan_id ~ '^[a-z][a-z0-9_]{0,63}$'),
    version      integer NOT NULL CHECK (version > 0),
    mode         text NOT NULL CHECK (mode IN ('live', 'off', 'removed')),
    document     text NOT NULL CHECK (length(document) <= 65536),
    created_at   timestamptz NOT NULL DEFAULT now(),
    created_by   text NOT NULL,
    note         text NOT NULL DEFAULT '',
    PRIMARY KEY (community_id, plan_id, version),
    CHECK ((mode = 'removed') = (document = ''))
);
CREATE TRIGGER plan_version_append_only BEFORE UPDATE OR DELETE ON plan_version
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
COMMENT ON TABLE plan_version IS
    'append-only; in force is the highest version that is approved. One that is removed needs no approval';
COMMENT ON COLUMN plan_version.document IS 'the YAML as written';

CREATE TABLE plan_approval (
    community_id text NOT NULL,
    plan_id      text NOT NULL,
    version      integer NOT NULL,
    approved_by  text NOT NULL,
    approved_at  timestamptz NOT NULL DEFAULT now(),
    note         text NOT NULL DEFAULT '',
    PRIMARY KEY (community_id, plan_id, version),
    FOREIGN KEY (community_id, plan_id, version) REFERENCES plan_version ON DELETE CASCADE
);
CREATE TRIGGER plan_approval_append_only BEFORE UPDATE OR DELETE ON plan_approval
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
COMMENT ON TABLE plan_approval IS 'who answers for the dangerous commands that this version names: never its author';

CREATE FUNCTION plan_approval_by_another() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM plan_version v WHERE v.community_id = NEW.community_id AND v.plan_id = NEW.plan_id
               AND v.version = NEW.version AND v.created_by = NEW.approved_by) THEN
        RAISE EXCEPTION 'a plan is approved by another than its author' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER plan_approval_two_people BEFORE INSERT ON plan_approval
    FOR EACH ROW EXECUTE FUNCTION plan_approval_by_another();

CREATE TABLE plan_run (
    id           uuid PRIMARY KEY,
    community_id text NOT NULL REFERENCES community ON DELETE CASCADE,
    partition    smallint NOT NULL,
    plan_id      text NOT NULL,
    version      integer NOT NULL,
    alert_id     uuid NOT NULL REFERENCES alert ON DELETE CASCADE,
    state        text NOT NULL CHECK (state IN ('running', 'done', 'failed', 'cancelled')),
    approved_by  text NOT NULL,
    facts        jsonb NOT NULL,
    started_at   timestamptz NOT NULL,
    next_at      timestamptz,
    ended_at     timestamptz,
    ended_by     text,
    why          text NOT NULL DEFAULT '',
    correlation  text NOT NULL,
    FOREIGN KEY (community_id, plan_id, version) REFERENCES plan_version,
    CHECK ((state = 'running') = (ended_at IS NULL)),
    CHECK (state = 'running' OR next_at IS NULL)
);
CREATE UNIQUE INDEX plan_run_once ON plan_run (alert_id, plan_id);
CREATE INDEX plan_run_due ON plan_run (partition, next_at) WHERE state = 'running';
CREATE INDEX plan_run_community ON plan_run (community_id, started_at DESC);
COMMENT ON COLUMN plan_run.id IS 'derived from plan, version and alert: a replay starts none twice';
COMMENT ON COLUMN plan_run.facts IS 'what of the alert the plan goes by, as it was when the run began';
COMMENT ON COLUMN plan_run.next_at IS 'when something is owed at the latest: a step, a time-out, a look at results';

CREATE TABLE plan_step (
    run_id       uuid NOT NULL REFERENCES plan_run ON DELETE CASCADE,
    step         text NOT NULL,
    place        smallint NOT NULL,
    action       text NOT NULL CHECK (action IN ('command', 'broadcast', 'order', 'notice', 'wait')),
    state        text NOT NULL CHECK (
        state IN ('waiting', 'due', 'requested', 'done', 'failed', 'timed_out', 'skipped', 'cancelled')),
    due_at       timestamptz,
    requested_at timestamptz,
    expires_at   timestamptz,
    ended_at     timestamptz,
    result       jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (run_id, step)
);
COMMENT ON COLUMN plan_step.state IS 'waiting: for other steps; due: for its time, due_at; requested: for its result';

CREATE TABLE command (
    id           uuid PRIMARY KEY,
    community_id text NOT NULL REFERENCES community ON DELETE CASCADE,
    partition    smallint NOT NULL,
    device_no    integer NOT NULL REFERENCES device ON DELETE CASCADE,
    name         text NOT NULL,
    params       jsonb NOT NULL DEFAULT '{}',
    source       text NOT NULL CHECK (source ~ '^(plan|user):.'),
    run_id       uuid REFERENCES plan_run ON DELETE CASCADE,
    step         text,
    requested_by text NOT NULL,
    approved_by  text,
    dangerous    boolean NOT NULL,
    state        text NOT NULL DEFAULT 'requested' CHECK (
        state IN ('requested', 'sent', 'acknowledged', 'done', 'failed', 'expired', 'cancelled')),
    requested_at timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    send_at      timestamptz,
    sends        smallint NOT NULL DEFAULT 0,
    sent_at      timestamptz,
    ended_at     timestamptz,
    result       jsonb NOT NULL DEFAULT '{}',
    correlation  text NOT NULL DEFAULT '',
    CHECK (expires_at > requested_at),
    CHECK ((run_id IS NULL) = (step IS NULL)),
    CHECK (NOT dangerous OR (approved_by IS NOT NULL AND approved_by <> requested_by)),
    CHECK ((state IN ('requested', 'sent', 'acknowledged')) = (ended_at IS NULL)),
    CHECK (ended_at IS NULL OR send_at IS NULL)
);
CREATE UNIQUE INDEX command_once ON command (run_id, step, device_no, name) WHERE run_id IS NOT NULL;
CREATE INDEX command_to_send ON command (partition, send_at) WHERE send_at IS NOT NULL;
CREATE INDEX command_open ON command (partition, expires_at) WHERE ended_at IS NULL;
CREATE INDEX command_device ON command (device_no, requested_at DESC);
CREATE INDEX command_community ON command (community_id, requested_at DESC);
COMMENT ON TABLE command IS 'what devices are told; every one ends, at its expiry if not before';
COMMENT ON COLUMN command.id IS 'goes to the device, which carries out each id once; derived from run, step and device';
COMMENT ON COLUMN command.state IS
    'requested: not yet at the broker; sent: the broker has it; acknowledged: the device has it and is at work';
COMMENT ON COLUMN command.send_at IS 'when it is put to the broker next; NULL once answered or ended';

CREATE FUNCTION command_requested() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('command', '');
    RETURN NULL;
END
$$;
CREATE TRIGGER command_wakes_sender AFTER INSERT ON command
    FOR EACH STATEMENT EXECUTE FUNCTION command_requested();
