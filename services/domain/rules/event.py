"""Event rules: fire at once when a device reports an event, repeat with each report, clear by time or by event."""

from __future__ import annotations

from typing import Any

from services.domain.rules.evaluation import (
    NOTHING,
    OVERTAKEN_MS,
    Event,
    Facts,
    Item,
    Outcome,
    RuleKind,
    Signal,
    State,
    What,
)
from services.domain.rules.parameters import EventParameters


def step(parameters: EventParameters, state: State, item: Item, facts: Facts, now_ms: int) -> Outcome:
    """State: `{"onset", "last", "received"}` while it stands, then for an hour `{"over"}`, the time of the last report,
    so that one which was overtaken does not begin it again. A second report of the same moment is the same report."""
    if isinstance(item, Event) and item.event == parameters.event:
        return _reported(parameters, state, item)
    if isinstance(item, Event) and item.event == parameters.clear_event:
        return _ended(parameters, state, item)
    return Outcome(state, due_ms=_due(parameters, state))


def _reported(parameters: EventParameters, state: State, item: Event) -> Outcome:
    standing = state is not None and "onset" in state
    if item.late or (state is not None and not standing and item.ts_ms <= state["over"]):
        return Outcome(state, due_ms=_due(parameters, state))
    if state is not None and standing and item.ts_ms == state["last"]:
        return Outcome(state, due_ms=_due(parameters, state))
    if state is None or not standing:
        began: State = {"onset": item.ts_ms, "last": item.ts_ms, "received": item.received_ms}
        signal = Signal(What.FIRE, item.ts_ms, item.ts_ms, data=item.data)
        return Outcome(began, (signal,), _due(parameters, began))
    again: State = {
        "onset": state["onset"],
        "last": max(state["last"], item.ts_ms),
        "received": max(state["received"], item.received_ms),
    }
    signal = Signal(What.REPEAT, item.ts_ms, state["onset"], data=item.data)
    return Outcome(again, (signal,), _due(parameters, again))


def _ended(parameters: EventParameters, state: State, item: Event) -> Outcome:
    """Even a late end is an end; but one older than the last report was overtaken by it."""
    if state is not None and "onset" in state and item.ts_ms < state["last"]:
        return Outcome(state)
    signals: tuple[Signal, ...] = ()
    if state is not None and "onset" in state:
        signals = (Signal(What.CLEAR, item.ts_ms, state["onset"]),)
    before = state["over"] if state is not None and "over" in state else item.ts_ms
    over: State = {"over": max(before, item.ts_ms)}
    return Outcome(over, signals, _due(parameters, over))


def _due(parameters: EventParameters, state: State) -> int | None:
    if state is None:
        return None
    if "over" in state:
        return int(state["over"]) + OVERTAKEN_MS + 1
    return None if parameters.clear_event is not None else int(state["received"] + parameters.clear_after_s * 1000)


def tick(parameters: EventParameters, state: State, facts: Facts, now_ms: int) -> Outcome:
    """Clears once `clear_after_s` have gone by since the last report came in."""
    due = _due(parameters, state)
    if state is None or due is None or now_ms < due:
        return Outcome(state, due_ms=due)
    if "over" in state:
        return NOTHING
    ended = int(state["last"] + parameters.clear_after_s * 1000)
    over: State = {"over": state["last"]}
    return Outcome(over, (Signal(What.CLEAR, ended, state["onset"]),), _due(parameters, over))


def observes(state: dict[str, Any]) -> State:
    """As RuleKind.observes: when it was last over is known, whatever else is forgotten."""
    return {"over": state["over"]} if "over" in state else None


KIND = RuleKind(EventParameters, step, tick, reads=(Event,), observes=observes)
