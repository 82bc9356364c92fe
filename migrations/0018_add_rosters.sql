-- who is on duty: rotas as data, the shifts they make, hand-overs, positions that people share, and gaps that were seen
CREATE EXTENSION IF NOT EXISTS btree_gist;

ALTER TABLE app_user
    ADD COLUMN leads  boolean NOT NULL DEFAULT false,
    ADD COLUMN skills text[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN app_user.leads IS 'leads the team: stands on the second rung of the ladder';
ALTER TABLE app_user ADD COLUMN duty_team text GENERATED ALWAYS AS (
    CASE role
        WHEN 'staff' THEN team
        WHEN 'grid' THEN 'grid'
        WHEN 'desk' THEN 'desk'
        WHEN 'street' THEN CASE WHEN team = 'department' THEN 'department' ELSE 'street' END
    END) STORED;
COMMENT ON COLUMN app_user.duty_team IS 'the team whose duty this account can stand; null: of none';
CREATE INDEX app_user_team ON app_user (community_id, duty_team) WHERE disabled_at IS NULL;
CREATE INDEX app_user_street ON app_user (street_id, duty_team) WHERE street_id IS NOT NULL AND disabled_at IS NULL;
CREATE INDEX app_user_unbound ON app_user (role)
    WHERE community_id IS NULL AND street_id IS NULL AND disabled_at IS NULL;

-- A rota, append-only: the highest version counts; without a document it was withdrawn.
CREATE TABLE duty_pattern (
    community_id text NOT NULL REFERENCES community ON DELETE CASCADE,
    id           text NOT NULL CHECK (id ~ '^[a-z0-9][a-z0-9_-]{0,63}$'),
    version      integer NOT NULL CHECK (version > 0),
    team         text NOT NULL,
    document     jsonb,
    author       text NOT NULL,
    at           timestamptz NOT NULL,
    PRIMARY KEY (community_id, id, version)
);
CREATE TRIGGER duty_pattern_append_only BEFORE UPDATE ON duty_pattern
    FOR EACH ROW EXECUTE FUNCTION refuse_change();

-- How far ahead the shifts of a rota were made, and by which version.
CREATE TABLE duty_horizon (
    community_id text NOT NULL REFERENCES community ON DELETE CASCADE,
    pattern_id   text NOT NULL,
    version      integer NOT NULL,
    until        timestamptz NOT NULL,
    PRIMARY KEY (community_id, pattern_id)
);

CREATE TABLE duty_shift (
    id            uuid PRIMARY KEY,
    community_id  text NOT NULL REFERENCES community ON DELETE CASCADE,
    team          text NOT NULL,
    user_id       text NOT NULL REFERENCES app_user ON DELETE CASCADE,
    starts_at     timestamptz NOT NULL,
    ends_at       timestamptz NOT NULL,
    post          text NOT NULL DEFAULT 'member' CHECK (post IN ('member', 'leader')),
    name          text NOT NULL DEFAULT '',
    pattern_id    text,
    version       integer,
    stands_in_for text REFERENCES app_user ON DELETE SET NULL,
    replaces      uuid REFERENCES duty_shift ON DELETE SET NULL,
    made_by       text NOT NULL,
    made_at       timestamptz NOT NULL,
    why           text NOT NULL DEFAULT '',
    cancelled_at  timestamptz,
    cancelled_by  text,
    cancelled_why text,
    -- So that who is on duty now is found among the shifts that began within a day.
    CHECK (ends_at > starts_at AND ends_at <= starts_at + interval '24 hours'),
    CONSTRAINT duty_shift_once EXCLUDE USING gist (user_id WITH =, tstzrange(starts_at, ends_at) WITH &&)
        WHERE (cancelled_at IS NULL)
);
CREATE INDEX duty_shift_team ON duty_shift (community_id, team, starts_at) INCLUDE (ends_at, user_id, post)
    WHERE cancelled_at IS NULL;
CREATE INDEX duty_shift_community ON duty_shift (community_id, starts_at);
CREATE INDEX duty_shift_ends ON duty_shift (community_id, ends_at) WHERE cancelled_at IS NULL;
CREATE INDEX duty_shift_pattern ON duty_shift (community_id, pattern_id, starts_at) WHERE pattern_id IS NOT NULL;
CREATE INDEX duty_shift_replaces ON duty_shift (replaces) WHERE replaces IS NOT NULL;
COMMENT ON CONSTRAINT duty_shift_once ON duty_shift IS 'nobody is on duty twice at once, in whatever team';
COMMENT ON COLUMN duty_shift.stands_in_for IS '替班: whose shift this was';

-- 换班: takes place when the other one says yes.
CREATE TABLE duty_swap (
    id           uuid PRIMARY KEY,
    community_id text NOT NULL REFERENCES community ON DELETE CASCADE,
    shift_id     uuid NOT NULL REFERENCES duty_shift ON DELETE CASCADE,
    for_shift_id uuid NOT NULL REFERENCES duty_shift ON DELETE CASCADE,
    asked_by     text NOT NULL,
    asked_at     timestamptz NOT NULL,
    why          text NOT NULL DEFAULT '',
    answered_by  text,
    answered_at  timestamptz,
    agreed       boolean,
    CHECK ((agreed IS NULL) = (answered_at IS NULL))
);
CREATE INDEX duty_swap_community ON duty_swap (community_id, asked_at DESC);

-- 交接班
CREATE TABLE duty_handover (
    id           uuid PRIMARY KEY,
    community_id text NOT NULL REFERENCES community ON DELETE CASCADE,
    team         text NOT NULL,
    from_shift   uuid REFERENCES duty_shift ON DELETE SET NULL,
    to_shift     uuid REFERENCES duty_shift ON DELETE SET NULL,
    note         text NOT NULL,
    open_orders  jsonb NOT NULL,
    at           timestamptz NOT NULL,
    by           text NOT NULL,
    confirmed_at timestamptz,
    confirmed_by text
);
CREATE INDEX duty_handover_community ON duty_handover (community_id, at DESC);
COMMENT ON COLUMN duty_handover.open_orders IS 'as they stood: [{"id", "number", "state", "severity", "title_zh", "place"}]';

-- Only the latest, only of people on duty who share it, forgotten after hours.
CREATE TABLE staff_position (
    user_id    text PRIMARY KEY REFERENCES app_user ON DELETE CASCADE,
    x          double precision NOT NULL,
    y          double precision NOT NULL,
    accuracy_m double precision NOT NULL CHECK (accuracy_m >= 0),
    at         timestamptz NOT NULL
);
CREATE INDEX staff_position_at ON staff_position (at);
COMMENT ON TABLE staff_position IS 'x, y: metres on the plan of the community of the account';

CREATE TABLE roster_gap (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    community_id text NOT NULL REFERENCES community ON DELETE CASCADE,
    team         text NOT NULL,
    starts_at    timestamptz NOT NULL,
    ends_at      timestamptz NOT NULL,
    seen_at      timestamptz NOT NULL,
    soon_at      timestamptz,
    over_at      timestamptz,
    CHECK (ends_at > starts_at)
);
CREATE INDEX roster_gap_open ON roster_gap (community_id, team) WHERE over_at IS NULL;
CREATE INDEX roster_gap_community ON roster_gap (community_id, starts_at DESC);
COMMENT ON COLUMN roster_gap.soon_at IS 'when it was told the second time, shortly before it began';
COMMENT ON COLUMN roster_gap.over_at IS 'when it was filled, or had passed';

-- Up to when changes of shift were told, a row a community that keeps a roster.
CREATE TABLE roster_watch (
    community_id text PRIMARY KEY REFERENCES community ON DELETE CASCADE,
    looked_at    timestamptz NOT NULL
) WITH (fillfactor = 70);

-- Whom an order goes to: who has what in hand, and who was given one longest ago.
CREATE INDEX work_order_in_hand ON work_order (assignee_id, state)
    WHERE assignee_id IS NOT NULL AND state IN ('dispatched', 'accepted', 'arrived', 'paused');
-- One's own orders, newest first, ended ones as well.
CREATE INDEX work_order_of_assignee ON work_order (community_id, assignee_id, created_at DESC, id DESC)
    WHERE assignee_id IS NOT NULL;
CREATE INDEX work_order_history_given ON work_order_history ((coalesce(detail ->> 'assignee_id', actor_id)), at DESC)
    WHERE move = 'accept' OR (move IN ('dispatch', 'assign', 'transfer', 'reopen') AND detail ? 'assignee_id');
CREATE INDEX work_order_waiting ON work_order (community_id, team) WHERE state = 'dispatched';
