-- Tenants are kept apart by the database, so that a route that forgets its WHERE shows nothing of another community.
--
-- linhub_tenant: as what the API's requests run. Owns nothing, and sees what `tenant_enter` was told for this use of
-- the connection; without a scope, nothing. linhub_service: the services' own work, and the owner of the schema.

DO $$
DECLARE
    v_role text;
BEGIN
    FOREACH v_role IN ARRAY ARRAY['linhub_service', 'linhub_tenant'] LOOP
        -- Roles belong to the cluster: another database of it may be making the same one at this moment.
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = v_role) THEN
            BEGIN
                EXECUTE format('CREATE ROLE %I NOLOGIN', v_role);
            EXCEPTION
                WHEN duplicate_object OR unique_violation THEN NULL;
                WHEN insufficient_privilege THEN
                    RAISE EXCEPTION 'the role % is missing and % may not make it; an administrator runs once: '
                        'CREATE ROLE linhub_service NOLOGIN; CREATE ROLE linhub_tenant NOLOGIN; '
                        'GRANT linhub_service TO %; GRANT linhub_tenant TO % WITH INHERIT FALSE, SET TRUE',
                        v_role, current_user, current_user, current_user USING ERRCODE = 'insufficient_privilege';
            END;
        END IF;
        IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
            -- As a member of the service, the owner is let through the policies that FORCE puts on owners as well.
            BEGIN
                IF v_role = 'linhub_service' AND NOT pg_has_role(current_user, v_role, 'USAGE') THEN
                    EXECUTE format('GRANT %I TO %I WITH INHERIT TRUE', v_role, current_user);
                ELSIF v_role = 'linhub_tenant' AND NOT pg_has_role(current_user, v_role, 'SET') THEN
                    EXECUTE format('GRANT %I TO %I WITH INHERIT FALSE, SET TRUE', v_role, current_user);
                END IF;
            EXCEPTION
                WHEN unique_violation THEN NULL;
                WHEN insufficient_privilege THEN
                    RAISE EXCEPTION '% is not a member of % and may not become one; an administrator runs once: '
                        'GRANT linhub_service TO %; GRANT linhub_tenant TO % WITH INHERIT FALSE, SET TRUE',
                        current_user, v_role, current_user, current_user USING ERRCODE = 'insufficient_privilege';
            END;
        END IF;
    END LOOP;
END
$$;

-- What one use of a connection may see. Bound to a community: that one; to a street: its communities; `p_everything`:
-- all; to none: nothing. `p_household` ('-': none): of homes and people only these. `p_report`: the community that this
-- report was made in, for whoever follows it without a login. All of it is wiped by RESET ALL.
CREATE FUNCTION tenant_enter(
    p_community text, p_street text, p_everything boolean, p_household text, p_account text, p_report uuid
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_street text := p_street;
    v_communities text := p_community;
BEGIN
    IF p_report IS NOT NULL THEN
        SELECT community_id INTO v_communities FROM resident_report WHERE id = p_report;
    END IF;
    IF v_communities IS NOT NULL THEN
        SELECT street_id INTO v_street FROM community WHERE id = v_communities;
    ELSIF p_street IS NOT NULL THEN
        SELECT string_agg(id, ',') INTO v_communities FROM community WHERE street_id = p_street;
    END IF;
    PERFORM set_config('linhub.communities', coalesce(v_communities, ''), false),
            set_config('linhub.street', coalesce(v_street, ''), false),
            set_config('linhub.everything', CASE WHEN p_everything THEN 'on' ELSE '' END, false),
            set_config('linhub.above', CASE WHEN p_community IS NULL AND p_street IS NOT NULL THEN 'on' ELSE '' END, false),
            set_config('linhub.household', coalesce(p_household, ''), false),
            set_config('linhub.account', coalesce(p_account, ''), false);
END
$$;

-- The devices in the home that the scope is bound to, and those of whom its account is or speaks for (监护人). A function, so that the planner has one thing to plan and not the
-- policies of `device` once more; asked once a statement, and only where there is such a home.
CREATE FUNCTION tenant_home_devices() RETURNS integer[] LANGUAGE sql STABLE
SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT ARRAY(SELECT device_no FROM device
                 WHERE (household_id = current_setting('linhub.household', true)
                        OR person_id IN (SELECT id FROM person
                                         WHERE account_id = current_setting('linhub.account', true)
                                            OR guardian_id = current_setting('linhub.account', true)))
                   AND community_id = ANY (string_to_array(current_setting('linhub.communities', true), ',')))
$$;

-- Whether the connection's scope holds this community. The services' own work holds all of them. What the people of a
-- street do with their own accounts belongs to no community: of that, too, they write the books.
CREATE FUNCTION tenant_holds(p_community text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    -- Inside a SECURITY DEFINER function current_user is its owner; the setting still says who asked.
    RETURN pg_has_role(coalesce(nullif(current_setting('role'), 'none'), session_user), 'linhub_service', 'USAGE')
        OR coalesce(current_setting('linhub.everything', true) = 'on', false)
        OR (p_community IS NULL AND coalesce(current_setting('linhub.above', true) = 'on', false))
        OR coalesce(p_community = ANY (string_to_array(current_setting('linhub.communities', true), ',')), false);
END
$$;

-- The guard of every function that runs with its owner's rights: `PERFORM tenant_must_hold(p_community)` comes first.
CREATE FUNCTION tenant_must_hold(p_community text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF NOT tenant_holds(p_community) THEN
        RAISE EXCEPTION 'community % is outside the scope of this connection', coalesce(quote_literal(p_community), 'null')
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN true;
END
$$;

-- Puts one table under row-level security, for its owner as well; called below for all there are, and by every later
-- migration for the tables it makes. `p_holds`: when a row is within the scope, where `community_id` does not say so.
-- `p_own`: which rows somebody sees who is bound to a home, where `household_id` or `person_id` do not say so.
-- Every setting is asked for once a statement (a subselect without references is run once), never once a row.
CREATE FUNCTION tenant_separate(
    p_table regclass, p_privileges text, p_holds text DEFAULT NULL, p_own text DEFAULT NULL, p_secret text[] DEFAULT NULL
) RETURNS void LANGUAGE plpgsql SET client_min_messages = warning AS $$
DECLARE
    v_columns text[] := ARRAY(SELECT attname FROM pg_attribute
                              WHERE attrelid = p_table AND attnum > 0 AND NOT attisdropped);
    v_holds text := coalesce(p_holds, 'community_id = ANY ((SELECT string_to_array('
        'current_setting(''linhub.communities'', true), '',''))::text[])');
    v_own text := coalesce(p_own, CASE
        WHEN 'household_id' = ANY (v_columns) THEN 'household_id = (SELECT current_setting(''linhub.household'', true))'
        WHEN 'person_id' = ANY (v_columns) THEN
            format('EXISTS (SELECT FROM person AS one WHERE one.id = %s.person_id)', p_table)
        END);
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', p_table);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', p_table);
    EXECUTE format('DROP POLICY IF EXISTS services ON %s', p_table);
    EXECUTE format('DROP POLICY IF EXISTS tenant ON %s', p_table);
    EXECUTE format('DROP POLICY IF EXISTS home ON %s', p_table);
    EXECUTE format('CREATE POLICY services ON %s TO linhub_service USING (true) WITH CHECK (true)', p_table);
    EXECUTE format('CREATE POLICY tenant ON %s TO linhub_tenant '
                   'USING ((SELECT current_setting(''linhub.everything'', true) = ''on'') OR %s)', p_table, v_holds);
    IF v_own IS NOT NULL THEN
        EXECUTE format('CREATE POLICY home ON %s AS RESTRICTIVE TO linhub_tenant '
                       'USING ((SELECT coalesce(current_setting(''linhub.household'', true), '''') = '''') OR %s)',
                       p_table, v_own);
    END IF;
    EXECUTE format('REVOKE ALL ON %s FROM linhub_tenant', p_table);
    IF p_privileges <> '' THEN
        -- Hashes of passwords, keys and sessions are written through this role and never read back.
        EXECUTE format('GRANT %s ON %s TO linhub_tenant', CASE
            WHEN p_secret IS NULL THEN p_privileges
            ELSE regexp_replace(p_privileges, '^SELECT', 'SELECT (' || array_to_string(ARRAY(
                SELECT quote_ident(one) FROM unnest(v_columns) AS one WHERE one <> ALL (p_secret)), ', ') || ')') END,
            p_table);
    END IF;
END
$$;

-- What each table holds of a tenant, and what the API may do with it. Secrets are left out of SELECT, column by column.
DO $$
DECLARE
    v record;
    v_secret CONSTANT text[] := ARRAY['password_hash', 'secret_hash', 'refresh_hash', 'previous_hash', 'password_mark'];
    v_own_device CONSTANT text := 'household_id IS NULL OR device_no = ANY ((SELECT tenant_home_devices())::integer[])';
    v_own_person CONSTANT text := 'household_id = (SELECT current_setting(''linhub.household'', true)) '
        'OR account_id = (SELECT current_setting(''linhub.account'', true)) '
        'OR guardian_id = (SELECT current_setting(''linhub.account'', true))';
BEGIN
    FOR v IN
        SELECT * FROM (VALUES
            -- a community and its registry
            ('community', 'SELECT, UPDATE',
             'id = ANY ((SELECT string_to_array(current_setting(''linhub.communities'', true), '',''))::text[])', NULL),
            ('compound', 'SELECT, INSERT, UPDATE, DELETE', NULL, NULL),
            ('grid', 'SELECT, INSERT, UPDATE, DELETE', NULL, NULL),
            ('building', 'SELECT, INSERT, UPDATE, DELETE', NULL, NULL),
            ('unit', 'SELECT, INSERT, UPDATE, DELETE', NULL, NULL),
            ('household', 'SELECT, INSERT, UPDATE, DELETE', NULL,
             'id = (SELECT current_setting(''linhub.household'', true)) OR EXISTS (SELECT FROM person AS one '
             'WHERE one.household_id = household.id)'),
            ('person', 'SELECT, INSERT, UPDATE, DELETE', NULL, v_own_person),
            ('device', 'SELECT, INSERT, UPDATE, DELETE', NULL, v_own_device),
            ('person_contact', 'SELECT, INSERT, UPDATE, DELETE', NULL, NULL),
            -- alerts and what comes of them
            ('alert', 'SELECT, UPDATE', NULL, 'device_no = ANY ((SELECT tenant_home_devices())::integer[])'),
            ('alert_answer', 'SELECT, INSERT', 'EXISTS (SELECT FROM alert AS one WHERE one.id = alert_answer.alert_id)',
             NULL),
            ('alert_occurrence', 'SELECT',
             'EXISTS (SELECT FROM alert AS one WHERE one.id = alert_occurrence.alert_id)', NULL),
            ('work_order', 'SELECT, INSERT, UPDATE', NULL, NULL),
            ('work_order_history', 'SELECT, INSERT',
             'EXISTS (SELECT FROM work_order AS one WHERE one.id = work_order_history.order_id)', NULL),
            ('silence', 'SELECT, INSERT, UPDATE', NULL, NULL),
            ('command', 'SELECT, INSERT, UPDATE', NULL, NULL),
            ('evidence', 'SELECT, INSERT, UPDATE', NULL, NULL),
            ('place_code', 'SELECT, INSERT, UPDATE', NULL, NULL),
            ('resident_report', 'SELECT, INSERT, UPDATE', NULL,
             'reporter_id = (SELECT current_setting(''linhub.account'', true))'),
            ('report_note', 'SELECT, INSERT',
             'EXISTS (SELECT FROM resident_report AS one WHERE one.id = report_note.report_id)', NULL),
            -- what is set
            ('rule_version', 'SELECT, INSERT', NULL, NULL),
            ('rule_override', 'SELECT, INSERT', NULL, NULL),
            ('rule_proof', 'SELECT, INSERT, UPDATE, DELETE', NULL, NULL),
            ('order_class_version', 'SELECT, INSERT', NULL, NULL),
            ('plan_version', 'SELECT, INSERT', NULL, NULL),
            ('plan_approval', 'SELECT, INSERT', NULL, NULL),
            ('plan_run', 'SELECT, INSERT, UPDATE', NULL, NULL),
            ('plan_step', 'SELECT, INSERT, UPDATE',
             'EXISTS (SELECT FROM plan_run AS one WHERE one.id = plan_step.run_id)', NULL),
            ('community_gateway', 'SELECT, INSERT, UPDATE, DELETE', NULL, NULL),
            -- duty
            ('duty_pattern', 'SELECT, INSERT', NULL, NULL),
            ('duty_horizon', 'SELECT, INSERT, UPDATE', NULL, NULL),
            ('duty_shift', 'SELECT, INSERT, UPDATE', NULL, NULL),
            ('duty_swap', 'SELECT, INSERT, UPDATE', NULL, NULL),
            ('duty_handover', 'SELECT, INSERT, UPDATE', NULL, NULL),
            ('roster_gap', 'SELECT', NULL, NULL),
            ('roster_watch', 'SELECT', NULL, NULL),
            ('staff_position', 'SELECT, INSERT, UPDATE, DELETE',
             'EXISTS (SELECT FROM app_user AS one WHERE one.id = staff_position.user_id)', NULL),
            -- notices and where they go
            ('notice', 'SELECT, INSERT, UPDATE', NULL,
             'recipient = ''account:'' || (SELECT current_setting(''linhub.account'', true))'),
            ('notice_attempt', 'SELECT', 'EXISTS (SELECT FROM notice AS one WHERE one.id = notice_attempt.notice_id)', NULL),
            ('notice_link', '', 'EXISTS (SELECT FROM notice AS one WHERE one.id = notice_link.notice_id)', NULL),
            ('contact_channel', 'SELECT, INSERT, UPDATE, DELETE',
             'EXISTS (SELECT FROM app_user AS one WHERE one.id = contact_channel.account_id) '
             'OR EXISTS (SELECT FROM person_contact AS one WHERE one.id = contact_channel.contact_id)',
             'account_id = (SELECT current_setting(''linhub.account'', true)) '
             'OR EXISTS (SELECT FROM person_contact AS one WHERE one.id = contact_channel.contact_id)'),
            -- the books: written by functions alone
            -- who read of them, whoever lives at home is told, and what they did themselves
            ('audit', 'SELECT', NULL,
             'actor_id = (SELECT current_setting(''linhub.account'', true)) OR action = ''health.watch'' '
             'OR action LIKE ''health.%'' AND EXISTS (SELECT FROM person AS one WHERE one.id = audit.detail ->> ''person'' '
             'OR audit.subject = ''person:'' || one.id)'),
            ('outbox', 'SELECT', NULL, 'false'),
            ('quarantine', 'SELECT', NULL, NULL),
            -- credentials: the API makes and ends them, and never reads the secret back
            ('device_credential', 'SELECT, INSERT, UPDATE',
             'EXISTS (SELECT FROM device AS one WHERE one.device_no = device_credential.device_no)', NULL),
            -- who comes in: sessions and keys are looked up before there is a scope, which is the services' work
            ('app_session', 'SELECT, UPDATE', 'EXISTS (SELECT FROM app_user AS one WHERE one.id = app_session.user_id)',
             'user_id = (SELECT current_setting(''linhub.account'', true))'),
            ('external_identity', 'SELECT, INSERT, DELETE',
             'EXISTS (SELECT FROM app_user AS one WHERE one.id = external_identity.user_id)',
             'user_id = (SELECT current_setting(''linhub.account'', true))'),
            ('api_key', 'SELECT, INSERT, UPDATE', NULL, 'false'),
            ('display', 'SELECT, INSERT, UPDATE', NULL, 'false'),
            -- a code on a screen belongs to nobody until somebody types it in
            ('display_pairing', 'SELECT, UPDATE',
             'display_id IS NULL OR EXISTS (SELECT FROM display AS one WHERE one.id = display_pairing.display_id)',
             'false'),
            -- what the registry and people's data keep
            ('plan_drawing', 'SELECT, INSERT', NULL, NULL),
            ('registry_import', 'SELECT, INSERT, UPDATE, DELETE', NULL, 'false'),
            ('registry_made', 'SELECT, INSERT, UPDATE, DELETE', NULL, 'false'),
            ('device_consent', 'SELECT, INSERT, UPDATE',
             'EXISTS (SELECT FROM device AS one WHERE one.device_no = device_consent.device_no)', NULL),
            ('consent', 'SELECT, INSERT, UPDATE', NULL, NULL),
            ('emergency_access', 'SELECT, INSERT', NULL, NULL),
            ('vital_baseline', 'SELECT',
             'EXISTS (SELECT FROM device AS one WHERE one.device_no = vital_baseline.device_no)', NULL),
            ('retention_mark', '',
             'EXISTS (SELECT FROM device AS one WHERE one.device_no = retention_mark.device_no)', NULL),
            -- what is worked out of readings for a whole community
            ('curve_quarter', 'SELECT', NULL, NULL),
            ('curve_hour', 'SELECT', NULL, NULL),
            ('curve_stale', 'SELECT', NULL, NULL),
            ('forecast_hour', 'SELECT', NULL, NULL),
            ('forecast_made', 'SELECT', NULL, NULL),
            ('device_online', 'SELECT', NULL, 'device_no = ANY ((SELECT tenant_home_devices())::integer[])')
        ) AS given (name, privileges, holds, own)
        WHERE to_regclass(given.name) IS NOT NULL
    LOOP
        PERFORM tenant_separate(v.name::regclass, v.privileges, v.holds, v.own, v_secret);
    END LOOP;

    -- Accounts: those of the scope, and by name those above it (the street's people, the platform's), who sign what
    -- they do in a community. Nobody who is bound to a community writes an account that is not.
    PERFORM tenant_separate('app_user', 'SELECT, INSERT, UPDATE', NULL,
        'household_id IS NULL OR household_id = (SELECT current_setting(''linhub.household'', true))', v_secret);
    CREATE POLICY above ON app_user FOR SELECT TO linhub_tenant USING (
        community_id IS NULL
        AND (SELECT current_setting('linhub.communities', true) <> '')
        AND (street_id IS NULL OR street_id = (SELECT current_setting('linhub.street', true)))
    );

    -- Whatever else belongs to a community: separated, and to be read and written within the scope.
    FOR v IN
        SELECT c.oid::regclass AS name FROM pg_class c
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relforcerowsecurity
          AND EXISTS (SELECT FROM pg_attribute a
                      WHERE a.attrelid = c.oid AND a.attname = 'community_id' AND NOT a.attisdropped)
        ORDER BY c.relname
    LOOP
        PERFORM tenant_separate(v.name, 'SELECT, INSERT, UPDATE, DELETE', p_secret => v_secret);
    END LOOP;
END
$$;

-- Without a tenant: read by all.
GRANT SELECT ON street, catalogue_metric, ingest_ledger, worker_lease TO linhub_tenant;
-- Made with its asker's rights: the policies of the places behind it hold.
GRANT SELECT ON registry_place TO linhub_tenant;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO linhub_tenant;
REVOKE ALL ON SEQUENCE outbox_seq FROM linhub_tenant;

GRANT USAGE ON SCHEMA public TO linhub_service, linhub_tenant;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO linhub_service;
GRANT USAGE, SELECT ON ALL SEQUENCES IN SCHEMA public TO linhub_service;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO linhub_service;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE, SELECT ON SEQUENCES TO linhub_service;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE ON SEQUENCES TO linhub_tenant;

-- Makes a function of PL/pgSQL run with its owner's rights for one community, `p_community`, which the asker must hold:
-- the guard becomes its first statement. For functions over telemetry, and for the books.
CREATE FUNCTION tenant_guard(p_function regprocedure) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    v_before text := pg_get_functiondef(p_function);
    v_after text := regexp_replace(v_before, E'\nBEGIN\n', E'\nBEGIN\n    PERFORM tenant_must_hold(p_community);\n');
BEGIN
    IF v_before ~ 'PERFORM tenant_must_hold\(p_community\)' THEN
        v_after := v_before;
    ELSIF v_after = v_before OR v_before !~ '\mp_community text\M' THEN
        RAISE EXCEPTION '% cannot be guarded: it needs PL/pgSQL, a line BEGIN and an argument p_community', p_function;
    END IF;
    EXECUTE v_after;
    EXECUTE format('ALTER FUNCTION %s SECURITY DEFINER SET search_path = public, pg_temp', p_function);
END
$$;

-- Telemetry has no policies: tenants hold no privilege on it and ask functions, each for one community.
-- The books stay whole: their rows are added by functions, for a community of the scope.
DO $$
DECLARE
    v_function regprocedure;
BEGIN
    FOR v_function IN
        SELECT oid::regprocedure FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace AND proname IN (
            'audit_append', 'outbox_append', 'rollup_of', 'meter_of', 'readings_of', 'readings_bucketed', 'readings_lines',
            'device_events', 'states_at',
            'curve_gauge', 'curve_counter', 'curve_level')
        ORDER BY proname
    LOOP
        PERFORM tenant_guard(v_function);
    END LOOP;
END
$$;

-- A device that moves, and a meter that is swapped, mark hours as stale, which tenants cannot see.
ALTER FUNCTION rollup_moved() SECURITY DEFINER SET search_path = public, pg_temp;

-- The latest of each device of a community, or of some of them: what `device_state` holds.
CREATE FUNCTION device_states(p_community text, p_devices integer[] DEFAULT NULL)
RETURNS SETOF device_state LANGUAGE plpgsql STABLE ROWS 500
SECURITY DEFINER SET search_path = public, pg_temp SET plan_cache_mode = force_custom_plan AS $$
BEGIN
    PERFORM tenant_must_hold(p_community);
    IF p_devices IS NULL THEN
        p_devices := ARRAY(SELECT d.device_no FROM device d WHERE d.community_id = p_community);
    END IF;
    -- What somebody else measured who wore it before is not of this device any more.
    RETURN QUERY
    SELECT s.device_no, s.online, s.session, s.online_since, s.last_seen_at,
           vals_since(s.vals, s.vals_ts, s.vals_at, k.worn_since), CASE WHEN s.vals_ts < k.worn_since THEN NULL ELSE s.vals_ts END,
           CASE WHEN s.last_event_ts < k.worn_since THEN NULL ELSE s.last_event END,
           CASE WHEN s.last_event_ts < k.worn_since THEN NULL ELSE s.last_event_ts END, s.clock_offset_ms, s.vals_at
    FROM device d JOIN device_state s USING (device_no) LEFT JOIN device_consent k USING (device_no)
    WHERE d.device_no = ANY (p_devices) AND d.community_id = p_community;
END
$$;

-- How many devices in use a community has, and how many of them are online.
CREATE FUNCTION devices_online(p_community text, OUT devices bigint, OUT online bigint)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM tenant_must_hold(p_community);
    SELECT count(*), count(*) FILTER (WHERE s.online) INTO devices, online
    FROM device d LEFT JOIN device_state s USING (device_no)
    WHERE d.community_id = p_community AND d.retired_at IS NULL;
END
$$;

-- A bucket's sum over devices of each one's average.
CREATE FUNCTION readings_mean(
    p_community text, p_devices integer[], p_from timestamptz, p_to timestamptz, p_bucket interval, p_position integer
) RETURNS TABLE (bucket timestamptz, value double precision) LANGUAGE plpgsql STABLE
SECURITY DEFINER SET search_path = public, pg_temp SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    v_devices integer[];
BEGIN
    PERFORM tenant_must_hold(p_community);
    v_devices := ARRAY(SELECT d.device_no FROM device d
                       WHERE d.device_no = ANY (p_devices) AND d.community_id = p_community);
    RETURN QUERY
    SELECT by_device.at, sum(by_device.mean)
    FROM unnest(v_devices) AS meter (no)
    CROSS JOIN LATERAL (
        SELECT time_bucket(p_bucket, r.ts) AS at, avg(r.vals[p_position]) AS mean
        FROM reading AS r
        -- p_from by itself as well: the planner opens chunks by it, and knows nothing of who wears what.
        WHERE r.device_no = meter.no AND r.ts >= p_from AND r.ts >= worn_since(meter.no) AND r.ts < p_to
          AND r.vals[p_position] IS NOT NULL
        GROUP BY 1
    ) AS by_device
    GROUP BY by_device.at ORDER BY by_device.at;
END
$$;

-- A bucket's sum of forward steps; a step back counts as nothing. `p_before`: where the first ones' earlier is looked for.
CREATE FUNCTION readings_used(
    p_community text, p_devices integer[], p_from timestamptz, p_to timestamptz, p_bucket interval, p_position integer,
    p_before interval
) RETURNS TABLE (bucket timestamptz, value double precision) LANGUAGE plpgsql STABLE
SECURITY DEFINER SET search_path = public, pg_temp SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    v_devices integer[];
BEGIN
    PERFORM tenant_must_hold(p_community);
    v_devices := ARRAY(SELECT d.device_no FROM device d
                       WHERE d.device_no = ANY (p_devices) AND d.community_id = p_community);
    RETURN QUERY
    SELECT by_device.at, sum(by_device.used)
    FROM unnest(v_devices) AS meter (no)
    CROSS JOIN LATERAL (
        SELECT time_bucket(p_bucket, steps.ts) AS at, sum(greatest(steps.now - steps.before, 0)) AS used
        FROM (
            SELECT r.ts, r.vals[p_position] AS now, lag(r.vals[p_position]) OVER (ORDER BY r.ts) AS before
            FROM reading AS r
            WHERE r.device_no = meter.no AND r.ts >= p_from - p_before AND r.ts >= worn_since(meter.no)
              AND r.ts < p_to
              AND r.vals[p_position] IS NOT NULL
        ) AS steps
        WHERE steps.before IS NOT NULL AND steps.ts >= p_from
        GROUP BY 1
    ) AS by_device
    GROUP BY by_device.at ORDER BY by_device.at;
END
$$;

-- Failed logins are counted by the hash of what was typed and belong to nobody: an account's own are asked by its id.
CREATE FUNCTION account_blocked_until(p_user text) RETURNS timestamptz LANGUAGE sql STABLE
SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT max(f.blocked_until) FROM app_user u
    JOIN login_failure f ON f.name = left(encode(sha256(convert_to(lower(btrim(u.username)), 'UTF8')), 'hex'), 32)
    WHERE u.id = p_user AND f.blocked_until > now()
$$;

-- Lets the owner of an account in again, with credit against whoever goes on guessing. False where the scope does not
-- hold the account's community.
CREATE FUNCTION account_free(p_user text, p_credit double precision) RETURNS boolean LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_name text;
BEGIN
    SELECT left(encode(sha256(convert_to(lower(btrim(username)), 'UTF8')), 'hex'), 32) INTO v_name
    FROM app_user WHERE id = p_user AND tenant_holds(community_id);
    IF v_name IS NULL THEN
        RETURN false;
    END IF;
    DELETE FROM login_failure WHERE name = v_name;
    INSERT INTO login_failure (name, network, failures, last_at) VALUES (v_name, '', -p_credit, now())
    ON CONFLICT (name, network) DO UPDATE SET failures = excluded.failures, last_at = now(), blocked_until = NULL;
    RETURN true;
END
$$;

-- Every administrator by id and scope alone, locked: whether one is left is asked over all scopes, by one at a time.
CREATE FUNCTION account_administrators() RETURNS TABLE (
    id text, community_id text, street_id text, disabled boolean, street_of_community text
) LANGUAGE sql SECURITY DEFINER SET search_path = public, pg_temp AS $$
    SELECT u.id, u.community_id, u.street_id, u.disabled_at IS NOT NULL, c.street_id
    FROM app_user u LEFT JOIN community c ON c.id = u.community_id
    WHERE u.role = 'admin' ORDER BY u.id FOR UPDATE OF u
$$;
