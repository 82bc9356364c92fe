-- name: fetch_order
SELECT * FROM work_order WHERE id = $1

-- name: lock_order
SELECT * FROM work_order WHERE id = $1 FOR UPDATE

-- name: fetch_history
SELECT version, move, from_state, to_state, at, actor_id, actor_role, reason, detail, idempotency_key
FROM work_order_history WHERE order_id = $1 ORDER BY version

-- name: key_used
SELECT EXISTS (SELECT FROM work_order_history WHERE order_id = $1 AND idempotency_key = $2)

-- name: used_keys
SELECT idempotency_key FROM work_order_history
WHERE order_id = $1 AND idempotency_key LIKE 'escalate:%'

-- name: insert_order
INSERT INTO work_order (
    id, community_id, source, alert_id, parent_id, device_no, building_id, grid_id, kind, severity,
    title_zh, title_en, place, x, y, team, state, version, created_at, correlation,
    assignee_id, rung, returns, dispatched_at, accepted_at, arrived_at, resolved_at, resolved_by, verified_at,
    closed_at, paused_at, accept_due, arrive_due, resolve_due, verify_due
) VALUES (
    $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20,
    $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35
) RETURNING *

-- name: update_order
UPDATE work_order SET
    severity = $3, team = $4, state = $5, version = $6, assignee_id = $7, rung = $8, returns = $9,
    dispatched_at = $10, accepted_at = $11, arrived_at = $12, resolved_at = $13, resolved_by = $14,
    verified_at = $15, closed_at = $16, paused_at = $17,
    accept_due = $18, arrive_due = $19, resolve_due = $20, verify_due = $21
WHERE id = $1 AND version = $2
RETURNING *

-- name: insert_history
INSERT INTO work_order_history (
    order_id, version, move, from_state, to_state, at, actor_id, actor_role, reason, detail, idempotency_key
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::text::jsonb, $11)

-- name: audit
SELECT audit_append($1, $2, $3, $4, $5, $6::text::jsonb)

-- name: overdue_orders
-- Those with no step left to take are not among them: there may be any number, and they would stand before the others.
SELECT o.* FROM work_order o
JOIN community c ON c.id = o.community_id
JOIN unnest($4::text[], $5::integer[], $6::integer[]) AS clock (severity, accept_s, arrive_s) ON clock.severity = o.severity,
LATERAL (
    SELECT
        CASE WHEN o.accepted_at IS NULL THEN o.accept_due ELSE o.arrive_due END AS due,
        CASE WHEN o.accepted_at IS NULL THEN clock.accept_s ELSE clock.arrive_s END * interval '1 s' AS again,
        CASE WHEN o.accepted_at IS NULL THEN 'escalate:accept:%' ELSE 'escalate:arrive:%' END AS keys
) AS running
WHERE o.state NOT IN ('closed', 'cancelled', 'false_alarm', 'merged', 'paused', 'resolved', 'verified')
    AND c.partition = ANY ($1::smallint[])
    AND o.rung < $3
    AND (o.accepted_at IS NULL OR o.arrived_at IS NULL)
    AND running.due <= $2
    AND (
        SELECT count(*) FROM work_order_history h
        WHERE h.order_id = o.id AND h.idempotency_key LIKE running.keys
            AND abs(split_part(h.idempotency_key, ':', 4)::bigint - extract(epoch FROM running.due) * 1000) <= 1
    ) < CASE WHEN running.due + running.again <= $2 THEN 2 ELSE 1 END
ORDER BY coalesce(o.accept_due, o.arrive_due), o.id
LIMIT 200
