-- everything that leaves, in commit order, and everything that was done, hash-chained
CREATE TABLE outbox (
    seq          bigint PRIMARY KEY,
    at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    type         text NOT NULL,
    community_id text NOT NULL,
    subject      text NOT NULL,
    correlation  text NOT NULL DEFAULT '',
    data         jsonb NOT NULL
);
CREATE INDEX outbox_community ON outbox (community_id, seq);
CREATE SEQUENCE outbox_seq OWNED BY outbox.seq;
COMMENT ON TABLE outbox IS 'kept 30 days; seq is in commit order, so a reader''s cursor never passes an unseen row';

-- The lock is held to the end of the caller's transaction: seq order is commit order. Call it last.
CREATE FUNCTION outbox_append(p_type text, p_community text, p_subject text, p_correlation text, p_data jsonb)
    RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    v_seq bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(7236001);
    v_seq := nextval('outbox_seq');
    INSERT INTO outbox (seq, type, community_id, subject, correlation, data)
    VALUES (v_seq, p_type, p_community, p_subject, p_correlation, p_data);
    PERFORM pg_notify('outbox', v_seq::text);
    RETURN v_seq;
END
$$;

CREATE TABLE audit (
    id           bigint PRIMARY KEY,
    at           timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor_id     text NOT NULL,
    actor_role   text NOT NULL,
    community_id text,
    action       text NOT NULL,
    subject      text NOT NULL,
    detail       jsonb NOT NULL DEFAULT '{}',
    previous     bytea NOT NULL,
    hash         bytea NOT NULL
);
CREATE INDEX audit_community ON audit (community_id, id);
COMMENT ON COLUMN audit.hash IS 'sha256 over the previous hash and this row; an edited row breaks every later one';

CREATE FUNCTION audit_hash(p_previous bytea, r audit) RETURNS bytea LANGUAGE sql STABLE AS $$
    SELECT sha256(p_previous || convert_to(jsonb_build_array(r.id, extract(epoch FROM r.at), r.actor_id,
        r.actor_role, r.community_id, r.action, r.subject, r.detail)::text, 'UTF8'))
$$;

CREATE FUNCTION audit_append(p_actor text, p_role text, p_community text, p_action text, p_subject text, p_detail jsonb)
    RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    r audit;
BEGIN
    PERFORM pg_advisory_xact_lock(7236002);
    SELECT id + 1, hash INTO r.id, r.previous FROM audit ORDER BY id DESC LIMIT 1;
    r.id := coalesce(r.id, 1);
    r.previous := coalesce(r.previous, ''::bytea);
    r.at := clock_timestamp();
    r.actor_id := p_actor;
    r.actor_role := p_role;
    r.community_id := p_community;
    r.action := p_action;
    r.subject := p_subject;
    r.detail := p_detail;
    r.hash := audit_hash(r.previous, r);
    INSERT INTO audit SELECT r.*;
    RETURN r.id;
END
$$;
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE ON audit
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
