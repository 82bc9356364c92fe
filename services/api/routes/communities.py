"""Communities: those within one's scope, what anybody may know of their air, and all at once for a cockpit."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Request
from starlette.responses import Response

from services.api.answers import shapes
from services.api.answers.models import (
    CommunityOut,
    PublicOut,
    PublicValueOut,
    SnapshotOut,
)
from services.api.answers.shapes import Row
from services.api.common import OF_WHO_ASKS, PREFIX, PROBLEMS
from services.api.context import Ctx
from services.api.guard import community_in_scope, needs
from services.api.identity.auth import Ticket
from services.api.store import communities as store
from services.api.store import system
from services.domain.access import Permission, reaches_community
from services.domain.people.privacy import Shown

router = APIRouter(prefix=f"{PREFIX}/communities", tags=["communities 社区"], responses=PROBLEMS)

_PUBLIC_KINDS = ("environment", "parking_sensor")


def community_out(row: Row) -> CommunityOut:
    return CommunityOut(**{name: row[name] for name in CommunityOut.model_fields})


@router.get("", summary="社区列表 Communities in my scope")
async def communities(context: Ctx, ticket: Annotated[Ticket, needs(Permission.COMMUNITY)]) -> list[CommunityOut]:
    who = ticket.principal
    async with context.database.read() as connection:
        rows = await store.communities(connection, community_id=who.community_id, street_id=who.street_id)
    return [community_out(row) for row in rows if reaches_community(who, row["id"], row["street_id"])]


@router.get("/{community_id}", summary="一个社区 One community")
async def community(
    community_id: str, context: Ctx, ticket: Annotated[Ticket, needs(Permission.COMMUNITY)]
) -> CommunityOut:
    async with context.database.read() as connection:
        return community_out(await community_in_scope(connection, ticket.principal, community_id))


@router.get("/{community_id}/public", summary="公众数据 What a screen at the gate shows")
async def public(
    community_id: str, context: Ctx, ticket: Annotated[Ticket, needs(Permission.PUBLIC_VALUES)]
) -> PublicOut:
    """Air, temperature and noise by station, and parking left. Nothing of any household."""
    async with context.database.read() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        rows = await store.public_values(connection, community_id, _PUBLIC_KINDS)
    spaces = [
        shapes.values(row["kind"], row["vals"], Shown.NONE).get("occupied")
        for row in rows
        if row["kind"] == "parking_sensor"
    ]
    return PublicOut(
        at=datetime.now(UTC),
        stations=[
            PublicValueOut(
                name=row["name"],
                place=row["place"],
                ts=row["vals_ts"],
                values=shapes.values(row["kind"], row["vals"], Shown.NONE),
            )
            for row in rows
            if row["kind"] == "environment"
        ],
        parking_spaces=len(spaces),
        parking_left=sum(1 for occupied in spaces if occupied == 0),
    )


@router.get(
    "/{community_id}/snapshot", response_model=SnapshotOut, summary="驾驶舱快照 Everything a cockpit opens with"
)
async def snapshot(
    community_id: str, request: Request, context: Ctx, ticket: Annotated[Ticket, needs(Permission.COCKPIT)]
) -> Response:
    """One picture, its alerts and orders as of `cursor`, where the live stream continues from it.

    Device states are a second old at most, or as old as `at` says; key figures have a time of their own."""
    async with context.database.read() as connection:
        row = await community_in_scope(connection, ticket.principal, community_id)
        head = await system.outbox_head_of(connection, community_id)
    body = await context.gallery.show(ticket.principal, community_out(row), head)
    await context.watchers.watches(ticket, community_id)
    headers = {"ETag": body.tag, "Cache-Control": "private, no-cache", "Vary": f"Accept-Encoding, {OF_WHO_ASKS}"}
    if body.tag in request.headers.get("If-None-Match", ""):
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        headers["Content-Encoding"] = "gzip"
        return Response(body.gzip, media_type="application/json", headers=headers)
    return Response(body.plain, media_type="application/json", headers=headers)
