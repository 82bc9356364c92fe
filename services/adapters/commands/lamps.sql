-- name: schedules
SELECT s.id, s.community_id, s.title_zh, s.title_en, s.tags, s.grids, s.on_deg, s.off_deg, s.dims, s.enabled, s.version,
    s.changed_by, coalesce(u.display_name, s.changed_by) AS changed_name, s.changed_at, s.done_ms, c.latitude, c.longitude,
    c.timezone, c.partition
FROM lamp_schedule s JOIN community c ON c.id = s.community_id LEFT JOIN app_user u ON u.id = s.changed_by
WHERE s.community_id = $1 AND ($2::text IS NULL OR s.id = $2) ORDER BY s.id

-- name: put
INSERT INTO lamp_schedule (id, community_id, title_zh, title_en, tags, grids, on_deg, off_deg, dims, enabled, changed_by,
    changed_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::text::jsonb, $10, $11, $12::timestamptz)
ON CONFLICT (community_id, id) DO UPDATE SET title_zh = excluded.title_zh, title_en = excluded.title_en,
    tags = excluded.tags, grids = excluded.grids, on_deg = excluded.on_deg, off_deg = excluded.off_deg,
    dims = excluded.dims, enabled = excluded.enabled, changed_by = excluded.changed_by, changed_at = excluded.changed_at,
    version = lamp_schedule.version + 1, done_ms = 0
RETURNING version

-- name: lock
SELECT version FROM lamp_schedule WHERE community_id = $1 AND id = $2 FOR UPDATE

-- name: remove
DELETE FROM lamp_schedule WHERE community_id = $1 AND id = $2

-- name: due
SELECT s.id, s.community_id FROM lamp_schedule s JOIN community c ON c.id = s.community_id
WHERE c.partition = ANY ($1::smallint[]) AND s.enabled AND s.done_ms < $2 ORDER BY s.community_id, s.id

-- name: lock_due
SELECT s.id, s.community_id, s.title_zh, s.title_en, s.tags, s.grids, s.on_deg, s.off_deg, s.dims, s.enabled, s.version,
    s.changed_by, s.changed_at, s.done_ms, c.latitude, c.longitude, c.timezone, c.partition
FROM lamp_schedule s JOIN community c ON c.id = s.community_id
WHERE s.community_id = $1 AND s.id = $2 AND s.enabled AND s.done_ms < $3 FOR UPDATE OF s SKIP LOCKED

-- name: done
UPDATE lamp_schedule SET done_ms = $3 WHERE community_id = $1 AND id = $2
