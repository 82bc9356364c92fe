-- who is told of what, on which of their channels, and whether it arrived
CREATE TABLE outbox_reader (
    name       text PRIMARY KEY,
    seq        bigint NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
COMMENT ON TABLE outbox_reader IS 'how far each durable reader of the outbox has come; moved in the transaction of what it made';
-- What happened before there were notices is told to nobody.
INSERT INTO outbox_reader (name, seq) SELECT 'notices', coalesce(max(seq), 0) FROM outbox;

CREATE TABLE person_contact (
    id           uuid PRIMARY KEY,
    community_id text NOT NULL REFERENCES community ON DELETE CASCADE,
    person_id    text NOT NULL REFERENCES person ON DELETE CASCADE,
    name         text NOT NULL,
    relation     text NOT NULL,
    position     smallint NOT NULL DEFAULT 1,
    created_at   timestamptz NOT NULL DEFAULT now(),
    created_by   text NOT NULL
);
CREATE INDEX person_contact_person ON person_contact (person_id, position);
COMMENT ON TABLE person_contact IS 'whom to call for a resident (紧急联系人): family that has no account here';

CREATE TABLE contact_channel (
    id            uuid PRIMARY KEY,
    account_id    text REFERENCES app_user ON DELETE CASCADE,
    contact_id    uuid REFERENCES person_contact ON DELETE CASCADE,
    sort          text NOT NULL,
    address       text NOT NULL,
    shown         text NOT NULL,
    position      smallint NOT NULL DEFAULT 1,
    min_severity  text NOT NULL DEFAULT 'info' CHECK (min_severity IN ('info', 'minor', 'major', 'critical')),
    quiet_from    time,
    quiet_to      time,
    language      text NOT NULL DEFAULT 'zh' CHECK (language IN ('zh', 'en')),
    created_at    timestamptz NOT NULL DEFAULT now(),
    verified_at   timestamptz,
    code_hash     bytea,
    code_until    timestamptz,
    code_tries    smallint NOT NULL DEFAULT 0,
    failing_since timestamptz,
    CHECK ((account_id IS NULL) <> (contact_id IS NULL)),
    CHECK ((quiet_from IS NULL) = (quiet_to IS NULL))
);
CREATE INDEX contact_channel_account ON contact_channel (account_id, position);
CREATE INDEX contact_channel_contact ON contact_channel (contact_id, position);
COMMENT ON COLUMN contact_channel.address IS
    'secret: an apprise URL, or (sorts sms, phone, mail) what the community''s gateway is given; shown by nothing';
COMMENT ON COLUMN contact_channel.shown IS 'the address with all but its ends masked';

CREATE TABLE community_gateway (
    community_id text NOT NULL REFERENCES community ON DELETE CASCADE,
    sort         text NOT NULL CHECK (sort IN ('sms', 'phone', 'mail')),
    template     text NOT NULL CHECK (template LIKE '%{to}%'),
    changed_at   timestamptz NOT NULL DEFAULT now(),
    changed_by   text NOT NULL,
    PRIMARY KEY (community_id, sort)
);
COMMENT ON COLUMN community_gateway.template IS 'secret: an apprise URL with {to} where the number or mail address goes';

CREATE TABLE notice (
    id              uuid PRIMARY KEY,
    seq             bigint NOT NULL,
    community_id    text NOT NULL REFERENCES community ON DELETE CASCADE,
    order_id        uuid REFERENCES work_order ON DELETE CASCADE,
    alert_id        uuid,
    recipient       text NOT NULL CHECK (recipient ~ '^(account|contact|person|report):.'),
    channel_id      uuid REFERENCES contact_channel ON DELETE CASCADE,
    template        text NOT NULL,
    severity        text NOT NULL CHECK (severity IN ('info', 'minor', 'major', 'critical')),
    params          jsonb NOT NULL DEFAULT '{}',
    turn            smallint NOT NULL DEFAULT 0,
    correlation     text NOT NULL DEFAULT '',
    created_at      timestamptz NOT NULL,
    not_before      timestamptz NOT NULL,
    expires_at      timestamptz NOT NULL,
    state           text NOT NULL CHECK (
        state IN ('queued', 'sending', 'sent', 'acknowledged', 'failed', 'expired', 'cancelled')),
    via             text,
    digest_of       uuid,
    attempts        smallint NOT NULL DEFAULT 0,
    next_at         timestamptz,
    lease           uuid,
    last_error      text,
    sent_at         timestamptz,
    acknowledged_at timestamptz,
    escalated       boolean NOT NULL DEFAULT false
) WITH (fillfactor = 70);
CREATE INDEX notice_due ON notice (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX notice_community ON notice (community_id, created_at DESC, id DESC);
CREATE INDEX notice_order ON notice (order_id, created_at DESC) WHERE order_id IS NOT NULL;
CREATE INDEX notice_recipient ON notice (recipient, created_at DESC, id DESC);
CREATE INDEX notice_event ON notice (seq);
CREATE INDEX notice_made ON notice USING brin (created_at);
CREATE INDEX notice_sending ON notice (recipient) WHERE state = 'sending';
CREATE INDEX notice_digest ON notice (digest_of) WHERE digest_of IS NOT NULL;
COMMENT ON COLUMN notice.id IS 'derived from event, recipient and template: reading the outbox again makes none twice';
COMMENT ON COLUMN notice.recipient IS 'report: whoever left a telephone number with that report and no account';
COMMENT ON COLUMN notice.seq IS 'the outbox row it tells of; 0: of none';
COMMENT ON COLUMN notice.params IS 'what its template is filled with; nothing of anybody''s health';
COMMENT ON COLUMN notice.next_at IS 'when the sender has to look at it next: to send, or because nobody acknowledged it';
COMMENT ON COLUMN notice.via IS 'channel: a channel took it; app: the recipient has none and finds it under /me/notices';

CREATE TABLE notice_attempt (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    notice_id  uuid NOT NULL REFERENCES notice ON DELETE CASCADE,
    channel_id uuid,
    sort       text NOT NULL,
    at         timestamptz NOT NULL,
    ok         boolean NOT NULL,
    error      text,
    ms         integer NOT NULL
);
CREATE INDEX notice_attempt_notice ON notice_attempt (notice_id, id);
CREATE TRIGGER notice_attempt_append_only BEFORE UPDATE ON notice_attempt
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE TABLE notice_link (
    token_hash bytea PRIMARY KEY,
    notice_id  uuid NOT NULL REFERENCES notice ON DELETE CASCADE,
    expires_at timestamptz NOT NULL
);
CREATE INDEX notice_link_notice ON notice_link (notice_id);
COMMENT ON TABLE notice_link IS 'sha256 of the random tokens of links that were sent; each sending has its own';

CREATE FUNCTION notice_due() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('notice', '');
    RETURN NULL;
END
$$;
CREATE TRIGGER notice_wakes_sender AFTER INSERT ON notice
    FOR EACH STATEMENT EXECUTE FUNCTION notice_due();
