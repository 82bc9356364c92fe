-- subscriptions of NGSI-LD: what is asked for, how far each has come, what of each entity was looked at last
CREATE TABLE ngsi_subscription (
    id           uuid PRIMARY KEY,
    account_id   text NOT NULL REFERENCES app_user ON DELETE CASCADE,
    community_id text REFERENCES community ON DELETE CASCADE,
    street_id    text REFERENCES street ON DELETE CASCADE,
    name         text NOT NULL,
    key_id       text,
    limits       text[],
    kinds        text[] NOT NULL,
    document     jsonb NOT NULL,
    headers      jsonb NOT NULL DEFAULT '{}',
    header_names text[] NOT NULL DEFAULT '{}',
    active       boolean NOT NULL,
    state_why    text NOT NULL DEFAULT '',
    expires_at   timestamptz,
    created_at   timestamptz NOT NULL,
    modified_at  timestamptz NOT NULL,
    UNIQUE (account_id, name)
);
COMMENT ON COLUMN ngsi_subscription.name IS 'the id that its client knows it by, a URI; each account has names of its own';
COMMENT ON COLUMN ngsi_subscription.key_id IS
    'the key or client it was made with: nothing is sent once it, and every key it was rotated into, has ended';
COMMENT ON COLUMN ngsi_subscription.limits IS 'what that key or session was given of the account''s permissions; null: all';
COMMENT ON COLUMN ngsi_subscription.kinds IS 'of devices whose changes can touch it; !alert for alerts';
COMMENT ON COLUMN ngsi_subscription.document IS 'as the client sent it, without receiverInfo';
COMMENT ON COLUMN ngsi_subscription.headers IS 'receiverInfo: sent with each notification, and read by whoever sends alone';
COMMENT ON COLUMN ngsi_subscription.community_id IS
    'with street_id: what its account was bound to when it was made; what is sent follows the account as it is';

CREATE TABLE ngsi_progress (
    subscription_id   uuid PRIMARY KEY REFERENCES ngsi_subscription ON DELETE CASCADE,
    seen              text,
    seq               bigint NOT NULL DEFAULT 0,
    view              text NOT NULL DEFAULT '',
    fresh             boolean NOT NULL DEFAULT true,
    looked_at         timestamptz,
    next_at           timestamptz NOT NULL,
    lease             uuid,
    lease_until       timestamptz,
    failures          integer NOT NULL DEFAULT 0,
    refusals          integer NOT NULL DEFAULT 0,
    failing_since     timestamptz,
    last_error        text,
    times_sent        bigint NOT NULL DEFAULT 0,
    times_failed      bigint NOT NULL DEFAULT 0,
    last_notification timestamptz,
    last_success      timestamptz,
    last_failure      timestamptz
) WITH (fillfactor = 50);
COMMENT ON COLUMN ngsi_progress.seen IS
    'the oldest transaction that was under way at the last look: what it and later ones wrote is looked at next';
COMMENT ON COLUMN ngsi_progress.seq IS 'the newest row of the outbox at the last look';
COMMENT ON COLUMN ngsi_progress.view IS 'which communities, types and grants that look was through; another one looks at all of it';
COMMENT ON COLUMN ngsi_progress.fresh IS 'the present state is still to be told';
COMMENT ON COLUMN ngsi_progress.looked_at IS 'when everything was looked at last, changed or not';

CREATE TABLE ngsi_known (
    subscription_id uuid NOT NULL REFERENCES ngsi_subscription ON DELETE CASCADE,
    entity_id       text NOT NULL,
    marks           jsonb NOT NULL,
    PRIMARY KEY (subscription_id, entity_id)
) WITH (fillfactor = 70);
COMMENT ON TABLE ngsi_known IS 'digests of the attributes of each entity as they were told or passed over; no values';

CREATE TABLE ngsi_attempt (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subscription_id uuid NOT NULL REFERENCES ngsi_subscription ON DELETE CASCADE,
    at              timestamptz NOT NULL,
    ok              boolean NOT NULL,
    status          smallint,
    error           text,
    ms              integer NOT NULL,
    entities        integer NOT NULL
);
CREATE INDEX ngsi_attempt_subscription ON ngsi_attempt (subscription_id, id);
CREATE INDEX ngsi_attempt_at ON ngsi_attempt USING brin (at);
CREATE TRIGGER ngsi_attempt_append_only BEFORE UPDATE ON ngsi_attempt
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
COMMENT ON TABLE ngsi_attempt IS 'the delivery log: every request, without its payload';

SELECT tenant_separate('ngsi_subscription', 'SELECT, INSERT, UPDATE, DELETE',
    'community_id = ANY ((SELECT string_to_array(current_setting(''linhub.communities'', true), '',''))::text[]) '
    'OR (community_id IS NULL AND street_id = (SELECT current_setting(''linhub.street'', true)) '
    'AND (SELECT current_setting(''linhub.above'', true) = ''on''))', 'false',
    ARRAY['headers']);
SELECT tenant_separate('ngsi_progress', 'SELECT, INSERT, UPDATE',
    'EXISTS (SELECT FROM ngsi_subscription AS one WHERE one.id = ngsi_progress.subscription_id)', 'false');
SELECT tenant_separate('ngsi_known', 'SELECT, DELETE',
    'EXISTS (SELECT FROM ngsi_subscription AS one WHERE one.id = ngsi_known.subscription_id)', 'false');
SELECT tenant_separate('ngsi_attempt', 'SELECT',
    'EXISTS (SELECT FROM ngsi_subscription AS one WHERE one.id = ngsi_attempt.subscription_id)', 'false');

-- Whoever sends is woken; a lost word costs one look.
CREATE TRIGGER ngsi_subscription_wakes AFTER INSERT OR UPDATE ON ngsi_subscription
    FOR EACH STATEMENT EXECUTE FUNCTION city_changed();
