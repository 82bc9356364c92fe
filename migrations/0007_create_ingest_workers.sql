-- who ingests, and the broker sessions of the time before each partition had its own
CREATE TABLE ingest_worker (
    worker     text PRIMARY KEY,
    instance   text NOT NULL UNIQUE,
    number     integer GENERATED ALWAYS AS IDENTITY UNIQUE,
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at    timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
COMMENT ON TABLE ingest_worker IS
    'the ingest processes that live. A partition (worker_lease, consumer ingest) may be claimed when its owner is none of them';
COMMENT ON COLUMN ingest_worker.number IS
    'key of the advisory lock that its connection holds: free the moment the process is gone';

CREATE TABLE former_session (
    client_id text PRIMARY KEY,
    role      text NOT NULL CHECK (role IN ('event', 'telemetry', 'stray'))
);
COMMENT ON TABLE former_session IS
    'sessions at the broker that nobody connects to any more: emptied and removed by the first worker that starts';
INSERT INTO former_session (client_id, role)
SELECT DISTINCT 'linhub-' || worker || '-' || role, role
FROM ingest_ledger, unnest(ARRAY['event', 'telemetry', 'stray']) AS role
WHERE worker NOT LIKE '%-stray';
