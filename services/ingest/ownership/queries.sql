-- name: lock_registration
SELECT pg_advisory_xact_lock(7236010)

-- name: make_slots
INSERT INTO worker_lease (consumer, partition, owner, epoch, expires_at)
SELECT 'ingest', slot, '', 0, now() FROM unnest($1::smallint[]) AS slot
ON CONFLICT DO NOTHING

-- name: workers
SELECT w.worker, w.instance, extract(epoch FROM clock_timestamp() - w.seen_at)::float8 AS silent_s,
       l.objid IS NOT NULL AS connected
FROM ingest_worker w
LEFT JOIN pg_locks l ON l.locktype = 'advisory' AND l.classid = 7236011 AND l.objsubid = 2 AND l.granted
    AND l.objid::bigint = w.number
    AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY w.worker

-- name: owners
SELECT partition, owner, epoch FROM worker_lease WHERE consumer = 'ingest'

-- name: register
INSERT INTO ingest_worker (worker, instance) VALUES ($1, $2) RETURNING number

-- name: hold_lock
SELECT pg_try_advisory_lock(7236011, $1)

-- name: seen
UPDATE ingest_worker SET seen_at = clock_timestamp() WHERE instance = $1 RETURNING number

-- name: dismiss
WITH gone AS (
    DELETE FROM ingest_worker WHERE instance = ANY ($1::text[]) RETURNING instance
), freed AS (
    UPDATE worker_lease SET owner = '', expires_at = now()
    FROM gone
    WHERE consumer = 'ingest' AND owner = gone.instance
    RETURNING partition
)
SELECT coalesce(array_agg(partition ORDER BY partition), '{}') FROM freed

-- name: end_connections
SELECT count(pg_terminate_backend(pid))
FROM pg_stat_activity
WHERE datname = current_database() AND split_part(application_name, '/', 2) = ANY ($1::text[])

-- name: claim
WITH free AS (
    SELECT l.partition
    FROM worker_lease l
    WHERE l.consumer = 'ingest' AND l.partition = ANY ($2::smallint[])
      AND NOT EXISTS (SELECT FROM ingest_worker w WHERE w.instance = l.owner)
      AND EXISTS (SELECT FROM ingest_worker w WHERE w.instance = $1)
    -- Waits for nobody, but takes nothing that a former owner's transaction still writes under.
    FOR UPDATE OF l SKIP LOCKED
)
UPDATE worker_lease held SET owner = $1, epoch = held.epoch + 1, expires_at = 'infinity'
FROM free
WHERE held.consumer = 'ingest' AND held.partition = free.partition
RETURNING held.partition, held.epoch

-- name: release
UPDATE worker_lease SET owner = '', expires_at = now()
WHERE consumer = 'ingest' AND owner = $1 AND partition = ANY ($2::smallint[])

-- name: former_sessions
SELECT client_id, role FROM former_session ORDER BY client_id

-- name: forget_former_session
DELETE FROM former_session WHERE client_id = $1
