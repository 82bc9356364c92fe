-- name: cockpit
SELECT count(*) FILTER (WHERE f.accepted_1min) AS accepted_1min,
       count(*) FILTER (WHERE f.accept_1min_judged) AS accept_1min_judged,
       count(*) FILTER (WHERE f.arrived_10min) AS arrived_10min,
       count(*) FILTER (WHERE f.arrive_10min_judged) AS arrive_10min_judged,
       count(*) FILTER (WHERE f.closed) AS closed,
       count(*) FILTER (WHERE f.due) AS due,
       count(*) FILTER (WHERE f.closed_on_time) AS closed_on_time,
       count(*) FILTER (WHERE f.due_not_deferred) AS due_not_deferred,
       count(*) FILTER (WHERE f.false_alarm) AS false_alarm,
       count(*) FILTER (WHERE f.alert_ended) AS alert_ended
FROM order_fact($1, $2, 'infinity', $3) AS f

-- name: tallies
-- $5 zone, $6 the dimension ('' for none), $7 filters by dimension, $8 kinds whose rules are private save for $9
WITH f AS MATERIALIZED (
    SELECT x.*, jsonb_build_object(
        'team', x.team, 'grid', x.grid, 'person', x.person, 'class', x.class, 'severity', x.severity,
        'source', x.source, 'category', x.category, 'building', x.building, 'device', x.device,
        'day', to_char(x.created_at AT TIME ZONE $5::text, 'YYYY-MM-DD'),
        'rule', CASE WHEN split_part(x.rule, '.', 1) = ANY ($8::text[]) AND x.rule <> ALL ($9::text[])
                     THEN 'health' ELSE x.rule END
    ) AS keys
    FROM order_fact($1, $2, $3, $4) AS x
)
SELECT CASE $6::text WHEN '' THEN '' ELSE f.keys ->> $6 END AS key,
       count(*) FILTER (WHERE f.received) AS received,
       count(*) FILTER (WHERE f.filed) AS filed,
       count(*) FILTER (WHERE f.due) AS due,
       count(*) FILTER (WHERE f.deferred) AS deferred,
       count(*) FILTER (WHERE f.due_not_deferred) AS due_not_deferred,
       count(*) FILTER (WHERE f.closed) AS closed,
       count(*) FILTER (WHERE f.closed_on_time) AS closed_on_time,
       count(*) FILTER (WHERE f.overdue) AS overdue,
       count(*) FILTER (WHERE f.accept_1min_judged) AS accept_1min_judged,
       count(*) FILTER (WHERE f.accepted_1min) AS accepted_1min,
       count(*) FILTER (WHERE f.arrive_10min_judged) AS arrive_10min_judged,
       count(*) FILTER (WHERE f.arrived_10min) AS arrived_10min,
       count(*) FILTER (WHERE f.accept_judged) AS accept_judged,
       count(*) FILTER (WHERE f.accept_kept) AS accept_kept,
       count(*) FILTER (WHERE f.arrive_judged) AS arrive_judged,
       count(*) FILTER (WHERE f.arrive_kept) AS arrive_kept,
       count(*) FILTER (WHERE f.resolve_judged) AS resolve_judged,
       count(*) FILTER (WHERE f.resolve_kept) AS resolve_kept,
       count(*) FILTER (WHERE f.verify_judged) AS verify_judged,
       count(*) FILTER (WHERE f.verify_kept) AS verify_kept,
       count(*) FILTER (WHERE f.resolved) AS resolved,
       count(*) FILTER (WHERE f.reworked) AS reworked,
       count(*) FILTER (WHERE f.returned) AS returned,
       count(*) FILTER (WHERE f.alert_ended) AS alert_ended,
       count(*) FILTER (WHERE f.false_alarm) AS false_alarm,
       count(*) FILTER (WHERE f.rated) AS rated,
       count(*) FILTER (WHERE f.satisfied) AS satisfied,
       count(*) FILTER (WHERE f.asked_for) AS asked_for,
       count(*) FILTER (WHERE f.called_back) AS called_back,
       count(*) FILTER (WHERE f.reached) AS reached,
       count(*) FILTER (WHERE f.content) AS content,
       count(f.accept_s) AS accept_s_count, coalesce(sum(f.accept_s), 0) AS accept_s_sum,
       percentile_cont(0.9) WITHIN GROUP (ORDER BY f.accept_s) AS accept_s_p90,
       count(f.arrive_s) AS arrive_s_count, coalesce(sum(f.arrive_s), 0) AS arrive_s_sum,
       percentile_cont(0.9) WITHIN GROUP (ORDER BY f.arrive_s) AS arrive_s_p90,
       count(f.resolve_s) AS resolve_s_count, coalesce(sum(f.resolve_s), 0) AS resolve_s_sum,
       percentile_cont(0.9) WITHIN GROUP (ORDER BY f.resolve_s) AS resolve_s_p90,
       count(f.verify_s) AS verify_s_count, coalesce(sum(f.verify_s), 0) AS verify_s_sum,
       percentile_cont(0.9) WITHIN GROUP (ORDER BY f.verify_s) AS verify_s_p90,
       count(f.rating) AS rating_count, coalesce(sum(f.rating), 0) AS rating_sum,
       count(f.escalations) AS escalations_count, coalesce(sum(f.escalations), 0) AS escalations_sum,
       count(f.urges) AS urges_count, coalesce(sum(f.urges), 0) AS urges_sum
FROM f
WHERE f.keys @> $7::text::jsonb
GROUP BY 1
ORDER BY 1

-- name: rows
-- $5 zone, $6 filters by dimension, $7 and $8 as above,
-- $9 the fact, $10 only where it is more than nothing, $11 and $12 where the page before ended, $13 how many
WITH f AS MATERIALIZED (
    SELECT x.*, jsonb_build_object(
        'team', x.team, 'grid', x.grid, 'person', x.person, 'class', x.class, 'severity', x.severity,
        'source', x.source, 'category', x.category, 'building', x.building, 'device', x.device,
        'day', to_char(x.created_at AT TIME ZONE $5::text, 'YYYY-MM-DD'),
        'rule', CASE WHEN split_part(x.rule, '.', 1) = ANY ($7::text[]) AND x.rule <> ALL ($8::text[])
                     THEN 'health' ELSE x.rule END
    ) AS keys
    FROM order_fact($1, $2, $3, $4) AS x
)
SELECT f.id, f.created_at, CASE v.text WHEN 'true' THEN 1 ELSE v.text::double precision END AS value
FROM f
CROSS JOIN LATERAL (SELECT nullif(to_jsonb(f) ->> $9::text, 'false') AS text) AS v
WHERE f.keys @> $6::text::jsonb
  AND v.text IS NOT NULL
  AND (NOT $10::boolean OR CASE v.text WHEN 'true' THEN true ELSE v.text::double precision > 0 END)
  AND ($11::timestamptz IS NULL OR (f.created_at, f.id) < ($11, $12::uuid))
ORDER BY f.created_at DESC, f.id DESC
LIMIT $13

-- name: names
SELECT id, name FROM grid WHERE $1::text = 'grid' AND id = ANY ($2::text[]) AND community_id = $3
UNION ALL
SELECT id, name FROM building WHERE $1 = 'building' AND id = ANY ($2) AND community_id = $3
UNION ALL
SELECT id, display_name FROM app_user WHERE $1 = 'person' AND id = ANY ($2)
UNION ALL
SELECT id, name FROM device WHERE $1 = 'device' AND id = ANY ($2) AND community_id = $3
