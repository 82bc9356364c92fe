-- name: sessions_by_ids
SELECT s.id AS session_id, s.sort, s.limits, s.password_mark, s.expires_at, s.used,
       s.revoked_at IS NULL AND s.expires_at > now() AND s.idle_until > now() AS stands,
       s.last_used_at < now() - INTERVAL '5 minutes' AS unheard,
       u.id, u.username, u.password_hash, u.display_name, u.role, u.team, u.community_id, u.street_id, u.grid_id,
       u.household_id, u.leads, u.disabled_at IS NOT NULL AS disabled, u.must_change, u.password_until
FROM app_session s JOIN app_user u ON u.id = s.user_id
WHERE s.id = ANY ($1::text[])

-- name: session_locked
SELECT s.id AS session_id, s.sort, s.limits, s.password_mark, s.expires_at, s.used,
       s.revoked_at IS NULL AND s.expires_at > now() AND s.idle_until > now() AS stands, false AS unheard,
       s.refresh_hash, s.previous_hash, s.generation, s.rotated_at > now() - $2 * INTERVAL '1 second' AS just_rotated,
       u.id, u.username, u.password_hash, u.display_name, u.role, u.team, u.community_id, u.street_id, u.grid_id,
       u.household_id, u.leads, u.disabled_at IS NOT NULL AS disabled, u.must_change, u.password_until
FROM app_session s JOIN app_user u ON u.id = s.user_id
WHERE s.id = $1
FOR UPDATE OF s

-- name: session_insert
INSERT INTO app_session (id, user_id, sort, address, network, agent, label, limits, password_mark, idle_s, idle_until,
                         expires_at, refresh_hash)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, least(now() + $10 * INTERVAL '1 second', now() + $11 * INTERVAL '1 second'),
        now() + $11 * INTERVAL '1 second', $12)
RETURNING expires_at

-- name: sessions_heard
UPDATE app_session SET last_used_at = now(), idle_until = least(expires_at, now() + idle_s * INTERVAL '1 second')
WHERE id = ANY ($1::text[]) AND revoked_at IS NULL

-- name: session_used
UPDATE app_session SET used = greatest(used, $2), last_used_at = now(),
                       idle_until = least(expires_at, now() + idle_s * INTERVAL '1 second')
WHERE id = $1 AND revoked_at IS NULL

-- name: session_rotate
UPDATE app_session SET refresh_hash = $2, previous_hash = $3, generation = generation + 1, rotated_at = now(),
                       last_used_at = now(), idle_until = least(expires_at, now() + idle_s * INTERVAL '1 second')
WHERE id = $1
RETURNING generation

-- name: session_end
UPDATE app_session SET revoked_at = now(), revoked_by = $2, revoke_why = $3
WHERE id = $1 AND revoked_at IS NULL
RETURNING id

-- name: sessions_end_of
UPDATE app_session SET revoked_at = now(), revoked_by = $2, revoke_why = $3
WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > now() AND id <> $4
RETURNING id

-- name: sessions_of
SELECT id, sort, created_at, last_used_at, address, agent, label, expires_at, idle_until, limits
FROM app_session
WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > now() AND idle_until > now()
  AND ($2::timestamptz IS NULL OR (created_at, id) < ($2, $3))
ORDER BY created_at DESC, id DESC
LIMIT $4

-- name: session_of
SELECT id FROM app_session WHERE id = $1 AND user_id = $2 AND revoked_at IS NULL

-- name: sessions_forget
DELETE FROM app_session WHERE ctid IN (
    SELECT ctid FROM app_session
    WHERE least(expires_at, idle_until, revoked_at) < now() - $1 * INTERVAL '1 second' LIMIT 1000
)

-- name: session_remark
UPDATE app_session SET password_mark = $3 WHERE user_id = $1 AND password_mark = $2

-- name: session_mark
UPDATE app_session SET password_mark = $2 WHERE id = $1

-- name: logged_in
UPDATE app_user SET last_login_at = now() WHERE id = $1

-- name: password_rehashed
UPDATE app_user SET password_hash = $3 WHERE id = $1 AND password_hash = $2
RETURNING id

-- name: failures_locked
SELECT name, network, failures, last_at, blocked_until, now() AS now FROM login_failure
WHERE (name, network) IN (($1, $2), ($1, ''), ('', $2))
ORDER BY name, network FOR UPDATE

-- name: failures_begin
INSERT INTO login_failure (name, network, failures, last_at)
VALUES ('', $2, 0, now()), ($1, '', 0, now()), ($1, $2, 0, now())
ON CONFLICT DO NOTHING

-- name: failures_count
UPDATE login_failure SET failures = $3, last_at = now(), blocked_until = $4 WHERE name = $1 AND network = $2

-- name: failures_clear
DELETE FROM login_failure WHERE name = $1 AND network = $2

-- name: failures_uncount
UPDATE login_failure SET failures = failures - 1, blocked_until = CASE WHEN failures - 1 < $3 THEN NULL ELSE blocked_until END
WHERE name = $1 AND network = $2

-- name: failures_free
SELECT account_free($1, $2)

-- name: failures_forget
DELETE FROM login_failure WHERE last_at < now() - INTERVAL '2 days'

-- name: network_known
SELECT EXISTS (
    SELECT FROM app_user u JOIN app_session s ON s.user_id = u.id
    WHERE u.username = $1 AND s.network = $2 AND s.created_at > now() - INTERVAL '90 days'
)

-- name: in_time
SELECT $1::timestamptz > now()

-- name: accounts_page
SELECT u.id, u.username, u.display_name, u.role, u.team, u.community_id, u.street_id, u.grid_id, u.household_id, u.leads,
       u.created_at, u.disabled_at, u.must_change, u.password_until, u.last_login_at, u.version, u.service,
       account_blocked_until(u.id) AS blocked_until,
       EXISTS (SELECT FROM external_identity e WHERE e.user_id = u.id) AS external,
       c.street_id AS street_of_community
FROM app_user u LEFT JOIN community c ON c.id = u.community_id
WHERE ($1::text IS NULL OR u.community_id = $1)
  AND ($2::text IS NULL OR u.street_id = $2 OR c.street_id = $2)
  AND ($3::text IS NULL OR u.role = $3)
  AND ($4::boolean IS NULL OR (u.disabled_at IS NOT NULL) = $4)
  AND ($5::text IS NULL OR strpos(lower(u.username), lower($5)) > 0 OR strpos(lower(u.display_name), lower($5)) > 0)
  AND ($6::text IS NULL OR u.username > $6)
  AND ($7::text IS NULL OR u.id = $7)
ORDER BY u.username
LIMIT $8

-- name: account_version
SELECT version FROM app_user WHERE id = $1 FOR UPDATE

-- name: account_once
SELECT id, once_key FROM app_user WHERE username = $1

-- name: account_insert
INSERT INTO app_user (id, username, password_hash, display_name, role, team, community_id, street_id, grid_id, household_id,
                      must_change, password_until, once_key)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, now() + $12 * INTERVAL '1 second', $13)
ON CONFLICT (username) DO NOTHING
RETURNING id

-- name: account_update
UPDATE app_user SET display_name = $2, role = $3, team = $4, community_id = $5, street_id = $6, grid_id = $7,
                    household_id = $8, version = version + 1
WHERE id = $1

-- name: account_switch
UPDATE app_user SET disabled_at = CASE WHEN $2::boolean THEN coalesce(disabled_at, now()) END, version = version + 1
WHERE id = $1

-- name: account_password
UPDATE app_user SET password_hash = $2, must_change = $3, password_until = now() + $4 * INTERVAL '1 second', once_key = $5,
                    version = version + 1
WHERE id = $1

-- name: account_once_key
SELECT once_key FROM app_user WHERE id = $1 FOR UPDATE

-- name: admins_locked
SELECT id, community_id, street_id, disabled, street_of_community FROM account_administrators()

-- name: scope_known
SELECT
    $1::text IS NULL OR EXISTS (SELECT FROM community WHERE id = $1) AS community,
    $2::text IS NULL OR EXISTS (SELECT FROM street WHERE id = $2) AS street,
    $3::text IS NULL OR EXISTS (SELECT FROM grid WHERE id = $3 AND community_id = $1) AS grid,
    $4::text IS NULL OR EXISTS (SELECT FROM household WHERE id = $4 AND community_id = $1) AS household,
    (SELECT street_id FROM community WHERE id = $1) AS street_of_community

-- name: external_user
SELECT user_id FROM external_identity WHERE issuer = $1 AND subject = $2

-- name: external_link
INSERT INTO external_identity (issuer, subject, user_id) VALUES ($1, $2, $3)
ON CONFLICT DO NOTHING
RETURNING user_id

-- name: external_unlink
DELETE FROM external_identity WHERE user_id = $1 RETURNING issuer

-- name: external_account
SELECT subject FROM external_identity WHERE issuer = $1 AND user_id = $2
