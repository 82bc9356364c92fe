"""Flood rules: a device that says far more than it should is broken or not what it claims to be."""

from __future__ import annotations

from services.domain.rules.evaluation import NOTHING, Facts, Flood, Item, Outcome, RuleKind, Signal, State, What
from services.domain.rules.parameters import FloodParameters


def step(parameters: FloodParameters, state: State, item: Item, facts: Facts, now_ms: int) -> Outcome:
    """State: `{"onset", "received"}`, server times: what a flooding device says of the time is not read."""
    if not isinstance(item, Flood):
        return Outcome(state, due_ms=_due(parameters, state))
    if state is not None:
        still: State = {"onset": state["onset"], "received": max(state["received"], item.received_ms)}
        return Outcome(still, due_ms=_due(parameters, still))
    began: State = {"onset": item.received_ms, "received": item.received_ms}
    fired = Signal(What.FIRE, item.received_ms, item.received_ms, float(item.count), {"refused": item.count})
    return Outcome(began, (fired,), _due(parameters, began))


def _due(parameters: FloodParameters, state: State) -> int | None:
    return None if state is None else int(state["received"] + parameters.clear_after_s * 1000)


def tick(parameters: FloodParameters, state: State, facts: Facts, now_ms: int) -> Outcome:
    """Over once nothing was refused for `clear_after_s`."""
    due = _due(parameters, state)
    if state is None or due is None:
        return NOTHING
    if now_ms < due:
        return Outcome(state, due_ms=due)
    return Outcome(None, (Signal(What.CLEAR, due, state["onset"]),))


KIND = RuleKind(FloodParameters, step, tick, reads=(Flood,))
