-- classes of orders as data (工单时限), and what an order's stopwatch has counted
CREATE TABLE order_class_version (
    community_id text NOT NULL REFERENCES community ON DELETE CASCADE,
    version      integer NOT NULL CHECK (version > 0),
    document     text NOT NULL CHECK (length(document) <= 65536),
    digest       uuid NOT NULL GENERATED ALWAYS AS (md5(document)::uuid) STORED,
    scale        double precision CHECK (scale BETWEEN 0.01 AND 1),
    until        timestamptz,
    created_at   timestamptz NOT NULL DEFAULT now(),
    created_by   text NOT NULL,
    note         text NOT NULL DEFAULT '',
    PRIMARY KEY (community_id, version),
    CHECK ((scale IS NULL) = (until IS NULL))
);
CREATE TRIGGER order_class_version_append_only BEFORE UPDATE OR DELETE ON order_class_version
    FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER order_class_changed AFTER INSERT ON order_class_version
    FOR EACH STATEMENT EXECUTE FUNCTION registry_changed();
COMMENT ON TABLE order_class_version IS
    'append-only; in force is the highest version that is no drill or whose drill is not over. None: the defaults';
COMMENT ON COLUMN order_class_version.document IS 'the YAML as written; empty: the defaults that come with LinHub';
COMMENT ON COLUMN order_class_version.scale IS 'of a drill (演练): what every clock of orders opened meanwhile is multiplied by';
COMMENT ON COLUMN order_class_version.until IS 'when the drill is over, and the version before it counts again';

-- Time that ran for whoever had the order, each stretch by the calendar in force during it; pauses stand still.
ALTER TABLE work_order
    ADD COLUMN ran_s        double precision NOT NULL DEFAULT 0,
    ADD COLUMN ran_before_s double precision NOT NULL DEFAULT 0,
    ADD COLUMN ran_at       timestamptz;
COMMENT ON COLUMN work_order.ran_s IS 'seconds of its calendar from the first dispatch to ran_at, pauses left out';
COMMENT ON COLUMN work_order.ran_before_s IS 'what ran_s was at the last dispatch';
COMMENT ON COLUMN work_order.ran_at IS 'the stopwatch runs since then; null: it stands still';
