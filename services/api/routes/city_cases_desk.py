"""Cases from above as the community sees them: which there are, and which photos whoever opened one is given."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from starlette.responses import Response

from services.adapters import outbox
from services.adapters.city import cases as stored
from services.adapters.outbox import Outgoing
from services.api.answers.health import about_health
from services.api.answers.models import Problem
from services.api.city import cases
from services.api.city.case_models import CasePhotoIn, DeskCaseOut, DeskCasePage, DeskCases
from services.api.common import PREFIX, PROBLEMS, Cursor, Limit, time_and_id
from services.api.context import Ctx
from services.api.guard import community_in_scope, in_scope, needs
from services.api.identity.auth import Ticket
from services.api.store import system, work
from services.api.web import cursor
from services.api.web.problems import ApiError, not_found
from services.domain.access import Permission
from services.domain.city.cases import CaseState
from services.domain.evidence import EvidenceSort

router = APIRouter(prefix=PREFIX, tags=["city 城市平台"], responses=PROBLEMS)

Answering = Annotated[Ticket, needs(Permission.CITY_ANSWER)]


@router.get("/communities/{community_id}/cases", summary="本社区的上级案件 Cases from above, newest first")
async def of_community(
    community_id: str,
    context: Ctx,
    ticket: Answering,
    state: Annotated[CaseState | None, Query(description="平台侧状态 · in the words of the platforms")] = None,
    over: Annotated[bool | None, Query(description="已终结或未终结的 · those that are over, or are not")] = None,
    late: Annotated[bool, Query(description="只看超过平台时限的 · those past the platform's time limit alone")] = False,
    after: Annotated[Cursor, Query(alias="cursor")] = None,
    limit: Limit = 100,
) -> DeskCasePage:
    key, now = time_and_id(after), context.clock.now()
    by = stored.Wanted(community_id=community_id, state=state, over=over, late_at=now if late else None)
    async with context.database.read() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        rows = await stored.find(connection, by, key, limit + 1)
    more = cursor.encode(rows[limit - 1]["opened_at"].isoformat(), rows[limit - 1]["id"]) if len(rows) > limit else None
    return DeskCasePage(items=[cases.desk_case(row, now) for row in rows[:limit]], next=more)


@router.get("/orders/{order_id}/cases", summary="工单对应的上级案件 Cases from above that are worked on in an order")
async def of_order(order_id: UUID, context: Ctx, ticket: Answering) -> DeskCases:
    who, now = ticket.principal, context.clock.now()
    async with context.database.consistent() as connection:
        rows = await work.orders_by_ids(connection, [order_id])
        await in_scope(connection, who, rows[0] if rows else None, "order", order_id)
        found = [await cases.one(connection, ticket, id) for id in await stored.worked_on_in(connection, order_id)]
        return DeskCases(items=[cases.desk_case(row, now) for row in found])


@router.post(
    "/city/cases/{case_id}/photos",
    summary="向上级开放照片 Give whoever opened the case a photo",
    responses={409: {"model": Problem, "description": "照片已移除 · it was taken away"}},
)
async def grant_photo(case_id: UUID, body: CasePhotoIn, context: Ctx, ticket: Answering) -> DeskCaseOut:
    """Each photo is given by itself, by somebody who has looked at it. Again changes nothing."""
    who, now = ticket.principal, context.clock.now()
    async with context.database.write() as connection:
        row = await cases.one(connection, ticket, case_id)
        piece = await stored.photo_of(connection, case_id, body.evidence_id)
        if piece is None:
            raise not_found("evidence", body.evidence_id)
        if piece["removed_at"] is not None:
            raise ApiError(HTTPStatus.CONFLICT, "该照片已被移除 · it was taken away")
        if piece["sort"] != EvidenceSort.PHOTO.value:
            raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "只能开放照片 · only photos can be given")
        if piece["rule_id"] is not None and about_health(piece["rule_id"]):
            raise ApiError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "涉及个人健康的工单照片不能向上级开放 · photos of an order about somebody's health are not given",
            )
        if await stored.grant_photo(connection, case_id, body.evidence_id, now, who.id):
            told = {"order_id": str(case_id), "evidence_id": str(body.evidence_id)}
            await system.audit(connection, who, row["community_id"], "city.photo", f"case:{case_id}", told)
            await outbox.append(
                connection, [Outgoing("case.photo", row["community_id"], str(case_id), f"case@{case_id}", told)]
            )
        return cases.desk_case(await cases.one(connection, ticket, case_id), now)


@router.delete(
    "/city/cases/{case_id}/photos/{evidence_id}", status_code=204, summary="收回照片 Give it a photo no longer"
)
async def take_photo(case_id: UUID, evidence_id: UUID, context: Ctx, ticket: Answering) -> Response:
    """What the platform has fetched already stays with it. Again changes nothing."""
    who = ticket.principal
    async with context.database.write() as connection:
        row = await cases.one(connection, ticket, case_id)
        if await stored.take_photo(connection, case_id, evidence_id):
            told = {"evidence_id": str(evidence_id)}
            await system.audit(connection, who, row["community_id"], "city.photo_end", f"case:{case_id}", told)
    return Response(status_code=HTTPStatus.NO_CONTENT)
