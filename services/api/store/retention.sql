-- name: kept_days
SELECT class, days FROM retention_rule WHERE community_id = $1

-- name: set_days
INSERT INTO retention_rule (community_id, class, days, changed_by) VALUES ($1, $2, $3, $4)
ON CONFLICT (community_id, class) DO UPDATE SET days = excluded.days, changed_by = excluded.changed_by, changed_at = now()
