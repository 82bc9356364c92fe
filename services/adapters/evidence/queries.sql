-- name: hold_object
SELECT pg_advisory_xact_lock_shared(7236019, hashtext($1))

-- name: lock_object
SELECT pg_advisory_xact_lock(7236019, hashtext($1))

-- name: referred
SELECT EXISTS (
    SELECT FROM evidence WHERE removed_at IS NULL AND sha256 = $1
    UNION ALL
    SELECT FROM evidence WHERE removed_at IS NULL AND thumb_sha256 = $1
)

-- name: by_key
SELECT * FROM evidence WHERE community_id = $1 AND idempotency_key = $2

-- name: by_id
SELECT * FROM evidence WHERE id = $1

-- name: lock_by_id
SELECT * FROM evidence WHERE id = $1 FOR UPDATE

-- name: insert
INSERT INTO evidence (
    id, community_id, order_id, alert_id, sort, phase, sha256, original_sha256, thumb_sha256, media_type, bytes,
    width, height, duration_s, taken_at, claimed, uploaded_at, uploaded_by, uploader_role, place, x, y, latitude,
    longitude, idempotency_key
) VALUES (
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25
)
ON CONFLICT (community_id, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
RETURNING *

-- name: link
UPDATE evidence SET order_id = $2, alert_id = coalesce(alert_id, $3) WHERE id = $1 AND order_id IS NULL RETURNING *

-- name: link_report
UPDATE evidence SET report_id = $2 WHERE id = $1 AND report_id IS NULL RETURNING *

-- name: remove
UPDATE evidence SET removed_at = $2, removed_by = $3, removed_why = $4 WHERE id = $1 AND removed_at IS NULL RETURNING *

-- name: of_order
SELECT e.*, coalesce(p.display_name, e.uploaded_by) AS uploader
FROM evidence AS e
LEFT JOIN app_user AS p ON p.id = e.uploaded_by
WHERE e.order_id IN (SELECT orders_taken_over($1)) AND ($2::timestamptz IS NULL OR (e.uploaded_at, e.id) > ($2, $3::uuid))
ORDER BY e.uploaded_at, e.id
LIMIT $4

-- name: of_alert
SELECT e.*, coalesce(p.display_name, e.uploaded_by) AS uploader
FROM evidence AS e
LEFT JOIN app_user AS p ON p.id = e.uploaded_by
WHERE e.alert_id = $1 OR ($2::uuid IS NOT NULL AND e.order_id IN (SELECT orders_taken_over($2)))
ORDER BY e.uploaded_at, e.id
LIMIT $3

-- name: occurrences
SELECT at, trigger FROM alert_occurrence WHERE alert_id = $1 ORDER BY at DESC, id DESC LIMIT 200

-- name: uploader
SELECT display_name FROM app_user WHERE id = $1

-- name: objects
SELECT DISTINCT encode(o.hash, 'hex') AS name
FROM evidence AS e, LATERAL (VALUES (e.sha256), (e.thumb_sha256)) AS o (hash)
WHERE e.removed_at IS NULL AND o.hash IS NOT NULL
  AND ($1::text IS NULL OR encode(o.hash, 'hex') > $1)
ORDER BY 1 LIMIT 1000

-- name: count_objects
SELECT count(DISTINCT o.hash)
FROM evidence AS e, LATERAL (VALUES (e.sha256), (e.thumb_sha256)) AS o (hash)
WHERE e.removed_at IS NULL AND o.hash IS NOT NULL

-- name: rows_of
SELECT id, order_id FROM evidence
WHERE removed_at IS NULL AND (sha256 = $1 OR thumb_sha256 = $1) ORDER BY uploaded_at LIMIT 20

-- name: let_go_unlinked
UPDATE evidence SET removed_at = $1, removed_by = 'system', removed_why = '未关联工单或上报 · never linked to anything'
WHERE removed_at IS NULL AND order_id IS NULL AND alert_id IS NULL AND report_id IS NULL
  AND uploaded_at < $2
RETURNING id

-- name: site
SELECT c.latitude, c.longitude, coalesce((c.plan ->> 'width')::float8, 0) AS plan_width,
       coalesce((c.plan ->> 'height')::float8, 0) AS plan_height,
       b.x AS building_x, b.y AS building_y, b.width AS building_width, b.depth AS building_depth
FROM community AS c
LEFT JOIN building AS b ON b.id = $2 AND b.community_id = c.id
WHERE c.id = $1

-- name: insert_code
INSERT INTO place_code (id, community_id, building_id, unit_id, place, x, y, created_at, created_by, idempotency_key)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
ON CONFLICT (community_id, idempotency_key) WHERE idempotency_key IS NOT NULL DO NOTHING
RETURNING *

-- name: code_by_key
SELECT * FROM place_code WHERE community_id = $1 AND idempotency_key = $2

-- name: code_by_id
SELECT * FROM place_code WHERE id = $1

-- name: codes
SELECT * FROM place_code
WHERE community_id = $1 AND ($2 OR revoked_at IS NULL)
  AND ($3::timestamptz IS NULL OR (created_at, id) < ($3, $4::uuid))
ORDER BY created_at DESC, id DESC
LIMIT $5

-- name: revoke_code
UPDATE place_code SET revoked_at = $2, revoked_by = $3, replaced_by = $4
WHERE id = $1 AND revoked_at IS NULL RETURNING *

-- name: place_of
SELECT b.id AS building_id, b.name AS building, b.x + b.width / 2 AS x, b.y + b.depth / 2 AS y, u.name AS unit
FROM building AS b
LEFT JOIN unit AS u ON u.id = $3 AND u.building_id = b.id
WHERE b.community_id = $1 AND b.id = $2
