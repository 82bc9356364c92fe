"""The monthly report (月报) of a community as PDF or workbook."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Literal
from urllib.parse import quote

import structlog
from fastapi import APIRouter, Query, Request
from starlette.responses import Response

from services.adapters.monthly.document import digest
from services.adapters.monthly.fonts import NoFont
from services.adapters.monthly.render import RenderFailed
from services.adapters.monthly.store import read_month
from services.api.common import OF_WHO_ASKS, PREFIX, PROBLEMS
from services.api.context import Ctx
from services.api.guard import community_in_scope, needs
from services.api.identity.auth import Ticket
from services.api.kpis.figures import PRIVATE, sees_people
from services.api.web.problems import ApiError
from services.domain.access import Permission

log = structlog.get_logger(__name__)
router = APIRouter(prefix=f"{PREFIX}/communities", tags=["kpis 指标"], responses=PROBLEMS)

_TYPES = {
    "pdf": "application/pdf",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
}


@router.get(
    "/{community_id}/monthly-reports",
    response_class=Response,
    summary="工单月报 The monthly report as PDF or workbook",
    responses={200: {"content": {media_type: {} for media_type in _TYPES.values()}}},
)
async def monthly_report(
    community_id: str,
    request: Request,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.KPIS)],
    month: Annotated[str, Query(pattern=r"^2[01]\d\d-(0[1-9]|1[0-2])$", examples=["2026-10"])],
    format: Annotated[Literal["pdf", "xlsx"], Query()] = "pdf",
) -> Response:
    """Nothing of residents or of health is in it; staff are named for the desk, the street and administrators."""
    who, now = ticket.principal, context.clock.now()
    async with context.database.consistent() as connection:
        community = await community_in_scope(connection, who, community_id)
        found = await read_month(connection, community_id, month, now, PRIVATE, people=sees_people(who))
    mark = f'"{digest(found, format)}"'
    headers = {"ETag": mark, "Cache-Control": "private, max-age=30", "Vary": OF_WHO_ASKS}
    if mark in request.headers.get("If-None-Match", ""):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    try:
        _, content = await context.monthly.get(found, format)
    except NoFont as missing:
        raise ApiError(HTTPStatus.NOT_IMPLEMENTED, str(missing)) from None
    except RenderFailed as failed:
        log.error("monthly_report_failed", community=community_id, month=month, format=format, why=str(failed))
        raise ApiError(HTTPStatus.INTERNAL_SERVER_ERROR, "月报生成失败 · the report could not be made") from None
    name = quote(f"{community['name']}工单月报{month}.{format}")
    disposition = f"attachment; filename=\"{community_id}-{month}.{format}\"; filename*=UTF-8''{name}"
    return Response(content, media_type=_TYPES[format], headers={**headers, "Content-Disposition": disposition})
