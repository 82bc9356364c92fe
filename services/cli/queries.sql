-- name: versions
SELECT current_setting('server_version') AS server,
       current_setting('server_version_num')::int AS server_num,
       (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb') AS timescaledb,
       (SELECT default_version FROM pg_available_extensions WHERE name = 'timescaledb') AS timescaledb_available,
       current_setting('timescaledb.license', true) AS license,
       current_setting('synchronous_commit') AS synchronous_commit,
       current_setting('fsync') AS fsync,
       current_setting('full_page_writes') AS full_page_writes,
       current_setting('data_checksums') AS data_checksums,
       current_setting('max_connections')::int AS max_connections,
       current_setting('shared_buffers') AS shared_buffers,
       extract(epoch FROM clock_timestamp())::float8 AS now,
       pg_database_size(current_database()) AS bytes;

-- name: devices
SELECT count(*) AS registered,
       count(*) FILTER (WHERE s.online) AS online,
       count(*) FILTER (WHERE s.last_seen_at > now() - interval '5 minutes') AS heard_5min
FROM device d
LEFT JOIN device_state s USING (device_no)
WHERE d.retired_at IS NULL;

-- name: ledger
SELECT coalesce(sum(received), 0)::bigint AS received,
       coalesce(sum(stored), 0)::bigint AS stored,
       coalesce(sum(duplicate), 0)::bigint AS duplicate,
       coalesce(sum(rejected), 0)::bigint AS rejected
FROM ingest_ledger;

-- name: ingest_workers
SELECT w.worker, w.started_at, extract(epoch FROM clock_timestamp() - w.seen_at)::float8 AS silent_s,
       coalesce(array_agg(l.partition ORDER BY l.partition) FILTER (WHERE l.partition >= 0), '{}') AS partitions,
       coalesce(bool_or(l.partition < 0), false) AS strays
FROM ingest_worker w
LEFT JOIN worker_lease l ON l.consumer = 'ingest' AND l.owner = w.instance
GROUP BY w.worker, w.started_at, w.seen_at
ORDER BY w.worker;

-- name: partitions_unowned
SELECT coalesce(array_agg(l.partition ORDER BY l.partition), '{}')
FROM worker_lease l
WHERE l.consumer = 'ingest' AND l.partition >= 0
  AND NOT EXISTS (SELECT FROM ingest_worker w WHERE w.instance = l.owner);

-- name: quarantine_by_reason
SELECT scope, reason, sum(times)::bigint AS count, max(received_at) AS latest
FROM quarantine
GROUP BY scope, reason
ORDER BY count DESC, reason;

-- name: quarantine_latest
SELECT received_at, scope, reason, detail, topic, payload_size
FROM quarantine
ORDER BY received_at DESC, id DESC
LIMIT $1;

-- name: open_alerts
SELECT severity, count(*) AS count FROM alert WHERE state <> 'cleared' GROUP BY severity;

-- name: open_orders
SELECT state, count(*) AS count FROM work_order WHERE state NOT IN ('closed', 'cancelled', 'false_alarm', 'merged') GROUP BY state;
