-- name: live_plans
SELECT DISTINCT ON (v.plan_id) v.plan_id, v.version, v.mode, v.document, a.approved_by
FROM plan_version v
LEFT JOIN plan_approval a USING (community_id, plan_id, version)
WHERE v.community_id = $1 AND (a.approved_by IS NOT NULL OR v.mode = 'removed')
ORDER BY v.plan_id, v.version DESC

-- name: place_of
SELECT c.name AS community, c.timezone, c.partition, d.id AS device_id, d.name AS device_name, d.tags AS device_tags,
    d.kind AS device_kind, coalesce($4, d.building_id) AS building_id, d.unit_id, d.household_id, d.floor, d.person_id,
    d.place, coalesce(d.grid_id, b.grid_id) AS grid_id, coalesce((
        SELECT array_agg(DISTINCT tag) FROM person p, unnest(p.tags) AS tag
        WHERE p.household_id = d.household_id), '{}') AS person_tags
FROM community c
LEFT JOIN device d ON d.community_id = c.id AND (d.device_no = $2 OR d.id = $3)
LEFT JOIN building b ON b.id = coalesce($4, d.building_id)
WHERE c.id = $1

-- name: alert_for_plan
SELECT id, community_id, rule_id, family, kind, severity, life_safety, title_zh, title_en, place, device_no,
    building_id, correlation, state <> 'cleared' AS open, (extract(epoch FROM onset_at) * 1000)::bigint AS onset_ms
FROM alert WHERE id = $1

-- name: alert_open
SELECT state <> 'cleared' FROM alert WHERE id = $1

-- name: devices_near
SELECT d.device_no, d.id, d.kind, d.name, d.place, d.building_id, d.unit_id, d.household_id,
    coalesce(d.grid_id, b.grid_id) AS grid_id, d.tags, s.online, coalesce(g.id, d.id) AS publisher,
    coalesce(g.codec, d.codec) AS codec
FROM device d
LEFT JOIN device g ON g.device_no = d.gateway_no
LEFT JOIN building b ON b.id = d.building_id
LEFT JOIN device_states($1) s ON s.device_no = d.device_no
WHERE d.community_id = $1 AND d.retired_at IS NULL
    AND (d.device_no = $2 OR (d.kind = ANY ($3::text[]) AND d.building_id = $4) OR d.kind = ANY ($5::text[]))
ORDER BY d.id

-- name: residents_near
SELECT p.id, p.name, p.household_id, h.unit_id, u.building_id, h.floor
FROM unit u JOIN household h ON h.unit_id = u.id JOIN person p ON p.household_id = h.id
WHERE u.building_id = $1
ORDER BY p.id

-- name: contacts_near
SELECT c.id::text AS id, c.name FROM person p JOIN person_contact c ON c.person_id = p.id
WHERE p.household_id = $1 AND ($2::text IS NULL OR p.id = $2)
ORDER BY c.position, c.created_at, c.id

-- name: accounts_near
SELECT a.id, a.display_name AS name, a.role, a.team, a.grid_id, a.household_id, h.unit_id, u.building_id, h.floor
FROM app_user a LEFT JOIN household h ON h.id = a.household_id LEFT JOIN unit u ON u.id = h.unit_id
WHERE a.community_id = $1 AND a.disabled_at IS NULL AND NOT a.service
    AND (a.role = ANY ($2::text[]) OR a.team = ANY ($3::text[]) OR u.building_id = $4)
ORDER BY a.id

-- name: insert_run
INSERT INTO plan_run (id, community_id, partition, plan_id, version, alert_id, state, approved_by, facts, started_at,
    next_at, ended_at, why, correlation)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::text::jsonb, $10, $11, $12, $13, $14)
ON CONFLICT DO NOTHING
RETURNING id

-- name: save_steps
INSERT INTO plan_step (run_id, step, place, action, state, due_at, requested_at, expires_at, ended_at, result)
SELECT $1, s.step, s.place, s.action, s.state, s.due_at, s.requested_at, s.expires_at, s.ended_at, s.result::jsonb
FROM unnest($2::text[], $3::smallint[], $4::text[], $5::text[], $6::timestamptz[], $7::timestamptz[],
    $8::timestamptz[], $9::timestamptz[], $10::text[])
    AS s (step, place, action, state, due_at, requested_at, expires_at, ended_at, result)
ON CONFLICT (run_id, step) DO UPDATE SET state = excluded.state, due_at = excluded.due_at,
    requested_at = excluded.requested_at, expires_at = excluded.expires_at, ended_at = excluded.ended_at,
    result = excluded.result

-- name: save_run
UPDATE plan_run SET state = $2, next_at = $3, ended_at = $4, why = $5, ended_by = $6 WHERE id = $1 AND state = 'running'

-- name: insert_commands
INSERT INTO command (id, community_id, partition, device_no, name, params, source, run_id, step, requested_by,
    approved_by, dangerous, requested_at, expires_at, send_at, correlation, proof)
SELECT c.id, $2, $3, c.device_no, c.name, c.params::jsonb, 'plan:' || $1::uuid::text, $1::uuid, c.step, $4, $5, c.dangerous,
    $6, c.expires_at, $6, $7, c.proof::jsonb
FROM unnest($8::uuid[], $9::integer[], $10::text[], $11::text[], $12::text[], $13::boolean[], $14::timestamptz[],
    $15::text[]) AS c (id, device_no, name, params, step, dangerous, expires_at, proof)
ON CONFLICT DO NOTHING
RETURNING id

-- name: due_runs
SELECT id, partition FROM plan_run
WHERE partition = ANY ($1::smallint[]) AND state = 'running' AND next_at <= $2
ORDER BY next_at, id LIMIT 200

-- name: lock_run
SELECT id, community_id, partition, plan_id, version, alert_id, state, approved_by, facts, started_at, why,
    correlation, (SELECT document FROM plan_version v WHERE v.community_id = r.community_id AND v.plan_id = r.plan_id
        AND v.version = r.version) AS document
FROM plan_run r WHERE id = $1 FOR UPDATE

-- name: load_steps
SELECT step, state, (extract(epoch FROM due_at) * 1000)::bigint AS due_ms,
    (extract(epoch FROM requested_at) * 1000)::bigint AS requested_ms,
    (extract(epoch FROM expires_at) * 1000)::bigint AS expires_ms,
    (extract(epoch FROM ended_at) * 1000)::bigint AS ended_ms, result
FROM plan_step WHERE run_id = $1 ORDER BY place

-- name: load_answers
SELECT c.step, d.id AS device_id, c.name, c.state, coalesce(c.result->>'detail', '') AS detail
FROM command c JOIN device d USING (device_no) WHERE c.run_id = $1 ORDER BY d.id, c.name

-- name: shown_late
SELECT c.run_id, c.step, s.result, r.alert_id, a.order_id, array_agg(d.id ORDER BY d.id) AS devices, (
    SELECT document FROM plan_version v WHERE v.community_id = r.community_id AND v.plan_id = r.plan_id
        AND v.version = r.version) AS document
FROM command c
JOIN device d USING (device_no)
JOIN plan_step s ON s.run_id = c.run_id AND s.step = c.step
JOIN plan_run r ON r.id = c.run_id
JOIN alert a ON a.id = r.alert_id
WHERE c.id = ANY ($1::uuid[]) AND s.state IN ('timed_out', 'failed') AND a.order_id IS NOT NULL
GROUP BY c.run_id, c.step, s.result, r.community_id, r.plan_id, r.version, r.alert_id, a.order_id

-- name: newest_versions
SELECT DISTINCT ON (v.plan_id) v.plan_id, v.version, v.mode, v.document, v.created_at, v.created_by, v.note,
    a.approved_by, a.approved_at, l.version AS live_version, l.document AS live_document, l.approved_by AS live_approved_by
FROM plan_version v
LEFT JOIN plan_approval a USING (community_id, plan_id, version)
LEFT JOIN LATERAL (
    SELECT w.version, w.mode, w.document, b.approved_by
    FROM plan_version w LEFT JOIN plan_approval b USING (community_id, plan_id, version)
    WHERE w.community_id = v.community_id AND w.plan_id = v.plan_id
        AND (b.approved_by IS NOT NULL OR w.mode = 'removed')
    ORDER BY w.version DESC LIMIT 1
) l ON l.mode = 'live'
WHERE v.community_id = $1 AND ($2::text IS NULL OR v.plan_id = $2)
ORDER BY v.plan_id, v.version DESC

-- name: lock_plan
SELECT pg_advisory_xact_lock(hashtextextended($1 || '|' || $2, 7236003))

-- name: latest_version
SELECT version, mode FROM plan_version WHERE community_id = $1 AND plan_id = $2 ORDER BY version DESC LIMIT 1

-- name: insert_version
INSERT INTO plan_version (community_id, plan_id, version, mode, document, created_by, note)
VALUES ($1, $2, $3, $4, $5, $6, $7)

-- name: fetch_version
SELECT v.version, v.mode, v.document, v.created_by, a.approved_by
FROM plan_version v LEFT JOIN plan_approval a USING (community_id, plan_id, version)
WHERE v.community_id = $1 AND v.plan_id = $2 AND v.version = $3

-- name: insert_approval
INSERT INTO plan_approval (community_id, plan_id, version, approved_by, note) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT DO NOTHING

-- name: list_runs
SELECT r.id, r.community_id, r.plan_id, r.version, r.alert_id, r.state, r.approved_by, r.started_at, r.next_at,
    r.ended_at, r.ended_by, r.why, r.facts->>'place' AS place, r.facts->>'title_zh' AS title_zh,
    r.facts->>'title_en' AS title_en, r.facts->>'rule_id' AS rule_id, r.facts->>'grid_id' AS grid_id,
    consents_now(k.vitals, k.location, k.worn_since, a.fired_at) AS consents
FROM plan_run r
LEFT JOIN alert a ON a.id = r.alert_id
LEFT JOIN device_consent k ON k.device_no = a.device_no
WHERE r.community_id = $1 AND ($2::text IS NULL OR r.plan_id = $2) AND ($3::uuid IS NULL OR r.alert_id = $3)
    AND (NOT $4 OR r.state = 'running') AND ($5::timestamptz IS NULL OR (r.started_at, r.id) < ($5, $6::uuid))
ORDER BY r.started_at DESC, r.id DESC LIMIT $7

-- name: fetch_run
SELECT r.id, r.community_id, r.plan_id, r.version, r.alert_id, r.state, r.approved_by, r.started_at, r.next_at,
    r.ended_at, r.ended_by, r.why, r.facts->>'place' AS place, r.facts->>'title_zh' AS title_zh,
    r.facts->>'title_en' AS title_en, r.facts->>'rule_id' AS rule_id, r.facts->>'grid_id' AS grid_id,
    consents_now(k.vitals, k.location, k.worn_since, a.fired_at) AS consents
FROM plan_run r
LEFT JOIN alert a ON a.id = r.alert_id
LEFT JOIN device_consent k ON k.device_no = a.device_no
WHERE r.id = $1

-- name: run_steps
SELECT step, action, state, due_at, requested_at, expires_at, ended_at, result FROM plan_step
WHERE run_id = $1 ORDER BY place

-- name: run_commands
SELECT c.id, c.step, d.id AS device_id, c.name, c.params, c.dangerous, c.state, c.requested_at, c.expires_at, c.sent_at,
    c.ended_at, c.sends, coalesce(c.result->>'detail', '') AS detail
FROM command c JOIN device d USING (device_no) WHERE c.run_id = $1 ORDER BY c.requested_at, d.id, c.name
