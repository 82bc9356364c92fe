-- name: hold_account
-- One at a time of an account's: counted, then made.
SELECT pg_advisory_xact_lock(hashtextextended('ngsi:' || $1, 0))

-- name: count
SELECT count(*) FROM ngsi_subscription WHERE account_id = $1

-- name: insert
INSERT INTO ngsi_subscription (id, account_id, community_id, street_id, name, key_id, limits, kinds, document, headers,
                               header_names, active, expires_at, created_at, modified_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::text::jsonb, $10::text::jsonb, $11, $12, $13, $14, $14)
ON CONFLICT (account_id, name) DO NOTHING
RETURNING id

-- name: insert_progress
INSERT INTO ngsi_progress (subscription_id, next_at) VALUES ($1, $2)

-- name: update
UPDATE ngsi_subscription
SET key_id = $2, limits = $3, kinds = $4, document = $5::text::jsonb, active = $6, expires_at = $7, modified_at = $8,
    state_why = ''
WHERE id = $1

-- name: update_headers
UPDATE ngsi_subscription SET headers = $2::text::jsonb, header_names = $3 WHERE id = $1

-- name: begin_anew
-- The present state is told again, and a turn that is under way counts for nothing.
UPDATE ngsi_progress
SET fresh = true, seen = NULL, lease = NULL, lease_until = NULL, next_at = $2, failures = 0, refusals = 0,
    failing_since = NULL, last_error = NULL
WHERE subscription_id = $1

-- name: forget_known
DELETE FROM ngsi_known WHERE subscription_id = $1

-- name: delete
DELETE FROM ngsi_subscription WHERE id = $1

-- name: lock
SELECT document FROM ngsi_subscription WHERE id = $1 FOR UPDATE

-- name: subscriptions
SELECT s.id, s.account_id, s.community_id, s.name, s.document, s.header_names, s.active, s.state_why, s.expires_at,
       s.created_at, s.modified_at, p.failures, p.last_error, p.times_sent, p.times_failed, p.last_notification,
       p.last_success, p.last_failure, count(*) OVER () AS total
FROM ngsi_subscription s JOIN ngsi_progress p ON p.subscription_id = s.id
WHERE ($1::text IS NULL OR s.account_id = $1) AND ($2::text IS NULL OR s.name = $2)
ORDER BY s.created_at, s.id
LIMIT $3 OFFSET $4

-- name: attempts
SELECT at, ok, status, error, ms, entities FROM ngsi_attempt WHERE subscription_id = $1 ORDER BY id DESC LIMIT $2

-- name: client_session
-- By which client a session was opened, if by one.
SELECT substr(label, 8) FROM app_session WHERE id = $1 AND sort = 'client' AND label LIKE 'client:%'

-- name: wanted
-- Whether there is anybody to look for, and of which kinds.
SELECT DISTINCT unnest(kinds) AS kind FROM ngsi_subscription WHERE active AND (expires_at IS NULL OR expires_at > $1)

-- name: everybody
SELECT id FROM ngsi_subscription WHERE active AND (expires_at IS NULL OR expires_at > $1)

-- name: mark
-- Taken before a look: whatever is committed after it was written by this transaction, or by a later one.
SELECT pg_snapshot_xmin(pg_current_snapshot())::xid::text AS seen, coalesce((SELECT max(seq) FROM outbox), 0) AS seq

-- name: age
-- How many transactions ago that was: below zero, where the database is another one, or has been put back.
SELECT age($1::text::xid)

-- name: oldest
SELECT coalesce(min(seq), 0) FROM outbox

-- name: touched
-- Subscriptions in whose scope something was written since: devices and their states by who wrote them, alerts by the
-- outbox. A row that is older than half of all transaction numbers may look new, which costs a look.
WITH moved AS MATERIALIZED (
    SELECT d.community_id, d.kind FROM device d LEFT JOIN device_state s ON s.device_no = d.device_no
    WHERE d.kind = ANY ($3::text[]) AND (age(s.xmin) <= age($1::text::xid) OR age(d.xmin) <= age($1::text::xid))
    GROUP BY 1, 2
    UNION ALL
    SELECT DISTINCT community_id, '!alert' FROM outbox WHERE seq > $2 AND type LIKE 'alert.%'
)
SELECT s.id FROM ngsi_subscription s JOIN app_user u ON u.id = s.account_id
WHERE s.active AND (s.expires_at IS NULL OR s.expires_at > $4) AND EXISTS (
    SELECT FROM moved m JOIN community c ON c.id = m.community_id
    WHERE m.kind = ANY (s.kinds)
      AND CASE WHEN u.community_id IS NOT NULL THEN c.id = u.community_id
               WHEN u.street_id IS NOT NULL THEN c.street_id = u.street_id ELSE true END)

-- name: claim
-- What was touched, what has not been told its present state, what waits for another attempt, and what nobody has
-- looked at for long. Two engines never have the same; one that died loses it when its lease runs out.
WITH due AS (
    SELECT p.subscription_id FROM ngsi_progress p
    JOIN ngsi_subscription s ON s.id = p.subscription_id
    JOIN app_user u ON u.id = s.account_id
    WHERE s.active AND (s.expires_at IS NULL OR s.expires_at > $1) AND u.disabled_at IS NULL AND u.role = ANY ($6::text[])
      AND p.next_at <= $1 AND (p.lease_until IS NULL OR p.lease_until <= $1)
      AND (p.fresh OR p.seen IS NULL OR p.failures > 0 OR p.subscription_id = ANY ($4::uuid[])
           OR p.looked_at < $1::timestamptz - $7::interval)
    ORDER BY p.next_at LIMIT $5
    FOR UPDATE OF p SKIP LOCKED
)
UPDATE ngsi_progress p SET lease = $2, lease_until = $3
FROM due WHERE p.subscription_id = due.subscription_id
RETURNING p.subscription_id, p.lease, p.seen, p.seq, p.view, p.fresh, p.looked_at, p.failures, p.refusals, p.failing_since,
          p.times_sent - p.times_failed AS succeeded

-- name: standing
-- The subscription with its account as it is now. The key: the newest of those it was rotated into that stands.
WITH RECURSIVE line AS (
    SELECT k.id, k.scopes, k.revoked_at, k.expires_at, k.created_at
    FROM ngsi_subscription s JOIN api_key k ON k.id = s.key_id AND k.user_id = s.account_id WHERE s.id = $1
    UNION
    SELECT k.id, k.scopes, k.revoked_at, k.expires_at, k.created_at
    FROM line JOIN api_key k ON k.rotated_from = line.id
    JOIN ngsi_subscription s ON s.id = $1 AND k.user_id = s.account_id
)
SELECT s.name, s.account_id, s.document, s.headers, s.limits, s.key_id, u.role, u.community_id, u.street_id,
       u.disabled_at IS NOT NULL AS disabled,
       (SELECT scopes FROM line WHERE revoked_at IS NULL AND expires_at > $2 ORDER BY created_at DESC LIMIT 1) AS scopes
FROM ngsi_subscription s JOIN app_user u ON u.id = s.account_id
WHERE s.id = $1 AND s.active

-- name: changed_devices
SELECT d.community_id, d.kind, d.id FROM device d LEFT JOIN device_state s ON s.device_no = d.device_no
WHERE d.community_id = ANY ($1::text[]) AND d.kind = ANY ($2::text[])
  AND (age(s.xmin) <= age($3::text::xid) OR age(d.xmin) <= age($3::text::xid))

-- name: changed_alerts
SELECT DISTINCT community_id, subject FROM outbox
WHERE seq > $2 AND seq <= $3 AND community_id = ANY ($1::text[]) AND type LIKE 'alert.%'

-- name: known
SELECT entity_id, marks FROM ngsi_known
WHERE subscription_id = $1 AND ($2::text[] IS NULL OR entity_id = ANY ($2::text[]))

-- name: signing_keys
-- Those by which the account's webhooks are signed.
SELECT k.sort, k.secret, k.public FROM city_signing_key k JOIN city_subscription s ON s.id = k.subscription_id
WHERE s.account_id = $1 AND s.state = 'active' AND (k.ends_at IS NULL OR k.ends_at > $2)
ORDER BY k.created_at DESC LIMIT 8

-- name: hold
-- The row for this transaction alone, while the lease still holds.
SELECT FROM ngsi_progress WHERE subscription_id = $1 AND lease = $2 FOR UPDATE

-- name: write_known
INSERT INTO ngsi_known (subscription_id, entity_id, marks)
SELECT $1, one.id, one.marks::jsonb FROM unnest($2::text[], $3::text[]) AS one (id, marks)
ON CONFLICT (subscription_id, entity_id) DO UPDATE SET marks = excluded.marks

-- name: drop_known
DELETE FROM ngsi_known WHERE subscription_id = $1 AND entity_id = ANY ($2::text[])

-- name: told
UPDATE ngsi_progress
SET times_sent = times_sent + 1, last_notification = $2, last_success = $2, failures = 0, refusals = 0,
    failing_since = NULL, last_error = NULL, lease_until = $3
WHERE subscription_id = $1

-- name: failed
UPDATE ngsi_progress
SET times_sent = times_sent + 1, times_failed = times_failed + 1, last_notification = $2, last_failure = $2,
    failures = CASE WHEN $6 THEN 0 ELSE failures + 1 END, refusals = CASE WHEN $6 THEN 0 ELSE refusals + $5::integer END,
    failing_since = CASE WHEN $6 THEN NULL ELSE coalesce(failing_since, $2) END, last_error = $3,
    next_at = $4, lease_until = $7
WHERE subscription_id = $1

-- name: attempted
INSERT INTO ngsi_attempt (subscription_id, at, ok, status, error, ms, entities) VALUES ($1, $2, $3, $4, $5, $6, $7)

-- name: close
UPDATE ngsi_subscription SET active = false, state_why = $2 WHERE id = $1

-- name: looked
-- The end of a look at which everything was told.
UPDATE ngsi_progress
SET seen = $3, seq = $4, view = $5, fresh = false, looked_at = coalesce($6, looked_at), next_at = $7, lease = NULL,
    lease_until = NULL, failures = 0, refusals = 0, failing_since = NULL
WHERE subscription_id = $1 AND lease = $2

-- name: release
UPDATE ngsi_progress
SET lease = NULL, lease_until = NULL, next_at = greatest(next_at, $3), last_error = coalesce($4, last_error)
WHERE subscription_id = $1 AND lease = $2

-- name: figures
SELECT count(*) AS active, count(*) FILTER (WHERE p.failures > 0) AS failing
FROM ngsi_subscription s JOIN ngsi_progress p ON p.subscription_id = s.id
WHERE s.active AND (s.expires_at IS NULL OR s.expires_at > $1)
