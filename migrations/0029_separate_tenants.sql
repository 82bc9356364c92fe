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
-- all; neither: none. `p_household` ('-': none): of homes and people only these. All of it is wiped by RESET ALL.
CREATE FUNCTION tenant_enter(
    p_community text, p_street text, p_everything boolean, p_household text, p_account text
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    v_street text := p_street;
    v_communities text := p_community;
BEGIN
    IF p_community IS NOT NULL THEN
        SELECT street_id INTO v_street FROM community WHERE id = p_community;
    ELSIF p_street IS NOT NULL THEN
        SELECT string_agg(id, ',') INTO v_communities FROM community WHERE street_id = p_street;
    END IF;
    PERFORM set_config('linhub.communities', coalesce(v_communities, ''), false),
            set_config('linhub.street', coalesce(v_street, ''), false),
            set_config('linhub.everything', CASE WHEN p_everything THEN 'on' ELSE '' END, false),
            set_config('linhub.household', coalesce(p_household, ''), false),
            set_config('linhub.account', coalesce(p_account, ''), false);
END
$$;

-- Whether the connection's scope holds this community. The services' own work holds all of them.
CREATE FUNCTION tenant_holds(p_community text) RETURNS boolean LANGUAGE plpgsql STABLE AS $$
BEGIN
    -- Inside a SECURITY DEFINER function current_user is its owner; the setting still says who asked.
    RETURN pg_has_role(coalesce(nullif(current_setting('role'), 'none'), session_user), 'linhub_service', 'USAGE')
        OR current_setting('linhub.everything', true) = 'on'
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
