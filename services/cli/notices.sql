-- name: accounts_without
SELECT u.id, u.username FROM app_user u
WHERE u.disabled_at IS NULL AND NOT u.service AND NOT EXISTS (SELECT FROM contact_channel c WHERE c.account_id = u.id)
ORDER BY u.id

-- name: addresses
SELECT g.community_id AS community, 'gateway ' || g.sort AS sort, split_part(g.template, '://', 1) || '://***' AS shown,
    g.template AS address
FROM community_gateway g
UNION ALL
SELECT coalesce(u.community_id, u.street_id, ''), c.sort, c.shown, c.address
FROM contact_channel c JOIN app_user u ON u.id = c.account_id
WHERE c.sort IN ('webhook', 'smtp') AND c.verified_at IS NOT NULL AND u.disabled_at IS NULL
ORDER BY 1, 2, 3, 4

-- name: take_left
DELETE FROM contact_channel WHERE sort = 'webhook' AND starts_with(address, $1)

-- name: give
INSERT INTO contact_channel (id, account_id, sort, address, shown, verified_at)
VALUES ($1, $2, 'webhook', $3, 'json://127.0.0.1/***', now())

-- name: take
DELETE FROM contact_channel WHERE id = ANY ($1::uuid[])
