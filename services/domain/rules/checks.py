"""What a rule's parameters must have in common with the device kind they watch and with physics.

Parameters come as the fields that could be read, so that one fault does not hide the next.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from services.domain.devices.kind import DeviceKind, Metric, MetricType
from services.domain.rules.faults import Faults, Path
from services.domain.rules.fields import shapes
from services.domain.rules.parameters import (
    AbsenceParameters,
    Aggregate,
    BaselineParameters,
    Compare,
    ConsumptionParameters,
    CorrelationParameters,
    GatheringParameters,
    GeofenceParameters,
    NOfMParameters,
    OfflineParameters,
    RateParameters,
    ScheduleParameters,
    SequenceParameters,
    SilenceParameters,
    ThresholdParameters,
    WindowParameters,
)
from services.domain.rules.spans import number
from services.domain.vocabulary import Label

METRICS = ("metric", "guard_metric")
EVENTS = ("event", "then", "clear_event")
IDENTITY = frozenset((*METRICS, *EVENTS, "rule", "within"))
"""Fields that say what a rule watches; what is set for one device leaves them alone."""

_METRIC, _EVENT = Label("指标", "metric"), Label("事件", "event")
_DAYS = ("all", "workday", "restday", "weekday", "weekend")
_WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MOST_OF_M = 100


def check_parameters(cls: type, parts: Mapping[str, Any], kind: DeviceKind | None, path: Path, faults: Faults) -> None:
    """Tells every fault of `parts`, the readable fields of a `cls`. `kind` None: it is not known which device."""
    place = {shape.name: (*path, shape.written) for shape in shapes(cls)}
    metric: Metric | None = None
    if kind is not None:
        metric = _names(parts, kind, place, faults)
        _ranges(cls, parts, kind, metric, place, faults)
    for name in ("days", "direction"):
        if name in parts:
            _word(name, parts[name], place[name], faults)
    for name in ("within_s", "window_s", "every_s"):
        if parts.get(name) == 0:
            faults.add(place[name], "须大于零", "must be longer than nothing")
    special = _SPECIAL.get(cls)
    if special is not None:
        special(parts, place, metric, faults)
    if kind is not None and cls is GeofenceParameters and kind.position("latitude") is None:
        faults.add(path, f"{kind.name} 不报位置", f"{kind.name} reports no position (latitude, longitude)")


def check_days(days: str, path: Path, faults: Faults) -> None:
    _word("days", days, path, faults)


def _names(parts: Mapping[str, Any], kind: DeviceKind, place: Mapping[str, Path], faults: Faults) -> Metric | None:
    """Metrics and events that the kind has; the metric that is watched."""
    metrics = {one.name: one for one in kind.metrics}
    for name in METRICS:
        if parts.get(name) is not None and parts[name] not in metrics:
            faults.unknown(place[name], _METRIC, parts[name], metrics, of=kind.name)
    events = [one.name for one in kind.events]
    for name in EVENTS:
        if parts.get(name) is not None and parts[name] not in events:
            faults.unknown(place[name], _EVENT, parts[name], events, of=kind.name)
    return metrics.get(parts.get("metric", ""))


def _ranges(
    cls: type,
    parts: Mapping[str, Any],
    kind: DeviceKind,
    metric: Metric | None,
    place: Mapping[str, Path],
    faults: Faults,
) -> None:
    """Limits that the metric can reach."""
    if "guard_at_least" in parts and parts.get("guard_metric"):
        guard = next((one for one in kind.metrics if one.name == parts["guard_metric"]), None)
        if guard is not None:
            _inside(parts["guard_at_least"], guard.low, guard.high, guard, place["guard_at_least"], faults)
    if metric is None:
        return
    span = metric.high - metric.low
    if cls in (ThresholdParameters, NOfMParameters, ScheduleParameters):
        low, high = metric.low, metric.high
    elif cls is RateParameters:
        low, high = -span, span
    elif cls is BaselineParameters:
        low, high = 0.0, span
    elif cls is WindowParameters:
        aggregate = parts.get("aggregate")
        if aggregate in (Aggregate.MIN, Aggregate.MAX, Aggregate.MEAN):
            low, high = metric.low, metric.high
        elif aggregate is Aggregate.RANGE:
            low, high = 0.0, span
        else:
            return
    else:
        return
    for name in ("limit", "clear_limit", "and_limit", "expect", "floor"):
        if parts.get(name) is not None:
            _inside(parts[name], low, high, metric, place[name], faults)


def _inside(value: float, low: float, high: float, metric: Metric, path: Path, faults: Faults) -> None:
    if not low <= value <= high:
        said = f"{number(low)} … {number(high)} {metric.unit}".rstrip()
        faults.add(
            path,
            f"{number(value)} 超出 {metric.name} 可能的范围 {said}",
            f"{number(value)} is outside what {metric.name} can be, {said}",
        )


def _word(name: str, given: str, path: Path, faults: Faults) -> None:
    if name == "direction":
        if given not in ("above", "below", "both"):
            faults.unknown(path, Label("方向", "direction"), given, ("above", "below", "both"))
    elif given not in _DAYS and not all(day in _WEEK for day in re.split(r"\s*,\s*", given)):
        faults.unknown(path, Label("日类", "sort of days"), given, (*_DAYS, "mon,tue,wed,thu,fri,sat,sun"))


Special = Callable[[Mapping[str, Any], Mapping[str, Path], "Metric | None", Faults], None]


def _hysteresis(parts: Mapping[str, Any], place: Mapping[str, Path], metric: Metric | None, faults: Faults) -> None:
    limit, over, compare = parts.get("limit"), parts.get("clear_limit"), parts.get("compare")
    if limit is None or over is None or compare is None:
        return
    if (over > limit) if compare is Compare.AT_LEAST else (over < limit):
        faults.add(
            place["clear_limit"],
            f"解除线 {number(over)} 在告警一侧，会反复告警；应在 {number(limit)} 的正常一侧",
            f"clear_limit {number(over)} lies on the alarming side of {number(limit)}: the alert would flap",
        )


def _n_of_m(parts: Mapping[str, Any], place: Mapping[str, Path], metric: Metric | None, faults: Faults) -> None:
    n, m = parts.get("n", 2), parts.get("m", 3)
    if not 1 <= m <= MOST_OF_M:
        faults.add(place["m"], f"m 须在 1 到 {MOST_OF_M} 之间", f"m lies between 1 and {MOST_OF_M}")
    elif not 1 <= n <= m:
        faults.add(place["n"], f"n 须在 1 到 m（{m}）之间", f"n lies between 1 and m ({m})")
    far, side = parts.get("and_limit"), parts.get("and_compare")
    if (far is None) != (side is None):
        missing = "and_limit" if far is None else "and_compare"
        faults.add(place[missing][:-1], "and_compare 与 and_limit 须同时给出", "and_compare and and_limit go together")
    elif far is not None and side is parts.get("compare"):
        faults.add(place["and_compare"], "区间的另一侧须用相反的比较", "the far side of a band compares the other way")
    elif far is not None and "limit" in parts and parts.get("compare") is _empty_side(far, parts["limit"]):
        faults.add(place["and_limit"], "区间为空，永不成立", "the band is empty: the rule could never fire")


def _empty_side(far: float, limit: float) -> Compare | None:
    """The comparison with the limit that leaves nothing up to the far side."""
    return None if far == limit else Compare.AT_LEAST if far < limit else Compare.AT_MOST


def _consumption(parts: Mapping[str, Any], place: Mapping[str, Path], metric: Metric | None, faults: Faults) -> None:
    if metric is not None and metric.type is not MetricType.COUNTER:
        faults.add(place["metric"], f"{metric.name} 不是累计量", f"{metric.name} is no counter")
    if parts.get("limit", 0.0) < 0:
        faults.add(place["limit"], "用量不会为负", "a consumption is never negative")
    every, window = parts.get("every_s"), parts.get("window_s")
    if every and window and (every > window or window % every):
        faults.add(place["every_s"], "window 须是 every 的整数倍", "window is a multiple of every")


def _absence(parts: Mapping[str, Any], place: Mapping[str, Path], metric: Metric | None, faults: Faults) -> None:
    if "from_hour" in parts and parts.get("from_hour") == parts.get("to_hour"):
        faults.add(place["to_hour"], "起止时刻相同", "from and to are the same time of day")


def _at_least(name: str, least: int, most: int) -> Special:
    def check(parts: Mapping[str, Any], place: Mapping[str, Path], metric: Metric | None, faults: Faults) -> None:
        if name in parts and not least <= parts[name] <= most:
            faults.add(place[name], f"须在 {least} 到 {most} 之间", f"lies between {least} and {most}")

    return check


def _rate(parts: Mapping[str, Any], place: Mapping[str, Path], metric: Metric | None, faults: Faults) -> None:
    limit, compare = parts.get("limit"), parts.get("compare")
    if limit is None or compare is None:
        return
    if limit == 0 or (limit > 0) != (compare is Compare.AT_LEAST):
        faults.add(
            place["limit"],
            "上升用 >= 和正数，下降用 <= 和负数",
            "a rise is written >= with a positive limit, a fall <= with a negative one",
        )


def _silence(parts: Mapping[str, Any], place: Mapping[str, Path], metric: Metric | None, faults: Faults) -> None:
    if parts.get("for_s") == 0:
        faults.add(place["for_s"], "须大于零", "must be longer than nothing")


def _sequence(parts: Mapping[str, Any], place: Mapping[str, Path], metric: Metric | None, faults: Faults) -> None:
    if "event" in parts and parts["event"] == parts.get("then"):
        faults.add(place["then"], "then 须是另一个事件", "then is another event")


def _gathering(parts: Mapping[str, Any], place: Mapping[str, Path], metric: Metric | None, faults: Faults) -> None:
    _at_least("count", 2, 10_000)(parts, place, metric, faults)
    places = ("gateway", "building", "grid", "community")
    if "within" in parts and parts["within"] not in places:
        faults.unknown(place["within"], Label("范围", "place"), parts["within"], places)


def _geofence(parts: Mapping[str, Any], place: Mapping[str, Path], metric: Metric | None, faults: Faults) -> None:
    area = parts.get("area", ())
    for index, (latitude, longitude) in enumerate(area):
        if not (-90 <= latitude <= 90 and -180 <= longitude <= 180):
            faults.add((*place["area"], index), "应为 [纬度, 经度]（度）", "expected [latitude, longitude] in degrees")
    radius = parts.get("radius_m", 0.0)
    if radius < 0 or parts.get("margin_m", 0.0) < 0:
        faults.add(place["radius_m"], "不能为负", "must not be negative")
    elif len(area) < 3 and radius == 0:
        faults.add(
            place["area"] if area else place["radius_m"],
            "面积为空：给出至少三个角，或圆心与 radius_m",
            "no area: give at least three corners, or a centre with radius_m",
        )
    elif len(area) == 2:
        faults.add(place["area"], "两个点不成区域", "two points make no area")


def _baseline(parts: Mapping[str, Any], place: Mapping[str, Path], metric: Metric | None, faults: Faults) -> None:
    if parts.get("sigmas", 1.0) <= 0:
        faults.add(place["sigmas"], "须大于零", "must be greater than zero")
    _at_least("min_weeks", 1, 52)(parts, place, metric, faults)


_SPECIAL: dict[type, Special] = {
    ThresholdParameters: _hysteresis,
    WindowParameters: _hysteresis,
    OfflineParameters: _at_least("missed", 1, 10_000),
    NOfMParameters: _n_of_m,
    ConsumptionParameters: _consumption,
    AbsenceParameters: _absence,
    CorrelationParameters: _at_least("count", 2, 10_000),
    RateParameters: _rate,
    SilenceParameters: _silence,
    SequenceParameters: _sequence,
    GatheringParameters: _gathering,
    GeofenceParameters: _geofence,
    BaselineParameters: _baseline,
}
