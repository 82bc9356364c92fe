-- name: lock_reader
SELECT seq FROM outbox_reader WHERE name = 'notices' FOR UPDATE SKIP LOCKED

-- name: outbox_rows
SELECT seq, type, community_id, subject, correlation, data FROM outbox WHERE seq > $1 ORDER BY seq LIMIT $2

-- name: orders
SELECT o.*, a.rule_id, a.active_rules
FROM work_order o LEFT JOIN alert a ON a.id = o.alert_id
WHERE o.id = ANY ($1::uuid[])

-- name: entries
SELECT h.order_id, h.version, h.move, h.from_state, h.to_state, h.at, h.actor_id, h.actor_role, h.reason, h.detail
FROM unnest($1::uuid[], $2::integer[]) AS e (order_id, version) JOIN work_order_history h USING (order_id, version)

-- name: alerts
SELECT a.id, a.severity, a.title_zh, a.title_en, a.place, a.rule_id, a.active_rules, d.household_id
FROM alert a LEFT JOIN device d USING (device_no) WHERE a.id = ANY ($1::uuid[])

-- name: accounts
SELECT c.id AS community, c.timezone, a.id, a.role, a.team, a.grid_id, a.household_id
FROM community c
JOIN app_user a ON a.community_id = c.id OR (a.community_id IS NULL AND a.street_id = c.street_id)
    OR (a.community_id IS NULL AND a.street_id IS NULL AND a.role = 'admin')
WHERE c.id = ANY ($1::text[]) AND a.disabled_at IS NULL AND NOT a.service
ORDER BY c.id, a.id

-- name: people_of_homes
SELECT p.household_id, 'person:' || p.id AS recipient
FROM person p WHERE p.household_id = ANY ($1::text[]) AND p.phone IS NOT NULL
UNION ALL
SELECT p.household_id, 'contact:' || c.id
FROM person p JOIN person_contact c ON c.person_id = p.id WHERE p.household_id = ANY ($1::text[])
ORDER BY 1, 2

-- name: reporters
SELECT w.order_id, r.id AS report_id, r.number, r.created_at AS since,
    CASE WHEN r.reporter_id IS NOT NULL THEN 'account:' || r.reporter_id ELSE 'report:' || r.id END AS recipient
FROM unnest($1::uuid[]) AS w (order_id) CROSS JOIN LATERAL orders_taken_over(w.order_id) AS t (id)
JOIN resident_report r ON r.order_id = t.id
WHERE r.withdrawn_at IS NULL AND (r.reporter_id IS NOT NULL OR (r.contact_phone IS NOT NULL AND EXISTS (
    SELECT FROM community_gateway g WHERE g.community_id = r.community_id AND g.sort = 'sms')))
ORDER BY r.created_at, r.id

-- name: insert_notices
INSERT INTO notice (id, seq, community_id, order_id, alert_id, recipient, template, severity, params, turn, correlation,
    created_at, not_before, expires_at, state, next_at)
SELECT n.id, n.seq, n.community_id, n.order_id, n.alert_id, n.recipient, n.template, n.severity, n.params::jsonb,
    n.turn, n.correlation, $1, n.not_before, n.expires_at, CASE WHEN n.over THEN 'cancelled' ELSE 'queued' END,
    CASE WHEN n.over THEN NULL ELSE n.not_before END
FROM unnest($2::uuid[], $3::bigint[], $4::text[], $5::uuid[], $6::uuid[], $7::text[], $8::text[], $9::text[],
    $10::text[], $11::smallint[], $12::text[], $13::timestamptz[], $14::timestamptz[], $15::boolean[])
    AS n (id, seq, community_id, order_id, alert_id, recipient, template, severity, params, turn, correlation,
        not_before, expires_at, over)
ORDER BY n.id
ON CONFLICT DO NOTHING
RETURNING state

-- name: end_notices
UPDATE notice n SET state = CASE WHEN n.state = 'sent' THEN 'sent' ELSE 'cancelled' END, next_at = NULL, lease = NULL
FROM (
    SELECT DISTINCT o.id FROM (
        -- Locked in the order of their ids, as everywhere: two who end what the other ends do not wait for each other.
        SELECT l.id FROM notice l JOIN unnest($1::uuid[], $2::text[], $3::bigint[]) AS e (order_id, template, seq)
            ON l.order_id = e.order_id AND l.template = e.template AND l.seq < e.seq
        WHERE l.next_at IS NOT NULL
        ORDER BY l.id FOR UPDATE OF l
    ) o
) mine
WHERE n.id = mine.id AND n.next_at IS NOT NULL

-- name: end_waits
UPDATE notice n SET next_at = NULL
FROM unnest($1::uuid[], $2::bigint[]) AS e (order_id, seq)
WHERE n.order_id = e.order_id AND n.seq < e.seq AND n.state = 'sent' AND n.next_at IS NOT NULL

-- name: move_reader
UPDATE outbox_reader SET seq = $1, updated_at = clock_timestamp() WHERE name = 'notices'

-- name: claim
WITH due AS (
    SELECT n.id, n.state FROM notice n
    WHERE n.next_at <= $1 AND (n.severity = 'critical' OR n.state <> 'queued' OR NOT EXISTS (
        SELECT FROM notice s WHERE s.recipient = n.recipient AND s.state = 'sending' AND s.severity <> 'critical'
            AND s.next_at > $1))
    ORDER BY n.severity <> 'critical', n.next_at, n.id LIMIT $2 FOR UPDATE OF n SKIP LOCKED
)
UPDATE notice n SET lease = $3, next_at = $1 + make_interval(secs => $4),
    state = CASE WHEN due.state = 'queued' THEN 'sending' ELSE due.state END
FROM due WHERE n.id = due.id
RETURNING n.id, n.seq, n.community_id, n.order_id, n.alert_id, n.recipient, n.channel_id, n.template, n.severity,
    n.params, n.turn, n.correlation, n.created_at, n.expires_at, n.attempts, n.state, n.via

-- name: ways
SELECT r.recipient, c.id, c.sort, c.address, c.language, c.min_severity, c.quiet_from, c.quiet_to, c.position,
    c.verified_at IS NOT NULL AS verified
FROM unnest($1::text[]) AS r (recipient)
JOIN contact_channel c ON c.account_id = substr(r.recipient, 9) AND r.recipient LIKE 'account:%'
JOIN app_user u ON u.id = c.account_id AND u.disabled_at IS NULL
WHERE c.verified_at IS NOT NULL OR c.id = ANY ($2::uuid[])
UNION ALL
SELECT r.recipient, c.id, c.sort, c.address, c.language, c.min_severity, c.quiet_from, c.quiet_to, c.position, true
FROM unnest($1::text[]) AS r (recipient)
JOIN contact_channel c ON 'contact:' || c.contact_id = r.recipient
UNION ALL
SELECT r.recipient, NULL, 'sms', p.phone, 'zh', 'info', NULL, NULL, 1, true
FROM unnest($1::text[]) AS r (recipient)
JOIN person p ON 'person:' || p.id = r.recipient AND p.phone IS NOT NULL
UNION ALL
SELECT r.recipient, NULL, 'sms', q.contact_phone, q.language, 'info', NULL, NULL, 1, true
FROM unnest($1::text[]) AS r (recipient)
JOIN resident_report q ON q.id = CASE WHEN r.recipient LIKE 'report:%' THEN substr(r.recipient, 8)::uuid END
WHERE q.contact_phone IS NOT NULL AND q.withdrawn_at IS NULL
ORDER BY 1, 9, 2

-- name: gateways
SELECT community_id, sort, template FROM community_gateway WHERE community_id = ANY ($1::text[])

-- name: communities
SELECT c.id, c.timezone, EXISTS (SELECT FROM community_gateway g WHERE g.community_id = c.id) OR EXISTS (
    SELECT FROM app_user u JOIN contact_channel k ON k.account_id = u.id
    WHERE u.community_id = c.id AND k.verified_at IS NOT NULL) AS in_use
FROM community c WHERE c.id = ANY ($1::text[])

-- name: sent_lately
SELECT recipient, count(*) AS n, min(sent_at) AS first FROM notice
WHERE recipient = ANY ($1::text[]) AND via = 'channel' AND severity <> 'critical' AND digest_of IS NULL
    AND sent_at > $2 AND created_at > $2::timestamptz - interval '4 days'
GROUP BY recipient

-- name: insert_links
INSERT INTO notice_link (token_hash, notice_id, expires_at)
SELECT l.hash, l.id, l.until FROM unnest($1::bytea[], $2::uuid[], $3::timestamptz[]) AS l (hash, id, until)

-- name: insert_attempts
INSERT INTO notice_attempt (notice_id, channel_id, sort, at, ok, error, ms)
SELECT a.* FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::timestamptz[], $5::boolean[], $6::text[], $7::integer[])
    AS a (notice_id, channel_id, sort, at, ok, error, ms)

-- name: record
UPDATE notice SET state = $3, via = coalesce($4, via), attempts = $5, next_at = $6, last_error = $7,
    sent_at = coalesce($8, sent_at), digest_of = $9, lease = NULL,
    params = CASE WHEN template = 'code' AND $3 <> 'queued' THEN '{}' ELSE params END
WHERE id = $1 AND lease = $2
RETURNING id

-- name: channel_went
UPDATE contact_channel SET failing_since = CASE WHEN $2 THEN NULL ELSE coalesce(failing_since, $3) END
WHERE id = $1 AND (failing_since IS NULL) <> $2

-- name: next_in_turn
UPDATE notice SET next_at = $3 WHERE id = (
    SELECT id FROM notice WHERE seq = $1 AND template = $2 AND state = 'queued' AND turn > 0 AND attempts = 0
        AND next_at > $3
    ORDER BY turn LIMIT 1 FOR UPDATE SKIP LOCKED)

-- name: lock_event
SELECT id, state, via, next_at, recipient, escalated FROM notice
WHERE seq = $1 AND template = $2 ORDER BY id FOR UPDATE

-- name: end_event
UPDATE notice SET escalated = true, next_at = NULL, lease = NULL WHERE seq = $1 AND template = $2

-- name: leave
UPDATE notice SET next_at = NULL, lease = NULL WHERE id = $1

-- name: figures
SELECT (SELECT count(*) FROM notice WHERE next_at IS NOT NULL AND state IN ('queued', 'sending')) AS waiting,
    (SELECT count(*) FROM contact_channel WHERE failing_since IS NOT NULL) AS failing,
    (SELECT coalesce(extract(epoch FROM $1 - min(not_before)), 0) FROM notice
        WHERE next_at <= $1 AND state IN ('queued', 'sending')) AS oldest_s,
    (SELECT count(*) FROM outbox WHERE seq > (SELECT seq FROM outbox_reader WHERE name = 'notices')) AS unread

-- name: recipient_names
SELECT 'account:' || id AS recipient, display_name AS name FROM app_user WHERE 'account:' || id = ANY ($1::text[])
UNION ALL
SELECT 'contact:' || id, name FROM person_contact WHERE 'contact:' || id = ANY ($1::text[])
UNION ALL
SELECT 'person:' || id, name FROM person WHERE 'person:' || id = ANY ($1::text[])

-- name: lock_notice
SELECT id, seq, community_id, order_id, alert_id, recipient, template, state, acknowledged_at FROM notice
WHERE id = $1 FOR UPDATE

-- name: notice_head
SELECT id, order_id, recipient, community_id FROM notice WHERE id = $1

-- name: acknowledge
UPDATE notice SET state = 'acknowledged', acknowledged_at = $2, next_at = NULL, lease = NULL
WHERE (id = $1 OR digest_of = $1) AND acknowledged_at IS NULL AND state NOT IN ('cancelled')
RETURNING id, seq, template, order_id

-- name: end_turns
UPDATE notice SET state = CASE WHEN state = 'queued' THEN 'cancelled' ELSE state END, next_at = NULL
WHERE seq = $1 AND template = $2 AND id <> $3 AND state IN ('queued', 'sent') AND next_at IS NOT NULL

-- name: orders_of_notice
SELECT DISTINCT order_id FROM notice
WHERE (id = $1 OR digest_of = $1) AND order_id IS NOT NULL AND acknowledged_at IS NULL ORDER BY order_id

-- name: page
SELECT n.id, n.community_id, n.order_id, n.alert_id, n.recipient, n.template, n.severity, n.params, n.state, n.via,
    n.digest_of, n.turn, n.attempts, n.last_error, n.created_at, n.not_before, n.sent_at, n.acknowledged_at, n.expires_at,
    n.escalated, o.number,
    coalesce(u.display_name, c.name, p.name, CASE WHEN n.recipient LIKE 'report:%' THEN '上报人 reporter' ELSE '' END) AS name
FROM notice n
LEFT JOIN app_user u ON 'account:' || u.id = n.recipient
LEFT JOIN person_contact c ON 'contact:' || c.id = n.recipient
LEFT JOIN person p ON 'person:' || p.id = n.recipient
LEFT JOIN work_order o ON o.id = n.order_id
WHERE ($1::text IS NULL OR n.community_id = $1) AND ($2::text IS NULL OR n.recipient = $2)
    AND ($3::uuid IS NULL OR n.order_id = $3) AND ($4::text IS NULL OR n.state = $4) AND n.template <> 'code'
    AND (NOT $5 OR (n.acknowledged_at IS NULL AND n.state <> 'cancelled' AND n.not_before <= $6))
    AND ($7::timestamptz IS NULL OR (n.created_at, n.id) < ($7, $8::uuid))
ORDER BY n.created_at DESC, n.id DESC LIMIT $9

-- name: attempts
SELECT notice_id, sort, at, ok, error, ms FROM notice_attempt WHERE notice_id = ANY ($1::uuid[]) ORDER BY id

-- name: home_of_account
SELECT coalesce(u.community_id, (SELECT min(c.id) FROM community c WHERE c.street_id = u.street_id),
    (SELECT min(id) FROM community WHERE u.street_id IS NULL)) FROM app_user u WHERE u.id = $1

-- name: staff_of
SELECT u.id, u.role FROM app_user u
WHERE u.id = $2 AND u.disabled_at IS NULL AND NOT u.service AND u.role NOT IN ('resident', 'merchant', 'visitor')
    AND (u.community_id = $1 OR (u.community_id IS NULL AND u.street_id = (SELECT street_id FROM community WHERE id = $1)))

-- name: lock_account
SELECT id FROM app_user WHERE id = $1 FOR UPDATE

-- name: channels
SELECT id, sort, shown, position, min_severity, quiet_from, quiet_to, language, created_at, verified_at, failing_since
FROM contact_channel WHERE account_id = $1 ORDER BY position, created_at, id

-- name: insert_channel
INSERT INTO contact_channel (id, account_id, contact_id, sort, address, shown, position, min_severity, quiet_from,
    quiet_to, language, verified_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
ON CONFLICT DO NOTHING RETURNING id

-- name: set_channel
UPDATE contact_channel SET position = $3, min_severity = $4, quiet_from = $5, quiet_to = $6, language = $7
WHERE id = $1 AND account_id = $2 RETURNING id

-- name: delete_channel
DELETE FROM contact_channel WHERE id = $1 AND account_id = $2 RETURNING sort

-- name: set_code
UPDATE contact_channel SET code_hash = $3, code_until = $4, code_tries = 0
WHERE id = $1 AND account_id = $2 AND verified_at IS NULL RETURNING id

-- name: codes_lately
SELECT count(*) FROM notice WHERE recipient = 'account:' || $1 AND template = 'code' AND created_at > $2

-- name: insert_code
INSERT INTO notice (id, seq, community_id, recipient, channel_id, template, severity, params, created_at, not_before,
    expires_at, state, next_at)
VALUES ($1, 0, $2, 'account:' || $3, $4, 'code', 'major', jsonb_build_object('code', $5::text), $6, $6, $7, 'queued', $6)

-- name: try_code
UPDATE contact_channel SET code_tries = code_tries + 1
WHERE id = $1 AND account_id = $2 AND verified_at IS NULL AND code_until > $3 AND code_tries < 5
RETURNING code_hash

-- name: verified
UPDATE contact_channel SET verified_at = $2, code_hash = NULL, code_until = NULL WHERE id = $1

-- name: gateways_shown
SELECT sort, template, changed_at, changed_by FROM community_gateway WHERE community_id = $1 ORDER BY sort

-- name: set_gateway
INSERT INTO community_gateway (community_id, sort, template, changed_by) VALUES ($1, $2, $3, $4)
ON CONFLICT (community_id, sort) DO UPDATE SET template = excluded.template, changed_at = now(),
    changed_by = excluded.changed_by

-- name: delete_gateway
DELETE FROM community_gateway WHERE community_id = $1 AND sort = $2 RETURNING sort

-- name: contacts
SELECT c.id, c.person_id, c.name, c.relation, c.position, c.created_at, k.shown AS phone, k.address, k.language,
    (SELECT max(f.failing_since) FROM contact_channel f WHERE f.contact_id = c.id
        HAVING bool_and(f.failing_since IS NOT NULL)) AS failing_since
FROM person_contact c LEFT JOIN LATERAL (
    SELECT one.shown, one.address, one.language FROM contact_channel one
    WHERE one.contact_id = c.id AND one.sort IN ('sms', 'phone') ORDER BY one.position LIMIT 1) AS k ON true
WHERE c.person_id = $1 ORDER BY c.position, c.created_at, c.id

-- name: insert_contact
INSERT INTO person_contact (id, community_id, person_id, name, relation, position, created_by)
VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING RETURNING id

-- name: contact_of
SELECT c.id, c.community_id, c.person_id FROM person_contact c WHERE c.id = $1

-- name: lock_person
SELECT id FROM person WHERE id = $1 FOR UPDATE

-- name: set_contact
UPDATE person_contact SET name = $2, relation = $3 WHERE id = $1

-- name: set_contact_language
UPDATE contact_channel SET language = $2 WHERE contact_id = $1

-- name: set_contact_number
UPDATE contact_channel SET address = $2, shown = $3, failing_since = NULL, verified_at = $4 WHERE contact_id = $1

-- name: drop_messages
DELETE FROM contact_channel WHERE contact_id = $1 AND sort = 'sms'

-- name: order_contacts
UPDATE person_contact SET position = o.place
FROM unnest($2::uuid[]) WITH ORDINALITY AS o (id, place)
WHERE person_contact.id = o.id AND person_contact.person_id = $1

-- name: delete_contact
DELETE FROM person_contact WHERE id = $1

-- name: by_token
SELECT n.id, n.recipient, n.state, n.acknowledged_at, n.params, n.template, n.severity, n.community_id, o.number,
    coalesce(u.display_name, c.name, p.name, '') AS name, k.timezone
FROM notice_link l JOIN notice n ON n.id = l.notice_id JOIN community k ON k.id = n.community_id
LEFT JOIN work_order o ON o.id = n.order_id
LEFT JOIN app_user u ON 'account:' || u.id = n.recipient
LEFT JOIN person_contact c ON 'contact:' || c.id = n.recipient
LEFT JOIN person p ON 'person:' || p.id = n.recipient
WHERE l.token_hash = $1 AND l.expires_at > $2
