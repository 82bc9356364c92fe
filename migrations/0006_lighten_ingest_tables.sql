-- the log as bytes in place of five arrays (a tenth of the work to write and to read), states that update in place, and
-- refusals that are kept once
ALTER TABLE ingest_log
    ADD COLUMN readings integer NOT NULL DEFAULT 0 CHECK (readings >= 0),
    ADD COLUMN packed bytea NOT NULL DEFAULT '';

UPDATE ingest_log SET
    readings = cardinality(device_nos),
    packed = (SELECT string_agg(int4send(n), ''::bytea ORDER BY place)
              FROM unnest(device_nos) WITH ORDINALITY AS a (n, place))
          || (SELECT string_agg(int8send(n), ''::bytea ORDER BY place)
              FROM unnest(ts_ms) WITH ORDINALITY AS a (n, place))
          || (SELECT string_agg(int8send(n), ''::bytea ORDER BY place)
              FROM unnest(received_ms) WITH ORDINALITY AS a (n, place))
          || (SELECT string_agg(int2send(n), ''::bytea ORDER BY place)
              FROM unnest(widths) WITH ORDINALITY AS a (n, place))
          || coalesce((SELECT string_agg(float8send(coalesce(n, 'NaN')), ''::bytea ORDER BY place)
              FROM unnest(vals) WITH ORDINALITY AS a (n, place)), ''::bytea)
WHERE cardinality(device_nos) > 0;

ALTER TABLE ingest_log
    DROP COLUMN device_nos, DROP COLUMN ts_ms, DROP COLUMN received_ms, DROP COLUMN widths, DROP COLUMN vals;

-- A server built without it keeps the compression it has.
DO $$
BEGIN
    ALTER TABLE ingest_log ALTER COLUMN packed SET COMPRESSION lz4;
EXCEPTION WHEN feature_not_supported THEN
    RAISE NOTICE 'this server has no lz4; the log is compressed with pglz';
END
$$;

COMMENT ON TABLE ingest_log IS
    'lane 1 telemetry: packed holds so many readings; lane 0 events: body is a list of
     {"type":"event"|"status"|"reply","device_no","ts_ms","received_ms", …}. Kept 48 h';
COMMENT ON COLUMN ingest_log.packed IS
    'for n readings: n int4 device numbers, n int8 times of the device, n int8 of arrival (epoch ms), n int2 widths,
     then the values of each reading, float8, NaN for a hole; big-endian, as the send functions of the server write';

CREATE VIEW ingest_log_reading AS
SELECT l.partition, l.lane, l.seq, i AS place,
       ('x' || encode(substr(l.packed, 4 * i + 1, 4), 'hex'))::bit(32)::integer AS device_no,
       ('x' || encode(substr(l.packed, 4 * l.readings + 8 * i + 1, 8), 'hex'))::bit(64)::bigint AS ts_ms,
       ('x' || encode(substr(l.packed, 12 * l.readings + 8 * i + 1, 8), 'hex'))::bit(64)::bigint AS received_ms
FROM ingest_log l
CROSS JOIN generate_series(0, l.readings - 1) AS i;
COMMENT ON VIEW ingest_log_reading IS 'which readings the log names, for people: slow';

-- Nobody looks a device up by when it was heard, and with the index no update of a state could stay in its page (HOT).
DROP INDEX device_state_seen;

-- The same message refused for the same reason is kept once and counted: a redelivery after a crash, a retained message
-- heard at each start, a device that repeats itself.
ALTER TABLE quarantine
    ADD COLUMN digest bytea,
    ADD COLUMN times integer NOT NULL DEFAULT 1 CHECK (times > 0),
    ADD COLUMN first_at timestamptz NOT NULL DEFAULT now();
UPDATE quarantine SET first_at = received_at;
CREATE UNIQUE INDEX quarantine_digest ON quarantine (digest);
COMMENT ON COLUMN quarantine.digest IS 'sha256 over scope, reason, topic, device, message id and whole payload';
COMMENT ON COLUMN quarantine.received_at IS 'when it was refused last; first_at: when first, times: how often';
