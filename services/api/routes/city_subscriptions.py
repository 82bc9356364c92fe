"""Subscriptions of city platforms (事件订阅): made and granted by administrators, looked after by their accounts."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

from fastapi import APIRouter, Query, Request, Response

from services.adapters.city.reading import CITY_WIDE, LISTENERS, Q
from services.adapters.city.signing import new_key
from services.api.answers.models import Problem
from services.api.answers.shapes import Row
from services.api.city import shared as city
from services.api.city.models import (
    NewSubscriptionOut,
    SubscriptionEdit,
    SubscriptionIn,
    SubscriptionOut,
    SubscriptionPage,
)
from services.api.common import PREFIX, PROBLEMS, Cursor, Limit, OnceKey, once, time_and_id
from services.api.context import Ctx
from services.api.guard import needs
from services.api.identity.auth import Ticket
from services.api.routes.keys import reach_of
from services.api.store import access
from services.api.store.database import Connection
from services.api.web import cursor
from services.api.web.preconditions import etag, expected_version, stale
from services.api.web.problems import ApiError, not_found
from services.domain.access import Permission, Principal
from services.domain.city import DataClass, Way

router = APIRouter(prefix=f"{PREFIX}/city/subscriptions", tags=["city 城市平台"], responses=PROBLEMS)

Editor = Annotated[Ticket, needs(Permission.CITY_EDIT)]
Listener = Annotated[Ticket, needs(Permission.CITY_EVENTS)]
_EDIT: dict[int | str, dict[str, Any]] = {
    412: {"model": Problem, "description": "他人已先修改 · somebody was faster"},
    428: {"model": Problem, "description": "缺少 If-Match · name the version you have seen"},
}


@router.post("", status_code=201, summary="新建订阅 Let a platform hear of events")
async def subscribe(
    body: SubscriptionIn, response: Response, context: Ctx, ticket: Editor, key: OnceKey = None
) -> NewSubscriptionOut:
    """For a service account within your scope. A webhook gets its first signing key, an MQTT subscriber its first login
    at the broker; their secrets are in this answer and nowhere else."""
    who, shared = ticket.principal, once(key)
    async with context.database.write() as connection:
        if (made := await connection.fetchval(Q["by_key"], who.id, shared)) is not None:
            row = await city.one(connection, ticket, made)
            response.headers.update(etag(row["version"]))
            return NewSubscriptionOut(subscription=city.shape(row))
        account = await _account(connection, who, body.account_id)
        await _check(connection, ticket, body, account)
        id, secret, login = uuid4(), None, None
        new = await connection.fetchval(
            Q["insert"], id, body.account_id, account["community_id"], account["street_id"], body.name, body.way.value,
            body.url, body.format.value, body.types, body.communities, body.severities, body.kinds,
            _classes(body), body.classes_reason, body.mark.value, body.state.value, who.id, shared,
        )  # fmt: skip
        if new is None:  # the same request at the same moment: that one made it
            row = await city.one(connection, ticket, await connection.fetchval(Q["by_key"], who.id, shared))
            response.headers.update(etag(row["version"]))
            return NewSubscriptionOut(subscription=city.shape(row))
        await connection.execute(Q["insert_delivery"], id, body.start)
        if body.way is Way.WEBHOOK:
            signing = new_key("hmac")
            await connection.execute(Q["insert_key"], uuid4(), id, signing.sort, signing.secret, None, who.id)
            secret = signing.secret
        if body.way is Way.MQTT:
            login = await city.new_broker_login(connection, context, id, who)
        row = await city.one(connection, ticket, id)
        told = {"account": body.account_id, "way": body.way.value} | ({"login": login.login.name} if login else {})
        await city.audit(connection, who, row, "city.subscribe", _told(body) | told)
    response.headers.update(etag(row["version"]))
    return NewSubscriptionOut(subscription=city.shape(row), secret=secret, broker=login)


@router.get("", summary="订阅列表 Subscriptions, newest first")
async def subscriptions(
    context: Ctx, ticket: Listener, after: Annotated[Cursor, Query(alias="cursor")] = None, limit: Limit = 100
) -> SubscriptionPage:
    """Of your scope where you may make them, else your own."""
    at, last = time_and_id(after) or (None, None)
    async with context.database.read() as connection:
        rows = await connection.fetch(Q["subscriptions"], None, city.own(ticket), at, last, limit + 1)
    following = rows[limit - 1] if len(rows) > limit else None
    more = cursor.encode(following["created_at"].isoformat(), following["id"]) if following is not None else None
    return SubscriptionPage(items=[city.shape(row) for row in rows[:limit]], next=more)


@router.get("/{subscription_id}", summary="一个订阅 One subscription, and how far it has come")
async def subscription(subscription_id: UUID, response: Response, context: Ctx, ticket: Listener) -> SubscriptionOut:
    async with context.database.read() as connection:
        row = await city.one(connection, ticket, subscription_id)
    response.headers.update(etag(row["version"]))
    return city.shape(row)


@router.put("/{subscription_id}", summary="修改订阅 Change, pause or resume it", responses=_EDIT)
async def change(
    subscription_id: UUID, body: SubscriptionEdit, request: Request, response: Response, context: Ctx, ticket: Editor
) -> SubscriptionOut:
    """With `If-Match`. Put to `active`, it goes on where it stopped, and what waits has its three days anew."""
    who, seen = ticket.principal, expected_version(request)
    async with context.database.write() as connection:
        before = await city.one(connection, ticket, subscription_id)
        if (Way(before["way"]) is Way.WEBHOOK) != (body.url is not None):
            raise ApiError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "Webhook 须填网址，其他方式不填 · a webhook needs an address, nothing else has one",
            )
        account = await _account(connection, who, before["account_id"])
        await _check(connection, ticket, body, account, frozenset(before["classes"]))
        version = await connection.fetchval(
            Q["update"], subscription_id, seen, body.name, body.url, body.format.value, body.types, body.communities,
            body.severities, body.kinds, _classes(body), body.classes_reason, body.mark.value, body.state.value,
        )  # fmt: skip
        if version is None:
            raise stale((await city.one(connection, ticket, subscription_id))["version"], None)
        if body.state.value == "active" and (before["state"] != "active" or body.url != before["url"]):
            await connection.execute(Q["resume"], subscription_id, context.clock.now())
        row = await city.one(connection, ticket, subscription_id)
        await city.audit(connection, who, row, "city.change", _told(body))
    response.headers.update(etag(row["version"]))
    return city.shape(row)


@router.delete(
    "/{subscription_id}", status_code=204, summary="删除订阅 End it, with its keys and its log", responses=_EDIT
)
async def remove(subscription_id: UUID, request: Request, context: Ctx, ticket: Editor) -> Response:
    """With `If-Match`. The audit trail keeps what it was."""
    who, seen = ticket.principal, expected_version(request)
    async with context.database.write() as connection:
        row = await city.one(connection, ticket, subscription_id)
        newest = await connection.fetchval(Q["lock"], subscription_id)
        if newest != seen:
            raise stale(newest, None)
        await connection.execute(Q["delete"], subscription_id)
        await city.audit(connection, who, row, "city.remove", {"name": row["name"], "account": row["account_id"]})
    return Response(status_code=HTTPStatus.NO_CONTENT)


# -- what is checked -----------------------------------------------------------------------------------------------


async def _account(connection: Connection, who: Principal, id: str) -> Row:
    """A service account within the asker's scope. Raises ApiError 404, 422."""
    rows = await access.services(connection, reach_of(who), id=id, after=None, limit=1)
    if not rows:
        raise not_found("account", id)
    row: Row = rows[0]
    if row["role"] not in LISTENERS:
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"该账号的角色不能接收事件 · an account of the role {row['role']} may not hear of events",
        )
    return row


async def _check(
    connection: Connection,
    ticket: Ticket,
    body: SubscriptionEdit,
    account: Row,
    had: frozenset[str] = frozenset(),
) -> None:
    """Raises ApiError 403 for a grant that the asker may not give, 422 for communities the account does not reach."""
    if DataClass.HEALTH in body.classes and DataClass.HEALTH.value not in had and not ticket.may(Permission.HEALTH):
        raise ApiError(
            HTTPStatus.FORBIDDEN, "不能授予自己没有的健康数据权限 · you cannot grant health data that you may not see"
        )
    if body.communities:
        reached = await connection.fetch(
            Q["reached"], body.communities, account["community_id"], account["street_id"], account["role"] in CITY_WIDE
        )
        beyond = sorted(set(body.communities) - {row["id"] for row in reached})
        if beyond:
            raise ApiError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                f"该账号不及这些社区：{', '.join(beyond)} · the account does not reach: {', '.join(beyond)}",
            )


def _classes(body: SubscriptionEdit) -> list[str]:
    return sorted({one.value for one in body.classes})


def _told(body: SubscriptionEdit) -> dict[str, Any]:
    """For the audit: of an address the host alone, since its path may be a secret."""
    return {
        "name": body.name,
        "host": urlsplit(body.url).hostname if body.url else None,
        "types": body.types,
        "communities": body.communities,
        "classes": _classes(body),
        "reason": body.classes_reason,
        "mark": body.mark.value,
        "state": body.state.value,
    }
