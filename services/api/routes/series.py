"""The community's curves: electricity, water, gas and sun."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from services.api.answers.models import LabelOut, SeriesOut
from services.api.common import PREFIX, PROBLEMS
from services.api.context import Context, Ctx
from services.api.data import curves as kept
from services.api.data import spacing
from services.api.guard import community_in_scope, needs
from services.api.identity.auth import Ticket
from services.api.store import series as store
from services.api.web.problems import not_found
from services.domain.access import Permission
from services.domain.devices import BY_NAME
from services.domain.devices.kind import Metric, MetricType

router = APIRouter(prefix=f"{PREFIX}/communities", tags=["series 曲线"], responses=PROBLEMS)


@dataclass(frozen=True, slots=True)
class Curve:
    """One curve: which metric of which kind is summed over the community."""

    kind: str
    metric: str
    label: LabelOut


CURVES: dict[str, Curve] = {
    "power": Curve("electricity_meter", "power", LabelOut(zh="用电功率", en="Electric power")),
    "water": Curve("water_meter", "total_m3", LabelOut(zh="用水量", en="Water use")),
    "gas": Curve("gas_meter", "total_m3", LabelOut(zh="用气量", en="Gas use")),
    "pv": Curve("pv_inverter", "power", LabelOut(zh="光伏功率", en="Solar power")),
}
_HOUR = timedelta(hours=1)
_LOOKBACK = timedelta(hours=2)
"""Where a counter's reading before the first bucket is looked for: several of the slowest meter's intervals."""
FRESH_S = 30.0
"""Everybody who asks within this time gets the same answer: what a community's curve costs has a ceiling."""


@router.get(
    "/{community_id}/series/{name}", response_model=SeriesOut, summary="全区曲线 A curve of the whole community"
)
async def series(
    community_id: str,
    name: str,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.SERIES)],
    hours: Annotated[int, Query(ge=1, le=168)] = 24,
    bucket_s: Annotated[int, Query(ge=300, le=86400)] = 900,
) -> Response:
    """`power`, `pv`: W, the sum over meters of each one's average. `water`, `gas`: m³ consumed in each bucket."""
    async with context.database.read() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
    curve = CURVES.get(name)
    if curve is None:
        raise not_found("series", name)

    async def compute() -> bytes:
        return (await _curve(context, community_id, name, curve, hours, bucket_s)).model_dump_json().encode()

    body = await context.curves.get((community_id, name, hours, bucket_s), compute)
    return Response(body, media_type="application/json")


async def _curve(context: Context, community_id: str, name: str, curve: Curve, hours: int, bucket_s: int) -> SeriesOut:
    kind = BY_NAME[curve.kind]
    position, metric = next((at, metric) for at, metric in enumerate(kind.metrics) if metric.name == curve.metric)
    bucket = timedelta(seconds=bucket_s)
    end = datetime.now(UTC)
    start = end - timedelta(hours=hours)
    async with context.database.read() as connection:
        if bucket == kept.QUARTER:
            first = kept.floor(start, kept.QUARTER)
            sums = await kept.recent(connection, community_id, kept.BY_NAME[name], first, end)
            if sums is not None:
                return _shown(name, curve, metric, sums, start, end, bucket_s)
        meters = await store.meters(connection, community_id, curve.kind)
        if metric.type is MetricType.COUNTER:
            sums = await store.counter_sum(
                connection, community_id, meters, start, end, bucket, position, max(_LOOKBACK, bucket)
            )
        elif bucket % _HOUR:
            sums = await store.gauge_sum(connection, community_id, meters, start, end, bucket, position)
        else:
            # A meter says its power each minute: sixty readings for each hour's one roll-up.
            sums = await store.gauge_hours(
                connection, community_id, curve.kind, meters, metric.name, start, end, bucket
            )
    return _shown(name, curve, metric, sums, start, end, bucket_s)


def _shown(
    name: str, curve: Curve, metric: Metric, sums: store.Sums, start: datetime, end: datetime, bucket_s: int
) -> SeriesOut:
    points = spacing.filled(sums, start, end, bucket_s)
    return SeriesOut(
        name=name,
        unit=metric.unit,
        label=curve.label,
        bucket_s=bucket_s,
        points=spacing.without_running(points),
    )
