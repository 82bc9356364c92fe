-- people in full, consents and what follows from them, emergency access, erasure, and how long what is kept

ALTER TABLE person
    ADD COLUMN version      integer NOT NULL DEFAULT 1,
    ADD COLUMN account_id   text REFERENCES app_user ON DELETE SET NULL,
    ADD COLUMN guardian_id  text REFERENCES app_user ON DELETE SET NULL,
    ADD COLUMN moved_out_at timestamptz,
    ADD COLUMN erased_at    timestamptz;
COMMENT ON COLUMN person.account_id IS 'whose account this person is: what is asked of the person themselves is asked of it';
COMMENT ON COLUMN person.guardian_id IS 'the account of whoever speaks for this person (监护人)';
CREATE INDEX person_community ON person (community_id, id);
CREATE INDEX person_account ON person (account_id) WHERE account_id IS NOT NULL;
CREATE INDEX person_guardian ON person (guardian_id) WHERE guardian_id IS NOT NULL;
CREATE INDEX device_person ON device (person_id) WHERE person_id IS NOT NULL;
CREATE INDEX alert_device_open ON alert (device_no) WHERE state <> 'cleared';
CREATE INDEX work_order_device ON work_order (device_no) WHERE device_no IS NOT NULL;

CREATE FUNCTION person_versioned() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.version := OLD.version
        + (to_jsonb(NEW) - 'version' - 'away_until' IS DISTINCT FROM to_jsonb(OLD) - 'version' - 'away_until')::integer;
    RETURN NEW;
END
$$;
CREATE TRIGGER person_version BEFORE UPDATE ON person FOR EACH ROW EXECUTE FUNCTION person_versioned();

-- Whoever was erased stays so, whatever list still has them.
CREATE FUNCTION person_stays_erased() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RETURN NULL;
END
$$;
CREATE TRIGGER person_erased BEFORE UPDATE ON person FOR EACH ROW WHEN (OLD.erased_at IS NOT NULL)
    EXECUTE FUNCTION person_stays_erased();

CREATE TABLE consent (
    id           uuid PRIMARY KEY,
    community_id text NOT NULL REFERENCES community ON DELETE CASCADE,
    person_id    text NOT NULL REFERENCES person ON DELETE CASCADE,
    what         text NOT NULL CHECK (what IN ('vitals', 'location', 'family')),
    given_by     text NOT NULL CHECK (given_by IN ('self', 'guardian')),
    giver        text NOT NULL DEFAULT '',
    how          text NOT NULL CHECK (how IN ('paper', 'app')),
    starts_at    timestamptz NOT NULL,
    ends_at      timestamptz CHECK (ends_at > starts_at),
    note         text NOT NULL DEFAULT '',
    recorded_by  text NOT NULL,
    recorded_at  timestamptz NOT NULL DEFAULT now(),
    withdrawn_at timestamptz,
    withdrawn_by text,
    CHECK ((withdrawn_at IS NULL) = (withdrawn_by IS NULL))
);
COMMENT ON COLUMN consent.giver IS 'the guardian''s name, where one gave it';
CREATE INDEX consent_person ON consent (person_id, what);
CREATE INDEX consent_community ON consent (community_id);

-- When it held or will hold; empty where it was withdrawn before it began.
CREATE FUNCTION consent_period(c consent) RETURNS tstzrange LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN least(c.ends_at, c.withdrawn_at) <= c.starts_at THEN 'empty'::tstzrange
                ELSE tstzrange(c.starts_at, least(c.ends_at, c.withdrawn_at)) END
$$;

-- What every read of a device's values asks, laid ready: no row, no consent.
CREATE TABLE device_consent (
    device_no  integer PRIMARY KEY REFERENCES device ON DELETE CASCADE,
    vitals     tstzmultirange NOT NULL,
    location   tstzmultirange NOT NULL,
    worn_since timestamptz NOT NULL DEFAULT '-infinity',
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON COLUMN device_consent.worn_since IS
    'since when the present wearer has it; -infinity: nobody is known to have worn it before. What is older is of somebody '
    'else, whom no consent of the present wearer speaks for';
COMMENT ON TABLE device_consent IS
    'of devices that somebody wears: when their wearer''s vitals and position may be shown; kept by triggers';

-- From when on what a device said may be shown at all. Asked by every function over telemetry.
CREATE FUNCTION worn_since(p_device integer) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT coalesce((SELECT k.worn_since FROM device_consent AS k WHERE k.device_no = p_device), '-infinity')
$$;

-- Of a latest state only what is of the present wearer.
CREATE FUNCTION vals_since(vals float8[], ts timestamptz, at bigint[], since timestamptz) RETURNS float8[]
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE WHEN since IS NULL OR since = '-infinity' THEN vals
                WHEN ts IS NULL OR ts < since THEN '{}'
                WHEN at IS NULL THEN vals
                ELSE ARRAY(SELECT CASE WHEN at[i] >= epoch_ms(since) THEN vals[i] END
                           FROM generate_subscripts(vals, 1) AS i ORDER BY i) END
$$;

CREATE FUNCTION device_consent_renew(p_devices integer[]) RETURNS void LANGUAGE sql AS $$
    INSERT INTO device_consent AS k (device_no, vitals, location)
    SELECT d.device_no,
           coalesce(range_agg(consent_period(c) * tstzrange(worn_since(d.device_no), NULL))
                        FILTER (WHERE c.what = 'vitals'), '{}'),
           coalesce(range_agg(consent_period(c) * tstzrange(worn_since(d.device_no), NULL))
                        FILTER (WHERE c.what = 'location'), '{}')
    FROM device AS d LEFT JOIN consent AS c ON c.person_id = d.person_id
    WHERE d.device_no = ANY (p_devices) AND (d.person_id IS NOT NULL
          OR EXISTS (SELECT FROM device_consent AS had WHERE had.device_no = d.device_no))
    GROUP BY d.device_no
    ON CONFLICT (device_no) DO UPDATE
        SET vitals = excluded.vitals, location = excluded.location, changed_at = clock_timestamp()
        WHERE (k.vitals, k.location) IS DISTINCT FROM (excluded.vitals, excluded.location)
$$;

-- 1: vitals may be shown now; 2: position; 3: both. Inlined wherever it is asked.
CREATE FUNCTION consents_now(vitals tstzmultirange, location tstzmultirange) RETURNS integer LANGUAGE sql STABLE AS $$
    SELECT coalesce((vitals @> now())::integer, 0) + 2 * coalesce((location @> now())::integer, 0)
$$;

-- The same for what happened at p_at, such as an alert: nothing where somebody else wore it then.
CREATE FUNCTION consents_now(vitals tstzmultirange, location tstzmultirange, worn_since timestamptz, p_at timestamptz)
RETURNS integer LANGUAGE sql STABLE AS $$
    SELECT CASE WHEN p_at < worn_since THEN 0 ELSE consents_now(vitals, location) END
$$;

-- The same, of what they consented to at a time past as well: a withdrawal hides the past too, and a consent opens none
-- of the time before it.
CREATE FUNCTION consents_also_at(vitals tstzmultirange, location tstzmultirange, p_at timestamptz)
RETURNS integer LANGUAGE sql STABLE AS $$
    SELECT coalesce((vitals @> now() AND vitals @> p_at)::integer, 0)
           + 2 * coalesce((location @> now() AND location @> p_at)::integer, 0)
$$;

CREATE FUNCTION consent_told() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM device_consent_renew(array_agg(device_no)) FROM device
    WHERE person_id IN (coalesce(NEW.person_id, OLD.person_id), coalesce(OLD.person_id, NEW.person_id));
    RETURN NULL;
END
$$;
CREATE TRIGGER consent_changed AFTER INSERT OR UPDATE OR DELETE ON consent
    FOR EACH ROW EXECUTE FUNCTION consent_told();

CREATE FUNCTION wearer_told() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        INSERT INTO device_consent AS k (device_no, vitals, location, worn_since)
        VALUES (NEW.device_no, '{}', '{}', clock_timestamp())
        ON CONFLICT (device_no) DO UPDATE SET worn_since = excluded.worn_since, changed_at = excluded.worn_since;
    END IF;
    PERFORM device_consent_renew(ARRAY[NEW.device_no]);
    RETURN NULL;
END
$$;
CREATE TRIGGER device_worn AFTER INSERT ON device
    FOR EACH ROW WHEN (NEW.person_id IS NOT NULL) EXECUTE FUNCTION wearer_told();
CREATE TRIGGER device_wearer AFTER UPDATE OF person_id ON device
    FOR EACH ROW WHEN (OLD.person_id IS DISTINCT FROM NEW.person_id) EXECUTE FUNCTION wearer_told();

CREATE TABLE emergency_access (
    id           uuid PRIMARY KEY,
    community_id text NOT NULL REFERENCES community ON DELETE CASCADE,
    person_id    text NOT NULL REFERENCES person ON DELETE CASCADE,
    account_id   text NOT NULL,
    account_role text NOT NULL,
    reason       text NOT NULL CHECK (reason <> ''),
    at           timestamptz NOT NULL,
    until        timestamptz NOT NULL CHECK (until > at)
);
COMMENT ON TABLE emergency_access IS 'somebody looked without a consent, because a life was at stake; shown to the person and to the administrator';
CREATE INDEX emergency_access_person ON emergency_access (person_id, at DESC);
CREATE INDEX emergency_access_community ON emergency_access (community_id, at DESC, id);

-- Without what it was about: a row says that somebody was erased, by whom and how much it was.
CREATE TABLE erasure (
    id           uuid PRIMARY KEY,
    community_id text NOT NULL REFERENCES community ON DELETE CASCADE,
    person_id    text NOT NULL,
    reason       text NOT NULL CHECK (reason IN ('request', 'moved_out', 'deceased', 'mistake')),
    requested_by text NOT NULL,
    requested_at timestamptz NOT NULL,
    approved_by  text CHECK (approved_by <> requested_by),
    approved_at  timestamptz,
    done_at      timestamptz,
    counts       jsonb NOT NULL DEFAULT '{}'
);
CREATE UNIQUE INDEX erasure_open ON erasure (person_id) WHERE done_at IS NULL;
CREATE INDEX erasure_community ON erasure (community_id, requested_at DESC, id);

-- What is usual for somebody, from the roll-ups of the days before; so that a list never reads history.
CREATE TABLE vital_baseline (
    device_no    integer NOT NULL REFERENCES device ON DELETE CASCADE,
    metric       text NOT NULL,
    mean         double precision NOT NULL,
    spread       double precision NOT NULL CHECK (spread >= 0),
    days         smallint NOT NULL CHECK (days > 0),
    refreshed_at timestamptz NOT NULL,
    PRIMARY KEY (device_no, metric)
);

CREATE TABLE retention_rule (
    community_id text NOT NULL REFERENCES community ON DELETE CASCADE,
    class        text NOT NULL,
    days         integer NOT NULL CHECK (days > 0),
    changed_by   text NOT NULL,
    changed_at   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (community_id, class)
);
COMMENT ON TABLE retention_rule IS 'where a community keeps a class of data for another time than the default';

-- How far a device's health data has been let go, so that the same days are not searched again.
CREATE TABLE retention_mark (
    device_no integer NOT NULL REFERENCES device ON DELETE CASCADE,
    class     text NOT NULL,
    upto      timestamptz NOT NULL,
    PRIMARY KEY (device_no, class)
) WITH (fillfactor = 70);

-- Append-only tables stay so for everybody; erasing a person alone may take words out of their rows. It says first which
-- request it carries out: one that two people have put their names to and that is not done. Saying so is not enough
-- for whoever comes as a tenant, and inside a SECURITY DEFINER function the setting still says who asked.
CREATE FUNCTION erasing_now() RETURNS boolean LANGUAGE plpgsql STABLE AS $$
DECLARE
    v_request text := current_setting('linhub.erasing', true);
BEGIN
    IF coalesce(v_request, '') = '' THEN
        RETURN false;
    END IF;
    RETURN pg_has_role(coalesce(nullif(current_setting('role'), 'none'), session_user), 'linhub_service', 'USAGE')
        AND EXISTS (SELECT FROM erasure WHERE id::text = v_request AND approved_by <> requested_by
                    AND approved_at IS NOT NULL AND done_at IS NULL);
END
$$;

CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (TG_TABLE_NAME IN ('alert_occurrence', 'work_order_history') AND TG_OP = 'UPDATE'
        OR TG_TABLE_NAME = 'rule_override' AND TG_OP = 'DELETE') AND erasing_now() THEN
        RETURN coalesce(NEW, OLD);
    END IF;
    RAISE EXCEPTION '% is append-only', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END
$$;

CREATE OR REPLACE FUNCTION evidence_kept() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    v_new evidence := NEW;
BEGIN
    IF TG_OP = 'UPDATE' AND erasing_now() THEN
        RETURN NEW;
    END IF;
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

-- A text with certain words taken out of it; the longest first, so that none leaves a part of another.
CREATE FUNCTION without_words(p_text text, p_words text[]) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
    v_word text;
BEGIN
    FOR v_word IN SELECT w FROM unnest(p_words) AS w WHERE w <> '' ORDER BY length(w) DESC, w LOOP
        p_text := replace(p_text, v_word, '＊');
    END LOOP;
    RETURN p_text;
END
$$;
