"""Rows of evidence and of place codes, inside the caller's transaction."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg

from services.adapters.queries import Queries
from services.domain.evidence import EvidenceSort, Phase

Q = Queries.beside(__file__)
Connection: TypeAlias = "asyncpg.Connection[Any]"
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvidence:
    """One piece as it is kept; hashes in hexadecimal. `claimed`: what of time and position nobody checked."""

    id: UUID
    community_id: str
    order_id: UUID | None
    alert_id: UUID | None
    sort: EvidenceSort
    phase: Phase
    sha256: str
    original_sha256: str
    thumb_sha256: str | None
    media_type: str
    bytes: int
    width: int | None
    height: int | None
    duration_s: float | None
    taken_at: datetime | None
    claimed: tuple[str, ...]
    uploaded_at: datetime
    uploaded_by: str
    uploader_role: str
    place: str
    x: float | None
    y: float | None
    latitude: float | None
    longitude: float | None
    idempotency_key: str | None


async def hold(connection: Connection, *names: str) -> None:
    """Nobody sweeps these objects before this transaction has ended. First of all in it."""
    for name in sorted(names):
        await connection.execute(Q["hold_object"], name)


async def insert(connection: Connection, new: NewEvidence) -> Row | None:
    """None: the idempotency key was used meanwhile."""
    row: Row | None = await connection.fetchrow(
        Q["insert"],
        new.id,
        new.community_id,
        new.order_id,
        new.alert_id,
        new.sort.value,
        new.phase.value,
        bytes.fromhex(new.sha256),
        bytes.fromhex(new.original_sha256),
        bytes.fromhex(new.thumb_sha256) if new.thumb_sha256 else None,
        new.media_type,
        new.bytes,
        new.width,
        new.height,
        new.duration_s,
        new.taken_at,
        list(new.claimed),
        new.uploaded_at,
        new.uploaded_by,
        new.uploader_role,
        new.place,
        new.x,
        new.y,
        new.latitude,
        new.longitude,
        new.idempotency_key,
    )
    return row


async def by_key(connection: Connection, community_id: str, key: str) -> Row | None:
    row: Row | None = await connection.fetchrow(Q["by_key"], community_id, key)
    return row


async def by_id(connection: Connection, id: UUID, *, lock: bool = False) -> Row | None:
    row: Row | None = await connection.fetchrow(Q["lock_by_id" if lock else "by_id"], id)
    return row


async def of_order(
    connection: Connection, order_id: UUID, after: tuple[datetime, UUID] | None, limit: int
) -> list[Row]:
    """Of the order and of all that were merged into it, oldest first."""
    at, last = after or (None, None)
    rows: list[Row] = await connection.fetch(Q["of_order"], order_id, at, last, limit)
    return rows


async def of_alert(connection: Connection, alert_id: UUID, order_id: UUID | None, limit: int) -> list[Row]:
    """Of the alert itself and of the order it is worked on in, with what was merged into that."""
    rows: list[Row] = await connection.fetch(Q["of_alert"], alert_id, order_id, limit)
    return rows


async def occurrences(connection: Connection, alert_id: UUID) -> list[Row]:
    rows: list[Row] = await connection.fetch(Q["occurrences"], alert_id)
    return rows


async def link(connection: Connection, id: UUID, order_id: UUID, alert_id: UUID | None) -> Row | None:
    """To an order, once; None where it is linked to one already."""
    row: Row | None = await connection.fetchrow(Q["link"], id, order_id, alert_id)
    return row


async def link_report(connection: Connection, id: UUID, report_id: UUID) -> Row | None:
    """To what a resident reported, once."""
    row: Row | None = await connection.fetchrow(Q["link_report"], id, report_id)
    return row


async def remove(connection: Connection, id: UUID, at: datetime, by: str, why: str) -> Row | None:
    """The row stays; None where its picture was taken away before."""
    row: Row | None = await connection.fetchrow(Q["remove"], id, at, by, why)
    return row


async def let_go_unlinked(connection: Connection, now: datetime, after: timedelta) -> int:
    """What was sent and never linked to anything; how many."""
    return len(await connection.fetch(Q["let_go_unlinked"], now, now - after))


async def site(connection: Connection, community_id: str, building_id: str | None) -> Row:
    row: Row = await connection.fetchrow(Q["site"], community_id, building_id)
    return row


async def insert_code(
    connection: Connection,
    id: UUID,
    community_id: str,
    building_id: str | None,
    unit_id: str | None,
    place: str,
    x: float,
    y: float,
    at: datetime,
    by: str,
    key: str | None,
) -> Row | None:
    """None: the idempotency key was used before."""
    row: Row | None = await connection.fetchrow(
        Q["insert_code"], id, community_id, building_id, unit_id, place, x, y, at, by, key
    )
    return row


async def code_by_key(connection: Connection, community_id: str, key: str) -> Row | None:
    row: Row | None = await connection.fetchrow(Q["code_by_key"], community_id, key)
    return row


async def code_by_id(connection: Connection, id: UUID) -> Row | None:
    row: Row | None = await connection.fetchrow(Q["code_by_id"], id)
    return row


async def codes(
    connection: Connection, community_id: str, *, revoked: bool, after: tuple[datetime, UUID] | None, limit: int
) -> list[Row]:
    at, last = after or (None, None)
    rows: list[Row] = await connection.fetch(Q["codes"], community_id, revoked, at, last, limit)
    return rows


async def revoke_code(connection: Connection, id: UUID, at: datetime, by: str, replaced_by: UUID | None) -> Row | None:
    """None: it is void already."""
    row: Row | None = await connection.fetchrow(Q["revoke_code"], id, at, by, replaced_by)
    return row


async def place_of(connection: Connection, community_id: str, building_id: str, unit_id: str | None) -> Row | None:
    """A building's name and middle, with the unit's name where it has that unit."""
    row: Row | None = await connection.fetchrow(Q["place_of"], community_id, building_id, unit_id)
    return row
