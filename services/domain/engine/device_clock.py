"""How slow a device's clock is, learned from its readings: a steady delay is a wrong clock, a passing one a delay.

A clock that is ahead shows at once, since nothing can come from the future (`Clock`). One that is slow makes every
message look as if it had been on the way for long, a call for help too. Data that was held up on the way catches up:
its delay shrinks with each message, or is gone with the next. A delay that stays the same within a minute, for an hour,
over at least four readings, is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from services.domain.ids import RuleId

DRIFT = RuleId("~drift")
"""Under what a device's drift is kept beside the states of rules."""
SLOW_MS = 300_000
"""Up to this a reading is as good as on time, and nothing is remembered of it; as ClockParameters.limit_s."""
STEADY_MS = 60_000
LEARNED_AFTER_MS = 3_600_000
_READINGS = 4


@dataclass(slots=True)
class Drift:
    """`offset_ms`: how far behind the device's clock is; 0 while nothing is known. The rest is the present run of
    readings whose delays agree: when its first came (server time), how many, their least and largest delay, ms."""

    since_ms: int
    readings: int
    low_ms: int
    high_ms: int
    offset_ms: int = 0

    def as_state(self) -> dict[str, Any]:
        return {
            "since": self.since_ms,
            "readings": self.readings,
            "low": self.low_ms,
            "high": self.high_ms,
            "offset": self.offset_ms,
        }


def drift_of(state: dict[str, Any]) -> Drift:
    """As Drift.as_state left it."""
    return Drift(state["since"], state["readings"], state["low"], state["high"], state["offset"])


def learn(before: Drift | None, ts_ms: int, received_ms: int) -> Drift | None:
    """After one more reading. None: it came in time, so whatever was known of the clock is over."""
    delay_ms = received_ms - ts_ms
    if delay_ms <= SLOW_MS:
        return None
    if before is None:
        return Drift(received_ms, 1, delay_ms, delay_ms)
    # Faster than the clock allows: it was set right, or put elsewhere.
    offset_ms = before.offset_ms if delay_ms >= before.offset_ms - STEADY_MS else 0
    low_ms, high_ms = min(before.low_ms, delay_ms), max(before.high_ms, delay_ms)
    if high_ms - low_ms > STEADY_MS:
        return Drift(received_ms, 1, delay_ms, delay_ms, offset_ms)
    readings = min(before.readings + 1, _READINGS)
    if readings == _READINGS and received_ms - before.since_ms >= LEARNED_AFTER_MS:
        # The one with the least delay on the way; a clock that goes slow is followed from here.
        return Drift(received_ms, 1, delay_ms, delay_ms, low_ms)
    return Drift(before.since_ms, readings, low_ms, high_ms, offset_ms)
