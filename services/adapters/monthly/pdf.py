"""The monthly report as PDF: A4, Chinese first, vector charts, its font embedded."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any
from xml.sax.saxutils import escape
from zoneinfo import ZoneInfo

from reportlab.lib.enums import TA_CENTER
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.pdfgen.canvas import Canvas
from reportlab.platypus import (
    BaseDocTemplate,
    CondPageBreak,
    Flowable,
    Frame,
    KeepTogether,
    PageTemplate,
    Paragraph,
    Spacer,
    Table,
    TableStyle,
)

from services.adapters.monthly.charts import AMBER, BLUE, INK, MUTED, PAPER, RED, RULE, TEAL, bars, columns
from services.adapters.monthly.fonts import make_font
from services.adapters.monthly.words import heading_letters, letters, severity, source, team
from services.domain.kpis.month import HEADLINE, Group, Line, Month, OrderLine, change, number

MARGIN = 16 * mm
WIDTH = A4[0] - 2 * MARGIN
FONT, BOLD = "ReportSans", "ReportSansBold"
_GOOD_DOWN = frozenset({"rework", "bounce", "false_alarms", "overdue", "deferred", "escalations", "urges"})
"""Figures that are better when they are lower."""
_TABLE_BEGIN = 40 * mm
"""A heading and the first rows of its table stay on one page."""
_CATEGORIES = 15
"""So many are printed, the busiest; the workbook has all."""
_NEUTRAL = frozenset({"received", "filed", "due", "closed", "closed_on_time"})


def _style(name: str, size: float, color: Any = INK, font: str = FONT, **more: Any) -> ParagraphStyle:
    return ParagraphStyle(
        name, fontName=font, fontSize=size, leading=size * 1.5, textColor=color, wordWrap="CJK", **more
    )


_TITLE = _style("title", 21, font=BOLD)
_UNDER = _style("under", 10, MUTED)
_HEAD = _style("head", 13, font=BOLD, spaceBefore=10, spaceAfter=4)
_BODY = _style("body", 9.2)
_SMALL = _style("small", 7.5, MUTED, spaceAfter=2)
_CELL = _style("cell", 8.5)
_CELL_SMALL = _style("cellsmall", 7.2, MUTED)
_CARD_NAME = _style("cardname", 8.5, MUTED, alignment=TA_CENTER)
_CARD_VALUE = ParagraphStyle("cardvalue", fontName=BOLD, fontSize=17, leading=22, textColor=INK, alignment=TA_CENTER)


class _Numbered(Canvas):  # type: ignore[misc]
    """Knows how many pages there are before it writes the first footer."""

    def __init__(self, *arguments: Any, month: Month, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._month = month
        self._pages: list[dict[str, Any]] = []

    def showPage(self) -> None:
        self._pages.append(dict(self.__dict__))
        self._startPage()

    def save(self) -> None:
        for page, state in enumerate(self._pages, start=1):
            self.__dict__.update(state)
            self._frame(page, len(self._pages))
            super().showPage()
        super().save()

    def _frame(self, page: int, pages: int) -> None:
        month = self._month
        self.setFont(FONT, 8)
        self.setFillColor(MUTED)
        self.setStrokeColor(RULE)
        self.setLineWidth(0.5)
        top, bottom = A4[1] - 11 * mm, 11 * mm
        self.drawString(MARGIN, top, f"{month.street} · {month.community}")
        self.drawRightString(A4[0] - MARGIN, top, f"工单运行月报 {month.month}")
        self.line(MARGIN, top - 5, A4[0] - MARGIN, top - 5)
        self.line(MARGIN, bottom + 9, A4[0] - MARGIN, bottom + 9)
        made = month.made_at.astimezone(ZoneInfo(month.timezone))
        self.drawString(MARGIN, bottom, f"LinHub 邻枢 · 数据截至 {made:%Y-%m-%d %H:%M}")
        self.drawRightString(A4[0] - MARGIN, bottom, f"第 {page} 页 / 共 {pages} 页")


def render_pdf(month: Month) -> bytes:
    """Raises NoFont where nothing here can write Chinese."""
    # The bold one is for headings and big figures: the fewer letters, the fewer pieces of the font are unpacked.
    for name, weight, text in ((FONT, 400, letters(month)), (BOLD, 600, heading_letters(month))):
        pdfmetrics.registerFont(TTFont(name, io.BytesIO(make_font(text, weight, name))))
    sink = io.BytesIO()
    document = BaseDocTemplate(
        sink,
        pagesize=A4,
        title=f"{month.community} 工单运行月报 {month.month}",
        author="LinHub 邻枢",
        leftMargin=MARGIN,
        rightMargin=MARGIN,
    )
    frame = Frame(MARGIN, 18 * mm, WIDTH, A4[1] - 36 * mm, leftPadding=0, rightPadding=0, topPadding=0, bottomPadding=0)
    document.addPageTemplates([PageTemplate("page", [frame])])
    document.build(list(_story(month)), canvasmaker=lambda *a, **k: _Numbered(*a, month=month, **k))
    return sink.getvalue()


def _p(text: str, style: ParagraphStyle = _CELL) -> Paragraph:
    return Paragraph(escape(text), style)


def _story(month: Month) -> Iterator[Flowable]:
    yield _p(f"{month.community}工单运行月报", _TITLE)
    yield Spacer(1, 3)
    yield _p(f"{month.street} · {month.month} · 户数 {month.households:,} · Monthly report on work orders", _UNDER)
    yield Spacer(1, 8)
    yield _cards(month)
    yield _p("本月情况 Findings", _HEAD)
    for said in month.conclusions:
        yield KeepTogether([_p(said.zh, _BODY), _p(said.en, _SMALL)])
    if not month.empty:
        yield from _charts(month)
        yield from _groups_of(month)
    yield from _overdue(month)
    yield CondPageBreak(90 * mm)
    yield _p("指标及计算方法 Figures and formulas", _HEAD)
    yield _figures(month)
    yield Spacer(1, 5)
    yield _p(
        "口径：按本地日期统计当期建立的工单，状态截至制表时；“—”表示没有可除的数。每个数字背后的工单可在系统中逐条查看。"
        " "
        "Orders opened in the month by local days, as they stand at the time of the report.",
        _SMALL,
    )


def _cards(month: Month) -> Table:
    cells = [_card(month.line(name)) for name in HEADLINE]
    rows = [cells[start : start + 4] for start in range(0, len(cells), 4)]
    table = Table(rows, colWidths=[WIDTH / 4] * 4)
    table.setStyle(
        TableStyle(
            [
                ("BACKGROUND", (0, 0), (-1, -1), PAPER),
                ("INNERGRID", (0, 0), (-1, -1), 4, "#ffffff"),
                ("TOPPADDING", (0, 0), (-1, -1), 6),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 6),
                ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
            ]
        )
    )
    return table


def _card(line: Line) -> list[Flowable]:
    against = change(line.value, line.before, line.unit)
    color = MUTED
    if line.value is not None and line.before is not None and line.name not in _NEUTRAL:
        delta = line.value - line.before
        better = delta < 0 if line.name in _GOOD_DOWN else delta > 0
        color = MUTED if abs(delta) < 0.005 else TEAL if better else RED
    style = ParagraphStyle("against", parent=_CARD_NAME, textColor=color, fontSize=7.5)
    return [
        _p(line.label.zh, _CARD_NAME),
        _p(number(line.value, line.unit), _CARD_VALUE),
        _p(against.zh, style),
    ]


def _charts(month: Month) -> Iterator[Flowable]:
    days = [group.label.zh.removesuffix("日") for group in month.days]
    yield KeepTogether(
        [
            _p("每日受理与结案 By day", _HEAD),
            columns(
                FONT,
                WIDTH,
                140,
                days,
                [
                    ("受理", BLUE, [group.values["received"] for group in month.days]),
                    ("其中已结案", TEAL, [group.values["closed"] for group in month.days]),
                ],
            ),
            _p("按建立日期（本地时间）。By the local day they were opened on.", _SMALL),
        ]
    )


def _groups_of(month: Month) -> Iterator[Flowable]:
    teams = [group for group in month.teams if group.values["due"]]
    if teams:
        chart = columns(
            FONT,
            WIDTH,
            150,
            [group.label.zh for group in teams],
            [
                ("结案率", BLUE, [group.values["closing"] for group in teams]),
                ("按期结案率", TEAL, [group.values["closing_on_time"] for group in teams]),
                ("10 分钟到场率", AMBER, [group.values["arrive_10min"] for group in teams]),
            ],
            percent=True,
        )
        yield KeepTogether([_p("各队伍 By team", _HEAD), chart, _group_table("队伍 Team", month.teams)])
    if len(month.classes) > 1:
        yield CondPageBreak(_TABLE_BEGIN)
        yield _p("各类别 By class", _HEAD)
        yield _group_table("类别 Class", month.classes)
    if any(group.key for group in month.categories):
        yield CondPageBreak(_TABLE_BEGIN)
        yield _p("各服务类别 By category", _HEAD)
        yield _group_table("服务类别 Category", month.categories[:_CATEGORIES])
        if (left := len(month.categories) - _CATEGORIES) > 0:
            yield _p(f"另有 {left} 类，见工作簿“按服务类别”页。{left} more in the workbook.", _SMALL)
    yield KeepTogether([_p("各来源 By source", _HEAD), _group_table("来源 Source", month.sources)])
    if month.places:
        yield KeepTogether(
            [
                _p("工单最多的楼栋 Places with most orders", _HEAD),
                bars(
                    FONT,
                    WIDTH,
                    [group.label.zh for group in month.places],
                    [group.values["received"] or 0 for group in month.places],
                ),
            ]
        )
    if month.rules:
        head = ["规则 Rule", "误报 False alarms", "已终结 Ended", "误报率 Share"]
        rows = [
            [
                one.label.zh,
                number(one.values["false_alarm"], "件"),
                number(one.values["alert_ended"], "件"),
                number(one.values["false_alarms"], "%"),
            ]
            for one in month.rules
        ]
        yield KeepTogether(
            [
                _p("误报较多的规则 Rules with false alarms", _HEAD),
                _table([head, *rows], [WIDTH * 0.46, *[WIDTH * 0.18] * 3]),
            ]
        )
    if month.people:
        yield CondPageBreak(_TABLE_BEGIN)
        yield _p("人员 Staff", _HEAD)
        yield _group_table("人员 Person", month.people[:20])


_COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("received", "受理", "件"),
    ("closed", "结案", "件"),
    ("closing", "结案率", "%"),
    ("closing_on_time", "按期结案率", "%"),
    ("overdue", "超期未办", "件"),
    ("accept_1min", "1分钟受理", "%"),
    ("arrive_10min", "10分钟到场", "%"),
    ("resolve_p90", "处置P90", "s"),
    ("rework", "返工率", "%"),
)


def _group_table(title: str, groups: Sequence[Group]) -> Table:
    head = [title, *(name for _, name, _ in _COLUMNS)]
    rows = [[group.label.zh, *(number(group.values.get(name), unit) for name, _, unit in _COLUMNS)] for group in groups]
    first = WIDTH * 0.17
    return _table([head, *rows], [first, *[(WIDTH - first) / len(_COLUMNS)] * len(_COLUMNS)])


def _table(rows: Sequence[Sequence[Any]], widths: Sequence[float]) -> Table:
    head = [_p(str(cell), _CELL_SMALL) for cell in rows[0]]
    body = [[cell if isinstance(cell, list) else _p(str(cell)) for cell in row] for row in rows[1:]]
    table = Table([head, *body], colWidths=list(widths), repeatRows=1)
    table.setStyle(
        TableStyle(
            [
                ("BACKGROUND", (0, 0), (-1, 0), PAPER),
                ("LINEBELOW", (0, 0), (-1, -1), 0.4, RULE),
                ("VALIGN", (0, 0), (-1, -1), "MIDDLE"),
                ("TOPPADDING", (0, 0), (-1, -1), 2.5),
                ("BOTTOMPADDING", (0, 0), (-1, -1), 3),
                ("LEFTPADDING", (0, 0), (-1, -1), 3),
                ("RIGHTPADDING", (0, 0), (-1, -1), 3),
            ]
        )
    )
    return table


def _overdue(month: Month) -> Iterator[Flowable]:
    yield CondPageBreak(_TABLE_BEGIN)
    yield _p(f"超期未办工单（{month.overdue_count} 件）Overdue orders", _HEAD)
    if not month.overdue:
        yield _p("无。None.", _BODY)
        return
    zone = ZoneInfo(month.timezone)
    head = ["编号 No.", "事项 Matter", "地点 Place", "队伍 Team", "等级", "来源", "处置时限 Due", "超期 Late"]
    rows = [_overdue_row(order, month, zone) for order in month.overdue]
    share = (0.08, 0.22, 0.15, 0.13, 0.07, 0.1, 0.14, 0.11)
    yield _table([head, *rows], [WIDTH * part for part in share])
    left = month.overdue_count - len(month.overdue)
    if left > 0:
        yield _p(f"另有 {left} 件，见工作簿“工单”页。{left} more in the workbook.", _SMALL)


def _overdue_row(order: OrderLine, month: Month, zone: ZoneInfo) -> list[str]:
    due = order.resolve_due
    late = (month.made_at - due).total_seconds() if due else None
    return [
        str(order.number),
        order.title.zh,
        order.place,
        team(order.team).zh,
        severity(order.severity).zh,
        source(order.source).zh,
        f"{due.astimezone(zone):%m-%d %H:%M}" if due else "—",
        number(late, "s"),
    ]


def _figures(month: Month) -> Table:
    head = ["指标 Figure", "本月 This month", "上月 Before", "分子/分母 Counts", "计算方法 Formula"]
    rows = [
        [
            [_p(line.label.zh), _p(line.label.en, _CELL_SMALL)],
            number(line.value, line.unit),
            number(line.before, line.unit),
            _counts(line),
            [_p(line.formula.zh), _p(line.formula.en, _CELL_SMALL)],
        ]
        for line in month.lines
    ]
    return _table([head, *rows], [WIDTH * part for part in (0.2, 0.13, 0.13, 0.14, 0.4)])


def _counts(line: Line) -> str:
    if line.denominator is None:
        return ""
    part = "" if line.numerator is None else f"{line.numerator:,.0f} / "
    return f"{part}{line.denominator:,}" if line.unit != "s" else f"{line.denominator:,} 件"
