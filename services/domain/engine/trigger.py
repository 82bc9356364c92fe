"""What set an alert off, as its row keeps it: the rule and what it looks for, the device's own time, what it sent."""

from __future__ import annotations

from enum import Enum
from typing import Any

from services.domain.engine.compiled import Compiled
from services.domain.rules.evaluation import Event, Item, Reading, Signal
from services.domain.rules.parameters import (
    AbsenceParameters,
    BaselineParameters,
    ClockParameters,
    ConsumptionParameters,
    CorrelationParameters,
    DelayParameters,
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
from services.domain.rules.reasons import is_health

_TELLS: dict[type, tuple[str, ...]] = {
    ThresholdParameters: ("limit", "compare", "for_s"),
    NOfMParameters: ("limit", "compare", "n", "m"),
    ConsumptionParameters: ("limit", "compare", "window_s"),
    RateParameters: ("limit", "compare", "within_s"),
    WindowParameters: ("aggregate", "limit", "compare", "window_s"),
    SilenceParameters: ("for_s",),
    ScheduleParameters: ("expect", "for_s"),
    BaselineParameters: ("sigmas", "direction", "for_s"),
    GeofenceParameters: ("edge", "for_s"),
    OfflineParameters: ("missed",),
    ClockParameters: ("limit_s",),
    DelayParameters: ("limit_s",),
    SequenceParameters: ("event", "then", "within_s"),
    CorrelationParameters: ("count", "window_s"),
    GatheringParameters: ("count", "within"),
    AbsenceParameters: ("event", "from_hour", "to_hour"),
}
"""Kind of rule → the parameters that say what the value was held against; those it does not use are left out."""


def trigger_of(one: Compiled, signal: Signal, item: Item | None) -> dict[str, Any]:
    """`metric` and `unit` where it is about a metric, `value` and `data` where the rule gave any, `values` of the
    reading, `event` of the device. What tells of somebody's health is marked, and left out elsewhere."""
    parameters = one.rule.parameters
    trigger: dict[str, Any] = {"rule": one.rule.id, "rule_version": one.rule.version, "ts_ms": signal.ts_ms}
    metric = getattr(parameters, "metric", None)
    if metric is not None:
        trigger["metric"] = metric
        trigger["unit"] = next((known.unit for known in one.device_kind.metrics if known.name == metric), "")
    trigger |= _told(parameters)
    if signal.value is not None:
        trigger["value"] = signal.value
    if signal.data:
        trigger["data"] = dict(signal.data)
    if isinstance(item, Event):
        trigger["event"] = item.event
    private = is_health(one.device_kind, parameters)
    if isinstance(item, Reading):
        names = (known.name for known in one.device_kind.metrics if private or not known.health)
        trigger["values"] = {name: value for name in names if (value := item.value(name)) is not None}
    if private:
        trigger["health"] = True
    return trigger


def _told(parameters: Any) -> dict[str, Any]:
    """A duration of nothing is none."""
    found = {name: getattr(parameters, name) for name in _TELLS.get(type(parameters), ())}
    return {
        name: value.value if isinstance(value, Enum) else value
        for name, value in found.items()
        if not (name == "for_s" and not value)
    }
