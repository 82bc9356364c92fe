"""The clocks of a work order: when each step is due, what is owed when it is not taken, and the next time to look."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from services.domain import calendar
from services.domain.orders import working_time
from services.domain.orders.states import ENDED, OrderState
from services.domain.orders.terms import Clock, ClockTerm, Rung, Terms
from services.domain.vocabulary import Severity

if TYPE_CHECKING:
    from services.domain.orders.order import Order

OFTEN = 12
"""So many times it rings again at the interval of its class, and then every so many intervals (5 min: for an hour,
then once an hour)."""


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
    return working_time.add(terms.spans, terms.timezone, start, seconds)


def earlier(terms: Terms, end: datetime, seconds: float) -> datetime:
    """The last moment at which so many seconds of the class's calendar are left until end."""
    return working_time.before(terms.spans, terms.timezone, end, seconds)


def gone(terms: Terms, start: datetime, end: datetime) -> float:
    """Seconds of the class's calendar between the two; 0 where end is not after start."""
    return working_time.between(terms.spans, terms.timezone, start, end)


@dataclass(frozen=True, slots=True)
class Owed:
    """What time has made due: `warn`, `breach`, `escalate` (a step up to `rung`), or `resume`, the end of a pause.

    `due` is the deadline it is about; `key` names it for good. `turn`: an escalation that rings again on top of the
    ladder, counted from 1.
    """

    what: str
    clock: Clock | None
    at: datetime
    due: datetime
    rung: Rung | None = None
    turn: int = 0

    @property
    def key(self) -> str:
        if self.turn:
            return f"again:{self.clock}:{self.turn}:{int(self.due.timestamp() * 1000)}"
        clock = f":{self.clock}" if self.clock is not None else ""
        step = f":{int(self.rung)}" if self.rung is not None else ""
        return f"{self.what}{clock}{step}:{int(self.due.timestamp() * 1000)}"


def running(order: Order) -> tuple[tuple[Clock, datetime], ...]:
    """Deadlines of the steps that nobody has taken yet, in the order of the steps. None runs while it is paused or
    ended; before the first dispatch only that is waited for."""
    if order.state in ENDED or order.state is OrderState.PAUSED:
        return ()
    if order.dispatched_at is None:
        return (("file", order.file_due),) if order.file_due is not None else ()
    steps: tuple[tuple[Clock, datetime | None, datetime | None], ...] = (
        ("accept", order.accepted_at, order.accept_due),
        ("arrive", order.arrived_at, order.arrive_due),
        ("resolve", order.resolved_at, order.resolve_due),
        # Verified, it still waits for somebody to close it, by the same time.
        ("verify", order.closed_at, order.verify_due),
    )
    return tuple((clock, due) for clock, done, due in steps if done is None and due is not None)


def schedule(order: Order) -> tuple[Owed, ...]:
    """Everything that time will make due while nobody moves the order, oldest first, whether taken already or not; of
    what rings again and again, the next time."""
    owed = [one for clock, due in running(order) for one in _of_clock(order, clock, due)]
    until = pause_ends_at(order)
    if until is not None:
        owed.append(Owed("resume", None, until, until))
    return tuple(sorted(owed, key=lambda one: one.at))


def _of_clock(order: Order, clock: Clock, due: datetime) -> Iterator[Owed]:
    term = order.terms.clocks.get(clock)
    if term is None:
        return
    if term.warn_s:
        yield Owed("warn", clock, earlier(order.terms, due, term.warn_s), due)
    yield Owed("breach", clock, due, due)
    steps = term.night_steps if term.night_steps and _by_night(order.terms, due) else term.steps
    for step in steps:
        if step.rung > order.rung:
            yield Owed("escalate", clock, later(order.terms, due, step.after_s), due, step.rung)
    if term.again_s and clock == "accept":
        yield _again(order, term, due, _turns(order, clock, due) + 1)


def _again(order: Order, term: ClockTerm, due: datetime, turn: int) -> Owed:
    """The ladder has no rung left and nobody has accepted: whoever stands on top is asked once more."""
    steps = term.night_steps if term.night_steps and _by_night(order.terms, due) else term.steps
    last_s, top = max(((one.after_s, one.rung) for one in steps), default=(0.0, Rung.LEADER))
    intervals = turn if turn <= OFTEN else OFTEN + (turn - OFTEN) * OFTEN
    at = later(order.terms, due, last_s + intervals * term.again_s)
    return Owed("escalate", "accept", at, due, max(top, Rung(order.rung)), turn)


def _turns(order: Order, clock: Clock, due: datetime) -> int:
    """How often it has rung again for this deadline."""
    end = f":{int(due.timestamp() * 1000)}"
    turns = (key.split(":")[2] for key in order.taken if key.startswith(f"again:{clock}:") and key.endswith(end))
    return max((int(turn) for turn in turns), default=0)


def _by_night(terms: Terms, moment: datetime) -> bool:
    if terms.nights is None:
        return False
    at_ms = int(moment.timestamp() * 1000)
    return calendar.in_hours(
        terms.nights.days, terms.nights.from_hour, terms.nights.to_hour, at_ms, zone_of(terms.timezone)
    )


@lru_cache(maxsize=64)
def zone_of(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def pause_ends_at(order: Order) -> datetime | None:
    """When a pause is over by itself: at the time that was said, and no longer than its class lets one last.

    At once where it has become critical meanwhile and nobody is there yet: whatever it waited for, it waits no more.
    """
    if order.state is not OrderState.PAUSED or order.paused_at is None:
        return None
    if order.severity is Severity.CRITICAL and order.arrived_at is None:
        return order.paused_at
    longest = order.terms.pause_longest_s
    ends = [order.pause_until, order.paused_at + timedelta(seconds=longest) if longest else None]
    return min((one for one in ends if one is not None), default=None)


def overdue(order: Order, now: datetime) -> tuple[Owed, ...]:
    """What is owed by now and was not taken yet, oldest first."""
    found = (one for one in schedule(order) if one.at <= now and one.key not in order.taken)
    return tuple(_latest(order, one, now) if one.turn else one for one in found)


def _latest(order: Order, owed: Owed, now: datetime) -> Owed:
    """Of the times it should have rung again by now the last alone: what was missed is not made up for one by one."""
    term = order.terms.clocks["accept"]
    while (following := _again(order, term, owed.due, owed.turn + 1)).at <= now:
        owed = following
    return owed


def attention_at(order: Order) -> datetime | None:
    """The next time at which somebody must look at this order; None: time alone changes nothing on it."""
    return next((one.at for one in schedule(order) if one.key not in order.taken), None)
