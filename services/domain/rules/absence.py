"""Absence rules: an event that should happen every day between two local times, and did not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from services.domain.rules.evaluation import Event, Facts, Item, Outcome, RuleKind, Signal, State, What
from services.domain.rules.parameters import AbsenceParameters

_RECHECK_MS = 60_000
_CATCH_UP_MS = 60_000
"""What a device could not send while it was offline it sends once it is back; it is waited for that long."""


def step(parameters: AbsenceParameters, state: State, item: Item, facts: Facts, now_ms: int) -> Outcome:
    """State: `{"since", "done", "seen", "onset"}`, all epoch ms: watching since, windows decided up to, last event.

    A late event counts as well: it proves that the thing happened, and so ends a mistaken alert.
    """
    if not isinstance(item, Event) or item.event != parameters.event:
        return Outcome(state, due_ms=_due(parameters, state, facts))
    known = dict(state) if state else _begin(now_ms)
    known["seen"] = max(known["seen"] or 0, item.ts_ms)
    signals: tuple[Signal, ...] = ()
    if known["onset"] is not None and item.ts_ms >= _window_before(parameters, facts, known["onset"] + 1)[0]:
        signals = (Signal(What.CLEAR, item.ts_ms, known["onset"]),)
        known["onset"] = None
    return Outcome(known, signals, _due(parameters, known, facts))


def _begin(now_ms: int) -> dict[str, int | None]:
    return {"since": now_ms, "done": now_ms, "seen": None, "onset": None}


def _window(parameters: AbsenceParameters, facts: Facts, day: datetime) -> tuple[int, int]:
    """Start and end in epoch ms of the window that begins on the local day; one past midnight ends the next day."""
    midnight = day.replace(hour=0, minute=0, second=0, microsecond=0)
    start = midnight + timedelta(hours=parameters.from_hour)
    end = midnight + timedelta(hours=parameters.to_hour + (24 if parameters.to_hour <= parameters.from_hour else 0))
    return _ms(start), _ms(end)


def _ms(local: datetime) -> int:
    return round(local.timestamp() * 1000)


def _local(facts: Facts, at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1000, UTC).astimezone(facts.zone)


def _window_before(parameters: AbsenceParameters, facts: Facts, at_ms: int) -> tuple[int, int]:
    """The newest window that had ended by then."""
    day = _local(facts, at_ms)
    while True:
        start, end = _window(parameters, facts, day)
        if end <= at_ms:
            return start, end
        day -= timedelta(days=1)


def _due(parameters: AbsenceParameters, state: State, facts: Facts) -> int | None:
    if state is None:
        return 0
    day = _local(facts, state["done"]) - timedelta(days=1)
    while True:
        _, end = _window(parameters, facts, day)
        if end > state["done"]:
            return end
        day += timedelta(days=1)


def tick(parameters: AbsenceParameters, state: State, facts: Facts, now_ms: int) -> Outcome:
    """Decides a window at its end. Before the next one begins it asks again while it cannot know: device offline."""
    if state is None:
        begun: State = _begin(now_ms)
        return Outcome(begun, due_ms=_due(parameters, begun, facts))
    due = _due(parameters, state, facts)
    if due is None or now_ms < due:
        return Outcome(state, due_ms=due)
    start, end = _window_before(parameters, facts, now_ms)
    decided = {**state, "done": end}
    happened = state["seen"] is not None and state["seen"] >= start
    unwatched = state["since"] > start or (facts.away_until_ms is not None and facts.away_until_ms > start)
    stale = now_ms >= start + 86_400_000
    if happened or unwatched or stale or state["onset"] is not None:
        return Outcome(decided, due_ms=_due(parameters, decided, facts))
    if not facts.online:
        return Outcome(state, due_ms=now_ms + _RECHECK_MS)
    if now_ms < facts.online_since_ms + _CATCH_UP_MS:
        return Outcome(state, due_ms=facts.online_since_ms + _CATCH_UP_MS)
    decided["onset"] = end
    return Outcome(decided, (Signal(What.FIRE, end, end),), _due(parameters, decided, facts))


def observes(state: dict[str, Any]) -> State:
    """As RuleKind.observes: what was seen and decided stays known."""
    return {**state, "onset": None}


KIND = RuleKind(AbsenceParameters, step, tick, reads=(Event,), starts=True, observes=observes)
