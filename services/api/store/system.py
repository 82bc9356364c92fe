"""The outbox that live streams follow, the quarantine, the ledger, and the audit trail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.api.store import Q
from services.api.store.database import Connection
from services.domain.access import Principal

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class OutboxRow:
    seq: int
    type: str
    community_id: str
    subject: str
    data: dict[str, Any]


async def outbox_head(connection: Connection) -> int:
    """The cursor of the newest row; 0 when nothing ever left."""
    head: int = await connection.fetchval(Q["outbox_head"])
    return head


async def outbox_head_of(connection: Connection, community_id: str) -> int:
    """The newest row that names the community; -1: none does."""
    head: int = await connection.fetchval(Q["outbox_head_of"], community_id)
    return head


async def outbox_oldest(connection: Connection) -> int | None:
    oldest: int | None = await connection.fetchval(Q["outbox_oldest"])
    return oldest


async def outbox_at(connection: Connection, cursor: int) -> datetime | None:
    """When the row at the cursor (or the last one before it) was written."""
    at: datetime | None = await connection.fetchval(Q["outbox_at"], cursor)
    return at


async def outbox_after(connection: Connection, cursor: int, limit: int) -> list[OutboxRow]:
    return [OutboxRow(**row) for row in await connection.fetch(Q["outbox_after"], cursor, limit)]


async def outbox_between(
    connection: Connection, community_id: str, after: int, upto: int, limit: int
) -> list[OutboxRow]:
    rows = await connection.fetch(Q["outbox_between"], community_id, after, upto, limit)
    return [OutboxRow(**row) for row in rows]


async def device_changes(connection: Connection, community_id: str, since: datetime | None) -> list[Row]:
    """Devices heard from since then, and all that are offline; None: every device with a state."""
    rows: list[Row] = await connection.fetch(Q["device_changes"], community_id, since)
    return rows


async def quarantine(
    connection: Connection, community_id: str, *, after: tuple[datetime, int] | None, limit: int
) -> list[Row]:
    at, last = after or (None, None)
    rows: list[Row] = await connection.fetch(Q["quarantine_page"], community_id, at, last, limit)
    return rows


async def quarantine_counts(connection: Connection, community_id: str, since: datetime) -> dict[str, int]:
    rows = await connection.fetch(Q["quarantine_counts"], community_id, since)
    return {row["reason"]: row["n"] for row in rows}


async def ledger(connection: Connection) -> list[Row]:
    rows: list[Row] = await connection.fetch(Q["ledger"])
    return rows


async def audit(
    connection: Connection, who: Principal, community_id: str | None, action: str, subject: str, detail: dict[str, Any]
) -> None:
    """Appends to the hash chain; the chain is locked until the transaction ends, so call it last."""
    await connection.execute(Q["audit_append"], who.id, who.role.value, community_id, action, subject, detail)
