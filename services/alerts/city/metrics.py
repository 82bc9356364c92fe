"""What the delivery of city events measures of itself."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

ACTIVE = Gauge("linhub_alerts_city_active", "Subscriptions that events are delivered to")
DISABLED = Gauge("linhub_alerts_city_disabled", "Subscriptions whose receiver said that it is gone")
FAILING = Gauge("linhub_alerts_city_failing", "Subscriptions whose last attempt was not taken")
BEHIND = Gauge("linhub_alerts_city_behind", "Rows of the outbox that the slowest active subscription has before it")
DEAD = Gauge("linhub_alerts_city_dead_letters", "Events given up and not replayed")
ATTEMPTS = Counter("linhub_alerts_city_attempts_total", "Events put to receivers", ["way", "outcome"])
TOOK = Histogram(
    "linhub_alerts_city_attempt_seconds", "How long a receiver took", ["way"],
    buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30),
)  # fmt: skip
FORGOTTEN = Counter(
    "linhub_alerts_city_forgotten_total", "Subscriptions that were sent again what the broker had forgotten"
)
NGSI_ACTIVE = Gauge("linhub_alerts_ngsi_active", "Subscriptions of NGSI-LD that are notified")
NGSI_FAILING = Gauge("linhub_alerts_ngsi_failing", "Subscriptions of NGSI-LD whose last notification was not taken")
NGSI_SENT = Counter("linhub_alerts_ngsi_notifications_total", "Notifications of NGSI-LD put to receivers", ["outcome"])
NGSI_TOOK = Histogram(
    "linhub_alerts_ngsi_notification_seconds", "How long a receiver took with a notification of NGSI-LD",
    buckets=(0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30),
)  # fmt: skip
NGSI_LOOK = Histogram(
    "linhub_alerts_ngsi_look_seconds", "How long it took to see which subscriptions of NGSI-LD were touched",
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3),
)  # fmt: skip
