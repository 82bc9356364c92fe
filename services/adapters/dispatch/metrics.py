"""What is counted of choosing people, in whichever service opens the order."""

from __future__ import annotations

from prometheus_client import Counter

UNCHOSEN = Counter(
    "linhub_alerts_dispatch_fallbacks_total", "Orders sent to the whole team because choosing somebody failed"
)
SKIPPED = Counter("linhub_alerts_rungs_skipped_total", "Rungs of the ladder on which nobody was on duty", ["rung"])
ALONE = Counter(
    "linhub_alerts_nobody_on_duty_total", "Times nobody was on duty on any rung, and the desk and administrators asked"
)
UNREACHED = Counter("linhub_alerts_nobody_at_all_total", "Times no enabled account could act on an order")
