-- what an alert sends out can be held back; the alert itself never is: why, since when, until when, and by whose word
ALTER TABLE alert
    ADD COLUMN held        text[] NOT NULL DEFAULT '{}',
    ADD COLUMN held_since  timestamptz,
    ADD COLUMN released_at timestamptz,
    ADD COLUMN suppressed  integer NOT NULL DEFAULT 0,
    ADD COLUMN shadow      boolean NOT NULL DEFAULT false,
    ADD COLUMN group_key   text,
    ADD CHECK (NOT (life_safety AND held <> '{}'));
COMMENT ON COLUMN alert.held IS 'why it sends nobody now: silence:{id}, maintenance:{id}, inhibited:{alert id}, flapping, '
    'cap:device, cap:community, settling, asking, answered; of a cleared alert: why it never did';
COMMENT ON COLUMN alert.suppressed IS 'occurrences that sent nobody';
COMMENT ON COLUMN alert.shadow IS 'of a rule on trial: recorded and counted, never sent, not on the wall';
COMMENT ON COLUMN alert.group_key IS 'alerts with the same one are worked on in one order while nobody has arrived';

DROP INDEX alert_open;
CREATE UNIQUE INDEX alert_open ON alert (family, subject, shadow) WHERE state <> 'cleared';
CREATE INDEX alert_group ON alert (group_key, fired_at DESC) WHERE group_key IS NOT NULL AND order_id IS NOT NULL;
CREATE INDEX alert_community_cleared ON alert (community_id, cleared_at) WHERE state = 'cleared' AND held <> '{}';

-- Two messages of the same millisecond are two occurrences; the same message twice is one.
ALTER TABLE alert_occurrence ADD COLUMN cause text NOT NULL DEFAULT '';
ALTER TABLE alert_occurrence DROP CONSTRAINT alert_occurrence_alert_id_what_at_key;
ALTER TABLE alert_occurrence ADD CONSTRAINT alert_occurrence_once UNIQUE (alert_id, what, at, cause);
ALTER TABLE alert_occurrence DROP CONSTRAINT alert_occurrence_what_check;
ALTER TABLE alert_occurrence ADD CONSTRAINT alert_occurrence_what_check CHECK (
    what IN ('raised', 'repeated', 'severity', 'recovering', 'cleared', 'held', 'released', 'answered'));
COMMENT ON COLUMN alert_occurrence.cause IS 'the message or reading behind it, where several can share a time';

CREATE TABLE silence (
    id           uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    community_id text NOT NULL REFERENCES community ON DELETE CASCADE,
    sort         text NOT NULL CHECK (sort IN ('silence', 'maintenance')),
    matcher      jsonb NOT NULL,
    place        text NOT NULL DEFAULT '',
    starts_at    timestamptz NOT NULL,
    ends_at      timestamptz NOT NULL,
    recurs       jsonb,
    why          text NOT NULL CHECK (why <> ''),
    created_by   text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    ended_at     timestamptz,
    ended_by     text,
    CHECK (ends_at > starts_at)
);
CREATE INDEX silence_community ON silence (community_id, ends_at);
COMMENT ON COLUMN silence.matcher IS 'names a set of alerts: {"rules","kinds","devices","buildings","grids","households","severity"}';
COMMENT ON COLUMN silence.recurs IS
    'within starts_at..ends_at only then: {"weekdays": [1..7] or "dates": [iso], "from": "HH:MM", "to": "HH:MM"}, local time';
COMMENT ON COLUMN silence.ended_at IS 'ended early; it held from starts_at to the earlier of the two';
CREATE TRIGGER silence_changed AFTER INSERT OR UPDATE OR DELETE ON silence
    FOR EACH STATEMENT EXECUTE FUNCTION registry_changed();

ALTER TABLE community ADD COLUMN alert_caps jsonb NOT NULL DEFAULT '{}';
COMMENT ON COLUMN community.alert_caps IS '{"device": orders an hour, "community": orders an hour}; left out: the defaults';
CREATE TRIGGER alert_caps_changed AFTER UPDATE OF alert_caps ON community
    FOR EACH STATEMENT EXECUTE FUNCTION registry_changed();

CREATE TABLE alert_answer (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alert_id    uuid NOT NULL REFERENCES alert ON DELETE CASCADE,
    partition   smallint NOT NULL,
    ok          boolean NOT NULL,
    note        text NOT NULL DEFAULT '',
    answered_by text NOT NULL,
    answered_at timestamptz NOT NULL DEFAULT now(),
    taken_at    timestamptz
);
CREATE INDEX alert_answer_waiting ON alert_answer (partition, id) WHERE taken_at IS NULL;
CREATE INDEX alert_answer_alert ON alert_answer (alert_id);
COMMENT ON TABLE alert_answer IS 'what people at home said to "is all well?", until the engine has taken it in';
