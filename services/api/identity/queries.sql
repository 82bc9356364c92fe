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
DELETE FROM login_failure WHERE name = $1

-- name: failures_credit
INSERT INTO login_failure (name, network, failures, last_at) VALUES ($1, '', $2, now())
ON CONFLICT (name, network) DO UPDATE SET failures = excluded.failures, last_at = now(), blocked_until = NULL

-- name: failures_forget
DELETE FROM login_failure WHERE last_at < now() - INTERVAL '2 days'

-- name: network_known
SELECT EXISTS (
    SELECT FROM app_user u JOIN app_session s ON s.user_id = u.id
    WHERE u.username = $1 AND s.network = $2 AND s.created_at > now() - INTERVAL '90 days'
)

-- name: in_time
SELECT $1::timestamptz > now()
