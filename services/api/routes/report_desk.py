"""Reports at the desk: what came in, filed, refused or joined; orders urged; reporters called back."""

from __future__ import annotations

from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, Literal
from uuid import UUID

import structlog
from fastapi import APIRouter, Query

from services.adapters.orders import OrderRow, fetch_order
from services.adapters.reports import ReportNotFound, desk, fetch_report, opening, rows, saying
from services.api.answers import shapes
from services.api.answers.models import LabelOut, OrderOut, Problem
from services.api.answers.moves import actor_of
from services.api.common import PREFIX, PROBLEMS, Cursor, Limit, OnceKey, once, time_and_id
from services.api.context import Ctx
from services.api.guard import community_in_scope, in_scope, needs
from services.api.identity.auth import Ticket
from services.api.reports.models import (
    AwaitingOut,
    AwaitingPage,
    CallBackIn,
    DeskReportOut,
    DeskReportPage,
    FileIn,
    JoinIn,
    NearbyOut,
    NearOut,
    RefuseIn,
    UrgeIn,
)
from services.api.reports.shared import (
    Row,
    category_named,
    desk_report,
    handles,
    is_desk,
    refusals,
    seen,
    seen_order,
)
from services.api.store import work
from services.api.store.database import Connection
from services.api.web import cursor
from services.api.web.problems import ApiError
from services.domain.access import Permission, Principal, reader_class
from services.domain.reports import Spot, same
from services.domain.reports.duplicates import apart_m

log = structlog.get_logger(__name__)
router = APIRouter(prefix=PREFIX, tags=["reports 居民上报"], responses=PROBLEMS)

Desk = Annotated[Ticket, needs(Permission.REPORT_DESK)]
Worker = Annotated[Ticket, needs(Permission.ORDER_MOVES)]
CHANGES: dict[int | str, dict[str, object]] = {
    400: {"model": Problem, "description": "缺少 Idempotency-Key · the header is missing"},
    409: {"model": Problem, "description": "他人已先处理，或现在不能 · somebody was faster, or not now"},
}
_NEAR_DAYS = timedelta(days=7)
_NEAR_M = 200.0
_NEAREST = 20


@router.get("/communities/{community_id}/reports", summary="上报列表 Reports, newest first")
async def reports(
    community_id: str,
    context: Ctx,
    ticket: Worker,
    which: Annotated[Literal["open", "unfiled", "unsatisfied", "all"], Query()] = "open",
    category: Annotated[str | None, Query(max_length=64)] = None,
    building_id: Annotated[str | None, Query(max_length=64)] = None,
    after: Annotated[Cursor, Query(alias="cursor")] = None,
    limit: Limit = 50,
) -> DeskReportPage:
    """`unfiled`: those that wait for 立案. Telephone numbers in full for the desk alone; see an order's own reports."""
    key = time_and_id(after)
    async with context.database.consistent() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        found = await rows.reports_in(
            connection,
            community_id,
            which=which,
            category=category,
            building_id=building_id,
            after=key,
            limit=limit + 1,
        )
        page = found[:limit]
        notes, photos = await _notes(connection, page), await _photos(connection, page)
    may_call = is_desk(ticket.principal)
    more = cursor.encode(page[-1]["created_at"].isoformat(), page[-1]["id"]) if len(found) > limit else None
    items = [
        desk_report(row, seen(row), notes.get(row["id"], []), photos.get(row["id"], []), may_call=may_call)
        for row in page
    ]
    return DeskReportPage(items=items, next=more)


async def _notes(connection: Connection, found: list[Row]) -> dict[UUID, list[str]]:
    notes: dict[UUID, list[str]] = {}
    for note in await rows.notes_of(connection, [row["id"] for row in found]):
        notes.setdefault(note["report_id"], []).append(note["text"])
    return notes


async def _photos(connection: Connection, found: list[Row]) -> dict[UUID, list[UUID]]:
    """Ids for `/evidence/{id}`."""
    photos: dict[UUID, list[UUID]] = {}
    for one in await rows.photos_for(connection, [row["id"] for row in found], None):
        photos.setdefault(one["report_id"], []).append(one["id"])
    return photos


@router.get("/orders/{order_id}/reports", summary="工单的上报 What residents said about an order")
async def reports_of_order(order_id: UUID, context: Ctx, ticket: Worker) -> DeskReportPage:
    """Telephone numbers in full for whoever handles the order."""
    who = ticket.principal
    async with context.database.consistent() as connection:
        found = await work.orders_by_ids(connection, [order_id])
        await in_scope(connection, who, found[0] if found else None, "order", order_id)
        order = await fetch_order(connection, order_id)
        listed = await rows.reports_of_order(connection, order_id)
        notes, photos = await _notes(connection, listed), await _photos(connection, listed)
    may_call = handles(order, actor_of(who), context.clock.now())
    items = [
        desk_report(row, seen_order(order), notes.get(row["id"], []), photos.get(row["id"], []), may_call=may_call)
        for row in listed
    ]
    return DeskReportPage(items=items, next=None)


@router.get("/reports/{report_id}/nearby", summary="疑似重复 Orders that may be about the same")
async def nearby(report_id: UUID, context: Ctx, ticket: Worker) -> NearbyOut:
    async with context.database.consistent() as connection:
        row, order = await _scoped(connection, ticket.principal, report_id)
        category = category_named(row["category"])
        known = await opening.near(connection, row["community_id"], category, row["created_at"] - _NEAR_DAYS)
        spot = Spot(
            row["created_at"], row["building_id"], row["unit_id"], row["household_id"], row["x"], row["y"]
        )  # fmt: skip
        items: dict[UUID, NearOut] = {}
        for one, state, severity in known:
            apart = apart_m(spot, one.spot)
            if one.order_id in items or one.order_id == order.id or state not in opening.AHEAD:
                continue
            alike = same(category, spot, one.spot)
            if not alike and (apart is None or apart > _NEAR_M):
                continue
            other = await fetch_order(connection, one.order_id)
            items[one.order_id] = NearOut(
                order_id=other.id,
                number=other.number,
                title=LabelOut(zh=other.title.zh, en=other.title.en),
                place=other.place,
                state=state,
                severity=severity,
                reported_at=one.spot.at,
                apart_m=round(apart, 1) if apart is not None else None,
                same=alike,
            )
    nearest = sorted(items.values(), key=lambda one: (not one.same, one.apart_m if one.apart_m is not None else 1e9))
    return NearbyOut(items=nearest[:_NEAREST])


async def _scoped(connection: Connection, who: Principal, report_id: UUID) -> tuple[Row, OrderRow]:
    try:
        found: Row | None = await fetch_report(connection, report_id)
    except ReportNotFound:
        found = None
    row = await in_scope(connection, who, found, "report", report_id)
    return row, await fetch_order(connection, row["worked_on_id"])


async def _after(connection: Connection, who: Principal, report_id: UUID) -> DeskReportOut:
    row, order = await _scoped(connection, who, report_id)
    notes, photos = await _notes(connection, [row]), await _photos(connection, [row])
    return desk_report(
        row, seen_order(order), notes.get(report_id, []), photos.get(report_id, []), may_call=True
    )  # fmt: skip


@router.post("/reports/{report_id}/file", summary="立案 File it: it is dispatched", responses=CHANGES)
async def file(report_id: UUID, body: FileIn, context: Ctx, ticket: Desk, key: OnceKey = None) -> DeskReportOut:
    who, key = ticket.principal, once(key)
    with refusals("report", report_id):
        async with context.database.write() as connection:
            await _scoped(connection, who, report_id)
            await desk.file(
                connection,
                report_id,
                body.version,
                category=body.category,
                severity=body.severity,
                team=body.team,
                key=f"{who.id}:{key}",
                actor=actor_of(who),
                now=context.clock.now(),
            )
            return await _after(connection, who, report_id)


@router.post("/reports/{report_id}/refuse", summary="不予立案 Refuse it, with a reason they read", responses=CHANGES)
async def refuse(report_id: UUID, body: RefuseIn, context: Ctx, ticket: Desk, key: OnceKey = None) -> DeskReportOut:
    who, key = ticket.principal, once(key)
    with refusals("report", report_id):
        async with context.database.write() as connection:
            await _scoped(connection, who, report_id)
            await desk.refuse(
                connection, report_id, body.version, body.reason, f"{who.id}:{key}", actor_of(who), context.clock.now()
            )
            return await _after(connection, who, report_id)


@router.post("/reports/{report_id}/join", summary="并入工单 Join it to another order", responses=CHANGES)
async def join(report_id: UUID, body: JoinIn, context: Ctx, ticket: Desk, key: OnceKey = None) -> DeskReportOut:
    who, key = ticket.principal, once(key)
    with refusals("order", body.order_id):
        async with context.database.write() as connection:
            await _scoped(connection, who, report_id)
            found = await work.orders_by_ids(connection, [body.order_id])
            await in_scope(connection, who, found[0] if found else None, "order", body.order_id)
            await desk.join(connection, report_id, body.order_id, f"{who.id}:{key}", actor_of(who), context.clock.now())
            return await _after(connection, who, report_id)


@router.post("/orders/{order_id}/urge", summary="督办 Want it done now", responses=CHANGES)
async def urge(order_id: UUID, body: UrgeIn, context: Ctx, ticket: Worker, key: OnceKey = None) -> OrderOut:
    """By the desk, or the street office; whoever urges a second time takes it a rung up the ladder."""
    who, key, now = ticket.principal, once(key), context.clock.now()
    if body.until is not None and body.until <= now:
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "期限已过 · that time is over already")
    with refusals("order", order_id):
        async with context.database.write() as connection:
            found = await work.orders_by_ids(connection, [order_id])
            await in_scope(connection, who, found[0] if found else None, "order", order_id)
            await desk.urge(
                connection, order_id, body.version, body.reason, body.until, f"{who.id}:{key}", actor_of(who), now
            )
            return await _order(connection, who, order_id)


@router.get("/communities/{community_id}/call-backs", summary="待回访 Orders whose reporters are to be asked")
async def call_backs(
    community_id: str,
    context: Ctx,
    ticket: Desk,
    after: Annotated[Cursor, Query(alias="cursor")] = None,
    limit: Limit = 50,
) -> AwaitingPage:
    """Done, and nobody asked yet how it was done, or somebody complained since; the longest waiting first."""
    async with context.database.read() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        found = await rows.awaiting_call_back(connection, community_id, after=time_and_id(after), limit=limit + 1)
    page = found[:limit]
    more = cursor.encode(page[-1]["resolved_at"].isoformat(), page[-1]["id"]) if len(found) > limit else None
    plain = ("number", "place", "state", "version", "severity", "resolved_at", "closed_at")
    more_plain = ("rating", "call_back", "reworks", "reports", "complained")
    return AwaitingPage(
        items=[
            AwaitingOut(
                order_id=row["id"],
                title=LabelOut(zh=row["title_zh"], en=row["title_en"]),
                **{name: row[name] for name in (*plain, *more_plain)},
            )
            for row in page
        ],
        next=more,
    )


@router.post("/orders/{order_id}/call-back", summary="回访 What they said when asked", responses=CHANGES)
async def call_back(order_id: UUID, body: CallBackIn, context: Ctx, ticket: Desk, key: OnceKey = None) -> OrderOut:
    who, key = ticket.principal, once(key)
    with refusals("order", order_id):
        async with context.database.write() as connection:
            found = await work.orders_by_ids(connection, [order_id])
            await in_scope(connection, who, found[0] if found else None, "order", order_id)
            await saying.call_back(
                connection,
                order_id,
                body.report_ids,
                body.outcome,
                body.note,
                body.version,
                f"{who.id}:{key}",
                actor_of(who),
                context.clock.now(),
            )
            return await _order(connection, who, order_id)


async def _order(connection: Connection, who: Principal, order_id: UUID) -> OrderOut:
    row = (await work.orders_by_ids(connection, [order_id]))[0]
    return shapes.order(row, reader_class(who), actor_of(who))
