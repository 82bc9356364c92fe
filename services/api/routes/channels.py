"""One's own channels, and the gateways by which a community sends messages, calls and mail."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Annotated
from uuid import UUID, uuid5

import structlog
from fastapi import APIRouter

from services.adapters.notices import book
from services.adapters.notices.carrier import GATEWAY_SCHEMES
from services.api.answers.models import Problem
from services.api.answers.shapes import Row
from services.api.common import PREFIX, PROBLEMS, OnceKey, once
from services.api.context import Ctx
from services.api.guard import community_in_scope, needs
from services.api.identity.auth import Ticket
from services.api.orders.notice_models import ChannelIn, ChannelOut, ChannelSettings, CodeIn, GatewayIn, GatewayOut
from services.api.store import system
from services.api.store.database import Connection
from services.api.web.problems import ApiError, not_found
from services.domain.access import Permission, Principal
from services.domain.notices import ChannelSort, may_add, parse_address
from services.domain.notices.audience import NAMESPACE
from services.domain.notices.channels import GATEWAY

log = structlog.get_logger(__name__)
router = APIRouter(prefix=PREFIX, tags=["notices 通知"], responses=PROBLEMS)


def made_id(by: str, key: str | None) -> UUID:
    """The same key of the same person makes the same thing. Raises ApiError 400 without one."""
    return uuid5(NAMESPACE, f"{by}|{once(key)}")


def _out(row: Row) -> ChannelOut:
    return ChannelOut(**{name: row[name] for name in ChannelOut.model_fields})


def _pestered() -> ApiError:
    return ApiError(
        HTTPStatus.TOO_MANY_REQUESTS,
        "验证码发送过多，请一小时后再试 · too many codes were sent; try again in an hour",
        headers={"Retry-After": "3600"},
    )


_MANY: dict[int | str, dict[str, object]] = {429: {"model": Problem, "description": "过多 · too many codes"}}


@router.get("/me/channels", summary="我的通知渠道 One's own channels; addresses are never shown")
async def channels(context: Ctx, ticket: Annotated[Ticket, needs(Permission.SELF)]) -> list[ChannelOut]:
    async with context.database.read() as connection:
        return [_out(row) for row in await book.channels(connection, ticket.principal.id)]


@router.post("/me/channels", summary="添加渠道 Add one; a code is sent to it", responses={**_MANY})
async def add(
    body: ChannelIn, context: Ctx, ticket: Annotated[Ticket, needs(Permission.SELF)], key: OnceKey = None
) -> ChannelOut:
    """Nothing but the code goes there until it was verified. Residents are reached by message, call and mail alone."""
    who = ticket.principal
    channel_id = made_id(who.id, key)
    async with context.database.write() as connection:
        return await _added(connection, body, who, who.id, channel_id, context.clock.now())


async def _added(
    connection: Connection, body: ChannelIn, who: Principal, account_id: str, channel_id: UUID, now: datetime
) -> ChannelOut:
    """Raises ApiError 403, 422, 429."""
    if not may_add(who.role, body.sort):
        raise ApiError(HTTPStatus.FORBIDDEN, "您不能添加此类渠道 · channels of this sort are not for your role to add")
    address = parse_address(body.sort, body.address)
    if not isinstance(address, str):
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{address.zh} · {address.en}")
    quiet = (body.quiet_from, body.quiet_to) if body.quiet_from and body.quiet_to else None
    await book.lock_account(connection, account_id)
    known = {row["id"]: row for row in await book.channels(connection, account_id)}
    if channel_id in known:
        return _out(known[channel_id])
    community_id = await book.home_of(connection, account_id)
    if len(known) >= book.MOST_CHANNELS or community_id is None:
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"最多 {book.MOST_CHANNELS} 个渠道 · at most {book.MOST_CHANNELS} channels, in some community",
        )
    if await book.codes_left(connection, account_id, now) == 0:
        raise _pestered()
    await book.add_channel(
        connection,
        channel_id,
        body.sort,
        address,
        account_id=account_id,
        position=body.position,
        min_severity=body.min_severity.value,
        quiet=quiet,
        language=body.language,
    )
    await book.send_code(connection, community_id, account_id, channel_id, now)
    row = next(row for row in await book.channels(connection, account_id) if row["id"] == channel_id)
    detail = {"sort": body.sort.value, "account": account_id}
    await system.audit(connection, who, community_id, "channel.add", f"channel:{channel_id}", detail)
    log.info("channel_added", channel=str(channel_id), sort=body.sort.value, by=who.id, account=account_id)
    return _out(row)


@router.put("/me/channels/{channel_id}", summary="修改渠道 Its order, quiet hours and language")
async def change(
    channel_id: UUID, body: ChannelSettings, context: Ctx, ticket: Annotated[Ticket, needs(Permission.SELF)]
) -> ChannelOut:
    who = ticket.principal
    values = (body.position, body.min_severity.value, body.quiet_from, body.quiet_to, body.language)
    async with context.database.write() as connection:
        if not await book.set_channel(connection, channel_id, who.id, *values):
            raise not_found("channel", channel_id)
        rows = await book.channels(connection, who.id)
    return next(_out(row) for row in rows if row["id"] == channel_id)


@router.delete("/me/channels/{channel_id}", status_code=204, summary="删除渠道 Remove it")
async def remove(channel_id: UUID, context: Ctx, ticket: Annotated[Ticket, needs(Permission.SELF)]) -> None:
    who = ticket.principal
    async with context.database.write() as connection:
        community_id = await book.home_of(connection, who.id)
        if not await book.delete_channel(connection, channel_id, who.id):
            raise not_found("channel", channel_id)
        await system.audit(connection, who, community_id or "", "channel.remove", f"channel:{channel_id}", {})


@router.post(
    "/me/channels/{channel_id}/code", status_code=204, summary="重发验证码 Send the code again", responses={**_MANY}
)
async def code(channel_id: UUID, context: Ctx, ticket: Annotated[Ticket, needs(Permission.SELF)]) -> None:
    who, now = ticket.principal, context.clock.now()
    async with context.database.write() as connection:
        await book.lock_account(connection, who.id)
        if await book.codes_left(connection, who.id, now) == 0:
            raise _pestered()
        community_id = await book.home_of(connection, who.id)
        if community_id is None or not await book.send_code(connection, community_id, who.id, channel_id, now):
            raise not_found("channel", channel_id)


@router.post("/me/channels/{channel_id}/verify", summary="验证渠道 Prove that it is one's own")
async def verify(
    channel_id: UUID, body: CodeIn, context: Ctx, ticket: Annotated[Ticket, needs(Permission.SELF)]
) -> ChannelOut:
    """A code is good for 15 minutes and five tries."""
    who = ticket.principal
    async with context.database.write() as connection:
        right = await book.verify(connection, who.id, channel_id, body.code, context.clock.now())
        rows = await book.channels(connection, who.id)
    row = next((row for row in rows if row["id"] == channel_id), None)
    if row is None:
        raise not_found("channel", channel_id)
    if not right and row["verified_at"] is None:
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "验证码不对或已过期 · that code is wrong or too old")
    return _out(row)


async def _colleague(connection: Connection, who: Principal, community_id: str, user_id: str) -> None:
    """Raises ApiError 404 where nobody of this id works in the community."""
    await community_in_scope(connection, who, community_id)
    if await book.staff_of(connection, community_id, user_id) is None:
        raise not_found("account", user_id)


_STAFF = "/communities/{community_id}/staff/{user_id}/channels"


@router.get(_STAFF, summary="同事的通知渠道 A colleague's channels; addresses are never shown")
async def channels_of(
    community_id: str, user_id: str, context: Ctx, ticket: Annotated[Ticket, needs(Permission.NOTICES)]
) -> list[ChannelOut]:
    async with context.database.read() as connection:
        await _colleague(connection, ticket.principal, community_id, user_id)
        return [_out(row) for row in await book.channels(connection, user_id)]


@router.post(_STAFF, summary="为同事添加渠道 Add one for a colleague, who verifies it", responses={**_MANY})
async def add_for(
    community_id: str,
    user_id: str,
    body: ChannelIn,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.NOTICES)],
    key: OnceKey = None,
) -> ChannelOut:
    """The code goes to the address, and whoever it belongs to enters it: nobody is signed up for what is not theirs."""
    who = ticket.principal
    async with context.database.write() as connection:
        await _colleague(connection, who, community_id, user_id)
        channel_id = made_id(f"{who.id}|{community_id}|{user_id}", key)
        return await _added(connection, body, who, user_id, channel_id, context.clock.now())


@router.delete(_STAFF + "/{channel_id}", status_code=204, summary="删除同事的渠道 Remove a colleague's")
async def remove_of(
    community_id: str,
    user_id: str,
    channel_id: UUID,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.NOTICES)],
) -> None:
    who = ticket.principal
    async with context.database.write() as connection:
        await _colleague(connection, who, community_id, user_id)
        if not await book.delete_channel(connection, channel_id, user_id):
            raise not_found("channel", channel_id)
        await system.audit(
            connection, who, community_id, "channel.remove", f"channel:{channel_id}", {"account": user_id}
        )


def _gateway(row: Row) -> GatewayOut:
    scheme = row["template"].partition("://")[0]
    return GatewayOut(
        sort=row["sort"], shown=f"{scheme}://***", changed_at=row["changed_at"], changed_by=row["changed_by"]
    )


def _sort(text: ChannelSort) -> ChannelSort:
    if text not in GATEWAY:
        raise not_found("gateway", text.value)
    return text


@router.get("/communities/{community_id}/gateways", summary="通知网关 Gateways for messages, calls and mail")
async def gateways(
    community_id: str, context: Ctx, ticket: Annotated[Ticket, needs(Permission.GATEWAYS)]
) -> list[GatewayOut]:
    async with context.database.read() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        return [_gateway(row) for row in await book.gateways(connection, community_id)]


@router.put("/communities/{community_id}/gateways/{sort}", summary="设定网关 Set one")
async def set_gateway(
    community_id: str,
    sort: ChannelSort,
    body: GatewayIn,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.GATEWAYS)],
) -> GatewayOut:
    """An apprise URL with `{to}` where the number or the mail address goes."""
    who = ticket.principal
    scheme = body.template.partition("://")[0].lower()
    if "{to}" not in body.template or scheme not in GATEWAY_SCHEMES or any(ord(one) < 32 for one in body.template):
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"应为含 {{to}} 的地址，支持 · a URL with {{to}} in it, of one of: {', '.join(sorted(GATEWAY_SCHEMES))}",
        )
    async with context.database.write() as connection:
        await community_in_scope(connection, who, community_id)
        await book.set_gateway(connection, community_id, _sort(sort), body.template, who.id)
        rows = await book.gateways(connection, community_id)
        await system.audit(connection, who, community_id, "gateway.set", f"gateway:{sort.value}", {"scheme": scheme})
    return next(_gateway(row) for row in rows if row["sort"] == sort.value)


@router.delete("/communities/{community_id}/gateways/{sort}", status_code=204, summary="删除网关 Remove one")
async def remove_gateway(
    community_id: str, sort: ChannelSort, context: Ctx, ticket: Annotated[Ticket, needs(Permission.GATEWAYS)]
) -> None:
    who = ticket.principal
    async with context.database.write() as connection:
        await community_in_scope(connection, who, community_id)
        if not await book.delete_gateway(connection, community_id, _sort(sort)):
            raise not_found("gateway", sort.value)
        await system.audit(connection, who, community_id, "gateway.remove", f"gateway:{sort.value}", {})
