"""Lets go of what is too old of notices, gaps of rosters and the outbox, a few rows at a time."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import structlog

from services.adapters.queries import Queries
from services.alerts import metrics

log = structlog.get_logger(__name__)
Q = Queries.beside(__file__)

BATCH = 1000
_PAUSE_S = 0.02
_ANSWER_S = 60.0


@dataclass(frozen=True, slots=True)
class Kept:
    """For how long what is kept: gaps of rosters as long as the notices of them; the log of city events and their dead
    letters as long as the outbox, from which alone they can be sent again."""

    notices: timedelta
    outbox: timedelta


async def sweep(pool: asyncpg.Pool[Any], kept: Kept, now: datetime, batch: int = BATCH) -> dict[str, int]:
    """One round, each batch a transaction of its own; how many rows of what. Engines may do it beside each other.

    Of the outbox, what a durable reader has not read stays, and so does the last row: whoever follows the stream
    compares with it. Notices that are still to be dealt with stay, however old.
    """
    purged = {
        "link": await _repeat(pool, "purge_links", now, batch),
        "notice": await _repeat(pool, "purge_notices", now - kept.notices, batch),
        "stray": await _repeat(pool, "purge_strays", now - kept.outbox, batch),
        "gap": await _repeat(pool, "purge_gaps", now - kept.notices, batch),
        "outbox": await _repeat(pool, "purge_outbox", now - kept.outbox, batch),
        "city_attempt": await _repeat(pool, "purge_city_attempts", now - kept.outbox, batch),
        "ngsi_attempt": await _repeat(pool, "purge_ngsi_attempts", now - kept.outbox, batch),
        "city_dead_letter": await _repeat(pool, "purge_city_dead_letters", now - kept.outbox, batch),
    }
    async with pool.acquire() as connection:
        for row in await connection.fetch(Q["behind_outbox"], now - kept.outbox, timeout=_ANSWER_S):
            log.error(
                "outbox_kept_for_a_reader_that_is_behind",
                reader=row["name"],
                read_up_to=row["seq"],
                doing="keeping these rows until it reads on, or until its row in outbox_reader is deleted",
            )
    return purged


async def _repeat(pool: asyncpg.Pool[Any], statement: str, *given: Any) -> int:
    """Until it finds nothing, with room for others in between; links and attempts go with their notice."""
    total = 0
    while True:
        async with pool.acquire() as connection:
            rows = int((await connection.execute(Q[statement], *given, timeout=_ANSWER_S)).rpartition(" ")[2])
        if not rows:
            return total
        total += rows
        metrics.PURGED.labels(statement.removeprefix("purge_")).inc(rows)
        await asyncio.sleep(_PAUSE_S)
