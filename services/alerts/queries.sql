-- name: acquire_leases
INSERT INTO worker_lease AS held (consumer, partition, owner, epoch, expires_at)
SELECT $1, p, $2, 1, now() + make_interval(secs => $4) FROM unnest($3::smallint[]) AS p
ON CONFLICT (consumer, partition) DO UPDATE
    SET owner = excluded.owner, epoch = held.epoch + 1, expires_at = excluded.expires_at
    -- One that lasts longer than anybody gives was given by a clock that has been put back since.
    WHERE (held.expires_at <= now() OR held.expires_at > now() + 2 * make_interval(secs => $4))
        AND held.owner <> excluded.owner
RETURNING partition, epoch

-- name: renew_leases
UPDATE worker_lease SET expires_at = now() + make_interval(secs => $3)
WHERE consumer = $1 AND owner = $2
RETURNING partition, epoch

-- name: release_leases
UPDATE worker_lease SET expires_at = now() WHERE consumer = $1 AND owner = $2 AND expires_at > now()

-- name: hold_lease
SELECT true FROM worker_lease WHERE consumer = $1 AND partition = $2 AND owner = $3 AND epoch = $4 FOR SHARE

-- name: move_checkpoint
UPDATE checkpoint SET seq = $4, updated_at = now()
WHERE consumer = $1 AND partition = $2 AND lane = $3 AND seq = $5

-- name: start_checkpoints
INSERT INTO checkpoint (consumer, partition, lane, seq)
SELECT $1, $2, lane, 0 FROM generate_series(0, 1) AS lane
ON CONFLICT DO NOTHING RETURNING lane

-- name: log_began_before
SELECT coalesce(min(committed_at) < now() - make_interval(secs => $2), false) FROM generate_series(0, 1) AS l (lane),
LATERAL (SELECT committed_at FROM ingest_log g WHERE g.partition = $1 AND g.lane = l.lane ORDER BY seq LIMIT 1) AS oldest

-- name: load_checkpoints
SELECT lane, seq FROM checkpoint WHERE consumer = $1 AND partition = $2 ORDER BY lane

-- name: read_log
SELECT lane, seq, committed_at, readings, packed, body
FROM ingest_log WHERE partition = $1 AND lane = $2 AND seq > $3 ORDER BY seq LIMIT $4

-- name: log_heads
SELECT p.partition, l.lane, coalesce((
    SELECT seq FROM ingest_log g WHERE g.partition = p.partition AND g.lane = l.lane ORDER BY seq DESC LIMIT 1), 0) AS seq
FROM unnest($1::smallint[]) AS p (partition), generate_series(0, 1) AS l (lane)

-- name: load_buildings
SELECT b.id, b.name, b.grid_id, b.x + b.width / 2 AS x, b.y + b.depth / 2 AS y
FROM building b JOIN community c ON c.id = b.community_id WHERE c.partition = $1

-- name: load_away
SELECT p.household_id, (extract(epoch FROM min(p.away_until)) * 1000)::bigint AS away_until_ms
FROM person p JOIN community c ON c.id = p.community_id
WHERE c.partition = $1 AND p.household_id IS NOT NULL
GROUP BY p.household_id
HAVING bool_and(p.away_until IS NOT NULL AND p.away_until > now())

-- name: log_devices
SELECT substr(packed, 1, 4 * readings) AS device_nos FROM ingest_log
WHERE partition = $1 AND lane = 1 AND seq > $2 AND readings > 0
UNION ALL
SELECT substr(packed, 1, 4 * readings) FROM ingest_log
WHERE partition = $1 AND lane = 0 AND seq > $3 AND readings > 0

-- name: load_seen
SELECT s.device_no, s.online, s.session,
    (extract(epoch FROM s.last_seen_at) * 1000)::bigint AS seen_ms,
    (extract(epoch FROM s.online_since) * 1000)::bigint AS online_since_ms,
    CASE WHEN a.device_no IS NULL THEN (extract(epoch FROM s.vals_ts) * 1000)::bigint END AS newest_ms
FROM device_state s
JOIN device d USING (device_no)
JOIN community c ON c.id = d.community_id
LEFT JOIN unnest($2::integer[]) AS a (device_no) USING (device_no)
WHERE c.partition = $1

-- name: last_seen
SELECT device_no, (extract(epoch FROM last_seen_at) * 1000)::bigint AS seen_ms
FROM device_state WHERE device_no = ANY ($1::integer[]) AND last_seen_at IS NOT NULL

-- name: load_states
SELECT rule_id, subject, state, shape FROM rule_state WHERE partition = $1

-- name: load_open_alerts
SELECT a.id, a.family, a.subject, a.severity, a.state, a.active_rules, a.correlation,
    (extract(epoch FROM a.onset_at) * 1000)::bigint AS onset_ms, a.life_safety, a.shadow
FROM alert a JOIN community c ON c.id = a.community_id
WHERE c.partition = $1 AND a.state <> 'cleared'

-- name: save_states
INSERT INTO rule_state (rule_id, subject, partition, state, shape)
SELECT s.rule_id, s.subject, $1, s.state::jsonb, s.shape
FROM unnest($2::text[], $3::text[], $4::text[], $5::text[]) AS s (rule_id, subject, state, shape)
ON CONFLICT (rule_id, subject) DO UPDATE
SET state = excluded.state, partition = excluded.partition, shape = excluded.shape

-- name: forget_states
DELETE FROM rule_state r USING unnest($1::text[], $2::text[]) AS s (rule_id, subject)
WHERE r.rule_id = s.rule_id AND r.subject = s.subject

-- name: insert_alert
INSERT INTO alert (
    id, community_id, rule_id, rule_version, family, subject, active_rules, device_no, building_id, kind, severity,
    team, life_safety, state, title_zh, title_en, why_zh, why_en, place, onset_at, fired_at, last_at, trigger,
    correlation, held, held_since, suppressed, shadow, group_key
) VALUES (
    $1, $2, $3, $4, $5, $6, ARRAY[$3], $7, $8, $9, $10, $11, $12, 'firing', $13, $14, $15, $16, $17, $18, $19, $20,
    $21::text::jsonb, $22, $23, CASE WHEN $23::text[] <> '{}' THEN $19::timestamptz END, ($23::text[] <> '{}')::integer,
    $24, $25
)
ON CONFLICT DO NOTHING
RETURNING *

-- name: insert_occurrence
INSERT INTO alert_occurrence (alert_id, at, what, severity, trigger, correlation, cause)
SELECT $1, $2, $3, $4, $5::text::jsonb, $6, $7::text
WHERE $3 <> 'repeated' OR $7 = '' OR NOT EXISTS (
    SELECT FROM alert_occurrence WHERE alert_id = $1 AND what = 'raised' AND at = $2 AND cause = $7)
ON CONFLICT (alert_id, what, at, cause) DO NOTHING
RETURNING id

-- name: repeat_alert
UPDATE alert SET state = 'firing', active_rules = $2, occurrences = occurrences + $3, last_at = greatest(last_at, $4),
    life_safety = life_safety OR $6, held = CASE WHEN life_safety OR $6 THEN '{}' ELSE $5::text[] END,
    held_since = CASE WHEN $5::text[] <> '{}' THEN coalesce(held_since, now()) END,
    suppressed = suppressed + CASE WHEN $5::text[] = '{}' THEN 0 ELSE $3 END
WHERE id = $1 AND state <> 'cleared'
RETURNING *

-- name: worsen_alert
UPDATE alert SET severity = $2, team = $3, life_safety = life_safety OR $4,
    held = CASE WHEN life_safety OR $4 THEN '{}' ELSE held END, rule_id = $5, rule_version = $6,
    title_zh = $7, title_en = $8, why_zh = $9, why_en = $10, trigger = $11::text::jsonb
WHERE id = $1
RETURNING *

-- name: ease_alert
UPDATE alert SET severity = $2, rule_id = $3, rule_version = $4, title_zh = $5, title_en = $6, why_zh = $7, why_en = $8
WHERE id = $1 AND state <> 'cleared'
RETURNING *

-- name: hold_alert
UPDATE alert SET held = $2, held_since = coalesce(held_since, $3) WHERE id = $1 AND state <> 'cleared' AND NOT life_safety
RETURNING *

-- name: release_alert
UPDATE alert SET held = '{}', held_since = NULL, released_at = $2 WHERE id = $1 AND state <> 'cleared'
RETURNING *

-- name: take_answer
UPDATE alert_answer SET taken_at = now() WHERE id = $1 AND taken_at IS NULL

-- name: acknowledge_alert
UPDATE alert SET acknowledged_at = CASE WHEN $2 THEN $3::timestamptz END, acknowledged_by = CASE WHEN $2 THEN $4 END
WHERE id = $1 AND state <> 'cleared'
RETURNING *

-- name: load_answers
SELECT id, alert_id, ok, answered_by FROM alert_answer WHERE partition = $1 AND taken_at IS NULL ORDER BY id LIMIT 500

-- name: load_silences
SELECT s.id, s.community_id, s.sort, s.matcher, s.starts_at, s.ends_at, s.ended_at, s.recurs
FROM silence AS s JOIN community AS c ON c.id = s.community_id
WHERE c.partition = $1 AND least(s.ends_at, coalesce(s.ended_at, s.ends_at)) > now() - INTERVAL '2 days'

-- name: load_caps
SELECT c.id, c.alert_caps, count(d.device_no)::integer AS devices
FROM community AS c LEFT JOIN device AS d ON d.community_id = c.id AND d.retired_at IS NULL
WHERE c.partition = $1 GROUP BY c.id

-- name: order_members
SELECT count(*)::integer FROM alert WHERE order_id = $1

-- name: group_order
SELECT o.id FROM alert AS a JOIN work_order AS o ON o.id = a.order_id
WHERE a.group_key = $1 AND a.order_id IS NOT NULL AND a.fired_at > now() - INTERVAL '30 days'
  AND o.state NOT IN ('closed', 'cancelled', 'false_alarm', 'merged') AND o.arrived_at IS NULL
ORDER BY o.created_at DESC LIMIT 1

-- name: recover_alert
UPDATE alert SET state = 'recovering', last_at = greatest(last_at, $2) WHERE id = $1 AND state = 'firing'
RETURNING *

-- name: clear_alert
UPDATE alert SET state = 'cleared', active_rules = '{}', cleared_at = greatest(onset_at, $2), held = $3,
    held_since = CASE WHEN $3::text[] = '{}' THEN NULL ELSE held_since END
WHERE id = $1 AND state <> 'cleared'
RETURNING *

-- name: keep_alert
UPDATE alert SET active_rules = $2 WHERE id = $1

-- name: link_order
UPDATE alert SET order_id = $2 WHERE id = $1

-- name: order_of_alert
SELECT order_id FROM alert WHERE id = $1

-- name: open_alert_order
SELECT id, order_id FROM alert WHERE family = $1 AND subject = $2 AND state <> 'cleared'

-- name: latest_order
SELECT o.id FROM alert a JOIN work_order o ON o.id = a.order_id
WHERE a.family = $1 AND a.subject = $2
ORDER BY o.created_at DESC, o.number DESC LIMIT 1

-- name: device_offline
UPDATE device_state SET online = false
WHERE device_no = $1 AND online AND (last_seen_at IS NULL OR last_seen_at < $2::timestamptz + interval '1 millisecond')

-- name: device_online
UPDATE device_state SET online = true, online_since = $2 WHERE device_no = $1 AND NOT online

-- name: kind_of_device
SELECT kind FROM device WHERE device_no = $1

-- name: purge_links
DELETE FROM notice_link WHERE token_hash IN (
    SELECT token_hash FROM notice_link WHERE expires_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)

-- name: purge_notices
DELETE FROM notice WHERE id IN (
    SELECT id FROM notice WHERE created_at < $1 AND next_at IS NULL LIMIT $2 FOR UPDATE SKIP LOCKED)

-- name: purge_strays
DELETE FROM command_stray WHERE id IN (SELECT id FROM command_stray WHERE last_at < $1 ORDER BY id LIMIT $2)

-- name: purge_gaps
DELETE FROM roster_gap WHERE id IN (
    SELECT id FROM roster_gap WHERE over_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)

-- name: purge_city_attempts
DELETE FROM city_attempt WHERE id IN (
    SELECT id FROM city_attempt WHERE at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)

-- name: purge_city_dead_letters
DELETE FROM city_dead_letter WHERE id IN (
    SELECT id FROM city_dead_letter WHERE at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)

-- name: purge_outbox
DELETE FROM outbox WHERE seq IN (SELECT seq FROM outbox ORDER BY seq LIMIT $2 FOR UPDATE SKIP LOCKED)
    AND at < $1 AND seq < (SELECT max(seq) FROM outbox)
    AND seq <= ALL (SELECT r.seq FROM outbox_reader r)

-- name: behind_outbox
SELECT r.name, r.seq FROM outbox_reader r
WHERE (SELECT o.at FROM outbox o WHERE o.seq > r.seq ORDER BY o.seq LIMIT 1) < $1

-- name: purge_ngsi_attempts
DELETE FROM ngsi_attempt WHERE id IN (
    SELECT id FROM ngsi_attempt WHERE at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED)
