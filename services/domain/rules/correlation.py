"""Correlation rules: several devices of one building reporting the same within a short time are one larger trouble."""

from __future__ import annotations

from services.domain.rules.evaluation import NOTHING, Event, Facts, Item, Outcome, RuleKind, Signal, State, What
from services.domain.rules.parameters import CorrelationParameters

CLEAR_AFTER_MS = 300_000
"""It is over when no device of the building has reported for this long (or for the window, if that is longer)."""


def step(parameters: CorrelationParameters, state: State, item: Item, facts: Facts, now_ms: int) -> Outcome:
    """State: `{"seen": {device_no: ts}, "received", "onset": ms or None}` of one building, pruned to the window."""
    if not isinstance(item, Event) or item.event != parameters.event or item.late:
        return Outcome(state, due_ms=_due(parameters, state))
    window = parameters.window_s * 1000
    before: dict[str, int] = state["seen"] if state else {}
    newest = max([item.ts_ms, *before.values()])
    who = str(item.device_no)
    seen = {device: ts for device, ts in before.items() if newest - ts <= window}
    news = who not in seen
    if newest - item.ts_ms <= window:
        seen[who] = max(item.ts_ms, seen.get(who, 0))
    onset = state["onset"] if state else None
    received = max(item.received_ms, state["received"] if state else 0)
    signals: tuple[Signal, ...] = ()
    data = {"devices": sorted(int(device) for device in seen)}
    if onset is None and len(seen) >= parameters.count:
        onset = min(seen.values())
        signals = (Signal(What.FIRE, item.ts_ms, onset, float(len(seen)), data),)
    elif onset is not None and news:
        signals = (Signal(What.REPEAT, item.ts_ms, onset, float(len(seen)), data),)
    kept: State = {"seen": seen, "received": received, "onset": onset}
    return Outcome(kept, signals, _due(parameters, kept))


def _due(parameters: CorrelationParameters, state: State) -> int | None:
    if state is None:
        return None
    window = int(parameters.window_s * 1000)
    # What comes at the very end of the window still belongs to it, and a clock runs before the item of its moment.
    return int(state["received"]) + (window + 1 if state["onset"] is None else max(window, CLEAR_AFTER_MS))


def tick(parameters: CorrelationParameters, state: State, facts: Facts, now_ms: int) -> Outcome:
    due = _due(parameters, state)
    if state is None or due is None or now_ms < due:
        return Outcome(state, due_ms=due)
    if state["onset"] is None:
        return NOTHING
    return Outcome(None, (Signal(What.CLEAR, due, state["onset"]),))


KIND = RuleKind(CorrelationParameters, step, tick, reads=(Event,), per_building=True)
