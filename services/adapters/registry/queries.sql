-- name: foreign_devices
SELECT id FROM device WHERE id = ANY ($2::text[]) AND community_id <> $1 ORDER BY id LIMIT 5

-- name: foreign_accounts
SELECT username FROM app_user
WHERE username = ANY ($2::text[]) AND community_id IS NOT NULL AND community_id <> $1
ORDER BY username LIMIT 5

-- name: upsert_street
INSERT INTO street (id, city, district, name) VALUES ($1, $2, $3, $4)
ON CONFLICT (id) DO NOTHING

-- name: upsert_community
INSERT INTO community (id, street_id, name, partition, latitude, longitude, households, residents, plan)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::text::jsonb)
ON CONFLICT (id) DO UPDATE SET
    street_id = excluded.street_id, name = excluded.name, latitude = excluded.latitude,
    longitude = excluded.longitude, households = excluded.households, residents = excluded.residents,
    plan = excluded.plan
RETURNING partition

-- name: upsert_compounds
INSERT INTO compound (id, community_id, name)
SELECT id, $1, name FROM jsonb_to_recordset($2::text::jsonb) AS r (id text, name text)
ON CONFLICT (id) DO UPDATE SET name = excluded.name

-- name: upsert_grids
INSERT INTO grid (id, community_id, name)
SELECT id, $1, name FROM jsonb_to_recordset($2::text::jsonb) AS r (id text, name text)
ON CONFLICT (id) DO UPDATE SET name = excluded.name

-- name: upsert_buildings
INSERT INTO building (id, community_id, compound_id, grid_id, name, floors, x, y, width, depth)
SELECT id, $1, compound_id, grid_id, name, floors, x, y, width, depth
FROM jsonb_to_recordset($2::text::jsonb) AS r
    (id text, compound_id text, grid_id text, name text, floors smallint, x real, y real, width real, depth real)
ON CONFLICT (id) DO UPDATE SET
    compound_id = excluded.compound_id, grid_id = excluded.grid_id, name = excluded.name, floors = excluded.floors,
    x = excluded.x, y = excluded.y, width = excluded.width, depth = excluded.depth

-- name: upsert_units
INSERT INTO unit (id, community_id, building_id, name)
SELECT id, $1, parent_id, name FROM jsonb_to_recordset($2::text::jsonb) AS r (id text, name text, parent_id text)
ON CONFLICT (id) DO UPDATE SET building_id = excluded.building_id, name = excluded.name

-- name: upsert_households
INSERT INTO household (id, community_id, unit_id, floor, room)
SELECT id, $1, unit_id, floor, room
FROM jsonb_to_recordset($2::text::jsonb) AS r (id text, unit_id text, floor smallint, room text)
ON CONFLICT (id) DO UPDATE SET unit_id = excluded.unit_id, floor = excluded.floor, room = excluded.room

-- name: upsert_people
INSERT INTO person (id, community_id, household_id, name, birth_year, tags)
SELECT id, $1, household_id, name, birth_year, tags
FROM jsonb_to_recordset($2::text::jsonb) AS r
    (id text, household_id text, name text, birth_year smallint, tags text[])
ON CONFLICT (id) DO UPDATE SET
    household_id = excluded.household_id, name = excluded.name, birth_year = excluded.birth_year, tags = excluded.tags

-- name: add_consents
INSERT INTO consent (id, community_id, person_id, what, given_by, how, starts_at, recorded_by)
SELECT gen_random_uuid(), $1, p.id, r.what, 'self', 'paper', now(), 'import'
FROM jsonb_to_recordset($2::text::jsonb) AS r (person_id text, what text)
JOIN person AS p ON p.id = r.person_id AND p.community_id = $1 AND p.erased_at IS NULL
WHERE NOT EXISTS (SELECT FROM consent AS c WHERE c.person_id = p.id AND c.what = r.what)

-- name: upsert_devices
INSERT INTO device (id, community_id, kind, name, building_id, unit_id, household_id, person_id, grid_id, place,
                    floor, x, y, interval_s, tags, codec, address, profile)
SELECT id, $1, kind, name, building_id, unit_id, household_id,
       (SELECT p.id FROM person AS p WHERE p.id = r.person_id AND p.erased_at IS NULL), grid_id, place, floor, x, y, interval_s, tags,
       codec, address, profile
FROM jsonb_to_recordset($2::text::jsonb) AS r
    (id text, kind text, name text, building_id text, unit_id text, household_id text, person_id text, grid_id text,
     place text, floor smallint, x real, y real, interval_s integer, tags text[], codec text, address text, profile text)
ON CONFLICT (id) DO UPDATE SET
    kind = excluded.kind, name = excluded.name, building_id = excluded.building_id, unit_id = excluded.unit_id,
    household_id = excluded.household_id, person_id = excluded.person_id, grid_id = excluded.grid_id,
    place = excluded.place, floor = excluded.floor, x = excluded.x, y = excluded.y,
    interval_s = excluded.interval_s, tags = excluded.tags, codec = excluded.codec,
    address = excluded.address, profile = excluded.profile, retired_at = NULL

-- name: bind_gateways
UPDATE device AS d SET gateway_no = g.device_no
FROM jsonb_to_recordset($2::text::jsonb) AS r (id text, gateway_id text)
LEFT JOIN device AS g ON g.id = r.gateway_id
WHERE d.id = r.id AND d.community_id = $1 AND d.gateway_no IS DISTINCT FROM g.device_no

-- name: retire_devices
UPDATE device SET retired_at = now()
WHERE community_id = $1 AND retired_at IS NULL AND NOT id = ANY ($2::text[])

-- name: upsert_credentials
INSERT INTO device_credential (device_no, secret_hash)
SELECT d.device_no, r.secret_hash
FROM unnest($2::text[], $3::text[]) AS r (id, secret_hash)
JOIN device AS d ON d.id = r.id AND d.community_id = $1
ON CONFLICT (device_no) DO UPDATE SET secret_hash = excluded.secret_hash, revoked_at = NULL
WHERE device_credential.secret_hash <> excluded.secret_hash OR device_credential.revoked_at IS NOT NULL

-- name: revoke_credentials
UPDATE device_credential AS c SET revoked_at = now()
FROM device AS d
WHERE d.device_no = c.device_no AND d.community_id = $1 AND d.retired_at IS NOT NULL AND c.revoked_at IS NULL

-- name: upsert_accounts
INSERT INTO app_user (id, username, password_hash, display_name, role, team, community_id, street_id, grid_id,
                      household_id, leads, skills)
SELECT id, username, password_hash, display_name, role, team, community_id, street_id, grid_id, household_id, leads,
       skills
FROM jsonb_to_recordset($1::text::jsonb) AS r
    (id text, username text, password_hash text, display_name text, role text, team text, community_id text,
     street_id text, grid_id text, household_id text, leads boolean, skills text[])
ON CONFLICT (username) DO UPDATE SET
    password_hash = excluded.password_hash, display_name = excluded.display_name, role = excluded.role,
    team = excluded.team, community_id = excluded.community_id, street_id = excluded.street_id,
    grid_id = excluded.grid_id, household_id = excluded.household_id, leads = excluded.leads, skills = excluded.skills

-- name: delete_people
DELETE FROM person WHERE community_id = $1 AND NOT id = ANY ($2::text[]) AND erased_at IS NULL

-- name: delete_households
DELETE FROM household WHERE community_id = $1 AND NOT id = ANY ($2::text[])

-- name: delete_units
DELETE FROM unit WHERE community_id = $1 AND NOT id = ANY ($2::text[])

-- name: delete_buildings
DELETE FROM building WHERE community_id = $1 AND NOT id = ANY ($2::text[])

-- name: delete_grids
DELETE FROM grid WHERE community_id = $1 AND NOT id = ANY ($2::text[])

-- name: delete_compounds
DELETE FROM compound WHERE community_id = $1 AND NOT id = ANY ($2::text[])

-- name: load_devices
SELECT d.device_no, d.id, d.community_id, c.partition, d.kind, d.gateway_no, d.building_id, d.unit_id, d.household_id,
       coalesce(d.grid_id, b.grid_id) AS grid_id, coalesce(t.tags, '{}') AS person_tags, d.tags, d.interval_s,
       d.place, d.x, d.y, d.floor, d.name, d.codec, d.retired_at IS NOT NULL AS retired, d.person_id
FROM device AS d
JOIN community AS c ON c.id = d.community_id
LEFT JOIN building AS b ON b.id = d.building_id
LEFT JOIN (
    SELECT p.household_id, array_agg(DISTINCT tag) AS tags
    FROM person AS p, unnest(p.tags) AS tag
    WHERE p.household_id IS NOT NULL
    GROUP BY p.household_id
) AS t ON t.household_id = d.household_id
WHERE $1::smallint[] IS NULL OR c.partition = ANY ($1::smallint[])
ORDER BY d.device_no

-- name: load_communities
SELECT id, name, partition, latitude, longitude, timezone
FROM community
WHERE $1::smallint[] IS NULL OR partition = ANY ($1::smallint[])
ORDER BY id
