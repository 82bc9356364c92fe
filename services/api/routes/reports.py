"""Reports by residents (随手拍, 报事报修): sent with or without a login, followed, rated, withdrawn, urged."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID, uuid4

import structlog
from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response

from services.adapters import outbox
from services.adapters.evidence import rows as evidence_rows
from services.adapters.orders import OrderRow, fetch_history, fetch_order
from services.adapters.reports import (
    NewReport,
    ReportNotFound,
    fetch_report,
    load_categories,
    open_report,
    rows,
    saying,
)
from services.api.answers.models import Problem
from services.api.answers.shapes import label
from services.api.common import PREFIX, PROBLEMS, AsAccount, Cursor, Limit, OnceKey, meant_by, once, time_and_id
from services.api.context import Ctx
from services.api.guard import anybody, needs, open_to_all
from services.api.identity.auth import Ticket
from services.api.orders.evidence import handed_out
from services.api.reports import sending
from services.api.reports.models import (
    CategoriesOut,
    DoneOut,
    InformationIn,
    MinePage,
    OpenedOut,
    RatedOut,
    RatingIn,
    ReportOut,
)
from services.api.reports.shared import (
    NOBODY,
    SHORTEST_KEY,
    TOKEN_HEADER,
    Row,
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
from services.api.store.database import Connection
from services.api.store.tenancy import Scope
from services.api.web import cursor, meters
from services.api.web.problems import ApiError, not_found
from services.domain.access import Permission
from services.domain.ids import CommunityId
from services.domain.orders import Source
from services.domain.reports import Filing, Photo
from services.domain.reports.words import WORDS, Step
from services.domain.vocabulary import Label

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
    response_model=OpenedOut,
    summary="上报 Report something, with or without a login",
    responses={
        400: {"model": Problem, "description": "缺少 Idempotency-Key · the header is missing"},
        409: {"model": Problem, "description": "该键已用于另一次上报 · the key was used for another report"},
        412: {"model": Problem, "description": "另一个账号的上报 · not the account in X-LinHub-Account"},
        413: {"model": Problem, "description": "照片过大 · the photos are too large"},
        415: {"model": Problem, "description": "不接收此类文件 · not a picture that is taken"},
        429: {"model": Problem, "description": "上报过多，见 Retry-After · too many reports; see Retry-After"},
    },
    openapi_extra=sending.BODY,
)
async def report(
    community_id: str,
    request: Request,
    context: Ctx,
    ticket: Somebody,
    key: OnceKey = None,
    account_meant: AsAccount = None,
) -> OpenedOut:
    """As JSON, or as a form with up to six photos in the field `photo`. The same Idempotency-Key is the same report."""
    meant_by(account_meant, ticket.principal if ticket is not None else None)
    may_report(ticket)
    # What is reported next door is looked for, so the reporter's own home is no bound here.
    whole = Scope(community=community_id)
    async with context.database.read(as_=whole) as connection:
        community = await sending.community_of(connection, ticket, community_id)
    body, sent = await sending.read(context, request, ticket, community_id)
    taken, lost = sent.taken, len(sent.lost)
    category = category_named(body.category)
    if category.photo is Photo.REQUIRED and not (taken or lost or body.evidence_ids):
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "此类上报须附照片 · a photo is needed for this category")
    anonymous = ticket is None or body.anonymous
    account = ticket.principal.id if ticket is not None else None
    # Whoever wants to stay unknown leaves no trace of their account, not in the key either.
    key = f"{NOBODY if anonymous else account}:{key_needed(key, SHORTEST_KEY if anonymous else 1)}"
    digest = sending.digest_of(body, sent)
    token = token_for(context, community_id, key, digest) if anonymous else None
    async with context.database.read(as_=whole) as connection:
        known = await connection.fetchrow(rows.Q["by_key"], community_id, key)
        where = await sending.where(connection, ticket, community_id, body)
        linked = await sending.own_evidence(connection, ticket, community_id, body)
    if known is None:
        sending.admit(context, request, ticket, community_id, category)
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
        async with context.database.write(as_=whole) as connection:
            names = [name for one in taken for name in (one.sha256, one.thumb_sha256) if name]
            await evidence_rows.hold(connection, *names)
            opened = await open_report(connection, new, context.clock.now())
            shown = 0
            if not opened.again:
                shown = await sending.keep_photos(context, connection, opened, community, new, taken, linked)
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
            photos=shown,
            anonymous=anonymous,
        )
    step = Step.JOINED if joined else Step.RECEIVED if category.filing is Filing.DESK else Step.DISPATCHED
    return OpenedOut(
        id=found["id"],
        number=found["number"],
        token=token,
        joined=joined,
        stage=step,
        words=label(WORDS[step]),
        next=next_words(category, joined=joined),
        safety=label(category.safety) if category.safety else None,
        photos=len(taken) + len(linked),
        photos_lost=lost,
        photos_lost_why=sending.lost_words(sent),
    )


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
    async with context.database.consistent(as_=Scope(report=report_id)) as connection:
        row = await _own(connection, report_id, ticket, token)
        order = await fetch_order(connection, row["worked_on_id"])
        history = await fetch_history(connection, order.id)
        notes = await rows.notes_of(connection, [report_id])
        photos = await rows.photos_for(connection, [report_id], _shown(order))
    own = [one["id"] for one in photos if one["report_id"] == report_id]
    after = [one["id"] for one in photos if one["report_id"] != report_id]
    return own_report(row, order, history, notes, (own, after), context.clock.now())


def _shown(order: OrderRow) -> UUID | None:
    """Whose pictures of the finished work a reporter sees: of orders that residents opened. What a sensor told may be
    about somebody's home."""
    return order.id if order.source is Source.RESIDENT else None


@router.get(
    "/reports/{report_id}/photos/{photo_id}",
    response_class=Response,
    summary="上报的照片 One's own photos, and those of the finished work",
    responses={200: {"content": {"image/jpeg": {}, "image/webp": {}}}, 410: {"model": Problem}},
)
async def photo(
    report_id: UUID,
    photo_id: UUID,
    request: Request,
    context: Ctx,
    ticket: Somebody,
    token: Token = None,
    small: Annotated[bool, Query(description="缩略图 · a small one")] = False,
) -> Response:
    async with context.database.consistent(as_=Scope(report=report_id)) as connection:
        row = await _own(connection, report_id, ticket, token)
        order = await fetch_order(connection, row["worked_on_id"])
        photos = await rows.photos_for(connection, [report_id], _shown(order))
    found = next((one for one in photos if one["id"] == photo_id), None)
    if found is None:
        raise not_found("evidence", photo_id)
    return await handed_out(context, request, found, thumb=small)


@router.post("/reports/{report_id}/rating", summary="评价 Rate how it was done", responses=LATER)
async def rating(report_id: UUID, body: RatingIn, context: Ctx, ticket: Somebody, token: Token = None) -> RatedOut:
    with refusals("report", report_id):
        async with context.database.write(as_=Scope(report=report_id)) as connection:
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
    report_id: UUID, body: InformationIn, context: Ctx, ticket: Somebody, token: Token = None, key: OnceKey = None
) -> DoneOut:
    key = once(key)
    with refusals("report", report_id):
        async with context.database.write(as_=Scope(report=report_id)) as connection:
            row = await _own(connection, report_id, ticket, token)
            await saying.add_information(
                connection, report_id, body.text, key, reporter_of(row, ticket), context.clock.now()
            )
    return DoneOut(words=label(_ADDED))


@router.post("/reports/{report_id}/withdraw", summary="撤回 Withdraw", responses=LATER)
async def withdraw(report_id: UUID, context: Ctx, ticket: Somebody, token: Token = None) -> DoneOut:
    with refusals("report", report_id):
        async with context.database.write(as_=Scope(report=report_id)) as connection:
            row = await _own(connection, report_id, ticket, token)
            ended = await saying.withdraw(connection, report_id, reporter_of(row, ticket), context.clock.now())
    log.info("report_withdrawn", report=str(report_id), order_ended=ended)
    return DoneOut(words=label(_WITHDRAWN if ended else _STILL_LOOKED_AT))


@router.post("/reports/{report_id}/urge", summary="催办 Ask for it, once a day when it is late", responses=LATER)
async def urge(report_id: UUID, context: Ctx, ticket: Somebody, token: Token = None) -> DoneOut:
    with refusals("report", report_id):
        async with context.database.write(as_=Scope(report=report_id)) as connection:
            row = await _own(connection, report_id, ticket, token)
            await saying.hasten(connection, report_id, reporter_of(row, ticket), context.clock.now())
    return DoneOut(words=label(_DESK_TOLD))
