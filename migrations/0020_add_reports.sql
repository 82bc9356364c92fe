-- what residents report (随手拍, 报事报修): each stands with the order it is worked on in; several may share one
CREATE TABLE resident_report (
    id              uuid PRIMARY KEY,
    number          bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    community_id    text NOT NULL REFERENCES community ON DELETE CASCADE,
    order_id        uuid NOT NULL REFERENCES work_order ON DELETE CASCADE,
    category        text NOT NULL,
    text            text NOT NULL DEFAULT '',
    place           text NOT NULL DEFAULT '',
    building_id     text REFERENCES building ON DELETE SET NULL,
    unit_id         text REFERENCES unit ON DELETE SET NULL,
    household_id    text REFERENCES household ON DELETE SET NULL,
    grid_id         text REFERENCES grid ON DELETE SET NULL,
    x               double precision,
    y               double precision,
    reporter_id     text REFERENCES app_user ON DELETE SET NULL,
    token_hash      bytea UNIQUE CHECK (length(token_hash) = 32),
    contact_name    text,
    contact_phone   text,
    language        text NOT NULL DEFAULT 'zh' CHECK (language IN ('zh', 'en')),
    created_at      timestamptz NOT NULL,
    joined          boolean NOT NULL DEFAULT false,
    withdrawn_at    timestamptz,
    urged_at        timestamptz,
    rating          smallint CHECK (rating BETWEEN 1 AND 5),
    satisfied       boolean,
    rating_comment  text,
    rated_at        timestamptz,
    rating_changed_at timestamptz,
    reworked_at     timestamptz,
    call_back       text CHECK (call_back IN ('satisfied', 'unsatisfied', 'unreached')),
    call_back_note  text,
    called_back_at  timestamptz,
    called_back_by  text,
    contact_erased_at timestamptz,
    idempotency_key text NOT NULL,
    digest          bytea NOT NULL CHECK (length(digest) = 32),
    UNIQUE (community_id, idempotency_key),
    CHECK ((rating IS NULL) = (rated_at IS NULL)),
    CHECK ((x IS NULL) = (y IS NULL)),
    CHECK (contact_erased_at IS NULL OR (contact_name IS NULL AND contact_phone IS NULL))
);
COMMENT ON COLUMN resident_report.order_id IS 'where it is worked on; an order that was merged leads on by merged_into';
COMMENT ON COLUMN resident_report.joined IS 'it joined an order that stood already';
COMMENT ON COLUMN resident_report.token_hash IS 'SHA-256 of what an anonymous reporter follows it with; null: by account';
COMMENT ON COLUMN resident_report.reworked_at IS 'when its complaint opened the order again by itself, which it does once';
COMMENT ON COLUMN resident_report.digest IS 'SHA-256 of what was sent: the same key with something else is no repetition';
CREATE INDEX resident_report_community ON resident_report (community_id, created_at DESC, id DESC);
CREATE INDEX resident_report_order ON resident_report (order_id);
CREATE INDEX resident_report_reporter ON resident_report (reporter_id, created_at DESC, id DESC)
    WHERE reporter_id IS NOT NULL;
CREATE INDEX resident_report_contact ON resident_report (order_id)
    WHERE contact_name IS NOT NULL OR contact_phone IS NOT NULL;

-- What was added afterwards: by whoever reported it, or by the desk for them. Never part of the order's history, since
-- a history cannot forget.
CREATE TABLE report_note (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    report_id uuid NOT NULL REFERENCES resident_report ON DELETE CASCADE,
    at        timestamptz NOT NULL,
    by_reporter boolean NOT NULL,
    text      text NOT NULL,
    idempotency_key text,
    UNIQUE (report_id, idempotency_key)
);
CREATE INDEX report_note_report ON report_note (report_id, id);

-- Orders of one category that stand open in a community, for the search of duplicates.
CREATE INDEX work_order_category_open ON work_order (community_id, category, created_at DESC)
    WHERE category IS NOT NULL AND state NOT IN ('closed', 'cancelled', 'false_alarm', 'merged');

-- An order that was merged leads on to the one that took it over, which may have been merged itself.
CREATE FUNCTION order_worked_on(p_order uuid) RETURNS uuid LANGUAGE sql STABLE AS $$
    WITH RECURSIVE way AS (
        SELECT id, merged_into, 0 AS steps FROM work_order WHERE id = p_order
        UNION ALL
        SELECT o.id, o.merged_into, way.steps + 1 FROM way JOIN work_order o ON o.id = way.merged_into
        WHERE way.steps < 32
    )
    SELECT id FROM way ORDER BY steps DESC LIMIT 1
$$;
-- The order itself and all that were merged into it, over however many steps.
CREATE FUNCTION orders_taken_over(p_order uuid) RETURNS SETOF uuid LANGUAGE sql STABLE AS $$
    WITH RECURSIVE way AS (
        SELECT p_order AS id, 0 AS steps
        UNION ALL
        SELECT o.id, way.steps + 1 FROM way JOIN work_order o ON o.merged_into = way.id
        WHERE way.steps < 32
    )
    SELECT id FROM way
$$;
-- How the alerts of a rule ended.
CREATE INDEX alert_rule ON alert (community_id, rule_id, fired_at DESC);
