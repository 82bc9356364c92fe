"""The community's key figures: as a whole, in groups, of all communities of a street, and the orders behind each."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Header, Query, Request
from pydantic import BaseModel
from starlette.responses import Response

from services.adapters.figures import behind, tally
from services.api.answers import shapes
from services.api.answers.moves import actor_of
from services.api.common import OF_WHO_ASKS, PREFIX, PROBLEMS, Cursor, Limit, time_and_id
from services.api.context import Ctx
from services.api.guard import community_in_scope, needs
from services.api.identity.auth import Ticket
from services.api.kpis import figures
from services.api.kpis.models import CommunityKpisOut, KpiReportOut, KpiRowOut, KpiRowsOut, StreetKpisOut
from services.api.store import communities as communities_store
from services.api.store import work
from services.api.web import cursor
from services.api.web.problems import ApiError, not_found
from services.domain.access import Permission, reaches_community, reader_class
from services.domain.kpis import FIGURE_BY_NAME, kpi
from services.domain.kpis import kpis as made

router = APIRouter(prefix=PREFIX, tags=["kpis 指标"], responses=PROBLEMS)

FRESH = "private, max-age=5"
By = Literal["team", "grid", "person", "class", "severity", "source", "category", "day", "building", "rule", "device"]
First = Annotated[date | None, Query(alias="from", description="本地日期，含当日 · local day, included")]
Last = Annotated[date | None, Query(alias="to", description="本地日期，含当日 · local day, included; default today")]
At = Annotated[
    datetime | None, Query(description="截至时刻，默认现在 · as of when; the `at` of the figures, so that both agree")
]
Match = Annotated[str | None, Query(max_length=200)]
Rows = Annotated[Literal["numerator", "denominator"], Query(description="分子或分母 · above or below the line")]


async def _filters(
    team: Match = None, grid: Match = None, person: Match = None, class_: Annotated[Match, Query(alias="class")] = None,
    severity: Match = None, source: Match = None, category: Match = None, day: Match = None, building: Match = None,
    rule: Match = None, device: Match = None,
) -> dict[str, str]:  # fmt: skip
    given = {
        "team": team, "grid": grid, "person": person, "class": class_, "severity": severity, "source": source,
        "category": category, "day": day, "building": building, "rule": rule, "device": device,
    }  # fmt: skip
    return {name: value for name, value in given.items() if value is not None}


Filters = Annotated[dict[str, str], Depends(_filters)]


@router.get(
    "/communities/{community_id}/kpis",
    response_model=KpiReportOut,
    summary="关键指标 Key figures with formula and counts, in groups; also as CSV",
    responses={200: {"content": {"text/csv": {}}, "headers": {"ETag": {"schema": {"type": "string"}}}}},
)
async def kpis(
    community_id: str,
    request: Request,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.KPIS)],
    filters: Filters,
    first: First = None,
    last: Last = None,
    by: By | None = None,
    at: At = None,
    accept: Annotated[str, Header()] = "",
) -> Response:
    """Of orders opened on these local days (without any: the last 30), as they stand. A filter may be empty: none."""
    now = _moment(at)
    async with context.database.consistent() as connection:
        community = await community_in_scope(connection, ticket.principal, community_id)
        days = figures.days_asked(first, last, community["timezone"], now)
        shown = await figures.report(connection, ticket.principal, community, days, now, by, filters)
    if "text/csv" in accept:
        name = f"kpis-{community_id}-{days.first}-{days.last}.csv"
        headers = {"Content-Disposition": f'attachment; filename="{name}"'}
        return _kept(request, figures.as_csv(shown).encode(), "text/csv; charset=utf-8", headers)
    return _model(request, shown)


@router.get(
    "/communities/{community_id}/kpis/{name}/rows",
    response_model=KpiRowsOut,
    summary="指标明细 The orders behind a figure, newest first",
)
async def rows(
    community_id: str,
    name: str,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.KPIS)],
    filters: Filters,
    part: Rows = "numerator",
    first: First = None,
    last: Last = None,
    at: At = None,
    after: Annotated[Cursor, Query(alias="cursor")] = None,
    limit: Limit = 100,
) -> KpiRowsOut:
    """The values of all pages add up to `total`: the numerator (or denominator) of the figure with the same filters."""
    figure = FIGURE_BY_NAME.get(name)
    if figure is None:
        raise not_found("figure", name)
    who, now, key = ticket.principal, _moment(at), time_and_id(after)
    async with context.database.consistent() as connection:
        community = await community_in_scope(connection, who, community_id)
        days = figures.days_asked(first, last, community["timezone"], now)
        question = figures.asked(who, community, days, now, filters)
        counted = kpi(figure, await tally(connection, question))
        found = await behind(
            connection, question, figure, denominator=part == "denominator", after=key, limit=limit + 1
        )
        page = found[:limit]
        orders = {row["id"]: row for row in await work.orders_by_ids(connection, [one.id for one in page])}
    reader, actor = reader_class(who), actor_of(who)
    total = counted.numerator if part == "numerator" or counted.denominator is None else counted.denominator
    return KpiRowsOut(
        at=now,
        kpi=figures.out(counted),
        total=float(total or 0),
        items=[KpiRowOut(order=shapes.order(orders[one.id], reader, actor), value=one.value) for one in page],
        next=cursor.encode(page[-1].created_at.isoformat(), page[-1].id) if len(found) > limit else None,
    )


@router.get("/kpis", response_model=StreetKpisOut, summary="各社区指标 Communities of a street side by side")
async def street(
    request: Request,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.KPIS)],
    street: Annotated[str | None, Query(max_length=200, description="街道 id; default: all in scope")] = None,
    first: First = None,
    last: Last = None,
    at: At = None,
) -> Response:
    """Only communities within one's scope; of one outside it nothing is said."""
    who, now = ticket.principal, _moment(at)
    shown: list[CommunityKpisOut] = []
    days = figures.days_asked(first, last, "Asia/Shanghai", now)
    async with context.database.consistent() as connection:
        for row in await communities_store.communities(connection, community_id=who.community_id, street_id=street):
            if reaches_community(who, row["id"], row["street_id"]):
                counted = await tally(connection, figures.asked(who, row, days, now, {}))
                items = [figures.out(one) for one in made(counted)]
                shown.append(
                    CommunityKpisOut(community_id=row["id"], name=row["name"], street_id=row["street_id"], items=items)
                )
    return _model(request, StreetKpisOut(at=now, first=days.first, last=days.last, communities=shown))


def _moment(at: datetime | None) -> datetime:
    if at is None:
        return datetime.now(UTC)
    if at.tzinfo is None:
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "at 缺少时区 · at needs an offset, e.g. 2026-11-01T00:00:00Z")
    return at


def _model(request: Request, shown: BaseModel) -> Response:
    return _kept(request, shown.model_dump_json().encode(), "application/json", {}, mark=_content(shown))


def _content(shown: BaseModel) -> bytes:
    """Without the moment it was asked: the same figures are the same answer."""
    return shown.model_dump_json(exclude={"at"}).encode()


def _kept(
    request: Request, body: bytes, media_type: str, headers: dict[str, str], mark: bytes | None = None
) -> Response:
    """The answer with its ETag; 304 where the asker has it already."""
    etag = f'"{hashlib.sha256(mark if mark is not None else body).hexdigest()[:32]}"'
    headers = {**headers, "ETag": etag, "Cache-Control": FRESH, "Vary": f"Accept, {OF_WHO_ASKS}"}
    if etag in request.headers.get("If-None-Match", ""):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    return Response(body, media_type=media_type, headers=headers)
