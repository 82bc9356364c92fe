-- cases that city platforms opened here: whose they are, by which id, and which photos they were given
CREATE TABLE city_case (
    order_id     uuid PRIMARY KEY REFERENCES work_order,
    community_id text NOT NULL REFERENCES community,
    account_id   text NOT NULL REFERENCES app_user,
    external_id  text NOT NULL,
    system       text NOT NULL CHECK (system IN ('hotline', 'city')),
    digest       text NOT NULL,
    opened_at    timestamptz NOT NULL,
    due_at       timestamptz,
    withdrawn_at timestamptz,
    UNIQUE (account_id, external_id)
);
CREATE INDEX city_case_account ON city_case (account_id, opened_at DESC, order_id DESC);
CREATE INDEX city_case_community ON city_case (community_id, opened_at DESC, order_id DESC);
COMMENT ON TABLE city_case IS 'its words stand with the order alone, so that they are forgotten in one place';
COMMENT ON COLUMN city_case.external_id IS 'what the platform calls it, once an account';
COMMENT ON COLUMN city_case.digest IS 'of what was asked for: a repetition answers the same order, another request under the same id is refused';
COMMENT ON COLUMN city_case.due_at IS 'the time limit of the platform; the clocks of the order are those of its class';

CREATE TABLE city_case_photo (
    order_id     uuid NOT NULL REFERENCES city_case,
    evidence_id  uuid NOT NULL REFERENCES evidence,
    community_id text NOT NULL REFERENCES community,
    granted_at   timestamptz NOT NULL,
    granted_by   text NOT NULL,
    PRIMARY KEY (order_id, evidence_id)
);
CREATE INDEX city_case_photo_evidence ON city_case_photo (evidence_id);
COMMENT ON TABLE city_case_photo IS 'photos that somebody of the community gave to whoever opened the case, each by itself';

SELECT tenant_separate('city_case', 'SELECT, INSERT, UPDATE', p_own => 'false');
SELECT tenant_separate('city_case_photo', 'SELECT, INSERT, DELETE', p_own => 'false');
