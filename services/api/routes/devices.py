"""Devices with their latest state, and one device's readings."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, Field
from starlette.responses import Response

from services.api.answers import shapes
from services.api.answers.health import HEALTH_METRICS
from services.api.answers.models import DeviceOut, DevicePage, Point, SeriesOut
from services.api.common import PREFIX, PROBLEMS, Cursor, Limit, answer
from services.api.context import Ctx
from services.api.data import spacing
from services.api.guard import community_in_scope, in_scope, needs
from services.api.identity.auth import Ticket
from services.api.privacy import audit
from services.api.privacy.access_to_health import health_allowed
from services.api.privacy.purposes import AskedFor, required
from services.api.store import communities as store
from services.api.store import series as series_store
from services.api.store.database import Connection
from services.api.web import cursor
from services.api.web.problems import ApiError, not_found
from services.domain.access import Permission, reader_class
from services.domain.devices import BY_NAME
from services.domain.devices.kind import Metric, MetricType
from services.domain.people.privacy import Purpose

router = APIRouter(prefix=PREFIX, tags=["devices 设备"], responses=PROBLEMS)

Instant = Annotated[AwareDatetime, Field(ge=datetime(2000, 1, 1, tzinfo=UTC), lt=datetime(2200, 1, 1, tzinfo=UTC))]
MAX_POINTS = 5000
_DEFAULT_RANGE = timedelta(hours=24)
_COUNTER_LOOKBACK = timedelta(hours=2)


@router.get("/communities/{community_id}/devices", response_model=DevicePage, summary="设备列表 Devices, by id")
async def devices(
    community_id: str,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.DEVICES)],
    kind: Annotated[str | None, Query(max_length=64)] = None,
    building_id: Annotated[str | None, Query(max_length=64)] = None,
    after: Annotated[Cursor, Query(alias="cursor")] = None,
    limit: Limit = 100,
) -> Response:
    key = cursor.decode(after, 1)
    reader = reader_class(ticket.principal)
    async with context.database.read() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
    await context.watchers.watches(ticket, community_id)
    async with context.database.read() as connection:
        rows = await store.devices(
            connection,
            community_id,
            kind=kind,
            building_id=building_id,
            after=key[0] if key else None,
            limit=limit + 1,
        )
    page = rows[:limit]
    more = cursor.encode(page[-1]["id"]) if len(rows) > limit else None
    return answer({"items": [shapes.device(row, reader) for row in page], "next": more})


@router.get("/devices/{device_id}", summary="一台设备 One device")
async def device(
    device_id: str,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.DEVICES)],
    purpose: Annotated[Purpose | None, AskedFor] = None,
) -> DeviceOut:
    who = ticket.principal
    async with context.database.write() as connection:
        row = await in_scope(connection, who, await store.device(connection, device_id), "device", device_id)
        if row["kind"] in HEALTH_METRICS and shapes.shown(reader_class(who), row):
            await audit.health_read(connection, who, row, required(purpose, who), None)
    return DeviceOut(**shapes.device(row, reader_class(who)))


@router.get("/devices/{device_id}/readings", response_model=SeriesOut, summary="一项指标的曲线 One metric over time")
async def readings(
    device_id: str,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.READINGS)],
    metric: Annotated[str, Query(max_length=64)],
    start: Annotated[Instant | None, Query(alias="from", description="RFC 3339; 24 h before `to` by default")] = None,
    end: Annotated[Instant | None, Query(alias="to", description="RFC 3339; now by default")] = None,
    bucket_s: Annotated[int, Query(ge=0, le=7 * 86400, description="0: every reading as it came")] = 300,
    purpose: Annotated[Purpose | None, AskedFor] = None,
) -> Response:
    """Averages of gauges, differences of counters; an answer holds 5,000 points at most."""
    who = ticket.principal
    end = end or datetime.now(UTC)
    start = start or end - _DEFAULT_RANGE
    if start >= end:
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "from 须早于 to · `from` must lie before `to`")
    if bucket_s and (end - start).total_seconds() / bucket_s > MAX_POINTS:
        least = int((end - start).total_seconds() / MAX_POINTS) + 1
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"点数超过 {MAX_POINTS}，请用 bucket_s ≥ {least} · too many points; use bucket_s ≥ {least}",
        )
    async with context.database.write() as connection:
        row = await in_scope(connection, who, await store.device(connection, device_id), "device", device_id)
        kind = BY_NAME.get(row["kind"])
        position = kind.position(metric) if kind else None
        if kind is None or position is None:
            raise not_found("metric", metric)
        known = kind.metrics[position]
        if known.health:
            purpose = await health_allowed(connection, who, row, known, purpose)
        points = await _points(connection, row, position, known, start, end, bucket_s)
        if known.health and purpose is not None:
            await audit.health_read(connection, who, row, purpose, metric)
    return answer(
        SeriesOut(name=metric, unit=known.unit, label=shapes.label(known.label), bucket_s=bucket_s, points=points)
    )


async def _points(
    connection: Connection,
    device: shapes.Row,
    position: int,
    metric: Metric,
    start: datetime,
    end: datetime,
    bucket_s: int,
) -> list[Point]:
    """States are given as they came: the average of two of them is none."""
    community, device_no = device["community_id"], device["device_no"]
    if bucket_s == 0 or metric.type is MetricType.STATE:
        rows = await series_store.raw(connection, community, device_no, start, end, position, MAX_POINTS)
        return spacing.as_they_came(rows)
    bucket = timedelta(seconds=bucket_s)
    if metric.type is MetricType.COUNTER:
        lookback = max(_COUNTER_LOOKBACK, bucket)
        sums = await series_store.counter_sum(
            connection, community, [device_no], start, end, bucket, position, lookback
        )
    else:
        sums = await series_store.gauge_sum(connection, community, [device_no], start, end, bucket, position)
    return spacing.filled(sums, start, end, bucket_s)
