"""The catalogue as a Markdown table, for people: what each kind measures, reports, obeys and alarms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from services.domain.devices import CATALOGUE
from services.domain.devices.kind import CommandType, DeviceKind, EventType, Metric
from services.domain.rules.rule import Rule
from services.domain.vocabulary import SEVERITY_LABELS, TEAM_LABELS, Label

Language = Literal["zh", "en"]
_HEADS = (
    Label("设备", "Device"),
    Label("系统", "System"),
    Label("指标", "Metrics"),
    Label("事件", "Events"),
    Label("指令（! 须复核）", "Commands (! needs approval)"),
    Label("上报间隔", "Interval"),
    Label("告警（级别 → 队伍）", "Alerts (severity → team)"),
)


def markdown(rules: Mapping[str, Iterable[Rule]], language: Language = "zh") -> str:
    """One row a kind, in the order of the catalogue; ends with a newline. `rules`: by kind."""
    rows = [tuple(_in(head, language) for head in _HEADS), ("---",) * len(_HEADS)]
    rows += [_row(kind, rules.get(kind.name, ()), language) for kind in CATALOGUE]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def _in(label: Label, language: Language) -> str:
    return label.zh if language == "zh" else label.en


def _row(kind: DeviceKind, rules: Iterable[Rule], language: Language) -> tuple[str, ...]:
    return (
        f"{_in(kind.label, language)} `{kind.name}`",
        kind.system,
        _list(_metric(metric, language) for metric in kind.metrics),
        _list(_named(event, language) for event in kind.events),
        _list(_named(command, language) + ("!" if command.dangerous else "") for command in kind.commands),
        _interval(kind.interval_s),
        _list(_rule(rule, language) for rule in rules),
    )


def _metric(metric: Metric, language: Language) -> str:
    unit = metric.unit or " / ".join(metric.options)
    return f"{_in(metric.label, language)} `{metric.name}`" + (f" ({unit})" if unit else "")


def _named(thing: EventType | CommandType, language: Language) -> str:
    return f"{_in(thing.label, language)} `{thing.name}`"


def _rule(rule: Rule, language: Language) -> str:
    who = f"{_in(SEVERITY_LABELS[rule.severity], language)} → {_in(TEAM_LABELS[rule.team], language)}"
    return f"{_in(rule.title, language)} ({who})"


def _interval(seconds: int) -> str:
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds % size == 0:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"


def _list(parts: Iterable[str]) -> str:
    return "<br>".join(parts) or "–"
