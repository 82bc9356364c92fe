"""Hand-overs (交接班), and where people on duty say they are."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query

from services.adapters.rosters import changes, handovers
from services.adapters.rosters.common import json_of
from services.api.common import PREFIX, PROBLEMS, Cursor, Limit, OnceKey, once, time_and_id
from services.api.context import Ctx
from services.api.guard import community_in_scope, in_scope, needs
from services.api.identity.auth import Ticket
from services.api.orders.roster_models import HandoverIn, HandoverOut, HandoverPage, PositionIn, PositionOut
from services.api.routes.rosters import refusals, told, who_is_on_duty
from services.api.routes.shifts import ONCE
from services.api.web import cursor
from services.api.web.problems import ApiError
from services.domain.access import Permission
from services.domain.vocabulary import Team

router = APIRouter(prefix=PREFIX, tags=["shifts 班次"], responses=PROBLEMS)


@router.post("/communities/{community_id}/handovers", summary="交班 Hand over", responses=ONCE)
async def hand_over(
    community_id: str,
    body: HandoverIn,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.ROSTERS)],
    key: OnceKey = None,
) -> HandoverOut:
    """By whoever stands the shift, or stood it within the hour; with the open orders of the team as they stand."""
    who, now = ticket.principal, context.clock.now()
    number = changes.id_of(who.id, once(key))
    async with context.database.write() as connection:
        await community_in_scope(connection, who, community_id)
        with refusals():
            row = await handovers.hand_over(connection, number, community_id, body.team, body.note, who.id, now)
        if row["at"] == now:
            detail = {"team": body.team.value, "handover_id": str(number), "by": who.id}
            await told(connection, who, community_id, "handover", f"handover:{number}", detail)
    return _handover(row)


@router.post("/handovers/{handover_id}/confirm", summary="接班确认 Take over")
async def confirm(handover_id: UUID, context: Ctx, ticket: Annotated[Ticket, needs(Permission.ROSTERS)]) -> HandoverOut:
    """By somebody else who stands the team's next shift. Again changes nothing."""
    who, now = ticket.principal, context.clock.now()
    async with context.database.write() as connection:
        known = await in_scope(
            connection, who, await handovers.handover(connection, handover_id), "handover", handover_id
        )
        with refusals():
            row = await handovers.confirm(connection, known, who.id, now)
        if row["confirmed_at"] == now:
            detail = {"team": row["team"], "handover_id": str(handover_id), "by": who.id}
            await told(connection, who, row["community_id"], "taken_over", f"handover:{handover_id}", detail)
    return _handover(row)


@router.get("/communities/{community_id}/handovers", summary="交接班记录 Hand-overs, newest first")
async def handed_over(
    community_id: str,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.ROSTERS)],
    team: Team | None = None,
    after: Annotated[Cursor, Query(alias="cursor")] = None,
    limit: Limit = 100,
) -> HandoverPage:
    key = time_and_id(after)
    async with context.database.read() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        rows = await handovers.handovers(connection, community_id, team, key, limit + 1)
    page = rows[:limit]
    more = cursor.encode(page[-1]["at"].isoformat(), page[-1]["id"]) if len(rows) > limit else None
    return HandoverPage(items=[_handover(row) for row in page], next=more)


def _handover(row: Mapping[str, Any]) -> HandoverOut:
    values = {name: row[name] for name in HandoverOut.model_fields}
    return HandoverOut(**values | {"open_orders": json_of(row["open_orders"])})


@router.put("/me/position", summary="共享我的位置 Share where I am")
async def share_position(
    body: PositionIn, context: Ctx, ticket: Annotated[Ticket, needs(Permission.ROSTERS)]
) -> PositionOut:
    """Voluntary; only the latest is kept, only while on duty, and it is forgotten after two hours."""
    who, now = ticket.principal, context.clock.now()
    if who.community_id is None:
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "您的账号不属于某个社区 · you belong to no single community")
    async with context.database.write() as connection:
        community = await community_in_scope(connection, who, who.community_id)
        zone = ZoneInfo(community["timezone"])
        present = await who_is_on_duty(connection, who.community_id, zone, now)
        if not any(one.user_id == who.id for team in present.teams for one in team.people):
            raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "不在岗时不收集位置 · you are not on duty")
        if body.x is not None and body.y is not None:
            x, y = body.x, body.y
        else:
            assert body.latitude is not None and body.longitude is not None  # noqa: S101
            x, y = await handovers.on_plan(connection, who.community_id, body.latitude, body.longitude)
        await handovers.share_position(connection, who.id, x, y, body.accuracy_m, now)
    return PositionOut(shared=True, x=x, y=y, forgotten_at=now + handovers.POSITION_KEPT)


@router.delete("/me/position", summary="停止共享位置 Stop sharing it")
async def forget_position(context: Ctx, ticket: Annotated[Ticket, needs(Permission.ROSTERS)]) -> PositionOut:
    async with context.database.write() as connection:
        await handovers.forget_position(connection, ticket.principal.id)
    return PositionOut(shared=False)
