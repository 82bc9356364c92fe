"""What people at home say: that all is well (or not) when they are asked first, and that they are away."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated
from uuid import UUID

import structlog
from fastapi import APIRouter

from services.api.answers.models import Problem
from services.api.answers.shapes import Row
from services.api.common import PREFIX, PROBLEMS
from services.api.context import Ctx
from services.api.guard import in_scope, needs
from services.api.identity.auth import Ticket
from services.api.rules.silence_models import AnswerIn, AnswerOut, AwayIn, AwayOut
from services.api.store import holding as store
from services.api.store import system
from services.api.web.problems import ApiError, not_found
from services.domain.access import Permission, Principal, reaches_grid, reaches_household

log = structlog.get_logger(__name__)
router = APIRouter(prefix=PREFIX, tags=["households 家庭"], responses=PROBLEMS)

ASKED = frozenset({"asking", "answered"})


def own_household(who: Principal, row: Row, what: str, name: object) -> None:
    """Residents speak for their own household, 网格员 for those of their 网格. Raises 404 for all others."""
    if not reaches_household(who, row["household_id"]) or not reaches_grid(who, row["grid_id"]):
        raise not_found(what, name)


@router.post(
    "/alerts/{alert_id}/answer",
    summary="先询问的回复 Answer: is all well at home?",
    responses={409: {"model": Problem, "description": "没有在询问 · nobody is being asked"}},
)
async def answer(
    alert_id: UUID, body: AnswerIn, context: Ctx, ticket: Annotated[Ticket, needs(Permission.HOUSEHOLD)]
) -> AnswerOut:
    who = ticket.principal
    async with context.database.write() as connection:
        row = await in_scope(connection, who, await store.askable(connection, alert_id), "alert", alert_id)
        own_household(who, row, "alert", alert_id)
        if row["state"] == "cleared" or ASKED.isdisjoint(row["held"]):
            raise ApiError(HTTPStatus.CONFLICT, "该告警没有在询问 · nobody is being asked about this alert (any more)")
        await store.insert_answer(connection, row, body.ok, body.note, who.id)
        # The note stands with the answer, where it can be erased; here nothing can.
        detail = {"ok": body.ok}
        await system.audit(connection, who, row["community_id"], "alert.answer", f"alert:{alert_id}", detail)
    log.info("alert_answered", correlation=row["correlation"], alert=str(alert_id), ok=body.ok, by=who.id)
    return AnswerOut(alert_id=alert_id, ok=body.ok)


@router.put("/people/{person_id}/away", summary="外出 Away until, or back home")
async def away(
    person_id: str, body: AwayIn, context: Ctx, ticket: Annotated[Ticket, needs(Permission.HOUSEHOLD)]
) -> AwayOut:
    who = ticket.principal
    async with context.database.write() as connection:
        row = await in_scope(connection, who, await store.person(connection, person_id), "person", person_id)
        own_household(who, row, "person", person_id)
        if body.until is not None and body.until <= context.clock.now():
            raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "时间已过 · that is over already")
        await store.set_away(connection, person_id, body.until)
        detail = {"until": body.until.isoformat() if body.until else None}
        await system.audit(connection, who, row["community_id"], "person.away", f"person:{person_id}", detail)
    log.info("person_away", person=person_id, until=detail["until"], by=who.id)
    return AwayOut(person_id=person_id, away_until=body.until)
