"""Elders by risk: for the wall with masks, for those who look after them with names and reasons."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from services.api.auth import Ticket
from services.api.context import Ctx
from services.api.elder_models import EldersOut
from services.api.elders import elders_out, known_elders
from services.api.guard import community_in_scope, needs
from services.api.routes.common import PREFIX, PROBLEMS, answer
from services.domain.access import Permission, reader_class

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
