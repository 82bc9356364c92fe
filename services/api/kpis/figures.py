"""The key figures of a community as the API shows them: for a cockpit, in groups, as a table, and row by row."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from http import HTTPStatus
from typing import Any
from zoneinfo import ZoneInfo

from services.adapters.figures import Asked, Private, cockpit, tallies, tally
from services.adapters.figures.names import names_of
from services.adapters.rules import load_defaults
from services.api.answers.health import HEALTH_METRICS, HEALTH_RULES
from services.api.answers.models import KpiOut, KpisOut
from services.api.answers.shapes import Row, label
from services.api.kpis.models import KpiGroupOut, KpiReportOut
from services.api.store import work
from services.api.store.database import Connection
from services.api.web.problems import ApiError
from services.domain.access import Permission, Principal
from services.domain.kpis import COCKPIT, FIGURE_BY_NAME, Days, Kpi, present
from services.domain.kpis import kpis as made
from services.domain.vocabulary import Role

KPI_WINDOW = timedelta(days=30)
"""A cockpit's figures are of orders opened this recently."""
LONGEST_DAYS = 400
SEES_PEOPLE = frozenset({Role.DESK, Role.STREET, Role.ADMIN})
"""Whose work the figures of single persons are; everybody else sees their own."""

PRIVATE = Private(
    tuple(sorted(HEALTH_METRICS)),
    tuple(
        sorted(
            rule.id
            for rules in load_defaults().values()
            for rule in rules
            if rule.id.partition(".")[0] in HEALTH_METRICS and rule.id not in HEALTH_RULES
        )
    ),
)
"""Rules about somebody's health have one name together for whoever may not see health data."""


def out(kpi: Kpi) -> KpiOut:
    part = kpi.numerator
    return KpiOut(
        name=kpi.name,
        label=label(kpi.label),
        value=kpi.value,
        unit=kpi.unit,
        formula=label(kpi.formula),
        numerator=int(part) if part is not None and part == int(part) else part,
        denominator=kpi.denominator,
        behind=kpi.name in FIGURE_BY_NAME,
    )


async def kpis(connection: Connection, community_id: str) -> KpisOut:
    """What a cockpit shows: as of now, over orders of the last 30 days."""
    now = datetime.now(UTC)
    counted = await cockpit(connection, community_id, now - KPI_WINDOW, now)
    there = present(**await work.present(connection, community_id))
    return KpisOut(at=now, items=[out(kpi) for kpi in (*there, *made(counted, COCKPIT))])


def sees_people(who: Principal) -> bool:
    """Whether figures are told apart by who worked. Of a key, only where it was given the rosters: names are there."""
    return who.role in SEES_PEOPLE and who.may(Permission.ROSTERS)


def days_asked(first: date | None, last: date | None, timezone: str, now: datetime) -> Days:
    """Both days included; without them the last 30 days to today. Raises ApiError 422."""
    today = now.astimezone(ZoneInfo(timezone)).date()
    end = last or (first if first is not None and first > today else today)
    begin = first or end - timedelta(days=29)
    if begin > end:
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, f"from 晚于 to · from {begin} is after to {end}")
    if (end - begin).days >= LONGEST_DAYS or begin.year < 2000 or end.year > 2199:
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"最多 {LONGEST_DAYS} 天 · at most {LONGEST_DAYS} days, from the year 2000 on",
        )
    return Days(begin, end)


def asked(who: Principal, community: Row, days: Days, now: datetime, filters: Mapping[str, str]) -> Asked:
    """Raises ApiError 403 where somebody else's figures are asked for by one who may see their own alone."""
    if "person" in filters and not sees_people(who) and filters["person"] != who.id:
        raise ApiError(HTTPStatus.FORBIDDEN, "只能查看本人的指标 · you may see your own figures only")
    start, end = days.bounds(community["timezone"])
    # 网格员 see health data of their own 网格 alone, and figures are of all: they read like everybody else here.
    open_to = who.may(Permission.HEALTH) and who.role is not Role.GRID
    return Asked(community["id"], community["timezone"], start, end, now, filters, Private() if open_to else PRIVATE)


async def report(
    connection: Connection, who: Principal, community: Row, days: Days, now: datetime, by: str | None,
    filters: Mapping[str, str],
) -> KpiReportOut:  # fmt: skip
    question = asked(who, community, days, now, filters)
    whole = await tally(connection, question)
    there = present(**await work.present(connection, community["id"])) if not filters else ()
    return KpiReportOut(
        at=now,
        first=days.first,
        last=days.last,
        timezone=community["timezone"],
        by=by,
        items=[out(kpi) for kpi in (*there, *made(whole))],
        groups=await _groups(connection, who, question, by) if by else [],
    )


async def _groups(connection: Connection, who: Principal, question: Asked, by: str) -> list[KpiGroupOut]:
    found = await tallies(connection, question, by)
    if by == "person" and not sees_people(who):
        found = {key: one for key, one in found.items() if key == who.id}
    names = await names_of(connection, question.community_id, by, list(found))
    return [
        KpiGroupOut(key=key, label=label(names[key]), items=[out(kpi) for kpi in made(one)])
        for key, one in found.items()
    ]


def as_csv(shown: KpiReportOut) -> str:
    """One line a group, or one for the whole; a column a figure. Spreadsheets read it as UTF-8."""
    sheet = io.StringIO()
    writer = csv.writer(sheet)
    groups: Iterable[tuple[str, str, list[KpiOut]]] = (
        [(one.key, one.label.zh, one.items) for one in shown.groups] if shown.by else [("", "", shown.items)]
    )
    names = [one.name for one in shown.items if not shown.by or one.name not in ("open_alerts", "devices_online")]
    head = [f"{name}{suffix}" for name in names for suffix in ("", "_numerator", "_denominator")]
    writer.writerow([shown.by or "all", "name", "from", "to", *head])
    for key, name, items in groups:
        values: dict[str, Any] = {}
        for one in items:
            values |= {one.name: one.value, f"{one.name}_numerator": one.numerator,
                       f"{one.name}_denominator": one.denominator}  # fmt: skip
        writer.writerow([_plain(key), _plain(name), shown.first, shown.last, *(values.get(column) for column in head)])
    return "\ufeff" + sheet.getvalue()


def _plain(text: str) -> str:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@", "\t", "\r") else text
