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

    State: `{"ts", "total", "onset"}` (the newest reading believed) with `{"used", "points": [[ts, used]…]}` for a
    window or `{"slice", "slice_used", "run"}` for one in slices; `"odd": [ts, total]`, a reading that does not follow
    from it; `"away"`. A hole of more than three intervals starts it anew, as does whatever leaves the use in doubt.
    """
    if not isinstance(item, Reading):
        return Outcome(state)
    total = item.value(parameters.metric)
    if total is None:
        return Outcome(state)
    away = _away(parameters, facts, item.ts_ms)
    if state is None:
        return Outcome(_begin(item.ts_ms, total, None, away))
    newest = max(state["ts"], state["odd"][0] if "odd" in state else 0)
    if item.ts_ms <= newest:
        return Outcome(state)
    onset = state["onset"]
    if away and onset is not None and not item.late:
        # Whoever is not at home need not use anything: the silence is explained.
        ended = Signal(What.CLEAR, item.ts_ms, onset)
        return Outcome(_begin(item.ts_ms, total, None, away), (ended,))
    if away or "away" in state or item.ts_ms - newest > GAP_INTERVALS * facts.interval_ms:
        return Outcome(_begin(item.ts_ms, total, onset, away))
    delta = _delta(parameters, state, item.ts_ms, total)
    if delta is None:
        return Outcome({**state, "odd": [item.ts_ms, total]})
    if delta < 0:
        return Outcome(_begin(item.ts_ms, total, onset, away))
    moved = dict(state)
    moved.pop("odd", None)
    if parameters.every_s is None:
        held, used = _window(parameters, moved, item.ts_ms, delta)
    else:
        held, used = _slices(parameters, parameters.every_s, moved, item.ts_ms, delta)
    moved["ts"], moved["total"] = item.ts_ms, total
    if held is None or item.late:
        return Outcome(moved)
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


def _begin(ts_ms: int, total: float, onset: int | None, away: bool) -> dict[str, Any]:
    """The window begins with this reading; while people are away, with the first one after they are back."""
    begun: dict[str, Any] = {"ts": ts_ms, "total": total, "onset": onset}
    return {**begun, "away": True} if away else begun


def _delta(parameters: ConsumptionParameters, state: dict[str, Any], ts_ms: int, total: float) -> float | None:
    """What went through since the newest reading believed. None: nobody can say yet; below zero: nobody ever will.

    A register that went back, or further on than it can, is a wild reading unless the next one follows from it. If it
    does, it was reset or swapped. A reset one began at zero, and what it shows has gone through since; but a swapped
    one shows anything, so that is believed only where it sets nothing off by itself.
    """
    if _follows(parameters, state["ts"], state["total"], ts_ms, total):
        return float(total - state["total"])
    odd_ms, odd = state.get("odd", (ts_ms, total))
    if odd_ms == ts_ms or not _follows(parameters, odd_ms, odd, ts_ms, total):
        return None
    reset = 0 <= total < state["total"]
    harmless = parameters.compare is Compare.AT_LEAST and total < parameters.limit
    return float(total) if reset and harmless else -1.0


def _follows(parameters: ConsumptionParameters, since_ms: int, before: float, ts_ms: int, total: float) -> bool:
    most = parameters.max_per_h
    return total >= before and (most is None or total - before <= most * (ts_ms - since_ms) / 3_600_000)


def _window(
    parameters: ConsumptionParameters, state: dict[str, Any], ts_ms: int, delta: float
) -> tuple[bool | None, float]:
    """Whether the trailing window meets the limit, and what it used. None: not yet observed whole, or in doubt.

    Where no point falls on the window's edge, what was used lies between the sums since the points on either side of
    it; it meets the limit, or does not, only where both say so.
    """
    window_ms = parameters.window_s * 1000
    points: list[list[float]] = state.get("points") or [[state["ts"], 0.0]]
    used = state.get("used", 0.0) + delta
    edge = ts_ms - window_ms
    gone = 0
    while len(points) > gone + 1 and points[gone + 1][0] <= edge:
        gone += 1
    first = points[gone]
    high = used - first[1]
    low = high if first[0] == edge else used - points[gone + 1][1] if len(points) > gone + 1 else 0.0
    adds = ts_ms - points[-1][0] >= window_ms / _POINTS
    if gone or adds:
        # The list is that of the state before as well; most readings change nothing in it, and copy nothing.
        points = points[gone:]
        if adds:
            points.append([ts_ms, used])
    state["used"], state["points"] = used, points
    careful = low if parameters.compare is Compare.AT_LEAST else high
    if first[0] > edge:
        return None, careful
    said = past(parameters.compare, low, parameters.limit)
    return (said if said is past(parameters.compare, high, parameters.limit) else None), careful


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
    if began >= state["slice"] * every and ended < (state["slice"] + 1) * every:
        state["slice_used"] += delta
        return None, state.get("last", 0.0)
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
