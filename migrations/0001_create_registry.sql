-- places, people and devices: what the community is
CREATE EXTENSION IF NOT EXISTS timescaledb;

CREATE TABLE street (
    id       text PRIMARY KEY,
    city     text NOT NULL,
    district text NOT NULL,
    name     text NOT NULL
);

CREATE TABLE community (
    id            text PRIMARY KEY CHECK (id ~ '^[a-z0-9][a-z0-9_-]{0,63}$'),
    street_id     text NOT NULL REFERENCES street,
    name          text NOT NULL,
    partition     smallint NOT NULL CHECK (partition >= 0),
    latitude      double precision NOT NULL CHECK (latitude BETWEEN -90 AND 90),
    longitude     double precision NOT NULL CHECK (longitude BETWEEN -180 AND 180),
    timezone      text NOT NULL DEFAULT 'Asia/Shanghai',
    households    integer NOT NULL CHECK (households >= 0),
    residents     integer NOT NULL CHECK (residents >= 0),
    plan          jsonb NOT NULL DEFAULT '{}',
    created_at    timestamptz NOT NULL DEFAULT now()
);
COMMENT ON COLUMN community.plan IS 'size and shapes of the drawn plan, metres: {"width","height","shapes":[{"kind","points"}]}';

-- 小区
CREATE TABLE compound (
    id           text PRIMARY KEY,
    community_id text NOT NULL REFERENCES community ON DELETE CASCADE,
    name         text NOT NULL
);
CREATE INDEX compound_community ON compound (community_id);

-- 网格
CREATE TABLE grid (
    id           text PRIMARY KEY,
    community_id text NOT NULL REFERENCES community ON DELETE CASCADE,
    name         text NOT NULL
);
CREATE INDEX grid_community ON grid (community_id);

CREATE TABLE building (
    id           text PRIMARY KEY,
    community_id text NOT NULL REFERENCES community ON DELETE CASCADE,
    compound_id  text NOT NULL REFERENCES compound ON DELETE CASCADE,
    grid_id      text NOT NULL REFERENCES grid ON DELETE CASCADE,
    name         text NOT NULL,
    floors       smallint NOT NULL CHECK (floors > 0),
    x            real NOT NULL,
    y            real NOT NULL,
    width        real NOT NULL CHECK (width > 0),
    depth        real NOT NULL CHECK (depth > 0)
);
CREATE INDEX building_community ON building (community_id);
COMMENT ON TABLE building IS 'x, y: the corner nearest the origin of the plan, metres; width and depth along x and y';

CREATE TABLE unit (
    id           text PRIMARY KEY,
    community_id text NOT NULL REFERENCES community ON DELETE CASCADE,
    building_id  text NOT NULL REFERENCES building ON DELETE CASCADE,
    name         text NOT NULL
);
CREATE INDEX unit_building ON unit (building_id);

CREATE TABLE household (
    id           text PRIMARY KEY,
    community_id text NOT NULL REFERENCES community ON DELETE CASCADE,
    unit_id      text NOT NULL REFERENCES unit ON DELETE CASCADE,
    floor        smallint NOT NULL,
    room         text NOT NULL
);
CREATE INDEX household_unit ON household (unit_id);
CREATE INDEX household_community ON household (community_id);

CREATE TABLE person (
    id           text PRIMARY KEY,
    community_id text NOT NULL REFERENCES community ON DELETE CASCADE,
    household_id text REFERENCES household ON DELETE SET NULL,
    name         text NOT NULL,
    birth_year   smallint CHECK (birth_year BETWEEN 1880 AND 2200),
    phone        text,
    tags         text[] NOT NULL DEFAULT '{}',
    away_until   timestamptz
);
CREATE INDEX person_household ON person (household_id);
CREATE INDEX person_community_tags ON person USING gin (tags);

CREATE TABLE device (
    device_no    integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id           text NOT NULL UNIQUE CHECK (id ~ '^[a-z0-9][a-z0-9_-]{0,63}$'),
    community_id text NOT NULL REFERENCES community ON DELETE CASCADE,
    kind         text NOT NULL,
    name         text NOT NULL,
    gateway_no   integer REFERENCES device,
    building_id  text REFERENCES building ON DELETE SET NULL,
    unit_id      text REFERENCES unit ON DELETE SET NULL,
    household_id text REFERENCES household ON DELETE SET NULL,
    person_id    text REFERENCES person ON DELETE SET NULL,
    grid_id      text REFERENCES grid ON DELETE SET NULL,
    place        text NOT NULL DEFAULT '',
    floor        smallint,
    x            real NOT NULL DEFAULT 0,
    y            real NOT NULL DEFAULT 0,
    interval_s   integer NOT NULL CHECK (interval_s > 0),
    codec        text NOT NULL DEFAULT 'native',
    tags         text[] NOT NULL DEFAULT '{}',
    created_at   timestamptz NOT NULL DEFAULT now(),
    retired_at   timestamptz
);
CREATE INDEX device_community_kind ON device (community_id, kind);
CREATE INDEX device_gateway ON device (gateway_no) WHERE gateway_no IS NOT NULL;
COMMENT ON COLUMN device.kind IS 'a kind of the device catalogue; gateways have the kind gateway';

CREATE TABLE device_credential (
    device_no   integer PRIMARY KEY REFERENCES device ON DELETE CASCADE,
    secret_hash text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    revoked_at  timestamptz
);
COMMENT ON COLUMN device_credential.secret_hash IS 'as the broker keeps it: $7$iterations$salt$hash (PBKDF2-SHA512)';

-- Kinds and the order of their metrics, written from the code's catalogue at each migrate; never by hand.
CREATE TABLE catalogue_metric (
    kind     text NOT NULL,
    position smallint NOT NULL,
    metric   text NOT NULL,
    unit     text NOT NULL,
    PRIMARY KEY (kind, position),
    UNIQUE (kind, metric)
);

CREATE TABLE app_user (
    id            text PRIMARY KEY,
    username      text NOT NULL UNIQUE,
    password_hash text NOT NULL,
    display_name  text NOT NULL,
    role          text NOT NULL,
    team          text,
    community_id  text REFERENCES community ON DELETE CASCADE,
    street_id     text REFERENCES street ON DELETE CASCADE,
    grid_id       text REFERENCES grid ON DELETE CASCADE,
    household_id  text REFERENCES household ON DELETE CASCADE,
    created_at    timestamptz NOT NULL DEFAULT now(),
    disabled_at   timestamptz
);
CREATE INDEX app_user_community ON app_user (community_id);

-- One message to every reader that keeps the registry in memory: the community that changed.
CREATE FUNCTION registry_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('registry', '');
    RETURN NULL;
END
$$;
CREATE TRIGGER device_changed AFTER INSERT OR UPDATE OR DELETE ON device
    FOR EACH STATEMENT EXECUTE FUNCTION registry_changed();
CREATE TRIGGER credential_changed AFTER INSERT OR UPDATE OR DELETE ON device_credential
    FOR EACH STATEMENT EXECUTE FUNCTION registry_changed();
CREATE TRIGGER person_changed AFTER INSERT OR UPDATE OR DELETE ON person
    FOR EACH STATEMENT EXECUTE FUNCTION registry_changed();
