"""The key figures (指标): each with its formula, and the facts of orders above and below the line."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from services.domain.kpis.facts import Much, Tally
from services.domain.vocabulary import Label

Sort = Literal["count", "share", "mean", "p90", "per"]


@dataclass(frozen=True, slots=True)
class Figure:
    """How one figure is made.

    count: orders with the fact `over`; share: percent of `under` that have `over`; mean, p90: of the measured fact
    `over`, over the orders that have it; per: the sum of the measured fact `over` for each order with `under`.
    """

    name: str
    label: Label
    sort: Sort
    unit: str
    formula: Label
    over: str
    under: str | None = None


@dataclass(frozen=True, slots=True)
class Kpi:
    """`value` is None where there is nothing to divide by: no figure is better than an invented one."""

    name: str
    label: Label
    value: float | None
    unit: str
    formula: Label
    numerator: float | None = None
    denominator: int | None = None


def share(part: int, whole: int) -> float | None:
    """Percent, two decimals; None where the whole is empty."""
    return round(100.0 * part / whole, 2) if whole > 0 else None


def _count(name: str, zh: str, en: str, formula: Label) -> Figure:
    return Figure(name, Label(zh, en), "count", "件", formula, name)


def _share(name: str, label: Label, formula: Label, over: str, under: str) -> Figure:
    return Figure(name, label, "share", "%", formula, over, under)


def _clock(clock: str, zh: str, en: str) -> tuple[Figure, ...]:
    fact = f"{clock}_s"
    return (
        Figure(
            f"{clock}_mean",
            Label(f"平均{zh}用时", f"Mean time to {en}"),
            "mean",
            "s",
            Label(f"各单{zh}用时之和 ÷ 已{zh}的工单", f"sum of seconds to {en} ÷ orders that have them"),
            fact,
        ),
        Figure(
            f"{clock}_p90",
            Label(f"{zh}用时 P90", f"Time to {en}, p90"),
            "p90",
            "s",
            Label(f"九成工单的{zh}用时不超过此数", f"nine of ten orders take no longer to {en}"),
            fact,
        ),
        _share(
            f"{clock}_in_time",
            Label(f"按时{zh}率", f"In time to {en}"),
            Label(
                f"在所属类别时限内{zh} ÷ 已{zh}或时限已过",
                f"by the deadline of its class to {en} ÷ done or past the deadline",
            ),
            f"{clock}_kept",
            f"{clock}_judged",
        ),
    )


ACCEPT_1MIN = _share(
    "accept_1min",
    Label("1 分钟受理率", "Accepted within 1 min"),
    Label("派单后 1 分钟内受理 ÷ 已受理或已满 1 分钟的派单", "accepted ≤ 1 min of dispatch ÷ accepted or 1 min over"),
    "accepted_1min",
    "accept_1min_judged",
)
ARRIVE_10MIN = _share(
    "arrive_10min",
    Label("10 分钟到场率", "On site within 10 min"),
    Label("派单后 10 分钟内到场 ÷ 已到场或已满 10 分钟的派单", "on site ≤ 10 min of dispatch ÷ arrived or 10 min over"),
    "arrived_10min",
    "arrive_10min_judged",
)
CLOSING = _share(
    "closing", Label("结案率", "Closing rate"), Label("结案 ÷ 应结案", "closed ÷ due to be closed"), "closed", "due"
)
CLOSING_ON_TIME = _share(
    "closing_on_time",
    Label("按期结案率", "Closed on time"),
    Label("按期结案 ÷ (应结案 − 缓办)", "closed on time ÷ (due − deferred)"),
    "closed_on_time",
    "due_not_deferred",
)
FALSE_ALARMS = _share(
    "false_alarms",
    Label("误报率", "False alarms"),
    Label("误报工单 ÷ 已终结的告警工单", "orders ended as false alarm ÷ ended orders from alerts"),
    "false_alarm",
    "alert_ended",
)

FIGURES: tuple[Figure, ...] = (
    _count("received", "受理", "Received", Label("期内建立的工单数", "orders opened")),
    _count("filed", "立案", "Filed", Label("其中至少派单一次的工单数", "of these, dispatched at least once")),
    _count(
        "due",
        "应结案",
        "Due to be closed",
        Label(
            "立案中未撤销、未并单、非误报，且已结案或处置时限已到",
            "filed, not cancelled, merged or a false alarm, and closed or past the resolve deadline",
        ),
    ),
    _count("closed", "结案", "Closed", Label("应结案中已结案", "of those due, closed")),
    _count(
        "closed_on_time",
        "按期结案",
        "Closed on time (orders)",
        Label("结案中处置完成不晚于处置时限", "of those closed, resolved by the resolve deadline"),
    ),
    _count(
        "deferred",
        "缓办",
        "Deferred",
        Label("应结案而未结案中，因登记原因暂停", "of those due and not closed, paused with a reason"),
    ),
    _count(
        "overdue",
        "超期未办",
        "Overdue",
        Label("应结案中未处置完成且非缓办", "of those due, not resolved and not deferred"),
    ),
    ACCEPT_1MIN,
    ARRIVE_10MIN,
    CLOSING,
    CLOSING_ON_TIME,
    FALSE_ALARMS,
    *_clock("accept", "受理", "accept"),
    *_clock("arrive", "到场", "arrive"),
    *_clock("resolve", "处置", "resolve"),
    *_clock("verify", "核查", "verify"),
    _share(
        "rework",
        Label("返工率", "Rework rate"),
        Label("返工工单 ÷ 处置完成过的工单", "orders opened again after being resolved ÷ orders resolved"),
        "reworked",
        "resolved",
    ),
    _share(
        "bounce",
        Label("退单率", "Bounce rate"),
        Label("被退回过的工单 ÷ 立案", "orders returned ÷ orders filed"),
        "returned",
        "filed",
    ),
    Figure(
        "satisfaction",
        Label("平均满意度", "Mean rating"),
        "mean",
        "分",
        Label("评价分之和 ÷ 有评价的工单（1–5 分）", "sum of ratings ÷ orders rated (1 to 5)"),
        "rating",
    ),
    _share(
        "satisfied",
        Label("满意率", "Rated 4 or 5"),
        Label("评价 4 分及以上 ÷ 有评价的工单", "rated 4 or 5 ÷ rated"),
        "satisfied",
        "rated",
    ),
    _share(
        "call_back",
        Label("回访率", "Called back"),
        Label("已回访 ÷ 居民上报已结案", "called back ÷ closed orders of residents"),
        "called_back",
        "asked_for",
    ),
    _share(
        "call_back_content",
        Label("回访满意率", "Satisfied at call-back"),
        Label("回访满意 ÷ 回访接通", "satisfied ÷ reached when called back"),
        "content",
        "reached",
    ),
    Figure(
        "escalations",
        Label("单均升级次数", "Escalations an order"),
        "per",
        "次",
        Label("升级次数之和 ÷ 立案", "steps up the ladder ÷ orders filed"),
        "escalations",
        "filed",
    ),
    Figure(
        "urges",
        Label("单均督办次数", "Urges an order"),
        "per",
        "次",
        Label("督办次数之和 ÷ 受理", "times urged ÷ orders received"),
        "urges",
        "received",
    ),
)
FIGURE_BY_NAME: dict[str, Figure] = {figure.name: figure for figure in FIGURES}
COCKPIT: tuple[Figure, ...] = (ACCEPT_1MIN, ARRIVE_10MIN, CLOSING, CLOSING_ON_TIME, FALSE_ALARMS)
"""What a cockpit shows beside open alerts and devices online, in its order."""


def kpi(figure: Figure, tally: Tally) -> Kpi:
    """The figure over the orders that were tallied."""
    if figure.sort in ("count", "share"):
        part = tally.counts.get(figure.over, 0)
        if figure.under is None:
            return _kpi(figure, float(part), part, None)
        whole = tally.counts.get(figure.under, 0)
        return _kpi(figure, share(part, whole), part, whole)
    much = tally.much.get(figure.over, Much(0, 0.0, None))
    whole = much.count if figure.under is None else tally.counts.get(figure.under, 0)
    value = much.p90 if figure.sort == "p90" else much.total / whole if whole else None
    return _kpi(figure, None if value is None else round(value, 3), round(much.total, 3), whole)


def _kpi(figure: Figure, value: float | None, part: float | None, whole: int | None) -> Kpi:
    return Kpi(figure.name, figure.label, value, figure.unit, figure.formula, part, whole)


def kpis(tally: Tally, figures: Iterable[Figure] = FIGURES) -> tuple[Kpi, ...]:
    return tuple(kpi(figure, tally) for figure in figures)


def present(open_alerts: int, devices: int, devices_online: int) -> tuple[Kpi, ...]:
    """The two figures of now, which no order is behind."""
    return (
        Kpi(
            "open_alerts",
            Label("未解除告警", "Open alerts"),
            float(open_alerts),
            "",
            Label("尚未解除的告警数", "alerts not cleared yet"),
            open_alerts,
        ),
        Kpi(
            "devices_online",
            Label("设备在线率", "Devices online"),
            share(devices_online, devices),
            "%",
            Label("在线设备 ÷ 在册设备", "devices online ÷ devices registered"),
            devices_online,
            devices,
        ),
    )
