"""Work orders: open ones, all of them, one with all that is known of it; opening one, and the moves people make."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.responses import Response

from services.adapters.city import cases
from services.api.answers import shapes
from services.api.answers.health import HEALTH_METRICS
from services.api.answers.models import OrderOut, OrderPage, Problem
from services.api.answers.moves import actor_of
from services.api.common import (
    PREFIX,
    PROBLEMS,
    AsAccount,
    Cursor,
    Limit,
    OnceKey,
    answer,
    meant_by,
    once,
    time_and_id,
)
from services.api.context import Ctx
from services.api.guard import community_in_scope, in_scope, needs
from services.api.identity.auth import Ticket
from services.api.orders import ordering
from services.api.orders.models import BatchIn, BatchOut, MovedOut, MoveIn, OrderDetailOut, OrderIn
from services.api.orders.order_shapes import Around, order_detail
from services.api.store import work
from services.api.web import cursor
from services.api.web.problems import ApiError, not_found
from services.domain.access import Permission, Principal, reader_class
from services.domain.orders import OrderState, Source
from services.domain.vocabulary import Role, Severity, Team

router = APIRouter(prefix=PREFIX, tags=["orders 工单"], responses=PROBLEMS)

States = Annotated[
    Literal["open", "all"] | OrderState,
    Query(description="open: 未终结 not ended; all: 全部 all; 或某一状态 or one state. Newest first"),
]
_NO_KEY = {"model": Problem, "description": "缺少 Idempotency-Key · the header is missing"}
_REFUSED = {
    "model": Problem,
    "description": "不允许的操作，附原因、状态与可执行者 · refused: why, the state, who could, what you may do instead",
}
_ANOTHER = {"model": Problem, "description": "另一个账号的操作 · not the account in X-LinHub-Account"}
_CONFLICT = {
    "model": Problem,
    "description": "他人已先处理，附当前工单 · somebody was faster; `current` is the order as it stands",
}


@router.get("/communities/{community_id}/orders", response_model=OrderPage, summary="工单列表 Orders, newest first")
async def orders(
    community_id: str,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.ORDERS)],
    state: States = "open",
    alert_id: Annotated[UUID | None, Query()] = None,
    team: Annotated[Team | None, Query()] = None,
    assignee: Annotated[str | None, Query(max_length=128, description="`me` 或账号 · `me` or an account id")] = None,
    order_class: Annotated[str | None, Query(alias="class", max_length=64, description="类别 id · class id")] = None,
    source: Annotated[Source | None, Query()] = None,
    severity: Annotated[Severity | None, Query()] = None,
    building: Annotated[str | None, Query(max_length=128, description="building id")] = None,
    q: Annotated[
        str | None, Query(min_length=1, max_length=60, description="工单号、标题或地点 · number, title or place")
    ] = None,
    after: Annotated[Cursor, Query(alias="cursor")] = None,
    limit: Limit = 100,
) -> Response:
    who = ticket.principal
    key = time_and_id(after)
    reader, actor = reader_class(who), actor_of(who)
    one_state = state if isinstance(state, OrderState) else None
    by = work.OrderFilter(
        state=one_state,
        team=team,
        assignee_id=who.id if assignee == "me" else assignee,
        class_id=order_class,
        source=source,
        severity=severity,
        building_id=building,
        text=q,
        hidden_kinds=tuple(sorted(HEALTH_METRICS)),
        own_grid="*" if reader.health and reader.role is not Role.GRID else reader.grid_id,
    )
    async with context.database.read() as connection:
        await community_in_scope(connection, who, community_id)
        rows = await work.orders(
            connection, community_id, open_only=state == "open", alert_id=alert_id, after=key, limit=limit + 1, by=by
        )
    page = rows[:limit]
    more = cursor.encode(page[-1]["created_at"].isoformat(), page[-1]["id"]) if len(rows) > limit else None
    now = context.clock.now()
    return answer(OrderPage(items=[shapes.order(row, reader, actor, now) for row in page], next=more))


@router.post(
    "/communities/{community_id}/orders",
    status_code=HTTPStatus.CREATED,
    summary="开单（巡查、员工） Open an order for what somebody saw",
    responses={400: _NO_KEY},
)
async def open_order(
    community_id: str,
    body: OrderIn,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.ORDER_OPEN)],
    key: OnceKey = None,
) -> OrderOut:
    """The same Idempotency-Key again answers with the same order, as it stands by then."""
    return await ordering.open_for(context, ticket.principal, community_id, body, once(key))


@router.post(
    "/communities/{community_id}/orders/moves",
    summary="批量推进工单 Move up to 200 orders, each with its own answer",
    responses={400: _NO_KEY},
)
async def move_many(
    community_id: str,
    body: BatchIn,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.ORDER_MOVES)],
    key: OnceKey = None,
) -> BatchOut:
    """Each order is moved for itself: one that is refused does not stop the others. A retry with the same key repeats
    nothing that was done."""
    who, shared = ticket.principal, once(key)
    async with context.database.read() as connection:
        await community_in_scope(connection, who, community_id)
        known = await work.orders_by_ids(connection, [one.order_id for one in body.moves])
    here = {row["id"] for row in known if row["community_id"] == community_id}
    return BatchOut(items=[await _one(context, who, one.order_id, one, shared, here) for one in body.moves])


async def _one(context: Ctx, who: Principal, order_id: UUID, body: MoveIn, key: str, here: set[UUID]) -> MovedOut:
    try:
        if order_id not in here:
            raise not_found("order", order_id)
        shown = await ordering.perform(context, who, order_id, body, key)
    except ApiError as error:
        problem = Problem(
            title=HTTPStatus(error.status).phrase,
            status=error.status,
            detail=error.detail,
            errors=error.errors,
            current=error.current,
        )
        return MovedOut(order_id=order_id, status=error.status, problem=problem)
    return MovedOut(order_id=order_id, status=HTTPStatus.OK, order=shown)


@router.get("/orders/{order_id}", summary="一张工单及其历史 One order with all that is known of it")
async def order(order_id: UUID, context: Ctx, ticket: Annotated[Ticket, needs(Permission.ORDERS)]) -> OrderDetailOut:
    who = ticket.principal
    async with context.database.consistent() as connection:
        rows = await work.orders_by_ids(connection, [order_id])
        row = await in_scope(connection, who, rows[0] if rows else None, "order", order_id)
        around = Around(
            history=await work.order_history(connection, order_id),
            people=await work.people(connection, {*row["offered"], *row["workers"]}),
            linked=await work.linked(connection, order_id),
            alerts=await work.alerts_of(connection, order_id),
            cases=await cases.standing_in(connection, order_id) if who.may(Permission.ORDER_MOVES) else (),
        )
    return order_detail(row, around, reader_class(who), actor_of(who), context.clock.now())


@router.post(
    "/orders/{order_id}/moves",
    summary="推进工单 Make one move",
    responses={400: _NO_KEY, 409: _CONFLICT, 412: _ANOTHER, 422: _REFUSED},
)
async def move(
    order_id: UUID,
    body: MoveIn,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.ORDER_MOVES)],
    key: OnceKey = None,
    account: AsAccount = None,
) -> OrderOut:
    """The same Idempotency-Key with the same move again changes nothing and answers with the order as it stands."""
    meant_by(account, ticket.principal)
    return await ordering.perform(context, ticket.principal, order_id, body, once(key))
