"""Subscriptions of NGSI-LD (ETSI GS CIM 009, 5.8): notifications of entities, as the account may see them."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Annotated, Any
from urllib.parse import quote, urlsplit
from uuid import uuid4

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from services.adapters.city.ngsi.subscriptions import Q, touched_by
from services.api.answers.models import Problem
from services.api.city import ngsi
from services.api.city import ngsi_subscriptions as shared
from services.api.city.ngsi import JSON, LD_JSON, PREFIX, NgsiError, answered
from services.api.city.shared import own
from services.api.common import PROBLEMS
from services.api.context import Ctx
from services.api.guard import needs
from services.api.identity.auth import Ticket
from services.api.store import system
from services.api.store.database import Connection
from services.domain.access import Permission
from services.domain.city.ngsi import asking, subscribing
from services.domain.city.ngsi.asking import AskedWrongly, Fault
from services.domain.city.ngsi.entity import text_of
from services.domain.city.ngsi.subscribing import Subscription

router = APIRouter(prefix=f"{PREFIX}/subscriptions", tags=["ngsi-ld"], responses=PROBLEMS)

Listener = Annotated[Ticket, needs(Permission.CITY_EVENTS)]
Text = Annotated[str | None, Query()]
LOGGED = 100
_OBJECT = {"schema": {"type": "object", "additionalProperties": True}}
_BODY: dict[str, Any] = {"requestBody": {"required": True, "content": {JSON: _OBJECT, LD_JSON: _OBJECT}}}
_WRONG: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "参数有误 · InvalidRequest, BadRequestData"},
    422: {"model": Problem, "description": "不支持 · OperationNotSupported"},
    501: {"model": Problem, "description": "请勿发送 NGSILD-Tenant · NoMultiTenantSupport"},
}
_SENT = _WRONG | {415: {"model": Problem, "description": "媒体类型 · Content-Type"}}
_ANSWERS = _WRONG | {
    200: {"content": dict.fromkeys((JSON, LD_JSON), _OBJECT), "description": "订阅 · the subscription"},
    406: {"model": Problem, "description": "可用 application/json 或 application/ld+json"},
}
_LISTS = _ANSWERS | {
    200: {
        "content": {key: {"schema": {"type": "array", "items": _OBJECT["schema"]}} for key in (JSON, LD_JSON)},
        "description": "订阅 · subscriptions",
    },
}


@router.post(
    "",
    status_code=201,
    summary="新建订阅 Be notified of entities",
    response_class=Response,
    openapi_extra=_BODY,
    responses=_SENT
    | {
        403: {"model": Problem, "description": f"每账号至多 {shared.MOST} 个 · an account has so many"},
        409: {"model": Problem, "description": "id 已存在 · AlreadyExists"},
    },
)
async def subscribe(request: Request, context: Ctx, ticket: Listener) -> Response:
    """Sent anew without an answer, give it an `id` of your own: made once, the second time is 409. The present state of
    what is asked for is notified first."""
    ngsi.checked(request)
    document = await shared.document_of(request)
    who, now, id = ticket.principal, context.clock.now(), uuid4()
    try:
        name = subscribing.read_id(document) or f"urn:ngsi-ld:Subscription:{id}"
        asked = subscribing.read(document)
        subscribing.check_future(asked, now)
        kept = subscribing.kept({**document, "id": name}, ngsi.context_url(context, request))
    except AskedWrongly as error:
        raise ngsi.wrongly(error) from None
    shared.check_address(asked)
    by = await shared.made_by(context, ticket)
    async with context.database.write() as connection:
        await connection.execute(Q["hold_account"], who.id)
        if await connection.fetchval(Q["count"], who.id) >= shared.MOST:
            raise NgsiError(
                Fault.TOO_MANY,
                f"每账号至多 {shared.MOST} 个订阅，请先删除不用的",
                f"an account has {shared.MOST} subscriptions at most: delete one that is not needed",
            )
        made = await connection.fetchval(
            Q["insert"], id, who.id, who.community_id, who.street_id, name, by.key_id, by.limits, touched_by(asked),
            json.dumps(kept), json.dumps(dict(asked.headers)), sorted(dict(asked.headers)), asked.active,
            asked.expires_at, now,
        )  # fmt: skip
        if made is None:
            raise NgsiError(Fault.ALREADY_EXISTS, f"订阅已存在：{name}", f"there is a subscription {name} already")
        await connection.execute(Q["insert_progress"], id, now)
        await _audit(connection, ticket, who.community_id, "ngsi.subscribe", name, _told(asked))
    location = f"{PREFIX}/subscriptions/{quote(name, safe=':@!$&()*+,;=~')}"
    return Response(status_code=HTTPStatus.CREATED, headers={"Location": location})


@router.get("", summary="订阅列表 Subscriptions, oldest first", response_class=Response, responses=_LISTS)
async def subscriptions(
    request: Request,
    context: Ctx,
    ticket: Listener,
    limit: Annotated[Text, Query(description="0–1000；20")] = None,
    offset: Text = None,
    count: Annotated[Text, Query(description="true：NGSILD-Results-Count")] = None,
    local: Text = None,
) -> Response:
    """Your own; for administrators, those of their scope."""
    media_type = ngsi.checked(request)
    given = dict(request.query_params)
    try:
        asking.checked(given, ("limit", "offset", "count", "local"))
        asked = asking.read({**given, "type": "Device"})  # paged as entities are
    except AskedWrongly as error:
        raise ngsi.wrongly(error) from None
    async with context.database.read() as connection:
        rows = await connection.fetch(Q["subscriptions"], own(ticket), None, asked.limit + 1, asked.offset)
        total = rows[0]["total"] if rows else 0
        if not rows and asked.offset:
            first = await connection.fetch(Q["subscriptions"], own(ticket), None, 1, 0)
            total = first[0]["total"] if first else 0
    url, now = ngsi.context_url(context, request), context.clock.now()
    inline = url if media_type == LD_JSON else None
    body = [shared.shape(row, now, inline) for row in rows[: asked.limit]]
    headers = {"NGSILD-Results-Count": str(total)} if asked.count else {}
    more = ngsi.page_links(request, asked, len(rows) > asked.limit)
    return answered(body, media_type, url, more=more, headers=headers)


@router.get("/{ngsi_subscription_id}", summary="一个订阅 One subscription", response_class=Response, responses=_ANSWERS)
async def subscription(
    ngsi_subscription_id: str, request: Request, context: Ctx, ticket: Listener, local: Text = None
) -> Response:
    """With its state and counters. Values of `receiverInfo` are not shown."""
    media_type = ngsi.checked(request)
    _known(request)
    async with context.database.read() as connection:
        row = await shared.one(connection, ticket, ngsi_subscription_id)
    url = ngsi.context_url(context, request)
    body = shared.shape(row, context.clock.now(), url if media_type == LD_JSON else None)
    return answered(body, media_type, url)


@router.get("/{ngsi_subscription_id}/attempts", summary="通知日志 What came of each notification, newest first")
async def attempts(ngsi_subscription_id: str, request: Request, context: Ctx, ticket: Listener) -> list[dict[str, Any]]:
    """Beyond the standard: the newest hundred, without payloads."""
    ngsi.checked(request)
    async with context.database.read() as connection:
        row = await shared.one(connection, ticket, ngsi_subscription_id)
        rows = await connection.fetch(Q["attempts"], row["id"], LOGGED)
    return [dict(row) | {"at": text_of(row["at"])} for row in rows]


@router.patch(
    "/{ngsi_subscription_id}",
    status_code=204,
    summary="修改订阅 Change, pause or resume it",
    response_class=Response,
    openapi_extra=_BODY,
    responses=_SENT,
)
async def change(ngsi_subscription_id: str, request: Request, context: Ctx, ticket: Listener) -> Response:
    """Each member that is named replaces the whole of its like; `urn:ngsi-ld:null` takes it away. What is asked for is
    then told anew, as after creation. From now on it goes by the key that changed it."""
    ngsi.checked(request)
    _known(request)
    fragment = await shared.document_of(request)
    now = context.clock.now()
    by = await shared.made_by(context, ticket)
    async with context.database.write() as connection:
        row = await shared.one(connection, ticket, ngsi_subscription_id, mine=True)
        before = await connection.fetchval(Q["lock"], row["id"])
        if before is None:  # ended meanwhile
            raise ngsi.not_there(ngsi_subscription_id)
        try:
            document = subscribing.merged(before if isinstance(before, dict) else json.loads(before), fragment)
            asked = subscribing.read(document)
            subscribing.check_future(asked, now)
            kept = subscribing.kept(document, ngsi.context_url(context, request))
        except AskedWrongly as error:
            raise ngsi.wrongly(error) from None
        shared.check_address(asked)
        await connection.execute(
            Q["update"], row["id"], by.key_id, by.limits, touched_by(asked), json.dumps(kept), asked.active,
            asked.expires_at, now,
        )  # fmt: skip
        if "notification" in fragment:
            headers = dict(asked.headers)
            await connection.execute(Q["update_headers"], row["id"], json.dumps(headers), sorted(headers))
        await connection.execute(Q["begin_anew"], row["id"], now)
        await connection.execute(Q["forget_known"], row["id"])
        await _audit(connection, ticket, row["community_id"], "ngsi.change", row["name"], _told(asked))
    return Response(status_code=HTTPStatus.NO_CONTENT)


@router.delete(
    "/{ngsi_subscription_id}",
    status_code=204,
    summary="删除订阅 End it, with its log",
    response_class=Response,
    responses=_WRONG,
)
async def remove(ngsi_subscription_id: str, request: Request, context: Ctx, ticket: Listener) -> Response:
    """Nothing more is sent but what is under way."""
    ngsi.checked(request)
    _known(request)
    async with context.database.write() as connection:
        row = await shared.one(connection, ticket, ngsi_subscription_id)
        await connection.execute(Q["delete"], row["id"])
        detail = {"account": row["account_id"]}
        await _audit(connection, ticket, row["community_id"], "ngsi.remove", row["name"], detail)
    return Response(status_code=HTTPStatus.NO_CONTENT)


def _known(request: Request) -> None:
    try:
        asking.checked(dict(request.query_params), ("local",))
    except AskedWrongly as error:
        raise ngsi.wrongly(error) from None


def _told(asked: Subscription) -> dict[str, Any]:
    """For the audit: of the address the host alone, since its path may be a secret."""
    return {
        "host": urlsplit(asked.uri).hostname,
        "types": [kind.name for kind in asked.kinds],
        "active": asked.active,
    }


async def _audit(
    connection: Connection, ticket: Ticket, community_id: str | None, action: str, name: str, detail: dict[str, Any]
) -> None:
    await system.audit(connection, ticket.principal, community_id, action, name, detail)
