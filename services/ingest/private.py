"""Lets go of people's health data when its time is over: by device and class, a day of one device at a time."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import Any

import asyncpg

from services.adapters.queries import Queries
from services.domain.devices import BY_NAME
from services.domain.people.retention import CLASSES
from services.ingest import metrics

Q = Queries.beside(__file__)

_DEVICES = 500
"""Looked at in one sweep of a class; the others wait for the next."""
_STEP = timedelta(days=1)
_PAUSE_S = 0.02
_ANSWER_S = 60.0
_POSITION = ("latitude", "longitude")
WORN = sorted(name for name, kind in BY_NAME.items() if any(metric.health for metric in kind.metrics))
_STATEMENTS = {
    "vitals": ("forget_vitals",),
    "positions": ("forget_positions", "forget_position_hours", "forget_position_days"),
    "vital_summaries": ("forget_vital_hours", "forget_vital_days", "forget_meter_hours", "forget_meter_days"),
    "health_events": ("forget_health_events",),
}


async def forget(connection: asyncpg.Connection[Any]) -> int:
    """How many rows were deleted or had something taken out. What is done stands; the rest is done next time."""
    total = 0
    for one in CLASSES:
        rows = await connection.fetch(Q["private_due"], one.name, one.days, WORN, _DEVICES, timeout=_ANSWER_S)
        for row in rows:
            total += await _device(connection, one.name, row["device_no"], row["kind"], row["since"], row["upto"])
    metrics.PURGED_ROWS.labels("private").inc(total)
    return total


async def _device(
    connection: asyncpg.Connection[Any], name: str, device: int, kind: str, since: datetime | None, upto: datetime
) -> int:
    """From the mark on, or from the first there is; the mark moves with each day, so a cut sweep goes on there."""
    total, at = 0, since or await connection.fetchval(Q["first_of"], device, timeout=_ANSWER_S)
    places = [index + 1 for index, metric in enumerate(BY_NAME[kind].metrics) if metric.name in _POSITION]
    while at is not None and at < upto:
        end = min(at + _STEP, upto)
        for statement in _STATEMENTS[name]:
            given = (device, at, end, places) if "position" in statement else (device, at, end)
            done = await connection.execute(Q[statement], *given, timeout=_ANSWER_S)
            total += int(done.rpartition(" ")[2])
        at = end
        await asyncio.sleep(_PAUSE_S)
    await connection.execute(Q["private_mark"], device, name, upto, timeout=_ANSWER_S)
    return total
