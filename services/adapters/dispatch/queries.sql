-- name: candidates
WITH place AS (
    SELECT c.street_id, ($3::timestamptz AT TIME ZONE c.timezone)::date AS today FROM community c WHERE c.id = $1
), rota AS (
    SELECT EXISTS (
        SELECT FROM duty_pattern p CROSS JOIN place
        WHERE p.community_id = $1 AND p.team = $2 AND p.document IS NOT NULL
          AND (p.document ->> 'from')::date <= place.today
          AND coalesce((p.document ->> 'until')::date, place.today) >= place.today
          AND NOT EXISTS (
              SELECT FROM duty_pattern n WHERE n.community_id = $1 AND n.id = p.id AND n.version > p.version
          )
    ) AS kept
), shift AS (
    SELECT s.user_id, min(s.post) AS post FROM duty_shift s
    WHERE s.community_id = $1 AND s.team = $2 AND s.cancelled_at IS NULL
      AND s.starts_at > $3::timestamptz - interval '24 hours' AND s.starts_at <= $3 AND s.ends_at > $3
    GROUP BY s.user_id
), member AS (
    SELECT u.id, u.role, u.leads, u.grid_id, u.skills FROM app_user u
    WHERE u.community_id = $1 AND u.duty_team = $2 AND u.disabled_at IS NULL
    UNION ALL
    SELECT u.id, u.role, u.leads, u.grid_id, u.skills FROM place JOIN app_user u ON u.street_id = place.street_id
    WHERE u.duty_team = $2 AND u.community_id IS NULL AND u.disabled_at IS NULL
)
SELECT m.id, m.role, m.leads, m.grid_id, m.skills, s.post, rota.kept AS rostered, q.x, q.y, h.in_hand, g.given_at,
       m.id = ANY (ARRAY(
           SELECT r.actor_id FROM work_order_history r WHERE r.order_id = $6 AND r.move = 'return'
       )) AS returned
FROM member m
CROSS JOIN rota
LEFT JOIN shift s ON s.user_id = m.id
LEFT JOIN staff_position q ON $4::boolean AND q.user_id = m.id AND q.at > $3::timestamptz - $5::interval
LEFT JOIN LATERAL (
    SELECT jsonb_object_agg(c.state, c.n) AS in_hand
    FROM (
        SELECT o.state, count(*) AS n FROM work_order o
        WHERE o.assignee_id = m.id AND o.state IN ('dispatched', 'accepted', 'arrived', 'paused')
        GROUP BY o.state
    ) c
) h ON $4::boolean
LEFT JOIN LATERAL (
    SELECT e.at AS given_at FROM work_order_history e
    WHERE coalesce(e.detail ->> 'assignee_id', e.actor_id) = m.id
      AND (e.move = 'accept' OR (e.move IN ('dispatch', 'assign', 'transfer', 'reopen') AND e.detail ? 'assignee_id'))
    ORDER BY e.at DESC LIMIT 1
) g ON $4::boolean
WHERE s.post IS NOT NULL OR NOT (rota.kept OR EXISTS (SELECT FROM shift))

-- name: standing
WITH place AS (
    SELECT c.street_id, ($3::timestamptz AT TIME ZONE c.timezone) AS local FROM community c WHERE c.id = $1
), rota AS (
    SELECT DISTINCT p.team FROM duty_pattern p CROSS JOIN place
    WHERE p.community_id = $1 AND p.document IS NOT NULL
      AND (p.document ->> 'from')::date <= place.local::date
      AND coalesce((p.document ->> 'until')::date, place.local::date) >= place.local::date
      AND NOT EXISTS (SELECT FROM duty_pattern n WHERE n.community_id = $1 AND n.id = p.id AND n.version > p.version)
), shift AS (
    SELECT d.team, d.user_id, min(d.post) AS post FROM duty_shift d
    WHERE d.community_id = $1 AND d.team = ANY (ARRAY[$2, 'desk', 'street', 'department']) AND d.cancelled_at IS NULL
      AND d.starts_at > $3::timestamptz - interval '24 hours' AND d.starts_at <= $3 AND d.ends_at > $3
    GROUP BY d.team, d.user_id
), member AS (
    SELECT u.id, u.role, u.duty_team, u.leads, u.grid_id FROM app_user u
    WHERE u.community_id = $1 AND u.disabled_at IS NULL
      AND (u.duty_team = ANY (ARRAY[$2, 'desk', 'street', 'department']) OR (u.role = 'admin' AND NOT u.service))
    UNION ALL
    SELECT u.id, u.role, u.duty_team, u.leads, u.grid_id FROM place JOIN app_user u ON u.street_id = place.street_id
    WHERE u.community_id IS NULL AND u.disabled_at IS NULL AND (u.duty_team IN ('street', 'department') OR (u.role = 'admin' AND NOT u.service))
    UNION ALL
    SELECT u.id, u.role, u.duty_team, u.leads, u.grid_id FROM app_user u
    WHERE u.role = 'admin' AND NOT u.service AND u.community_id IS NULL AND u.street_id IS NULL AND u.disabled_at IS NULL
)
SELECT m.id, m.role, m.duty_team AS team, m.leads, m.grid_id, s.post, r.team IS NOT NULL AS rostered,
       extract(epoch FROM place.local::time)::float8 / 3600 AS hour
FROM member m
CROSS JOIN place
LEFT JOIN rota r ON r.team = m.duty_team
LEFT JOIN shift s ON s.team = m.duty_team AND s.user_id = m.id
