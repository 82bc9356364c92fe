-- name: places
SELECT p.*,
       (SELECT count(*) FROM building AS b
        WHERE p.sort = 'compound' AND b.compound_id = p.id OR p.sort = 'grid' AND b.grid_id = p.id)::integer AS buildings,
       (SELECT count(*) FROM unit AS u WHERE p.sort = 'building' AND u.building_id = p.id)::integer AS units,
       (SELECT count(*) FROM household AS h JOIN unit AS u ON u.id = h.unit_id
        WHERE p.sort = 'unit' AND h.unit_id = p.id OR p.sort = 'building' AND u.building_id = p.id)::integer
           AS households,
       (SELECT count(*) FROM device AS d
        WHERE d.retired_at IS NULL AND d.community_id = p.community_id
          AND CASE p.sort WHEN 'building' THEN d.building_id WHEN 'unit' THEN d.unit_id
              WHEN 'household' THEN d.household_id WHEN 'grid' THEN d.grid_id END = p.id)::integer AS devices
FROM (
    SELECT * FROM registry_place
    WHERE community_id = $1
      AND ($2::text IS NULL OR sort = $2)
      AND ($3::text IS NULL OR id = $3)
      AND ($4::text IS NULL OR $4 IN (compound_id, grid_id, building_id, unit_id))
      AND ($5::text IS NULL OR position(lower($5) IN lower(id || ' ' || name)) > 0)
      AND ($6::integer IS NULL OR (rank, id) > ($6, $7::text))
    ORDER BY rank, id
    LIMIT $8
) AS p
ORDER BY rank, id

-- name: places_plain
SELECT rank, sort, id, name, compound_id, grid_id, building_id, unit_id, floors, floor, x, y, width, depth
FROM registry_place WHERE community_id = $1 ORDER BY rank, id

-- name: counts
SELECT (SELECT count(*) FROM compound WHERE community_id = $1)::integer AS compounds,
       (SELECT count(*) FROM grid WHERE community_id = $1)::integer AS grids,
       (SELECT count(*) FROM building WHERE community_id = $1)::integer AS buildings,
       (SELECT count(*) FROM unit WHERE community_id = $1)::integer AS units,
       (SELECT count(*) FROM household WHERE community_id = $1)::integer AS homes,
       (SELECT count(*) FROM device WHERE community_id = $1 AND retired_at IS NULL)::integer AS devices,
       (SELECT count(*) FROM device WHERE community_id = $1 AND retired_at IS NOT NULL)::integer AS retired,
       (SELECT count(*) FROM device WHERE community_id = $1 AND retired_at IS NULL AND x = 0 AND y = 0)::integer
           AS unplaced,
       (SELECT count(*) FROM device AS d LEFT JOIN device_states($1) AS s ON s.device_no = d.device_no
        WHERE d.community_id = $1 AND d.retired_at IS NULL AND s.online IS NOT TRUE)::integer AS offline

-- name: community_full
SELECT c.id, c.name, s.city, s.district, s.name AS street, c.street_id, c.latitude, c.longitude, c.timezone,
       c.households, c.residents, c.version, c.plan_version
FROM community AS c JOIN street AS s ON s.id = c.street_id WHERE c.id = $1

-- name: lock_community
SELECT version, plan_version FROM community WHERE id = $1 FOR UPDATE

-- name: put_street
INSERT INTO street (id, city, district, name) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING

-- name: add_community
INSERT INTO community (id, street_id, name, partition, latitude, longitude, timezone, households, residents, plan)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10::text::jsonb)
ON CONFLICT (id) DO NOTHING RETURNING version

-- name: change_community
UPDATE community SET name = $2, latitude = $3, longitude = $4, timezone = $5, households = $6, residents = $7
WHERE id = $1 RETURNING version

-- name: remove_community
DELETE FROM community WHERE id = $1

-- name: stands_on_community
SELECT what, n, '{}'::text[] AS names FROM (
    SELECT 'compound' AS what, count(*)::integer AS n FROM compound WHERE community_id = $1
    UNION ALL SELECT 'grid', count(*) FROM grid WHERE community_id = $1
    UNION ALL SELECT 'device', count(*) FROM device WHERE community_id = $1
    UNION ALL SELECT 'person', count(*) FROM person WHERE community_id = $1
    UNION ALL SELECT 'account', count(*) FROM app_user WHERE community_id = $1
    UNION ALL SELECT 'order', count(*) FROM work_order WHERE community_id = $1
) AS every WHERE n > 0

-- name: put_compounds
INSERT INTO compound (id, community_id, name)
SELECT id, $1, name FROM jsonb_to_recordset($2::text::jsonb) AS r (id text, name text)
ON CONFLICT (id) DO UPDATE SET name = excluded.name

-- name: put_grids
INSERT INTO grid (id, community_id, name)
SELECT id, $1, name FROM jsonb_to_recordset($2::text::jsonb) AS r (id text, name text)
ON CONFLICT (id) DO UPDATE SET name = excluded.name

-- name: put_buildings
INSERT INTO building (id, community_id, compound_id, grid_id, name, floors, x, y, width, depth)
SELECT id, $1, compound_id, grid_id, name, floors, x, y, width, depth
FROM jsonb_to_recordset($2::text::jsonb) AS r
    (id text, compound_id text, grid_id text, name text, floors smallint, x real, y real, width real, depth real)
ON CONFLICT (id) DO UPDATE SET
    compound_id = excluded.compound_id, grid_id = excluded.grid_id, name = excluded.name, floors = excluded.floors,
    x = excluded.x, y = excluded.y, width = excluded.width, depth = excluded.depth

-- name: put_units
INSERT INTO unit (id, community_id, building_id, name)
SELECT id, $1, building_id, name
FROM jsonb_to_recordset($2::text::jsonb) AS r (id text, name text, building_id text)
ON CONFLICT (id) DO UPDATE SET building_id = excluded.building_id, name = excluded.name

-- name: put_households
INSERT INTO household (id, community_id, unit_id, floor, room)
SELECT id, $1, unit_id, floor, name
FROM jsonb_to_recordset($2::text::jsonb) AS r (id text, unit_id text, floor smallint, name text)
ON CONFLICT (id) DO UPDATE SET unit_id = excluded.unit_id, floor = excluded.floor, room = excluded.room

-- name: lock_places
SELECT pg_advisory_xact_lock(7236025, hashtext($1))

-- name: owners
SELECT 'compound' AS sort, id, community_id FROM compound WHERE id = ANY ($1::text[])
UNION ALL SELECT 'grid', id, community_id FROM grid WHERE id = ANY ($1::text[])
UNION ALL SELECT 'building', id, community_id FROM building WHERE id = ANY ($1::text[])
UNION ALL SELECT 'unit', id, community_id FROM unit WHERE id = ANY ($1::text[])
UNION ALL SELECT 'household', id, community_id FROM household WHERE id = ANY ($1::text[])

-- name: remove_compounds
DELETE FROM compound WHERE community_id = $1 AND id = ANY ($2::text[])

-- name: remove_grids
DELETE FROM grid WHERE community_id = $1 AND id = ANY ($2::text[])

-- name: remove_buildings
DELETE FROM building WHERE community_id = $1 AND id = ANY ($2::text[])

-- name: remove_units
DELETE FROM unit WHERE community_id = $1 AND id = ANY ($2::text[])

-- name: remove_households
DELETE FROM household WHERE community_id = $1 AND id = ANY ($2::text[])

-- name: stands_on
SELECT what, place, count(*)::integer AS n, (array_agg(name ORDER BY name) FILTER (WHERE name IS NOT NULL))[1:5] AS names
FROM (
    SELECT 'building' AS what, b.compound_id AS place, b.name, 'building:' || b.id AS self
    FROM building AS b WHERE $1 = 'compound' AND b.compound_id = ANY ($2::text[])
    UNION ALL
    SELECT 'building', b.grid_id, b.name, 'building:' || b.id
    FROM building AS b WHERE $1 = 'grid' AND b.grid_id = ANY ($2::text[])
    UNION ALL
    SELECT 'unit', u.building_id, u.name, 'unit:' || u.id
    FROM unit AS u WHERE $1 = 'building' AND u.building_id = ANY ($2::text[])
    UNION ALL
    SELECT 'household', h.unit_id, h.room, 'household:' || h.id
    FROM household AS h WHERE $1 = 'unit' AND h.unit_id = ANY ($2::text[])
    UNION ALL
    SELECT 'device', p.place, d.id, 'device:' || d.id
    FROM device AS d
    CROSS JOIN LATERAL (SELECT CASE $1 WHEN 'grid' THEN d.grid_id WHEN 'building' THEN d.building_id
                               WHEN 'unit' THEN d.unit_id WHEN 'household' THEN d.household_id END AS place) AS p
    WHERE d.community_id = $4 AND d.retired_at IS NULL AND p.place = ANY ($2::text[])
    UNION ALL
    -- Who lives there is not said here, only how many.
    SELECT 'person', q.household_id, NULL, 'person:' || q.id
    FROM person AS q WHERE $1 = 'household' AND q.household_id = ANY ($2::text[])
    UNION ALL
    SELECT 'account', p.place, a.username, 'account:' || a.id
    FROM app_user AS a
    CROSS JOIN LATERAL (SELECT CASE $1 WHEN 'grid' THEN a.grid_id WHEN 'household' THEN a.household_id END AS place)
        AS p
    WHERE p.place = ANY ($2::text[])
    UNION ALL
    SELECT 'order', p.place, o.number::text, 'order:' || o.id
    FROM work_order AS o
    CROSS JOIN LATERAL (SELECT CASE $1 WHEN 'grid' THEN o.grid_id WHEN 'building' THEN o.building_id END AS place) AS p
    WHERE o.community_id = $4 AND o.state NOT IN ('closed', 'cancelled', 'false_alarm', 'merged')
      AND p.place = ANY ($2::text[])
    UNION ALL
    SELECT 'code', c.building_id, c.place, 'code:' || c.id
    FROM place_code AS c WHERE $1 = 'building' AND c.building_id = ANY ($2::text[]) AND c.revoked_at IS NULL
) AS every
-- What goes at the same time is not in the way.
WHERE NOT self = ANY ($3::text[])
GROUP BY what, place
ORDER BY place, what

-- name: devices_full
SELECT d.device_no, d.id, d.community_id, d.kind, d.name, d.place, g.id AS gateway_id, d.building_id, d.unit_id,
       d.household_id, d.person_id, d.grid_id, d.floor, d.x, d.y, d.interval_s, d.codec, d.address, d.profile, d.tags,
       d.version, d.created_at, d.retired_at, coalesce(s.online, false) AS online, s.last_seen_at,
       CASE WHEN d.retired_at IS NOT NULL THEN 'retired'
            WHEN d.gateway_no IS NOT NULL AND c.device_no IS NULL THEN 'behind_gateway'
            WHEN c.device_no IS NULL THEN 'no_secret'
            WHEN c.revoked_at IS NOT NULL THEN 'revoked'
            ELSE 'admitted' END AS login,
       c.created_at AS secret_since
FROM device AS d
LEFT JOIN device AS g ON g.device_no = d.gateway_no
LEFT JOIN building AS b ON b.id = d.building_id
LEFT JOIN device_credential AS c ON c.device_no = d.device_no
LEFT JOIN device_states($1) AS s ON s.device_no = d.device_no
WHERE d.community_id = $1
  AND ($2::text IS NULL OR d.id > $2)
  AND ($3::text[] IS NULL OR d.id = ANY ($3))
  AND ($4::text IS NULL OR d.kind = $4)
  AND ($5::text IS NULL OR d.building_id = $5)
  AND ($6::text IS NULL OR coalesce(d.grid_id, b.grid_id) = $6)
  AND ($7::text IS NULL OR g.id = $7)
  AND ($8::text IS NULL OR $8 = ANY (d.tags))
  AND ($9::boolean IS NULL OR (d.retired_at IS NOT NULL) = $9)
  AND ($10::boolean IS NULL OR (s.online IS NOT TRUE) = $10)
  AND ($11::boolean IS NULL OR (d.x = 0 AND d.y = 0) = $11)
  AND ($12::text IS NULL OR position(lower($12) IN lower(concat_ws(' ', d.id, d.name, d.place, d.address))) > 0)
ORDER BY d.id
LIMIT $13

-- name: devices_total
SELECT count(*)::integer
FROM device AS d
LEFT JOIN device AS g ON g.device_no = d.gateway_no
LEFT JOIN building AS b ON b.id = d.building_id
LEFT JOIN device_states($1) AS s ON s.device_no = d.device_no
WHERE d.community_id = $1
  AND ($2::text IS NULL OR d.kind = $2)
  AND ($3::text IS NULL OR d.building_id = $3)
  AND ($4::text IS NULL OR coalesce(d.grid_id, b.grid_id) = $4)
  AND ($5::text IS NULL OR g.id = $5)
  AND ($6::text IS NULL OR $6 = ANY (d.tags))
  AND ($7::boolean IS NULL OR (d.retired_at IS NOT NULL) = $7)
  AND ($8::boolean IS NULL OR (s.online IS NOT TRUE) = $8)
  AND ($9::boolean IS NULL OR (d.x = 0 AND d.y = 0) = $9)
  AND ($10::text IS NULL OR position(lower($10) IN lower(concat_ws(' ', d.id, d.name, d.place, d.address))) > 0)

-- name: lock_devices
SELECT id, version FROM device WHERE community_id = $1 AND id = ANY ($2::text[]) ORDER BY id FOR UPDATE

-- name: bind_people
UPDATE device AS d SET person_id = r.person_id
FROM unnest($2::text[], $3::text[]) AS r (id, person_id)
WHERE d.id = r.id AND d.community_id = $1 AND d.person_id IS DISTINCT FROM r.person_id

-- name: people_of
SELECT id FROM person WHERE community_id = $1 AND id = ANY ($2::text[])

-- name: behind
SELECT g.id AS gateway, d.id FROM device AS d JOIN device AS g ON g.device_no = d.gateway_no
WHERE g.community_id = $1 AND g.id = ANY ($2::text[]) AND d.retired_at IS NULL AND NOT d.id = ANY ($2::text[])
ORDER BY d.id LIMIT 5

-- name: absent_devices
SELECT id FROM device WHERE community_id = $1 AND retired_at IS NULL AND NOT id = ANY ($2::text[]) ORDER BY id

-- name: reinstate
UPDATE device SET retired_at = NULL WHERE community_id = $1 AND id = $2

-- name: made
SELECT digest, subject FROM registry_made WHERE community_id = $1 AND user_id = $2 AND key = $3

-- name: make
INSERT INTO registry_made (community_id, user_id, key, digest, subject) VALUES ($1, $2, $3, $4, $5)

-- name: add_import
INSERT INTO registry_import (id, community_id, what, removing, content, digest, report, created_by, created_at)
VALUES ($1, $2, $3, $4, $5, $6, $7::text::jsonb, $8, $9)

-- name: forget_imports
DELETE FROM registry_import WHERE created_at < $1

-- name: import
SELECT id, community_id, what, removing, digest, report::text AS report, created_by, created_at, applied_at
FROM registry_import WHERE id = $1

-- name: take_import
UPDATE registry_import SET applied_at = $2 WHERE id = $1 AND applied_at IS NULL RETURNING content

-- name: empty_import
UPDATE registry_import SET content = NULL, report = $2::text::jsonb WHERE id = $1

-- name: drawing
SELECT version, source, plan::text AS plan, note, created_by, created_at FROM plan_drawing
WHERE community_id = $1 AND version = $2

-- name: drawings
SELECT p.version, p.source, p.note, coalesce(u.display_name, p.created_by) AS created_by, p.created_at,
       jsonb_array_length(CASE jsonb_typeof(p.plan->'shapes') WHEN 'array' THEN p.plan->'shapes' ELSE '[]' END)
           AS shapes
FROM plan_drawing AS p LEFT JOIN app_user AS u ON u.id = p.created_by
WHERE p.community_id = $1 AND ($2::integer IS NULL OR p.version < $2)
ORDER BY p.version DESC LIMIT $3

-- name: keep_drawing
INSERT INTO plan_drawing (community_id, version, source, plan, note, created_by, created_at)
VALUES ($1, $2, $3, $4::text::jsonb, $5, $6, $7)

-- name: set_plan
UPDATE community SET plan = $2::text::jsonb WHERE id = $1

-- name: lock_buildings
SELECT id, version FROM building WHERE community_id = $1 AND id = ANY ($2::text[]) ORDER BY id FOR UPDATE

-- name: move_buildings
UPDATE building AS b SET x = r.x, y = r.y, width = coalesce(r.width, b.width), depth = coalesce(r.depth, b.depth)
FROM jsonb_to_recordset($2::text::jsonb) AS r (id text, x real, y real, width real, depth real)
WHERE b.id = r.id AND b.community_id = $1
RETURNING b.id, b.version

-- name: move_devices
UPDATE device AS d SET x = r.x, y = r.y,
    floor = CASE WHEN r.inside THEN r.floor ELSE d.floor END,
    building_id = CASE WHEN r.inside THEN r.building_id ELSE d.building_id END,
    unit_id = CASE WHEN r.inside THEN r.unit_id ELSE d.unit_id END
FROM jsonb_to_recordset($2::text::jsonb) AS r
    (id text, x real, y real, inside boolean, floor smallint, building_id text, unit_id text)
WHERE d.id = r.id AND d.community_id = $1
RETURNING d.id, d.version

-- name: parts
SELECT b.id AS building_id, b.floors, u.id AS unit_id FROM building AS b LEFT JOIN unit AS u ON u.building_id = b.id
WHERE b.community_id = $1 AND b.id = ANY ($2::text[])
