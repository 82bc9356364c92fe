"""Rate rules: a metric that rises or falls by so much within so long a time."""

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
from services.domain.rules.parameters import Compare, RateParameters
from services.domain.rules.words import SIGNS, is_private, metric_label, quantity, span_en, span_zh
from services.domain.vocabulary import Label

if TYPE_CHECKING:
    from services.domain.devices.kind import DeviceKind

_POINTS = 64
"""Readings remembered. Where more of them matter, those closest together are thinned: a change is then looked for over
at least 30/31 of `within_s`, never over more."""


def step(parameters: RateParameters, state: State, item: Item, facts: Facts, now_ms: int) -> Outcome:
    """Compares with the lowest (of a fall: the highest) value of the trailing window, both its ends included.

    State: `{"from", "points": [[ts, value]…], "phase", "onset", "back", "over"}`: observed without a hole since; what
    may still be that lowest value, the newest reading last; `phase` firing, recovering or None. A change seen is one
    however little was observed; that there was none is known only of a window observed from end to end. Late readings
    fill the window and decide nothing.
    """
    if not isinstance(item, Reading):
        return Outcome(state)
    value = item.value(parameters.metric)
    if value is None or (state is not None and item.ts_ms <= state["points"][-1][0]):
        return Outcome(state)
    moved = _observed(parameters, state, item.ts_ms, value, facts)
    change = value - moved["points"][0][1]
    holds = past(parameters.compare, change, parameters.limit)
    if item.late:
        if holds:
            moved["back"] = None
        return Outcome(moved)
    if holds:
        return _changing(moved, item.ts_ms, value, change)
    if item.ts_ms - moved["from"] < parameters.within_s * 1000:
        moved["back"] = None
        return Outcome(moved)
    return _steady(parameters, moved, item.ts_ms, change)


def _observed(parameters: RateParameters, state: State, ts_ms: int, value: float, facts: Facts) -> dict[str, Any]:
    if state is None:
        return {"from": ts_ms, "points": [[ts_ms, value]], "phase": None, "onset": None, "back": None, "over": 0}
    if ts_ms - state["points"][-1][0] > GAP_INTERVALS * facts.interval_ms:
        return {**state, "from": ts_ms, "points": [[ts_ms, value]], "back": None}
    edge = ts_ms - parameters.within_s * 1000
    rising = parameters.compare is Compare.AT_LEAST
    points = [point for point in state["points"] if point[0] >= edge]
    while points and (points[-1][1] >= value if rising else points[-1][1] <= value):
        points.pop()
    points.append([ts_ms, value])
    if len(points) > _POINTS:
        # Leaving out the one whose neighbours are closest: the value before it stands for it, and expires sooner.
        closest = min(range(1, len(points) - 1), key=lambda at: points[at + 1][0] - points[at - 1][0])
        del points[closest]
    return {**state, "points": points}


def _changing(moved: dict[str, Any], ts_ms: int, value: float, change: float) -> Outcome:
    phase, moved["phase"], moved["back"] = moved["phase"], "firing", None
    data = {"from": moved["points"][0][1], "to": value}
    if phase is None:
        # The same low point can begin a second change after the first was over; an onset names one alert only.
        moved["onset"] = max(moved["points"][0][0], moved["over"])
        return Outcome(moved, (Signal(What.FIRE, ts_ms, moved["onset"], change, data),))
    if phase == "recovering":
        return Outcome(moved, (Signal(What.REPEAT, ts_ms, moved["onset"], change, data),))
    return Outcome(moved)


def _steady(parameters: RateParameters, moved: dict[str, Any], ts_ms: int, change: float) -> Outcome:
    phase, onset = moved["phase"], moved["onset"]
    if phase is None:
        return Outcome(moved)
    if moved["back"] is None:
        moved["back"] = ts_ms
    if ts_ms - moved["back"] >= parameters.clear_for_s * 1000:
        moved.update(phase=None, onset=None, back=None, over=ts_ms)
        return Outcome(moved, (Signal(What.CLEAR, ts_ms, onset, change),))
    moved["phase"] = "recovering"
    return Outcome(moved, () if phase == "recovering" else (Signal(What.RECOVER, ts_ms, onset, change),))


def tick(parameters: RateParameters, state: State, facts: Facts, now_ms: int) -> Outcome:
    """Only readings speak here."""
    return Outcome(state)


def reason(kind: DeviceKind, parameters: RateParameters, signal: Signal) -> Label:
    name = metric_label(kind, parameters.metric)
    way = Label("上升", "rose") if parameters.compare is Compare.AT_LEAST else Label("下降", "fell")
    if is_private(kind, parameters.metric):
        return Label(f"{name.zh}{way.zh}过快", f"{name.en} {way.en} too fast")
    limit = f"{SIGNS[Compare.AT_LEAST]} {quantity(kind, parameters.metric, abs(parameters.limit))}"
    by = "" if signal.value is None else f" {quantity(kind, parameters.metric, abs(signal.value))}"
    return Label(
        f"{name.zh}在 {span_zh(parameters.within_s)}内{way.zh}{by} {limit}",
        f"{name.en} {way.en} by{by} {limit} within {span_en(parameters.within_s)}",
    )


def observes(state: dict[str, Any]) -> State:
    """As RuleKind.observes: the values are followed all the time."""
    return {**state, "phase": None, "onset": None, "back": None}


KIND = RuleKind(RateParameters, step, tick, reads=(Reading,), reason=reason, observes=observes)
