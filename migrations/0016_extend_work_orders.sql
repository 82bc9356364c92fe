-- an order's class with its terms, who it was offered to, what time has made due on it, and what the figures are made of
ALTER TABLE work_order
    ADD COLUMN category      text,
    ADD COLUMN external_id   text,
    ADD COLUMN terms         jsonb NOT NULL DEFAULT '{}',
    ADD COLUMN class_id      text GENERATED ALWAYS AS (terms ->> 'class_id') STORED,
    ADD COLUMN mode          text NOT NULL DEFAULT 'team',
    ADD COLUMN offered       text[] NOT NULL DEFAULT '{}',
    ADD COLUMN forced        boolean NOT NULL DEFAULT false,
    ADD COLUMN reworks       smallint NOT NULL DEFAULT 0,
    ADD COLUMN urges         smallint NOT NULL DEFAULT 0,
    ADD COLUMN taken         text[] NOT NULL DEFAULT '{}',
    ADD COLUMN photos_before smallint NOT NULL DEFAULT 0,
    ADD COLUMN photos_after  smallint NOT NULL DEFAULT 0,
    ADD COLUMN signatures    smallint NOT NULL DEFAULT 0,
    ADD COLUMN on_site       text CHECK (on_site IN ('position', 'code')),
    ADD COLUMN pause_reason  text,
    ADD COLUMN pause_until   timestamptz,
    ADD COLUMN paused_s      double precision NOT NULL DEFAULT 0,
    ADD COLUMN merged_into   uuid REFERENCES work_order ON DELETE SET NULL,
    ADD COLUMN rating        smallint CHECK (rating BETWEEN 1 AND 5),
    ADD COLUMN call_back     text CHECK (call_back IN ('satisfied', 'unsatisfied', 'unreached')),
    ADD COLUMN filed_at      timestamptz,
    ADD COLUMN file_due      timestamptz,
    ADD COLUMN accept_s      double precision,
    ADD COLUMN arrive_s      double precision,
    ADD COLUMN resolve_s     double precision,
    ADD COLUMN verify_s      double precision,
    ADD COLUMN attention_at  timestamptz,
    ADD COLUMN workers       text[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN work_order.terms IS 'what its class asked for when it was opened (services/domain/orders/terms.py)';
COMMENT ON COLUMN work_order.taken IS 'what time has made due of the running dispatch and was done, by name';
COMMENT ON COLUMN work_order.attention_at IS 'when time makes something due on it next; null: never';
COMMENT ON COLUMN work_order.workers IS 'who accepted it, arrived or resolved it since it was last opened';
COMMENT ON COLUMN work_order.filed_at IS '立案: its first dispatch';
COMMENT ON COLUMN work_order.accept_s IS 'seconds of its calendar from the first dispatch, pauses left out; null: not yet';

-- The ladder gets a leader between team and desk, and a department above the street.
UPDATE work_order SET rung = rung + 1 WHERE rung > 0;
UPDATE work_order o SET filed_at = h.at
FROM (SELECT order_id, min(at) AS at FROM work_order_history WHERE move = 'dispatch' GROUP BY order_id) h
WHERE h.order_id = o.id;
UPDATE work_order o SET workers = h.who
FROM (
    SELECT order_id, array_agg(actor_id ORDER BY first) AS who
    FROM (
        SELECT w.order_id, w.actor_id, min(w.version) AS first
        FROM work_order_history w
        WHERE w.move IN ('accept', 'arrive', 'resolve')
          AND w.version > coalesce((SELECT max(r.version) FROM work_order_history r
                                    WHERE r.order_id = w.order_id AND r.move = 'reopen'), 0)
        GROUP BY w.order_id, w.actor_id
    ) each_once
    GROUP BY order_id
) h
WHERE h.order_id = o.id;
-- The engine looks at each open order once and writes what is next.
UPDATE work_order SET attention_at = now() WHERE state NOT IN ('closed', 'cancelled', 'false_alarm', 'merged');

CREATE INDEX work_order_attention ON work_order (attention_at) WHERE attention_at IS NOT NULL;
CREATE UNIQUE INDEX work_order_external ON work_order (community_id, source, external_id) WHERE external_id IS NOT NULL;
CREATE INDEX work_order_parent ON work_order (parent_id) WHERE parent_id IS NOT NULL;
CREATE INDEX work_order_merged ON work_order (merged_into) WHERE merged_into IS NOT NULL;
