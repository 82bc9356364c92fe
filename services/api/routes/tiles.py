"""The tiles of a cockpit, and the forecasts beside them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Request
from starlette.responses import Response

from services.api.common import PREFIX, PROBLEMS, tagged
from services.api.context import Ctx
from services.api.data import forecasting, tiles
from services.api.data.curves import BY_NAME, CURVES
from services.api.data.forecast_models import ForecastOut, ForecastsOut
from services.api.data.tile_models import TilesOut
from services.api.guard import community_in_scope, needs
from services.api.identity.auth import Ticket
from services.api.store.tenancy import Scope
from services.api.web.problems import not_found
from services.domain.access import Permission

router = APIRouter(prefix=f"{PREFIX}/communities", tags=["tiles 磁贴"], responses=PROBLEMS)


@router.get("/{community_id}/tiles", response_model=TilesOut, summary="驾驶舱磁贴 Every tile's figures at once")
async def all_tiles(
    community_id: str, request: Request, context: Ctx, ticket: Annotated[Ticket, needs(Permission.COCKPIT)]
) -> Response:
    """Air, parking, bins, facilities, PV and use; made once every few seconds for all who ask."""
    async with context.database.read() as connection:
        await community_in_scope(connection, ticket.principal, community_id)

    async def compute() -> bytes:
        # Shared with all who ask: in no narrower scope than the community's, whoever was first.
        async with context.database.consistent(as_=Scope(community=community_id)) as connection:
            return (await tiles.tiles(connection, community_id, datetime.now(UTC))).model_dump_json().encode()

    return tagged(request, await context.tiles.get(("tiles", community_id), compute))


@router.get("/{community_id}/forecasts", response_model=ForecastsOut, summary="预测一览 Forecasts and their errors")
async def forecasts(
    community_id: str, request: Request, context: Ctx, ticket: Annotated[Ticket, needs(Permission.FORECASTS)]
) -> Response:
    """All of them without points: whether they are ready, and how far off yesterday was."""
    async with context.database.read() as connection:
        await community_in_scope(connection, ticket.principal, community_id)

    async def compute() -> bytes:
        now = datetime.now(UTC)
        # Shared with all who ask: in no narrower scope than the community's, whoever was first.
        async with context.database.consistent(as_=Scope(community=community_id)) as connection:
            items = [
                await forecasting.shown(connection, community_id, curve.name, now, points=False) for curve in CURVES
            ]
        return ForecastsOut(at=now, items=items).model_dump_json().encode()

    return tagged(request, await context.curves.get(("forecasts", community_id), compute))


@router.get("/{community_id}/forecasts/{name}", response_model=ForecastOut, summary="一项预测 One forecast")
async def forecast(
    community_id: str, name: str, request: Request, context: Ctx, ticket: Annotated[Ticket, needs(Permission.FORECASTS)]
) -> Response:
    """`power`, `pv`: kWh by hour; `water`, `gas`: m³; `parking`: spaces taken; `visits`: people who came in."""
    async with context.database.read() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
    if name not in BY_NAME:
        raise not_found("forecast", name)

    async def compute() -> bytes:
        # Shared with all who ask: in no narrower scope than the community's, whoever was first.
        async with context.database.consistent(as_=Scope(community=community_id)) as connection:
            found = await forecasting.shown(connection, community_id, name, datetime.now(UTC), points=True)
        return found.model_dump_json().encode()

    return tagged(request, await context.curves.get(("forecast", community_id, name), compute))
