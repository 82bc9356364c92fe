"""The clocks of a work order: when each step is due, what is owed when it is not taken, and the next time to look."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from services.domain.orders.states import ENDED, OrderState
from services.domain.orders.terms import Clock, Rung, Terms

if TYPE_CHECKING:
    from services.domain.orders.order import Order


@dataclass(frozen=True, slots=True)
class Deadlines:
    accept: datetime | None
    arrive: datetime | None
    resolve: datetime | None
    verify: datetime | None


def deadlines(terms: Terms, dispatched_at: datetime) -> Deadlines:
    """When each step of an order dispatched then is due; None: the class has no such clock."""

    def due(clock: Clock) -> datetime | None:
        term = terms.clocks.get(clock)
        return None if term is None else later(terms, dispatched_at, term.due_s)

    return Deadlines(due("accept"), due("arrive"), due("resolve"), due("verify"))


def later(terms: Terms, start: datetime, seconds: float) -> datetime:
    """The time at which so many seconds of the class's calendar have gone by."""
    return start + timedelta(seconds=seconds)


def gone(terms: Terms, start: datetime, end: datetime) -> float:
    """Seconds of the class's calendar between the two; 0 where end is not after start."""
    return max(0.0, (end - start).total_seconds())


@dataclass(frozen=True, slots=True)
class Owed:
    """What time has made due: `warn`, `breach`, or `escalate`, a step up to `rung`. `key` names it for good."""

    what: str
    clock: Clock
    at: datetime
    due: datetime
    rung: Rung | None = None

    @property
    def key(self) -> str:
        step = f":{int(self.rung)}" if self.rung is not None else ""
        return f"{self.what}:{self.clock}{step}:{int(self.due.timestamp() * 1000)}"


def running(order: Order) -> tuple[tuple[Clock, datetime], ...]:
    """The next deadline: the step that the order has to take now. None runs while it is paused or ended."""
    if order.state in ENDED or order.state is OrderState.PAUSED:
        return ()
    if order.dispatched_at is None:
        return (("file", order.file_due),) if order.file_due is not None else ()
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


def schedule(order: Order) -> tuple[Owed, ...]:
    """Everything that time will make due while nobody moves the order, oldest first, whether taken already or not."""
    owed: list[Owed] = []
    for clock, due in running(order):
        term = order.terms.clocks[clock]
        if term.warn_s:
            owed.append(Owed("warn", clock, due - timedelta(seconds=term.warn_s), due))
        owed.append(Owed("breach", clock, due, due))
        owed.extend(
            Owed("escalate", clock, later(order.terms, due, step.after_s), due, step.rung)
            for step in term.steps
            if step.rung > order.rung
        )
    return tuple(sorted(owed, key=lambda one: one.at))


def overdue(order: Order, now: datetime) -> tuple[Owed, ...]:
    """What is owed by now and was not taken yet, oldest first."""
    return tuple(one for one in schedule(order) if one.at <= now and one.key not in order.taken)


def attention_at(order: Order) -> datetime | None:
    """The next time at which somebody must look at this order; None: time alone changes nothing on it."""
    return next((one.at for one in schedule(order) if one.key not in order.taken), None)
