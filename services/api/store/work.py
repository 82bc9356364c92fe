"""Alerts, work orders and the counts behind the key figures."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from services.api.store import Q
from services.api.store.database import Connection

Row = Mapping[str, Any]
After = tuple[datetime, UUID]


async def alerts(
    connection: Connection,
    community_id: str,
    *,
    open_only: bool,
    limit: int,
    device_id: str | None = None,
    after: After | None = None,
    shadow: bool = False,
) -> list[Row]:
    """Newest first. `shadow`: those of rules on trial instead of the real ones."""
    at, last = after or (None, None)
    name = "alerts_open" if open_only else "alerts_all"
    rows: list[Row] = await connection.fetch(Q[name], community_id, device_id, at, last, limit, shadow)
    return rows


async def alerts_by_ids(connection: Connection, ids: Sequence[UUID]) -> list[Row]:
    rows: list[Row] = await connection.fetch(Q["alerts_by_ids"], list(ids))
    return rows


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderFilter:
    """What a list of orders is narrowed to; None: by nothing. `text` is found in number, title or place.

    Of orders of `hidden_kinds` that lie outside `own_grid` (`*`: everywhere is their own), or whose person does not
    consent, the title is not searched: what is found would say it.
    """

    state: str | None = None
    team: str | None = None
    assignee_id: str | None = None
    class_id: str | None = None
    source: str | None = None
    severity: str | None = None
    building_id: str | None = None
    text: str | None = None
    hidden_kinds: tuple[str, ...] = ()
    own_grid: str | None = None


async def orders(
    connection: Connection,
    community_id: str,
    *,
    open_only: bool,
    limit: int,
    alert_id: UUID | None = None,
    after: After | None = None,
    by: OrderFilter = OrderFilter(),
) -> list[Row]:
    """Newest first."""
    at, last = after or (None, None)
    rows: list[Row] = await connection.fetch(
        Q["orders_open" if open_only else "orders_all"],
        community_id, alert_id, at, last, limit, by.state, by.team, by.assignee_id, by.class_id, by.source,
        by.severity, by.building_id, by.text, list(by.hidden_kinds), by.own_grid,
    )  # fmt: skip
    return rows


async def linked(connection: Connection, order_id: UUID) -> list[Row]:
    """Orders before, after and merged with this one, each with `how`."""
    rows: list[Row] = await connection.fetch(Q["orders_linked"], order_id)
    return rows


async def alerts_of(connection: Connection, order_id: UUID) -> list[Row]:
    """All that are worked on in it, oldest first."""
    rows: list[Row] = await connection.fetch(Q["order_alerts"], order_id)
    return rows


async def people(connection: Connection, ids: Collection[str]) -> dict[str, Row]:
    return {row["id"]: row for row in await connection.fetch(Q["people_named"], sorted(ids))}


async def asked_for(connection: Connection, order_id: UUID) -> str | None:
    """The digest of the request that opened it."""
    asked: str | None = await connection.fetchval(Q["order_asked"], order_id)
    return asked


async def place_of_device(connection: Connection, community_id: str, device_id: str) -> Row | None:
    row: Row | None = await connection.fetchrow(Q["place_of_device"], community_id, device_id)
    return row


async def place_of_building(connection: Connection, community_id: str, building_id: str) -> Row | None:
    row: Row | None = await connection.fetchrow(Q["place_of_building"], community_id, building_id)
    return row


async def grid_of_point(connection: Connection, community_id: str, x: float, y: float) -> str | None:
    """The 网格 of the nearest building; None: the community has none."""
    grid: str | None = await connection.fetchval(Q["grid_of_point"], community_id, x, y)
    return grid


async def orders_by_ids(connection: Connection, ids: Sequence[UUID]) -> list[Row]:
    rows: list[Row] = await connection.fetch(Q["orders_by_ids"], list(ids))
    return rows


async def order_history(connection: Connection, order_id: UUID) -> list[Row]:
    rows: list[Row] = await connection.fetch(Q["order_history"], order_id)
    return rows


async def present(connection: Connection, community_id: str) -> Row:
    """`open_alerts`, `devices` and `devices_online` of now."""
    row: Row = await connection.fetchrow(Q["kpi_now"], community_id)
    return row
