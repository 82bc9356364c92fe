-- name: accounts_of_others
SELECT username FROM app_user
WHERE username = ANY ($2::text[]) AND community_id IS NOT NULL AND community_id <> $1

-- name: stored_secrets
SELECT d.id, c.secret_hash
FROM device_credential AS c
JOIN device AS d USING (device_no)
WHERE d.id = ANY ($1::text[])

-- name: stored_passwords
SELECT username, password_hash FROM app_user WHERE username = ANY ($1::text[])

-- name: account_ids
SELECT username, id FROM app_user WHERE username = ANY ($1::text[])
