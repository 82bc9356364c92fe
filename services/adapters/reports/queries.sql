-- name: lock_community
SELECT pg_advisory_xact_lock(hashtextextended('resident_report:' || $1, 0))

-- name: by_key
SELECT * FROM resident_report WHERE community_id = $1 AND idempotency_key = $2

-- name: standing
SELECT o.id AS order_id, o.state, o.severity, coalesce(r.created_at, o.created_at) AS at,
       CASE WHEN r.id IS NULL THEN o.building_id ELSE r.building_id END AS building_id, r.unit_id, r.household_id,
       CASE WHEN r.id IS NULL THEN coalesce(o.x, d.x) ELSE r.x END AS x,
       CASE WHEN r.id IS NULL THEN coalesce(o.y, d.y) ELSE r.y END AS y
FROM work_order o
LEFT JOIN resident_report r ON r.order_id = o.id AND r.withdrawn_at IS NULL AND r.category = ANY ($2::text[])
LEFT JOIN device d ON d.device_no = o.device_no
WHERE o.community_id = $1 AND o.state NOT IN ('cancelled', 'false_alarm', 'merged')
  AND (r.id IS NOT NULL OR o.category = ANY ($2::text[]) OR (o.kind = ANY ($3::text[]) AND o.source = 'alert'))
  AND coalesce(r.created_at, o.created_at) >= $4
ORDER BY at DESC
LIMIT 500

-- name: insert_report
INSERT INTO resident_report (
    id, community_id, order_id, category, text, place, building_id, unit_id, household_id, grid_id, x, y, reporter_id,
    token_hash, contact_name, contact_phone, language, created_at, joined, idempotency_key, digest
) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21)
RETURNING *

-- name: report
SELECT r.*, order_worked_on(r.order_id) AS worked_on_id FROM resident_report r WHERE r.id = $1

-- name: lock_report
SELECT r.*, order_worked_on(r.order_id) AS worked_on_id FROM resident_report r WHERE r.id = $1 FOR UPDATE

-- name: mine
SELECT r.*, o.number AS order_number, o.state, o.filed_at, o.reworks, o.resolved_at, o.id AS worked_on_id
FROM resident_report r JOIN work_order o ON o.id = order_worked_on(r.order_id)
WHERE r.reporter_id = $1 AND ($2::timestamptz IS NULL OR (r.created_at, r.id) < ($2, $3::uuid))
ORDER BY r.created_at DESC, r.id DESC
LIMIT $4

-- name: of_community
SELECT r.*, o.number AS order_number, o.state, o.filed_at, o.file_due, o.reworks, o.resolved_at, o.version,
       o.team, o.severity, o.id AS worked_on_id
FROM resident_report r JOIN work_order o ON o.id = order_worked_on(r.order_id)
WHERE r.community_id = $1
  AND ($2::text IS NULL OR r.category = $2)
  AND ($3::text = 'all'
       OR ($3 = 'open' AND o.state NOT IN ('closed', 'cancelled', 'false_alarm', 'merged'))
       OR ($3 = 'unfiled' AND o.state = 'created')
       OR ($3 = 'unsatisfied' AND r.satisfied IS FALSE AND (r.called_back_at IS NULL
           OR r.called_back_at < coalesce(r.rating_changed_at, r.rated_at))))
  AND ($4::text IS NULL OR r.building_id = $4)
  AND ($5::timestamptz IS NULL OR (r.created_at, r.id) < ($5, $6::uuid))
ORDER BY r.created_at DESC, r.id DESC
LIMIT $7

-- name: of_order
SELECT r.*, order_worked_on(r.order_id) AS worked_on_id FROM resident_report r
WHERE r.order_id IN (SELECT orders_taken_over($1))
ORDER BY r.created_at, r.id

-- name: notes
SELECT report_id, at, by_reporter, text FROM report_note WHERE report_id = ANY ($1::uuid[]) ORDER BY report_id, id

-- name: insert_note
INSERT INTO report_note (report_id, at, by_reporter, text, idempotency_key) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (report_id, idempotency_key) DO NOTHING
RETURNING id

-- name: count_notes
SELECT count(*) FROM report_note WHERE report_id = $1

-- name: set_rating
UPDATE resident_report
SET rating = $2, satisfied = $3, rating_comment = $4, rated_at = CASE WHEN $6 THEN $5 ELSE rated_at END,
    rating_changed_at = CASE WHEN $6 THEN NULL ELSE $5 END,
    reworked_at = CASE WHEN $7 THEN $5 ELSE reworked_at END
WHERE id = $1
RETURNING *

-- name: ratings
SELECT r.rating FROM resident_report r
WHERE r.order_id IN (SELECT orders_taken_over($1)) AND r.rating IS NOT NULL AND r.rated_at >= $2

-- name: withdraw
UPDATE resident_report SET withdrawn_at = $2 WHERE id = $1 AND withdrawn_at IS NULL RETURNING *

-- name: others
-- Whatever else hangs on the order: reports of others, alerts, and orders that were merged into it.
SELECT (SELECT count(*) FROM resident_report
        WHERE order_id IN (SELECT orders_taken_over($1)) AND id <> $2 AND withdrawn_at IS NULL)
     + (SELECT count(*) FROM alert WHERE order_id = $1)
     + (SELECT count(*) FROM work_order WHERE merged_into = $1 AND source <> 'resident')

-- name: urged
UPDATE resident_report SET urged_at = $2 WHERE id = $1

-- name: lead_to
UPDATE resident_report SET order_id = $2, joined = true WHERE id = $1

-- name: recategorise
UPDATE resident_report SET category = $2 WHERE order_id = $1

-- name: called_back
UPDATE resident_report
SET call_back = $2, call_back_note = $3, called_back_at = $4, called_back_by = $5
WHERE id = $1

-- name: awaiting_call_back
SELECT o.id, o.number, o.title_zh, o.title_en, o.place, o.state, o.version, o.severity, o.resolved_at, o.closed_at,
       o.rating, o.call_back, o.reworks, count(*) AS reports, bool_or(r.satisfied IS FALSE) AS complained
FROM resident_report r JOIN work_order o ON o.id = order_worked_on(r.order_id)
WHERE r.community_id = $1 AND r.withdrawn_at IS NULL AND o.state IN ('resolved', 'verified', 'closed')
  AND (r.reporter_id IS NOT NULL OR r.contact_phone IS NOT NULL)
  AND (o.call_back IS NULL OR r.called_back_at IS NULL
       OR r.called_back_at < coalesce(r.rating_changed_at, r.rated_at, r.called_back_at)
       OR r.called_back_at < o.resolved_at)
  AND ($2::timestamptz IS NULL OR (o.resolved_at, o.id) > ($2, $3::uuid))
GROUP BY o.id
ORDER BY o.resolved_at, o.id
LIMIT $4

-- name: reporters_of
SELECT r.id AS report_id, r.number, r.reporter_id, r.contact_name, r.contact_phone, r.language, r.category, r.created_at
FROM resident_report r
WHERE r.order_id IN (SELECT orders_taken_over($1)) AND r.withdrawn_at IS NULL
ORDER BY r.created_at, r.id

-- name: erase_contacts
WITH old AS (
    SELECT r.id FROM resident_report r JOIN work_order o ON o.id = order_worked_on(r.order_id)
    WHERE (r.contact_name IS NOT NULL OR r.contact_phone IS NOT NULL)
      AND o.state IN ('closed', 'cancelled', 'false_alarm') AND o.closed_at < $1
    ORDER BY r.id
    LIMIT $2
    FOR UPDATE OF r SKIP LOCKED
)
UPDATE resident_report r SET contact_name = NULL, contact_phone = NULL, contact_erased_at = $3
FROM old WHERE r.id = old.id
RETURNING r.id

-- name: place
SELECT b.id AS building_id, b.name AS building_name, b.grid_id, b.x + b.width / 2 AS x, b.y + b.depth / 2 AS y,
       u.id AS unit_id, u.name AS unit_name, h.id AS household_id, h.room
FROM building b
LEFT JOIN unit u ON u.building_id = b.id AND u.id = $3
LEFT JOIN household h ON h.unit_id = u.id AND h.id = $4
WHERE b.community_id = $1 AND b.id = $2

-- name: home
SELECT b.id AS building_id, u.id AS unit_id, h.id AS household_id
FROM household h JOIN unit u ON u.id = h.unit_id JOIN building b ON b.id = u.building_id
WHERE h.community_id = $1 AND h.id = $2

-- name: around_pin
SELECT id AS building_id FROM building
WHERE community_id = $1 AND $2 BETWEEN x AND x + width AND $3 BETWEEN y AND y + depth
ORDER BY id LIMIT 1

-- name: plan_size
SELECT (plan ->> 'width')::float8 AS width, (plan ->> 'height')::float8 AS height FROM community WHERE id = $1

-- name: rule_statistics
WITH raised AS (
    SELECT a.id, a.device_no, a.order_id, o.state AS order_state
    FROM alert a LEFT JOIN work_order o ON o.id = order_worked_on(a.order_id)
    WHERE a.community_id = $1 AND a.rule_id = $2 AND a.fired_at >= $3 AND NOT a.shadow
)
SELECT d.id AS device_id, grouping(d.id) = 1 AS whole, count(*) AS alerts, count(DISTINCT r.order_id) AS orders,
       count(DISTINCT r.order_id) FILTER (WHERE r.order_state IN ('closed', 'false_alarm')) AS ended,
       count(DISTINCT r.order_id) FILTER (WHERE r.order_state = 'false_alarm') AS false_alarms
FROM raised r LEFT JOIN device d ON d.device_no = r.device_no
GROUP BY GROUPING SETS ((), (d.id))
ORDER BY grouping(d.id) DESC, false_alarms DESC, alerts DESC, d.id
LIMIT $4

-- name: false_alarm_shares
SELECT a.rule_id, count(DISTINCT o.id) FILTER (WHERE o.state IN ('closed', 'false_alarm')) AS ended,
       count(DISTINCT o.id) FILTER (WHERE o.state = 'false_alarm') AS false_alarms
FROM alert a JOIN work_order o ON o.id = a.order_id
WHERE a.community_id = $1 AND a.fired_at >= $2 AND NOT a.shadow
GROUP BY a.rule_id

-- name: key_used
SELECT EXISTS (SELECT FROM work_order_history WHERE order_id = $1 AND idempotency_key = $2)

-- name: photos
SELECT e.* FROM evidence e
WHERE e.removed_at IS NULL AND e.sort = 'photo'
  AND (e.report_id = ANY ($1::uuid[]) OR (e.order_id = $2 AND e.phase = 'after' AND e.report_id IS NULL))
ORDER BY e.uploaded_at, e.id
LIMIT 500
