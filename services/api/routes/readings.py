"""Readings of several devices and metrics in one call: as they came, thinned out, or in buckets."""

from __future__ import annotations

from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from services.api.answers import shapes
from services.api.answers.models import Point
from services.api.common import PREFIX, PROBLEMS, answer
from services.api.context import Ctx
from services.api.data import store
from services.api.data.models import Aggregate, ReadingsCurve, ReadingsOut
from services.api.data.store import Row
from services.api.guard import community_in_scope, needs
from services.api.identity.auth import Ticket
from services.api.privacy import audit
from services.api.privacy.access_to_health import health_allowed
from services.api.privacy.purposes import AskedFor
from services.api.routes.rollups import From, To
from services.api.store.database import Connection
from services.api.web.problems import ApiError, not_found
from services.domain.access import Permission, Principal
from services.domain.devices import BY_NAME
from services.domain.devices.kind import Metric, MetricType
from services.domain.lttb import downsample
from services.domain.people.privacy import Purpose

router = APIRouter(prefix=f"{PREFIX}/communities", tags=["series 曲线"], responses=PROBLEMS)

MOST_CURVES = 40
MOST_POINTS = 20_000
"""In one answer, all curves together."""
MOST_LOOKED_AT = 200_000
"""Readings of one curve that one call thins out."""
_COLUMN = {"avg": "mean", "min": "low", "max": "high", "last": "newest", "sum": "total"}


@router.get("/{community_id}/readings", response_model=ReadingsOut, summary="多设备读数 Readings of several devices")
async def readings(
    community_id: str,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.READINGS)],
    devices: Annotated[str, Query(max_length=2048, description="设备编号，逗号分隔 · device ids, by commas")],
    metrics: Annotated[str, Query(max_length=512, description="指标，逗号分隔 · metrics, by commas")],
    start: From,
    end: To,
    aggregate: Aggregate = "raw",
    bucket_s: Annotated[int | None, Query(ge=1, le=31 * 86400, description="required unless aggregate=raw")] = None,
    points: Annotated[int, Query(ge=3, le=5000, description="raw: 每条曲线最多点数 (LTTB) · at most, a curve")] = 1000,
    purpose: Annotated[Purpose | None, AskedFor] = None,
) -> Response:
    """A metric that a device's kind does not have is left out for that device. `consumption` (of counters) is metered
    exactly and needs whole hours. Raw curves are thinned out by LTTB, outages kept open."""
    who = ticket.principal
    asked, names = _words(devices), _words(metrics)
    _check(asked, names, start, end, aggregate, bucket_s)
    curves: list[ReadingsCurve] = []
    async with context.database.write() as connection:
        await community_in_scope(connection, who, community_id)
        found = await connection.fetch(store.Q["devices_asked"], community_id, asked, None, len(asked))
        missing = set(asked) - {row["id"] for row in found}
        if missing:
            raise not_found("device", ", ".join(sorted(missing)))
        chosen = [(row, *one) for row in found for one in _metrics(row, names)]
        if not chosen:
            raise not_found("metric", ", ".join(names))
        read = await _allowed(connection, who, chosen, purpose)
        for row, position, metric in chosen:
            curves.append(
                await _curve(connection, community_id, row, position, metric, start, end, aggregate, bucket_s, points)
            )
        for row, why, of in read:
            await audit.health_read(connection, who, row, why, of)
    return answer(ReadingsOut(aggregate=aggregate, bucket_s=bucket_s, curves=curves))


def _words(text: str) -> list[str]:
    return sorted({word for word in (part.strip() for part in text.split(",")) if word})


def _refused(zh: str, en: str) -> ApiError:
    return ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{zh} · {en}")


def _check(
    devices: list[str], metrics: list[str], start: datetime, end: datetime, aggregate: str, bucket_s: int | None
) -> None:
    if start >= end:
        raise _refused("from 须早于 to", "`from` must lie before `to`")
    curves = len(devices) * len(metrics)
    if not 0 < curves <= MOST_CURVES:
        raise _refused(f"一次最多 {MOST_CURVES} 条曲线", f"name devices and metrics, {MOST_CURVES} curves at most")
    if aggregate == "raw":
        return
    if bucket_s is None:
        raise _refused("请给出 bucket_s", "say bucket_s, the length of a bucket in seconds")
    if aggregate == "consumption" and bucket_s % 3600:
        raise _refused("consumption 的 bucket_s 须为 3600 的倍数", "consumption needs bucket_s in whole hours (3600)")
    total = (end - start).total_seconds() / bucket_s * curves
    if total > MOST_POINTS:
        least = int((end - start).total_seconds() * curves / MOST_POINTS) + 1
        raise _refused(
            f"点数超过 {MOST_POINTS}，请用 bucket_s ≥ {least}，或减少设备", f"too many points; use bucket_s ≥ {least}, "
            "fewer devices or a shorter time",
        )  # fmt: skip


def _metrics(row: Row, names: list[str]) -> list[tuple[int, Metric]]:
    kind = BY_NAME.get(row["kind"])
    if kind is None:
        return []
    return [(at, metric) for at, metric in enumerate(kind.metrics) if metric.name in names]


async def _allowed(
    connection: Connection, who: Principal, chosen: list[tuple[Row, int, Metric]], purpose: Purpose | None
) -> list[tuple[Row, Purpose, str]]:
    """What is to be audited: each device whose health data is read, why, and which metrics. Raises as health_allowed:
    one that may not be read refuses the whole, so that nobody takes a curve that is missing for one that is empty."""
    read: dict[str, tuple[Row, Purpose, list[str]]] = {}
    for row, _, metric in chosen:
        if metric.health:
            why = await health_allowed(connection, who, row, metric, purpose)
            read.setdefault(row["id"], (row, why, []))[2].append(metric.name)
    return [(row, why, ",".join(of)) for row, why, of in read.values()]


async def _curve(
    connection: Connection, community_id: str, row: Row, position: int, metric: Metric, start: datetime, end: datetime,
    aggregate: Aggregate, bucket_s: int | None, most: int,
) -> ReadingsCurve:  # fmt: skip
    args = (community_id, row["device_no"])
    whole = True
    if aggregate == "raw":
        rows = await connection.fetch(store.Q["readings_of"], *args, position + 1, start, end, MOST_LOOKED_AT + 1)
        whole = len(rows) <= MOST_LOOKED_AT
        gap_ms = 3000.0 * row["interval_s"]
        made = downsample([(one[0].timestamp() * 1000, one[1]) for one in rows[:MOST_LOOKED_AT]], most, gap_ms)
        shown = [Point(ts_ms=round(at), value=value) for at, value in made]
    elif aggregate == "consumption":
        if metric.type is not MetricType.COUNTER:
            raise _refused(f"{metric.name} 不是累计量", f"{metric.name} is no counter: nothing is consumed")
        bucket = timedelta(seconds=bucket_s or 3600)
        rows = await connection.fetch(store.Q["consumption"], *args, metric.name, start, end, bucket)
        shown = [Point(ts_ms=round(one[0].timestamp() * 1000), value=one[1]) for one in rows]
    else:
        bucket = timedelta(seconds=bucket_s or 3600)
        rows = await connection.fetch(store.Q["readings_bucketed"], *args, position + 1, start, end, bucket)
        known = {one["bucket"]: one[_COLUMN[aggregate]] for one in rows}
        shown = _with_holes(known, bucket, row["interval_s"])
    return ReadingsCurve(
        device_id=row["id"],
        metric=metric.name,
        unit=metric.unit,
        label=shapes.label(metric.label),
        points=shown,
        whole=whole,
    )


def _with_holes(known: dict[datetime, float], bucket: timedelta, interval_s: int) -> list[Point]:
    """A point without a value wherever more than one bucket, and three of the device's intervals, lie empty."""
    gap = max(2 * bucket, timedelta(seconds=3 * interval_s))
    points: list[Point] = []
    before: datetime | None = None
    for at, value in sorted(known.items()):
        if before is not None and at - before > gap:
            points.append(Point(ts_ms=round((before + bucket).timestamp() * 1000), value=None))
        points.append(Point(ts_ms=round(at.timestamp() * 1000), value=value))
        before = at
    return points
