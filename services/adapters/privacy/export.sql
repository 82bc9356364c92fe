-- name: person
SELECT p.*, b.name AS building, u.name AS unit, h.room
FROM person AS p
LEFT JOIN household AS h ON h.id = p.household_id
LEFT JOIN unit AS u ON u.id = h.unit_id
LEFT JOIN building AS b ON b.id = u.building_id
WHERE p.id = $1 AND p.erased_at IS NULL

-- name: account
SELECT id, username, display_name, role, created_at, disabled_at FROM app_user WHERE id = $1

-- name: contacts
SELECT c.name, c.relation, c.position, c.created_at, array_agg(DISTINCT n.address) AS addresses
FROM person_contact AS c LEFT JOIN contact_channel AS n ON n.contact_id = c.id
WHERE c.person_id = $1 GROUP BY c.id ORDER BY c.position

-- name: consents
SELECT what, given_by, giver, how, starts_at, ends_at, note, recorded_by, recorded_at, withdrawn_at, withdrawn_by
FROM consent WHERE person_id = $1 ORDER BY recorded_at

-- name: emergency_access
SELECT account_id, account_role, reason, at, until FROM emergency_access WHERE person_id = $1 ORDER BY at

-- name: limits
SELECT subject, rule_id, version, parameters, created_at, created_by, note FROM rule_override
WHERE subject = 'person:' || $1::text ORDER BY rule_id, version

-- name: devices
SELECT d.device_no, d.id, d.kind, d.name, d.place, d.created_at, d.retired_at, s.online, s.last_seen_at
FROM device AS d LEFT JOIN device_state AS s ON s.device_no = d.device_no
WHERE d.person_id = $1 ORDER BY d.id

-- name: baselines
SELECT d.id AS device, v.metric, v.mean, v.spread, v.days, v.refreshed_at
FROM vital_baseline AS v JOIN device AS d ON d.device_no = v.device_no
WHERE d.person_id = $1 AND v.refreshed_at >= worn_since(d.device_no) ORDER BY 1, 2

-- name: events
SELECT d.id AS device, e.ts, e.event, e.data, e.received_at
FROM device_event AS e JOIN device AS d ON d.device_no = e.device_no
WHERE d.person_id = $1 AND e.ts >= worn_since(d.device_no) ORDER BY e.ts

-- name: alerts
SELECT a.id, a.rule_id, a.severity, a.state, a.title_zh, a.why_zh, a.place, a.fired_at, a.cleared_at, a.trigger
FROM alert AS a JOIN device AS d ON d.device_no = a.device_no
WHERE d.person_id = $1 AND a.fired_at >= worn_since(d.device_no) ORDER BY a.fired_at

-- name: answers
SELECT n.alert_id, n.ok, n.note, n.answered_at
FROM alert_answer AS n JOIN alert AS a ON a.id = n.alert_id JOIN device AS d ON d.device_no = a.device_no
WHERE d.person_id = $1 AND a.fired_at >= worn_since(d.device_no) ORDER BY n.answered_at

-- name: orders
SELECT DISTINCT o.number, o.title_zh, o.place, o.state, o.created_at, o.arrived_at, o.closed_at
FROM work_order AS o
LEFT JOIN device AS d ON d.device_no = o.device_no
LEFT JOIN resident_report AS r ON r.order_id = o.id
LEFT JOIN person AS p ON p.account_id = r.reporter_id
WHERE d.person_id = $1 AND o.created_at >= worn_since(d.device_no) OR p.id = $1
ORDER BY o.number

-- name: reports
SELECT r.number, r.category, r.text, r.place, r.contact_name, r.contact_phone, r.created_at, r.rating, r.rating_comment
FROM resident_report AS r JOIN person AS p ON p.account_id = r.reporter_id
WHERE p.id = $1 ORDER BY r.number

-- name: notices
SELECT n.template, n.severity, n.params, n.created_at, n.state, n.sent_at, n.acknowledged_at
FROM notice AS n JOIN person AS p ON n.community_id = p.community_id
WHERE p.id = $1
  AND n.recipient = ANY (ARRAY['person:' || p.id, 'account:' || p.account_id]
                         || ARRAY(SELECT 'contact:' || c.id FROM person_contact AS c WHERE c.person_id = p.id))
ORDER BY n.created_at

-- name: health_reads
SELECT a.at, a.actor_id, a.actor_role, a.action, a.subject, a.detail
FROM audit AS a JOIN person AS p ON a.community_id = p.community_id
WHERE p.id = $1 AND a.action LIKE 'health.%'
  AND (a.detail ->> 'person' = p.id
       OR a.subject IN (SELECT 'device:' || d.id FROM device AS d WHERE d.person_id = p.id)
       OR a.subject = 'person:' || p.id)
ORDER BY a.id

-- name: metrics
SELECT metric FROM catalogue_metric WHERE kind = $1 ORDER BY position

-- name: readings
SELECT ts, vals FROM reading WHERE device_no = $1 AND ts >= worn_since($1) ORDER BY ts
