-- name: lock
SELECT pg_try_advisory_lock($1)

-- name: unlock
SELECT pg_advisory_unlock($1)

-- name: abandon
UPDATE rule_proof SET state = 'failed', why = 'the API ended while it ran', ended_at = now() WHERE state = 'running'

-- name: claim
UPDATE rule_proof SET state = 'running', started_at = now()
WHERE id = (SELECT id FROM rule_proof WHERE state = 'waiting' ORDER BY asked_at LIMIT 1)
RETURNING id, community_id, what, from_at, to_at, documents

-- name: progress
UPDATE rule_proof SET progress = least(1, greatest(0, $2::real)) WHERE id = $1

-- name: finish
UPDATE rule_proof SET state = $2, result = $3, why = $4, ended_at = now(), progress = CASE WHEN $2 = 'done' THEN 1 ELSE progress END
WHERE id = $1

-- name: waiting
SELECT count(*) FROM rule_proof WHERE community_id = $1 AND state IN ('waiting', 'running')

-- name: ask
INSERT INTO rule_proof (id, community_id, what, asked_by, from_at, to_at, documents)
VALUES ($1, $2, $3, $4, $5, $6, $7)
RETURNING id, what, asked_at, from_at, to_at, state, progress, result, why, started_at, ended_at

-- name: forget_old
DELETE FROM rule_proof WHERE community_id = $1 AND ended_at IS NOT NULL AND id NOT IN (
    SELECT id FROM rule_proof WHERE community_id = $1 ORDER BY asked_at DESC LIMIT 50)

-- name: one
SELECT id, what, asked_at, from_at, to_at, state, progress, result, why, started_at, ended_at
FROM rule_proof WHERE community_id = $1 AND id = $2
