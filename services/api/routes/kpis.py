"""The community's key figures."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter

from services.api import figures
from services.api.auth import Ticket
from services.api.context import Ctx
from services.api.guard import community_in_scope, needs
from services.api.models import KpisOut
from services.api.routes.common import PREFIX, PROBLEMS
from services.domain.access import Permission

router = APIRouter(prefix=f"{PREFIX}/communities", tags=["kpis 指标"], responses=PROBLEMS)


@router.get("/{community_id}/kpis", summary="关键指标 Key figures, each with its formula and counts")
async def kpis(community_id: str, context: Ctx, ticket: Annotated[Ticket, needs(Permission.KPIS)]) -> KpisOut:
    """Order figures are of orders opened within the last 30 days; alerts and devices are of now."""
    async with context.database.consistent() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        return await figures.kpis(connection, community_id)
