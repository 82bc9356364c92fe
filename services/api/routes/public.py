"""What anybody may read without a login, of communities that have opened their data; and who opens them."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter, Request
from pydantic import TypeAdapter
from starlette.responses import Response

from services.adapters.outbox import Outgoing, append
from services.api.common import PREFIX, PROBLEMS, tagged
from services.api.context import Context, Ctx
from services.api.data import store, tiles
from services.api.data.models import OpenDataIn, PublicCommunity, PublicDataOut, PublicFacility
from services.api.data.tile_models import FacilityOut
from services.api.guard import community_in_scope, needs, open_to_all
from services.api.identity.auth import Ticket
from services.api.store import system
from services.api.store.tenancy import SERVICE, public
from services.api.web.limits import network_of
from services.api.web.problems import ApiError, not_found
from services.domain.access import Permission

router = APIRouter(prefix=PREFIX, tags=["public 公众"], responses=PROBLEMS)

MAX_AGE_S = 30
Busy = Literal["quiet", "some", "busy", "full", "unknown"]
_MANY = TypeAdapter(list[PublicCommunity])


def _admit(request: Request, context: Context) -> None:
    """Raises ApiError 429 where an address asks too often."""
    now = time.monotonic()
    address = network_of(request.client.host if request.client else "")
    wait_s = context.public_limit.wait_s(address, now)
    if wait_s > 0:
        seconds = int(wait_s) + 1
        raise ApiError(
            HTTPStatus.TOO_MANY_REQUESTS,
            f"请求过于频繁，请 {seconds} 秒后再试 · too many requests; try again in {seconds} s",
            headers={"Retry-After": str(seconds)},
        )
    context.public_limit.take(address, now)


@router.get(
    "/public/communities",
    response_model=list[PublicCommunity],
    summary="开放数据的社区 Communities with open data",
    dependencies=[open_to_all()],
)
async def communities(request: Request, context: Ctx) -> Response:
    _admit(request, context)

    async def compute() -> bytes:
        # Kept for everybody who asks, so in nobody's scope; it names only those that opened their data.
        async with context.database.read(as_=SERVICE) as connection:
            rows = await connection.fetch(store.Q["open_communities"])
        return _MANY.dump_json([PublicCommunity(**dict(row)) for row in rows])

    return tagged(request, await context.tiles.get("public", compute), public_s=MAX_AGE_S)


@router.get(
    "/public/communities/{community_id}",
    response_model=PublicDataOut,
    summary="一个社区的公众数据 A community's public data",
    dependencies=[open_to_all()],
)
async def community(community_id: str, request: Request, context: Ctx) -> Response:
    """Air with its index, noise, parking left by area, how busy the facilities are. Nothing of any household."""
    _admit(request, context)

    async def compute() -> bytes:
        now = datetime.now(UTC)
        async with context.database.consistent(as_=public(community_id)) as connection:
            row = await connection.fetchrow(store.Q["open_community"], community_id)
            if row is None:
                return b""
            shown = await tiles.tiles(connection, community_id, now)
        # An area of a few spaces would say of a neighbour's car whether it is there.
        areas = [area for area in shown.parking.areas if area.spaces >= _CROWD]
        return (
            PublicDataOut(
                at=now,
                community=PublicCommunity(**dict(row)),
                environment=shown.environment,
                parking_spaces=shown.parking.spaces if shown.parking.spaces >= _CROWD else 0,
                parking_left=shown.parking.left if shown.parking.spaces >= _CROWD else 0,
                parking=areas,
                facilities=[PublicFacility(name=one.name, busy=_busy(one)) for one in shown.facilities.items],
            )
            .model_dump_json()
            .encode()
        )

    body = await context.tiles.get(("public", community_id), compute)
    if not body:
        raise not_found("community", community_id)
    return tagged(request, body, public_s=MAX_AGE_S)


_CROWD = 10
"""Of fewer spaces than this nothing is told."""


def _busy(one: FacilityOut) -> Busy:
    if one.share is None:
        return "unknown"
    return "quiet" if one.share < 0.3 else "some" if one.share < 0.6 else "busy" if one.share < 0.9 else "full"


@router.put("/communities/{community_id}/open-data", summary="开放或关闭公众数据 Open or shut its public data")
async def set_open(
    community_id: str,
    asked: OpenDataIn,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.REGISTRY_EDIT)],
) -> OpenDataIn:
    async with context.database.write() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        changed = await connection.fetchval(store.Q["set_open"], community_id, asked.open_data)
        said = {"open_data": asked.open_data}
        subject = f"community:{community_id}"
        await system.audit(connection, ticket.principal, community_id, "community.open_data", subject, said)
        if changed is not None:
            await append(connection, [Outgoing("public.opened", community_id, community_id, "", said)])
    context.tiles.forget("public")
    context.tiles.forget(("public", community_id))
    return asked
