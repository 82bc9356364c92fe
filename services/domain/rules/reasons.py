"""Why an alert fired, in a sentence for the person who has to go: value, limit, duration and place filled in."""

from __future__ import annotations

from services.domain.devices.kind import DeviceKind, MetricType
from services.domain.rules import BY_PARAMETERS
from services.domain.rules.evaluation import Signal
from services.domain.rules.parameters import (
    AbsenceParameters,
    ClockParameters,
    ConsumptionParameters,
    CorrelationParameters,
    EventParameters,
    FloodParameters,
    NOfMParameters,
    OfflineParameters,
    Parameters,
    ThresholdParameters,
)
from services.domain.rules.words import (
    SIGNS,
    event_label,
    figure,
    metric_of,
    option_label,
    span_en,
    span_zh,
    time_of_day,
)
from services.domain.vocabulary import Label


def why(kind: DeviceKind, parameters: Parameters, signal: Signal, interval_s: float, place: str) -> Label:
    """The reason in both languages. A health metric is named, its numbers are not: those need a purpose to be read."""
    reason = _reason(kind, parameters, signal, interval_s)
    if not place:
        return reason
    return Label(f"{reason.zh}，{place}", f"{reason.en}, {place}")


def is_health(kind: DeviceKind, parameters: Parameters) -> bool:
    """Whether the rule reads sensitive personal information."""
    metric = metric_of(kind, getattr(parameters, "metric", ""))
    return metric is not None and metric.health


def _reason(kind: DeviceKind, parameters: Parameters, signal: Signal, interval_s: float) -> Label:
    own = BY_PARAMETERS[type(parameters)].reason
    if own is not None:
        return own(kind, parameters, signal)
    match parameters:
        case EventParameters():
            name = event_label(kind, parameters.event)
            return Label(f"{kind.label.zh}上报“{name.zh}”", f"{kind.label.en} reported: {name.en}")
        case ThresholdParameters():
            return _compared(kind, parameters, signal.value, parameters.for_s)
        case OfflineParameters():
            missed = parameters.missed
            return Label(
                f"{kind.label.zh}失联：掉线，或连续 {missed} 个上报周期（每 {span_zh(interval_s)}）无数据",
                f"{kind.label.en} offline: disconnected, or silent for {missed} reports "
                f"(one every {span_en(interval_s)})",
            )
        case NOfMParameters():
            hits, of = signal.data.get("hits", parameters.n), signal.data.get("of", parameters.m)
            base = _compared(kind, parameters, signal.value, 0)
            return Label(f"{base.zh}，最近 {of} 次中有 {hits} 次", f"{base.en}, {hits} of the last {of} readings")
        case ConsumptionParameters():
            return _consumed(kind, parameters, signal.value)
        case AbsenceParameters():
            name = event_label(kind, parameters.event)
            span = f"{time_of_day(parameters.from_hour)}–{time_of_day(parameters.to_hour)}"
            return Label(f"{span} 未发生“{name.zh}”", f"No “{name.en}” between {span}")
        case CorrelationParameters():
            name = event_label(kind, parameters.event)
            count = int(signal.value or parameters.count)
            devices = f"{kind.label.en.lower()}s"
            return Label(
                f"同一楼栋 {count} 个{kind.label.zh}在 {span_zh(parameters.window_s)}内上报“{name.zh}”",
                f"{count} {devices} of one building reported “{name.en}” within {span_en(parameters.window_s)}",
            )
        case ClockParameters():
            off = abs(signal.value or 0.0)
            return Label(
                f"{kind.label.zh}时钟偏差 {span_zh(off)}，超过 {span_zh(parameters.limit_s)}",
                f"{kind.label.en} clock is off by {span_en(off)}, more than {span_en(parameters.limit_s)}",
            )
        case FloodParameters():
            count = int(signal.value or 0)
            return Label(
                f"{kind.label.zh}发送过于频繁，已限流，拒收 {count} 条",
                f"{kind.label.en} sends far too much and is limited; {count} messages refused",
            )
        case _:
            raise TypeError(f"{type(parameters).__name__} has no reason")


def _compared(kind: DeviceKind, rule: ThresholdParameters | NOfMParameters, value: float | None, for_s: float) -> Label:
    metric = metric_of(kind, rule.metric)
    lasting = Label(f" 持续 {span_zh(for_s)}", f" for {span_en(for_s)}") if for_s else Label("", "")
    if metric is None:
        return Label(f"{rule.metric} {SIGNS[rule.compare]} {rule.limit:g}{lasting.zh}", f"{rule.metric}{lasting.en}")
    name = metric.label
    if metric.health:
        return Label(f"{name.zh}超出安全范围{lasting.zh}", f"{name.en} outside the safe range{lasting.en}")
    if metric.type in (MetricType.SWITCH, MetricType.STATE):
        shown = option_label(metric, value if value is not None else rule.limit)
        return Label(f"{name.zh}：{shown.zh}{lasting.zh}", f"{name.en}: {shown.en}{lasting.en}")
    unit = f" {metric.unit}" if metric.unit else ""
    seen = "" if value is None else f" {figure(value)}{unit}"
    limit = f"{SIGNS[rule.compare]} {figure(rule.limit)}{unit}"
    return Label(f"{name.zh}{seen} {limit}{lasting.zh}", f"{name.en}{seen} {limit}{lasting.en}")


def _consumed(kind: DeviceKind, rule: ConsumptionParameters, value: float | None) -> Label:
    metric = metric_of(kind, rule.metric)
    name = metric.label if metric else Label(rule.metric, rule.metric)
    unit = f" {metric.unit}" if metric and metric.unit else ""
    if rule.every_s is not None:
        return Label(
            f"{span_zh(rule.window_s)}内每 {span_zh(rule.every_s)}都在走：{name.zh}",
            f"{name.en} moved in every {span_en(rule.every_s)} of {span_en(rule.window_s)}",
        )
    used = "" if value is None else f" {figure(value)}{unit}"
    limit = f"{SIGNS[rule.compare]} {figure(rule.limit)}{unit}"
    return Label(
        f"{name.zh} {span_zh(rule.window_s)}内用量{used} {limit}",
        f"{name.en}: used{used} {limit} in {span_en(rule.window_s)}",
    )
