"""Why an alert fired, in a sentence for the person who has to go: value, limit, duration and place filled in."""

from __future__ import annotations

from typing import assert_never

from services.domain.devices.kind import DeviceKind, Metric, MetricType
from services.domain.rules.evaluation import Signal
from services.domain.rules.parameters import (
    AbsenceParameters,
    ClockParameters,
    Compare,
    ConsumptionParameters,
    CorrelationParameters,
    EventParameters,
    FloodParameters,
    NOfMParameters,
    OfflineParameters,
    Parameters,
    ThresholdParameters,
)
from services.domain.vocabulary import Label

_SIGNS = {Compare.AT_LEAST: "≥", Compare.AT_MOST: "≤"}


def why(kind: DeviceKind, parameters: Parameters, signal: Signal, interval_s: float, place: str) -> Label:
    """The reason in both languages. A health metric is named, its numbers are not: those need a purpose to be read."""
    reason = _reason(kind, parameters, signal, interval_s)
    if not place:
        return reason
    return Label(f"{reason.zh}，{place}", f"{reason.en}, {place}")


def is_health(kind: DeviceKind, parameters: Parameters) -> bool:
    """Whether the rule reads sensitive personal information."""
    metric = _metric(kind, getattr(parameters, "metric", ""))
    return metric is not None and metric.health


def _reason(kind: DeviceKind, parameters: Parameters, signal: Signal, interval_s: float) -> Label:
    match parameters:
        case EventParameters():
            name = _event(kind, parameters.event)
            return Label(f"{kind.label.zh}上报“{name.zh}”", f"{kind.label.en} reported: {name.en}")
        case ThresholdParameters():
            return _compared(kind, parameters, signal.value, parameters.for_s)
        case OfflineParameters():
            missed = parameters.missed
            return Label(
                f"{kind.label.zh}失联：掉线，或连续 {missed} 个上报周期（每 {_zh(interval_s)}）无数据",
                f"{kind.label.en} offline: disconnected, or silent for {missed} reports (one every {_en(interval_s)})",
            )
        case NOfMParameters():
            hits, of = signal.data.get("hits", parameters.n), signal.data.get("of", parameters.m)
            base = _compared(kind, parameters, signal.value, 0)
            return Label(f"{base.zh}，最近 {of} 次中有 {hits} 次", f"{base.en}, {hits} of the last {of} readings")
        case ConsumptionParameters():
            return _consumed(kind, parameters, signal.value)
        case AbsenceParameters():
            name = _event(kind, parameters.event)
            span = f"{_clock(parameters.from_hour)}–{_clock(parameters.to_hour)}"
            return Label(f"{span} 未发生“{name.zh}”", f"No “{name.en}” between {span}")
        case CorrelationParameters():
            name = _event(kind, parameters.event)
            count = int(signal.value or parameters.count)
            devices = f"{kind.label.en.lower()}s"
            return Label(
                f"同一楼栋 {count} 个{kind.label.zh}在 {_zh(parameters.window_s)}内上报“{name.zh}”",
                f"{count} {devices} of one building reported “{name.en}” within {_en(parameters.window_s)}",
            )
        case ClockParameters():
            off = abs(signal.value or 0.0)
            return Label(
                f"{kind.label.zh}时钟偏差 {_zh(off)}，超过 {_zh(parameters.limit_s)}",
                f"{kind.label.en} clock is off by {_en(off)}, more than {_en(parameters.limit_s)}",
            )
        case FloodParameters():
            count = int(signal.value or 0)
            return Label(
                f"{kind.label.zh}发送过于频繁，已限流，拒收 {count} 条",
                f"{kind.label.en} sends far too much and is limited; {count} messages refused",
            )
        case _:
            assert_never(parameters)


def _compared(kind: DeviceKind, rule: ThresholdParameters | NOfMParameters, value: float | None, for_s: float) -> Label:
    metric = _metric(kind, rule.metric)
    lasting = Label(f" 持续 {_zh(for_s)}", f" for {_en(for_s)}") if for_s else Label("", "")
    if metric is None:
        return Label(f"{rule.metric} {_SIGNS[rule.compare]} {rule.limit:g}{lasting.zh}", f"{rule.metric}{lasting.en}")
    name = metric.label
    if metric.health:
        return Label(f"{name.zh}超出安全范围{lasting.zh}", f"{name.en} outside the safe range{lasting.en}")
    if metric.type in (MetricType.SWITCH, MetricType.STATE):
        shown = _option(metric, value if value is not None else rule.limit)
        return Label(f"{name.zh}：{shown.zh}{lasting.zh}", f"{name.en}: {shown.en}{lasting.en}")
    unit = f" {metric.unit}" if metric.unit else ""
    seen = "" if value is None else f" {_figure(value)}{unit}"
    limit = f"{_SIGNS[rule.compare]} {_figure(rule.limit)}{unit}"
    return Label(f"{name.zh}{seen} {limit}{lasting.zh}", f"{name.en}{seen} {limit}{lasting.en}")


def _consumed(kind: DeviceKind, rule: ConsumptionParameters, value: float | None) -> Label:
    metric = _metric(kind, rule.metric)
    name = metric.label if metric else Label(rule.metric, rule.metric)
    unit = f" {metric.unit}" if metric and metric.unit else ""
    if rule.every_s is not None:
        return Label(
            f"{_zh(rule.window_s)}内每 {_zh(rule.every_s)}都在走：{name.zh}",
            f"{name.en} moved in every {_en(rule.every_s)} of {_en(rule.window_s)}",
        )
    used = "" if value is None else f" {_figure(value)}{unit}"
    limit = f"{_SIGNS[rule.compare]} {_figure(rule.limit)}{unit}"
    return Label(
        f"{name.zh} {_zh(rule.window_s)}内用量{used} {limit}", f"{name.en}: used{used} {limit} in {_en(rule.window_s)}"
    )


def _metric(kind: DeviceKind, name: str) -> Metric | None:
    return next((metric for metric in kind.metrics if metric.name == name), None)


def _event(kind: DeviceKind, name: str) -> Label:
    return next((event.label for event in kind.events if event.name == name), Label(name, name))


def _option(metric: Metric, value: float) -> Label:
    if metric.options and 0 <= int(value) < len(metric.options):
        return Label(metric.options[int(value)], metric.options[int(value)])
    return Label("是", "yes") if value >= 1 else Label("否", "no")


def _figure(value: float) -> str:
    return f"{round(value, 3):g}"


def _clock(hour: float) -> str:
    return f"{int(hour):02d}:{round(hour % 1 * 60):02d}"


def _zh(seconds: float) -> str:
    if seconds >= 3600:
        return f"{_figure(seconds / 3600)} 小时"
    return f"{_figure(seconds / 60)} 分钟" if seconds >= 60 else f"{_figure(seconds)} 秒"


def _en(seconds: float) -> str:
    if seconds >= 3600:
        return f"{_figure(seconds / 3600)} h"
    return f"{_figure(seconds / 60)} min" if seconds >= 60 else f"{_figure(seconds)} s"
