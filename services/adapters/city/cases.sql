-- name: insert
INSERT INTO city_case (order_id, community_id, account_id, external_id, system, digest, opened_at, due_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)

-- name: cases
-- `state` and all beside it are of the order that it is worked on in
SELECT c.order_id AS id, c.community_id, c.account_id, u.display_name AS account, c.external_id, c.system, c.digest,
       c.opened_at, c.due_at, c.withdrawn_at, o.number, o.title_zh, o.title_en, o.place, o.severity, o.x IS NOT NULL AS located,
       o.state = 'merged' AS joined, w.id AS worked_on, w.state, w.version, w.urges, w.closed_at, w.rating, w.call_back,
       ARRAY(SELECT p.evidence_id FROM city_case_photo p JOIN evidence e ON e.id = p.evidence_id
             WHERE p.order_id = c.order_id AND e.removed_at IS NULL ORDER BY e.uploaded_at, e.id LIMIT 200) AS given
FROM city_case c
JOIN work_order o ON o.id = c.order_id
JOIN work_order w ON w.id = order_worked_on(c.order_id)
LEFT JOIN app_user u ON u.id = c.account_id
WHERE ($1::uuid IS NULL OR c.order_id = $1)
  AND ($2::text IS NULL OR c.account_id = $2)
  AND ($3::text IS NULL OR c.external_id = $3)
  AND ($4::text[] IS NULL OR w.state = ANY ($4))
  AND ($5::boolean IS NULL OR (c.withdrawn_at IS NOT NULL) = $5)
  AND ($6::boolean IS NULL OR (o.state = 'merged') = $6)
  AND ($7::timestamptz IS NULL OR (c.opened_at, c.order_id) < ($7, $8::uuid))
  AND ($10::text IS NULL OR c.community_id = $10)
  AND ($11::boolean IS NULL OR (c.withdrawn_at IS NOT NULL OR w.state = ANY ($12::text[])) = $11)
  AND ($13::timestamptz IS NULL OR c.due_at < coalesce(c.withdrawn_at, w.closed_at, $13))
ORDER BY c.opened_at DESC, c.order_id DESC
LIMIT $9

-- name: worked_on_in
-- The cases that are worked on in this order: its own, and those of orders that were merged into it.
SELECT order_id AS id FROM city_case WHERE order_id IN (SELECT orders_taken_over($1)) ORDER BY opened_at, order_id LIMIT 200

-- name: standing_in
-- Those that whoever opened them still wants done here.
SELECT c.system, c.external_id, coalesce(u.display_name, c.account_id) AS account, c.due_at, o.state = 'merged' AS joined
FROM city_case c
JOIN work_order o ON o.id = c.order_id
LEFT JOIN app_user u ON u.id = c.account_id
WHERE c.order_id IN (SELECT orders_taken_over($1)) AND c.withdrawn_at IS NULL
ORDER BY c.opened_at, c.order_id LIMIT 20

-- name: alone
-- Whether nothing but the case hangs on its order: no resident's report, no alert, no other order.
SELECT NOT EXISTS (SELECT FROM resident_report WHERE order_id = $1 AND withdrawn_at IS NULL)
   AND NOT EXISTS (SELECT FROM alert WHERE order_id = $1)
   AND NOT EXISTS (SELECT FROM work_order WHERE merged_into = $1)

-- name: withdraw
UPDATE city_case SET withdrawn_at = $2 WHERE order_id = $1 AND withdrawn_at IS NULL

-- name: photos
SELECT e.*, p.granted_at
FROM city_case_photo p JOIN evidence e ON e.id = p.evidence_id
WHERE p.order_id = $1 AND ($2::uuid IS NULL OR e.id = $2)
ORDER BY e.uploaded_at, e.id
LIMIT 200

-- name: photo_of
-- A photo of the order that a case is worked on in, with the rule that opened the order it was taken for.
SELECT e.id, e.sort, e.removed_at, o.source, a.rule_id
FROM evidence e JOIN work_order o ON o.id = e.order_id LEFT JOIN alert a ON a.id = o.alert_id
WHERE e.id = $2 AND e.order_id IN (SELECT orders_taken_over(order_worked_on($1)))

-- name: grant_photo
INSERT INTO city_case_photo (order_id, evidence_id, community_id, granted_at, granted_by)
SELECT c.order_id, $2, c.community_id, $3, $4 FROM city_case c WHERE c.order_id = $1
ON CONFLICT DO NOTHING

-- name: take_photo
DELETE FROM city_case_photo WHERE order_id = $1 AND evidence_id = $2
