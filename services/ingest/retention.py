"""Lets go of what is too old: chunks of readings and events, the log's tail, the quarantine; one worker at a time.

Whatever waits for a lock gives up quickly and comes back: nobody who stores may have to queue behind this.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import asyncpg
import structlog

from services.adapters.queries import Queries
from services.domain.ids import PARTITIONS
from services.ingest import metrics, private
from services.ingest.database import TROUBLE

log = structlog.get_logger(__name__)
Q = Queries.beside(__file__)

SWEEP_LOCK = 7236007
"""Advisory lock of the one that sweeps."""
_LANES = (0, 1)
_LOCK_WAIT = "200ms"
"""Behind a request for a chunk's lock every later reader of that chunk queues: this is the most it can cost them."""
_TRIES = 3
_CHUNKS = 64
"""Chunks dropped in one sweep."""
_ANSWER_S = 60.0
_PAUSE_S = 0.02


@dataclass(frozen=True, slots=True)
class Kept:
    """For how long what is kept. The quarantine is also held to a size, its newest staying."""

    readings: timedelta
    events: timedelta
    log: timedelta
    quarantine: timedelta
    quarantine_bytes: int


@dataclass(frozen=True, slots=True)
class Unread:
    """A consumer that has not read log rows which are older than the log is kept; they stay until it has."""

    consumer: str
    partition: int
    lane: int
    after: int
    """The number it has read up to."""
    age_s: float


@dataclass(slots=True)
class Swept:
    """What one sweep let go of. `postponed`: chunks that somebody was holding on to or had not summed up yet."""

    chunks: dict[str, list[str]] = field(default_factory=dict)
    postponed: list[str] = field(default_factory=list)
    log_rows: int = 0
    quarantine_rows: int = 0
    private_rows: int = 0
    """Health data of people that was kept for as long as their community keeps it."""
    unread: list[Unread] = field(default_factory=list)


async def keep_swept(pool: asyncpg.Pool[Any], kept: Kept, every_s: float) -> None:
    """Sweeps for ever. A database that is away is waited for; what went wrong is said each time."""
    while True:
        try:
            await sweep(pool, kept)
        except TROUBLE as error:
            metrics.SWEEPS.labels("failed").inc()
            log.warning("sweep_failed", why=f"{type(error).__name__}: {error}".strip(": "), again_in_s=every_s)
        await asyncio.sleep(every_s)


async def sweep(pool: asyncpg.Pool[Any], kept: Kept) -> Swept | None:
    """One round; None where another worker is at it. Raises what the database says; what was done before stands."""
    async with pool.acquire(timeout=5) as connection:
        if not await connection.fetchval(Q["sweep_begin"], SWEEP_LOCK, timeout=_ANSWER_S):
            metrics.SWEEPS.labels("elsewhere").inc()
            return None
        try:
            swept = Swept()
            # First what grows fastest.
            swept.log_rows = await _purge_log(connection, kept.log)
            swept.unread = await _unread(connection, kept.log)
            # What is noted of devices serves to tell readings again; without them it is of no use.
            ages = {"reading": kept.readings, "device_event": kept.events, "device_note": kept.readings}
            for table, age in ages.items():
                await _drop_chunks(connection, table, age, swept)
            swept.quarantine_rows = await _purge_quarantine(connection, kept)
            swept.private_rows = await private.forget(connection)
        finally:
            if not connection.is_closed():
                await connection.fetchval(Q["sweep_end"], SWEEP_LOCK, timeout=_ANSWER_S)
    metrics.SWEEPS.labels("done").inc()
    return swept


async def _purge_log(connection: asyncpg.Connection[Any], age: timedelta) -> int:
    """The last row of a partition and lane stays, for its numbers never start again; so does what is not read yet."""
    rows = 0
    for partition in range(PARTITIONS):
        for lane in _LANES:
            rows += await _repeat(connection, "purge_log", "log", partition, lane, age)
    return rows


async def _unread(connection: asyncpg.Connection[Any], age: timedelta) -> list[Unread]:
    found = [
        Unread(row["consumer"], row["partition"], row["lane"], row["seq"], row["age_s"])
        for row in await connection.fetch(Q["unread_log"], age, timeout=_ANSWER_S)
    ]
    oldest: dict[str, float] = {}
    for one in found:
        oldest[one.consumer] = max(oldest.get(one.consumer, 0.0), one.age_s)
        log.error(
            "log_kept_for_a_reader_that_is_behind",
            consumer=one.consumer,
            partition=one.partition,
            lane=one.lane,
            read_up_to=one.after,
            unread_for_h=round(one.age_s / 3600, 1),
            doing="keeping these rows; the log grows until it reads on, or until its rows in checkpoint are deleted",
        )
    metrics.LOG_UNREAD.clear()
    for consumer, age_s in oldest.items():
        metrics.LOG_UNREAD.labels(consumer).set(age_s)
    return found


async def _drop_chunks(connection: asyncpg.Connection[Any], table: str, age: timedelta, swept: Swept) -> None:
    """Oldest first, each in a transaction of its own: no lock is held for longer than one chunk takes."""
    for row in await connection.fetch(Q["expired_chunks"], table, age, _CHUNKS, timeout=_ANSWER_S):
        if not row["summed"]:
            log.error(
                "chunk_kept_for_roll_ups_that_are_behind",
                chunk=row["name"],
                doing="keeping it and all newer ones until rollup_progress and rollup_stale are past it",
            )
            swept.postponed.append(row["name"])
            return
        for attempt in range(1, _TRIES + 1):
            try:
                async with connection.transaction():
                    await connection.execute(Q["lock_briefly"], _LOCK_WAIT)
                    await connection.fetchval(Q["drop_chunk"], table, row["range_end"], timeout=_ANSWER_S)
            except (asyncpg.LockNotAvailableError, asyncpg.DeadlockDetectedError) as error:
                metrics.DROPS_POSTPONED.labels(table).inc()
                if attempt == _TRIES:
                    log.info("chunk_in_use", chunk=row["name"], why=str(error), doing="trying again at the next sweep")
                    swept.postponed.append(row["name"])
                    # Dropping a newer one would take this one along.
                    return
                await asyncio.sleep(_PAUSE_S * attempt)
            else:
                swept.chunks.setdefault(table, []).append(row["name"])
                metrics.DROPPED_CHUNKS.labels(table).inc()
                log.info("chunk_dropped", table=table, chunk=row["name"], upto=row["range_end"].isoformat())
                break


async def _purge_quarantine(connection: asyncpg.Connection[Any], kept: Kept) -> int:
    rows = await _repeat(connection, "purge_quarantine", "quarantine", kept.quarantine)
    # The file does not shrink when rows go, so it says only when to look closer.
    if await connection.fetchval(Q["quarantine_size"], timeout=_ANSWER_S) > kept.quarantine_bytes:
        last = await connection.fetchval(Q["quarantine_overflow"], kept.quarantine_bytes, timeout=_ANSWER_S)
        if last is not None:
            trimmed = await _repeat(connection, "trim_quarantine", "quarantine", last)
            log.warning("quarantine_trimmed", rows=trimmed, upto_id=last, limit_bytes=kept.quarantine_bytes)
            rows += trimmed
    return rows


async def _repeat(connection: asyncpg.Connection[Any], statement: str, what: str, *given: Any) -> int:
    """A DELETE of a few rows until it finds none, with room for others in between; how many rows."""
    total = 0
    while rows := int((await connection.execute(Q[statement], *given, timeout=_ANSWER_S)).rpartition(" ")[2]):
        total += rows
        metrics.PURGED_ROWS.labels(what).inc(rows)
        await asyncio.sleep(_PAUSE_S)
    return total
