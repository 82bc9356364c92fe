-- who of the city hears of what: subscriptions, the keys they are signed by, how far each has come, what did not arrive
CREATE TABLE city_subscription (
    id              uuid PRIMARY KEY,
    account_id      text NOT NULL REFERENCES app_user ON DELETE CASCADE,
    community_id    text REFERENCES community ON DELETE CASCADE,
    street_id       text REFERENCES street ON DELETE CASCADE,
    name            text NOT NULL,
    way             text NOT NULL CHECK (way IN ('webhook', 'pull', 'mqtt')),
    url             text,
    format          text NOT NULL DEFAULT 'structured' CHECK (format IN ('structured', 'binary')),
    types           text[] NOT NULL CHECK (types <> '{}'),
    communities     text[] NOT NULL DEFAULT '{}',
    severities      text[] NOT NULL DEFAULT '{}',
    kinds           text[] NOT NULL DEFAULT '{}',
    classes         text[] NOT NULL DEFAULT '{}',
    classes_reason  text NOT NULL DEFAULT '',
    mark            text NOT NULL DEFAULT 'Actual' CHECK (mark IN ('Actual', 'Exercise', 'Test')),
    state           text NOT NULL DEFAULT 'active' CHECK (state IN ('active', 'paused', 'disabled')),
    state_why       text NOT NULL DEFAULT '',
    version         integer NOT NULL DEFAULT 1,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_by      text NOT NULL,
    idempotency_key text NOT NULL,
    UNIQUE (created_by, idempotency_key),
    CHECK ((way = 'webhook') = (url IS NOT NULL)),
    CHECK (classes = '{}' OR classes_reason <> '')
);
CREATE INDEX city_subscription_account ON city_subscription (account_id);
COMMENT ON COLUMN city_subscription.community_id IS
    'with street_id: what its account was bound to when it was made, so that administrators of that scope see it; what is sent follows the account as it is';
COMMENT ON COLUMN city_subscription.classes IS 'data classes granted by an administrator; empty: thin payloads';
COMMENT ON COLUMN city_subscription.communities IS 'empty: all that the account reaches';

CREATE TABLE city_signing_key (
    id              uuid PRIMARY KEY,
    subscription_id uuid NOT NULL REFERENCES city_subscription ON DELETE CASCADE,
    sort            text NOT NULL CHECK (sort IN ('hmac', 'ed25519')),
    secret          text NOT NULL,
    public          text,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_by      text NOT NULL,
    ends_at         timestamptz,
    CHECK ((sort = 'ed25519') = (public IS NOT NULL))
);
CREATE INDEX city_signing_key_subscription ON city_signing_key (subscription_id, created_at);
COMMENT ON COLUMN city_signing_key.secret IS
    'shown once, where it is shared (hmac), or never (ed25519): what signs, base64 after whsec_ or whsk_';
COMMENT ON COLUMN city_signing_key.ends_at IS 'events are signed by every key that has not ended, so that keys can overlap';

CREATE TABLE city_delivery (
    subscription_id uuid PRIMARY KEY REFERENCES city_subscription ON DELETE CASCADE,
    seq             bigint NOT NULL,
    replay_seq      bigint,
    replay_upto     bigint,
    next_at         timestamptz NOT NULL DEFAULT clock_timestamp(),
    lease           uuid,
    lease_until     timestamptz,
    failures        integer NOT NULL DEFAULT 0,
    refusals        integer NOT NULL DEFAULT 0,
    attempts        integer NOT NULL DEFAULT 0,
    failing_since   timestamptz,
    resumed_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    delivered       bigint NOT NULL DEFAULT 0,
    delivered_at    timestamptz,
    last_error      text,
    test_id         uuid,
    CHECK ((replay_seq IS NULL) = (replay_upto IS NULL))
) WITH (fillfactor = 50);
COMMENT ON COLUMN city_delivery.seq IS 'the outbox row up to which everything was delivered, passed over or given up';
COMMENT ON COLUMN city_delivery.replay_seq IS 'a range that is sent again before anything new is: up to here it was';
COMMENT ON COLUMN city_delivery.test_id IS 'a test that was asked for and not sent yet';
COMMENT ON COLUMN city_delivery.attempts IS 'of the event whose turn it is; failures: of the way, refusals: of that event';
COMMENT ON COLUMN city_delivery.resumed_at IS 'an event is no older than this: what was paused, or is replayed, has its three days anew';

CREATE TABLE city_attempt (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subscription_id uuid NOT NULL REFERENCES city_subscription ON DELETE CASCADE,
    seq             bigint NOT NULL,
    type            text NOT NULL,
    at              timestamptz NOT NULL,
    ok              boolean NOT NULL,
    status          smallint,
    error           text,
    ms              integer NOT NULL,
    sort            text NOT NULL CHECK (sort IN ('event', 'replay', 'test'))
);
CREATE INDEX city_attempt_subscription ON city_attempt (subscription_id, id);
CREATE INDEX city_attempt_at ON city_attempt USING brin (at);
CREATE TRIGGER city_attempt_append_only BEFORE UPDATE ON city_attempt
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
COMMENT ON TABLE city_attempt IS 'the delivery log: every request, without its payload';

CREATE TABLE city_dead_letter (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    subscription_id uuid NOT NULL REFERENCES city_subscription ON DELETE CASCADE,
    seq             bigint NOT NULL,
    upto            bigint NOT NULL,
    type            text NOT NULL,
    at              timestamptz NOT NULL,
    why             text NOT NULL,
    attempts        integer NOT NULL,
    replayed_at     timestamptz,
    CHECK (upto >= seq)
);
CREATE UNIQUE INDEX city_dead_letter_one ON city_dead_letter (subscription_id, seq);
COMMENT ON COLUMN city_dead_letter.upto IS 'the same as seq, save where the outbox let go of a whole range before it was read';

-- How far figures and public data of each community have been told.
CREATE TABLE city_told (
    community_id text PRIMARY KEY REFERENCES community ON DELETE CASCADE,
    kpi_day      date NOT NULL,
    public       jsonb NOT NULL DEFAULT '{}',
    public_at    timestamptz
) WITH (fillfactor = 70);

SELECT tenant_separate('city_subscription', 'SELECT, INSERT, UPDATE, DELETE',
    'community_id = ANY ((SELECT string_to_array(current_setting(''linhub.communities'', true), '',''))::text[]) '
    'OR (community_id IS NULL AND street_id = (SELECT current_setting(''linhub.street'', true)) '
    'AND (SELECT current_setting(''linhub.above'', true) = ''on''))', 'false');
SELECT tenant_separate('city_signing_key', 'SELECT, INSERT, UPDATE',
    'EXISTS (SELECT FROM city_subscription AS one WHERE one.id = city_signing_key.subscription_id)', 'false',
    ARRAY['secret']);
SELECT tenant_separate('city_delivery', 'SELECT, INSERT, UPDATE',
    'EXISTS (SELECT FROM city_subscription AS one WHERE one.id = city_delivery.subscription_id)', 'false');
SELECT tenant_separate('city_attempt', 'SELECT, INSERT',
    'EXISTS (SELECT FROM city_subscription AS one WHERE one.id = city_attempt.subscription_id)', 'false');
SELECT tenant_separate('city_dead_letter', 'SELECT',
    'EXISTS (SELECT FROM city_subscription AS one WHERE one.id = city_dead_letter.subscription_id)', 'false');
SELECT tenant_separate('city_told', '', p_own => 'false');

-- Whoever delivers is woken; a lost word costs one poll.
CREATE FUNCTION city_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('city', '');
    RETURN NULL;
END
$$;
CREATE TRIGGER city_subscription_wakes AFTER INSERT OR UPDATE ON city_subscription
    FOR EACH STATEMENT EXECUTE FUNCTION city_changed();
CREATE TRIGGER city_replay_wakes AFTER UPDATE OF replay_upto, resumed_at, test_id ON city_delivery
    FOR EACH STATEMENT EXECUTE FUNCTION city_changed();
