-- how long-lived data is packed, swept and, where the licence has it, compressed; the figures are in decision 14

-- The log is compressed with every batch: lz4 costs a quarter of what pglz does, for the same size.
DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_settings WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals)) THEN
        ALTER TABLE ingest_log ALTER body SET COMPRESSION lz4;
        ALTER TABLE quarantine ALTER payload SET COMPRESSION lz4;
        ALTER TABLE device_event ALTER data SET COMPRESSION lz4;
    ELSE
        RAISE NOTICE 'this server was built without lz4: the log is compressed with pglz, at four times the CPU';
    END IF;
END
$$;

-- Rows leave the log at the rate at which they come; the default sweeps only when a fifth of 48 hours is dead.
ALTER TABLE ingest_log SET (
    autovacuum_vacuum_scale_factor = 0.05, toast.autovacuum_vacuum_scale_factor = 0.05,
    autovacuum_vacuum_insert_scale_factor = 0.05, toast.autovacuum_vacuum_insert_scale_factor = 0.05
);
ALTER TABLE quarantine SET (autovacuum_vacuum_scale_factor = 0.05, toast.autovacuum_vacuum_scale_factor = 0.05);

-- Small, and every row of it is rewritten each minute.
ALTER TABLE device_state SET (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_cost_delay = 0);
ALTER TABLE ingest_ledger SET (autovacuum_vacuum_cost_delay = 0);
ALTER TABLE checkpoint SET (autovacuum_vacuum_cost_delay = 0);

-- Nobody asks how often a value stands in the arrays; sampling them is most of what ANALYZE costs.
ALTER TABLE reading ALTER vals SET STATISTICS 0;

-- Compression after a week and a day: by then nothing may come late any more, so no insert meets a compressed chunk.
-- Safe to call again, and `linhub migrate` does each time: a server may change its edition.
CREATE FUNCTION storage_compression() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    IF coalesce(current_setting('timescaledb.license', true), '') <> 'timescale'
       OR NOT EXISTS (SELECT FROM pg_proc WHERE proname = 'add_compression_policy') THEN
        RETURN 'not in this edition';
    END IF;
    IF NOT EXISTS (SELECT FROM timescaledb_information.jobs
                   WHERE proc_name = 'policy_compression' AND hypertable_name = 'reading') THEN
        ALTER TABLE reading SET (
            timescaledb.compress, timescaledb.compress_segmentby = 'device_no', timescaledb.compress_orderby = 'ts');
        PERFORM add_compression_policy('reading', INTERVAL '8 days', if_not_exists => true);
    END IF;
    RETURN 'on';
END
$$;
COMMENT ON FUNCTION storage_compression() IS
    'has chunks of reading older than 8 days compressed where the licence allows it; says on or why not';

DO $$
DECLARE
    v_state text := storage_compression();
BEGIN
    IF v_state <> 'on' THEN
        RAISE NOTICE 'compression of old readings stays off: % (timescaledb.license = %)',
            v_state, current_setting('timescaledb.license', true);
    END IF;
END
$$;
