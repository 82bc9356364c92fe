"""Keeps the hour and day roll-ups after the readings, a bounded step at a time, beside ingest and never in its way.

An hour is closed first: from then on a reading that belongs to it says so (`mark_late`, in the transaction that stores
it). Closing waits for the transactions that still saw it open, so whatever is not marked is visible to the step that
fills it. A step is one transaction under the lock of its partition's `rollup_progress` and works everything out anew
from committed readings: killed anywhere it leaves nothing, repeated it changes nothing, and a worker that lost its
partition and wakes up late does no harm.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import asyncpg
import structlog

from services.adapters.queries import Queries
from services.ingest import metrics
from services.ingest.database import POISON, Connection, Held

log = structlog.get_logger(__name__)

Q = Queries(Path(__file__).with_name("rollups.sql"))

HOUR = timedelta(hours=1)
_CLOSE_WAIT = "200ms"
"""So long closing waits for a telemetry transaction; then it tries again at the next turn."""
_MARKS = 500
"""Stale hours a step."""
_MOST = 20_000
"""Devices a step."""
_STEP_S = 0.2
"""About so long a step should take: it makes itself larger or smaller to match."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one step did: hours of single devices filled and repaired, and whether there is more to do."""

    filled: int = 0
    repaired: int = 0
    more: bool = False
    behind_s: float = 0.0
    """From the end of what is filled to the end of what is closed."""


async def mark_late(connection: Connection, partitions: Sequence[int], nos: Sequence[int], ts_ms: Sequence[int]) -> int:
    """Part of the transaction that stores these readings (device numbers and times, side by side); how many were late.

    The row locks of `share_boundary` last until the commit: no hour can be closed between this look and the commit.
    """
    rows = await connection.fetch(Q["share_boundary"], partitions)
    if len(rows) < len(partitions):
        await connection.execute(Q["open_partitions"], partitions)
        rows = await connection.fetch(Q["share_boundary"], partitions)
    closed_ms = max(row["closed_ms"] for row in rows)
    if min(ts_ms) >= closed_ms:
        return 0
    late = [(no, ts) for no, ts in zip(nos, ts_ms, strict=True) if ts < closed_ms]
    await connection.execute(Q["mark_stale"], [no for no, _ in late], [ts for _, ts in late])
    return len(late)


async def close(connection: Connection, partitions: Sequence[int], lag: timedelta) -> bool:
    """Closes the hours that ended `lag` ago. False where telemetry was in the way: try again."""
    try:
        async with connection.transaction():
            await connection.fetchval(Q["lock_timeout"], _CLOSE_WAIT)
            await connection.execute(Q["close"], partitions, lag)
    except asyncpg.LockNotAvailableError:
        return False
    return True


async def step(connection: Connection, partition: int, devices: int) -> Step:
    """Repairs what is stale and fills so many devices of the next closed hour, in one transaction."""
    async with connection.transaction():
        progress = await connection.fetchrow(Q["lock_progress"], partition)
        if progress is None or progress["closed_to"] is None:
            return Step()
        closed_to: datetime = progress["closed_to"]
        filled_to: datetime = progress["filled_to"] or await connection.fetchval(Q["first_hour"], closed_to)
        marks = {(row["device_no"], row["hour"]) for row in await connection.fetch(Q["take_marks"], partition, _MARKS)}
        await _fill(connection, sorted(marks), filled_to + HOUR)
        if filled_to >= closed_to:
            if progress["filled_to"] is None:
                await connection.execute(Q["save_progress"], partition, filled_to, 0)
            return Step(repaired=len(marks), more=len(marks) == _MARKS)
        rows = await connection.fetch(Q["next_devices"], partition, progress["next_device"], devices + 1)
        nos = [row["device_no"] for row in rows]
        await _fill(connection, [(no, filled_to) for no in nos[:devices]], filled_to + HOUR)
        if len(nos) > devices:
            await connection.execute(Q["save_progress"], partition, filled_to, nos[devices])
        else:
            # Nobody lives here yet: whoever comes says for himself what is late.
            filled_to = filled_to + HOUR if nos or progress["next_device"] else closed_to
            await connection.execute(Q["save_progress"], partition, filled_to, 0)
        behind = (closed_to - filled_to).total_seconds()
        return Step(min(len(nos), devices), len(marks), behind > 0 or len(marks) == _MARKS, behind)


async def _fill(connection: Connection, hours: Sequence[tuple[int, datetime]], days_to: datetime) -> None:
    """Works these hours of single devices out from their readings, then the days that end by `days_to` around them."""
    if not hours:
        return
    nos, begins = [no for no, _ in hours], [hour for _, hour in hours]
    # The outer bounds let the planner leave out the chunks that hold none of it.
    within = min(begins), max(begins) + HOUR
    await connection.execute(Q["fill_hours"], nos, begins, *within)
    await connection.execute(Q["fill_meter_hours"], nos, begins, *within)
    days = await connection.fetch(Q["whole_days"], nos, begins, days_to)
    if days:
        columns = [[row[name] for row in days] for name in ("device_no", "begin", "past")]
        within = min(columns[1]), max(columns[2])
        await connection.execute(Q["fill_days"], *columns, *within)
        await connection.execute(Q["fill_meter_days"], *columns, *within)


class Rollups:
    """The job of one worker over the partitions it owns; safe where two believe that they own one."""

    def __init__(self, held: Held, owned: Callable[[], Sequence[int]], lag_s: float, every_s: float) -> None:
        self._held = held
        self._owned = owned
        self._lag = timedelta(seconds=lag_s)
        self._every_s = every_s
        self._devices = 100

    async def run(self) -> None:
        """For ever."""
        while True:
            try:
                await self.turn()
            except POISON:
                # Whatever is wrong with a stored reading, messages must go on coming in.
                log.exception("rollup_fault", doing="trying again; until then these hours are read from the readings")
            await asyncio.sleep(self._every_s)

    async def turn(self) -> None:
        """Closes what may be closed and works until nothing is left, leaving the database half of the time."""
        owned = list(self._owned())
        if not owned:
            return
        await self._held.patiently(lambda c: close(c, owned, self._lag), lambda: None)
        behind = 0.0
        for partition in owned:
            while True:
                began = time.monotonic()
                done = await self._held.patiently(lambda c, p=partition: step(c, p, self._devices), lambda: None)  # type: ignore[misc]
                took = time.monotonic() - began
                metrics.ROLLUP_HOURS.labels("filled").inc(done.filled)
                metrics.ROLLUP_HOURS.labels("repaired").inc(done.repaired)
                if done.filled >= self._devices and took < _STEP_S / 2:
                    self._devices = min(self._devices * 2, _MOST)
                elif took > _STEP_S * 2:
                    self._devices = max(self._devices // 2, 1)
                behind = max(behind, done.behind_s)
                metrics.ROLLUP_BEHIND.set(behind)
                if not done.more:
                    break
                await asyncio.sleep(took)
