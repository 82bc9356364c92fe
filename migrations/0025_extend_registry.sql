-- what people change by hand: versions of rows, drawings kept, imports between their check and their doing

-- Whoever changes a row, the API, an import or the command line, leaves it a version further on.
CREATE FUNCTION bump_version() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF to_jsonb(NEW) - 'version' IS DISTINCT FROM to_jsonb(OLD) - 'version' THEN
        NEW.version := OLD.version + 1;
    ELSE
        NEW.version := OLD.version;
    END IF;
    RETURN NEW;
END
$$;

ALTER TABLE community ADD COLUMN version integer NOT NULL DEFAULT 1;
ALTER TABLE compound ADD COLUMN version integer NOT NULL DEFAULT 1;
ALTER TABLE grid ADD COLUMN version integer NOT NULL DEFAULT 1;
ALTER TABLE building ADD COLUMN version integer NOT NULL DEFAULT 1;
ALTER TABLE unit ADD COLUMN version integer NOT NULL DEFAULT 1;
ALTER TABLE household ADD COLUMN version integer NOT NULL DEFAULT 1;
ALTER TABLE device ADD COLUMN version integer NOT NULL DEFAULT 1;

CREATE TRIGGER community_version BEFORE UPDATE ON community
    FOR EACH ROW WHEN (OLD.plan IS NOT DISTINCT FROM NEW.plan) EXECUTE FUNCTION bump_version();
CREATE TRIGGER compound_version BEFORE UPDATE ON compound FOR EACH ROW EXECUTE FUNCTION bump_version();
CREATE TRIGGER grid_version BEFORE UPDATE ON grid FOR EACH ROW EXECUTE FUNCTION bump_version();
CREATE TRIGGER building_version BEFORE UPDATE ON building FOR EACH ROW EXECUTE FUNCTION bump_version();
CREATE TRIGGER unit_version BEFORE UPDATE ON unit FOR EACH ROW EXECUTE FUNCTION bump_version();
CREATE TRIGGER household_version BEFORE UPDATE ON household FOR EACH ROW EXECUTE FUNCTION bump_version();
CREATE TRIGGER device_version BEFORE UPDATE ON device FOR EACH ROW EXECUTE FUNCTION bump_version();

-- What stands on a place is asked before it goes; what hangs on one is listed.
CREATE INDEX building_compound ON building (compound_id);
CREATE INDEX building_grid ON building (grid_id);
CREATE INDEX unit_community ON unit (community_id, id);
CREATE INDEX device_building ON device (building_id) WHERE building_id IS NOT NULL;
CREATE INDEX device_unit ON device (unit_id) WHERE unit_id IS NOT NULL;
CREATE INDEX device_household ON device (household_id) WHERE household_id IS NOT NULL;
CREATE INDEX device_grid ON device (grid_id) WHERE grid_id IS NOT NULL;
CREATE INDEX device_community_id ON device (community_id, id);

-- The plan as it was drawn, every time; community.plan is the newest.
CREATE TABLE plan_drawing (
    community_id text NOT NULL REFERENCES community ON DELETE CASCADE,
    version      integer NOT NULL CHECK (version > 0),
    source       text NOT NULL CHECK (source IN ('import', 'editor', 'svg', 'geojson', 'restore')),
    plan         jsonb NOT NULL,
    note         text NOT NULL DEFAULT '',
    created_by   text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (community_id, version)
);
COMMENT ON TABLE plan_drawing IS 'append-only; a row never changes, so it may be cached for ever';

ALTER TABLE community ADD COLUMN plan_version integer NOT NULL DEFAULT 1;
INSERT INTO plan_drawing (community_id, version, source, plan, created_by)
SELECT id, 1, 'import', plan, 'import' FROM community;

CREATE FUNCTION plan_numbered() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        NEW.plan_version := 1;
    ELSIF NEW.plan IS DISTINCT FROM OLD.plan THEN
        NEW.plan_version := OLD.plan_version + 1;
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER community_plan_numbered BEFORE INSERT OR UPDATE ON community
    FOR EACH ROW EXECUTE FUNCTION plan_numbered();

-- Whoever says who drew it has written the row before; else it was an import.
CREATE FUNCTION plan_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO plan_drawing (community_id, version, source, plan, created_by)
    VALUES (NEW.id, NEW.plan_version, 'import', NEW.plan, 'import')
    ON CONFLICT (community_id, version) DO NOTHING;
    RETURN NULL;
END
$$;
CREATE TRIGGER community_plan_drawn AFTER INSERT ON community FOR EACH ROW EXECUTE FUNCTION plan_kept();
CREATE TRIGGER community_plan_changed AFTER UPDATE ON community
    FOR EACH ROW WHEN (OLD.plan IS DISTINCT FROM NEW.plan) EXECUTE FUNCTION plan_kept();

-- A file that was checked and may be applied: once, within the hour, by whoever brought it.
CREATE TABLE registry_import (
    id           uuid PRIMARY KEY,
    community_id text NOT NULL REFERENCES community ON DELETE CASCADE,
    what         text NOT NULL CHECK (what IN ('places', 'devices')),
    removing     boolean NOT NULL,
    content      bytea,
    digest       bytea NOT NULL,
    report       jsonb NOT NULL,
    created_by   text NOT NULL,
    created_at   timestamptz NOT NULL,
    applied_at   timestamptz
);
CREATE INDEX registry_import_age ON registry_import (created_at);
COMMENT ON COLUMN registry_import.content IS 'the file as it came; gone once applied or too old';

-- What an Idempotency-Key has made already.
CREATE TABLE registry_made (
    community_id text NOT NULL REFERENCES community ON DELETE CASCADE,
    user_id      text NOT NULL,
    key          text NOT NULL,
    digest       bytea NOT NULL,
    subject      text NOT NULL,
    created_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (community_id, user_id, key)
);

-- Engines keep where things are and which clock a community lives by, so they hear of places as well.
CREATE TRIGGER building_changed AFTER INSERT OR UPDATE OR DELETE ON building
    FOR EACH STATEMENT EXECUTE FUNCTION registry_changed();
CREATE TRIGGER community_registered AFTER INSERT OR DELETE OR UPDATE OF name, latitude, longitude, timezone ON community
    FOR EACH STATEMENT EXECUTE FUNCTION registry_changed();
