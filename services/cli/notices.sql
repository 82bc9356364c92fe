-- name: accounts_without
SELECT u.id, u.username FROM app_user u
WHERE u.disabled_at IS NULL AND NOT u.service AND NOT EXISTS (SELECT FROM contact_channel c WHERE c.account_id = u.id)
ORDER BY u.id

-- name: take_left
DELETE FROM contact_channel WHERE sort = 'webhook' AND starts_with(address, $1)

-- name: give
INSERT INTO contact_channel (id, account_id, sort, address, shown, verified_at)
VALUES ($1, $2, 'webhook', $3, 'json://127.0.0.1/***', now())

-- name: take
DELETE FROM contact_channel WHERE id = ANY ($1::uuid[])
