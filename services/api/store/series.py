"""Curves over readings: every statement names its devices and its range, so its cost does not grow with history.

Each meter is read by itself through (device_no, ts): grouping all of them at once made the planner scan whole days of
every device and sort a million rows on disk (5 s where this takes 0.75 s for 800 meters a minute over 24 h).
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from services.api.store import Q
from services.api.store.database import Connection

Sums = list[tuple[datetime, float]]


async def meters(connection: Connection, community_id: str, kind: str) -> list[int]:
    """Device numbers; the retired too, their past consumption counts."""
    return [row["device_no"] for row in await connection.fetch(Q["meters"], community_id, kind)]


def _sums(rows: Any) -> Sums:
    return [(row["bucket"], row["value"]) for row in rows]


async def gauge_sum(
    connection: Connection,
    community: str,
    devices: list[int],
    start: datetime,
    end: datetime,
    bucket: timedelta,
    position: int,
) -> Sums:
    """Per bucket, the sum over devices of each one's average; `position` counts from 0."""
    return _sums(await connection.fetch(Q["gauge_sum"], devices, start, end, bucket, position + 1, community))


async def counter_sum(
    connection: Connection,
    community: str,
    devices: list[int],
    start: datetime,
    end: datetime,
    bucket: timedelta,
    position: int,
    lookback: timedelta,
) -> Sums:
    """Per bucket, the sum of forward differences; a step back (meter swap, rollover) counts as nothing.

    A difference belongs to the bucket of its later reading; `lookback` before the start finds the first ones' earlier.
    """
    found = await connection.fetch(Q["counter_sum"], devices, start, end, bucket, position + 1, lookback, community)
    return _sums(found)


async def gauge_hours(
    connection: Connection,
    community: str,
    kind: str,
    devices: list[int],
    metric: str,
    start: datetime,
    end: datetime,
    bucket: timedelta,
) -> Sums:
    """What `gauge_sum` gives, of buckets of whole hours, from the roll-ups; the first and the last hour count whole."""
    return _sums(await connection.fetch(Q["gauge_hours"], community, kind, devices, metric, start, end, bucket))


async def raw(
    connection: Connection, community: str, device_no: int, start: datetime, end: datetime, position: int, limit: int
) -> Sums:
    """One device's readings as they came, oldest first."""
    return _sums(await connection.fetch(Q["raw_readings"], device_no, start, end, position + 1, limit, community))
