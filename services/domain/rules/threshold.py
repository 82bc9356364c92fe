"""Threshold rules: a metric at or past a limit for long enough, with hysteresis, a guard, and day or night."""

from __future__ import annotations

from services.domain.rules.evaluation import (
    GAP_INTERVALS,
    NOTHING,
    Facts,
    Item,
    Outcome,
    Reading,
    RuleKind,
    Signal,
    State,
    What,
    past,
    short_of,
)
from services.domain.rules.parameters import Compare, ThresholdParameters
from services.domain.sun import is_daylight


def step(parameters: ThresholdParameters, state: State, item: Item, facts: Facts, now_ms: int) -> Outcome:
    """Durations run in the device's own time and are never bridged across a hole of more than three intervals.

    State: `{"phase": "pending", "since", "first", "last", "heard", "value"}` (`first` and `heard` are server times),
    `{"phase": "firing", "onset"}`, `{"phase": "recovering", "onset", "back", "first", "last", "heard"}`.
    """
    if not isinstance(item, Reading):
        return Outcome(state)
    value = item.value(parameters.metric)
    if value is None:
        return Outcome(state, due_ms=_due(parameters, state, facts))
    phase = None if state is None else state["phase"]
    if phase is None and not past(parameters.compare, value, parameters.limit):
        return NOTHING
    if item.late or not _time_of_day_fits(parameters, item, facts):
        return NOTHING if phase == "pending" else Outcome(state, due_ms=_due(parameters, state, facts))
    guarded = _guard(parameters, item)
    if guarded is None:
        return Outcome(state, due_ms=_due(parameters, state, facts))
    holds = guarded and past(parameters.compare, value, parameters.limit)
    if state is None or phase == "pending":
        return _rising(parameters, state, item, value, facts) if holds else NOTHING
    over = not guarded or _is_over(parameters, value)
    return _standing(parameters, state, item, value, holds, over, facts)


def _rising(parameters: ThresholdParameters, state: State, item: Reading, value: float, facts: Facts) -> Outcome:
    if state is None or item.ts_ms - state["last"] > GAP_INTERVALS * facts.interval_ms:
        since, first = item.ts_ms, item.received_ms
    else:
        since, first = state["since"], state["first"]
    if item.ts_ms - since >= parameters.for_s * 1000:
        return _fire(since, item.ts_ms, value)
    pending: State = {
        "phase": "pending",
        "since": since,
        "first": first,
        "last": item.ts_ms,
        "heard": item.received_ms,
        "value": value,
    }
    return Outcome(pending, due_ms=_due(parameters, pending, facts))


def _fire(onset_ms: int, ts_ms: int, value: float) -> Outcome:
    return Outcome({"phase": "firing", "onset": onset_ms}, (Signal(What.FIRE, ts_ms, onset_ms, value),))


def _standing(
    parameters: ThresholdParameters,
    state: dict[str, object],
    item: Reading,
    value: float,
    holds: bool,
    over: bool,
    facts: Facts,
) -> Outcome:
    onset = _number(state["onset"])
    firing: dict[str, object] = {"phase": "firing", "onset": onset}
    if not over:
        if holds and state["phase"] == "recovering":
            return Outcome(firing, (Signal(What.REPEAT, item.ts_ms, onset, value),))
        if state["phase"] == "recovering":
            return Outcome({**firing, "phase": "recovering"})
        return Outcome(firing)
    known = "back" in state and item.ts_ms - _number(state["last"]) <= GAP_INTERVALS * facts.interval_ms
    back = _number(state["back"]) if known else item.ts_ms
    first = _number(state["first"]) if known else item.received_ms
    if item.ts_ms - back >= parameters.clear_for_s * 1000:
        return Outcome(None, (Signal(What.CLEAR, item.ts_ms, onset, value),))
    recovering: State = {
        "phase": "recovering",
        "onset": onset,
        "back": back,
        "first": first,
        "last": item.ts_ms,
        "heard": item.received_ms,
    }
    news = () if state["phase"] == "recovering" else (Signal(What.RECOVER, item.ts_ms, onset, value),)
    return Outcome(recovering, news, _due(parameters, recovering, facts))


def _number(value: object) -> int:
    assert isinstance(value, int)  # noqa: S101
    return value


def _is_over(parameters: ThresholdParameters, value: float) -> bool:
    if parameters.clear_limit is None:
        return not past(parameters.compare, value, parameters.limit)
    other = Compare.AT_MOST if parameters.compare is Compare.AT_LEAST else Compare.AT_LEAST
    return past(other, value, parameters.clear_limit)


def _guard(parameters: ThresholdParameters, item: Reading) -> bool | None:
    if parameters.guard_metric is None:
        return True
    value = item.value(parameters.guard_metric)
    return None if value is None else value >= parameters.guard_at_least


def _time_of_day_fits(parameters: ThresholdParameters, item: Reading, facts: Facts) -> bool:
    if parameters.daylight is None:
        return True
    return is_daylight(item.ts_ms, facts.latitude, facts.longitude) is parameters.daylight


def _due(parameters: ThresholdParameters, state: State, facts: Facts) -> int | None:
    """Only a duration shorter than the reporting interval is run out by the clock.

    There no second reading can be waited for, so what the device said stands until it says otherwise. A longer one
    is decided by readings alone: a tick could run ahead of the very reading that ends it.
    """
    if state is None or "first" not in state:
        return None
    lasts_s = parameters.for_s if state["phase"] == "pending" else parameters.clear_for_s
    return int(state["first"] + lasts_s * 1000) if lasts_s * 1000 < facts.interval_ms else None


def tick(parameters: ThresholdParameters, state: State, facts: Facts, now_ms: int) -> Outcome:
    due = _due(parameters, state, facts)
    if state is None or due is None or now_ms < due:
        return Outcome(state, due_ms=due)
    if now_ms - state["heard"] > GAP_INTERVALS * facts.interval_ms:
        # Nothing has confirmed it since (the engine was away, the device fell silent): unknown, so start anew.
        return NOTHING if state["phase"] == "pending" else Outcome({"phase": "recovering", "onset": state["onset"]})
    if state["phase"] == "pending":
        return _fire(state["since"], int(state["since"] + parameters.for_s * 1000), state["value"])
    over = int(state["back"] + parameters.clear_for_s * 1000)
    return Outcome(None, (Signal(What.CLEAR, over, state["onset"]),))


def rests(parameters: ThresholdParameters) -> tuple[str, float, float]:
    """As RuleKind.rests."""
    return parameters.metric, *short_of(parameters.compare, parameters.limit)


KIND = RuleKind(ThresholdParameters, step, tick, reads=(Reading,), rests=rests)
