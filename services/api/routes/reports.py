"""Reports by residents (随手拍, 报事报修): sent with or without a login, followed, rated, withdrawn, urged."""

from __future__ import annotations

import hashlib
import json
import time
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID, uuid4

import structlog
from fastapi import APIRouter, Header, Query, Request

from services.adapters import outbox
from services.adapters.orders import fetch_history, fetch_order
from services.adapters.reports import (
    NewReport,
    ReportNotFound,
    fetch_report,
    load_categories,
    open_report,
    rows,
    saying,
)
from services.api import cursor, meters
from services.api.auth import Ticket
from services.api.context import Context, Ctx
from services.api.database import Connection
from services.api.guard import anybody, community_in_scope, needs, open_to_all
from services.api.models import Problem
from services.api.problems import ApiError, not_found
from services.api.report_models import (
    CategoriesOut,
    DoneOut,
    InformationIn,
    MinePage,
    OpenedOut,
    RatedOut,
    RatingIn,
    ReportIn,
    ReportOut,
)
from services.api.reports import (
    NOBODY,
    SHORTEST_KEY,
    TOKEN_HEADER,
    Row,
    address_of,
    category_named,
    category_out,
    hash_of,
    is_own,
    key_needed,
    may_report,
    mine,
    next_words,
    own_report,
    refusals,
    reporter_of,
    token_for,
)
from services.api.routes.common import PREFIX, PROBLEMS, Cursor, Limit, time_and_id
from services.api.routes.orders import Key
from services.api.shapes import label
from services.api.store import communities as communities_store
from services.domain.access import Permission, allowed
from services.domain.ids import CommunityId
from services.domain.reports import Category
from services.domain.reports.words import WORDS, Step
from services.domain.vocabulary import Label, Severity

log = structlog.get_logger(__name__)
router = APIRouter(prefix=PREFIX, tags=["reports 居民上报"], responses=PROBLEMS)

Somebody = Annotated[Ticket | None, anybody()]
Token = Annotated[
    str | None,
    Header(
        alias=TOKEN_HEADER,
        max_length=128,
        description="匿名上报时得到的跟踪码 · what was given to whoever reported without a login",
    ),
]
_THANKS = Label("谢谢您的评价", "Thank you")
_ADDED = Label("已补充", "Added")
_WITHDRAWN = Label("已撤回", "Withdrawn")
_STILL_LOOKED_AT = Label("已撤回；处理人员仍会到场查看", "Withdrawn; somebody still comes and looks")
_DESK_TOLD = Label("已提醒社区值班", "The community desk was told")
LATER: dict[int | str, dict[str, Any]] = {
    409: {"model": Problem, "description": "现在不能，附原因 · not now, with the reason"},
}


@router.get("/report-categories", summary="上报类别 What can be reported", dependencies=[open_to_all()])
async def categories() -> CategoriesOut:
    return CategoriesOut(items=[category_out(one) for one in load_categories().values()])


@router.post(
    "/communities/{community_id}/reports",
    summary="上报 Report something, with or without a login",
    responses={
        400: {"model": Problem, "description": "缺少 Idempotency-Key · the header is missing"},
        409: {"model": Problem, "description": "该键已用于另一次上报 · the key was used for another report"},
        429: {"model": Problem, "description": "上报过多，见 Retry-After · too many reports; see Retry-After"},
    },
)
async def report(
    community_id: str, body: ReportIn, request: Request, context: Ctx, ticket: Somebody, key: Key = None
) -> OpenedOut:
    may_report(ticket)
    return await _reported(community_id, body, request, context, ticket, key)


async def _reported(
    community_id: str, body: ReportIn, request: Request, context: Context, ticket: Ticket | None, key: str | None
) -> OpenedOut:
    category = category_named(body.category)
    anonymous = ticket is None or body.anonymous
    account = ticket.principal.id if ticket is not None else None
    # Whoever wants to stay unknown leaves no trace of their account, not in the key either.
    key = f"{NOBODY if anonymous else account}:{key_needed(key, SHORTEST_KEY if anonymous else 1)}"
    digest = _digest(body)
    token = token_for(context, community_id, key, digest) if anonymous else None
    async with context.database.read() as connection:
        await _community(connection, ticket, community_id)
        known = await connection.fetchrow(rows.Q["by_key"], community_id, key)
        where = await _where(connection, ticket, community_id, body)
    trusted = ticket is not None and allowed(ticket.principal.role, Permission.ORDER_OPEN)
    if known is None and not trusted:
        _admit(context, request, account, community_id, category)
    new = NewReport(
        id=uuid4(),
        community_id=CommunityId(community_id),
        category=category,
        idempotency_key=key,
        digest=digest,
        text=body.text,
        reporter_id=None if anonymous else account,
        token_hash=hash_of(token) if token is not None else None,
        contact_name=body.contact_name,
        contact_phone=body.contact_phone,
        language=body.language,
        **where,
    )
    with refusals("report", new.id):
        async with context.database.write() as connection:
            opened = await open_report(connection, new, context.clock.now())
            await outbox.append(connection, opened.outgoing)
    found = opened.report
    joined = found["joined"]
    if not opened.again:
        meters.REPORTS.labels(category.id, "joined" if joined else "opened").inc()
        log.info(
            "report_made",
            correlation=opened.order.correlation,
            report=str(found["id"]),
            category=category.id,
            order=str(opened.order.id),
            joined=joined,
            anonymous=anonymous,
        )
    step = Step.JOINED if joined else Step.RECEIVED if opened.order.filed_at is None else Step.DISPATCHED
    return OpenedOut(
        id=found["id"],
        number=found["number"],
        token=token,
        joined=joined,
        stage=step,
        words=label(WORDS[step]),
        next=next_words(category, joined=joined),
        safety=label(category.safety) if category.safety else None,
        photos=0,
    )


def _digest(body: ReportIn) -> bytes:
    return hashlib.sha256(json.dumps(body.model_dump(mode="json"), sort_keys=True).encode()).digest()


async def _community(connection: Connection, ticket: Ticket | None, community_id: str) -> None:
    if ticket is not None:
        await community_in_scope(connection, ticket.principal, community_id)
    elif not await communities_store.communities(connection, community_id=community_id):
        raise not_found("community", community_id)


def _admit(context: Context, request: Request, account: str | None, community_id: str, category: Category) -> None:
    grave = category.severity is Severity.CRITICAL
    wait_s = context.report_limit.admit(
        account=account, address=address_of(request), community=community_id, grave=grave, now=time.monotonic()
    )
    if wait_s > 0:
        meters.REPORTS.labels(category.id, "limited").inc()
        seconds = int(wait_s) + 1
        urgent = (
            "；紧急情况请立即拨打 119、110、120 或社区值班电话", "; in an emergency call 119, 110, 120 or the desk"
        )  # fmt: skip
        raise ApiError(
            HTTPStatus.TOO_MANY_REQUESTS,
            f"上报过多，请 {seconds} 秒后再试{urgent[0]} · too many reports; try again in {seconds} s{urgent[1]}",
            headers={"Retry-After": str(seconds)},
        )


async def _where(connection: Connection, ticket: Ticket | None, community_id: str, body: ReportIn) -> dict[str, Any]:
    """The place as it is kept: of what was named, all that follows from it. Raises ApiError 422."""
    building, unit, household = body.building_id, body.unit_id, body.household_id
    own = ticket.principal.household_id if ticket is not None else None
    if body.at_home or (household is not None and household == own):
        home = await connection.fetchrow(rows.Q["home"], community_id, own) if own is not None else None
        if home is None:
            raise _nowhere("您的账号没有登记住址", "your account has no home in this community")
        building, unit, household = home["building_id"], home["unit_id"], home["household_id"]
    elif household is not None:
        raise _nowhere("只能填写本人的住户", "the household can only be your own")
    x, y = body.x, body.y
    if x is not None and y is not None:
        await _on_plan(connection, community_id, x, y)
        if building is None:
            around = await connection.fetchrow(rows.Q["around_pin"], community_id, x, y)
            building = around["building_id"] if around is not None else None
    if unit is not None and building is None:
        raise _nowhere("请先选择楼栋", "a unit needs its building")
    place, grid = body.place, None
    if building is not None:
        row = await connection.fetchrow(rows.Q["place"], community_id, building, unit, household)
        if row is None or (unit is not None and row["unit_id"] is None):
            raise _nowhere("本社区没有这个楼栋或单元", "there is no such building or unit in this community")
        grid = row["grid_id"]
        x, y = (x, y) if x is not None else (float(row["x"]), float(row["y"]))
        place = place or "".join((row["building_name"], row["unit_name"] or ""))
    return {
        "building_id": building, "unit_id": unit, "household_id": household,
        "grid_id": grid, "x": x, "y": y, "place": place,
    }  # fmt: skip


_MARGIN_M = 500.0


async def _on_plan(connection: Connection, community_id: str, x: float, y: float) -> None:
    size = await connection.fetchrow(rows.Q["plan_size"], community_id)
    if size is None or size["width"] is None or size["height"] is None:
        return
    if not (-_MARGIN_M <= x <= size["width"] + _MARGIN_M and -_MARGIN_M <= y <= size["height"] + _MARGIN_M):
        raise _nowhere("位置不在本社区范围", "the pin lies outside this community")


def _nowhere(zh: str, en: str) -> ApiError:
    return ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{zh} · {en}")


@router.get("/reports/mine", summary="我的上报 One's own reports, newest first")
async def reports_mine(
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.REPORT)],
    after: Annotated[Cursor, Query(alias="cursor")] = None,
    limit: Limit = 50,
) -> MinePage:
    async with context.database.read() as connection:
        found = await rows.reports_by(connection, ticket.principal.id, after=time_and_id(after), limit=limit + 1)
    page = found[:limit]
    more = cursor.encode(page[-1]["created_at"].isoformat(), page[-1]["id"]) if len(found) > limit else None
    return MinePage(items=[mine(row) for row in page], next=more)


async def _own(connection: Connection, report_id: UUID, ticket: Ticket | None, token: str | None) -> Row:
    """Somebody's own report; to everybody else it is not there."""
    try:
        row = await fetch_report(connection, report_id)
    except ReportNotFound:
        raise not_found("report", report_id) from None
    if not is_own(row, ticket, token):
        raise not_found("report", report_id)
    return row


@router.get("/reports/{report_id}", summary="上报进展 How one's own report goes")
async def follow(report_id: UUID, context: Ctx, ticket: Somebody, token: Token = None) -> ReportOut:
    async with context.database.consistent() as connection:
        row = await _own(connection, report_id, ticket, token)
        order = await fetch_order(connection, row["worked_on_id"])
        history = await fetch_history(connection, order.id)
        notes = await rows.notes_of(connection, [report_id])
    return own_report(row, order, history, notes, ([], []), context.clock.now())


@router.post("/reports/{report_id}/rating", summary="评价 Rate how it was done", responses=LATER)
async def rating(report_id: UUID, body: RatingIn, context: Ctx, ticket: Somebody, token: Token = None) -> RatedOut:
    with refusals("report", report_id):
        async with context.database.write() as connection:
            row = await _own(connection, report_id, ticket, token)
            again = await saying.rate(
                connection,
                report_id,
                body.rating,
                body.comment,
                body.satisfied,
                reporter_of(row, ticket),
                context.clock.now(),
            )
    log.info("report_rated", report=str(report_id), rating=body.rating, rework=again)
    return RatedOut(rework=again, words=label(WORDS[Step.REWORK] if again else _THANKS))


@router.post("/reports/{report_id}/information", summary="补充信息 Add something", responses=LATER)
async def information(
    report_id: UUID, body: InformationIn, context: Ctx, ticket: Somebody, token: Token = None, key: Key = None
) -> DoneOut:
    key = key_needed(key)
    with refusals("report", report_id):
        async with context.database.write() as connection:
            row = await _own(connection, report_id, ticket, token)
            await saying.add_information(
                connection, report_id, body.text, key, reporter_of(row, ticket), context.clock.now()
            )
    return DoneOut(words=label(_ADDED))


@router.post("/reports/{report_id}/withdraw", summary="撤回 Withdraw", responses=LATER)
async def withdraw(report_id: UUID, context: Ctx, ticket: Somebody, token: Token = None) -> DoneOut:
    with refusals("report", report_id):
        async with context.database.write() as connection:
            row = await _own(connection, report_id, ticket, token)
            ended = await saying.withdraw(connection, report_id, reporter_of(row, ticket), context.clock.now())
    log.info("report_withdrawn", report=str(report_id), order_ended=ended)
    return DoneOut(words=label(_WITHDRAWN if ended else _STILL_LOOKED_AT))


@router.post("/reports/{report_id}/urge", summary="催办 Ask for it, once a day when it is late", responses=LATER)
async def urge(report_id: UUID, context: Ctx, ticket: Somebody, token: Token = None) -> DoneOut:
    with refusals("report", report_id):
        async with context.database.write() as connection:
            row = await _own(connection, report_id, ticket, token)
            await saying.hasten(connection, report_id, reporter_of(row, ticket), context.clock.now())
    return DoneOut(words=label(_DESK_TOLD))
