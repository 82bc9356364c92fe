-- sessions that outlive a process and end everywhere at once, failures to log in, and what an account remembers of itself
ALTER TABLE app_user
    ADD COLUMN version        integer NOT NULL DEFAULT 1,
    ADD COLUMN must_change    boolean NOT NULL DEFAULT false,
    ADD COLUMN password_until timestamptz,
    ADD COLUMN last_login_at  timestamptz,
    ADD COLUMN once_key       bytea;
COMMENT ON COLUMN app_user.must_change IS 'has a one-time password: may do nothing but choose one of their own';
COMMENT ON COLUMN app_user.password_until IS 'when a one-time password ends; null: for good';
COMMENT ON COLUMN app_user.once_key IS 'sha256 of whose key asked for the one-time password: the same request again gives the same';

CREATE TABLE app_session (
    id            text PRIMARY KEY,
    user_id       text NOT NULL REFERENCES app_user ON DELETE CASCADE,
    sort          text NOT NULL CHECK (sort IN ('browser', 'token', 'oidc', 'client', 'display')),
    created_at    timestamptz NOT NULL DEFAULT now(),
    last_used_at  timestamptz NOT NULL DEFAULT now(),
    address       text NOT NULL DEFAULT '',
    network       text NOT NULL DEFAULT '',
    agent         text NOT NULL DEFAULT '',
    label         text NOT NULL DEFAULT '',
    limits        text[],
    password_mark text,
    idle_s        double precision NOT NULL CHECK (idle_s > 0),
    idle_until    timestamptz NOT NULL,
    expires_at    timestamptz NOT NULL,
    refresh_hash  bytea CHECK (octet_length(refresh_hash) = 32),
    previous_hash bytea CHECK (octet_length(previous_hash) = 32),
    rotated_at    timestamptz,
    generation    integer NOT NULL DEFAULT 1,
    used          integer NOT NULL DEFAULT 0,
    revoked_at    timestamptz,
    revoked_by    text,
    revoke_why    text
);
CREATE INDEX app_session_user ON app_session (user_id, created_at DESC, id);
CREATE INDEX app_session_network ON app_session (user_id, network, created_at);
CREATE INDEX app_session_expiry ON app_session (expires_at);
COMMENT ON COLUMN app_session.last_used_at IS 'to five minutes';
COMMENT ON COLUMN app_session.limits IS 'permissions, of those the account''s role has; null: all of them';
COMMENT ON COLUMN app_session.password_mark IS 'of the password it was opened with: a new one ends it; null: opened without';
COMMENT ON COLUMN app_session.refresh_hash IS 'sha256 of 256 random bits; null: cannot be renewed';
COMMENT ON COLUMN app_session.generation IS 'how often it was renewed; used: the highest of which a token has come back';

CREATE TABLE login_failure (
    name          text NOT NULL,
    network       text NOT NULL,
    failures      double precision NOT NULL,
    last_at       timestamptz NOT NULL,
    blocked_until timestamptz,
    PRIMARY KEY (name, network)
);
CREATE INDEX login_failure_age ON login_failure (last_at);
COMMENT ON TABLE login_failure IS
    'of a name from a network; with an empty network: of a name from everywhere; with an empty name: of a network';
COMMENT ON COLUMN login_failure.name IS 'a hash: people type passwords where their name should stand';

CREATE TABLE external_identity (
    issuer    text NOT NULL,
    subject   text NOT NULL,
    user_id   text NOT NULL REFERENCES app_user ON DELETE CASCADE,
    linked_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (issuer, subject),
    UNIQUE (issuer, user_id)
);
CREATE INDEX external_identity_user ON external_identity (user_id);
COMMENT ON TABLE external_identity IS 'who somebody is at another place of login, bound at the first one';

-- Streams hear of a session's end in the moment of the commit, whoever ended it.
CREATE FUNCTION session_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('session', 'session:' || OLD.id);
    RETURN NULL;
END
$$;
CREATE TRIGGER app_session_ended AFTER UPDATE ON app_session FOR EACH ROW
    WHEN (ROW (OLD.revoked_at, OLD.expires_at, OLD.limits) IS DISTINCT FROM ROW (NEW.revoked_at, NEW.expires_at, NEW.limits))
    EXECUTE FUNCTION session_changed();
CREATE TRIGGER app_session_gone AFTER DELETE ON app_session FOR EACH ROW EXECUTE FUNCTION session_changed();
