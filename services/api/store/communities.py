"""Communities, their plans and their devices with the latest state."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from services.api.store import Q
from services.api.store.database import Connection

Row = Mapping[str, Any]


async def communities(
    connection: Connection, *, community_id: str | None = None, street_id: str | None = None
) -> list[Row]:
    rows: list[Row] = await connection.fetch(Q["communities"], community_id, street_id)
    return rows


async def plan(connection: Connection, community_id: str) -> tuple[dict[str, Any], list[Row]]:
    """The drawn plan as stored, and the buildings on it."""
    drawn = await connection.fetchval(Q["plan"], community_id)
    return drawn or {}, await connection.fetch(Q["buildings"], community_id)


async def plan_version(connection: Connection, community_id: str) -> int:
    version: int = await connection.fetchval(Q["plan_version"], community_id)
    return version


async def devices(
    connection: Connection,
    community_id: str,
    *,
    kind: str | None = None,
    building_id: str | None = None,
    after: str | None = None,
    limit: int | None = None,
) -> list[Row]:
    """By id, after the id `after`; `limit` None: all."""
    rows: list[Row] = await connection.fetch(Q["devices_of_community"], community_id, kind, building_id, after, limit)
    return rows


async def device(connection: Connection, device_id: str) -> Row | None:
    row: Row | None = await connection.fetchrow(Q["device_by_id"], device_id)
    return row


async def public_values(connection: Connection, community_id: str, kinds: Sequence[str]) -> list[Row]:
    rows: list[Row] = await connection.fetch(Q["public_values"], community_id, list(kinds))
    return rows
