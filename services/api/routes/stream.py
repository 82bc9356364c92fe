"""The live stream of one community."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Query
from starlette.responses import Response

from services.api.common import PREFIX, PROBLEMS
from services.api.context import Ctx
from services.api.guard import community_in_scope, needs
from services.api.identity.auth import Ticket
from services.api.live.response import EventStream
from services.domain.access import Permission

router = APIRouter(prefix=f"{PREFIX}/communities", tags=["stream 实时"], responses=PROBLEMS)


@router.get(
    "/{community_id}/stream",
    summary="实时流 Server-sent events",
    response_class=Response,
    responses={
        200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}, "description": "open until cut"}
    },
)
async def stream(
    community_id: str,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.COCKPIT)],
    cursor: Annotated[int | None, Query(ge=0, le=2**62, description="`cursor` of a snapshot")] = None,
    last: Annotated[str | None, Header(alias="Last-Event-ID", max_length=32)] = None,
) -> Response:
    """Events: `hello`, `alert`, `order`, `devices`, `kpis`, `hb` every 5 s, `resync` (take a new snapshot).

    `id` is a cursor of the outbox: reconnecting with it (Last-Event-ID or `cursor`) delivers what was missed.
    """
    async with context.database.read() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
    await context.watchers.watches(ticket, community_id)
    begin = int(last) if last is not None and last.isascii() and last.isdigit() and len(last) < 19 else cursor
    client, opening = await context.hub.join(ticket, community_id, begin)
    return EventStream(client, opening, context.settings.stream_stalled_s, context.hub.leave)
