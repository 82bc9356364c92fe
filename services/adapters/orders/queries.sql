-- name: fetch_order
SELECT * FROM work_order WHERE id = $1

-- name: lock_order
-- NO KEY: what only refers to the order (evidence, notices, reports) never waits for whoever moves it
SELECT * FROM work_order WHERE id = $1 FOR NO KEY UPDATE

-- name: fetch_history
SELECT version, move, from_state, to_state, at, actor_id, actor_role, reason, detail, idempotency_key
FROM work_order_history WHERE order_id = $1 ORDER BY version

-- name: lock_orders
SELECT * FROM work_order WHERE id = ANY ($1::uuid[]) ORDER BY id FOR NO KEY UPDATE

-- name: key_of
SELECT move, detail ->> 'digest' AS digest FROM work_order_history WHERE order_id = $1 AND idempotency_key = $2

-- name: move_alerts
UPDATE alert SET order_id = $2 WHERE order_id = $1

-- name: insert_order
INSERT INTO work_order (
    id, community_id, source, alert_id, parent_id, device_no, building_id, grid_id, kind, title_zh, title_en,
    place, x, y, created_at, correlation, severity, team, state, version, assignee_id, rung, returns,
    dispatched_at, accepted_at, arrived_at, resolved_at, resolved_by, verified_at, closed_at, paused_at,
    accept_due, arrive_due, resolve_due, verify_due, category, external_id, terms, mode, offered, forced, reworks,
    urges, taken, photos_before, photos_after, signatures, on_site, pause_reason, pause_until, paused_s,
    merged_into, rating, call_back, filed_at, file_due, accept_s, arrive_s, resolve_s, verify_s, attention_at,
    ran_s, ran_before_s, ran_at,
    workers
)
SELECT
    r.id, r.community_id, r.source, r.alert_id, r.parent_id, r.device_no, r.building_id, r.grid_id, r.kind,
    r.title_zh, r.title_en, r.place, r.x, r.y, r.created_at, r.correlation, r.severity, r.team, r.state, r.version,
    r.assignee_id, r.rung, r.returns, r.dispatched_at, r.accepted_at, r.arrived_at, r.resolved_at, r.resolved_by,
    r.verified_at, r.closed_at, r.paused_at, r.accept_due, r.arrive_due, r.resolve_due, r.verify_due, r.category,
    r.external_id, r.terms, r.mode, r.offered, r.forced, r.reworks, r.urges, r.taken, r.photos_before,
    r.photos_after, r.signatures, r.on_site, r.pause_reason, r.pause_until, r.paused_s, r.merged_into, r.rating,
    r.call_back, r.filed_at, r.file_due, r.accept_s, r.arrive_s, r.resolve_s, r.verify_s, r.attention_at,
    r.ran_s, r.ran_before_s, r.ran_at,
    r.workers
FROM jsonb_populate_record(NULL::work_order, $1::text::jsonb) r
RETURNING *

-- name: update_order
UPDATE work_order SET (
    severity, team, state, version, assignee_id, rung, returns, dispatched_at, accepted_at, arrived_at,
    resolved_at, resolved_by, verified_at, closed_at, paused_at, accept_due, arrive_due, resolve_due, verify_due,
    terms, mode, offered, forced, reworks, urges, taken, photos_before, photos_after, signatures, on_site,
    pause_reason, pause_until, paused_s, merged_into, rating, call_back, filed_at, file_due, accept_s, arrive_s,
    resolve_s, verify_s, attention_at,
    ran_s, ran_before_s, ran_at, workers
) = (
    SELECT
    r.severity, r.team, r.state, r.version, r.assignee_id, r.rung, r.returns, r.dispatched_at, r.accepted_at,
    r.arrived_at, r.resolved_at, r.resolved_by, r.verified_at, r.closed_at, r.paused_at, r.accept_due,
    r.arrive_due, r.resolve_due, r.verify_due, r.terms, r.mode, r.offered, r.forced, r.reworks, r.urges, r.taken,
    r.photos_before, r.photos_after, r.signatures, r.on_site, r.pause_reason, r.pause_until, r.paused_s,
    r.merged_into, r.rating, r.call_back, r.filed_at, r.file_due, r.accept_s, r.arrive_s, r.resolve_s, r.verify_s,
    r.attention_at, r.ran_s, r.ran_before_s, r.ran_at, r.workers
    FROM jsonb_populate_record(NULL::work_order, $3::text::jsonb) r
)
WHERE id = $1 AND version = $2
RETURNING *

-- name: insert_history
INSERT INTO work_order_history (
    order_id, version, move, from_state, to_state, at, actor_id, actor_role, reason, detail, idempotency_key
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::text::jsonb, $11)

-- name: audit
SELECT audit_append($1, $2, $3, $4, $5, $6::text::jsonb)

-- name: due_orders
SELECT o.attention_at, o.id FROM work_order o
JOIN community c ON c.id = o.community_id
WHERE o.attention_at <= $2 AND c.partition = ANY ($1::smallint[])
    AND ($3::timestamptz IS NULL OR (o.attention_at, o.id) > ($3, $4::uuid))
    AND (o.severity = 'critical') = $5
ORDER BY o.attention_at, o.id
LIMIT $6

-- name: class_in_force
SELECT c.timezone, v.version, v.digest, v.scale, v.until
FROM community c
LEFT JOIN LATERAL (
    SELECT n.version, n.digest, n.scale, n.until
    FROM order_class_version n
    WHERE n.community_id = c.id AND (n.until IS NULL OR n.until > coalesce($2::timestamptz, now()))
    ORDER BY n.version DESC
    LIMIT 1
) v ON true
WHERE c.id = $1

-- name: class_documents
SELECT version, document FROM order_class_version
WHERE community_id = $1 AND version <= $2
ORDER BY version DESC
LIMIT 50

-- name: class_document
SELECT document FROM order_class_version WHERE community_id = $1 AND version = $2

-- name: class_newest
SELECT coalesce(max(version), 0) FROM order_class_version WHERE community_id = $1

-- name: class_standing
SELECT document FROM order_class_version
WHERE community_id = $1 AND until IS NULL
ORDER BY version DESC
LIMIT 1

-- name: class_versions
SELECT version, document, scale, until, created_at, created_by, note FROM order_class_version
WHERE community_id = $1 AND ($2::integer IS NULL OR version < $2)
ORDER BY version DESC
LIMIT $3

-- name: lock_classes
SELECT pg_advisory_xact_lock(hashtextextended($1, 7236017))

-- name: insert_classes
INSERT INTO order_class_version (community_id, version, document, scale, until, created_by, note)
VALUES ($1, $2, $3, $4, $5, $6, $7)

-- name: refresh_attention
UPDATE work_order SET attention_at = $3 WHERE id = $1 AND version = $2
