"""Changes of the registry by people: devices locked, changed, retired; imports between check and doing; keys."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from services.adapters.registry.places import E
from services.adapters.registry.provision import Fault, Faulty, NewDevice

Row = Mapping[str, Any]
PAGE = 2_000


async def each(devices: Iterable[NewDevice]) -> AsyncIterator[NewDevice]:
    for device in devices:
        yield device


async def devices_page(
    connection: asyncpg.Connection[Any],
    community_id: str,
    *,
    after: str | None = None,
    ids: Sequence[str] | None = None,
    kind: str | None = None,
    building: str | None = None,
    grid: str | None = None,
    gateway: str | None = None,
    tag: str | None = None,
    retired: bool | None = False,
    offline: bool | None = None,
    unplaced: bool | None = None,
    text: str | None = None,
    limit: int | None = None,
) -> list[Row]:
    """By id. `retired` None: also those."""
    rows: list[Row] = await connection.fetch(
        E["devices_full"],
        community_id,
        after,
        list(ids) if ids is not None else None,
        kind,
        building,
        grid,
        gateway,
        tag,
        retired,
        offline,
        unplaced,
        text,
        limit,
    )
    return rows


async def devices_by_id(
    connection: asyncpg.Connection[Any], community_id: str, ids: Sequence[str] | None
) -> dict[str, Row]:
    """`ids` None: all of the community, the retired too."""
    rows = await devices_page(connection, community_id, ids=ids, retired=None)
    return {row["id"]: row for row in rows}


async def bind_people(connection: asyncpg.Connection[Any], community_id: str, people: Mapping[str, str | None]) -> None:
    """`people`: of devices. Raises Faulty for somebody who is not of this community."""
    wanted = sorted({person for person in people.values() if person is not None})
    there = {row["id"] for row in await connection.fetch(E["people_of"], community_id, wanted)}
    if missing := [person for person in wanted if person not in there]:
        raise Faulty([Fault(0, "no_person", person, community_id) for person in missing])
    await connection.execute(E["bind_people"], community_id, list(people), list(people.values()))


async def still_behind(connection: asyncpg.Connection[Any], community_id: str, ids: Sequence[str]) -> list[Fault]:
    """Gateways among them through which others speak that stay."""
    rows = await connection.fetch(E["behind"], community_id, list(ids))
    return [Fault(0, "still_behind", row["gateway"], row["id"]) for row in rows]


async def made_before(
    connection: asyncpg.Connection[Any], community_id: str, user_id: str, key: str
) -> tuple[bytes, str] | None:
    """(digest of what was asked, what it made) of an idempotency key."""
    row = await connection.fetchrow(E["made"], community_id, user_id, key)
    return (row["digest"], row["subject"]) if row else None


async def remember_made(
    connection: asyncpg.Connection[Any], community_id: str, user_id: str, key: str, digest: bytes, subject: str
) -> None:
    await connection.execute(E["make"], community_id, user_id, key, digest, subject)


async def add_import(
    connection: asyncpg.Connection[Any],
    id: UUID,
    community_id: str,
    what: str,
    removing: bool,
    content: bytes,
    digest: bytes,
    report: str,
    by: str,
    at: datetime,
) -> None:
    await connection.execute(E["add_import"], id, community_id, what, removing, content, digest, report, by, at)


async def drawing(connection: asyncpg.Connection[Any], community_id: str, version: int) -> Row | None:
    row: Row | None = await connection.fetchrow(E["drawing"], community_id, version)
    return row
