"""Schedule rules: a switch or a state that does not stand as the timetable wants it."""

from __future__ import annotations

from math import inf, nextafter
from typing import TYPE_CHECKING

from services.domain.calendar import check_hours, counts_at, local_time, note
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
)
from services.domain.rules.parameters import ScheduleParameters
from services.domain.rules.words import figure, metric_of, option_label, span_en, span_zh, time_of_day
from services.domain.vocabulary import Label

if TYPE_CHECKING:
    from services.domain.devices.kind import DeviceKind, Metric

_DAYS = {
    "all": Label("", ""),
    "workday": Label("工作日", "on working days"),
    "restday": Label("休息日", "on rest days"),
    "weekday": Label("周一至周五", "Monday to Friday"),
    "weekend": Label("周末", "at weekends"),
}


def step(parameters: ScheduleParameters, state: State, item: Item, facts: Facts, now_ms: int) -> Outcome:
    """Wrong for `for_s` of the device's time within the hours fires; as expected, or the hours over, clears. Between
    day and night (`daylight`) nothing is expected that could be wrong: what fires stays, nothing else begins.

    State: `{"since", "first", "last", "heard", "value"}` while it is wrong and not yet for long (`first` and `heard`
    are server times), `{"onset"}` once it fired.
    """
    if not isinstance(item, Reading) or item.late:
        return Outcome(state, due_ms=_due(parameters, state, facts))
    value = item.value(parameters.metric)
    if value is None:
        return Outcome(state, due_ms=_due(parameters, state, facts))
    if state is None and value == parameters.expect:
        return NOTHING
    counts = counts_at(parameters, item.ts_ms, facts)
    firing = state is not None and "onset" in state
    if counts is not True or value == parameters.expect:
        if state is None or not firing:
            return NOTHING
        if counts is None and value != parameters.expect:
            return Outcome(state)
        return Outcome(None, (Signal(What.CLEAR, item.ts_ms, state["onset"], value),))
    if firing:
        return Outcome(state)
    if state is None or item.ts_ms - state["last"] > GAP_INTERVALS * facts.interval_ms:
        since, first = item.ts_ms, item.received_ms
    else:
        since, first = state["since"], state["first"]
    if item.ts_ms - since >= parameters.for_s * 1000:
        return _fire(parameters, since, item.ts_ms, value, facts)
    waiting: State = {
        "since": since,
        "first": first,
        "last": item.ts_ms,
        "heard": item.received_ms,
        "value": value,
    }
    return Outcome(waiting, due_ms=_due(parameters, waiting, facts))


def _fire(parameters: ScheduleParameters, since: int, ts_ms: int, value: float, facts: Facts) -> Outcome:
    asks = parameters.days in ("workday", "restday")
    assumed = note(local_time(ts_ms, facts.zone).date()) if asks else None
    data = {"calendar": {"zh": assumed.zh, "en": assumed.en}} if assumed is not None else {}
    return Outcome({"onset": since}, (Signal(What.FIRE, ts_ms, since, value, data),))


def _due(parameters: ScheduleParameters, state: State, facts: Facts) -> int | None:
    """As for thresholds: only a duration shorter than the reporting interval is run out by the clock."""
    if state is None or "first" not in state or parameters.for_s * 1000 >= facts.interval_ms:
        return None
    return int(state["first"] + parameters.for_s * 1000)


def tick(parameters: ScheduleParameters, state: State, facts: Facts, now_ms: int) -> Outcome:
    """What runs out after the hours were over fires no more."""
    due = _due(parameters, state, facts)
    if state is None or due is None or now_ms < due:
        return Outcome(state, due_ms=due)
    at_ms = int(state["since"] + parameters.for_s * 1000)
    silent = now_ms - state["heard"] > GAP_INTERVALS * facts.interval_ms
    if silent or counts_at(parameters, at_ms, facts) is not True:
        return NOTHING
    return _fire(parameters, state["since"], at_ms, state["value"], facts)


def rests(parameters: ScheduleParameters) -> tuple[str, float, float]:
    """As RuleKind.rests: strictly between these lies the expected value alone."""
    return parameters.metric, nextafter(parameters.expect, -inf), nextafter(parameters.expect, inf)


def check(parameters: ScheduleParameters) -> None:
    """ValueError where there are no such days or hours."""
    check_hours(parameters)
    if parameters.for_s < 0:
        raise ValueError("for_s is not negative")


def reason(kind: DeviceKind, parameters: ScheduleParameters, signal: Signal) -> Label:
    metric = metric_of(kind, parameters.metric)
    seen = parameters.expect if signal.value is None else signal.value
    if metric is None:
        name, stands, wanted = Label(parameters.metric, parameters.metric), figure(seen), figure(parameters.expect)
        now, should = Label(stands, stands), Label(wanted, wanted)
    else:
        name, now, should = metric.label, _shown(metric, seen), _shown(metric, parameters.expect)
    when = _when(parameters)
    zh = f"{when.zh}{name.zh}：{now.zh}（应为{should.zh}）已 {span_zh(parameters.for_s)}"
    en = f"{name.en}: {now.en} (should be {should.en}){when.en} for {span_en(parameters.for_s)}"
    assumed = signal.data.get("calendar")
    return Label(f"{zh}；{assumed['zh']}", f"{en}; {assumed['en']}") if assumed else Label(zh, en)


def _shown(metric: Metric, value: float) -> Label:
    if metric.type in ("switch", "state"):
        return option_label(metric, value)
    text = f"{figure(value)} {metric.unit}".rstrip()
    return Label(text, text)


def _when(parameters: ScheduleParameters) -> Label:
    days = _DAYS.get(parameters.days, Label(parameters.days, f"on {parameters.days}"))
    zh, en = days.zh, f" {days.en}" if days.en else ""
    if (parameters.from_hour, parameters.to_hour) != (0.0, 24.0):
        span = f"{time_of_day(parameters.from_hour)}–{time_of_day(parameters.to_hour)}"
        zh, en = f"{zh} {span} ".lstrip(), f"{en} {span}"
    if parameters.daylight is not None:
        zh += "白天" if parameters.daylight else "夜间"
        en += " by day" if parameters.daylight else " by night"
    return Label(zh, en)


KIND = RuleKind(ScheduleParameters, step, tick, reads=(Reading,), rests=rests, reason=reason)
