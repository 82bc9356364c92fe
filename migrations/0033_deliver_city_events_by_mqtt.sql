-- who of the city reads events at the broker, and what the engine knows of a way that confirms nothing by itself
CREATE TABLE city_broker_login (
    name            text PRIMARY KEY CHECK (name ~ '^city\.[a-z2-7]{16}$'),
    subscription_id uuid NOT NULL REFERENCES city_subscription ON DELETE CASCADE,
    secret_hash     text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    created_by      text NOT NULL,
    ends_at         timestamptz
);
CREATE INDEX city_broker_login_subscription ON city_broker_login (subscription_id, created_at);
COMMENT ON COLUMN city_broker_login.name IS 'no device has a dot in its id, and no service begins so: nobody else can have this name';
COMMENT ON COLUMN city_broker_login.secret_hash IS 'as the broker keeps it; the secret was shown once';
COMMENT ON COLUMN city_broker_login.ends_at IS 'several logins of a subscription read the same topics, so that they can overlap';

SELECT tenant_separate('city_broker_login', 'SELECT, INSERT, UPDATE',
    'EXISTS (SELECT FROM city_subscription AS one WHERE one.id = city_broker_login.subscription_id)', 'false',
    ARRAY['secret_hash']);

ALTER TABLE city_delivery
    ADD COLUMN sent_seq bigint,
    ADD COLUMN confirmed bigint NOT NULL DEFAULT 0,
    ADD COLUMN ahead integer NOT NULL DEFAULT 0;
COMMENT ON COLUMN city_delivery.sent_seq IS 'what was delivered last, in whichever order: the event behind it names it, so that a gap shows';
COMMENT ON COLUMN city_delivery.confirmed IS 'the farthest cursor that the receiver itself has pulled with';
COMMENT ON COLUMN city_delivery.ahead IS 'delivered since that cursor last moved';

-- The identity watcher writes the broker's files anew when a login comes or goes, or its account is shut.
CREATE TRIGGER city_broker_login_wakes AFTER INSERT OR UPDATE OR DELETE ON city_broker_login
    FOR EACH STATEMENT EXECUTE FUNCTION registry_changed();
CREATE TRIGGER app_user_shuts_logins AFTER UPDATE OF disabled_at, role ON app_user
    FOR EACH ROW WHEN (OLD.service AND (OLD.disabled_at IS DISTINCT FROM NEW.disabled_at OR OLD.role <> NEW.role))
    EXECUTE FUNCTION registry_changed();

-- A receiver that goes on behind its cursor lets sending go on.
CREATE TRIGGER city_confirmed_wakes AFTER UPDATE OF confirmed ON city_delivery
    FOR EACH STATEMENT EXECUTE FUNCTION city_changed();
