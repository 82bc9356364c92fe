"""Alerts: open ones, all of them, one of them."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.responses import Response

from services.api import cursor, shapes
from services.api.auth import Ticket
from services.api.context import Ctx
from services.api.guard import community_in_scope, in_scope, needs
from services.api.models import AlertOut, AlertPage
from services.api.routes.common import PREFIX, PROBLEMS, Cursor, Limit, State, answer, time_and_id
from services.api.store import work
from services.domain.access import Permission, reader_class

router = APIRouter(prefix=PREFIX, tags=["alerts 告警"], responses=PROBLEMS)


@router.get("/communities/{community_id}/alerts", response_model=AlertPage, summary="告警列表 Alerts, newest first")
async def alerts(
    community_id: str,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.ALERTS)],
    state: State = "open",
    device_id: Annotated[str | None, Query(max_length=64)] = None,
    after: Annotated[Cursor, Query(alias="cursor")] = None,
    limit: Limit = 100,
) -> Response:
    key = time_and_id(after)
    reader = reader_class(ticket.principal)
    async with context.database.read() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        rows = await work.alerts(
            connection, community_id, open_only=state == "open", device_id=device_id, after=key, limit=limit + 1
        )
    page = rows[:limit]
    more = cursor.encode(page[-1]["fired_at"].isoformat(), page[-1]["id"]) if len(rows) > limit else None
    return answer(AlertPage(items=[shapes.alert(row, reader) for row in page], next=more))


@router.get("/alerts/{alert_id}", summary="一条告警 One alert")
async def alert(alert_id: UUID, context: Ctx, ticket: Annotated[Ticket, needs(Permission.ALERTS)]) -> AlertOut:
    async with context.database.read() as connection:
        rows = await work.alerts_by_ids(connection, [alert_id])
        row = await in_scope(connection, ticket.principal, rows[0] if rows else None, "alert", alert_id)
    return shapes.alert(row, reader_class(ticket.principal))
