"""What the 48 hours of `ingest_log` cost: bytes and CPU by the size of its rows and by how they are packed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import accumulate
from typing import Any, Literal

import asyncpg

from bench.storage_load import BATCH, Fleet, Q, batches, server_cpu_s
from bench.storage_measure import GIB, Progress, connected
from services.adapters.log_rows import pack
from services.ingest.log import Q as WRITTEN

Packing = Literal["pglz", "lz4", "uncompressed"]
_OWNER = "0123456789ab"
"""As long as a worker's instance."""
_TELEMETRY = 1
TURNOVERS = 4
_TOASTED = 25
"""Messages from which on a row is long enough to be compressed."""
VACUUM_SHARE = 0.05
"""After so much of the log is dead it is swept, as autovacuum is set to."""


@dataclass(frozen=True, slots=True)
class LogShape:
    """Messages a log row: a batch of 2,500 of one community, of sixteen partitions, of a month's billion, or one alone.

    A billion readings in 30 days are 126 messages a second: a batch waits for 50 ms and gathers six of them.
    """

    name: str
    messages_per_row: int
    packing: Packing


LOG_SHAPES = tuple(
    LogShape(f"{messages:,} messages a row, {packing}", messages, packing)
    for messages in (2_500, 156, 6, 1)
    for packing in (("pglz", "lz4", "uncompressed") if messages > _TOASTED else ("lz4",))
)
A_BILLION_A_MONTH, ALONE = LOG_SHAPES[-2:]


@dataclass(frozen=True, slots=True)
class LogFigures:
    """`release`: DELETE and VACUUM of as much as was appended. `bloat`: size after turnovers, over size when fresh."""

    shape: str
    bytes_per_reading: float
    gib_per_billion_logged: float
    append_us_per_reading: float | None
    release_us_per_reading: float | None
    bloat: float


async def measure_log(url: str, shape: LogShape, messages: int, progress: Progress) -> LogFigures:
    """Fills the log with so many messages, then replaces them `TURNOVERS` times, a twentieth at a time."""
    async with connected(url, migrated=True) as connection:
        name: str = await connection.fetchval("SELECT current_database()")
        await connection.execute(Q[f"log_{shape.packing}"])
        await connection.execute(Q["no_autovacuum"])
        await connection.execute(Q["own_log"], _OWNER)
        log = _Log(connection, shape)
        count = max(1, messages // BATCH)
        progress(f"log, {shape.name}: append")
        before = server_cpu_s(name)
        readings = await log.append(count)
        appended = _since(name, before)
        await connection.execute(Q["vacuum_log"])
        fresh: int = await connection.fetchval(Q["log_bytes"])
        released: float | None = 0.0
        step = max(1, round(count * VACUUM_SHARE))
        for turn in range(TURNOVERS):
            progress(f"log, {shape.name}: turnover {turn + 1} of {TURNOVERS}")
            for _ in range(0, count, step):
                await log.append(step)
                before = server_cpu_s(name)
                await log.release(step)
                await connection.execute(Q["vacuum_log"])
                spent = _since(name, before)
                released = None if released is None or spent is None else released + spent
        size: int = await connection.fetchval(Q["log_bytes"])
    per = readings / count * step * len(range(0, count, step)) * TURNOVERS
    return LogFigures(
        shape=shape.name,
        bytes_per_reading=round(fresh / readings, 1),
        gib_per_billion_logged=round(fresh / readings * 1e9 / GIB, 1),
        append_us_per_reading=None if appended is None else round(appended / readings * 1e6, 2),
        release_us_per_reading=None if released is None else round(released / per * 1e6, 2),
        bloat=round(size / fresh, 2),
    )


class _Log:
    def __init__(self, connection: asyncpg.Connection[Any], shape: LogShape) -> None:
        self._connection = connection
        self._shape = shape
        self._fleet = Fleet(2_000, timedelta(seconds=150))
        self._batch = 0
        self._number = 0
        self._ends: list[int] = []
        """The last number of each batch that is still there, oldest first."""

    async def append(self, count: int) -> int:
        """So many batches; how many readings."""
        readings = 0
        for nos, times, widths, vals, _ in batches(self._fleet, self._batch, count):
            readings += len(vals)
            rows = list(_rows(nos, times, widths, vals, self._shape.messages_per_row))
            numbered = [(0, _TELEMETRY, self._number + n, _OWNER, *row, "[]") for n, row in enumerate(rows, 1)]
            self._number += len(rows)
            self._ends.append(self._number)
            async with self._connection.transaction():
                await self._connection.executemany(WRITTEN["append_log"], numbered)
        self._batch += count
        return readings

    async def release(self, count: int) -> None:
        """The oldest batches, each by a statement of its own as the sweep does it."""
        for _ in range(count):
            await self._connection.execute(Q["delete_log"], self._ends.pop(0))


def _rows(
    nos: Sequence[int], times: Sequence[int], widths: Sequence[int], vals: Sequence[float], size: int
) -> Iterator[tuple[Any, ...]]:
    """(readings, packed) of each row."""
    ends = list(accumulate(widths))
    rows = [vals[end - width : end] for end, width in zip(ends, widths, strict=True)]
    for first in range(0, len(nos), size):
        part = slice(first, first + size)
        yield len(nos[part]), pack(nos[part], times[part], [ts + 40 for ts in times[part]], rows[part])


def _since(name: str, before: float | None) -> float | None:
    after = server_cpu_s(name)
    return None if before is None or after is None else after - before
