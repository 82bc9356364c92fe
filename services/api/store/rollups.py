"""Hours and days of one metric, through the functions that know what is rolled up and what is not."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from services.api.answers.models import RollupPoint
from services.api.store import Q
from services.api.store.database import Connection
from services.domain.devices.kind import Metric, MetricType


async def of_device(
    connection: Connection, community: str, device_no: int, metric: Metric, start: datetime, end: datetime, bucket: str
) -> list[RollupPoint]:
    statement = "device_meter" if metric.type is MetricType.COUNTER else "device_rollup"
    rows = await connection.fetch(Q[statement], community, device_no, metric.name, start, end, bucket)
    return _points(rows, metric)


async def of_community(
    connection: Connection, community: str, kind: str, metric: Metric, start: datetime, end: datetime, bucket: str
) -> list[RollupPoint]:
    statement = "community_meter" if metric.type is MetricType.COUNTER else "community_rollup"
    rows = await connection.fetch(Q[statement], community, kind, metric.name, start, end, bucket)
    return _points(rows, metric)


def _points(rows: Any, metric: Metric) -> list[RollupPoint]:
    """The mean of a counter's register or of states would say nothing."""
    averages = metric.type in (MetricType.GAUGE, MetricType.SWITCH)
    return [
        RollupPoint(
            ts_ms=round(row["bucket"].timestamp() * 1000),
            count=row["count"],
            low=row["low"],
            high=row["high"],
            mean=row["mean"] if averages else None,
            last=row["last"],
            used=row["used"],
            breaks=row["breaks"],
        )
        for row in rows
    ]
