-- name: open_days
-- Communities whose yesterday has not been told, with it.
SELECT c.id, c.timezone, yesterday.day, t.kpi_day
FROM community c
CROSS JOIN LATERAL (SELECT ($1::timestamptz AT TIME ZONE c.timezone)::date - 1 AS day) AS yesterday
LEFT JOIN city_told t ON t.community_id = c.id
WHERE t.kpi_day IS NULL OR t.kpi_day < yesterday.day
ORDER BY c.id

-- name: hold
-- The community's row, for this transaction alone; nothing where another engine is at it.
SELECT kpi_day, public FROM city_told WHERE community_id = $1 FOR UPDATE SKIP LOCKED

-- name: begin
INSERT INTO city_told (community_id, kpi_day) VALUES ($1, $2) ON CONFLICT DO NOTHING

-- name: told_day
UPDATE city_told SET kpi_day = $2 WHERE community_id = $1

-- name: told_public
UPDATE city_told SET public = $2::text::jsonb, public_at = $3 WHERE community_id = $1

-- name: open_communities
SELECT c.id FROM community c JOIN city_told t ON t.community_id = c.id WHERE c.open_data ORDER BY c.id

-- name: public_now
-- Spaces that are known to be free, and the middle of what the stations said within a quarter of an hour.
SELECT
    (SELECT count(*) FROM device d WHERE d.community_id = $1 AND d.kind = 'parking_sensor' AND d.retired_at IS NULL
        AND NOT d.tags @> ARRAY[$3::text]) AS parking_spaces,
    (SELECT count(*) FROM device d JOIN device_state s USING (device_no)
     WHERE d.community_id = $1 AND d.kind = 'parking_sensor' AND d.retired_at IS NULL AND NOT d.tags @> ARRAY[$3::text]
       AND s.online AND s.vals[metric_slot('parking_sensor', 'occupied')] = 0) AS parking_left,
    said.*
FROM (
    SELECT
        percentile_cont(0.5) WITHIN GROUP (ORDER BY s.vals[metric_slot('environment', 'noise')]) AS noise_db,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY s.vals[metric_slot('environment', 'temperature')]) AS temperature_c,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY s.vals[metric_slot('environment', 'pm2_5')]) AS pm25,
        percentile_cont(0.5) WITHIN GROUP (ORDER BY s.vals[metric_slot('environment', 'pm10')]) AS pm10
    FROM device d JOIN device_state s USING (device_no)
    WHERE d.community_id = $1 AND d.kind = 'environment' AND d.retired_at IS NULL
      AND s.vals_ts > $2::timestamptz - interval '15 minutes'
) AS said
