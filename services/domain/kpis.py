"""The community's key figures (指标): each with its formula and the counts behind it."""

from __future__ import annotations

from dataclasses import dataclass

from services.domain.vocabulary import Label


@dataclass(frozen=True, slots=True)
class Counts:
    """What the figures are made of, over orders opened in one window of time; devices and open alerts are of now."""

    due: int
    """应结案: filed orders whose closing deadline has come, or that are closed already."""
    deferred: int
    """缓办: of those due, the ones paused with a reason."""
    closed: int
    """结案: of those due, the ones closed."""
    closed_on_time: int
    """按期结案: of those closed, the ones resolved before their deadline."""
    accept_judged: int
    """Dispatched orders that were accepted, or whose minute is over."""
    accepted_in_1min: int
    arrive_judged: int
    """Dispatched orders whose people arrived, or whose ten minutes are over."""
    arrived_in_10min: int
    ended_alert_orders: int
    """Orders from alerts that have ended."""
    false_alarms: int
    open_alerts: int
    devices: int
    devices_online: int


@dataclass(frozen=True, slots=True)
class Kpi:
    """`value` is None where there is nothing to divide by: no figure is better than an invented one."""

    name: str
    label: Label
    value: float | None
    unit: str
    formula: Label
    numerator: int | None = None
    denominator: int | None = None


def share(part: int, whole: int) -> float | None:
    """Percent, two decimals; None where the whole is empty."""
    return round(100.0 * part / whole, 2) if whole > 0 else None


def _share(name: str, label: Label, formula: Label, part: int, whole: int) -> Kpi:
    return Kpi(name, label, share(part, whole), "%", formula, part, whole)


def kpis(c: Counts) -> tuple[Kpi, ...]:
    """All figures of a community, in the order in which a cockpit shows them."""
    return (
        Kpi(
            "open_alerts",
            Label("未解除告警", "Open alerts"),
            float(c.open_alerts),
            "",
            Label("尚未解除的告警数", "alerts not cleared yet"),
            c.open_alerts,
        ),
        _share(
            "devices_online",
            Label("设备在线率", "Devices online"),
            Label("在线设备 ÷ 在册设备", "devices online ÷ devices registered"),
            c.devices_online,
            c.devices,
        ),
        _share(
            "accept_1min",
            Label("1 分钟受理率", "Accepted within 1 min"),
            Label(
                "派单后 1 分钟内受理 ÷ 已受理或已满 1 分钟的派单",
                "accepted ≤ 1 min of dispatch ÷ accepted or 1 min over",
            ),
            c.accepted_in_1min,
            c.accept_judged,
        ),
        _share(
            "arrive_10min",
            Label("10 分钟到场率", "On site within 10 min"),
            Label(
                "派单后 10 分钟内到场 ÷ 已到场或已满 10 分钟的派单",
                "on site ≤ 10 min of dispatch ÷ arrived or 10 min over",
            ),
            c.arrived_in_10min,
            c.arrive_judged,
        ),
        _share(
            "closing",
            Label("结案率", "Closing rate"),
            Label("结案 ÷ 应结案", "closed ÷ due to be closed"),
            c.closed,
            c.due,
        ),
        _share(
            "closing_on_time",
            Label("按期结案率", "Closed on time"),
            Label("按期结案 ÷ (应结案 − 缓办)", "closed on time ÷ (due − deferred)"),
            c.closed_on_time,
            c.due - c.deferred,
        ),
        _share(
            "false_alarms",
            Label("误报率", "False alarms"),
            Label("误报工单 ÷ 已终结的告警工单", "orders ended as false alarm ÷ ended orders from alerts"),
            c.false_alarms,
            c.ended_alert_orders,
        ),
    )
