"""What went wrong on the way in, and proof that everything was accounted for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query

from services.api.answers.models import LedgerOut, LedgerRow, QuarantineOut, QuarantinePage
from services.api.common import PREFIX, PROBLEMS, Cursor, Limit
from services.api.context import Ctx
from services.api.guard import community_in_scope, needs
from services.api.identity.auth import Ticket
from services.api.store import system
from services.api.web import cursor
from services.domain.access import Permission

router = APIRouter(prefix=PREFIX, tags=["ingest 接入"], responses=PROBLEMS)

_COUNTED = timedelta(days=7)


@router.get("/communities/{community_id}/quarantine", summary="隔离区 What could not be used, and why")
async def quarantine(
    community_id: str,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.QUARANTINE)],
    after: Annotated[Cursor, Query(alias="cursor")] = None,
    limit: Limit = 50,
) -> QuarantinePage:
    """Newest first, with counts by reason of the last 7 days; `payload` is the first 2 KiB as text."""
    key = _key(after)
    async with context.database.read() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        rows = await system.quarantine(connection, community_id, after=key, limit=limit + 1)
        counts = await system.quarantine_counts(connection, community_id, datetime.now(UTC) - _COUNTED)
    page = rows[:limit]
    return QuarantinePage(
        items=[QuarantineOut(**{**row, "payload": row["payload"].decode("utf-8", "replace")}) for row in page],
        counts=counts,
        next=cursor.encode(page[-1]["received_at"].isoformat(), page[-1]["id"]) if len(rows) > limit else None,
    )


def _key(text: str | None) -> tuple[datetime, int] | None:
    key = cursor.decode(text, 2)
    if key is None:
        return None
    try:
        return datetime.fromisoformat(key[0]), int(key[1])
    except ValueError:
        raise cursor.refused() from None


@router.get("/ingest/ledger", summary="收支账 received = stored + duplicate + rejected")
async def ledger(context: Ctx, _: Annotated[Ticket, needs(Permission.LEDGER)]) -> LedgerOut:
    async with context.database.read() as connection:
        rows = await system.ledger(connection)
    lines = [LedgerRow(**{**row, "lane": "event" if row["lane"] == 0 else "telemetry"}) for row in rows]
    balanced = all(line.received == line.stored + line.duplicate + line.rejected for line in lines)
    return LedgerOut(rows=lines, balanced=balanced)
