-- what the key figures are counted from: one row an order, with what is true of it and how much of each it has
-- Written as one plain statement so that the planner takes it into the query around it: what nobody asks for costs
-- nothing, and totals, groups and the rows behind a number cannot disagree.
CREATE FUNCTION order_fact(p_community text, p_from timestamptz, p_to timestamptz, p_now timestamptz)
RETURNS TABLE (
    id uuid, number bigint, community_id text, created_at timestamptz,
    team text, grid text, person text, class text, severity text, source text, category text, building text,
    rule text, device text,
    received boolean, filed boolean, due boolean, due_not_deferred boolean, deferred boolean,
    closed boolean, closed_on_time boolean, overdue boolean,
    accept_1min_judged boolean, accepted_1min boolean, arrive_10min_judged boolean, arrived_10min boolean,
    accept_judged boolean, accept_kept boolean, arrive_judged boolean, arrive_kept boolean,
    resolve_judged boolean, resolve_kept boolean, verify_judged boolean, verify_kept boolean,
    resolved boolean, reworked boolean, returned boolean,
    alert_ended boolean, false_alarm boolean,
    rated boolean, satisfied boolean, asked_for boolean, called_back boolean, reached boolean, content boolean,
    accept_s double precision, arrive_s double precision, resolve_s double precision, verify_s double precision,
    rating double precision, escalations double precision, urges double precision
) LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT
        o.id, o.number, o.community_id, o.created_at,
        o.team, coalesce(o.grid_id, d.grid_id, b.grid_id, ''), coalesce(o.assignee_id, ''), coalesce(o.class_id, ''), o.severity, o.source,
        coalesce(o.category, ''), coalesce(o.building_id, ''), coalesce(a.rule_id, ''), coalesce(d.id, ''),
        true,
        o.filed_at IS NOT NULL,
        w.due,
        w.due AND NOT w.deferred,
        w.deferred,
        w.due AND o.state = 'closed',
        w.due AND o.state = 'closed'
            AND (o.resolve_due IS NULL OR coalesce(o.resolved_at, o.closed_at) <= o.resolve_due),
        w.due AND o.state <> 'closed' AND o.resolved_at IS NULL AND NOT w.deferred,
        o.accepted_at IS NOT NULL OR coalesce(o.dispatched_at <= w.until - INTERVAL '1 minute', false),
        coalesce(o.accepted_at <= o.dispatched_at + INTERVAL '1 minute', false),
        o.arrived_at IS NOT NULL OR coalesce(o.dispatched_at <= w.until - INTERVAL '10 minutes', false),
        coalesce(o.arrived_at <= o.dispatched_at + INTERVAL '10 minutes', false),
        o.accept_due IS NOT NULL AND (o.accepted_at IS NOT NULL OR o.accept_due < w.running),
        coalesce(o.accepted_at <= o.accept_due, false),
        o.arrive_due IS NOT NULL AND (o.arrived_at IS NOT NULL OR o.arrive_due < w.running),
        coalesce(o.arrived_at <= o.arrive_due, false),
        o.resolve_due IS NOT NULL AND (o.resolved_at IS NOT NULL OR o.resolve_due < w.running),
        coalesce(o.resolved_at <= o.resolve_due, false),
        o.verify_due IS NOT NULL AND (o.verified_at IS NOT NULL OR o.verify_due < w.running),
        coalesce(o.verified_at <= o.verify_due, false),
        o.resolved_at IS NOT NULL OR o.reworks > 0,
        o.reworks > 0,
        o.filed_at IS NOT NULL AND o.returns > 0,
        o.source = 'alert' AND o.state IN ('closed', 'false_alarm'),
        o.source = 'alert' AND o.state = 'false_alarm',
        o.rating IS NOT NULL,
        coalesce(o.rating >= 4, false),
        o.source = 'resident' AND o.state = 'closed',
        o.source = 'resident' AND o.state = 'closed' AND o.call_back IS NOT NULL,
        coalesce(o.call_back IN ('satisfied', 'unsatisfied'), false),
        coalesce(o.call_back = 'satisfied', false),
        o.accept_s, o.arrive_s, o.resolve_s, o.verify_s,
        o.rating::double precision,
        CASE WHEN o.filed_at IS NOT NULL THEN (
            SELECT count(*) FROM work_order_history h WHERE h.order_id = o.id AND h.move = 'escalate'
        )::double precision END,
        o.urges::double precision
    FROM work_order o
    LEFT JOIN alert a ON a.id = o.alert_id
    LEFT JOIN device d ON d.device_no = o.device_no
    LEFT JOIN building b ON b.id = o.building_id
    CROSS JOIN LATERAL (
        SELECT
            o.filed_at IS NOT NULL AND o.state NOT IN ('cancelled', 'false_alarm', 'merged')
                AND (o.state = 'closed' OR coalesce(o.resolve_due <= p_now, false)) AS due,
            -- a clock stands while the order is paused, and is over with it
            least(p_now, o.closed_at) AS until,
            least(p_now, o.closed_at, o.paused_at) AS running,
            o.filed_at IS NOT NULL AND o.state = 'paused' AND coalesce(o.resolve_due <= p_now, false) AS deferred
    ) w
    WHERE o.community_id = p_community AND o.created_at >= p_from AND o.created_at < p_to AND o.created_at <= p_now
$$;
COMMENT ON FUNCTION order_fact IS
    'services/domain/kpis says what each is called and which figures are made of them; docs/kpis.md';
