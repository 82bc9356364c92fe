-- name: key_with_account
SELECT k.id AS key_id, k.sort, k.secret_hash, k.scopes, k.addresses, k.per_minute, k.expires_at, k.last_used_at,
       k.revoked_at, u.id, u.username, u.password_hash, u.display_name, u.role, u.team, u.community_id, u.street_id,
       u.grid_id, u.household_id, u.leads, u.must_change, u.password_until, u.disabled_at IS NOT NULL AS disabled
FROM api_key AS k JOIN app_user AS u ON u.id = k.user_id
WHERE k.id = ANY ($1::text[])

-- name: display_with_account
SELECT d.id AS display_id, d.secret_hash, d.expires_at, d.last_seen_at, d.revoked_at,
       u.id, u.username, u.password_hash, u.display_name, u.role, u.team, u.community_id, u.street_id,
       u.grid_id, u.household_id, u.leads, u.must_change, u.password_until, u.disabled_at IS NOT NULL AS disabled
FROM display AS d JOIN app_user AS u ON u.id = d.user_id
WHERE d.id = ANY ($1::uuid[])

-- name: key_used
UPDATE api_key SET last_used_at = now()
WHERE id = ANY ($1::text[]) AND (last_used_at IS NULL OR last_used_at < now() - interval '10 min')

-- name: display_seen
UPDATE display SET last_seen_at = now(), expires_at = now() + $2::interval,
       last_seen_from = coalesce($3::text::inet, last_seen_from)
WHERE id = ANY ($1::uuid[]) AND revoked_at IS NULL
  AND (last_seen_at IS NULL OR last_seen_at < now() - interval '30 s')

-- name: service_insert
INSERT INTO app_user (id, username, password_hash, display_name, role, community_id, street_id, service)
VALUES ($1, $1, '!', $2, $3, $4, $5, true)
ON CONFLICT (id) DO NOTHING

-- name: street_is_there
SELECT EXISTS (SELECT FROM street WHERE id = $1)

-- name: service_accounts
SELECT u.id, u.display_name AS name, u.role, u.community_id, u.street_id, u.created_at,
       u.disabled_at IS NOT NULL AS disabled,
       (SELECT count(*) FROM api_key AS k WHERE k.user_id = u.id AND k.revoked_at IS NULL AND k.expires_at > now()) AS keys
FROM app_user AS u LEFT JOIN community AS c ON c.id = u.community_id
WHERE u.service AND u.role <> 'display'
  AND ($1::text IS NULL OR u.id = $1)
  AND ($2::text IS NULL OR u.community_id = $2)
  AND ($3::text IS NULL OR coalesce(u.street_id, c.street_id) = $3)
  AND ($4::timestamptz IS NULL OR (u.created_at, u.id) < ($4, $5::text))
ORDER BY u.created_at DESC, u.id DESC
LIMIT $6

-- name: service_switch
UPDATE app_user SET disabled_at = CASE WHEN $2 THEN coalesce(disabled_at, now()) END WHERE id = $1 AND service

-- name: key_insert
INSERT INTO api_key (id, user_id, community_id, sort, name, secret_hash, scopes, addresses, per_minute, created_by,
    expires_at, rotated_from)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8::cidr[], $9, $10, $11, $12)

-- name: keys
SELECT k.id, k.user_id, u.display_name AS account, u.role, k.community_id, u.street_id, k.sort, k.name, k.scopes,
       k.addresses::text[] AS addresses, k.per_minute, k.created_at, k.created_by, k.expires_at, k.last_used_at,
       k.rotated_from, k.revoked_at, k.revoked_by, u.disabled_at IS NOT NULL AS disabled
FROM api_key AS k JOIN app_user AS u ON u.id = k.user_id LEFT JOIN community AS c ON c.id = k.community_id
WHERE ($1::text IS NULL OR k.id = $1)
  AND ($2::text IS NULL OR k.community_id = $2)
  AND ($3::text IS NULL OR coalesce(u.street_id, c.street_id) = $3)
  AND ($4::text IS NULL OR k.user_id = $4)
  AND ($5 OR (k.revoked_at IS NULL AND k.expires_at > now()))
  AND ($6::timestamptz IS NULL OR (k.created_at, k.id) < ($6, $7::text))
ORDER BY k.created_at DESC, k.id DESC
LIMIT $8

-- name: key_lock
SELECT id, revoked_at, expires_at FROM api_key WHERE id = $1 FOR UPDATE

-- name: key_shorten
UPDATE api_key SET expires_at = least(expires_at, $2) WHERE id = $1

-- name: key_revoke
UPDATE api_key SET revoked_at = now(), revoked_by = $2 WHERE id = $1 AND revoked_at IS NULL

-- name: client_sessions_end
UPDATE app_session SET revoked_at = now(), revoked_by = $2, revoke_why = 'client'
WHERE user_id = $3 AND label = 'client:' || $1 AND sort = 'client' AND revoked_at IS NULL

-- name: pairing_forget
DELETE FROM display_pairing WHERE expires_at < now() - interval '1 h'

-- name: pairings_open
SELECT count(*) FILTER (WHERE address <<= $1::text::inet) AS of_network, count(*) AS of_all
FROM display_pairing WHERE expires_at > now() AND display_id IS NULL

-- name: pairing_insert
INSERT INTO display_pairing (id, code, secret_hash, address, expires_at)
VALUES ($1, $2, $3, $4::text::inet, now() + $5::interval)
ON CONFLICT (code) DO NOTHING
RETURNING expires_at

-- name: pairing
SELECT id, code, secret_hash, expires_at, display_id FROM display_pairing WHERE id = $1 FOR UPDATE

-- name: pairing_by_code
SELECT p.id, p.expires_at, p.display_id, d.paired_by, d.community_id
FROM display_pairing AS p LEFT JOIN display AS d ON d.id = p.display_id
WHERE p.code = $1 AND p.expires_at > now() FOR UPDATE OF p

-- name: pairing_take
UPDATE display_pairing SET display_id = $2 WHERE id = $1

-- name: display_insert
INSERT INTO display (id, community_id, user_id, name, place, paired_by, expires_at)
VALUES ($1, $2, $3, $4, $5, $6, now() + $7::interval)

-- name: display_secret
UPDATE display SET secret_hash = $2, last_seen_at = now(), last_seen_from = $3::text::inet
WHERE id = $1 AND revoked_at IS NULL
RETURNING id

-- name: displays
SELECT d.id, d.community_id, d.name, d.place, d.version, d.paired_at, u.display_name AS paired_by, d.last_seen_at,
       host(d.last_seen_from) AS address, d.build, d.expires_at, d.revoked_at, r.display_name AS revoked_by,
       d.last_seen_at IS NULL AS waiting
FROM display AS d LEFT JOIN app_user AS u ON u.id = d.paired_by LEFT JOIN app_user AS r ON r.id = d.revoked_by
WHERE d.community_id = $1 AND ($2 OR d.revoked_at IS NULL)
  AND ($3::timestamptz IS NULL OR (d.paired_at, d.id) < ($3, $4::uuid))
ORDER BY d.paired_at DESC, d.id DESC
LIMIT $5

-- name: display
SELECT d.id, d.community_id, d.name, d.place, d.version, d.paired_at, u.display_name AS paired_by, d.last_seen_at,
       host(d.last_seen_from) AS address, d.build, d.expires_at, d.revoked_at, r.display_name AS revoked_by,
       d.last_seen_at IS NULL AS waiting, d.user_id
FROM display AS d LEFT JOIN app_user AS u ON u.id = d.paired_by LEFT JOIN app_user AS r ON r.id = d.revoked_by
WHERE d.id = $1

-- name: display_rename
UPDATE display SET name = $2, place = $3, version = version + 1 WHERE id = $1 AND version = $4 AND revoked_at IS NULL
RETURNING version

-- name: display_account_name
UPDATE app_user SET display_name = $2 WHERE id = (SELECT user_id FROM display WHERE id = $1)

-- name: display_revoke
UPDATE display SET revoked_at = now(), revoked_by = $2 WHERE id = $1 AND revoked_at IS NULL

-- name: display_build
UPDATE display SET build = $2, last_seen_at = now(), expires_at = now() + $3::interval,
       last_seen_from = coalesce($4::text::inet, last_seen_from)
WHERE id = $1 AND revoked_at IS NULL
RETURNING expires_at

-- name: audit_page
SELECT a.id, a.at, a.actor_id, a.actor_role, u.display_name AS actor, a.community_id, a.action, a.subject, a.detail,
       encode(a.hash, 'hex') AS hash
FROM audit AS a LEFT JOIN app_user AS u ON u.id = a.actor_id LEFT JOIN community AS c ON c.id = a.community_id
WHERE ($1::text IS NULL OR a.community_id = $1)
  AND ($2::text IS NULL OR c.street_id = $2)
  AND ($3::text IS NULL OR a.actor_id = ANY (ARRAY(
        SELECT w.id FROM app_user AS w WHERE $10 AND (w.username = $3 OR w.display_name = $3)) || $3::text))
  AND ($4::text IS NULL OR starts_with(a.action, $4))
  AND ($5::text IS NULL OR starts_with(a.subject, $5))
  AND ($6::timestamptz IS NULL OR a.at >= $6)
  AND ($7::timestamptz IS NULL OR a.at < $7)
  AND ($8::bigint IS NULL OR a.id < $8)
ORDER BY a.id DESC
LIMIT $9
