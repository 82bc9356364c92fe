-- name: open_stage
CREATE TEMP TABLE stage (
    line         integer NOT NULL,
    id           text NOT NULL,
    community_id text NOT NULL,
    kind         text NOT NULL,
    name         text NOT NULL,
    place        text NOT NULL,
    gateway_id   text,
    building_id  text,
    unit_id      text,
    household_id text,
    grid_id      text,
    floor        smallint,
    x            real NOT NULL,
    y            real NOT NULL,
    interval_s   integer NOT NULL,
    tags         text[] NOT NULL,
    codec        text NOT NULL,
    address      text,
    profile      text
) ON COMMIT DROP

-- name: index_stage
CREATE INDEX ON stage (id)

-- name: analyze_stage
ANALYZE stage

-- name: faults
SELECT s.line, 'twice' AS fault, s.id AS value, f.line::text AS other
FROM (SELECT line, id, min(line) OVER (PARTITION BY id) AS first FROM stage) AS s
JOIN stage AS f ON f.line = s.first
WHERE s.line <> s.first
UNION ALL
SELECT s.line, 'no_community', s.community_id, ''
FROM stage AS s WHERE NOT EXISTS (SELECT FROM community AS c WHERE c.id = s.community_id)
UNION ALL
SELECT s.line, 'foreign', s.id, d.community_id
FROM stage AS s JOIN device AS d ON d.id = s.id WHERE d.community_id <> s.community_id
UNION ALL
SELECT s.line, 'exists', s.id, ''
FROM stage AS s JOIN device AS d ON d.id = s.id WHERE $1 AND d.retired_at IS NULL AND d.community_id = s.community_id
UNION ALL
SELECT s.line, 'own_gateway', s.gateway_id, '' FROM stage AS s WHERE s.gateway_id = s.id
UNION ALL
SELECT s.line, 'no_gateway', s.gateway_id, s.community_id
FROM stage AS s
WHERE s.gateway_id IS NOT NULL AND s.gateway_id <> s.id
  AND NOT EXISTS (SELECT FROM stage AS g WHERE g.id = s.gateway_id AND g.community_id = s.community_id)
  AND NOT EXISTS (SELECT FROM device AS g
                  WHERE g.id = s.gateway_id AND g.community_id = s.community_id AND g.retired_at IS NULL)
UNION ALL
SELECT s.line, 'gateway_behind', s.gateway_id, g.gateway_id
FROM stage AS s JOIN stage AS g ON g.id = s.gateway_id WHERE g.gateway_id IS NOT NULL AND g.id <> s.id
UNION ALL
SELECT s.line, 'gateway_behind', s.gateway_id, gg.id
FROM stage AS s
JOIN device AS g ON g.id = s.gateway_id
JOIN device AS gg ON gg.device_no = g.gateway_no
WHERE NOT EXISTS (SELECT FROM stage AS again WHERE again.id = s.gateway_id)
UNION ALL
SELECT s.line, 'is_gateway', s.id, min(b.id)
FROM stage AS s
JOIN device AS d ON d.id = s.id
JOIN device AS b ON b.gateway_no = d.device_no AND b.retired_at IS NULL
WHERE s.gateway_id IS NOT NULL AND NOT EXISTS (SELECT FROM stage AS again WHERE again.id = b.id)
GROUP BY s.line, s.id
UNION ALL
SELECT s.line, 'no_building', s.building_id, s.community_id
FROM stage AS s WHERE s.building_id IS NOT NULL
  AND NOT EXISTS (SELECT FROM building AS p WHERE p.id = s.building_id AND p.community_id = s.community_id)
UNION ALL
SELECT s.line, 'no_unit', s.unit_id, s.community_id
FROM stage AS s WHERE s.unit_id IS NOT NULL
  AND NOT EXISTS (SELECT FROM unit AS p WHERE p.id = s.unit_id AND p.community_id = s.community_id)
UNION ALL
SELECT s.line, 'no_household', s.household_id, s.community_id
FROM stage AS s WHERE s.household_id IS NOT NULL
  AND NOT EXISTS (SELECT FROM household AS p WHERE p.id = s.household_id AND p.community_id = s.community_id)
UNION ALL
SELECT s.line, 'no_grid', s.grid_id, s.community_id
FROM stage AS s WHERE s.grid_id IS NOT NULL
  AND NOT EXISTS (SELECT FROM grid AS p WHERE p.id = s.grid_id AND p.community_id = s.community_id)
UNION ALL
SELECT line, 'address_twice', address, first::text
FROM (SELECT line, address, min(line) OVER (PARTITION BY gateway_id, address) AS first
      FROM stage WHERE address IS NOT NULL AND gateway_id IS NOT NULL) AS a
WHERE line <> first
UNION ALL
SELECT s.line, 'address_taken', s.address, d.id
FROM stage AS s
JOIN device AS g ON g.id = s.gateway_id
JOIN device AS d ON d.gateway_no = g.device_no AND d.address = s.address AND d.retired_at IS NULL AND d.id <> s.id
WHERE NOT EXISTS (SELECT FROM stage AS again WHERE again.id = d.id)
UNION ALL
SELECT line, 'profile_format', profile, wanted || ', ' || spoken
FROM (SELECT s.line, s.profile, p.codec AS wanted,
             CASE WHEN s.gateway_id IS NULL THEN s.codec ELSE coalesce(again.codec, g.codec) END AS spoken
      FROM stage AS s
      JOIN unnest($2::text[], $3::text[]) AS p (name, codec) ON p.name = s.profile
      LEFT JOIN stage AS again ON again.id = s.gateway_id
      LEFT JOIN device AS g ON g.id = s.gateway_id) AS f
WHERE spoken <> wanted
ORDER BY 1, 2

-- name: inconsistent
SELECT s.line, 'unit_elsewhere' AS fault, s.unit_id AS value, u.building_id AS other
FROM stage AS s JOIN unit AS u ON u.id = s.unit_id
WHERE s.building_id IS NOT NULL AND u.building_id <> s.building_id
UNION ALL
SELECT s.line, 'household_elsewhere', s.household_id, h.unit_id
FROM stage AS s JOIN household AS h ON h.id = s.household_id
WHERE s.unit_id IS NOT NULL AND h.unit_id <> s.unit_id
UNION ALL
SELECT s.line, 'household_building', s.household_id, u.building_id
FROM stage AS s JOIN household AS h ON h.id = s.household_id JOIN unit AS u ON u.id = h.unit_id
WHERE s.unit_id IS NULL AND s.building_id IS NOT NULL AND u.building_id <> s.building_id
UNION ALL
SELECT s.line, 'floor_above', s.floor::text, b.floors::text
FROM stage AS s JOIN building AS b ON b.id = s.building_id
WHERE s.floor > b.floors + 1

-- name: would
SELECT line, id, added, columns FROM (
    SELECT s.line, s.id, d.device_no IS NULL AS added,
           CASE WHEN d.device_no IS NULL THEN '{}'::text[] ELSE array_remove(ARRAY[
               CASE WHEN d.kind <> s.kind THEN 'kind' END,
               CASE WHEN d.name <> s.name THEN 'name' END,
               CASE WHEN d.place <> s.place THEN 'place' END,
               CASE WHEN g.id IS DISTINCT FROM s.gateway_id THEN 'gateway' END,
               CASE WHEN d.building_id IS DISTINCT FROM s.building_id THEN 'building' END,
               CASE WHEN d.unit_id IS DISTINCT FROM s.unit_id THEN 'unit' END,
               CASE WHEN d.household_id IS DISTINCT FROM s.household_id THEN 'household' END,
               CASE WHEN d.grid_id IS DISTINCT FROM s.grid_id THEN 'grid' END,
               CASE WHEN d.floor IS DISTINCT FROM s.floor THEN 'floor' END,
               CASE WHEN d.x <> s.x THEN 'x' END,
               CASE WHEN d.y <> s.y THEN 'y' END,
               CASE WHEN d.interval_s <> s.interval_s THEN 'interval_s' END,
               CASE WHEN d.tags <> s.tags THEN 'tags' END,
               CASE WHEN d.codec <> s.codec THEN 'codec' END,
               CASE WHEN d.address IS DISTINCT FROM s.address THEN 'address' END,
               CASE WHEN d.profile IS DISTINCT FROM s.profile THEN 'profile' END,
               CASE WHEN d.retired_at IS NOT NULL THEN 'reinstated' END
           ], NULL) END AS columns
    FROM stage AS s
    LEFT JOIN device AS d ON d.id = s.id
    LEFT JOIN device AS g ON g.device_no = d.gateway_no
) AS w
WHERE added OR columns <> '{}'
ORDER BY line

-- name: free_addresses
UPDATE device AS d SET address = NULL
FROM stage AS s
LEFT JOIN device AS g ON g.id = s.gateway_id
WHERE d.id = s.id AND d.address IS NOT NULL
  AND (d.address IS DISTINCT FROM s.address OR d.gateway_no IS DISTINCT FROM g.device_no)

-- name: put_devices
WITH put AS (
    INSERT INTO device AS d (id, community_id, kind, name, building_id, unit_id, household_id, grid_id, place, floor,
                             x, y, interval_s, tags, codec, profile)
    SELECT id, community_id, kind, name, building_id, unit_id, household_id, grid_id, place, floor, x, y, interval_s,
           tags, codec, profile
    FROM stage ORDER BY line
    ON CONFLICT (id) DO UPDATE SET
        kind = excluded.kind, name = excluded.name, building_id = excluded.building_id, unit_id = excluded.unit_id,
        household_id = excluded.household_id, grid_id = excluded.grid_id, place = excluded.place,
        floor = excluded.floor, x = excluded.x, y = excluded.y, interval_s = excluded.interval_s,
        tags = excluded.tags, codec = excluded.codec, profile = excluded.profile, retired_at = NULL
    WHERE (d.kind, d.name, d.building_id, d.unit_id, d.household_id, d.grid_id, d.place, d.floor, d.x, d.y,
           d.interval_s, d.tags, d.codec, d.profile, d.retired_at)
        IS DISTINCT FROM
          (excluded.kind, excluded.name, excluded.building_id, excluded.unit_id, excluded.household_id,
           excluded.grid_id, excluded.place, excluded.floor, excluded.x, excluded.y, excluded.interval_s,
           excluded.tags, excluded.codec, excluded.profile, NULL::timestamptz)
    RETURNING xmax = 0 AS added
)
SELECT count(*) FILTER (WHERE added) AS added, count(*) FILTER (WHERE NOT added) AS changed FROM put

-- name: put_gateways
UPDATE device AS d SET gateway_no = g.device_no
FROM stage AS s
LEFT JOIN device AS g ON g.id = s.gateway_id
WHERE d.id = s.id AND d.gateway_no IS DISTINCT FROM g.device_no

-- name: put_addresses
UPDATE device AS d SET address = s.address
FROM stage AS s
WHERE d.id = s.id AND d.address IS DISTINCT FROM s.address

-- name: without_secret
SELECT d.device_no, d.id, d.community_id, d.name, d.place
FROM stage AS s
JOIN device AS d ON d.id = s.id
LEFT JOIN device_credential AS c ON c.device_no = d.device_no
WHERE d.gateway_no IS NULL AND c.device_no IS NULL
ORDER BY s.line

-- name: still_revoked
SELECT d.id
FROM stage AS s
JOIN device AS d ON d.id = s.id
JOIN device_credential AS c ON c.device_no = d.device_no
WHERE c.revoked_at IS NOT NULL
ORDER BY s.line

-- name: add_credentials
INSERT INTO device_credential (device_no, secret_hash)
SELECT * FROM unnest($1::integer[], $2::text[])

-- name: credentials
SELECT d.id, d.device_no, d.community_id, d.name, d.place, d.retired_at, c.device_no IS NOT NULL AS logs_in,
       c.revoked_at, g.id AS gateway_id
FROM unnest($1::text[]) WITH ORDINALITY AS wanted (id, position)
LEFT JOIN device AS d ON d.id = wanted.id
LEFT JOIN device_credential AS c ON c.device_no = d.device_no
LEFT JOIN device AS g ON g.device_no = d.gateway_no
ORDER BY wanted.position

-- name: revoke
UPDATE device_credential SET revoked_at = now() WHERE device_no = ANY ($1::integer[]) AND revoked_at IS NULL

-- name: retire
UPDATE device SET retired_at = now() WHERE device_no = ANY ($1::integer[]) AND retired_at IS NULL

-- name: rotate
UPDATE device_credential AS c SET secret_hash = r.secret_hash, created_at = now(), revoked_at = NULL
FROM unnest($1::integer[], $2::text[]) AS r (device_no, secret_hash)
WHERE c.device_no = r.device_no

-- name: audit
SELECT audit_append($1, $2, $3, $4, $5, $6::text::jsonb)

-- name: devices
SELECT d.id, d.community_id AS community, d.kind, d.name, d.place, g.id AS gateway, d.building_id AS building,
       d.unit_id AS unit, d.household_id AS household, d.grid_id AS grid, d.floor, d.x, d.y, d.interval_s, d.codec,
       d.address, d.profile, d.tags,
       CASE WHEN d.retired_at IS NOT NULL THEN 'retired'
            WHEN d.gateway_no IS NOT NULL AND c.device_no IS NULL THEN 'behind_gateway'
            WHEN c.device_no IS NULL THEN 'no_secret'
            WHEN c.revoked_at IS NOT NULL THEN 'revoked'
            ELSE 'admitted' END AS login,
       c.created_at AS secret_since, c.revoked_at, d.created_at, d.retired_at, s.online, s.last_seen_at
FROM device AS d
LEFT JOIN device AS g ON g.device_no = d.gateway_no
LEFT JOIN device_credential AS c ON c.device_no = d.device_no
LEFT JOIN device_state AS s ON s.device_no = d.device_no
WHERE d.id > $1
  AND ($2::text IS NULL OR d.community_id = $2)
  AND ($3::text IS NULL OR d.kind = $3)
  AND ($4::text IS NULL OR g.id = $4)
  AND ($5::text IS NULL OR d.id = $5)
  AND ($6::boolean IS NULL OR (c.revoked_at IS NOT NULL) = $6)
ORDER BY d.id
LIMIT $7
