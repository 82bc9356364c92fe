"""Settling: after a start, orders wait a moment; and what came and went in one breath sends nobody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from services.domain.engine.decisions import Asked, Clear, Decision, Hold, Raise, Release, Repeat
from services.domain.ids import AlertId

REASON = "settling"


@dataclass(frozen=True, slots=True)
class Start:
    """When the engine began to listen; in a backtest it never did."""

    since_ms: int = 0
    settling_ms: int = 0

    def until(self, now_ms: int) -> int | None:
        """Until when an alert of this moment waits; None where it need not."""
        ends = self.since_ms + self.settling_ms
        return ends if self.settling_ms and now_ms < ends else None


def without_passed(decisions: Sequence[Decision]) -> tuple[Decision, ...]:
    """Of one turn: an alert that rose and is over again by its end is recorded and sends nobody, unless it was ever
    one of life safety. It happens while an engine catches up; what somebody could still find is what stands."""
    over = {one.id for one in decisions if isinstance(one, Clear) and not one.active_rules}
    raised = {one.id for one in decisions if isinstance(one, Raise) and one.id in over and not one.life_safety}
    grave = {one.alert.id for one in decisions if isinstance(one, Repeat) and one.alert.life_safety}
    passed = raised - grave
    return tuple(decisions) if not passed else tuple(_held(one, passed) for one in decisions if _stays(one, passed))


def _stays(one: Decision, passed: set[AlertId]) -> bool:
    match one:
        case Release(alert=alert) | Asked(alert=alert):
            return alert.id not in passed
        case Hold(id=found):
            return found not in passed
    return True


def _held(one: Decision, passed: set[AlertId]) -> Decision:
    match one:
        case Raise() if one.id in passed and one.sends:
            return replace(one, held=(REASON,))
        case Repeat() if one.alert.id in passed and not one.held:
            return replace(one, held=(REASON,))
        case Clear() if one.id in passed and not one.active_rules and not one.suppressed:
            return replace(one, suppressed=(REASON,))
    return one
