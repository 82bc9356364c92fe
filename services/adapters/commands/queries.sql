-- name: target
SELECT d.device_no, d.id AS device_id, d.kind, d.name, d.interval_s, d.community_id, c.street_id, c.partition,
    coalesce(d.grid_id, b.grid_id) AS grid_id, coalesce(g.codec, d.codec) AS codec, d.retired_at IS NOT NULL AS retired
FROM device d JOIN community c ON c.id = d.community_id
LEFT JOIN building b ON b.id = d.building_id
LEFT JOIN device g ON g.device_no = d.gateway_no
WHERE d.id = $1

-- name: targets
SELECT d.device_no, d.id AS device_id, d.kind, d.name, d.interval_s, d.community_id, c.street_id, c.partition,
    coalesce(d.grid_id, b.grid_id) AS grid_id, coalesce(g.codec, d.codec) AS codec, d.retired_at IS NOT NULL AS retired
FROM device d JOIN community c ON c.id = d.community_id
LEFT JOIN building b ON b.id = d.building_id
LEFT JOIN device g ON g.device_no = d.gateway_no
WHERE d.community_id = $1 AND d.kind = ANY ($2::text[]) AND d.retired_at IS NULL
    AND ($3::text[] IS NULL OR d.id = ANY ($3))
    AND (cardinality($4::text[]) = 0 OR d.building_id = ANY ($4))
    AND (cardinality($5::text[]) = 0 OR coalesce(d.grid_id, b.grid_id) = ANY ($5))
    AND d.tags @> $6::text[]
ORDER BY d.id LIMIT $7

-- name: insert
INSERT INTO command (id, community_id, partition, device_no, name, params, source, requested_by, approved_by,
    dangerous, emergency, why, state, requested_at, expires_at, send_at, lives_s, proof, batch_id, correlation)
SELECT n.id, $1, $2, n.device_no, $3, n.params::jsonb, $4, $5, NULL, $6, $7, $8, $9, $10, n.expires_at, n.send_at,
    n.lives_s, n.proof::jsonb, $11, n.id::text
FROM unnest($12::uuid[], $13::integer[], $14::text[], $15::timestamptz[], $16::timestamptz[], $17::integer[],
    $18::text[]) AS n (id, device_no, params, expires_at, send_at, lives_s, proof)
ON CONFLICT DO NOTHING
RETURNING id

-- name: fetch
SELECT c.id, c.community_id, c.device_no, d.id AS device_id, d.kind, d.name AS device_name, d.place, c.name, c.params,
    c.source, c.run_id, c.step, c.batch_id, c.dangerous, c.emergency, c.why, c.state, c.version, c.requested_by,
    coalesce(asker.display_name, c.requested_by) AS requested_name, c.requested_at, c.approved_by,
    coalesce(second.display_name, c.approved_by) AS approved_name, c.approved_at, c.expires_at, c.sent_at, c.sends,
    c.ended_at, c.confirm_by, c.lives_s, c.moved_why, coalesce(c.result->>'detail', '') AS detail, c.reviewed_by,
    coalesce(judge.display_name, c.reviewed_by) AS reviewed_name, c.reviewed_at, c.verdict,
    coalesce(c.review_note, '') AS review_note, c.correlation, m.street_id, coalesce(d.grid_id, b.grid_id) AS grid_id
FROM command c JOIN device d USING (device_no) JOIN community m ON m.id = c.community_id
LEFT JOIN building b ON b.id = d.building_id
LEFT JOIN app_user asker ON asker.id = c.requested_by
LEFT JOIN app_user second ON second.id = c.approved_by
LEFT JOIN app_user judge ON judge.id = c.reviewed_by
WHERE c.id = $1

-- name: lock
SELECT id FROM command WHERE id = $1 FOR UPDATE

-- name: page
SELECT c.id, c.community_id, c.device_no, d.id AS device_id, d.kind, d.name AS device_name, d.place, c.name, c.params,
    c.source, c.run_id, c.step, c.batch_id, c.dangerous, c.emergency, c.why, c.state, c.version, c.requested_by,
    coalesce(asker.display_name, c.requested_by) AS requested_name, c.requested_at, c.approved_by,
    coalesce(second.display_name, c.approved_by) AS approved_name, c.approved_at, c.expires_at, c.sent_at, c.sends,
    c.ended_at, c.confirm_by, c.lives_s, c.moved_why, coalesce(c.result->>'detail', '') AS detail, c.reviewed_by,
    coalesce(judge.display_name, c.reviewed_by) AS reviewed_name, c.reviewed_at, c.verdict,
    coalesce(c.review_note, '') AS review_note, c.correlation, m.street_id, coalesce(d.grid_id, b.grid_id) AS grid_id
FROM command c JOIN device d USING (device_no) JOIN community m ON m.id = c.community_id
LEFT JOIN building b ON b.id = d.building_id
LEFT JOIN app_user asker ON asker.id = c.requested_by
LEFT JOIN app_user second ON second.id = c.approved_by
LEFT JOIN app_user judge ON judge.id = c.reviewed_by
WHERE c.community_id = $1 AND ($2::text IS NULL OR d.id = $2) AND ($3::uuid IS NULL OR c.batch_id = $3)
    AND (NOT $4 OR c.ended_at IS NULL) AND (NOT $5 OR (c.emergency AND c.reviewed_by IS NULL))
    AND ($6::text[] IS NULL OR c.state = ANY ($6)) AND ($7::text IS NULL OR coalesce(d.grid_id, b.grid_id) = $7)
    AND (NOT $8 OR c.batch_id IS NULL)
    AND ($9::timestamptz IS NULL OR (c.requested_at, c.id) < ($9, $10::uuid))
ORDER BY c.requested_at DESC, c.id DESC LIMIT $11

-- name: history
SELECT h.version, h.move, h.from_state, h.to_state, h.at, h.by, coalesce(u.display_name, h.by) AS by_name, h.why
FROM command_history h LEFT JOIN app_user u ON u.id = h.by WHERE h.command_id = $1 ORDER BY h.version

-- name: strays_of
SELECT s.id, d.id AS device_id, s.named, s.command_id, s.reason, s.ok, s.detail, s.first_at, s.last_at, s.times
FROM command_stray s JOIN device d USING (device_no)
WHERE s.community_id = $1 AND ($2::uuid IS NULL OR s.command_id = $2)
    AND ($3::timestamptz IS NULL OR (s.last_at, s.id) < ($3, $4::bigint))
ORDER BY s.last_at DESC, s.id DESC LIMIT $5

-- name: approve
UPDATE command SET state = 'queued', approved_by = $2, approved_at = $3::timestamptz, send_at = $3::timestamptz,
    expires_at = $3::timestamptz + make_interval(secs => lives_s), moved_at = $3::timestamptz, moved_by = $2, moved_why = $4
WHERE id = $1 AND state = 'awaiting' AND expires_at > $3::timestamptz
RETURNING id

-- name: close
UPDATE command SET state = $2, ended_at = $3::timestamptz, send_at = NULL, moved_at = $3::timestamptz, moved_by = $4, moved_why = $5
WHERE id = $1 AND state IN ('awaiting', 'queued') AND sends = 0
RETURNING id

-- name: review
UPDATE command SET reviewed_by = $2, reviewed_at = $3::timestamptz, verdict = $4, review_note = $5, moved_at = $3::timestamptz, moved_by = $2,
    moved_why = $4
WHERE id = $1 AND emergency AND reviewed_by IS NULL
RETURNING id

-- name: due
SELECT c.id, c.name, c.dangerous, c.emergency, c.source, c.requested_by, c.approved_by, c.state, c.sends, d.kind,
    c.community_id, m.street_id, coalesce(d.grid_id, b.grid_id) AS grid_id
FROM command c JOIN device d USING (device_no) JOIN community m ON m.id = c.community_id
LEFT JOIN building b ON b.id = d.building_id
WHERE c.partition = ANY ($1::smallint[]) AND c.send_at <= $2::timestamptz AND c.expires_at > $2::timestamptz + interval '100 milliseconds'
ORDER BY c.send_at, c.id LIMIT 200 FOR UPDATE OF c SKIP LOCKED

-- name: people
SELECT id, username, display_name, role, team, community_id, street_id, grid_id, household_id, leads, service
FROM app_user WHERE id = ANY ($1::text[]) AND disabled_at IS NULL ORDER BY id FOR SHARE

-- name: put
UPDATE command c
SET sends = c.sends + 1, moved_at = $2::timestamptz, moved_by = 'sender', moved_why = '',
    send_at = CASE WHEN c.sends + 1 < $3 THEN $2::timestamptz + make_interval(secs => least(15, 3 * power(2, least(c.sends, 3)))) END,
    first_put_at = coalesce(c.first_put_at, $2::timestamptz),
    seen_ms = CASE WHEN c.first_put_at IS NULL THEN epoch_ms(s.vals_ts) ELSE c.seen_ms END
FROM device d LEFT JOIN device g ON g.device_no = d.gateway_no LEFT JOIN device_state s ON s.device_no = d.device_no
WHERE c.id = ANY ($1::uuid[]) AND d.device_no = c.device_no
RETURNING c.id, c.community_id, d.id AS device_id, coalesce(g.id, d.id) AS publisher, c.name, c.params, c.correlation,
    (extract(epoch FROM c.requested_at) * 1000)::bigint AS requested_ms,
    (extract(epoch FROM c.expires_at) * 1000)::bigint AS expires_ms

-- name: withdraw
UPDATE command SET state = 'refused', ended_at = $3::timestamptz, send_at = NULL, moved_at = $3::timestamptz, moved_by = 'system', moved_why = $2
WHERE id = $1 AND state = 'queued' AND sends = 0
RETURNING id

-- name: rest
UPDATE command SET send_at = NULL WHERE id = ANY ($1::uuid[])

-- name: mark_sent
-- Sent, answered, confirmed: each was timed before it got to the row, where the next may have been already.
UPDATE command SET state = 'sent', sent_at = $2::timestamptz, moved_at = greatest($2::timestamptz, moved_at), moved_by = 'broker',
    moved_why = ''
WHERE id = ANY ($1::uuid[]) AND state = 'queued'
RETURNING id

-- name: lock_runs
SELECT id FROM plan_run
WHERE id IN (SELECT run_id FROM command WHERE id = ANY ($1::uuid[])) ORDER BY id FOR UPDATE

-- name: answer
UPDATE command c
SET state = CASE WHEN a.state = 'done' AND c.proof IS NOT NULL THEN 'executed' ELSE a.state END,
    send_at = NULL,
    -- It may answer before it is written down that the broker has it.
    sent_at = coalesce(c.sent_at, c.first_put_at),
    ended_at = CASE WHEN a.state = 'acknowledged' OR (a.state = 'done' AND c.proof IS NOT NULL) THEN NULL
        ELSE greatest($6::timestamptz, c.moved_at) END,
    confirm_by = CASE WHEN a.state = 'done' AND c.proof IS NOT NULL
        THEN $6::timestamptz + make_interval(secs => 2 * d.interval_s + 60) END,
    -- What a wearer's device says is about the wearer.
    result = jsonb_build_object('ok', a.state <> 'failed', 'at', a.at,
        'detail', CASE WHEN d.kind = 'wristband' THEN '' ELSE left(a.detail, 200) END),
    moved_at = greatest($6::timestamptz, c.moved_at), moved_by = 'device:' || d.id,
    moved_why = CASE WHEN d.kind = 'wristband' THEN '' ELSE left(a.detail, 200) END
FROM unnest($1::uuid[], $2::integer[], $3::text[], $4::text[], $5::timestamptz[]) AS a (id, device_no, state, detail, at),
    device d
WHERE c.id = a.id AND c.state IN ('queued', 'sent', 'acknowledged') AND c.sends > 0 AND c.expires_at > $6::timestamptz
    AND c.state <> a.state AND d.device_no = c.device_no AND a.device_no IN (d.device_no, d.gateway_no)
RETURNING c.id

-- name: strays
INSERT INTO command_stray (community_id, device_no, named, command_id, reason, ok, detail, first_at, last_at)
SELECT DISTINCT ON (d.device_no, left(r.named, 64)) d.community_id, d.device_no, left(r.named, 64), c.id,
    CASE WHEN c.id IS NULL THEN 'unknown' WHEN d.device_no NOT IN (t.device_no, coalesce(t.gateway_no, t.device_no))
        THEN 'foreign' WHEN c.sends = 0 THEN 'unsent' ELSE 'late' END,
    r.ok, CASE WHEN d.kind = 'wristband' OR t.kind = 'wristband' THEN '' ELSE left(r.detail, 200) END, $1::timestamptz, $1::timestamptz
FROM unnest($2::text[], $3::uuid[], $4::integer[], $5::boolean[], $6::text[]) AS r (named, id, device_no, ok, detail)
JOIN device d ON d.device_no = r.device_no
LEFT JOIN command c ON c.id = r.id AND c.community_id = d.community_id
LEFT JOIN device t ON t.device_no = c.device_no
-- A device says again what it said before whenever it hears a command again: that is no stray.
WHERE NOT (c.id IS NOT NULL AND d.device_no IN (t.device_no, coalesce(t.gateway_no, t.device_no)) AND c.sends > 0
        AND c.state NOT IN ('expired', 'cancelled', 'refused')
        AND CASE WHEN c.ended_at IS NULL THEN c.state = 'executed' OR c.expires_at > $1::timestamptz
            ELSE r.ok = (c.state <> 'failed') END)
    AND (SELECT count(*) FROM command_stray o WHERE o.device_no = d.device_no) < $7
ON CONFLICT (device_no, named, reason) DO UPDATE SET times = command_stray.times + 1, last_at = excluded.last_at
RETURNING reason

-- name: confirm
WITH shown AS (
    SELECT c.id FROM command c JOIN device_state s USING (device_no)
    -- A reading shows how it is, not why: it is a proof only beside the device's word that it did this very command.
    WHERE c.partition = ANY ($1::smallint[]) AND c.proof ? 'at' AND c.state = 'executed'
        AND s.vals[(c.proof->>'at')::integer] BETWEEN (c.proof->>'low')::float8 AND (c.proof->>'high')::float8
        AND coalesce(s.vals_at[(c.proof->>'at')::integer], epoch_ms(s.vals_ts))
            > greatest(coalesce(c.seen_ms, 0), epoch_ms(c.first_put_at) - 300000)
    UNION
    SELECT c.id FROM command c JOIN device_event e ON e.device_no = c.device_no AND e.event = c.proof->>'event'
    WHERE c.partition = ANY ($1::smallint[]) AND c.proof ? 'event' AND c.sends > 0
        AND c.state IN ('queued', 'sent', 'acknowledged', 'executed')
        -- What has not ended was sent in the last minutes: the bound of the second line keeps old chunks out of the plan.
        AND e.ts > c.first_put_at - interval '1 day' AND e.data->>'command' = c.id::text
        AND e.ts > $2::timestamptz - interval '2 days'
)
SELECT id FROM shown

-- name: confirmed
UPDATE command SET state = 'confirmed', ended_at = greatest($2::timestamptz, moved_at), send_at = NULL,
    sent_at = coalesce(sent_at, first_put_at), moved_at = greatest($2::timestamptz, moved_at), moved_by = 'telemetry',
    moved_why = ''
WHERE id = ANY ($1::uuid[]) AND ended_at IS NULL AND state <> 'awaiting'
RETURNING id

-- name: overdue
SELECT c.id FROM command c
WHERE c.partition = ANY ($1::smallint[]) AND c.ended_at IS NULL AND c.state <> 'executed' AND c.expires_at <= $2::timestamptz
    AND NOT EXISTS (SELECT FROM plan_run r WHERE r.id = c.run_id AND r.state = 'running')
UNION ALL
SELECT c.id FROM command c WHERE c.partition = ANY ($1::smallint[]) AND c.state = 'executed' AND c.confirm_by <= $2::timestamptz

-- name: overdue_of_run
SELECT id FROM command WHERE run_id = $1 AND ended_at IS NULL AND state <> 'executed' AND expires_at <= $2::timestamptz

-- name: lapse
UPDATE command SET state = CASE WHEN state = 'executed' THEN 'unconfirmed' ELSE 'expired' END,
    ended_at = CASE WHEN state = 'executed' THEN confirm_by ELSE expires_at END, send_at = NULL, moved_at = $2::timestamptz,
    moved_by = 'clock', moved_why = ''
WHERE id = ANY ($1::uuid[]) AND ended_at IS NULL
    AND ((state = 'executed' AND confirm_by <= $2::timestamptz) OR (state <> 'executed' AND expires_at <= $2::timestamptz))
RETURNING id

-- name: unreviewed
UPDATE command SET review_told_at = $2::timestamptz
WHERE partition = ANY ($1::smallint[]) AND emergency AND reviewed_by IS NULL AND review_told_at IS NULL
    AND requested_at <= $3::timestamptz
RETURNING id, community_id, batch_id, name, requested_by, requested_at

-- name: cancel_of_run
UPDATE command SET state = 'cancelled', ended_at = $2::timestamptz, send_at = NULL, moved_at = $2::timestamptz, moved_by = $3::text,
    moved_why = 'the run was cancelled'
WHERE run_id = $1 AND state = 'queued' AND sends = 0
RETURNING id

-- name: wake_runs
WITH woken AS (
    UPDATE plan_run SET next_at = least(next_at, $2::timestamptz)
    WHERE id IN (SELECT run_id FROM command WHERE id = ANY ($1::uuid[])) AND state = 'running' RETURNING id
)
SELECT pg_notify('plan', '') FROM woken LIMIT 1

-- name: told
SELECT c.id, c.community_id, c.run_id, c.batch_id, c.state, c.name, d.id AS device_id, c.correlation, c.dangerous,
    c.emergency, c.expires_at, c.moved_why, coalesce(c.result->>'detail', '') AS detail, c.version, c.requested_by,
    c.approved_by, c.sends
FROM command c JOIN device d USING (device_no) WHERE c.id = ANY ($1::uuid[]) ORDER BY c.requested_at, c.id

-- name: insert_batch
INSERT INTO command_batch (id, community_id, name, params, dangerous, emergency, why, targets, total, per_second,
    requested_by, requested_at, digest)
VALUES ($1, $2, $3, $4::text::jsonb, $5, $6, $7, $8, $9, $10, $11, $12, $13)
ON CONFLICT DO NOTHING RETURNING id

-- name: batch
SELECT b.id, b.community_id, b.name, b.params, b.dangerous, b.emergency, b.why, b.targets, b.total, b.per_second,
    b.requested_by, b.requested_at, b.stopped_by, b.stopped_at, b.stop_why, b.digest, m.street_id,
    (SELECT jsonb_object_agg(s.state, s.n) FROM (
        SELECT state, count(*) AS n FROM command c WHERE c.batch_id = b.id GROUP BY state) s) AS counts,
    coalesce(asker.display_name, b.requested_by) AS requested_name,
    coalesce(held.display_name, b.stopped_by) AS stopped_name, a.to_review, a.approved_by,
    coalesce(second.display_name, a.approved_by) AS approved_name, a.expires_at, coalesce(a.kind, '') AS kind
FROM command_batch b JOIN community m ON m.id = b.community_id
CROSS JOIN LATERAL (
    SELECT bool_or(c.emergency AND c.reviewed_by IS NULL) AS to_review, max(c.approved_by) AS approved_by,
        max(c.expires_at) FILTER (WHERE c.ended_at IS NULL) AS expires_at, min(d.kind) AS kind
    FROM command c JOIN device d USING (device_no) WHERE c.batch_id = b.id) a
LEFT JOIN app_user asker ON asker.id = b.requested_by
LEFT JOIN app_user second ON second.id = a.approved_by
LEFT JOIN app_user held ON held.id = b.stopped_by WHERE b.id = $1

-- name: place_names
SELECT id, name FROM building WHERE community_id = $1 AND id = ANY ($2::text[])
UNION ALL SELECT id, name FROM grid WHERE community_id = $1 AND id = ANY ($2::text[])

-- name: batches
SELECT b.id, b.community_id, b.name, b.params, b.dangerous, b.emergency, b.why, b.targets, b.total, b.per_second,
    b.requested_by, b.requested_at, b.stopped_by, b.stopped_at, b.stop_why, b.digest, m.street_id,
    (SELECT jsonb_object_agg(s.state, s.n) FROM (
        SELECT state, count(*) AS n FROM command c WHERE c.batch_id = b.id GROUP BY state) s) AS counts,
    coalesce(asker.display_name, b.requested_by) AS requested_name,
    coalesce(held.display_name, b.stopped_by) AS stopped_name, a.to_review, a.approved_by,
    coalesce(second.display_name, a.approved_by) AS approved_name, a.expires_at, coalesce(a.kind, '') AS kind
FROM command_batch b JOIN community m ON m.id = b.community_id
CROSS JOIN LATERAL (
    SELECT bool_or(c.emergency AND c.reviewed_by IS NULL) AS to_review, max(c.approved_by) AS approved_by,
        max(c.expires_at) FILTER (WHERE c.ended_at IS NULL) AS expires_at, min(d.kind) AS kind
    FROM command c JOIN device d USING (device_no) WHERE c.batch_id = b.id) a
LEFT JOIN app_user asker ON asker.id = b.requested_by
LEFT JOIN app_user second ON second.id = a.approved_by
LEFT JOIN app_user held ON held.id = b.stopped_by
WHERE b.community_id = $1 AND (NOT $2 OR b.id IN (
        SELECT batch_id FROM command WHERE community_id = $1 AND batch_id IS NOT NULL
            AND ((state = 'awaiting' AND ended_at IS NULL) OR (emergency AND reviewed_by IS NULL))))
    AND ($3::timestamptz IS NULL OR (b.requested_at, b.id) < ($3, $4::uuid))
ORDER BY b.requested_at DESC, b.id DESC LIMIT $5

-- name: lock_batch
SELECT id FROM command_batch WHERE id = $1 FOR UPDATE

-- name: approve_batch
WITH numbered AS (
    SELECT id, row_number() OVER (ORDER BY device_no) - 1 AS place FROM command
    WHERE batch_id = $1 AND state = 'awaiting' AND expires_at > $3::timestamptz
)
UPDATE command c SET state = 'queued', approved_by = $2, approved_at = $3::timestamptz,
    send_at = $3::timestamptz + make_interval(secs => n.place / $4::float8),
    expires_at = $3::timestamptz + make_interval(secs => n.place / $4::float8 + c.lives_s), moved_at = $3::timestamptz, moved_by = $2, moved_why = $5
FROM numbered n WHERE c.id = n.id
RETURNING c.id

-- name: close_batch
UPDATE command SET state = $2, ended_at = $3::timestamptz, send_at = NULL, moved_at = $3::timestamptz, moved_by = $4, moved_why = $5
WHERE batch_id = $1 AND (state = 'awaiting' OR (state = 'queued' AND sends = 0 AND $2 = 'cancelled'))
RETURNING id

-- name: stop_batch
UPDATE command_batch SET stopped_by = $2, stopped_at = $3::timestamptz, stop_why = $4 WHERE id = $1 AND stopped_at IS NULL

-- name: review_batch
UPDATE command SET reviewed_by = $2, reviewed_at = $3::timestamptz, verdict = $4, review_note = $5, moved_at = $3::timestamptz, moved_by = $2,
    moved_why = $4
WHERE batch_id = $1 AND emergency AND reviewed_by IS NULL
RETURNING id

-- name: audit
SELECT audit_append($1, $2, $3, $4, $5, $6::text::jsonb)
