-- name: account
INSERT INTO app_user (id, username, password_hash, display_name, role, service)
VALUES ($1, $1, '!', '城市平台（演示） City platform of the demo', 'platform', true)
ON CONFLICT (id) DO UPDATE SET disabled_at = NULL

-- name: old_keys
DELETE FROM api_key WHERE user_id = $1

-- name: key
INSERT INTO api_key (id, user_id, sort, name, secret_hash, scopes, per_minute, created_by, expires_at)
VALUES ($1, $2, 'key', 'city-sim', $3, '{city_cases,city_events}', 600, $2, now() + interval '30 days')

-- name: subscription
INSERT INTO city_subscription (id, account_id, name, way, url, types, created_by, idempotency_key)
VALUES ($1, $2, 'city-sim', 'webhook', $3, '{*}', $2, 'city-sim')
ON CONFLICT (created_by, idempotency_key) DO UPDATE SET url = excluded.url, state = 'active', version = city_subscription.version + 1
RETURNING id

-- name: delivery
INSERT INTO city_delivery (subscription_id, seq) VALUES ($1, (SELECT coalesce(max(seq), 0) FROM outbox))
ON CONFLICT (subscription_id) DO UPDATE SET next_at = now(), failures = 0, resumed_at = now()

-- name: signing
SELECT secret FROM city_signing_key WHERE subscription_id = $1 AND sort = 'hmac' AND ends_at IS NULL LIMIT 1

-- name: new_signing
INSERT INTO city_signing_key (id, subscription_id, sort, secret, created_by) VALUES ($1, $2, 'hmac', $3, $4)

-- name: community
SELECT id FROM community ORDER BY id LIMIT 1

-- name: leave
UPDATE city_subscription SET state = 'paused', version = version + 1 WHERE account_id = $1 AND state = 'active'
