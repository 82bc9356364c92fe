"""Cases from above: a city platform opens them, follows them, presses for them; the community gives it photos."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from services.adapters.city import cases as stored
from services.adapters.evidence import rows as evidence_rows
from services.adapters.orders import apply_move
from services.adapters.reports import desk
from services.api.answers.models import Problem
from services.api.city import cases
from services.api.city.case_models import (
    CaseDetailOut,
    CaseIn,
    CaseNoteIn,
    CasePage,
    CaseUrgeIn,
    CaseWithdrawIn,
    HandedOut,
)
from services.api.common import PREFIX, PROBLEMS, Cursor, Limit, OnceKey, once, time_and_id
from services.api.context import Ctx
from services.api.guard import community_in_scope, needs
from services.api.identity.auth import Ticket
from services.api.orders import evidence as pieces
from services.api.reports.shared import refusals
from services.api.routes.evidence import FORM, UPLOAD, taken_in
from services.api.store import work
from services.api.web import cursor
from services.api.web.problems import ApiError, not_found
from services.domain.access import Permission
from services.domain.city.cases import CaseState
from services.domain.evidence import EvidenceSort, Phase
from services.domain.orders import Move, MoveRequest

router = APIRouter(prefix=PREFIX, tags=["city 城市平台"], responses=PROBLEMS)

Above = Annotated[Ticket, needs(Permission.CITY_CASES)]
_NOT_NOW: dict[int | str, dict[str, Any]] = {
    409: {"model": Problem, "description": "案件已撤销或终结 · withdrawn, or over; `current` is the case as it stands"}
}
_NO_KEY: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "缺少 Idempotency-Key · the header is missing"}
}
_OPENED: dict[int | str, dict[str, Any]] = {
    200: {"model": CaseDetailOut, "description": "此编号已交办，同一案件 · opened before under this id: the same case"},
    409: {"model": Problem, "description": "编号已用于另一案件 · the id stands for another request; see `current`"},
}


@router.post(
    "/city/cases", status_code=HTTPStatus.CREATED, summary="交办 Open an order in a community", responses=_OPENED
)
async def open_case(body: CaseIn, response: Response, context: Ctx, ticket: Above) -> CaseDetailOut:
    """Once for each `external_id` of the account, however often it is sent. Its `id` is that of the order, which events
    carry. What is critical is dispatched at once, the rest waits for the desk to take it up or return it."""
    case, new = await cases.opened(context, ticket, body)
    if not new:
        response.status_code = int(HTTPStatus.OK)
    return case


@router.get("/city/cases", summary="案件列表 Cases, newest first")
async def list_cases(
    context: Ctx,
    ticket: Above,
    external_id: Annotated[str | None, Query(max_length=128, pattern=r"^[^\x00-\x1f\x7f]*$")] = None,
    state: Annotated[CaseState | None, Query(description="平台侧状态 · in the words of this side")] = None,
    after: Annotated[Cursor, Query(alias="cursor")] = None,
    limit: Limit = 100,
) -> CasePage:
    """Your own; for administrators those of their scope."""
    key, now = time_and_id(after), context.clock.now()
    by = stored.Wanted(account_id=cases.own(ticket), external_id=external_id, state=state)
    async with context.database.read() as connection:
        rows = await stored.find(connection, by, key, limit + 1)
    more = cursor.encode(rows[limit - 1]["opened_at"].isoformat(), rows[limit - 1]["id"]) if len(rows) > limit else None
    return CasePage(items=[cases.shown(row, now) for row in rows[:limit]], next=more)


@router.get("/city/cases/{case_id}", summary="一个案件 One case: how it goes, and what came of it")
async def one_case(case_id: UUID, context: Ctx, ticket: Above) -> CaseDetailOut:
    async with context.database.consistent() as connection:
        row = await cases.one(connection, ticket, case_id, of=cases.own(ticket))
        return await cases.detail(connection, row, context.clock.now())


@router.post("/city/cases/{case_id}/urge", summary="督办 Press for it", responses=_NOT_NOW | _NO_KEY)
async def urge(case_id: UUID, body: CaseUrgeIn, context: Ctx, ticket: Above, key: OnceKey = None) -> CaseDetailOut:
    """The second time takes the order a rung up the ladder. The same key again changes nothing."""
    who, shared, now = ticket.principal, once(key), context.clock.now()
    with refusals("case", case_id):
        async with context.database.write() as connection:
            row, order = await cases.locked(connection, ticket, case_id)
            cases.standing(row, now)
            if body.until is not None and body.until <= now:
                raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "期限已过 · that time is over already")
            await desk.urge(
                connection, order.id, order.version, body.reason, body.until, f"{who.id}:{shared}",
                cases.opener(who), now,
            )  # fmt: skip
            return await _after(connection, ticket, case_id, context)


@router.post("/city/cases/{case_id}/notes", summary="补充说明 Add something in words", responses=_NOT_NOW | _NO_KEY)
async def add(case_id: UUID, body: CaseNoteIn, context: Ctx, ticket: Above, key: OnceKey = None) -> CaseDetailOut:
    who, shared, now = ticket.principal, once(key), context.clock.now()
    with refusals("case", case_id):
        async with context.database.write() as connection:
            row, order = await cases.locked(connection, ticket, case_id)
            cases.standing(row, now)
            request = MoveRequest(Move.NOTE, order.version, note=body.text, idempotency_key=f"{who.id}:{shared}")
            await apply_move(connection, order.id, request, cases.opener(who), now)
            return await _after(connection, ticket, case_id, context)


@router.post("/city/cases/{case_id}/withdraw", summary="撤单 Withdraw it", responses=_NOT_NOW)
async def withdraw(case_id: UUID, body: CaseWithdrawIn, context: Ctx, ticket: Above) -> CaseDetailOut:
    """Ends the order where nobody has taken it up and nothing else hangs on it; else the people at work are told, and
    decide. Again changes nothing."""
    with refusals("case", case_id):
        async with context.database.write() as connection:
            await cases.withdraw(connection, ticket, case_id, body.reason, context.clock.now())
            return await _after(connection, ticket, case_id, context)


async def _after(connection: Any, ticket: Ticket, case_id: UUID, context: Ctx) -> CaseDetailOut:
    row = await cases.one(connection, ticket, case_id, of=cases.own(ticket))
    return await cases.detail(connection, row, context.clock.now())


@router.post(
    "/city/cases/{case_id}/evidence",
    response_model=HandedOut,
    summary="移交材料 Hand over a photo, a clip or a voice note",
    responses=UPLOAD | _NOT_NOW,
    openapi_extra=FORM,
)
async def hand_over(
    case_id: UUID,
    request: Request,
    context: Ctx,
    ticket: Above,
    sort: Annotated[Literal["photo", "clip", "voice"], Query(description="照片、短片、语音")] = "photo",
    key: OnceKey = None,
) -> HandedOut:
    """Kept with the order for whoever works on it. It is never counted as taken by those who do the work."""
    who, now, of_sort = ticket.principal, context.clock.now(), EvidenceSort(sort)
    shared = f"{who.id}:{once(key)}"
    async with context.database.read() as connection:
        row = await cases.one(connection, ticket, case_id, of=cases.own(ticket))
        known = await evidence_rows.by_key(connection, row["community_id"], shared)
        if known is not None:
            return _handed(pieces.out(known, who.display_name))
        cases.standing(row, now)
        community = await community_in_scope(connection, who, row["community_id"])
        (order,) = await work.orders_by_ids(connection, [row["worked_on"]])
    asked = pieces.move_of(case_id, sort, Phase.OTHER.value, None)
    pieces.refuse_early(order, asked, cases.opener(who), now)
    kept = await taken_in(
        context, request, who, community, order, of_sort, Phase.OTHER, shared, cases.opener(who)
    )  # fmt: skip
    return _handed(kept)


def _handed(kept: Any) -> HandedOut:
    return HandedOut(**{name: getattr(kept, name) for name in HandedOut.model_fields})


@router.get(
    "/city/cases/{case_id}/photos/{evidence_id}",
    response_class=Response,
    summary="案件照片 A photo that the case was given",
    responses={200: {"content": {"image/jpeg": {}, "image/webp": {}}}, 410: {"model": Problem}},
)
async def photo(
    case_id: UUID,
    evidence_id: UUID,
    request: Request,
    context: Ctx,
    ticket: Above,
    small: Annotated[bool, Query(description="缩略图 · a small one")] = False,
) -> Response:
    async with context.database.read() as connection:
        row = await cases.one(connection, ticket, case_id, of=cases.own(ticket))
        found = await stored.photos(connection, row["id"], evidence_id)
    if not found:
        raise not_found("evidence", evidence_id)
    return await pieces.handed_out(context, request, found[0], thumb=small)
