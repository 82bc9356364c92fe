"""The latest state of every device, and nothing else: history is never read for it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic_core import to_json
from starlette.responses import Response

from services.api.answers import shapes
from services.api.answers.health import HEALTH_METRICS
from services.api.common import PREFIX, PROBLEMS, tagged
from services.api.context import Ctx
from services.api.data.models import StatesOut
from services.api.guard import community_in_scope, needs
from services.api.identity.auth import Ticket
from services.api.store import communities as store
from services.domain.access import Permission, reader_class

router = APIRouter(prefix=f"{PREFIX}/communities", tags=["devices 设备"], responses=PROBLEMS)

Name = Annotated[str | None, Query(max_length=64)]


@router.get("/{community_id}/states", response_model=StatesOut, summary="最新状态 Latest states of all devices")
async def states(
    community_id: str,
    request: Request,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.DEVICES)],
    kind: Name = None,
    building_id: Name = None,
    grid_id: Name = None,
) -> Response:
    """`at` is the newest word of any of them, so that an answer repeats, and its ETag, until somebody speaks."""
    reader = reader_class(ticket.principal)
    async with context.database.read() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        rows = await store.devices(connection, community_id, kind=kind, building_id=building_id)
    found = [row for row in rows if grid_id is None or row["grid_id"] == grid_id]
    if any(row["kind"] in HEALTH_METRICS for row in found):
        await context.watchers.watches(ticket, community_id)
    at = max((row["last_seen_at"] for row in found if row["last_seen_at"]), default=datetime(2000, 1, 1, tzinfo=UTC))
    return tagged(request, to_json({"at": at, "items": [shapes.device(row, reader) for row in found]}))
