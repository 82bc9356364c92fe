"""Critical alerts as messages of the Common Alerting Protocol (CAP 1.2), for city platforms."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlsplit
from uuid import UUID

from fastapi import APIRouter
from starlette.responses import Response

from services.adapters.city.ngsi import reading
from services.api.city import shared as city
from services.api.common import PREFIX, PROBLEMS
from services.api.context import Ctx
from services.api.guard import community_in_scope, needs
from services.api.identity.auth import Ticket
from services.api.web.problems import not_found
from services.domain.access import Permission
from services.domain.city.cap import MEDIA_TYPE, cap, has_message

router = APIRouter(prefix=PREFIX, tags=["city 城市平台"], responses=PROBLEMS)


@router.get(
    "/alerts/{alert_id}/cap",
    summary="CAP 1.2 消息 A critical alert as a CAP 1.2 message",
    response_class=Response,
    responses={200: {"content": {MEDIA_TYPE: {"schema": {"type": "string"}}}, "description": "OASIS CAP 1.2, XML"}},
)
async def message(alert_id: UUID, context: Ctx, ticket: Annotated[Ticket, needs(Permission.CITY_EVENTS)]) -> Response:
    """The newest message of it: `Alert`, `Update` or, once it is over, `Cancel`. Words and place as your subscriptions
    were granted them; `status` as they are marked. What is not critical, or is about somebody's health, has none."""
    async with context.database.read() as connection:
        site = await reading.site_of_alert(connection, alert_id)
        if site is None:
            raise not_found("alert", alert_id)
        await community_in_scope(connection, ticket.principal, site.id)
        found = await reading.alerts(connection, site, frozenset({str(alert_id)}))
        if not found or not has_message(found[0]):
            raise not_found("CAP message of alert", alert_id)
        classes = await reading.granted(connection, ticket.principal.id)
        status = await reading.mark(connection, ticket.principal.id)
    host = urlsplit(city.base_of(context)).hostname or ""
    body = cap(site, found[0], classes, status=status, host=host)
    return Response(body, media_type=MEDIA_TYPE, headers={"Cache-Control": "private, no-store"})
