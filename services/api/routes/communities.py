"""Communities: those within one's scope, what anybody may know of their air, and all at once for a cockpit."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter
from starlette.responses import Response

from services.api import figures, shapes
from services.api.auth import Ticket
from services.api.context import Context, Ctx
from services.api.database import Connection
from services.api.guard import community_in_scope, needs
from services.api.models import (
    BuildingOut,
    CommunityOut,
    PlanOut,
    PublicOut,
    PublicValueOut,
    SnapshotOut,
)
from services.api.moves import actor_of
from services.api.routes.common import PREFIX, PROBLEMS, answer
from services.api.shapes import Row
from services.api.store import communities as store
from services.api.store import system, work
from services.domain.access import Permission, Principal, reaches_community, reader_class
from services.domain.people.privacy import Shown

router = APIRouter(prefix=f"{PREFIX}/communities", tags=["communities 社区"], responses=PROBLEMS)

SNAPSHOT_ALERTS = 1000
"""Open alerts and open orders a snapshot holds at most, the newest; the lists page through all."""
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
async def snapshot(community_id: str, context: Ctx, ticket: Annotated[Ticket, needs(Permission.COCKPIT)]) -> Response:
    """One consistent picture; `cursor` is where the live stream continues from it."""
    who = ticket.principal
    async with context.database.consistent() as connection:
        row = await community_in_scope(connection, who, community_id)
        taken = await _snapshot(connection, context, who, row)
    await context.watchers.watches(ticket, community_id)
    return answer(taken)


async def _snapshot(connection: Connection, context: Context, who: Principal, row: Row) -> dict[str, Any]:
    """The fields of a SnapshotOut."""
    community_id = row["id"]
    reader = reader_class(who)
    actor = actor_of(who)
    cursor = await system.outbox_head(connection)
    devices = await store.devices(connection, community_id)
    alerts = await work.alerts(connection, community_id, open_only=True, limit=SNAPSHOT_ALERTS)
    orders = await work.orders(connection, community_id, open_only=True, limit=SNAPSHOT_ALERTS)
    return {
        "cursor": cursor,
        "at": datetime.now(UTC),
        "build": context.cockpit.build(),
        "community": community_out(row),
        "plan": _plan(*await store.plan(connection, community_id)),
        "devices": [shapes.device(device, reader) for device in devices],
        "alerts": [shapes.alert(alert, reader) for alert in alerts],
        "orders": [shapes.order(order, reader, actor) for order in orders],
        "kpis": await figures.kpis(connection, community_id),
    }


def _plan(drawn: dict[str, Any], buildings: list[Row]) -> PlanOut:
    return PlanOut(
        width=drawn.get("width", 0),
        height=drawn.get("height", 0),
        shapes=drawn.get("shapes", []),
        buildings=[BuildingOut(**building) for building in buildings],
    )
