"""The clocks of a work order: how long each step may take, by severity, counted from the dispatch."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Literal

from services.domain.orders.states import ENDED, OrderState
from services.domain.vocabulary import Severity

if TYPE_CHECKING:
    from services.domain.orders.order import Order

Clock = Literal["accept", "arrive", "resolve", "verify"]


@dataclass(frozen=True, slots=True)
class Clocks:
    """Seconds from dispatch to each deadline."""

    accept_s: int
    arrive_s: int
    resolve_s: int
    verify_s: int


_HOUR = 3600
_URGENT = Clocks(accept_s=60, arrive_s=600, resolve_s=4 * _HOUR, verify_s=24 * _HOUR)
_OTHER = Clocks(accept_s=600, arrive_s=2 * _HOUR, resolve_s=24 * _HOUR, verify_s=48 * _HOUR)
CLOCKS: dict[Severity, Clocks] = {
    Severity.CRITICAL: _URGENT,
    Severity.MAJOR: _OTHER,
    Severity.MINOR: _OTHER,
    Severity.INFO: _OTHER,
}


@dataclass(frozen=True, slots=True)
class Deadlines:
    accept: datetime
    arrive: datetime
    resolve: datetime
    verify: datetime


def deadlines(severity: Severity, dispatched_at: datetime) -> Deadlines:
    """When each step of an order dispatched then is due."""
    clocks = CLOCKS[severity]
    return Deadlines(
        dispatched_at + timedelta(seconds=clocks.accept_s),
        dispatched_at + timedelta(seconds=clocks.arrive_s),
        dispatched_at + timedelta(seconds=clocks.resolve_s),
        dispatched_at + timedelta(seconds=clocks.verify_s),
    )


@dataclass(frozen=True, slots=True)
class Overdue:
    """One step up the ladder that is owed. `key` names it for good, so that it is taken once."""

    clock: Clock
    step: int
    due: datetime

    @property
    def key(self) -> str:
        return f"escalate:{self.clock}:{self.step}:{int(self.due.timestamp() * 1000)}"


STEPS = 2
"""A clock escalates when it runs out, and once more when the same time has gone by again."""


def running(order: Order) -> tuple[tuple[Clock, datetime], ...]:
    """The next deadline: the step that the order has to take now. None runs while it is paused or ended."""
    if order.state in ENDED or order.state is OrderState.PAUSED or order.dispatched_at is None:
        return ()
    steps: tuple[tuple[Clock, datetime | None, datetime | None], ...] = (
        ("accept", order.accepted_at, order.accept_due),
        ("arrive", order.arrived_at, order.arrive_due),
        ("resolve", order.resolved_at, order.resolve_due),
        ("verify", order.verified_at, order.verify_due),
    )
    for clock, done, due in steps:
        if done is None and due is not None:
            return ((clock, due),)
    return ()


def overdue(order: Order, now: datetime) -> tuple[Overdue, ...]:
    """Every step up the ladder this order has owed by now, oldest first, whether taken already or not."""
    owed: list[Overdue] = []
    for clock, due in running(order):
        if clock not in ("accept", "arrive"):
            continue
        seconds = getattr(CLOCKS[order.severity], f"{clock}_s")
        owed.extend(
            Overdue(clock, step, due)
            for step in range(1, STEPS + 1)
            if now >= due + timedelta(seconds=seconds * (step - 1))
        )
    return tuple(owed)
