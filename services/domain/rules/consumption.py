"""Consumption rules: how much a counter moved in a trailing window that was observed from end to end."""

from __future__ import annotations

from typing import Any

from services.domain.rules.evaluation import (
    GAP_INTERVALS,
    Facts,
    Item,
    Outcome,
    Reading,
    RuleKind,
    Signal,
    State,
    What,
    past,
)
from services.domain.rules.parameters import Compare, ConsumptionParameters

_POINTS = 96
"""A window is remembered at no finer than a 96th of its length (a quarter of an hour in a day)."""


def step(parameters: ConsumptionParameters, state: State, item: Item, facts: Facts, now_ms: int) -> Outcome:
    """Late readings fill the window, so that nothing counts as a hole that was measured; only fresh ones page.

    State: `{"ts", "total", "onset"}` (the newest reading) with `{"used", "points": [[ts, used]…]}` for a window or
    `{"slice", "slice_used", "run"}` for a window in slices. A hole of more than three intervals starts it anew.
    """
    if not isinstance(item, Reading):
        return Outcome(state)
    total = item.value(parameters.metric)
    if total is None:
        return Outcome(state)
    if state is None:
        return Outcome(_begin(item.ts_ms, total, None))
    if item.ts_ms <= state["ts"]:
        return Outcome(state)
    if item.ts_ms - state["ts"] > GAP_INTERVALS * facts.interval_ms or _away(parameters, facts, item.received_ms):
        return Outcome(_begin(item.ts_ms, total, state["onset"]))
    # A counter that went back was reset or swapped: what it shows now has gone through since.
    delta = total - state["total"] if total >= state["total"] else max(total, 0.0)
    moved = dict(state)
    if parameters.every_s is None:
        held, used = _window(parameters, moved, item.ts_ms, delta)
    else:
        held, used = _slices(parameters, parameters.every_s, moved, item.ts_ms, delta)
    moved["ts"], moved["total"] = item.ts_ms, total
    if held is None or item.late:
        return Outcome(moved)
    onset = moved["onset"]
    if held and onset is None:
        moved["onset"] = int(item.ts_ms - parameters.window_s * 1000)
        return Outcome(moved, (Signal(What.FIRE, item.ts_ms, moved["onset"], used),))
    if not held and onset is not None:
        moved["onset"] = None
        return Outcome(moved, (Signal(What.CLEAR, item.ts_ms, onset, used),))
    return Outcome(moved)


def _away(parameters: ConsumptionParameters, facts: Facts, at_ms: int) -> bool:
    """Nobody at home uses no water: time away does not count towards silence."""
    away = facts.away_until_ms is not None and facts.away_until_ms > at_ms
    return away and parameters.compare is Compare.AT_MOST


def _begin(ts_ms: int, total: float, onset: int | None) -> dict[str, Any]:
    return {"ts": ts_ms, "total": total, "onset": onset}


def _window(
    parameters: ConsumptionParameters, state: dict[str, Any], ts_ms: int, delta: float
) -> tuple[bool | None, float]:
    """Whether the trailing window meets the limit (None: not yet observed whole) and what it used.

    Towards an upper limit the window begins at the first point inside it, towards a lower one at the last point
    before it: where points do not fall on its edge, the doubt speaks against an alert.
    """
    window_ms = parameters.window_s * 1000
    points: list[list[float]] = list(state.get("points") or [[state["ts"], 0.0]])
    used = state.get("used", 0.0) + delta
    edge = ts_ms - window_ms
    while len(points) > 1 and points[1][0] <= edge:
        points.pop(0)
    whole = points[0][0] <= edge
    inside = (
        points[0] if points[0][0] == edge or parameters.compare is Compare.AT_MOST or len(points) == 1 else points[1]
    )
    amount = used - inside[1]
    if ts_ms - points[-1][0] >= window_ms / _POINTS:
        points.append([ts_ms, used])
    state["used"], state["points"] = used, points
    return (past(parameters.compare, amount, parameters.limit) if whole else None), amount


def _slices(
    parameters: ConsumptionParameters, every_s: float, state: dict[str, Any], ts_ms: int, delta: float
) -> tuple[bool | None, float]:
    """Counts whole slices in a row that met the limit; a reading across an edge is shared out by time."""
    every = int(every_s * 1000)
    began, ended = state["ts"], ts_ms
    if "slice" not in state:
        # The slice in which observation began is not whole; the run starts with the next.
        state["slice"], state["slice_used"], state["run"], state["whole"] = began // every, 0.0, 0, began % every == 0
    decided: bool | None = None
    while True:
        edge = (state["slice"] + 1) * every
        share = delta * (min(ended, edge) - max(began, state["slice"] * every)) / (ended - began)
        state["slice_used"] += max(share, 0.0)
        if ended < edge:
            break
        if state["whole"]:
            met = past(parameters.compare, state["slice_used"], parameters.limit)
            state["run"] = state["run"] + 1 if met else 0
            decided = state["run"] * every >= parameters.window_s * 1000
        last = state["slice_used"]
        state["slice"], state["slice_used"], state["whole"] = state["slice"] + 1, 0.0, True
        state["last"] = last
    if decided is False and state["run"] and state["onset"] is not None:
        decided = None
    return decided, state.get("last", 0.0)


def tick(parameters: ConsumptionParameters, state: State, facts: Facts, now_ms: int) -> Outcome:
    """Without readings nothing is known of the consumption."""
    return Outcome(state)


def observes(state: dict[str, Any]) -> State:
    """As RuleKind.observes: the counter is followed all the time."""
    return {**state, "onset": None}


KIND = RuleKind(ConsumptionParameters, step, tick, reads=(Reading,), observes=observes)
