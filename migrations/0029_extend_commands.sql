-- The command ledger: every command is its append-only history, and has one end.

DO $$
DECLARE
    v_name text;
BEGIN
    FOR v_name IN SELECT conname FROM pg_constraint WHERE conrelid = 'command'::regclass AND contype = 'c' LOOP
        EXECUTE format('ALTER TABLE command DROP CONSTRAINT %I', v_name);
    END LOOP;
END
$$;

CREATE TABLE command_batch (
    id           uuid PRIMARY KEY,
    community_id text NOT NULL REFERENCES community ON DELETE CASCADE,
    name         text NOT NULL,
    params       jsonb NOT NULL DEFAULT '{}',
    dangerous    boolean NOT NULL,
    emergency    boolean NOT NULL DEFAULT false,
    why          text NOT NULL,
    targets      text NOT NULL DEFAULT '',
    total        integer NOT NULL CHECK (total > 0),
    per_second   real NOT NULL CHECK (per_second > 0),
    requested_by text NOT NULL,
    requested_at timestamptz NOT NULL,
    stopped_by   text,
    stopped_at   timestamptz,
    stop_why     text NOT NULL DEFAULT '',
    digest       bytea NOT NULL,
    CHECK ((stopped_by IS NULL) = (stopped_at IS NULL))
);
CREATE INDEX command_batch_community ON command_batch (community_id, requested_at DESC, id DESC);
COMMENT ON TABLE command_batch IS 'one thing told to many devices; how far it is, its commands say';
COMMENT ON COLUMN command_batch.targets IS 'whom it was meant for, in words';

UPDATE command SET state = 'queued' WHERE state = 'requested';
ALTER TABLE command
    ALTER COLUMN state SET DEFAULT 'queued',
    ADD COLUMN version      integer NOT NULL DEFAULT 1,
    ADD COLUMN why          text NOT NULL DEFAULT '',
    ADD COLUMN emergency    boolean NOT NULL DEFAULT false,
    ADD COLUMN approved_at  timestamptz,
    ADD COLUMN lives_s      integer,
    ADD COLUMN proof        jsonb,
    ADD COLUMN confirm_by   timestamptz,
    ADD COLUMN first_put_at timestamptz,
    ADD COLUMN seen_ms      bigint,
    ADD COLUMN reviewed_by  text,
    ADD COLUMN reviewed_at  timestamptz,
    ADD COLUMN verdict      text,
    ADD COLUMN review_note  text,
    ADD COLUMN review_told_at timestamptz,
    ADD COLUMN batch_id     uuid REFERENCES command_batch ON DELETE CASCADE,
    ADD COLUMN moved_at     timestamptz,
    ADD COLUMN moved_by     text,
    ADD COLUMN moved_why    text NOT NULL DEFAULT '',
    ADD CONSTRAINT command_source CHECK (source ~ '^(plan|user|schedule):.'),
    ADD CONSTRAINT command_state CHECK (state IN (
        'awaiting', 'queued', 'sent', 'acknowledged', 'executed',
        'confirmed', 'done', 'failed', 'expired', 'unconfirmed', 'cancelled', 'refused')),
    ADD CONSTRAINT command_lives CHECK (expires_at > requested_at),
    ADD CONSTRAINT command_step CHECK ((run_id IS NULL) = (step IS NULL)),
    ADD CONSTRAINT command_two_people CHECK (approved_by IS NULL OR approved_by <> requested_by),
    ADD CONSTRAINT command_answered_for CHECK (
        NOT dangerous OR approved_by IS NOT NULL OR emergency
        OR (sends = 0 AND state IN ('awaiting', 'expired', 'cancelled', 'refused'))),
    ADD CONSTRAINT command_ended CHECK (
        (state IN ('awaiting', 'queued', 'sent', 'acknowledged', 'executed')) = (ended_at IS NULL)),
    ADD CONSTRAINT command_rests CHECK (send_at IS NULL OR state IN ('queued', 'sent')),
    ADD CONSTRAINT command_proves CHECK (state <> 'executed' OR (proof IS NOT NULL AND confirm_by IS NOT NULL)),
    ADD CONSTRAINT command_reviewed CHECK (
        (reviewed_by IS NULL) = (reviewed_at IS NULL) AND (reviewed_by IS NULL) = (verdict IS NULL)
        AND (reviewed_by IS NULL OR (emergency AND reviewed_by <> requested_by))
        AND verdict IN ('justified', 'unjustified'));
UPDATE command SET version = 2, first_put_at = sent_at WHERE state <> 'queued';
CREATE INDEX command_proving ON command (partition)
    WHERE proof IS NOT NULL AND state IN ('queued', 'sent', 'acknowledged', 'executed');
CREATE INDEX command_lapsing ON command (partition, confirm_by) WHERE state = 'executed';
CREATE INDEX command_unreviewed ON command (community_id, requested_at) WHERE emergency AND reviewed_by IS NULL;
CREATE INDEX command_of_batch ON command (batch_id, state) WHERE batch_id IS NOT NULL;

COMMENT ON COLUMN command.state IS
    'awaiting: a second person; queued: the broker; sent: the broker has it; acknowledged: the device has it and is at '
    'work; executed: it says that it is done, and its readings do not show it yet. Ends: confirmed (the readings show '
    'it), done (the device said so, and nothing could show it), failed, expired, unconfirmed, cancelled, refused';
COMMENT ON COLUMN command.expires_at IS 'awaiting: until when it can be approved; from then on until when it may be carried out';
COMMENT ON COLUMN command.proof IS 'what shows that it was done: {"at": place in vals, "low", "high"} or {"event": name}';
COMMENT ON COLUMN command.seen_ms IS 'the time of the newest reading when it was first sent: only a newer one is a proof';
COMMENT ON COLUMN command.review_told_at IS 'when it was told that nobody had reviewed it within a day';
COMMENT ON COLUMN command.emergency IS 'sent without a second person, who reviews it afterwards (紧急越权)';

CREATE TABLE command_history (
    command_id   uuid NOT NULL REFERENCES command ON DELETE CASCADE,
    version      integer NOT NULL,
    community_id text NOT NULL REFERENCES community ON DELETE CASCADE,
    move         text NOT NULL,
    from_state   text,
    to_state     text NOT NULL,
    at           timestamptz NOT NULL,
    by           text NOT NULL,
    why          text NOT NULL DEFAULT '',
    PRIMARY KEY (command_id, version)
);
-- Append-only for everybody; erasing a person alone may take words out, and what goes with its command goes.
CREATE FUNCTION command_history_stays() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND erasing_now() THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'command_history is append-only' USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER command_history_append_only BEFORE UPDATE OR DELETE ON command_history
    FOR EACH ROW WHEN (pg_trigger_depth() = 0) EXECUTE FUNCTION command_history_stays();
COMMENT ON TABLE command_history IS 'append-only, written by triggers of command alone; the row is folded from it';

-- The same table as services/domain/commands/states.py: NULL is what is not done.
CREATE FUNCTION command_move(p_from text, p_to text) RETURNS text LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN p_from IS NULL THEN CASE WHEN p_to IN ('awaiting', 'queued') THEN 'request' END
        WHEN p_from IN ('queued', 'sent') AND p_to = p_from THEN 'put'
        WHEN p_from = 'awaiting' THEN CASE p_to
            WHEN 'queued' THEN 'approve' WHEN 'refused' THEN 'reject' WHEN 'cancelled' THEN 'cancel'
            WHEN 'expired' THEN 'expire' END
        WHEN p_from = 'queued' AND p_to = 'sent' THEN 'send'
        WHEN p_from = 'queued' AND p_to = 'refused' THEN 'withdraw'
        WHEN p_from = 'queued' AND p_to = 'cancelled' THEN 'cancel'
        WHEN p_from IN ('queued', 'sent') AND p_to = 'acknowledged' THEN 'acknowledge'
        WHEN p_from IN ('queued', 'sent', 'acknowledged') THEN CASE p_to
            WHEN 'executed' THEN 'execute' WHEN 'done' THEN 'finish' WHEN 'failed' THEN 'fail'
            WHEN 'confirmed' THEN 'confirm' WHEN 'expired' THEN 'expire' END
        WHEN p_from = 'executed' THEN CASE p_to WHEN 'confirmed' THEN 'confirm' WHEN 'unconfirmed' THEN 'lapse' END
    END
$$;

CREATE FUNCTION command_kept() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_moves boolean := TG_OP = 'INSERT';
    v_from  text;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        v_from := OLD.state;
        v_moves := NEW.state <> OLD.state OR NEW.sends <> OLD.sends OR NEW.reviewed_by IS DISTINCT FROM OLD.reviewed_by;
        IF (NEW.id, NEW.device_no, NEW.name, NEW.dangerous, NEW.emergency, NEW.requested_by)
            IS DISTINCT FROM
            (OLD.id, OLD.device_no, OLD.name, OLD.dangerous, OLD.emergency, OLD.requested_by)
            OR (OLD.approved_by IS NOT NULL AND NEW.approved_by IS DISTINCT FROM OLD.approved_by)
            OR (OLD.reviewed_by IS NOT NULL AND NEW.reviewed_by IS DISTINCT FROM OLD.reviewed_by) THEN
            RAISE EXCEPTION 'what a command is and who answers for it do not change' USING ERRCODE = 'restrict_violation';
        END IF;
    END IF;
    IF NOT v_moves THEN
        RETURN NEW;
    END IF;
    NEW.version := CASE WHEN TG_OP = 'INSERT' THEN 1 ELSE OLD.version + 1 END;
    IF TG_OP = 'UPDATE' AND NEW.reviewed_by IS DISTINCT FROM OLD.reviewed_by THEN
        IF NEW.state <> OLD.state OR NEW.sends <> OLD.sends THEN
            RAISE EXCEPTION 'a review moves nothing else' USING ERRCODE = 'restrict_violation';
        END IF;
    ELSIF command_move(v_from, NEW.state) IS NULL THEN
        RAISE EXCEPTION 'a command that is % does not become %', coalesce(v_from, 'not there'), NEW.state
            USING ERRCODE = 'restrict_violation';
    END IF;
    IF TG_OP = 'INSERT' THEN
        NEW.moved_at := coalesce(NEW.moved_at, NEW.requested_at);
        NEW.moved_by := coalesce(NEW.moved_by, NEW.requested_by);
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER command_keeps BEFORE INSERT OR UPDATE ON command FOR EACH ROW EXECUTE FUNCTION command_kept();

CREATE FUNCTION command_written() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_from text;
    v_move text;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF NEW.version = OLD.version THEN
            RETURN NULL;
        END IF;
        v_from := OLD.state;
        IF NEW.reviewed_by IS DISTINCT FROM OLD.reviewed_by THEN
            v_move := 'review';
        END IF;
    END IF;
    INSERT INTO command_history (command_id, version, community_id, move, from_state, to_state, at, by, why)
    VALUES (NEW.id, NEW.version, NEW.community_id, coalesce(v_move, command_move(v_from, NEW.state)), v_from, NEW.state,
            coalesce(NEW.moved_at, clock_timestamp()), coalesce(NEW.moved_by, 'system'), NEW.moved_why);
    RETURN NULL;
END
$$;
CREATE TRIGGER command_writes AFTER INSERT OR UPDATE ON command FOR EACH ROW EXECUTE FUNCTION command_written();

CREATE TRIGGER command_approved_wakes_sender AFTER UPDATE ON command
    FOR EACH ROW WHEN (OLD.state = 'awaiting' AND NEW.state = 'queued') EXECUTE FUNCTION command_requested();

-- What was there before has a history from here on; how often it was sent before is not in it.
INSERT INTO command_history (command_id, version, community_id, move, from_state, to_state, at, by)
SELECT id, 1, community_id, 'request', NULL, 'queued', requested_at, requested_by FROM command;
INSERT INTO command_history (command_id, version, community_id, move, from_state, to_state, at, by)
SELECT id, 2, community_id, command_move('queued', state), 'queued', state, coalesce(ended_at, sent_at, requested_at), 'system'
FROM command WHERE state <> 'queued';

CREATE TABLE command_stray (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    community_id text NOT NULL REFERENCES community ON DELETE CASCADE,
    device_no    integer NOT NULL REFERENCES device ON DELETE CASCADE,
    named        text NOT NULL CHECK (length(named) <= 64),
    command_id   uuid REFERENCES command ON DELETE CASCADE,
    reason       text NOT NULL CHECK (reason IN ('unknown', 'foreign', 'unsent', 'late')),
    ok           boolean NOT NULL,
    detail       text NOT NULL DEFAULT '' CHECK (length(detail) <= 200),
    first_at     timestamptz NOT NULL,
    last_at      timestamptz NOT NULL,
    times        integer NOT NULL DEFAULT 1
);
CREATE UNIQUE INDEX command_stray_once ON command_stray (device_no, named, reason);
CREATE INDEX command_stray_community ON command_stray (community_id, last_at DESC, id DESC);
COMMENT ON TABLE command_stray IS 'replies that moved nothing: of no command, of another''s, before it was sent, after its end';
COMMENT ON COLUMN command_stray.named IS 'the id that the reply named, cut to 64 characters';

CREATE TABLE lamp_schedule (
    id             text NOT NULL CHECK (id ~ '^[a-z][a-z0-9_]{0,63}$'),
    community_id   text NOT NULL REFERENCES community ON DELETE CASCADE,
    title_zh       text NOT NULL,
    title_en       text NOT NULL,
    tags           text[] NOT NULL DEFAULT '{}',
    grids          text[] NOT NULL DEFAULT '{}',
    on_deg         real NOT NULL CHECK (on_deg BETWEEN -12 AND 6),
    off_deg        real NOT NULL CHECK (off_deg BETWEEN -12 AND 6),
    dims           jsonb NOT NULL DEFAULT '[]',
    enabled        boolean NOT NULL DEFAULT true,
    version        integer NOT NULL DEFAULT 1,
    changed_by     text NOT NULL,
    changed_at     timestamptz NOT NULL,
    done_ms        bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (community_id, id)
);
COMMENT ON COLUMN lamp_schedule.on_deg IS 'lamps go on when the sun''s centre sinks below so many degrees, and off when it rises above off_deg';
COMMENT ON COLUMN lamp_schedule.dims IS '[["23:00", 50], …]: from this local time on, at night, so bright';
COMMENT ON COLUMN lamp_schedule.done_ms IS 'the last change of light that was sent out';

-- Once more: SELECT was granted column by column.
SELECT tenant_separate('command', 'SELECT, INSERT, UPDATE');
SELECT tenant_separate('command_batch', 'SELECT, INSERT, UPDATE');
SELECT tenant_separate('command_history', 'SELECT');
SELECT tenant_separate('command_stray', 'SELECT');
SELECT tenant_separate('lamp_schedule', 'SELECT, INSERT, UPDATE, DELETE');
