-- name: person
SELECT p.id, p.community_id, p.name, p.phone, p.account_id, c.partition, b.name AS building
FROM person AS p
JOIN community AS c ON c.id = p.community_id
LEFT JOIN household AS h ON h.id = p.household_id
LEFT JOIN unit AS u ON u.id = h.unit_id
LEFT JOIN building AS b ON b.id = u.building_id
WHERE p.id = $1 AND p.erased_at IS NULL

-- name: devices
SELECT device_no, id, name, place FROM device WHERE person_id = $1 ORDER BY device_no

-- name: contacts
SELECT c.id, c.name, c.relation, n.address, n.shown
FROM person_contact AS c LEFT JOIN contact_channel AS n ON n.contact_id = c.id
WHERE c.person_id = $1

-- name: account
SELECT id, username, display_name FROM app_user WHERE id = $1

-- name: alerts
SELECT id FROM alert WHERE device_no = ANY ($1::integer[])

-- name: reports
SELECT id, order_id FROM resident_report
WHERE community_id = $1 AND (reporter_id = $2 OR contact_phone = ANY ($3::text[]))

-- name: orders
SELECT id FROM work_order WHERE device_no = ANY ($1::integer[]) OR alert_id = ANY ($2::uuid[]) OR id = ANY ($3::uuid[])

-- name: count
SELECT (SELECT count(*) FROM reading WHERE device_no = ANY ($1::integer[])) AS readings,
       (SELECT count(*) FROM device_event WHERE device_no = ANY ($1::integer[])) AS events,
       (SELECT count(*) FROM rollup_hour WHERE device_no = ANY ($1::integer[]))
           + (SELECT count(*) FROM rollup_day WHERE device_no = ANY ($1::integer[])) AS rollups,
       cardinality($2::uuid[]) AS alerts,
       cardinality($3::uuid[]) AS orders,
       cardinality($4::uuid[]) AS reports,
       (SELECT count(*) FROM person_contact WHERE person_id = $5) AS contacts,
       (SELECT count(*) FROM consent WHERE person_id = $5) AS consents,
       (SELECT count(*) FROM emergency_access WHERE person_id = $5) AS emergency_accesses,
       (SELECT count(*) FROM notice WHERE community_id = $6 AND recipient = ANY ($7::text[])) AS notices,
       (SELECT count(*) FROM quarantine WHERE community_id = $6 AND device_id = ANY ($8::text[])) AS quarantined,
       (SELECT count(*) FROM evidence WHERE removed_at IS NULL AND community_id = $6
            AND (report_id = ANY ($4::uuid[]) OR order_id = ANY ($3::uuid[]) OR alert_id = ANY ($2::uuid[])
                 OR uploaded_by = $9 OR device_no = ANY ($1::integer[]))) AS pictures

-- name: unbind
UPDATE device SET person_id = NULL WHERE person_id = $1

-- name: consents_gone
DELETE FROM consent WHERE person_id = $1

-- name: readings_gone
DELETE FROM reading WHERE device_no = $1 AND ts >= $2 AND ts < $3

-- name: reading_span
SELECT min(ts) AS first, max(ts) AS last FROM reading WHERE device_no = $1

-- name: log_rows
SELECT lane, seq, body, readings, packed FROM ingest_log
WHERE partition = $1 AND lane = $2 AND seq > $3
ORDER BY seq LIMIT 200

-- name: rewrite_log
UPDATE ingest_log SET body = $4, packed = $5 WHERE partition = $1 AND lane = $2 AND seq = $3

-- name: telemetry_gone
WITH d AS (SELECT unnest($1::integer[]) AS device_no),
     events AS (DELETE FROM device_event WHERE device_no = ANY ($1::integer[])),
     notes AS (DELETE FROM device_note WHERE device_no = ANY ($1::integer[])),
     hours AS (DELETE FROM rollup_hour WHERE device_no = ANY ($1::integer[])),
     days AS (DELETE FROM rollup_day WHERE device_no = ANY ($1::integer[])),
     meter_hours AS (DELETE FROM meter_hour WHERE device_no = ANY ($1::integer[])),
     meter_days AS (DELETE FROM meter_day WHERE device_no = ANY ($1::integer[])),
     states AS (
         -- Whether it is online is the device's own affair, and counted.
         UPDATE device_state SET vals = '{}', vals_ts = NULL, vals_at = NULL, last_event = NULL, last_event_ts = NULL
         WHERE device_no = ANY ($1::integer[])
     ),
     baselines AS (DELETE FROM vital_baseline WHERE device_no = ANY ($1::integer[])),
     marks AS (DELETE FROM retention_mark WHERE device_no = ANY ($1::integer[]))
SELECT count(*) FROM d

-- name: quarantine_gone
DELETE FROM quarantine
WHERE community_id = $1
  AND (device_id = ANY ($2::text[])
       OR EXISTS (SELECT FROM unnest($2::text[]) AS id WHERE position(convert_to(id, 'UTF8') IN payload) > 0))

-- name: rules_gone
WITH states AS (DELETE FROM rule_state WHERE subject = ANY ($1::text[])),
     overrides AS (DELETE FROM rule_override WHERE subject = ANY ($1::text[]) OR subject = ANY ($2::text[])),
     proofs AS (
         DELETE FROM rule_proof
         WHERE community_id = $3 AND EXISTS (
             SELECT FROM unnest($4::text[]) AS id
             WHERE position(id IN coalesce(result::text, '')) > 0 OR position(id IN documents::text) > 0)
     )
SELECT 1

-- name: alerts_bare
UPDATE alert SET trigger = '{}', place = $2 WHERE id = ANY ($1::uuid[])

-- name: occurrences_bare
UPDATE alert_occurrence SET trigger = '{}' WHERE alert_id = ANY ($1::uuid[])

-- name: answers_bare
UPDATE alert_answer SET note = '', answered_by = 'erased' WHERE alert_id = ANY ($1::uuid[])

-- name: orders_bare
UPDATE work_order
SET place = CASE WHEN place = ANY ($3::text[]) THEN $2 ELSE without_words(place, $4::text[]) END, x = NULL, y = NULL,
    title_zh = without_words(title_zh, $4::text[]), title_en = without_words(title_en, $4::text[]),
    pause_reason = without_words(pause_reason, $4::text[]), external_id = NULL
WHERE id = ANY ($1::uuid[])

-- name: histories_bare
UPDATE work_order_history
SET reason = without_words(reason, $2::text[]), detail = without_words(detail::text, $2::text[])::jsonb
WHERE order_id = ANY ($1::uuid[])
  AND (reason IS DISTINCT FROM without_words(reason, $2::text[])
       OR detail::text <> without_words(detail::text, $2::text[]))

-- name: runs_bare
WITH runs AS (
    UPDATE plan_run SET facts = without_words(facts::text, $2::text[])::jsonb
    WHERE alert_id = ANY ($1::uuid[])
    RETURNING id
), steps AS (
    UPDATE plan_step SET result = without_words(result::text, $2::text[])::jsonb
    WHERE run_id IN (SELECT id FROM plan_run WHERE alert_id = ANY ($1::uuid[]))
)
UPDATE command SET params = without_words(params::text, $2::text[])::jsonb,
                   result = without_words(result::text, $2::text[])::jsonb
WHERE run_id IN (SELECT id FROM plan_run WHERE alert_id = ANY ($1::uuid[]))

-- name: commands_bare
WITH histories AS (
    UPDATE command_history SET why = without_words(why, $2::text[])
    WHERE community_id = $1 AND why <> without_words(why, $2::text[])
), batches AS (
    UPDATE command_batch SET params = without_words(params::text, $2::text[])::jsonb, why = without_words(why, $2::text[]),
        stop_why = without_words(stop_why, $2::text[])
    WHERE community_id = $1
      AND params::text || why || stop_why <> without_words(params::text || why || stop_why, $2::text[])
), strays AS (
    UPDATE command_stray SET detail = without_words(detail, $2::text[])
    WHERE community_id = $1 AND detail <> without_words(detail, $2::text[])
)
UPDATE command SET params = without_words(params::text, $2::text[])::jsonb, why = without_words(why, $2::text[]),
    moved_why = without_words(moved_why, $2::text[]), review_note = without_words(review_note, $2::text[]),
    result = without_words(result::text, $2::text[])::jsonb
WHERE community_id = $1
  AND params::text || why || moved_why || coalesce(review_note, '') || result::text
      <> without_words(params::text || why || moved_why || coalesce(review_note, '') || result::text, $2::text[])

-- name: notices_gone
DELETE FROM notice WHERE community_id = $1 AND recipient = ANY ($2::text[])

-- name: notices_bare
UPDATE notice SET params = without_words(params::text, $3::text[])::jsonb,
                  last_error = without_words(last_error, $3::text[])
WHERE order_id = ANY ($1::uuid[]) OR alert_id = ANY ($2::uuid[])

-- name: outbox_bare
UPDATE outbox
SET data = without_words((CASE WHEN data ? 'trigger' AND subject = ANY ($2::text[])
                               THEN data || '{"trigger": {}}' ELSE data END)::text,
                         CASE WHEN subject = ANY ($2::text[]) THEN $3::text[] ELSE $4::text[] END)::jsonb
WHERE community_id = $1
  AND (subject = ANY ($2::text[]) OR data::text <> without_words(data::text, $4::text[]))

-- name: reports_bare
UPDATE resident_report
SET reporter_id = NULL, contact_name = NULL, contact_phone = NULL, contact_erased_at = coalesce(contact_erased_at, $2),
    token_hash = NULL, text = '', place = '', household_id = NULL, unit_id = NULL, x = NULL, y = NULL,
    rating_comment = NULL, call_back_note = NULL
WHERE id = ANY ($1::uuid[])

-- name: report_notes_gone
DELETE FROM report_note WHERE report_id = ANY ($1::uuid[])

-- name: pictures_gone
UPDATE evidence
SET removed_at = coalesce(removed_at, $6), removed_by = coalesce(removed_by, 'erased'),
    removed_why = coalesce(removed_why, 'erased'), place = '', x = NULL, y = NULL, latitude = NULL, longitude = NULL,
    claimed = '{}', uploaded_by = CASE WHEN uploaded_by = $7 THEN 'erased' ELSE uploaded_by END
WHERE community_id = $1
  AND (report_id = ANY ($2::uuid[]) OR order_id = ANY ($3::uuid[]) OR alert_id = ANY ($4::uuid[])
       OR device_no = ANY ($5::integer[]) OR uploaded_by = $7)

-- name: handovers_bare
UPDATE duty_handover SET note = without_words(note, $2::text[]),
                         open_orders = without_words(open_orders::text, $2::text[])::jsonb
WHERE community_id = $1
  AND (note <> without_words(note, $2::text[]) OR open_orders::text <> without_words(open_orders::text, $2::text[]))

-- name: silences_bare
UPDATE silence SET why = without_words(why, $2::text[]), place = without_words(place, $2::text[])
WHERE community_id = $1 AND (why <> without_words(why, $2::text[]) OR place <> without_words(place, $2::text[]))

-- name: devices_bare
UPDATE device SET name = without_words(name, $2::text[]) WHERE device_no = ANY ($1::integer[])

-- name: contacts_gone
DELETE FROM person_contact WHERE person_id = $1

-- name: emergencies_gone
DELETE FROM emergency_access WHERE person_id = $1

-- name: channels_gone
DELETE FROM contact_channel WHERE account_id = $1

-- name: imports_gone
DELETE FROM registry_import
WHERE community_id = $1
  AND EXISTS (SELECT FROM unnest($2::text[]) AS word
              WHERE position(convert_to(word, 'UTF8') IN content) > 0
                 OR position(convert_to(word, 'GB18030') IN content) > 0 OR position(word IN report::text) > 0)

-- name: account_traces_gone
WITH sessions AS (DELETE FROM app_session WHERE user_id = $1),
     elsewhere AS (DELETE FROM external_identity WHERE user_id = $1)
DELETE FROM login_failure
WHERE name = (SELECT left(encode(sha256(convert_to(lower(trim(username)), 'UTF8')), 'hex'), 32)
              FROM app_user WHERE id = $1)

-- name: account_bare
UPDATE app_user
SET username = 'erased-' || left(encode(sha256(convert_to(id, 'UTF8')), 'hex'), 20), display_name = '已抹除',
    password_hash = '!', household_id = NULL, disabled_at = coalesce(disabled_at, $2)
WHERE id = $1

-- name: person_bare
UPDATE person
SET name = '已抹除', birth_year = NULL, phone = NULL, tags = '{}', household_id = NULL, away_until = NULL,
    account_id = NULL, guardian_id = NULL, moved_out_at = NULL, erased_at = $2
WHERE id = $1

-- name: erasing
SELECT set_config('linhub.erasing', $1::uuid::text, true)

-- name: ask
INSERT INTO erasure (id, community_id, person_id, reason, requested_by, requested_at, counts)
VALUES ($1, $2, $3, $4, $5, $6, $7::text::jsonb)
ON CONFLICT (person_id) WHERE done_at IS NULL DO NOTHING
RETURNING id

-- name: request
SELECT e.*, coalesce(r.display_name, e.requested_by) AS requested_name,
       coalesce(a.display_name, e.approved_by) AS approved_name
FROM erasure AS e
LEFT JOIN app_user AS r ON r.id = e.requested_by
LEFT JOIN app_user AS a ON a.id = e.approved_by
WHERE e.id = $1

-- name: lock_request
SELECT * FROM erasure WHERE id = $1 FOR UPDATE

-- name: open_request
SELECT e.*, coalesce(r.display_name, e.requested_by) AS requested_name,
       coalesce(a.display_name, e.approved_by) AS approved_name
FROM erasure AS e
LEFT JOIN app_user AS r ON r.id = e.requested_by
LEFT JOIN app_user AS a ON a.id = e.approved_by
WHERE e.person_id = $1 AND e.done_at IS NULL

-- name: requests
SELECT e.*, coalesce(r.display_name, e.requested_by) AS requested_name,
       coalesce(a.display_name, e.approved_by) AS approved_name
FROM erasure AS e
LEFT JOIN app_user AS r ON r.id = e.requested_by
LEFT JOIN app_user AS a ON a.id = e.approved_by
WHERE e.community_id = $1 AND ($2::timestamptz IS NULL OR (e.requested_at, e.id) < ($2, $3::uuid))
ORDER BY e.requested_at DESC, e.id DESC LIMIT $4

-- name: approve
UPDATE erasure SET approved_by = $2, approved_at = $3 WHERE id = $1 AND approved_at IS NULL

-- name: withdraw_request
DELETE FROM erasure WHERE id = $1 AND approved_at IS NULL RETURNING id

-- name: done
UPDATE erasure SET done_at = $2, counts = $3::text::jsonb WHERE id = $1

-- name: audit
SELECT audit_append($1, $2, $3, $4, $5, $6::text::jsonb)
