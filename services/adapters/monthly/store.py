"""Reads what a monthly report is made of: the same counts as the API's figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import asyncpg

from services.adapters.figures import Asked, Private, tallies, tally
from services.adapters.queries import Queries
from services.domain.kpis import Days, Tally
from services.domain.kpis.month import IN_GROUPS, Group, Month, OrderLine, conclusions_of, group_of, lines_of
from services.domain.vocabulary import TEAM_LABELS, Label, Team

Q = Queries.beside(__file__)
TOP_PLACES = 10
TOP_RULES = 10
LISTED_OVERDUE = 40
"""In the PDF; the workbook lists every order."""
SOURCES: dict[str, Label] = {
    "alert": Label("告警", "Alert"),
    "resident": Label("居民上报", "Resident"),
    "patrol": Label("巡查", "Patrol"),
    "platform": Label("城市平台", "City platform"),
    "staff": Label("工作人员", "Staff"),
}
_PLAIN = Label("通用", "General")


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
    names = {one["id"]: Label(one["name"], one["name"]) for one in await connection.fetch(Q["names"], community_id)}
    orders = [
        (one["overdue"], _order(one, people))
        for one in await connection.fetch(
            Q["orders"], community_id, start, end, now, list(private.kinds), list(private.open)
        )
    ]
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
        teams=_groups(await tallies(connection, asked, "team"), _team_names()),
        classes=_groups(await tallies(connection, asked, "class"), {"plain": _PLAIN}),
        sources=_groups(await tallies(connection, asked, "source"), SOURCES),
        days=tuple(
            group_of(f"{day}", Label(f"{day:%-d}日", f"{day:%-d}"), by_day.get(f"{day}", Tally())) for day in days.days
        ),
        places=_groups(await tallies(connection, asked, "building"), names, named=True)[:TOP_PLACES],
        rules=_rules(await tallies(connection, asked, "rule")),
        people=_groups(await tallies(connection, asked, "person"), names, named=True) if people else (),
        overdue=tuple(sorted(overdue, key=lambda one: one.resolve_due or now)[:LISTED_OVERDUE]),
        overdue_count=len(overdue),
        orders=tuple(order for _, order in orders),
    )
    return replace(found, conclusions=conclusions_of(found))


def _groups(found: Mapping[str, Tally], names: Mapping[str, Label], *, named: bool = False) -> tuple[Group, ...]:
    """The busiest first. `named`: only those that have a name."""
    groups = [
        group_of(key, names.get(key) or Label(key or "（无）", key or "(none)"), one)
        for key, one in found.items()
        if not named or key in names
    ]
    return tuple(sorted(groups, key=lambda group: (-(group.values["received"] or 0), group.key)))


def _rules(found: Mapping[str, Tally]) -> tuple[Group, ...]:
    """Rules whose orders ended as false alarms, the most of them first."""
    groups = []
    for key, one in found.items():
        if key and one.counts["false_alarm"]:
            label = Label("健康关怀", "Wellbeing check") if key == "health" else Label(key, key)
            group = group_of(key, label, one, ("false_alarms", "received"))
            counts = {"false_alarm": float(one.counts["false_alarm"]), "alert_ended": float(one.counts["alert_ended"])}
            groups.append(replace(group, values={**group.values, **counts}))
    return tuple(sorted(groups, key=lambda group: (-(group.values["false_alarm"] or 0), group.key))[:TOP_RULES])


def _team_names() -> dict[str, Label]:
    return {team.value: TEAM_LABELS[team] for team in Team}


def _order(row: Mapping[str, Any], people: bool) -> OrderLine:
    return OrderLine(
        number=row["number"],
        title=Label(row["title_zh"], row["title_en"]),
        place=row["place"],
        team=row["team"],
        class_id=row["class"],
        category=row["category"],
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
