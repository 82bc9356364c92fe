-- name: lock_roster
SELECT pg_advisory_xact_lock(hashtextextended('roster|' || $1::text, 0))

-- name: zone
SELECT timezone FROM community WHERE id = $1

-- name: audit
SELECT audit_append($1, $2, $3, $4, $5, $6::text::jsonb)

-- name: staff
SELECT u.id, u.username, u.display_name, u.role, u.team, u.duty_team, u.leads, u.skills, u.grid_id,
       u.disabled_at IS NOT NULL AS disabled
FROM app_user u
JOIN community c ON c.id = $1
WHERE u.duty_team IS NOT NULL
  AND (u.community_id = c.id OR (u.community_id IS NULL AND u.street_id = c.street_id))
ORDER BY u.duty_team, u.id

-- name: set_staff
UPDATE app_user SET leads = $2, skills = $3, grid_id = $4 WHERE id = $1

-- name: grid_of_community
SELECT true FROM grid WHERE id = $2 AND community_id = $1

-- name: patterns
SELECT DISTINCT ON (p.id) p.id, p.version, p.team, p.document, p.author, p.at, h.until
FROM duty_pattern p
LEFT JOIN duty_horizon h ON h.community_id = p.community_id AND h.pattern_id = p.id
WHERE p.community_id = $1 AND ($2::text IS NULL OR p.id = $2)
ORDER BY p.id, p.version DESC

-- name: pattern_versions
SELECT p.id, p.version, p.team, p.document, p.author, p.at, NULL::timestamptz AS until
FROM duty_pattern p
WHERE p.community_id = $1 AND p.id = $2
ORDER BY p.version DESC
LIMIT 100

-- name: insert_pattern
INSERT INTO duty_pattern (community_id, id, version, team, document, author, at)
VALUES ($1, $2, $3, $4, $5::text::jsonb, $6, $7)

-- name: short_horizons
SELECT p.community_id, p.id, h.until
FROM duty_pattern p
JOIN community c ON c.id = p.community_id AND c.partition = ANY ($1::smallint[])
LEFT JOIN duty_horizon h ON h.community_id = p.community_id AND h.pattern_id = p.id
WHERE p.document IS NOT NULL AND coalesce(h.until, '-infinity') < $2
  AND NOT EXISTS (
      SELECT FROM duty_pattern n WHERE n.community_id = p.community_id AND n.id = p.id AND n.version > p.version
  )
ORDER BY p.community_id, p.id

-- name: set_horizon
INSERT INTO duty_horizon (community_id, pattern_id, version, until) VALUES ($1, $2, $3, $4)
ON CONFLICT (community_id, pattern_id) DO UPDATE SET
    version = excluded.version,
    until = CASE WHEN duty_horizon.version = excluded.version THEN greatest(duty_horizon.until, excluded.until)
                 ELSE excluded.until END

-- name: standing_shifts
SELECT * FROM duty_shift
WHERE user_id = ANY ($1::text[]) AND cancelled_at IS NULL AND tstzrange(starts_at, ends_at) && tstzrange($2, $3)
ORDER BY starts_at, id

-- name: stood_in_shifts
SELECT * FROM duty_shift
WHERE community_id = $1 AND stands_in_for = ANY ($2::text[]) AND cancelled_at IS NULL
  AND starts_at < $4 AND ends_at > $3 AND starts_at > $3::timestamptz - interval '24 hours'
ORDER BY starts_at, id

-- name: cancel_of_older_version
UPDATE duty_shift SET cancelled_at = $4, cancelled_by = $5, cancelled_why = '排班规则变更 · the rota changed'
WHERE community_id = $1 AND pattern_id = $2 AND version IS DISTINCT FROM $3 AND starts_at >= $4
  AND cancelled_at IS NULL AND stands_in_for IS NULL
RETURNING id

-- name: insert_shifts
INSERT INTO duty_shift (id, community_id, team, user_id, starts_at, ends_at, post, name, pattern_id, version,
                        stands_in_for, replaces, made_by, made_at, why)
SELECT r.id, r.community_id, r.team, r.user_id, r.starts_at, r.ends_at, r.post, r.name, r.pattern_id, r.version,
       r.stands_in_for, r.replaces, $2, $3, $4
FROM jsonb_to_recordset($1::text::jsonb) AS r
    (id uuid, community_id text, team text, user_id text, starts_at timestamptz, ends_at timestamptz, post text,
     name text, pattern_id text, version integer, stands_in_for text, replaces uuid)
ON CONFLICT (id) DO NOTHING
RETURNING id

-- name: shift
SELECT * FROM duty_shift WHERE id = $1

-- name: lock_shifts
SELECT * FROM duty_shift WHERE id = ANY ($1::uuid[]) ORDER BY id FOR UPDATE

-- name: shifts_of_person
SELECT * FROM duty_shift
WHERE community_id = $1 AND user_id = $2 AND ($3::text IS NULL OR team = $3) AND cancelled_at IS NULL
  AND tstzrange(starts_at, ends_at) && tstzrange($4, $5)
ORDER BY starts_at, id
FOR UPDATE

-- name: cancel_shifts
UPDATE duty_shift SET cancelled_at = $2, cancelled_by = $3, cancelled_why = $4
WHERE id = ANY ($1::uuid[]) AND cancelled_at IS NULL
RETURNING id

-- name: shifts_page
SELECT s.*, u.display_name
FROM duty_shift s
JOIN app_user u ON u.id = s.user_id
WHERE s.community_id = $1 AND s.starts_at > $2::timestamptz - interval '24 hours' AND s.starts_at < $3 AND s.ends_at > $2
  AND ($4::text IS NULL OR s.team = $4) AND ($5::boolean OR s.cancelled_at IS NULL)
  AND ($6::timestamptz IS NULL OR (s.starts_at, s.id) > ($6, $7::uuid))
ORDER BY s.starts_at, s.id
LIMIT $8

-- name: on_duty
WITH shift AS (
    SELECT DISTINCT ON (d.user_id, d.team) d.user_id, d.team, d.post, d.name, d.ends_at, d.stands_in_for
    FROM duty_shift d
    WHERE d.community_id = $1 AND d.cancelled_at IS NULL
      AND d.starts_at > $2::timestamptz - interval '24 hours' AND d.starts_at <= $2 AND d.ends_at > $2
    ORDER BY d.user_id, d.team, d.ends_at DESC
)
SELECT u.id, u.display_name, u.role, u.duty_team AS team, u.leads, u.grid_id, s.post, s.name, s.ends_at, s.stands_in_for
FROM app_user u
JOIN community c ON c.id = $1
LEFT JOIN shift s ON s.user_id = u.id AND s.team = u.duty_team
WHERE u.duty_team IS NOT NULL AND u.disabled_at IS NULL
  AND (u.community_id = c.id OR (u.community_id IS NULL AND u.street_id = c.street_id))
ORDER BY u.duty_team, u.id

-- name: cover
SELECT s.* FROM duty_shift s
JOIN app_user u ON u.id = s.user_id AND u.disabled_at IS NULL AND u.duty_team = s.team
WHERE s.community_id = $1 AND s.cancelled_at IS NULL
  AND s.ends_at > $2 AND s.starts_at > $2::timestamptz - interval '24 hours' AND s.starts_at < $3
ORDER BY s.starts_at

-- name: insert_swap
INSERT INTO duty_swap (id, community_id, shift_id, for_shift_id, asked_by, asked_at, why)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (id) DO NOTHING

-- name: swap
SELECT * FROM duty_swap WHERE id = $1

-- name: lock_swap
SELECT * FROM duty_swap WHERE id = $1 FOR UPDATE

-- name: answer_swap
UPDATE duty_swap SET agreed = $2, answered_at = $3, answered_by = $4 WHERE id = $1 AND answered_at IS NULL
RETURNING *

-- name: swaps
SELECT w.*, s.user_id, o.user_id AS for_user_id
FROM duty_swap w
JOIN duty_shift s ON s.id = w.shift_id
JOIN duty_shift o ON o.id = w.for_shift_id
WHERE w.community_id = $1 AND (NOT $2::boolean OR w.answered_at IS NULL)
ORDER BY w.asked_at DESC
LIMIT 200

-- name: current_shift
SELECT * FROM duty_shift
WHERE community_id = $1 AND team = $2 AND user_id = $3 AND cancelled_at IS NULL
  AND starts_at > $4::timestamptz - interval '25 hours' AND starts_at <= $4
  AND ends_at > $4::timestamptz - interval '1 hour'
ORDER BY ends_at DESC
LIMIT 1

-- name: next_shift
SELECT * FROM duty_shift
WHERE community_id = $1 AND team = $2 AND cancelled_at IS NULL AND user_id <> $3 AND ends_at > $4
  AND starts_at > $4::timestamptz - interval '24 hours'
ORDER BY abs(extract(epoch FROM starts_at - $4)), id
LIMIT 1

-- name: open_orders_of_team
SELECT o.id, o.number, o.state, o.severity, o.title_zh, o.place, a.rule_id, a.active_rules
FROM work_order o LEFT JOIN alert a ON a.id = o.alert_id
WHERE o.community_id = $1 AND o.team = $2 AND o.state NOT IN ('closed', 'cancelled', 'false_alarm', 'merged')
ORDER BY o.number
LIMIT 500

-- name: insert_handover
INSERT INTO duty_handover (id, community_id, team, from_shift, to_shift, note, open_orders, at, by)
VALUES ($1, $2, $3, $4, $5, $6, $7::text::jsonb, $8, $9)
ON CONFLICT (id) DO NOTHING

-- name: handover
SELECT * FROM duty_handover WHERE id = $1

-- name: confirm_handover
UPDATE duty_handover SET confirmed_at = $2, confirmed_by = $3 WHERE id = $1 AND confirmed_at IS NULL RETURNING *

-- name: handovers
SELECT * FROM duty_handover
WHERE community_id = $1 AND ($2::text IS NULL OR team = $2)
  AND ($3::timestamptz IS NULL OR (at, id) < ($3, $4::uuid))
ORDER BY at DESC, id DESC
LIMIT $5

-- name: put_position
INSERT INTO staff_position (user_id, x, y, accuracy_m, at) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (user_id) DO UPDATE SET x = excluded.x, y = excluded.y, accuracy_m = excluded.accuracy_m, at = excluded.at
WHERE staff_position.at <= excluded.at

-- name: forget_position
DELETE FROM staff_position WHERE user_id = $1

-- name: forget_positions
DELETE FROM staff_position WHERE at < $1

-- name: plan_of
SELECT latitude, longitude, plan FROM community WHERE id = $1

-- name: rostered_communities
SELECT c.id, c.timezone, w.looked_at
FROM community c
LEFT JOIN roster_watch w ON w.community_id = c.id
WHERE c.partition = ANY ($1::smallint[])
  AND (EXISTS (SELECT FROM duty_pattern p WHERE p.community_id = c.id)
       OR EXISTS (SELECT FROM duty_shift s WHERE s.community_id = c.id AND s.ends_at > $2::timestamptz - interval '1 day'))
ORDER BY c.id

-- name: looked
INSERT INTO roster_watch (community_id, looked_at) VALUES ($1, $2)
ON CONFLICT (community_id) DO UPDATE SET looked_at = excluded.looked_at
WHERE roster_watch.looked_at < excluded.looked_at
RETURNING true

-- name: changes_between
SELECT team, user_id, post, starts_at AS at, true AS comes FROM duty_shift
WHERE community_id = $1 AND cancelled_at IS NULL AND starts_at > $2 AND starts_at <= $3
UNION ALL
SELECT team, user_id, post, ends_at AS at, false AS comes FROM duty_shift
WHERE community_id = $1 AND cancelled_at IS NULL AND ends_at > $2 AND ends_at <= $3
ORDER BY at, team, user_id

-- name: open_gaps
SELECT * FROM roster_gap WHERE community_id = $1 AND over_at IS NULL ORDER BY team, starts_at FOR UPDATE

-- name: insert_gap
INSERT INTO roster_gap (community_id, team, starts_at, ends_at, seen_at) VALUES ($1, $2, $3, $4, $5)
RETURNING id

-- name: move_gap
UPDATE roster_gap SET starts_at = $2, ends_at = $3 WHERE id = $1

-- name: gap_told_again
UPDATE roster_gap SET soon_at = $2 WHERE id = $1

-- name: end_gaps
UPDATE roster_gap SET over_at = $2 WHERE id = ANY ($1::bigint[])

-- name: open_gap_count
SELECT count(*) FROM roster_gap g JOIN community c ON c.id = g.community_id
WHERE g.over_at IS NULL AND c.partition = ANY ($1::smallint[])

-- name: waiting_orders
SELECT o.id FROM work_order o
WHERE o.community_id = $1 AND o.team = ANY ($2::text[]) AND o.state = 'dispatched'
ORDER BY o.dispatched_at
LIMIT 500
