"""What the reporting page shows before anybody has said who they are: communities, the plan, what is told already."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from services.adapters.orders import fetch_order
from services.adapters.reports import opening
from services.api.answers.models import LabelOut, Model
from services.api.answers.shapes import label
from services.api.common import PREFIX, PROBLEMS
from services.api.context import Ctx
from services.api.guard import anybody, open_to_all
from services.api.identity.auth import Ticket
from services.api.reports.sending import community_of
from services.api.reports.shared import category_named, title_of
from services.api.store import communities as store
from services.api.store.tenancy import SERVICE, Scope, public
from services.domain.orders import Source
from services.domain.reports import Spot, Step, same, stage
from services.domain.reports.categories import Within
from services.domain.reports.duplicates import apart_m
from services.domain.reports.words import WORDS

router = APIRouter(prefix=PREFIX, tags=["reports 居民上报"], responses=PROBLEMS)

Somebody = Annotated[Ticket | None, anybody()]
Pin = Annotated[float | None, Query(ge=-10_000, le=100_000, allow_inf_nan=False)]
_NEAR_M = 80.0
_NEAR_FOR = timedelta(days=3)
_NEAREST = 5
_PRIVATE = (Within.UNIT, Within.HOUSEHOLD)
"""Troubles of a home or a stair: a stranger who asks is told nothing of them."""


class ReportCommunityOut(Model):
    id: str
    name: str
    district: str
    street: str


class ReportBuildingOut(Model):
    """Metres on the plan, the upper left corner."""

    id: str
    name: str
    x: float
    y: float
    width: float
    depth: float


class ReportPlacesOut(Model):
    """Shapes: {"kind": road, green, water, parking, gate or court, "points": [[x, y], …]}; metres, y downwards."""

    id: str
    name: str
    width: float
    height: float
    shapes: list[dict[str, Any]]
    buildings: list[ReportBuildingOut]


class ToldOut(Model):
    """A trouble that residents have told of and that is worked on. Not its words, its number, or who told of it."""

    title: LabelOut
    stage: Step
    words: LabelOut
    reported_at: datetime
    apart_m: float | None
    same: bool
    """A report of the same would be joined to it."""


class ToldPage(Model):
    items: list[ToldOut]


@router.get("/report-communities", summary="可上报的社区 Where one can report", dependencies=[open_to_all()])
async def report_communities(context: Ctx, response: Response) -> list[ReportCommunityOut]:
    # Whoever asks is nobody yet; which communities there are, is no secret.
    async with context.database.read(as_=SERVICE) as connection:
        rows = await store.communities(connection)
    response.headers["Cache-Control"] = "public, max-age=600"
    return [ReportCommunityOut(**{name: row[name] for name in ReportCommunityOut.model_fields}) for row in rows]


@router.get("/communities/{community_id}/report-places", summary="上报用平面图 The plan to point at")
async def report_places(community_id: str, context: Ctx, ticket: Somebody) -> ReportPlacesOut:
    """Buildings and ground, as anybody sees them who walks through: no devices, homes or people."""
    async with context.database.read(as_=public(community_id)) as connection:
        community = await community_of(connection, ticket, community_id)
        drawn, buildings = await store.plan(connection, community_id)
    fields = ReportBuildingOut.model_fields
    return ReportPlacesOut(
        id=community_id,
        name=community["name"],
        width=drawn.get("width", 0),
        height=drawn.get("height", 0),
        shapes=drawn.get("shapes", []),
        buildings=[ReportBuildingOut(**{name: row[name] for name in fields}) for row in buildings],
    )


@router.get("/communities/{community_id}/reports/told", summary="附近已有人上报 What is told of already, near by")
async def told(
    community_id: str,
    context: Ctx,
    ticket: Somebody,
    category: Annotated[str, Query(max_length=64)],
    building_id: Annotated[str | None, Query(max_length=64)] = None,
    x: Pin = None,
    y: Pin = None,
) -> ToldPage:
    """So that one sees that somebody is on the way. Only of what is common ground: nothing of homes and stairs, and
    nothing that a sensor told."""
    asked, now = category_named(category), context.clock.now()
    found: dict[object, ToldOut] = {}
    # What neighbours told is looked for, so the reader's own home is no bound; what is told of it names nobody.
    async with context.database.consistent(as_=Scope(community=community_id)) as connection:
        await community_of(connection, ticket, community_id)
        if asked.within in _PRIVATE:
            return ToldPage(items=[])
        if x is None or y is None:
            _, buildings = await store.plan(connection, community_id)
            at = next((one for one in buildings if one["id"] == building_id), None)
            x, y = (at["x"] + at["width"] / 2, at["y"] + at["depth"] / 2) if at else (None, None)
        spot = Spot(now, building_id, x=x, y=y)
        for one, state, _ in await opening.near(connection, community_id, asked, now - _NEAR_FOR):
            apart, alike = apart_m(spot, one.spot), same(asked, spot, one.spot)
            if one.order_id in found or state not in opening.AHEAD or not (alike or (apart or _NEAR_M + 1) <= _NEAR_M):
                continue
            order = await fetch_order(connection, one.order_id)
            if order.source is not Source.RESIDENT:
                continue
            step = stage(state, filed=order.filed_at is not None, reworks=order.reworks)
            found[one.order_id] = ToldOut(
                title=title_of(category),
                stage=step,
                words=label(WORDS[step]),
                reported_at=one.spot.at,
                apart_m=round(apart, -1) if apart is not None else None,
                same=alike,
            )
    nearest = sorted(found.values(), key=lambda one: (not one.same, one.apart_m if one.apart_m is not None else 1e9))
    return ToldPage(items=nearest[:_NEAREST])
