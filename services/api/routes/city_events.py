"""City events by pull and by stream, and their published schemas."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Header, Query, Request
from pydantic_core import to_json
from starlette.responses import Response

from services.api.answers.models import Problem
from services.api.city import shared as city
from services.api.city.models import EventPage, LostOut, SchemaLine, SchemaList
from services.api.common import PREFIX, PROBLEMS, tagged
from services.api.context import Ctx
from services.api.guard import needs, open_to_all
from services.api.identity.auth import Ticket
from services.api.live.frames import frame
from services.api.live.tail import Chunk, TailStream
from services.api.web.problems import ApiError, not_found
from services.domain.access import Permission
from services.domain.city import BY_NAME, CATALOGUE, TEST, Way
from services.domain.city.asyncapi import asyncapi
from services.domain.city.schemas import schema_of

router = APIRouter(prefix=f"{PREFIX}/city", tags=["city 城市平台"], responses=PROBLEMS)

Listener = Annotated[Ticket, needs(Permission.CITY_EVENTS)]
Place = Annotated[int | None, Query(ge=0, le=2**62, alias="cursor", description="`next` of the page before")]
Which = Annotated[UUID | None, Query(alias="subscription", description="not needed where the account has one")]
STREAMS = 8
"""Open at once, of one account."""
_STREAM_PAGE = 200
_MAX_AGE_S = 300


@router.get(
    "/events",
    response_model=EventPage,
    summary="拉取事件 Events after a cursor",
    responses={
        409: {"model": Problem, "description": "未指明订阅，或订阅已停 · name a subscription, or it is stopped"},
        410: {"model": Problem, "description": "游标超前 · the cursor is ahead of this system"},
    },
)
async def events(
    context: Ctx,
    ticket: Listener,
    cursor: Place = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 100,
    subscription: Which = None,
) -> Response:
    """Oldest first, at least once: ask again with `next`, also where a page is empty. Without a cursor it begins where
    the subscription began, or behind what was delivered by its own way: whoever misses some of that asks with the
    `sequence` of an event before it. What was let go of before it was asked for is named in `lost`. Of a subscription
    by MQTT the cursor says what its receiver has."""
    async with context.database.read() as connection:
        row = await city.chosen(connection, ticket, subscription)
    found = await city.events(context, row["id"], row["seq"] if cursor is None else cursor, limit)
    await city.confirm(context, row, cursor)
    lost = found.page.lost
    page = EventPage(
        items=[event.document() for event in found.items],
        next=found.page.cursor,
        more=found.page.more,
        lost=LostOut(first=lost[0], last=lost[1]) if lost is not None else None,
    )
    return Response(to_json(page), media_type="application/json", headers={"Cache-Control": "no-store"})


@router.get(
    "/events/stream",
    summary="事件流 The same as server-sent events",
    response_class=Response,
    responses={
        200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}, "description": "open until cut"},
        409: {"model": Problem, "description": "未指明订阅，或订阅已停 · name a subscription, or it is stopped"},
        410: {"model": Problem, "description": "游标超前 · the cursor is ahead of this system"},
        429: {"model": Problem, "description": "连接过多 · too many streams of this account"},
    },
)
async def stream(
    context: Ctx,
    ticket: Listener,
    cursor: Place = None,
    subscription: Which = None,
    last: Annotated[str | None, Header(alias="Last-Event-ID", max_length=32)] = None,
) -> Response:
    """`event` is the type, `data` the CloudEvent, `id` the cursor to come again with. `hb` every few seconds carries
    the cursor too, `lost` what was let go of. It ends where the subscription is stopped: come again to be told why."""
    async with context.database.read() as connection:
        row = await city.chosen(connection, ticket, subscription)
    resumed = int(last) if last is not None and last.isascii() and last.isdigit() and len(last) < 19 else cursor
    begin = row["seq"] if resumed is None else resumed
    id: UUID = row["id"]
    await city.events(context, id, begin, 1)  # what is wrong is answered before the stream opens
    tail = context.hub.follow(ticket, STREAMS)
    if tail is None:
        raise ApiError(
            HTTPStatus.TOO_MANY_REQUESTS,
            f"该账号已有 {STREAMS} 条事件流，请先关闭其一 · the account has {STREAMS} streams open; close one first",
            headers={"Retry-After": "30"},
        )

    async def read(after: int) -> Chunk:
        found = await city.events(context, id, after, _STREAM_PAGE)
        frames = []
        if found.page.lost is not None:
            first, end = found.page.lost
            frames.append(frame("lost", {"first": first, "last": end}, end))
        frames += [frame(event.kind.name, event.document(), event.seq) for event in found.items]
        return Chunk(b"".join(frames), found.page.cursor, found.page.more)

    def beat(at: int) -> bytes | None:
        return frame("hb", {"cursor": at}, at) if context.hub.current else None

    settings = context.settings
    return TailStream(tail, begin, read, beat, settings.heartbeat_s, settings.stream_stalled_s, context.hub.unfollow)


@router.get("/schemas", summary="事件目录 Every published type, with its schema", dependencies=[open_to_all()])
async def schemas() -> SchemaList:
    return SchemaList(
        items=[
            SchemaLine(
                type=one.name,
                version=one.version,
                zh=one.label.zh,
                en=one.label.en,
                schema_id=one.schema_id,
                url=f"{PREFIX}/city/schemas/{one.name}",
                requires=sorted(one.requires),
            )
            for one in (*CATALOGUE, TEST)
        ],
        ways=list(Way),
    )


@router.get(
    "/schemas/{type_name}",
    summary="数据格式 JSON Schema of one type's data",
    response_class=Response,
    responses={200: {"content": {"application/schema+json": {}}, "description": "JSON Schema 2020-12"}},
    dependencies=[open_to_all()],
)
async def schema(type_name: str, request: Request) -> Response:
    """A type's schema never changes in a way that would refuse what was sent before: that is a new version."""
    kind = BY_NAME.get(type_name)
    if kind is None:
        raise not_found("event type", type_name)
    answer = tagged(request, to_json(schema_of(kind)), public_s=_MAX_AGE_S)
    if answer.status_code == HTTPStatus.OK:
        answer.headers["Content-Type"] = "application/schema+json"
    return answer


@router.get(
    "/asyncapi.json",
    summary="AsyncAPI 文档 What is sent, by which way, in which shape",
    response_class=Response,
    responses={200: {"content": {"application/json": {}}, "description": "AsyncAPI 3.0"}},
    dependencies=[open_to_all()],
)
async def document(request: Request, context: Ctx) -> Response:
    return tagged(request, to_json(asyncapi(city.base_of(context), PREFIX, city.address(context))), public_s=_MAX_AGE_S)
