"""What the sending of notices measures of itself."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

WAITING = Gauge("linhub_alerts_notices_waiting", "Notices that wait to be sent, for their turn and for quiet hours")
OLDEST = Gauge("linhub_alerts_notices_oldest_seconds", "For how long the oldest notice that is due has been due")
UNREAD = Gauge("linhub_alerts_notices_outbox_unread", "Rows of the outbox not yet read for notices")
FAILING = Gauge("linhub_alerts_notices_channels_failing", "Channels whose last message was not taken")
MADE = Counter("linhub_alerts_notices_made_total", "Notices made of events")
ATTEMPTS = Counter("linhub_alerts_notices_attempts_total", "Messages put to channels", ["sort", "outcome"])
ENDED = Counter("linhub_alerts_notices_ended_total", "Notices that reached nobody, by what came of it", ["what"])
UNREADABLE = Counter("linhub_alerts_notices_unreadable_total", "Events that made no sense; nobody was told of them")
