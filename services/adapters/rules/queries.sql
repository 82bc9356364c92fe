-- name: newest_rules
SELECT r.community_id, r.rule_id, r.version, r.kind, r.mode, r.default_version, r.digest
FROM community AS c
CROSS JOIN LATERAL (
    SELECT DISTINCT ON (v.rule_id) v.community_id, v.rule_id, v.version, v.kind, v.mode, v.default_version, v.digest
    FROM rule_version AS v
    WHERE v.community_id = c.id
    ORDER BY v.rule_id, v.version DESC
) AS r
WHERE ($1::smallint[] IS NULL OR c.partition = ANY ($1)) AND ($2::text IS NULL OR c.id = $2)

-- name: documents
SELECT v.digest, v.document
FROM unnest($1::text[], $2::text[], $3::integer[]) AS n (community_id, rule_id, version)
JOIN rule_version AS v USING (community_id, rule_id, version)

-- name: history
SELECT version, kind, mode, default_version, document, created_at, created_by, note
FROM rule_version
WHERE community_id = $1 AND rule_id = $2
ORDER BY version DESC
LIMIT $3

-- name: last_changes
SELECT DISTINCT ON (rule_id) rule_id, created_at, created_by, note
FROM rule_version
WHERE community_id = $1
ORDER BY rule_id, version DESC

-- name: insert_rule
INSERT INTO rule_version (community_id, rule_id, version, default_version, kind, mode, document, created_by, note)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT DO NOTHING
RETURNING created_at

-- name: newest_overrides
SELECT o.community_id, o.subject, o.rule_id, o.version, o.parameters, o.created_at, o.created_by, o.note
FROM community AS c
CROSS JOIN LATERAL (
    SELECT DISTINCT ON (n.subject, n.rule_id) n.*
    FROM rule_override AS n
    WHERE n.community_id = c.id
    ORDER BY n.subject, n.rule_id, n.version DESC
) AS o
WHERE ($1::smallint[] IS NULL OR c.partition = ANY ($1)) AND ($2::text IS NULL OR c.id = $2)

-- name: newest_override
SELECT community_id, subject, rule_id, version, parameters, created_at, created_by, note
FROM rule_override
WHERE subject = $1 AND rule_id = $2
ORDER BY version DESC
LIMIT 1

-- name: insert_override
INSERT INTO rule_override (community_id, subject, rule_id, version, parameters, created_by, note)
VALUES ($1, $2, $3, $4, $5::text::jsonb, $6, $7)
ON CONFLICT DO NOTHING
RETURNING created_at
