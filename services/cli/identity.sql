-- name: shut_out
SELECT d.id, d.community_id AS community, d.retired_at IS NOT NULL AS retired,
       coalesce(c.revoked_at IS NULL, false) AS readmitted, coalesce(s.online, false) AS online,
       coalesce(s.session, 0) AS session
FROM device AS d
LEFT JOIN device_credential AS c ON c.device_no = d.device_no
LEFT JOIN device_state AS s ON s.device_no = d.device_no
WHERE d.id = ANY ($1::text[])

-- name: shut_out_lately
SELECT d.id, d.community_id AS community, d.retired_at IS NOT NULL AS retired, false AS readmitted,
       coalesce(s.online, false) AS online, coalesce(s.session, 0) AS session
FROM device AS d
JOIN device_credential AS c ON c.device_no = d.device_no
LEFT JOIN device_state AS s ON s.device_no = d.device_no
WHERE c.revoked_at > now() - make_interval(days => $1)
   OR (d.retired_at > now() - make_interval(days => $1) AND c.revoked_at IS NULL)
