-- name: insert
INSERT INTO city_subscription (id, account_id, community_id, street_id, name, way, url, format, types, communities,
                               severities, kinds, classes, classes_reason, mark, state, created_by, idempotency_key)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
ON CONFLICT (created_by, idempotency_key) DO NOTHING
RETURNING id

-- name: insert_delivery
INSERT INTO city_delivery (subscription_id, seq)
SELECT $1, coalesce($2::bigint, (SELECT max(seq) FROM outbox), 0)

-- name: by_key
SELECT id FROM city_subscription WHERE created_by = $1 AND idempotency_key = $2

-- name: lock
SELECT version FROM city_subscription WHERE id = $1 FOR UPDATE

-- name: update
UPDATE city_subscription
SET name = $3, url = $4, format = $5, types = $6, communities = $7, severities = $8, kinds = $9, classes = $10,
    classes_reason = $11, mark = $12, state = $13, state_why = '', version = version + 1
WHERE id = $1 AND version = $2
RETURNING version

-- name: resume
UPDATE city_delivery
SET next_at = $2, resumed_at = $2, failures = 0, refusals = 0, attempts = 0, failing_since = NULL, last_error = NULL
WHERE subscription_id = $1

-- name: delete
DELETE FROM city_subscription WHERE id = $1

-- name: subscriptions
SELECT s.id, s.account_id, u.display_name AS account, s.community_id, s.street_id, s.name, s.way, s.url, s.format, s.types,
       s.communities, s.severities, s.kinds, s.classes, s.classes_reason, s.mark, s.state, s.state_why, s.version,
       s.created_at, s.created_by, d.seq, d.replay_seq, d.replay_upto, d.next_at, d.failures, d.failing_since, d.delivered,
       d.delivered_at, d.last_error, d.confirmed,
       CASE WHEN s.way <> 'pull' THEN greatest((SELECT max(seq) FROM outbox) - d.seq, 0) END AS behind,
       CASE WHEN s.way <> 'pull' THEN (SELECT o.at FROM outbox o WHERE o.seq > d.seq ORDER BY o.seq LIMIT 1) END AS behind_since,
       (SELECT count(*) FROM city_dead_letter l WHERE l.subscription_id = s.id AND l.replayed_at IS NULL) AS dead_letters
FROM city_subscription s
JOIN city_delivery d ON d.subscription_id = s.id
LEFT JOIN app_user u ON u.id = s.account_id
WHERE ($1::uuid IS NULL OR s.id = $1)
  AND ($2::text IS NULL OR s.account_id = $2)
  AND ($3::timestamptz IS NULL OR (s.created_at, s.id) < ($3, $4::uuid))
ORDER BY s.created_at DESC, s.id DESC
LIMIT $5

-- name: reach
-- Of a subscription, as its account is now: its settings, and which communities it may hear of.
SELECT s.id, s.account_id, s.name, s.way, s.url, s.format, s.types, s.severities, s.kinds, s.classes, s.mark, s.state,
       u.role, u.disabled_at IS NOT NULL AS disabled,
       ARRAY(SELECT c.id FROM community c
             WHERE (s.communities = '{}' OR c.id = ANY (s.communities))
               AND CASE WHEN u.community_id IS NOT NULL THEN c.id = u.community_id
                        WHEN u.street_id IS NOT NULL THEN c.street_id = u.street_id
                        ELSE u.role = ANY ($2::text[]) END
             ORDER BY c.id) AS communities
FROM city_subscription s JOIN app_user u ON u.id = s.account_id
WHERE s.id = $1

-- name: reached
-- Of these communities, those that an account bound like this reaches.
SELECT id FROM community
WHERE id = ANY ($1::text[])
  AND CASE WHEN $2::text IS NOT NULL THEN id = $2 WHEN $3::text IS NOT NULL THEN street_id = $3 ELSE $4::boolean END

-- name: of_account
SELECT id FROM city_subscription WHERE account_id = $1 ORDER BY created_at LIMIT 2

-- name: bounds
SELECT (SELECT min(seq) FROM outbox) AS oldest, coalesce((SELECT max(seq) FROM outbox), 0) AS head

-- name: rows
SELECT seq, at, type, community_id, subject, data FROM outbox
WHERE seq > $1 AND seq <= $2 AND community_id = ANY ($3::text[]) AND type = ANY ($4::text[])
ORDER BY seq LIMIT $5

-- name: consenting
-- Of these alerts, those whose wearer consents now to what is shown of vitals.
SELECT a.id::text AS id, a.community_id, d.id AS device_id, d.person_id
FROM alert a JOIN device d ON d.device_no = a.device_no JOIN device_consent k ON k.device_no = a.device_no
WHERE a.id = ANY ($1::uuid[]) AND consents_now(k.vitals, k.location, k.worn_since, a.fired_at) & $2::integer = $2::integer

-- name: audit
SELECT audit_append($1, $2, $3, $4, $5, $6::text::jsonb)

-- name: insert_key
INSERT INTO city_signing_key (id, subscription_id, sort, secret, public, created_by) VALUES ($1, $2, $3, $4, $5, $6)

-- name: end_other_keys
UPDATE city_signing_key SET ends_at = $3
WHERE subscription_id = $1 AND id <> $2 AND (ends_at IS NULL OR ends_at > $3)

-- name: end_key
UPDATE city_signing_key SET ends_at = $3
WHERE subscription_id = $1 AND id = $2 AND (ends_at IS NULL OR ends_at > $3)

-- name: keys
SELECT id, sort, public, created_at, created_by, ends_at FROM city_signing_key
WHERE subscription_id = $1 ORDER BY created_at DESC, id

-- name: signing_keys
SELECT sort, secret, public FROM city_signing_key
WHERE subscription_id = $1 AND (ends_at IS NULL OR ends_at > $2) ORDER BY created_at DESC

-- name: attempts
SELECT id, seq, type, at, ok, status, error, ms, sort FROM city_attempt
WHERE subscription_id = $1 AND ($2::bigint IS NULL OR id < $2) AND ($3::boolean IS NULL OR ok = $3)
ORDER BY id DESC LIMIT $4

-- name: dead_letters
SELECT id, seq, upto, type, at, why, attempts, replayed_at FROM city_dead_letter
WHERE subscription_id = $1 AND ($2::bigint IS NULL OR id < $2) AND ($3 OR replayed_at IS NULL)
ORDER BY id DESC LIMIT $4

-- name: ask_test
UPDATE city_delivery SET test_id = $2, next_at = $3 WHERE subscription_id = $1

-- name: ask_replay
UPDATE city_delivery
SET replay_seq = $2::bigint - 1, replay_upto = $3, next_at = $4, resumed_at = $4, failures = 0, refusals = 0, attempts = 0,
    failing_since = NULL
WHERE subscription_id = $1 AND replay_seq IS NULL AND $3 <= seq

-- name: claim
-- What has something to send. Two engines never have the same; one that died loses it when its lease runs out.
WITH due AS (
    SELECT d.subscription_id FROM city_delivery d
    JOIN city_subscription s ON s.id = d.subscription_id
    JOIN app_user u ON u.id = s.account_id
    WHERE s.way = ANY ($6::text[]) AND d.next_at <= $1 AND (d.lease_until IS NULL OR d.lease_until <= $1)
      AND (d.test_id IS NOT NULL
           OR s.state = 'active' AND u.disabled_at IS NULL AND u.role = ANY ($5::text[])
              AND (d.replay_seq IS NOT NULL OR d.seq <> (SELECT coalesce(max(seq), 0) FROM outbox)))
    ORDER BY d.next_at LIMIT $4
    FOR UPDATE OF d SKIP LOCKED
)
UPDATE city_delivery d SET lease = $2, lease_until = $3
FROM due WHERE d.subscription_id = due.subscription_id
RETURNING d.subscription_id, d.seq, d.replay_seq, d.replay_upto, d.failures, d.refusals, d.attempts, d.failing_since,
          d.resumed_at, d.test_id, d.sent_seq, d.ahead

-- name: release
UPDATE city_delivery SET lease = NULL, lease_until = NULL WHERE subscription_id = $1 AND lease = $2

-- name: pass
-- What was filtered out or given up. A range that was replayed to its end is over.
UPDATE city_delivery d
SET seq = CASE WHEN $3 THEN d.seq ELSE $4 END,
    replay_seq = CASE WHEN $3 AND $4 < d.replay_upto THEN $4 WHEN $3 THEN NULL ELSE d.replay_seq END,
    replay_upto = CASE WHEN $3 AND $4 >= d.replay_upto THEN NULL ELSE d.replay_upto END,
    attempts = 0, refusals = 0, next_at = $5, lease_until = $6
WHERE d.subscription_id = $1 AND d.lease = $2
RETURNING d.replay_seq, d.replay_upto, (SELECT s.state FROM city_subscription s WHERE s.id = $1) AS state

-- name: taken
-- The same of what was delivered, with its line of the log and the dead letter it was: one round trip an event.
WITH logged AS (
    INSERT INTO city_attempt (subscription_id, seq, type, at, ok, status, ms, sort)
    VALUES ($1, $4, $7, $5, true, $8, $9, $10)
), raised AS (
    UPDATE city_dead_letter SET replayed_at = $5
    WHERE subscription_id = $1 AND seq = $4 AND upto = $4 AND replayed_at IS NULL
)
UPDATE city_delivery d
SET seq = CASE WHEN $3 THEN d.seq ELSE $4 END,
    replay_seq = CASE WHEN $3 AND $4 < d.replay_upto THEN $4 WHEN $3 THEN NULL ELSE d.replay_seq END,
    replay_upto = CASE WHEN $3 AND $4 >= d.replay_upto THEN NULL ELSE d.replay_upto END,
    attempts = 0, refusals = 0, failures = 0, failing_since = NULL, last_error = NULL,
    delivered = d.delivered + 1, delivered_at = $5, next_at = $5, lease_until = $6, sent_seq = $4, ahead = d.ahead + 1
WHERE d.subscription_id = $1 AND d.lease = $2
RETURNING d.replay_seq, d.replay_upto, (SELECT s.state FROM city_subscription s WHERE s.id = $1) AS state

-- name: fail
UPDATE city_delivery
SET failures = failures + 1, attempts = attempts + $7::integer, refusals = refusals + $3::integer,
    failing_since = coalesce(failing_since, $5), last_error = $6, next_at = $4
WHERE subscription_id = $1 AND lease = $2

-- name: tested
UPDATE city_delivery SET test_id = NULL WHERE subscription_id = $1 AND test_id = $2

-- name: attempted
INSERT INTO city_attempt (subscription_id, seq, type, at, ok, status, error, ms, sort)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)

-- name: bury
INSERT INTO city_dead_letter (subscription_id, seq, upto, type, at, why, attempts) VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (subscription_id, seq) DO UPDATE
SET upto = excluded.upto, at = excluded.at, why = excluded.why, attempts = excluded.attempts, replayed_at = NULL

-- name: disable
UPDATE city_subscription SET state = 'disabled', state_why = $2, version = version + 1 WHERE id = $1 AND state = 'active'

-- name: figures
SELECT count(*) FILTER (WHERE s.state = 'active') AS active,
       count(*) FILTER (WHERE s.state = 'disabled') AS disabled,
       count(*) FILTER (WHERE s.state = 'active' AND d.failures > 0) AS failing,
       coalesce(max((SELECT coalesce(max(seq), 0) FROM outbox) - d.seq) FILTER (WHERE s.state = 'active'), 0) AS behind,
       (SELECT count(*) FROM city_dead_letter WHERE replayed_at IS NULL) AS dead
FROM city_subscription s JOIN city_delivery d ON d.subscription_id = s.id
WHERE s.way = ANY ($1::text[])

-- name: holds
SELECT EXISTS (SELECT FROM city_delivery WHERE subscription_id = $1 AND lease = $2)

-- name: confirm
-- The receiver asks for what is behind this number: it has what is before. Nothing where it asked from there before.
UPDATE city_delivery
SET confirmed = $2, ahead = 0, next_at = least(next_at, $3)
WHERE subscription_id = $1 AND confirmed < $2

-- name: last_attempt
SELECT coalesce(max(id), 0) FROM city_attempt

-- name: forgotten
-- What the broker took behind this line of the log, and may have forgotten, is sent again before anything new; where no
-- line is known, all that it took since a time. Whoever serves such a subscription now stops.
WITH lost AS (
    SELECT a.subscription_id, min(a.seq) AS first, max(a.seq) AS last
    FROM city_attempt a JOIN city_subscription s ON s.id = a.subscription_id
    WHERE s.way = 'mqtt' AND a.ok AND a.sort <> 'test' AND (a.id > $1 OR $1 IS NULL AND a.at > $3)
    GROUP BY a.subscription_id
)
UPDATE city_delivery d
SET replay_seq = least(d.replay_seq, lost.first - 1), replay_upto = greatest(d.replay_upto, lost.last),
    lease = NULL, lease_until = NULL, next_at = $2, resumed_at = $2
FROM lost WHERE d.subscription_id = lost.subscription_id
RETURNING d.subscription_id

-- name: insert_login
INSERT INTO city_broker_login (name, subscription_id, secret_hash, created_by) VALUES ($1, $2, $3, $4)

-- name: logins
SELECT name, created_at, created_by, ends_at FROM city_broker_login WHERE subscription_id = $1 ORDER BY created_at DESC, name

-- name: end_login
UPDATE city_broker_login SET ends_at = $3 WHERE subscription_id = $1 AND name = $2 AND (ends_at IS NULL OR ends_at > $3)

-- name: end_other_logins
UPDATE city_broker_login SET ends_at = $3
WHERE subscription_id = $1 AND name <> $2 AND (ends_at IS NULL OR ends_at > $3)
