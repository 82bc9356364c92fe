-- name: community
SELECT id, timezone FROM community WHERE id = $1

-- name: buildings
SELECT id, grid_id FROM building WHERE community_id = $1

-- name: grids
SELECT id FROM grid WHERE community_id = $1

-- name: devices
SELECT id, device_no, building_id, grid_id FROM device WHERE community_id = $1

-- name: people
SELECT id, username, role, team, community_id, grid_id FROM app_user
WHERE community_id = $1 OR street_id = (SELECT street_id FROM community WHERE id = $1)

-- name: stored
SELECT h.order_id, h.version, h.move, h.at, h.to_state FROM work_order_history AS h
WHERE h.order_id = ANY ($1::uuid[])
ORDER BY h.order_id, h.version

-- name: put_stand_in
INSERT INTO app_user (id, username, password_hash, display_name, role, team, community_id, disabled_at)
VALUES ($1, $1, '!', $2, $3, $4, $5, now())
ON CONFLICT (id) DO NOTHING

-- name: there
SELECT count(*) FROM work_order WHERE id = ANY ($1::uuid[])
