"""Opens and moves orders for people: what they ask for, checked, performed, and every refusal said in full."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any
from uuid import UUID, uuid5

import asyncpg
import structlog

from services.adapters import outbox
from services.adapters.orders import (
    MoveRefused,
    OrderNotFound,
    VersionConflict,
    apply_move,
    fetch_order,
    insert_order,
)
from services.api.answers import shapes
from services.api.answers.models import OrderOut
from services.api.answers.moves import actor_of, moves_of
from services.api.context import Context
from services.api.guard import community_in_scope, in_scope
from services.api.orders import arrivals
from services.api.orders.models import MoveIn, OrderIn
from services.api.store import communities, users, work
from services.api.store.database import Connection
from services.api.web.problems import ApiError, not_found
from services.domain.access import Permission, Principal, allowed, reaches_community, reader_class
from services.domain.ids import CommunityId, DeviceNo, OrderId
from services.domain.orders import Draft, Move, MoveRequest, Source, digest_of
from services.domain.vocabulary import Label, Role, Team

log = structlog.get_logger(__name__)

_KEYS = UUID("6c1f2f0e-9a0d-4a6e-8a4f-0f2d1f5b7a11")
"""Orders that people open are named by who asked and their Idempotency-Key."""
_TRIES = 3
_CLOCK_OFF = timedelta(minutes=5)
_ELSEWHERE = {
    Move.EVIDENCE: "证据请通过上传接口添加 · evidence is added by uploading it",
    Move.RATE: "评价由上报人通过其上报提交 · whoever reported it rates it with their report",
}


async def perform(context: Context, who: Principal, order_id: UUID, body: MoveIn, key: str) -> OrderOut:
    """One move in one transaction. Raises ApiError: 404, 409 with the order as it stands, 422 with who could."""
    for attempt in range(_TRIES):
        try:
            async with context.database.write() as connection:
                return await _moved(connection, context, who, order_id, body, key)
        except asyncpg.DeadlockDetectedError:
            # A merge takes two orders and their alerts, and may meet the alert engine; the other one has won.
            if attempt == _TRIES - 1:
                raise
    raise AssertionError("unreachable")


async def _moved(
    connection: Connection, context: Context, who: Principal, order_id: UUID, body: MoveIn, key: str
) -> OrderOut:
    actor, now = actor_of(who), context.clock.now()
    rows = await work.orders_by_ids(connection, [order_id])
    before = await in_scope(connection, who, rows[0] if rows else None, "order", order_id)
    if body.move in _ELSEWHERE:
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, _ELSEWHERE[body.move])
    await _check_assignee(connection, body.assignee_id, before["community_id"])
    on_site = await arrivals.checked(connection, context.intake, before, body.move, body.position, body.code)
    request = MoveRequest(
        move=body.move,
        version=body.version,
        reason=body.reason,
        note=body.note,
        place=body.place,
        team=body.team,
        assignee_id=body.assignee_id,
        merge_into=OrderId(body.merge_into) if body.merge_into else None,
        rung=body.rung,
        pause_reason=body.pause_reason,
        pause_until=body.pause_until,
        outcome=body.outcome,
        on_site=on_site,
        acted_at=_acted(body.acted_at, before["created_at"], now),
        idempotency_key=f"{who.id}:{key}",
    )
    try:
        await apply_move(connection, order_id, request, actor, now)
    except OrderNotFound:
        raise not_found("order", order_id) from None
    except VersionConflict as conflict:
        row = (await work.orders_by_ids(connection, [order_id]))[0]
        shown = shapes.order(row, reader_class(who), actor, now).model_dump(mode="json")
        raise _conflict(conflict, shown) from None
    except MoveRefused as refused:
        raise await _refusal(connection, refused, order_id, who, context) from None
    row = (await work.orders_by_ids(connection, [order_id]))[0]
    log.info("order_moved", correlation=before["correlation"], order=str(order_id), move=body.move.value, by=who.id)
    return shapes.order(row, reader_class(who), actor, now)


def _acted(at: datetime | None, since: datetime, now: datetime) -> datetime | None:
    """What a phone says of when it was done, if that can be. Its clock may be off; later than now is now."""
    if at is None or not since - _CLOCK_OFF <= at <= now + _CLOCK_OFF:
        return None
    return min(at.astimezone(UTC), now)


async def _refusal(
    connection: Connection, error: MoveRefused, order_id: UUID, who: Principal, context: Context
) -> ApiError:
    refused = error.refused
    order = (await fetch_order(connection, order_id)).order
    return ApiError(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        f"{refused.reason.zh} · {refused.reason.en}",
        errors=[
            {
                "code": refused.code,
                "state": order.state.value,
                "move": refused.move.value if refused.move else None,
                "who": [sort.value for sort in refused.who],
                "needs": [need.value for need in refused.needs],
                "allowed": [move.value for move in moves_of(order, actor_of(who), context.clock.now())],
            }
        ],
    )


def _conflict(conflict: VersionConflict, shown: dict[str, Any]) -> ApiError:
    current = conflict.current
    return ApiError(
        HTTPStatus.CONFLICT,
        f"工单已更新到第 {current.version} 版，请按最新状态重试 · the order is at version {current.version}; "
        "it stands in `current`",
        errors=[{"version": current.version, "state": current.state.value}],
        current=shown,
    )


async def _check_assignee(connection: Connection, user_id: str | None, community_id: str) -> None:
    """Whoever gets the order must be there to do it. Raises ApiError 422."""
    if user_id is None:
        return
    worker = await users.enabled(connection, user_id)
    (community,) = await communities.communities(connection, community_id=community_id)
    # Once it has climbed, people of the street office or a department, who are bound to the street, may have it.
    if worker is None or not reaches_community(worker, community_id, community["street_id"]):
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "本社区没有这位人员 · nobody of that id works in this community"
        )
    if not allowed(worker.role, Permission.ORDER_MOVES):
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "此人不处理工单 · this person does not work on orders")


async def open_for(context: Context, who: Principal, community_id: str, body: OrderIn, key: str) -> OrderOut:
    """Opens an order, or answers with the one that the same key has opened. Raises ApiError 404, 422."""
    order_id = OrderId(uuid5(_KEYS, f"{community_id}|{who.id}|{key}"))
    asked = digest_of(body.model_dump(mode="json"))
    for attempt in range(_TRIES):
        try:
            async with context.database.write() as connection:
                await community_in_scope(connection, who, community_id)
                if not await work.orders_by_ids(connection, [order_id]):
                    await _open(connection, context, who, community_id, body, order_id, asked)
                elif await work.asked_for(connection, order_id) != asked:
                    raise ApiError(
                        HTTPStatus.UNPROCESSABLE_ENTITY,
                        "该 Idempotency-Key 已用于另一张工单 · this Idempotency-Key has opened another order already",
                    )
                row = (await work.orders_by_ids(connection, [order_id]))[0]
                return shapes.order(row, reader_class(who), actor_of(who), context.clock.now())
        except asyncpg.UniqueViolationError:
            # The same request twice at once: the other one has opened it.
            if attempt == _TRIES - 1:
                raise
    raise AssertionError("unreachable")


async def _open(
    connection: Connection,
    context: Context,
    who: Principal,
    community_id: str,
    body: OrderIn,
    order_id: OrderId,
    asked: str,
) -> None:
    now = context.clock.now()
    place = await _place(connection, who, community_id, body)
    draft = Draft(
        id=order_id,
        community_id=CommunityId(community_id),
        source=Source(body.source),
        severity=body.severity,
        title=Label(body.title, body.title_en or body.title),
        team=body.team or Team.DESK,
        correlation=f"{body.device_id or who.id}@{int(now.timestamp() * 1000)}",
        category=body.category,
        **place,
    )
    _, outgoing = await insert_order(
        connection, draft, now, actor=actor_of(who), dispatch=body.dispatch, note=body.note, asked=asked
    )
    await outbox.append(connection, outgoing)
    log.info("order_opened", correlation=draft.correlation, order=str(order_id), source=body.source, by=who.id)


async def _place(connection: Connection, who: Principal, community_id: str, body: OrderIn) -> dict[str, Any]:
    """Where it is: as said, and what a device, building or point on the plan tells beyond that. Raises ApiError 422."""
    place, x, y, building_id = body.place, body.x, body.y, body.building_id
    grid_id = device_no = None
    kind = body.category or "other"
    if body.device_id is not None:
        device = await work.place_of_device(connection, community_id, body.device_id)
        if device is None:
            raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "本社区没有该设备 · no such device in this community")
        device_no, kind, grid_id = DeviceNo(device["device_no"]), device["kind"], device["grid_id"]
        place, building_id = place or device["place"], building_id or device["building_id"]
        x, y = (device["x"], device["y"]) if x is None else (x, y)
    if building_id is not None:
        building = await work.place_of_building(connection, community_id, building_id)
        if building is None:
            raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "本社区没有该楼栋 · no such building in this community")
        place, grid_id = place or building["name"], grid_id or building["grid_id"]
    if grid_id is None and x is not None and y is not None:
        grid_id = await work.grid_of_point(connection, community_id, x, y)
    if grid_id is None and who.role is Role.GRID:
        grid_id = who.grid_id
    return {
        "kind": kind,
        "place": place,
        "device_no": device_no,
        "building_id": building_id,
        "grid_id": grid_id,
        "x": x,
        "y": y,
    }
