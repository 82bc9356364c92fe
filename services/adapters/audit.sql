-- name: count
SELECT count(*) FROM audit WHERE id >= $1

-- name: head
SELECT id, hash FROM audit ORDER BY id DESC LIMIT 1

-- name: row
SELECT id, hash FROM audit WHERE id = $1

-- name: rows
SELECT a.id, a.at, a.actor_id, a.actor_role, a.community_id, a.action, a.subject, a.detail::text AS detail, a.previous,
       a.hash, audit_hash(a.previous, a) AS computed
FROM audit AS a WHERE a.id > $1 ORDER BY a.id LIMIT $2

-- name: moved_from
SELECT s.id - 1 FROM audit AS s, audit AS a
WHERE a.id = $1 AND s.previous = $2 AND s.id <> $1 + 1
  AND audit_hash(a.previous, ROW (s.id - 1, a.at, a.actor_id, a.actor_role, a.community_id, a.action, a.subject,
        a.detail, a.previous, a.hash)::audit) = a.hash
LIMIT 1

-- name: continues
SELECT s.previous = $2 FROM audit AS s WHERE s.id = $1 + 1

-- name: list
SELECT a.id, a.at, a.actor_id, a.actor_role, a.community_id, a.action, a.subject, a.detail::text AS detail
FROM audit AS a
WHERE ($1::text IS NULL OR a.actor_id = $1)
  AND ($2::text IS NULL OR starts_with(a.action, $2))
  AND ($3::text IS NULL OR starts_with(a.subject, $3))
  AND ($4::text IS NULL OR a.community_id = $4)
  AND ($5::timestamptz IS NULL OR a.at >= $5)
  AND ($6::timestamptz IS NULL OR a.at < $6)
ORDER BY a.id DESC
LIMIT $7
