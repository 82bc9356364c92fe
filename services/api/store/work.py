"""Alerts, work orders and the counts behind the key figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from services.api.database import Connection
from services.api.store import Q

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


async def orders(
    connection: Connection,
    community_id: str,
    *,
    open_only: bool,
    limit: int,
    alert_id: UUID | None = None,
    after: After | None = None,
) -> list[Row]:
    """Newest first."""
    at, last = after or (None, None)
    name = "orders_open" if open_only else "orders_all"
    rows: list[Row] = await connection.fetch(Q[name], community_id, alert_id, at, last, limit)
    return rows


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
