"""Reads what entities are made of and makes them; nothing about anybody's health passes here, whatever is granted."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg

from services.adapters.city.municipal import cases
from services.adapters.queries import Queries
from services.adapters.rules.privacy import HEALTH_METRICS, about_health
from services.domain.city import DataClass, EventMark
from services.domain.city.ngsi import AlertThing, DeviceThing, Entity, NgsiType, Site, Thing, entity_of
from services.domain.city.ngsi.mapping import ALERT, OFF_STREET_PARKING, parking_of
from services.domain.devices import BY_NAME
from services.domain.vocabulary import Label, Severity

Q = Queries.beside(__file__)
Connection: TypeAlias = "asyncpg.Connection[Any]"
Row: TypeAlias = Mapping[str, Any]
_AT_ONCE = 500
Names: TypeAlias = Mapping[str, frozenset[str]]
"""By type: the names of the entities that are asked for, the last part of their ids."""


async def sites(
    connection: Connection, community_id: str | None, street_id: str | None, everywhere: bool
) -> list[Site]:
    """The communities of an account; `everywhere`: bound to none, it reaches them all."""
    rows = await connection.fetch(Q["sites"], community_id, street_id, everywhere)
    return [Site(row["id"], row["name"], row["latitude"], row["longitude"]) for row in rows]


async def granted(connection: Connection, account_id: str) -> frozenset[DataClass]:
    """Health is in it where it was granted, and changes nothing: see the module."""
    return frozenset(DataClass(row["class"]) for row in await connection.fetch(Q["granted"], account_id))


async def mark(connection: Connection, account_id: str) -> EventMark:
    """As the most earnest of the account's subscriptions that stand; without one, what it is shown is meant."""
    marks = [EventMark(row["mark"]) for row in await connection.fetch(Q["marks"], account_id)]
    return min(marks, key=list(EventMark).index, default=EventMark.ACTUAL)


async def site_of_alert(connection: Connection, alert_id: UUID) -> Site | None:
    row = await connection.fetchrow(Q["site_of_alert"], alert_id)
    return None if row is None else Site(row["id"], row["name"], row["latitude"], row["longitude"])


async def holding(connection: Connection, names: Names) -> frozenset[str]:
    """The communities in which what is named may be found; all others need not be looked at."""
    parkings = names.get(OFF_STREET_PARKING.name, frozenset())
    alerts = [id for one in names.get(ALERT.name, ()) if (id := _uuid(one)) is not None]
    others = (ALERT.name, OFF_STREET_PARKING.name)
    devices = sorted({one for name, some in names.items() if name not in others for one in some})
    rows = await connection.fetch(Q["holding"], devices, alerts)
    return parkings | {row["community_id"] for row in rows}


async def entities(
    connection: Connection, site: Site, kinds: Sequence[NgsiType], classes: Collection[DataClass], names: Names | None
) -> list[Entity]:
    """Of these types in their order, each by id; `names` None: all of them, of alerts those that are open."""
    shown = [kind for kind in kinds if kind.shown(classes) and (names is None or names.get(kind.name))]
    devices = await _devices(connection, site, shown, names)
    found: list[Entity] = []
    for kind in shown:
        wanted = None if names is None else names[kind.name]
        things: Sequence[Thing]
        if kind is ALERT:
            things = await alerts(connection, site, wanted)
        elif kind is OFF_STREET_PARKING:
            things = [parking_of(devices)] if wanted is None or site.id in wanted else []
        else:
            things = [one for one in devices if one.kind in kind.kinds and (wanted is None or one.id in wanted)]
        for begin in range(0, len(things), _AT_ONCE):
            made = (entity_of(kind, site, thing, classes) for thing in things[begin : begin + _AT_ONCE])
            found += [one for one in made if one is not None]
            await asyncio.sleep(0)  # others' alarms are on this loop as well
    return found


async def _devices(
    connection: Connection, site: Site, kinds: Sequence[NgsiType], names: Names | None
) -> list[DeviceThing]:
    wanted = sorted({one for kind in kinds for one in kind.kinds} - set(HEALTH_METRICS))
    if not wanted:
        return []
    ids: list[str] | None = None
    if names is not None and OFF_STREET_PARKING not in kinds:
        ids = sorted({one for kind in kinds for one in names[kind.name]})
    return [_device(row) for row in await connection.fetch(Q["devices"], site.id, wanted, ids)]


def _device(row: Row) -> DeviceThing:
    metrics = BY_NAME[row["kind"]].metrics
    vals = row["vals"] or ()
    return DeviceThing(
        id=row["id"],
        kind=row["kind"],
        name=row["name"],
        place=row["place"],
        x=row["x"],
        y=row["y"],
        at_home=row["at_home"],
        tags=frozenset(row["tags"]),
        online=row["online"],
        last_seen_at=row["last_seen_at"],
        ts=row["vals_ts"],
        values={
            metric.name: value
            for metric, value in zip(metrics, vals, strict=False)
            if value is not None and not metric.health
        },
    )


async def alerts(connection: Connection, site: Site, wanted: frozenset[str] | None) -> list[AlertThing]:
    """By id; `wanted` None: those that are open. None that is about anybody's health or of what somebody wears."""
    ids = None if wanted is None else [id for one in sorted(wanted) if (id := _uuid(one)) is not None]
    return [_alert(row) for row in await connection.fetch(Q["alerts"], site.id, ids) if not _private(row)]


def _private(row: Row) -> bool:
    """All alerts of what is worn count: where somebody is, and that they have taken it off, is theirs."""
    return row["kind"] in HEALTH_METRICS or any(about_health(one) for one in (row["rule_id"], *row["active_rules"]))


def _alert(row: Row) -> AlertThing:
    return AlertThing(
        id=str(row["id"]),
        kind=row["kind"],
        severity=Severity(row["severity"]),
        state=row["state"],
        team=row["team"],
        life_safety=row["life_safety"],
        title=Label(row["title_zh"], row["title_en"]),
        why=Label(row["why_zh"], row["why_en"]),
        place=row["place"],
        device_id=row["device_id"],
        onset_at=row["onset_at"],
        fired_at=row["fired_at"],
        last_at=row["last_at"],
        cleared_at=row["cleared_at"],
        occurrences=row["occurrences"],
        case=cases().get(row["kind"]),
    )


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
