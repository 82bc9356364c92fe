-- name: tag_counts
SELECT tag, count(*) AS n FROM person AS p, unnest(p.tags) AS tag
WHERE p.community_id = $1 AND p.erased_at IS NULL AND p.moved_out_at IS NULL
GROUP BY tag

-- name: people
SELECT p.*, b.id AS building_id, b.name AS building, u.name AS unit, h.room, b.grid_id
FROM person AS p
LEFT JOIN household AS h ON h.id = p.household_id
LEFT JOIN unit AS u ON u.id = h.unit_id
LEFT JOIN building AS b ON b.id = u.building_id
WHERE p.community_id = $1 AND p.erased_at IS NULL
  AND (p.moved_out_at IS NOT NULL) = $2
  AND ($3::text[] IS NULL OR p.tags @> $3::text[])
  AND ($4::text IS NULL OR b.id = $4)
  AND ($5::text IS NULL OR b.grid_id = $5)
  AND ($6::text IS NULL OR p.household_id = $6)
  AND ($7::integer IS NULL OR p.birth_year <= $7)
  AND ($8::integer IS NULL OR p.birth_year >= $8)
  AND ($9::text IS NULL OR position($9 IN p.name) > 0 OR p.id = $9 OR p.phone = $9)
  AND ($10::text IS NULL OR p.id > $10)
ORDER BY p.id
LIMIT $11

-- name: person
SELECT p.*, b.id AS building_id, b.name AS building, u.name AS unit, h.room, b.grid_id,
       a.display_name AS account_name, g.display_name AS guardian_name
FROM person AS p
LEFT JOIN household AS h ON h.id = p.household_id
LEFT JOIN unit AS u ON u.id = h.unit_id
LEFT JOIN building AS b ON b.id = u.building_id
LEFT JOIN app_user AS a ON a.id = p.account_id
LEFT JOIN app_user AS g ON g.id = p.guardian_id
WHERE p.id = $1 AND p.erased_at IS NULL

-- name: lock_person
SELECT version FROM person WHERE id = $1 AND erased_at IS NULL FOR UPDATE

-- name: insert_person
INSERT INTO person (id, community_id, household_id, name, birth_year, phone, tags, account_id, guardian_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
ON CONFLICT (id) DO NOTHING
RETURNING id

-- name: update_person
UPDATE person SET household_id = $2, name = $3, birth_year = $4, phone = $5, tags = $6, account_id = $7,
                  guardian_id = $8, moved_out_at = CASE WHEN $2::text IS NULL THEN moved_out_at END
WHERE id = $1

-- name: move_out
UPDATE person SET household_id = NULL, moved_out_at = coalesce(moved_out_at, $2), away_until = NULL WHERE id = $1

-- name: unbind_devices
UPDATE device SET person_id = NULL WHERE person_id = $1

-- name: withdraw_all
UPDATE consent SET withdrawn_at = $2, withdrawn_by = $3 WHERE person_id = $1 AND withdrawn_at IS NULL

-- name: bound_to
SELECT (SELECT count(*) FROM device WHERE person_id = $1) AS devices,
       (SELECT count(*) FROM consent WHERE person_id = $1) AS consents,
       (SELECT count(*) FROM person_contact WHERE person_id = $1) AS contacts

-- name: delete_person
DELETE FROM person WHERE id = $1

-- name: household_there
SELECT EXISTS (SELECT FROM household WHERE id = $2 AND community_id = $1)

-- name: accounts_there
SELECT id FROM app_user WHERE id = ANY ($2::text[]) AND community_id = $1

-- name: homes
SELECT h.id, h.room, u.name AS unit, b.name AS building, b.id AS building_id
FROM household AS h JOIN unit AS u ON u.id = h.unit_id JOIN building AS b ON b.id = u.building_id
WHERE h.community_id = $1

-- name: all_people
SELECT p.id, p.community_id, p.household_id, p.name, p.birth_year, p.phone, p.tags, p.erased_at
FROM person AS p
WHERE p.community_id = $1 OR p.id = ANY ($2::text[])

-- name: import_people
INSERT INTO person AS p (id, community_id, household_id, name, birth_year, phone, tags)
SELECT id, $1, household_id, name, birth_year, phone, tags
FROM jsonb_to_recordset($2) AS r
    (id text, household_id text, name text, birth_year smallint, phone text, tags text[])
ON CONFLICT (id) DO UPDATE SET
    household_id = excluded.household_id, name = excluded.name, birth_year = excluded.birth_year,
    phone = excluded.phone, tags = excluded.tags,
    moved_out_at = CASE WHEN excluded.household_id IS NULL THEN p.moved_out_at END
WHERE p.community_id = excluded.community_id

-- name: of_household
SELECT p.*, b.id AS building_id, b.name AS building, u.name AS unit, h.room, b.grid_id
FROM person AS p
JOIN household AS h ON h.id = p.household_id
JOIN unit AS u ON u.id = h.unit_id
JOIN building AS b ON b.id = u.building_id
WHERE p.household_id = $1 AND p.erased_at IS NULL
ORDER BY p.id

-- name: consents
SELECT c.*, consent_period(c) @> now() AS valid, coalesce(r.display_name, c.recorded_by) AS recorded_name,
       coalesce(w.display_name, c.withdrawn_by) AS withdrawn_name
FROM consent AS c
LEFT JOIN app_user AS r ON r.id = c.recorded_by
LEFT JOIN app_user AS w ON w.id = c.withdrawn_by
WHERE c.person_id = $1 ORDER BY c.recorded_at DESC, c.id

-- name: consent_by_id
SELECT c.*, consent_period(c) @> now() AS valid, coalesce(r.display_name, c.recorded_by) AS recorded_name,
       coalesce(w.display_name, c.withdrawn_by) AS withdrawn_name
FROM consent AS c
LEFT JOIN app_user AS r ON r.id = c.recorded_by
LEFT JOIN app_user AS w ON w.id = c.withdrawn_by
WHERE c.id = $1

-- name: insert_consent
INSERT INTO consent AS c (id, community_id, person_id, what, given_by, giver, how, starts_at, ends_at, note, recorded_by)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (id) DO NOTHING
RETURNING id

-- name: withdraw_consent
UPDATE consent SET withdrawn_at = $2, withdrawn_by = $3 WHERE id = $1 AND withdrawn_at IS NULL

-- name: shared_with_family
SELECT EXISTS (SELECT FROM consent AS c WHERE c.person_id = $1 AND c.what = 'family' AND consent_period(c) @> now())

-- name: open_things
SELECT a.id AS alert_id, a.order_id
FROM alert AS a JOIN device AS d ON d.device_no = a.device_no
WHERE d.person_id = $1 AND a.state <> 'cleared' AND NOT a.shadow
ORDER BY a.fired_at, a.id LIMIT 200

-- name: insert_emergency
INSERT INTO emergency_access (id, community_id, person_id, account_id, account_role, reason, at, until)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (id) DO NOTHING

-- name: emergency_by_id
SELECT e.*, coalesce(u.display_name, e.account_id) AS account
FROM emergency_access AS e LEFT JOIN app_user AS u ON u.id = e.account_id WHERE e.id = $1

-- name: emergencies
SELECT e.*, coalesce(u.display_name, e.account_id) AS account
FROM emergency_access AS e LEFT JOIN app_user AS u ON u.id = e.account_id
WHERE e.community_id = $1 AND ($2::text IS NULL OR e.person_id = $2)
  AND ($3::timestamptz IS NULL OR (e.at, e.id) < ($3, $4::uuid))
ORDER BY e.at DESC, e.id DESC
LIMIT $5

-- name: health_reads
SELECT a.id, a.at, coalesce(u.display_name, a.actor_id) AS by, a.actor_role AS role, a.detail
FROM audit AS a LEFT JOIN app_user AS u ON u.id = a.actor_id
WHERE a.community_id = $1 AND a.action IN ('health.read', 'health.emergency', 'health.reveal')
  AND (a.detail ->> 'person' = $2 OR a.subject = ANY ($3::text[]))
  AND ($4::bigint IS NULL OR a.id < $4)
ORDER BY a.id DESC
LIMIT $5

-- name: subjects_of
SELECT 'device:' || id AS subject FROM device WHERE person_id = $1
UNION ALL SELECT 'person:' || $1

-- name: watched_by
SELECT DISTINCT coalesce(u.display_name, a.actor_id) AS by
FROM audit AS a LEFT JOIN app_user AS u ON u.id = a.actor_id
WHERE a.community_id = $1 AND a.action = 'health.watch' AND a.at > $2
ORDER BY 1
