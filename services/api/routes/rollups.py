"""Hours and days of one metric: of a device, or summed over a community; exact, however far back."""

from __future__ import annotations

from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from starlette.responses import Response

from services.api.answers import shapes
from services.api.answers.models import RollupsOut
from services.api.common import PREFIX, PROBLEMS, answer
from services.api.context import Ctx
from services.api.guard import community_in_scope, in_scope, needs
from services.api.identity.auth import Ticket
from services.api.privacy import audit
from services.api.privacy.access_to_health import health_allowed
from services.api.privacy.purposes import AskedFor
from services.api.routes.devices import Instant
from services.api.store import communities as communities_store
from services.api.store import rollups as store
from services.api.web.problems import ApiError, not_found
from services.domain.access import Permission
from services.domain.devices import BY_NAME
from services.domain.devices.kind import Metric
from services.domain.people.privacy import Purpose

router = APIRouter(prefix=PREFIX, tags=["series 曲线"], responses=PROBLEMS)

Bucket = Annotated[Literal["hour", "day"], Query(description="整点小时，或当地自然日 · hours, or the community's days")]
MetricName = Annotated[str, Query(max_length=64)]
From = Annotated[Instant, Query(alias="from", description="RFC 3339")]
To = Annotated[Instant, Query(alias="to", description="RFC 3339")]
MAX_BUCKETS = 5000


def _check(start: datetime, end: datetime, bucket: str) -> None:
    if start >= end:
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "from 须早于 to · `from` must lie before `to`")
    if (end - start) / timedelta(hours=24 if bucket == "day" else 1) > MAX_BUCKETS:
        detail = f"超过 {MAX_BUCKETS} 个点，请缩短时段或用 bucket=day · too many points; shorten it, or use bucket=day"
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, detail)


def _metric(kind_name: str, name: str) -> Metric:
    kind = BY_NAME.get(kind_name)
    position = kind.position(name) if kind else None
    if kind is None or position is None:
        raise not_found("metric", name)
    return kind.metrics[position]


@router.get(
    "/devices/{device_id}/rollups", response_model=RollupsOut, summary="一项指标的时/日汇总 One metric by hours or days"
)
async def of_device(
    device_id: str,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.READINGS)],
    metric: MetricName,
    start: From,
    end: To,
    bucket: Bucket = "day",
    purpose: Annotated[Purpose | None, AskedFor] = None,
) -> Response:
    """`used`: of counters, what was consumed; `breaks`: jumps that cannot have been, which count nothing."""
    who = ticket.principal
    _check(start, end, bucket)
    async with context.database.write() as connection:
        row = await in_scope(
            connection, who, await communities_store.device(connection, device_id), "device", device_id
        )
        known = _metric(row["kind"], metric)
        if known.health:
            purpose = await health_allowed(connection, who, row, known, purpose)
        found = await store.of_device(connection, row["community_id"], row["device_no"], known, start, end, bucket)
        if known.health and purpose is not None:
            await audit.health_read(connection, who, row, purpose, metric)
    return answer(
        RollupsOut(name=metric, unit=known.unit, label=shapes.label(known.label), bucket=bucket, points=found)
    )


@router.get(
    "/communities/{community_id}/rollups",
    response_model=RollupsOut,
    summary="全区一类设备的时/日汇总 One metric of all devices of a kind",
)
async def of_community(
    community_id: str,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.SERIES)],
    kind: Annotated[str, Query(max_length=64)],
    metric: MetricName,
    start: From,
    end: To,
    bucket: Bucket = "day",
) -> Response:
    """`used`: consumed by all; `mean`: the sum of each one's mean; `count`: how many devices spoke."""
    _check(start, end, bucket)
    async with context.database.read() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
    known = _metric(kind, metric)
    if known.health:
        raise ApiError(HTTPStatus.FORBIDDEN, "健康数据不作汇总 · health data is not summed")

    async def compute() -> bytes:
        async with context.database.read() as connection:
            found = await store.of_community(connection, community_id, kind, known, start, end, bucket)
        shown = RollupsOut(name=metric, unit=known.unit, label=shapes.label(known.label), bucket=bucket, points=found)
        return shown.model_dump_json().encode()

    body = await context.curves.get((community_id, kind, metric, start, end, bucket), compute)
    return Response(body, media_type="application/json")
