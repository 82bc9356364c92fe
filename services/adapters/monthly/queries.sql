-- name: community
SELECT c.id, c.name, s.name AS street, c.timezone, c.households
FROM community AS c JOIN street AS s ON s.id = c.street_id WHERE c.id = $1

-- name: orders
-- $5 kinds whose rules are private save for $6
SELECT o.number, f.overdue,
       CASE WHEN p.private THEN '健康关怀' ELSE o.title_zh END AS title_zh,
       CASE WHEN p.private THEN 'Wellbeing check' ELSE o.title_en END AS title_en,
       -- A home is nobody's business in a report: its building is enough.
       coalesce(b.name, CASE WHEN p.private OR d.household_id IS NOT NULL THEN '' ELSE o.place END) AS place,
       o.team, f.class, f.category, o.severity, o.source, o.state, o.created_at, o.resolve_due, o.resolved_at,
       o.closed_at, o.accept_s, o.arrive_s, o.resolve_s, o.reworks, o.rating,
       coalesce(u.display_name, '') AS person
FROM order_fact($1, $2, $3, $4) AS f
JOIN work_order AS o ON o.id = f.id
LEFT JOIN building AS b ON b.id = o.building_id
LEFT JOIN device AS d ON d.device_no = o.device_no
LEFT JOIN app_user AS u ON u.id = o.assignee_id
CROSS JOIN LATERAL (
    SELECT split_part(f.rule, '.', 1) = ANY ($5::text[]) AND f.rule <> ALL ($6::text[]) AS private
) AS p
ORDER BY o.created_at, o.number

-- name: rotas
-- every version that asked for something between $2 and $3, and until when
SELECT p.team, p.document, p.at, p.until FROM (
    SELECT team, document, at, lead(at) OVER (PARTITION BY id ORDER BY version) AS until
    FROM duty_pattern WHERE community_id = $1
) AS p
WHERE p.document IS NOT NULL AND p.at < $3 AND (p.until IS NULL OR p.until > $2)

-- name: shifts
SELECT * FROM duty_shift
WHERE community_id = $1 AND cancelled_at IS NULL
  AND ends_at > $2 AND starts_at > $2::timestamptz - interval '24 hours' AND starts_at < $3
