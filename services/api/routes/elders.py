"""Elders by risk: for the wall with masks, for those who look after them with names and reasons."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from services.api.common import PREFIX, PROBLEMS, answer
from services.api.context import Ctx
from services.api.guard import community_in_scope, needs
from services.api.identity.auth import Ticket
from services.api.people.elder_models import ElderDetailOut, EldersOut
from services.api.people.elders import elders_out, known_elders
from services.api.people.masks import person_in_reach
from services.api.people.wellbeing import purpose_for, wellbeing
from services.api.privacy import audit
from services.api.privacy.purposes import AskedFor
from services.api.store import privacy as store
from services.api.web.problems import not_found
from services.domain.access import Permission, reader_class
from services.domain.people.privacy import Purpose

router = APIRouter(prefix=PREFIX, tags=["elders 养老"], responses=PROBLEMS)


@router.get("/communities/{community_id}/elders", response_model=EldersOut, summary="长者（按风险） Elders, by risk")
async def elders(
    community_id: str,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.COCKPIT)],
    limit: Annotated[int, Query(ge=0, le=1000, description="多少位 · how many; counts are of all")] = 200,
) -> Response:
    """Each with its score and the reasons for it. Grid members see those of their 网格."""
    reader, now = reader_class(ticket.principal), context.clock.now()
    async with context.database.consistent() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        found = await known_elders(connection, community_id, reader, now)
    await context.watchers.watches(ticket, community_id)
    return answer(elders_out(found, reader, now, limit))


@router.get("/people/{person_id}/wellbeing", response_model=ElderDetailOut, summary="一位长者 One elder in detail")
async def one(
    person_id: str,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.HOUSEHOLD)],
    purpose: Annotated[Purpose | None, AskedFor] = None,
) -> Response:
    """For a purpose. Vitals only with the person's consent, or in an emergency that was stated before."""
    who = ticket.principal
    async with context.database.write() as connection:
        await person_in_reach(connection, who, person_id)
        row = await store.elder(connection, person_id)
        if row is None:
            raise not_found("person", person_id)
        asked = await purpose_for(connection, who, row, purpose)
        shown = await wellbeing(connection, who, row, asked, context.clock.now())
        await audit.person_read(connection, who, row, asked, "wellbeing")
    return answer(shown)
