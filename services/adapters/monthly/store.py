"""Reads what a monthly report is made of: the same counts as the API's figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg

from services.adapters.figures import Asked, Private, tallies, tally
from services.adapters.figures.names import names_of
from services.adapters.queries import Queries
from services.adapters.rosters.common import json_of, shift_of
from services.domain.kpis import Days, Tally
from services.domain.kpis.month import IN_GROUPS, Cover, Group, Month, OrderLine, conclusions_of, group_of, lines_of
from services.domain.rosters import Pattern, Stretch, gaps, required
from services.domain.rosters.gaps import merged
from services.domain.vocabulary import TEAM_LABELS, Label, Team

Q = Queries.beside(__file__)
TOP_PLACES = 10
TOP_RULES = 10
LISTED_OVERDUE = 40
"""In the PDF; the workbook lists every order."""


class NoSuchCommunity(Exception):
    """There is no such community."""


async def read_month(
    connection: asyncpg.Connection[Any],
    community_id: str,
    month: str,
    now: datetime,
    private: Private,
    *,
    people: bool,
) -> Month:
    """`people`: with the staff's names. Raises NoSuchCommunity, and ValueError for what is no month.

    For one picture, call it in a repeatable-read transaction.
    """
    days = Days.month(month)
    row = await connection.fetchrow(Q["community"], community_id)
    if row is None:
        raise NoSuchCommunity(community_id)
    zone = row["timezone"]
    start, end = days.bounds(zone)
    asked = Asked(community_id, zone, start, end, now, private=private)
    earlier, earlier_end = days.month_before.bounds(zone)
    whole = await tally(connection, asked)
    before = await tally(connection, replace(asked, start=earlier, end=earlier_end))
    rows = await connection.fetch(Q["orders"], community_id, start, end, now, list(private.kinds), list(private.open))
    classes = await names_of(connection, community_id, "class", {one["class"] for one in rows})
    categories = await names_of(connection, community_id, "category", {one["category"] for one in rows})
    orders = [(one["overdue"], _order(one, classes[one["class"]], categories[one["category"]], people)) for one in rows]
    overdue = [order for late, order in orders if late]
    by_day = await tallies(connection, asked, "day")
    found = Month(
        community=row["name"],
        street=row["street"],
        month=month,
        timezone=zone,
        households=row["households"],
        made_at=now,
        lines=lines_of(whole, before),
        teams=await _groups(connection, asked, "team"),
        classes=await _groups(connection, asked, "class"),
        categories=await _groups(connection, asked, "category"),
        sources=await _groups(connection, asked, "source"),
        days=tuple(
            group_of(f"{day}", Label(f"{day:%-d}日", f"{day:%-d}"), by_day.get(f"{day}", Tally())) for day in days.days
        ),
        places=(await _groups(connection, asked, "building", named=True))[:TOP_PLACES],
        rules=await _rules(connection, asked),
        people=await _groups(connection, asked, "person", named=True) if people else (),
        cover=await _cover(connection, community_id, ZoneInfo(zone), start, min(end, now)),
        overdue=tuple(sorted(overdue, key=lambda one: one.resolve_due or now)[:LISTED_OVERDUE]),
        overdue_count=len(overdue),
        orders=tuple(order for _, order in orders),
    )
    return replace(found, conclusions=conclusions_of(found))


async def _groups(
    connection: asyncpg.Connection[Any], asked: Asked, by: str, *, named: bool = False
) -> tuple[Group, ...]:
    """The busiest first. `named`: without those orders that have none."""
    found = await tallies(connection, asked, by)
    names = await names_of(connection, asked.community_id, by, found)
    groups = [group_of(key, names[key], one) for key, one in found.items() if key or not named]
    return tuple(sorted(groups, key=lambda group: (-(group.values["received"] or 0), group.key)))


async def _rules(connection: asyncpg.Connection[Any], asked: Asked) -> tuple[Group, ...]:
    """Rules whose orders ended as false alarms, the most of them first."""
    found = {
        key: one for key, one in (await tallies(connection, asked, "rule")).items() if key and one.counts["false_alarm"]
    }
    names = await names_of(connection, asked.community_id, "rule", found)
    groups = []
    for key, one in found.items():
        group = group_of(key, names[key], one, ("false_alarms", "received"))
        counts = {"false_alarm": float(one.counts["false_alarm"]), "alert_ended": float(one.counts["alert_ended"])}
        groups.append(replace(group, values={**group.values, **counts}))
    return tuple(sorted(groups, key=lambda group: (-(group.values["false_alarm"] or 0), group.key))[:TOP_RULES])


async def _cover(
    connection: asyncpg.Connection[Any], community_id: str, zone: ZoneInfo, start: datetime, end: datetime
) -> tuple[Cover, ...]:
    """Team by team. Each version of a rota asks from when it was written to when the next one was."""
    wanted: dict[Team, list[Stretch]] = {}
    for row in await connection.fetch(Q["rotas"], community_id, start, end):
        low, high = max(start, row["at"]), min(end, row["until"] or end)
        pattern = Pattern.parse(json_of(row["document"]))
        wanted.setdefault(Team(row["team"]), []).extend(required([pattern], zone, low, high))
    if not wanted:
        return ()
    shifts = [shift_of(row) for row in await connection.fetch(Q["shifts"], community_id, start, end)]
    found = []
    for team, asked in sorted(wanted.items()):
        whole = _seconds(merged(asked))
        left = _seconds(gaps(asked, [shift for shift in shifts if shift.team is team]))
        found.append(Cover(TEAM_LABELS[team], whole, whole - left))
    return tuple(found)


def _seconds(stretches: Iterable[Stretch]) -> float:
    return sum((one.ends_at - one.starts_at).total_seconds() for one in stretches)


def _order(row: Mapping[str, Any], order_class: Label, category: Label, people: bool) -> OrderLine:
    return OrderLine(
        number=row["number"],
        title=Label(row["title_zh"], row["title_en"]),
        place=row["place"],
        team=row["team"],
        order_class=order_class,
        category=category,
        severity=row["severity"],
        source=row["source"],
        state=row["state"],
        created_at=row["created_at"],
        resolve_due=row["resolve_due"],
        resolved_at=row["resolved_at"],
        closed_at=row["closed_at"],
        accept_s=row["accept_s"],
        arrive_s=row["arrive_s"],
        resolve_s=row["resolve_s"],
        reworks=row["reworks"],
        rating=row["rating"],
        person=row["person"] if people else "",
    )


__all__ = ["IN_GROUPS", "NoSuchCommunity", "read_month"]
