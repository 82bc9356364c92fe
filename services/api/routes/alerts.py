"""Alerts: open ones, all of them, one of them."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query
from starlette.responses import Response

from services.api.answers import shapes
from services.api.answers.models import AlertOut, AlertPage
from services.api.common import PREFIX, PROBLEMS, Cursor, Limit, State, answer, time_and_id
from services.api.context import Ctx
from services.api.guard import community_in_scope, in_scope, needs
from services.api.identity.auth import Ticket
from services.api.rules.silence_models import AlertCountsOut
from services.api.store import holding, work
from services.api.web import cursor
from services.domain.access import Permission, reader_class
from services.domain.engine.hold.reasons import by_sort

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
    shadow: Annotated[
        bool, Query(description="试运行规则的告警 alerts of rules on trial, instead of the real ones")
    ] = False,
) -> Response:
    key = time_and_id(after)
    reader = reader_class(ticket.principal)
    async with context.database.read() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        rows = await work.alerts(
            connection,
            community_id,
            open_only=state == "open",
            device_id=device_id,
            after=key,
            limit=limit + 1,
            shadow=shadow,
        )
    page = rows[:limit]
    more = cursor.encode(page[-1]["fired_at"].isoformat(), page[-1]["id"]) if len(rows) > limit else None
    return answer(AlertPage(items=[shapes.alert(row, reader) for row in page], next=more))


@router.get("/communities/{community_id}/alerts/summary", summary="今日告警统计 Counts of today")
async def summary(
    community_id: str, context: Ctx, ticket: Annotated[Ticket, needs(Permission.ALERTS)]
) -> AlertCountsOut:
    async with context.database.consistent() as connection:
        community = await community_in_scope(connection, ticket.principal, community_id)
        here = context.clock.now().astimezone(ZoneInfo(community["timezone"]))
        since = here.replace(hour=0, minute=0, second=0, microsecond=0)
        found = await holding.counts(connection, community_id, since)
    held = by_sort(found.pop("held_now"))
    return AlertCountsOut(**{**found, "suppressed_by": by_sort(found["suppressed_by"])}, since=since, held_by=held)


@router.get("/alerts/{alert_id}", summary="一条告警 One alert")
async def alert(alert_id: UUID, context: Ctx, ticket: Annotated[Ticket, needs(Permission.ALERTS)]) -> AlertOut:
    async with context.database.read() as connection:
        rows = await work.alerts_by_ids(connection, [alert_id])
        row = await in_scope(connection, ticket.principal, rows[0] if rows else None, "alert", alert_id)
    return shapes.alert(row, reader_class(ticket.principal))
