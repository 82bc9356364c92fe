"""The monthly report as a workbook: figures with their formulas, groups with charts, and every order to filter."""

from __future__ import annotations

import io
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import xlsxwriter

from services.adapters.monthly.words import severity, source, state, team
from services.domain.kpis import FIGURE_BY_NAME
from services.domain.kpis.month import IN_GROUPS, Group, Month

SUMMARY, TEAMS, CLASSES, DAYS, PLACES, ORDERS = "概要", "按队伍", "按类别", "按日", "楼栋与规则", "工单"
CATEGORIES = "按服务类别"
_ORDER_COLUMNS: tuple[tuple[str, float], ...] = (
    ("编号 No.", 9),
    ("事项 Matter", 22),
    ("地点 Place", 16),
    ("队伍 Team", 14),
    ("承办人 Person", 16),
    ("类别 Class", 12),
    ("服务类别 Category", 14),
    ("等级 Severity", 9),
    ("来源 Source", 12),
    ("状态 State", 10),
    ("受理时间 Created", 17),
    ("处置时限 Due", 17),
    ("处置完成 Resolved", 17),
    ("结案 Closed", 17),
    ("受理用时 s", 11),
    ("到场用时 s", 11),
    ("处置用时 s", 11),
    ("返工 Reworks", 9),
    ("评价 Rating", 9),
)


class _Book:
    def __init__(self, month: Month) -> None:
        self.month = month
        self.sink = io.BytesIO()
        # A title from a resident may begin with "=": text stays text.
        options = {
            "in_memory": True,
            "strings_to_formulas": False,
            "strings_to_urls": False,
            "strings_to_numbers": False,
        }
        self.book = xlsxwriter.Workbook(self.sink, options)
        self.title = self.book.add_format({"bold": True, "font_size": 16})
        self.head = self.book.add_format({"bold": True, "bg_color": "#EAF0F7", "bottom": 1, "text_wrap": True})
        self.when = self.book.add_format({"num_format": "yyyy-mm-dd hh:mm"})
        self.wrap = self.book.add_format({"text_wrap": True, "valign": "top"})
        self.formats = {
            "%": self.book.add_format({"num_format": '0.00"%"'}),
            "件": self.book.add_format({"num_format": "#,##0"}),
            "s": self.book.add_format({"num_format": "#,##0"}),
        }
        self.plain = self.book.add_format({"num_format": "0.00"})

    def unit(self, name: str) -> Any:
        return self.formats.get(FIGURE_BY_NAME[name].unit, self.plain)

    def value(self, sheet: Any, row: int, column: int, value: float | None, form: Any) -> None:
        if value is None:
            sheet.write_string(row, column, "—")
        else:
            sheet.write_number(row, column, value, form)


def render_xlsx(month: Month) -> bytes:
    one = _Book(month)
    _summary(one)
    _groups(one, TEAMS, "队伍 Team", month.teams, ("closing", "closing_on_time"), "column")
    _groups(one, CLASSES, "类别 Class", month.classes, ("received", "closed"), "column")
    _groups(one, CATEGORIES, "服务类别 Category", month.categories, ("received", "closed"), "column")
    _groups(one, DAYS, "日期 Day", month.days, ("received", "closed"), "line")
    _places(one)
    _orders(one)
    one.book.set_properties({"title": f"{month.community} 工单运行月报 {month.month}", "author": "LinHub 邻枢"})
    one.book.close()
    return one.sink.getvalue()


def _summary(one: _Book) -> None:
    sheet, month = one.book.add_worksheet(SUMMARY), one.month
    sheet.set_landscape()
    sheet.set_paper(9)
    sheet.fit_to_pages(1, 0)
    for column, width in enumerate((22, 26, 13, 13, 12, 12, 8, 46, 56)):
        sheet.set_column(column, column, width)
    made = month.made_at.astimezone(ZoneInfo(month.timezone))
    sheet.write_string(0, 0, f"{month.community}工单运行月报 {month.month}", one.title)
    sheet.write_string(1, 0, f"{month.street} · 数据截至 {made:%Y-%m-%d %H:%M}（{month.timezone}）")
    row = 3
    for said in month.conclusions:
        sheet.write_string(row, 0, said.zh)
        sheet.write_string(row + 1, 0, said.en)
        row += 2
    row += 1
    head = ("指标", "Figure", "本月", "上月", "分子", "分母", "单位", "计算方法", "Formula")
    for column, text in enumerate(head):
        sheet.write_string(row, column, text, one.head)
    for line in month.lines:
        row += 1
        form = one.unit(line.name)
        sheet.write_string(row, 0, line.label.zh)
        sheet.write_string(row, 1, line.label.en)
        one.value(sheet, row, 2, line.value, form)
        one.value(sheet, row, 3, line.before, form)
        if line.numerator is not None:
            sheet.write_number(row, 4, line.numerator)
        if line.denominator is not None:
            sheet.write_number(row, 5, line.denominator)
        sheet.write_string(row, 6, line.unit)
        sheet.write_string(row, 7, line.formula.zh, one.wrap)
        sheet.write_string(row, 8, line.formula.en, one.wrap)


def _groups(
    one: _Book, name: str, title: str, groups: Sequence[Group], charted: tuple[str, ...], sort: str
) -> None:  # fmt: skip
    sheet = one.book.add_worksheet(name)
    sheet.freeze_panes(1, 1)
    sheet.set_column(0, 0, 20)
    sheet.set_column(1, len(IN_GROUPS), 13)
    sheet.write_string(0, 0, title, one.head)
    for column, figure in enumerate(IN_GROUPS, start=1):
        sheet.write_string(0, column, FIGURE_BY_NAME[figure].label.zh, one.head)
    for row, group in enumerate(groups, start=1):
        sheet.write_string(row, 0, group.key if name == DAYS else group.label.zh)
        for column, figure in enumerate(IN_GROUPS, start=1):
            one.value(sheet, row, column, group.values.get(figure), one.unit(figure))
    if groups:
        chart = one.book.add_chart({"type": sort})
        for figure in charted:
            column = IN_GROUPS.index(figure) + 1
            chart.add_series(
                {
                    "name": [name, 0, column],
                    "categories": [name, 1, 0, len(groups), 0],
                    "values": [name, 1, column, len(groups), column],
                }
            )
        chart.set_title({"name": f"{one.month.month} {title}"})
        chart.set_size({"width": 900, "height": 320})
        if all(FIGURE_BY_NAME[figure].unit == "%" for figure in charted):
            chart.set_y_axis({"min": 0, "max": 100})
        sheet.insert_chart(len(groups) + 2, 0, chart)


def _places(one: _Book) -> None:
    sheet, month = one.book.add_worksheet(PLACES), one.month
    sheet.set_column(0, 0, 30)
    sheet.set_column(1, 4, 13)
    for column, text in enumerate(("楼栋 Building", "受理", "结案率")):
        sheet.write_string(0, column, text, one.head)
    for row, group in enumerate(month.places, start=1):
        sheet.write_string(row, 0, group.label.zh)
        one.value(sheet, row, 1, group.values["received"], one.formats["件"])
        one.value(sheet, row, 2, group.values["closing"], one.formats["%"])
    if month.places:
        chart = one.book.add_chart({"type": "bar"})
        last = len(month.places)
        chart.add_series({"name": "受理", "categories": [PLACES, 1, 0, last, 0], "values": [PLACES, 1, 1, last, 1]})
        chart.set_y_axis({"reverse": True})
        chart.set_legend({"none": True})
        sheet.insert_chart(0, 5, chart)
    start = len(month.places) + 3
    for column, text in enumerate(("规则 Rule", "误报", "已终结", "误报率")):
        sheet.write_string(start, column, text, one.head)
    for row, rule in enumerate(month.rules, start=start + 1):
        sheet.write_string(row, 0, rule.label.zh)
        one.value(sheet, row, 1, rule.values["false_alarm"], one.formats["件"])
        one.value(sheet, row, 2, rule.values["alert_ended"], one.formats["件"])
        one.value(sheet, row, 3, rule.values["false_alarms"], one.formats["%"])


def _orders(one: _Book) -> None:
    sheet, month = one.book.add_worksheet(ORDERS), one.month
    zone = ZoneInfo(month.timezone)
    sheet.freeze_panes(1, 2)
    for column, (text, width) in enumerate(_ORDER_COLUMNS):
        sheet.set_column(column, column, width)
        sheet.write_string(0, column, text, one.head)
    sheet.autofilter(0, 0, max(1, len(month.orders)), len(_ORDER_COLUMNS) - 1)

    def when(row: int, column: int, at: datetime | None) -> None:
        if at is not None:
            sheet.write_datetime(row, column, at.astimezone(zone).replace(tzinfo=None), one.when)

    for row, order in enumerate(month.orders, start=1):
        sheet.write_number(row, 0, order.number)
        texts = (
            order.title.zh,
            order.place,
            team(order.team).zh,
            order.person,
            order.order_class.zh,
            order.category.zh,
            severity(order.severity).zh,
            source(order.source).zh,
            state(order.state).zh,
        )
        for column, text in enumerate(texts, start=1):
            sheet.write_string(row, column, text)
        for column, at in enumerate((order.created_at, order.resolve_due, order.resolved_at, order.closed_at), 10):
            when(row, column, at)
        for column, seconds in enumerate((order.accept_s, order.arrive_s, order.resolve_s), 14):
            if seconds is not None:
                sheet.write_number(row, column, round(seconds), one.formats["s"])
        sheet.write_number(row, 17, order.reworks)
        if order.rating is not None:
            sheet.write_number(row, 18, order.rating)
