"""Work orders: open ones, all of them, one with its history, and the moves people make."""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus
from typing import Annotated
from uuid import UUID

import structlog
from fastapi import APIRouter, Header, Query
from starlette.responses import Response

from services.adapters.orders import MoveRefused, OrderNotFound, VersionConflict, apply_move
from services.api import arrivals, cursor, shapes
from services.api.auth import Ticket
from services.api.context import Ctx
from services.api.database import Connection
from services.api.guard import community_in_scope, in_scope, needs
from services.api.models import MoveIn, OrderDetailOut, OrderOut, OrderPage, Problem
from services.api.moves import actor_of
from services.api.problems import ApiError, not_found
from services.api.routes.common import PREFIX, PROBLEMS, Cursor, Limit, State, answer, time_and_id
from services.api.store import users, work
from services.domain.access import Permission, allowed, reader_class
from services.domain.ids import OrderId
from services.domain.orders import MoveRequest

log = structlog.get_logger(__name__)
router = APIRouter(prefix=PREFIX, tags=["orders 工单"], responses=PROBLEMS)

Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        max_length=128,
        description="必填，重试时用同一个值 · required; the same value on a retry makes the move once",
    ),
]


@router.get("/communities/{community_id}/orders", response_model=OrderPage, summary="工单列表 Orders, newest first")
async def orders(
    community_id: str,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.ORDERS)],
    state: State = "open",
    alert_id: Annotated[UUID | None, Query()] = None,
    after: Annotated[Cursor, Query(alias="cursor")] = None,
    limit: Limit = 100,
) -> Response:
    key = time_and_id(after)
    reader, actor = reader_class(ticket.principal), actor_of(ticket.principal)
    async with context.database.read() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        rows = await work.orders(
            connection, community_id, open_only=state == "open", alert_id=alert_id, after=key, limit=limit + 1
        )
    page = rows[:limit]
    more = cursor.encode(page[-1]["created_at"].isoformat(), page[-1]["id"]) if len(rows) > limit else None
    return answer(OrderPage(items=[shapes.order(row, reader, actor) for row in page], next=more))


@router.get("/orders/{order_id}", summary="一张工单及其历史 One order with its history")
async def order(order_id: UUID, context: Ctx, ticket: Annotated[Ticket, needs(Permission.ORDERS)]) -> OrderDetailOut:
    who = ticket.principal
    async with context.database.consistent() as connection:
        rows = await work.orders_by_ids(connection, [order_id])
        row = await in_scope(connection, who, rows[0] if rows else None, "order", order_id)
        history = await work.order_history(connection, order_id)
    return shapes.order_detail(row, history, reader_class(who), actor_of(who))


@router.post(
    "/orders/{order_id}/moves",
    summary="推进工单 Make one move",
    responses={
        400: {"model": Problem, "description": "缺少 Idempotency-Key · the header is missing"},
        409: {"model": Problem, "description": "他人已先处理 · somebody was faster; read the order again"},
        422: {"model": Problem, "description": "不允许的操作，附原因 · refused, with the reason"},
    },
)
async def move(
    order_id: UUID,
    body: MoveIn,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.ORDER_MOVES)],
    key: Key = None,
) -> OrderOut:
    who = ticket.principal
    if not key:
        raise ApiError(
            HTTPStatus.BAD_REQUEST,
            "缺少 Idempotency-Key 请求头 · send the header Idempotency-Key, a new value for each move",
        )
    request = MoveRequest(
        move=body.move,
        version=body.version,
        reason=body.reason,
        note=body.note,
        place=body.place,
        team=body.team,
        assignee_id=body.assignee_id,
        idempotency_key=f"{who.id}:{key}",
    )
    actor = actor_of(who)
    async with context.database.write() as connection:
        rows = await work.orders_by_ids(connection, [order_id])
        before = await in_scope(connection, who, rows[0] if rows else None, "order", order_id)
        on_site = await arrivals.checked(connection, context.intake, before, body.move, body.position, body.code)
        request = replace(request, on_site=on_site)
        await _check_assignee(connection, body.assignee_id, before["community_id"])
        try:
            await apply_move(connection, OrderId(order_id), request, actor, context.clock.now())
        except OrderNotFound:
            raise not_found("order", order_id) from None
        except VersionConflict as conflict:
            raise _conflict(conflict) from None
        except MoveRefused as refused:
            raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{refused.reason.zh} · {refused.reason.en}") from None
        row = (await work.orders_by_ids(connection, [order_id]))[0]
    log.info("order_moved", correlation=before["correlation"], order=str(order_id), move=body.move.value, by=who.id)
    return shapes.order(row, reader_class(who), actor)


async def _check_assignee(connection: Connection, user_id: str | None, community_id: str) -> None:
    """Whoever gets the order must be there to do it. Raises ApiError 422."""
    if user_id is None:
        return
    account = (await users.by_ids(connection, [user_id])).get(user_id)
    if account is None or account.disabled or account.principal.community_id != community_id:
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "本社区没有这位人员 · nobody of that id works in this community"
        )
    if not allowed(account.principal.role, Permission.ORDER_MOVES):
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "此人不处理工单 · this person does not work on orders")


def _conflict(conflict: VersionConflict) -> ApiError:
    current = conflict.current
    return ApiError(
        HTTPStatus.CONFLICT,
        f"工单已更新到第 {current.version} 版，请刷新后再试 · the order is at version {current.version}; read it again",
        errors=[{"version": current.version, "state": current.state.value}],
    )
