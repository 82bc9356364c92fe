"""Writes what nobody's act causes: the key figures of a day that is over, and public data that has changed."""

from __future__ import annotations

import json
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg

from services.adapters import outbox
from services.adapters.figures import Asked, tally
from services.adapters.outbox import Outgoing
from services.adapters.queries import Queries
from services.alerts.city.serving import Connections
from services.domain.city.public import CROWD, TOLERANCE, changed
from services.domain.kpis import Kpi, kpis
from services.domain.registry import FIRE_LANE

Q = Queries.beside(__file__)
CATCH_UP = 7
"""Days that are told afterwards where no engine ran."""


async def tell_figures(pool: Connections, now: datetime) -> int:
    """Each community's days that are over and not told; how many were. Each in a transaction of its own with the mark
    that it was told, so that any number of engines tell it once."""
    async with pool.acquire() as connection:
        rows = await connection.fetch(Q["open_days"], now)
    told = 0
    for row in rows:
        if row["kpi_day"] is None:  # a community that is new: what was before is told to nobody
            async with pool.acquire() as connection:
                await connection.execute(Q["begin"], row["id"], row["day"])
            continue
        day = max(row["kpi_day"], row["day"] - timedelta(days=CATCH_UP)) + timedelta(days=1)
        while day <= row["day"]:
            async with pool.acquire() as connection, connection.transaction():
                told += await _tell_day(connection, row["id"], row["timezone"], day, now)
            day += timedelta(days=1)
    return told


async def _tell_day(connection: asyncpg.Connection[Any], community: str, zone: str, day: date, now: datetime) -> bool:
    held = await connection.fetchrow(Q["hold"], community)
    if held is None or held["kpi_day"] >= day:
        return False
    start = datetime.combine(day, time(), ZoneInfo(zone))
    end = datetime.combine(day + timedelta(days=1), time(), ZoneInfo(zone))
    figures = kpis(await tally(connection, Asked(community, zone, start, end, now)))
    await connection.execute(Q["told_day"], community, day)
    data = {"day": day.isoformat(), "figures": [_figure(one) for one in figures]}
    await outbox.append(connection, [Outgoing("kpi.day", community, day.isoformat(), "", data)])
    return True


def _figure(one: Kpi) -> dict[str, Any]:
    return {
        "name": one.name,
        "unit": one.unit,
        "value": one.value,
        "part": one.numerator,
        "whole": one.denominator,
    }


async def tell_public(pool: Connections, now: datetime) -> int:
    """Of communities with open data what anybody may read, where it is other than it was told; how many were."""
    async with pool.acquire() as connection:
        rows = await connection.fetch(Q["open_communities"])
    told = 0
    for row in rows:
        async with pool.acquire() as connection, connection.transaction():
            told += await _tell_public(connection, row["id"], now)
    return told


async def _tell_public(connection: asyncpg.Connection[Any], community: str, now: datetime) -> bool:
    held = await connection.fetchrow(Q["hold"], community)
    if held is None:
        return False
    before = held["public"] if isinstance(held["public"], dict) else json.loads(held["public"])
    found = await connection.fetchrow(Q["public_now"], community, now, FIRE_LANE)
    crowd = found["parking_spaces"] >= CROWD
    fresh = {
        name: round(float(found[name]), 1)
        for name in TOLERANCE
        if found[name] is not None and (crowd or not name.startswith("parking"))
    }
    moved = changed(before, fresh)
    if not moved:
        return False
    # What has not moved enough is compared with what was told of it: small steps add up.
    told = {name: value for name, value in {**before, **moved}.items() if value is not None}
    await connection.execute(Q["told_public"], community, json.dumps(told), now)
    data = {"at": now.isoformat(), **{name: fresh.get(name) for name in TOLERANCE}}
    await outbox.append(connection, [Outgoing("public.changed", community, community, "", data)])
    return True
