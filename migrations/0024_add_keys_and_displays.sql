-- keys of platforms and services, screens paired by a code, and word to every stream of who may no longer watch
ALTER TABLE app_user ADD COLUMN service boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN app_user.service IS 'a program or a screen: comes in by key, client or pairing, never by password';

CREATE TABLE api_key (
    id           text PRIMARY KEY CHECK (id ~ '^[a-z0-9]{12}$'),
    user_id      text NOT NULL REFERENCES app_user ON DELETE CASCADE,
    community_id text REFERENCES community ON DELETE CASCADE,
    sort         text NOT NULL CHECK (sort IN ('key', 'client')),
    name         text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 80),
    secret_hash  bytea NOT NULL CHECK (octet_length(secret_hash) = 32),
    scopes       text[] NOT NULL CHECK (cardinality(scopes) > 0),
    addresses    cidr[] NOT NULL DEFAULT '{}',
    per_minute   integer NOT NULL CHECK (per_minute > 0),
    created_at   timestamptz NOT NULL DEFAULT now(),
    created_by   text NOT NULL,
    expires_at   timestamptz NOT NULL,
    last_used_at timestamptz,
    rotated_from text REFERENCES api_key ON DELETE SET NULL,
    revoked_at   timestamptz,
    revoked_by   text
);
CREATE INDEX api_key_user ON api_key (user_id);
CREATE INDEX api_key_community ON api_key (community_id) WHERE community_id IS NOT NULL;
COMMENT ON COLUMN api_key.community_id IS 'of the account it belongs to; null: of one that no single community binds';
COMMENT ON COLUMN api_key.secret_hash IS 'sha256 of 256 random bits: nothing to guess, so nothing to slow down';
COMMENT ON COLUMN api_key.scopes IS 'permissions, of those its account''s role has';
COMMENT ON COLUMN api_key.addresses IS 'networks it may be used from; empty: from anywhere';
COMMENT ON COLUMN api_key.last_used_at IS 'to ten minutes';
COMMENT ON COLUMN api_key.rotated_from IS 'the key it replaces, which lives on until the end of the overlap';

CREATE TABLE display (
    id             uuid PRIMARY KEY,
    community_id   text NOT NULL REFERENCES community ON DELETE CASCADE,
    user_id        text NOT NULL UNIQUE REFERENCES app_user ON DELETE CASCADE,
    name           text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 80),
    place          text NOT NULL DEFAULT '',
    version        integer NOT NULL DEFAULT 1,
    secret_hash    bytea UNIQUE CHECK (octet_length(secret_hash) = 32),
    paired_at      timestamptz NOT NULL DEFAULT now(),
    paired_by      text NOT NULL,
    expires_at     timestamptz NOT NULL,
    last_seen_at   timestamptz,
    last_seen_from inet,
    build          text,
    revoked_at     timestamptz,
    revoked_by     text
);
CREATE INDEX display_community ON display (community_id, paired_at DESC, id DESC);
COMMENT ON COLUMN display.secret_hash IS 'null until the screen has fetched its secret';
COMMENT ON COLUMN display.expires_at IS 'moves on while the screen is in use; a screen nobody switched on for so long is paired anew';

CREATE TABLE display_pairing (
    id          uuid PRIMARY KEY,
    code        text NOT NULL UNIQUE,
    secret_hash bytea NOT NULL CHECK (octet_length(secret_hash) = 32),
    address     inet,
    created_at  timestamptz NOT NULL DEFAULT now(),
    expires_at  timestamptz NOT NULL,
    display_id  uuid REFERENCES display ON DELETE CASCADE
);
CREATE INDEX display_pairing_expiry ON display_pairing (expires_at);
CREATE INDEX display_pairing_display ON display_pairing (display_id) WHERE display_id IS NOT NULL;
COMMENT ON TABLE display_pairing IS 'codes that screens show; each is good for ten minutes and one screen';

-- Streams hear of these rows in the moment of the commit, whoever changed them: the API, the command line, or SQL by hand.
CREATE FUNCTION access_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('session', TG_ARGV[0] || ':' || OLD.id);
    RETURN NULL;
END
$$;
CREATE TRIGGER app_user_access_changed AFTER UPDATE ON app_user FOR EACH ROW
    WHEN (ROW (OLD.role, OLD.team, OLD.community_id, OLD.street_id, OLD.grid_id, OLD.household_id, OLD.disabled_at,
            OLD.password_hash, OLD.leads)
        IS DISTINCT FROM ROW (NEW.role, NEW.team, NEW.community_id, NEW.street_id, NEW.grid_id, NEW.household_id,
            NEW.disabled_at, NEW.password_hash, NEW.leads))
    EXECUTE FUNCTION access_changed('user');
CREATE TRIGGER app_user_access_gone AFTER DELETE ON app_user FOR EACH ROW EXECUTE FUNCTION access_changed('user');
CREATE TRIGGER api_key_access_changed AFTER UPDATE ON api_key FOR EACH ROW
    WHEN (ROW (OLD.revoked_at, OLD.expires_at, OLD.scopes, OLD.addresses, OLD.secret_hash, OLD.per_minute)
        IS DISTINCT FROM ROW (NEW.revoked_at, NEW.expires_at, NEW.scopes, NEW.addresses, NEW.secret_hash, NEW.per_minute))
    EXECUTE FUNCTION access_changed('key');
CREATE TRIGGER api_key_access_gone AFTER DELETE ON api_key FOR EACH ROW EXECUTE FUNCTION access_changed('key');
CREATE TRIGGER display_access_changed AFTER UPDATE ON display FOR EACH ROW
    WHEN (ROW (OLD.revoked_at, OLD.secret_hash) IS DISTINCT FROM ROW (NEW.revoked_at, NEW.secret_hash))
    EXECUTE FUNCTION access_changed('display');
CREATE TRIGGER display_access_gone AFTER DELETE ON display FOR EACH ROW EXECUTE FUNCTION access_changed('display');

-- The trail refuses to be emptied as it refuses to be edited.
CREATE TRIGGER audit_not_emptied BEFORE TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();
CREATE INDEX audit_actor ON audit (actor_id, id);
CREATE INDEX audit_action ON audit (action text_pattern_ops, id);
CREATE INDEX audit_subject ON audit (subject text_pattern_ops, id);
CREATE INDEX audit_at ON audit (at);
