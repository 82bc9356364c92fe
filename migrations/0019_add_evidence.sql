-- photos, clips, voice and signatures of orders, and the codes that hang at places
CREATE TABLE evidence (
    id              uuid PRIMARY KEY,
    community_id    text NOT NULL REFERENCES community ON DELETE CASCADE,
    order_id        uuid REFERENCES work_order,
    alert_id        uuid REFERENCES alert,
    report_id       uuid,
    sort            text NOT NULL CHECK (sort IN ('photo', 'clip', 'voice', 'signature')),
    phase           text NOT NULL DEFAULT 'other' CHECK (phase IN ('before', 'after', 'other')),
    sha256          bytea NOT NULL CHECK (length(sha256) = 32),
    original_sha256 bytea NOT NULL CHECK (length(original_sha256) = 32),
    thumb_sha256    bytea CHECK (length(thumb_sha256) = 32),
    media_type      text NOT NULL,
    bytes           bigint NOT NULL CHECK (bytes > 0),
    width           integer,
    height          integer,
    duration_s      double precision,
    taken_at        timestamptz,
    claimed         text[] NOT NULL DEFAULT '{}',
    uploaded_at     timestamptz NOT NULL,
    uploaded_by     text NOT NULL,
    uploader_role   text NOT NULL,
    place           text NOT NULL DEFAULT '',
    x               double precision,
    y               double precision,
    latitude        double precision CHECK (latitude BETWEEN -90 AND 90),
    longitude       double precision CHECK (longitude BETWEEN -180 AND 180),
    device_no       integer REFERENCES device ON DELETE SET NULL,
    idempotency_key text,
    removed_at      timestamptz,
    removed_by      text,
    removed_why     text,
    CHECK ((removed_at IS NULL) = (removed_by IS NULL) AND (removed_at IS NULL) = (removed_why IS NULL))
);
COMMENT ON COLUMN evidence.sha256 IS 'of the object in the store: what was decoded and written anew';
COMMENT ON COLUMN evidence.original_sha256 IS 'of the bytes as they came, which are not kept';
COMMENT ON COLUMN evidence.claimed IS 'what the file or its sender says and nobody checked: time, position';
CREATE INDEX evidence_order ON evidence (order_id, uploaded_at, id) WHERE order_id IS NOT NULL;
CREATE INDEX evidence_alert ON evidence (alert_id) WHERE alert_id IS NOT NULL;
CREATE INDEX evidence_report ON evidence (report_id) WHERE report_id IS NOT NULL;
CREATE INDEX evidence_community ON evidence (community_id, uploaded_at DESC, id);
CREATE INDEX evidence_device ON evidence (device_no) WHERE device_no IS NOT NULL;
CREATE INDEX evidence_object ON evidence (sha256) WHERE removed_at IS NULL;
CREATE INDEX evidence_thumb ON evidence (thumb_sha256) WHERE removed_at IS NULL;
CREATE UNIQUE INDEX evidence_key ON evidence (community_id, idempotency_key) WHERE idempotency_key IS NOT NULL;

-- What was shown stays as it was. It may be linked once to what it is about, and its picture may be taken away once,
-- by whom and why.
CREATE FUNCTION evidence_kept() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_new evidence := NEW;
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF OLD.removed_at IS NULL THEN
            v_new.removed_at := NULL;
            v_new.removed_by := NULL;
            v_new.removed_why := NULL;
        END IF;
        IF OLD.order_id IS NULL THEN v_new.order_id := NULL; END IF;
        IF OLD.alert_id IS NULL THEN v_new.alert_id := NULL; END IF;
        IF OLD.report_id IS NULL THEN v_new.report_id := NULL; END IF;
        IF NEW.device_no IS NULL THEN v_new.device_no := OLD.device_no; END IF;
        IF v_new IS NOT DISTINCT FROM OLD THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'evidence is append-only' USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER evidence_append_only BEFORE UPDATE OR DELETE ON evidence
    FOR EACH ROW EXECUTE FUNCTION evidence_kept();

CREATE TABLE place_code (
    id           uuid PRIMARY KEY,
    community_id text NOT NULL REFERENCES community ON DELETE CASCADE,
    building_id  text REFERENCES building ON DELETE CASCADE,
    unit_id      text REFERENCES unit ON DELETE CASCADE,
    place        text NOT NULL CHECK (place <> ''),
    x            double precision NOT NULL,
    y            double precision NOT NULL,
    created_at   timestamptz NOT NULL,
    created_by   text NOT NULL,
    revoked_at   timestamptz,
    revoked_by   text,
    replaced_by  uuid REFERENCES place_code,
    idempotency_key text,
    CHECK ((revoked_at IS NULL) = (revoked_by IS NULL))
);
COMMENT ON TABLE place_code IS 'what hangs on the wall is the id with a signature by the installation''s key, which lies nowhere in here';
CREATE INDEX place_code_community ON place_code (community_id, created_at DESC, id);
CREATE INDEX place_code_building ON place_code (building_id);
CREATE UNIQUE INDEX place_code_key ON place_code (community_id, idempotency_key) WHERE idempotency_key IS NOT NULL;
