"""How figures, spans and names are said in both languages; every rule kind builds its reason from these."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.domain.rules.parameters import Compare
from services.domain.vocabulary import Label

if TYPE_CHECKING:
    from services.domain.devices.kind import DeviceKind, Metric

SIGNS = {Compare.AT_LEAST: "≥", Compare.AT_MOST: "≤"}


def metric_of(kind: DeviceKind, name: str) -> Metric | None:
    return next((metric for metric in kind.metrics if metric.name == name), None)


def event_label(kind: DeviceKind, name: str) -> Label:
    return next((event.label for event in kind.events if event.name == name), Label(name, name))


def option_label(metric: Metric, value: float) -> Label:
    if metric.options and 0 <= int(value) < len(metric.options):
        return Label(metric.options[int(value)], metric.options[int(value)])
    return Label("是", "yes") if value >= 1 else Label("否", "no")


def metric_label(kind: DeviceKind, name: str) -> Label:
    metric = metric_of(kind, name)
    return metric.label if metric is not None else Label(name, name)


def is_private(kind: DeviceKind, name: str) -> bool:
    """A health metric: named in a reason, its numbers are not."""
    metric = metric_of(kind, name)
    return metric is not None and metric.health


def quantity(kind: DeviceKind, name: str, value: float) -> str:
    """A value with the metric's unit."""
    metric = metric_of(kind, name)
    return f"{figure(value)} {metric.unit}" if metric is not None and metric.unit else figure(value)


def figure(value: float) -> str:
    return f"{round(value, 3):g}"


def time_of_day(hour: float) -> str:
    return f"{int(hour):02d}:{round(hour % 1 * 60):02d}"


def span_zh(seconds: float) -> str:
    if seconds >= 3600:
        return f"{figure(seconds / 3600)} 小时"
    return f"{figure(seconds / 60)} 分钟" if seconds >= 60 else f"{figure(seconds)} 秒"


def span_en(seconds: float) -> str:
    if seconds >= 3600:
        return f"{figure(seconds / 3600)} h"
    return f"{figure(seconds / 60)} min" if seconds >= 60 else f"{figure(seconds)} s"
