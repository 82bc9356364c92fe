-- alert rules as data: what a community put in place of the defaults, and what is set for one device or person
CREATE TABLE rule_version (
    community_id    text NOT NULL REFERENCES community ON DELETE CASCADE,
    rule_id         text NOT NULL CHECK (rule_id ~ '^[a-z0-9][a-z0-9_]*(\.[a-z0-9_]+)+$' AND length(rule_id) <= 100),
    version         integer NOT NULL CHECK (version > 0),
    default_version integer NOT NULL DEFAULT 0 CHECK (default_version >= 0 AND default_version <= version),
    kind            text NOT NULL,
    mode            text NOT NULL CHECK (mode IN ('live', 'shadow', 'off', 'removed')),
    document        text NOT NULL CHECK (length(document) <= 32768),
    digest          uuid NOT NULL GENERATED ALWAYS AS (md5(document)::uuid) STORED,
    created_at      timestamptz NOT NULL DEFAULT now(),
    created_by      text NOT NULL,
    note            text NOT NULL DEFAULT '',
    PRIMARY KEY (community_id, rule_id, version),
    CHECK ((mode = 'removed') = (document = ''))
);
-- Who loads the rules reads the newest version of each from this index alone; documents it has not parsed yet come after.
CREATE INDEX rule_version_newest ON rule_version (community_id, rule_id, version DESC)
    INCLUDE (kind, mode, default_version, digest);
CREATE TRIGGER rule_version_append_only BEFORE UPDATE OR DELETE ON rule_version
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER rule_changed AFTER INSERT ON rule_version
    FOR EACH STATEMENT EXECUTE FUNCTION registry_changed();
COMMENT ON TABLE rule_version IS
    'append-only; the highest version is the one in force. (community, rule, version) names one text for ever';
COMMENT ON COLUMN rule_version.kind IS 'a kind of the device catalogue';
COMMENT ON COLUMN rule_version.mode IS 'removed: the default is back in force; the other modes stand in the document as well';
COMMENT ON COLUMN rule_version.document IS 'the YAML of this one rule, as written';
COMMENT ON COLUMN rule_version.default_version IS
    'version of the default when this was written, 0: there was none. A removed rule counts on from here: while the '
    'default moves from this version by n, what is in force is called version + n';
COMMENT ON COLUMN rule_version.note IS 'why it was changed';

CREATE TABLE rule_override (
    community_id text NOT NULL REFERENCES community ON DELETE CASCADE,
    subject      text NOT NULL CHECK (subject ~ '^(device|person):.'),
    rule_id      text NOT NULL,
    version      integer NOT NULL CHECK (version > 0),
    parameters   jsonb CHECK (jsonb_typeof(parameters) = 'object' AND parameters <> '{}'),
    created_at   timestamptz NOT NULL DEFAULT now(),
    created_by   text NOT NULL,
    note         text NOT NULL DEFAULT '',
    PRIMARY KEY (subject, rule_id, version)
);
CREATE INDEX rule_override_newest ON rule_override (community_id, subject, rule_id, version DESC);
CREATE TRIGGER rule_override_append_only BEFORE UPDATE OR DELETE ON rule_override
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER rule_override_changed AFTER INSERT ON rule_override
    FOR EACH STATEMENT EXECUTE FUNCTION registry_changed();
COMMENT ON TABLE rule_override IS 'append-only; the highest version is the one in force';
COMMENT ON COLUMN rule_override.subject IS 'device:{public id} or person:{id}; the device''s own wins over its wearer''s';
COMMENT ON COLUMN rule_override.parameters IS
    'fields of the rule''s parameters that differ ({"limit": 55}), NULL: none any more. Of vitals it is health data';
