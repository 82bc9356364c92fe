"""The monthly report (月报) of a community: its figures beside last month's, and what they say in plain sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from services.domain.kpis.facts import Tally
from services.domain.kpis.figures import FIGURE_BY_NAME, kpi
from services.domain.vocabulary import Label

HEADLINE: tuple[str, ...] = (
    "received",
    "filed",
    "due",
    "closed",
    "closing",
    "closing_on_time",
    "accept_1min",
    "arrive_10min",
    "rework",
    "bounce",
    "satisfied",
    "false_alarms",
)
"""What a meeting looks at first."""
IN_GROUPS: tuple[str, ...] = (
    "received",
    "due",
    "closed",
    "closing",
    "closing_on_time",
    "overdue",
    "accept_1min",
    "arrive_10min",
    "resolve_p90",
    "rework",
    "bounce",
    "satisfied",
)
_FEW = 5
"""Of fewer orders than this nothing is concluded about a single team."""


@dataclass(frozen=True, slots=True)
class Line:
    """One figure: this month, last month, and how it is made. Numbers None: nothing to divide by."""

    name: str
    label: Label
    formula: Label
    unit: str
    value: float | None
    numerator: float | None
    denominator: int | None
    before: float | None


@dataclass(frozen=True, slots=True)
class Group:
    """Some figures over one team, class, source or day."""

    key: str
    label: Label
    values: Mapping[str, float | None]


@dataclass(frozen=True, slots=True)
class OrderLine:
    """One order in the lists: nothing of the people who live there, nothing about health."""

    number: int
    title: Label
    place: str
    team: str
    order_class: Label
    category: Label
    severity: str
    source: str
    state: str
    created_at: datetime
    resolve_due: datetime | None
    resolved_at: datetime | None
    closed_at: datetime | None
    accept_s: float | None
    arrive_s: float | None
    resolve_s: float | None
    reworks: int
    rating: int | None
    person: str = ""


@dataclass(frozen=True, slots=True)
class Cover:
    """For how many seconds the rotas of a team ask for somebody, and in how many of them somebody was on the roster."""

    team: Label
    required_s: float
    covered_s: float


@dataclass(frozen=True, slots=True)
class Month:
    """Everything that is printed, and nothing else."""

    community: str
    street: str
    month: str
    timezone: str
    households: int
    made_at: datetime
    lines: tuple[Line, ...]
    teams: tuple[Group, ...] = ()
    classes: tuple[Group, ...] = ()
    categories: tuple[Group, ...] = ()
    sources: tuple[Group, ...] = ()
    days: tuple[Group, ...] = ()
    places: tuple[Group, ...] = ()
    rules: tuple[Group, ...] = ()
    people: tuple[Group, ...] = ()
    cover: tuple[Cover, ...] = ()
    overdue: tuple[OrderLine, ...] = ()
    overdue_count: int = 0
    orders: tuple[OrderLine, ...] = ()
    conclusions: tuple[Label, ...] = field(default=())

    @property
    def empty(self) -> bool:
        return not self.value("received")

    def value(self, name: str) -> float | None:
        return next((line.value for line in self.lines if line.name == name), None)

    def line(self, name: str) -> Line:
        return next(line for line in self.lines if line.name == name)


def lines_of(now: Tally, before: Tally) -> tuple[Line, ...]:
    """All figures of the month beside those of the month before."""
    found = []
    for figure in FIGURE_BY_NAME.values():
        one = kpi(figure, now)
        found.append(
            Line(
                one.name,
                one.label,
                one.formula,
                one.unit,
                one.value,
                one.numerator,
                one.denominator,
                kpi(figure, before).value,
            )
        )
    return tuple(found)


def group_of(key: str, label: Label, tally: Tally, names: Sequence[str] = IN_GROUPS) -> Group:
    return Group(key, label, {name: kpi(FIGURE_BY_NAME[name], tally).value for name in names})


def number(value: float | None, unit: str) -> str:
    """As a person reads it: 93.72%, 4.60, 1.1 小时; a dash where there is none."""
    if value is None:
        return "—"
    if unit == "%":
        return f"{value:.2f}%"
    if unit == "s":
        return duration(value)
    return f"{value:,.0f}" if unit == "件" else f"{value:.2f}"


def duration(seconds: float) -> str:
    """Short, for a column: 42 秒, 7.5 分, 10.9 小时, 3.2 天."""
    for size, unit in ((86_400 * 2, ""), (3600, "小时"), (60, "分")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}" if unit else f"{seconds / 86_400:.1f} 天"
    return f"{seconds:.0f} 秒"


def change(now: float | None, before: float | None, unit: str) -> Label:
    """Against last month: percentage points for shares, percent for counts."""
    if now is None or before is None:
        return Label("上月无数据", "no figure last month")
    delta = now - before
    if abs(delta) < 0.005:
        return Label("与上月持平", "as last month")
    up = delta > 0
    if unit == "%":
        size = f"{abs(delta):.2f}"
        return Label(f"环比{'升' if up else '降'} {size} 个百分点", f"{'up' if up else 'down'} {size} points")
    if before == 0:
        return Label("上月为零", "none last month")
    size = f"{abs(delta) / before * 100:.1f}%"
    return Label(f"较上月{'增加' if up else '减少'} {size}", f"{'up' if up else 'down'} {size}")


def conclusions_of(month: Month) -> tuple[Label, ...]:
    """What the figures say, each sentence with the counts it rests on. Nothing is said that was not counted."""
    if month.empty:
        return (
            Label("本月没有受理工单，各项比率无从计算。", "No orders were received this month; there are no rates."),
        )
    told = [
        _volume(month),
        *_closing(month),
        *_speed(month),
        *_quality(month),
        *_teams(month),
        *_cover(month),
        *_spots(month),
    ]
    if month.overdue_count:
        told.append(
            Label(
                f"截至制表时有 {month.overdue_count} 件超期未办，清单见后。",
                f"{month.overdue_count} orders are overdue as of this report; they are listed below.",
            )
        )
    return tuple(told)


def _volume(month: Month) -> Label:
    line, filed = month.line("received"), month.line("filed")
    against = change(line.value, line.before, line.unit)
    peak = max(round(day.values["received"] or 0) for day in month.days)
    busiest = [Label(day.key, day.key) for day in month.days if round(day.values["received"] or 0) == peak]
    return Label(
        f"本月受理 {line.value:.0f} 件（{against.zh}），立案 {filed.value:.0f} 件；"
        f"受理最多的一天是 {_all_zh(busiest)}，{'各 ' if busiest[1:] else ''}{peak} 件。",
        f"{line.value:.0f} orders were received ({against.en}) and {filed.value:.0f} filed; "
        f"busiest was {_all_en(busiest)} with {peak}{' each' if busiest[1:] else ''}.",
    )


def _share(month: Month, name: str, zh: str, en: str) -> list[Label]:
    line = month.line(name)
    if line.value is None:
        return []
    against = change(line.value, line.before, line.unit)
    part = f"{line.numerator:.0f}/{line.denominator}"
    return [Label(f"{zh} {line.value:.2f}%（{part}，{against.zh}）", f"{en} {line.value:.2f}% ({part}; {against.en})")]


def _sentence(parts: Sequence[Label]) -> list[Label]:
    if not parts:
        return []
    return [Label("；".join(one.zh for one in parts) + "。", "; ".join(one.en for one in parts) + ".")]


def _closing(month: Month) -> list[Label]:
    return _sentence(
        [
            *_share(month, "closing", "结案率", "Closing rate"),
            *_share(month, "closing_on_time", "按期结案率", "closed on time"),
        ]
    )


def _speed(month: Month) -> list[Label]:
    return _sentence(
        [
            *_share(month, "accept_1min", "1 分钟受理率", "Accepted within 1 min"),
            *_share(month, "arrive_10min", "10 分钟到场率", "on site within 10 min"),
        ]
    )


def _quality(month: Month) -> list[Label]:
    return _sentence(
        [
            *_share(month, "rework", "返工率", "Rework"),
            *_share(month, "bounce", "退单率", "returned"),
        ]
    ) + _sentence(_share(month, "satisfied", "满意率", "Rated 4 or 5"))


def _teams(month: Month) -> list[Label]:
    judged = [
        (team.values["closing_on_time"], team)
        for team in month.teams
        if (team.values["due"] or 0) >= _FEW and team.values["closing_on_time"] is not None
    ]
    if len(judged) < 2:
        return []
    low = min(value for value, _ in judged)
    high = max(value for value, _ in judged)
    if low == high:
        return []
    best, worst = ([team.label for value, team in judged if value == edge] for edge in (high, low))
    return [
        Label(
            f"按期结案率最高的队伍是{_all_zh(best)}（{high:.2f}%），最低的是{_all_zh(worst)}（{low:.2f}%）。",
            f"Closed on time most: {_all_en(best)} ({high:.2f}%), least: {_all_en(worst)} ({low:.2f}%).",
        )
    ]


def _all_zh(names: Sequence[Label]) -> str:
    """All of those that are equal, so that none is singled out by chance."""
    return "、".join(one.zh for one in names)


def _all_en(names: Sequence[Label]) -> str:
    return ", ".join(one.en for one in names)


def _cover(month: Month) -> list[Label]:
    """By the roster: whether somebody came is not known to it."""
    required = sum(one.required_s for one in month.cover)
    if not required:
        return []
    left = required - sum(one.covered_s for one in month.cover)
    # Full is said of nothing less: 99.996% is not rounded up.
    share = 100.0 if left <= 0 else min(99.99, round((required - left) / required * 100, 2))
    zh = f"按排班要求须有人值班 {required / 3600:,.0f} 小时，已排班 {share:.2f}%"
    en = f"Rotas ask for {required / 3600:,.0f} h on duty; {share:.2f}% of them were on the roster"
    if left <= 0:
        return [Label(f"{zh}，没有空班。", f"{en}, with no gap.")]
    worst = max(month.cover, key=lambda one: (one.required_s - one.covered_s, one.team.en))
    gap = (worst.required_s - worst.covered_s) / 3600
    return [
        Label(
            f"{zh}；空班最多的是{worst.team.zh}，{gap:,.1f} 小时。",
            f"{en}; the most open was {worst.team.en}, {gap:,.1f} h.",
        )
    ]


def _spots(month: Month) -> list[Label]:
    told = []
    if month.places:
        top = month.places[:3]
        total = month.value("received") or 1
        share = sum(one.values["received"] or 0 for one in top) / total * 100
        zh = "、".join(f"{one.label.zh} {one.values['received']:.0f} 件" for one in top)
        en = ", ".join(f"{one.label.en} ({one.values['received']:.0f})" for one in top)
        told.append(
            Label(
                f"工单最集中的地点：{zh}，合计占 {share:.1f}%。",
                f"Most orders came from {en}: {share:.1f}% together.",
            )
        )
    counts = [rule.values["false_alarm"] or 0 for rule in month.rules]
    # The most of all, and no other as many; of a handful of orders a share says nothing.
    if counts and counts.count(counts[0]) == 1 and (month.rules[0].values["alert_ended"] or 0) >= _FEW:
        worst = month.rules[0]
        told.append(
            Label(
                f"误报最多的规则是{worst.label.zh}：{worst.values['false_alarm']:.0f} 件，"
                f"占其已终结工单的 {worst.values['false_alarms']:.2f}%。",
                f"Most false alarms came from {worst.label.en}: {worst.values['false_alarm']:.0f}, "
                f"{worst.values['false_alarms']:.2f}% of its ended orders.",
            )
        )
    return told
