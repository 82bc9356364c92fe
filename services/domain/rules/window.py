"""Window rules: what the values of a trailing window of event time come to, once it was observed from end to end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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
from services.domain.rules.parameters import Aggregate, Compare, WindowParameters
from services.domain.rules.words import SIGNS, figure, is_private, metric_label, quantity, span_en, span_zh
from services.domain.vocabulary import Label

if TYPE_CHECKING:
    from services.domain.devices.kind import DeviceKind

_RUNS = 48
"""Runs of readings remembered; up to so many readings each is a run of its own and the aggregate is exact. Beyond that
neighbours share a run of at most a 23rd of the window. Of the run that lies across the window's edge only bounds are
known, and the rule says nothing where they disagree."""

Run = list[Any]
"""`[first ts, last ts, low, high]` of min, max and range; `[…, sum below zero, sum above zero]` of sum;
`[…, how many, 0]` of count; `[…, low, high, value × ms until the next run]` of mean."""


def step(parameters: WindowParameters, state: State, item: Item, facts: Facts, now_ms: int) -> Outcome:
    """Late readings fill the window, so that nothing counts as a hole that was measured; only fresh ones decide.

    State: `{"from", "last", "value", "runs", "onset"}`: observed without a hole since, the newest reading.
    """
    if not isinstance(item, Reading):
        return Outcome(state)
    value = item.value(parameters.metric)
    if value is None or (state is not None and item.ts_ms <= state["last"]):
        return Outcome(state)
    moved = _observed(parameters, state, item.ts_ms, value, facts)
    if item.late or moved["from"] > item.ts_ms - parameters.window_s * 1000:
        return Outcome(moved)
    low, high = bounds(parameters, moved["runs"], item.ts_ms)
    careful = low if parameters.compare is Compare.AT_LEAST else high
    onset = moved["onset"]
    if onset is None and past(parameters.compare, careful, parameters.limit):
        moved["onset"] = int(item.ts_ms - parameters.window_s * 1000)
        return Outcome(moved, (Signal(What.FIRE, item.ts_ms, moved["onset"], careful),))
    if onset is not None and _is_over(parameters, low) and _is_over(parameters, high):
        moved["onset"] = None
        return Outcome(moved, (Signal(What.CLEAR, item.ts_ms, onset, careful),))
    return Outcome(moved)


def _is_over(parameters: WindowParameters, value: float) -> bool:
    if parameters.clear_limit is None:
        return not past(parameters.compare, value, parameters.limit)
    other = Compare.AT_MOST if parameters.compare is Compare.AT_LEAST else Compare.AT_LEAST
    return past(other, value, parameters.clear_limit)


def _observed(parameters: WindowParameters, state: State, ts_ms: int, value: float, facts: Facts) -> dict[str, Any]:
    one = _run(parameters.aggregate, ts_ms, value)
    if state is None or ts_ms - state["last"] > GAP_INTERVALS * facts.interval_ms:
        onset = state["onset"] if state is not None else None
        return {"from": ts_ms, "last": ts_ms, "value": value, "runs": [one], "onset": onset}
    runs: list[Run] = [list(run) for run in state["runs"]]
    edge = ts_ms - parameters.window_s * 1000
    if parameters.aggregate is Aggregate.MEAN:
        runs[-1][4] += state["value"] * (ts_ms - state["last"])
        runs.append(one)
        gone = sum(1 for following in runs[1:] if following[0] <= edge)
    else:
        runs.append(one)
        gone = sum(1 for run in runs if run[1] <= edge)
    runs = runs[gone:]
    if len(runs) > _RUNS:
        closest = min(range(len(runs) - 2), key=lambda at: runs[at + 1][1] - runs[at][0])
        runs[closest : closest + 2] = [_joined(parameters.aggregate, *runs[closest : closest + 2])]
    return {**state, "last": ts_ms, "value": value, "runs": runs}


def _run(aggregate: Aggregate, ts_ms: int, value: float) -> Run:
    match aggregate:
        case Aggregate.COUNT:
            return [ts_ms, ts_ms, 1, 0]
        case Aggregate.SUM:
            return [ts_ms, ts_ms, min(value, 0.0), max(value, 0.0)]
        case Aggregate.MEAN:
            return [ts_ms, ts_ms, value, value, 0.0]
        case _:
            return [ts_ms, ts_ms, value, value]


def _joined(aggregate: Aggregate, left: Run, right: Run) -> Run:
    if aggregate in (Aggregate.COUNT, Aggregate.SUM):
        return [left[0], right[1], left[2] + right[2], left[3] + right[3]]
    extremes = [left[0], right[1], min(left[2], right[2]), max(left[3], right[3])]
    return [*extremes, left[4] + right[4]] if aggregate is Aggregate.MEAN else extremes


def bounds(parameters: WindowParameters, runs: list[Run], ts_ms: int) -> tuple[float, float]:
    """Between which values the aggregate of the window that ends now lies; both are it where the window is exact.

    The window is open at its far end, so that windows in a row share no reading; the mean reaches over all of it.
    """
    edge = ts_ms - parameters.window_s * 1000
    if parameters.aggregate is Aggregate.MEAN:
        return _mean(runs, edge, ts_ms)
    first, rest = runs[0], runs[1:]
    cut = first[0] <= edge
    whole = rest if cut else runs
    match parameters.aggregate:
        case Aggregate.COUNT:
            # The first reading of a run that is cut lies outside, its last one inside.
            inside = sum(run[2] for run in whole)
            return (inside + 1, inside + first[2] - 1) if cut else (inside, inside)
        case Aggregate.SUM:
            inside = sum(run[2] + run[3] for run in whole)
            return (inside + first[2], inside + first[3]) if cut else (inside, inside)
        case _:
            return _extreme(parameters.aggregate, first if cut else None, whole)


def _extreme(aggregate: Aggregate, cut: Run | None, whole: list[Run]) -> tuple[float, float]:
    least, most = min(run[2] for run in whole), max(run[3] for run in whole)
    lows, highs = (least, least), (most, most)
    if cut is not None:
        lows = min(least, cut[2]), min(least, cut[3])
        highs = max(most, cut[2]), max(most, cut[3])
    if aggregate is Aggregate.RANGE:
        return highs[0] - lows[1], highs[1] - lows[0]
    return lows if aggregate is Aggregate.MIN else highs


def _mean(runs: list[Run], edge: float, ts_ms: int) -> tuple[float, float]:
    first, whole = runs[0], sum(run[4] for run in runs[1:])
    inside = (runs[1][0] if len(runs) > 1 else ts_ms) - edge
    outside = edge - first[0]
    if outside <= 0:
        low = high = first[4]
    else:
        low = max(first[2] * inside, first[4] - first[3] * outside)
        high = min(first[3] * inside, first[4] - first[2] * outside)
    length = ts_ms - edge
    return (whole + min(low, high)) / length, (whole + max(low, high)) / length


def tick(parameters: WindowParameters, state: State, facts: Facts, now_ms: int) -> Outcome:
    """Without readings nothing is known of the window."""
    return Outcome(state)


_NAMES = {
    Aggregate.SUM: Label("合计", "total"),
    Aggregate.MEAN: Label("均值", "mean"),
    Aggregate.MIN: Label("最小值", "lowest"),
    Aggregate.MAX: Label("最大值", "highest"),
    Aggregate.RANGE: Label("波动幅度", "range"),
    Aggregate.COUNT: Label("上报次数", "number of readings"),
}


def reason(kind: DeviceKind, parameters: WindowParameters, signal: Signal) -> Label:
    name, what = metric_label(kind, parameters.metric), _NAMES[parameters.aggregate]
    over = Label(f"{span_zh(parameters.window_s)}{what.zh}", f"{what.en} over {span_en(parameters.window_s)}")
    if is_private(kind, parameters.metric):
        return Label(f"{name.zh} {over.zh}超出安全范围", f"{name.en}: {over.en} outside the safe range")
    counted = parameters.aggregate is Aggregate.COUNT

    def said(value: float) -> str:
        return figure(value) if counted else quantity(kind, parameters.metric, value)

    seen = "" if signal.value is None else f" {said(signal.value)}"
    limit = f"{SIGNS[parameters.compare]} {said(parameters.limit)}"
    return Label(f"{name.zh} {over.zh}{seen} {limit}", f"{name.en}: {over.en}{seen} {limit}")


def observes(state: dict[str, Any]) -> State:
    """As RuleKind.observes: the window is filled all the time."""
    return {**state, "onset": None}


KIND = RuleKind(WindowParameters, step, tick, reads=(Reading,), reason=reason, observes=observes)
