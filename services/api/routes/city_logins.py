"""Logins of city platforms at the broker: made, rotated and ended by administrators."""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path

from services.adapters.city.reading import Q
from services.api.answers.models import Problem
from services.api.answers.shapes import Row
from services.api.city import shared as city
from services.api.city.models import BrokerLoginIn, BrokerLoginOut, BrokerLogins, NewBrokerLoginOut
from services.api.common import PREFIX, PROBLEMS
from services.api.context import Context, Ctx
from services.api.guard import needs
from services.api.identity.auth import Ticket
from services.api.store.database import Connection
from services.api.web.problems import ApiError, not_found
from services.domain.access import Permission
from services.domain.city import Way

router = APIRouter(prefix=f"{PREFIX}/city/subscriptions", tags=["city 城市平台"], responses=PROBLEMS)

Editor = Annotated[Ticket, needs(Permission.CITY_EDIT)]
Listener = Annotated[Ticket, needs(Permission.CITY_EVENTS)]
Name = Annotated[str, Path(max_length=64, description="as it was answered: city.…")]
MOST = 5
"""Logins of a subscription in force at once."""
_NOT_NOW: dict[int | str, dict[str, Any]] = {409: {"model": Problem, "description": "现在不行 · not now"}}


@router.get("/{subscription_id}/logins", summary="消息代理账号 Its logins at the broker, newest first; never a secret")
async def logins(subscription_id: UUID, context: Ctx, ticket: Listener) -> BrokerLogins:
    async with context.database.read() as connection:
        await city.one(connection, ticket, subscription_id)
        return await _listed(connection, context, subscription_id)


@router.post(
    "/{subscription_id}/logins", status_code=201, responses=_NOT_NOW,
    summary="新建或轮换消息代理账号 A login beside or after the others",
)  # fmt: skip
async def make_login(subscription_id: UUID, body: BrokerLoginIn, context: Ctx, ticket: Editor) -> NewBrokerLoginOut:
    """Each is a client of its own at the broker and hears everything while it is in force: drop by `id` what you have
    had. If the answer is lost, make another."""
    who, now = ticket.principal, context.clock.now()
    async with context.database.write() as connection:
        row = await city.one(connection, ticket, subscription_id)
        _by_mqtt(row)
        await connection.fetchval(Q["lock"], subscription_id)
        before = await connection.fetch(Q["logins"], subscription_id)
        if body.overlap_s is None and sum(one["ends_at"] is None or one["ends_at"] > now for one in before) >= MOST:
            raise ApiError(
                HTTPStatus.CONFLICT,
                f"已有 {MOST} 个账号，请先停用其一 · there are {MOST} logins in force; end one first",
            )
        made = await city.new_broker_login(connection, context, subscription_id, who)
        if body.overlap_s is not None:
            ends = now + timedelta(seconds=body.overlap_s)
            await connection.execute(Q["end_other_logins"], subscription_id, made.login.name, ends)
        detail = {"login": made.login.name, "overlap_s": body.overlap_s}
        await city.audit(connection, who, row, "city.login", detail)
    return made


@router.post("/{subscription_id}/logins/{login_name}/end", summary="停用消息代理账号 End it; its connection is cut")
async def end_login(subscription_id: UUID, login_name: Name, context: Ctx, ticket: Editor) -> BrokerLogins:
    """Within seconds, with what waits for it at the broker; the events stay here. Again changes nothing."""
    who = ticket.principal
    async with context.database.write() as connection:
        row = await city.one(connection, ticket, subscription_id)
        before = await connection.fetch(Q["logins"], subscription_id)
        if not any(one["name"] == login_name for one in before):
            raise not_found("login", login_name)
        ended = await connection.execute(Q["end_login"], subscription_id, login_name, context.clock.now())
        answer = await _listed(connection, context, subscription_id)
        if ended == "UPDATE 1":
            await city.audit(connection, who, row, "city.login_end", {"login": login_name})
    return answer


async def _listed(connection: Connection, context: Context, subscription_id: UUID) -> BrokerLogins:
    rows = await connection.fetch(Q["logins"], subscription_id)
    items = [BrokerLoginOut(**dict(one)) for one in rows]
    return BrokerLogins(items=items, topics=city.topics(subscription_id), address=city.address(context))


def _by_mqtt(row: Row) -> None:
    if Way(row["way"]) is not Way.MQTT:
        raise ApiError(
            HTTPStatus.CONFLICT,
            "该订阅不经 MQTT 投递 · this subscription is not delivered by MQTT: make one with the way `mqtt`",
        )
