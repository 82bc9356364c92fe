"""One batch, one transaction: readings, events, the log, the ledger and the quarantine, or nothing of it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import asyncpg

from services.adapters.queries import Queries
from services.domain.ids import DeviceNo
from services.ingest import failpoints, ledger, log, quarantine
from services.ingest.batch import Batch, Fenced, Owner, Written
from services.ingest.checked import Session
from services.ingest.core import order_statuses
from services.ingest.events import insert_events
from services.ingest.readings import Bulk, NotAllNew, copy_readings, insert_readings

Q = Queries.beside(__file__)

__all__ = ["Batch", "Bulk", "Fenced", "Owner", "Written", "claim", "purge", "write"]


async def claim(connection: asyncpg.Connection[Any], owner: Owner) -> dict[int, int]:
    """partition → last log number. Waits for what an earlier process of ours may still be committing."""
    async with connection.transaction():
        await connection.execute(Q["open_ledger"], owner.worker, owner.lane, [-1, *owner.partitions])
        await connection.fetchval(Q["lock_ledger"], owner.worker, owner.lane, None)
        rows = await connection.fetch(Q["last_numbers"], owner.lane, list(owner.partitions))
    return {row["partition"]: row["seq"] for row in rows}


async def write(
    connection: asyncpg.Connection[Any],
    owner: Owner,
    batch: Batch,
    numbers: Mapping[int, int],
    sessions: Mapping[DeviceNo, Session],
    bulk: Bulk | None = None,
) -> None:
    """Stores the batch and sets each item's outcome and `batch.written`. Raises Fenced.

    Where an earlier attempt turns out to be committed (only its reply was lost) nothing is done: its results stand.
    """
    checked = batch.checked
    if bulk is not None and (checked.plain.sources or checked.readings) and bulk.wanted():
        try:
            await _transaction(connection, owner, batch, numbers, sessions, copy=True)
        except NotAllNew:
            bulk.failed()
        else:
            bulk.worked()
            return
    await _transaction(connection, owner, batch, numbers, sessions, copy=False)


async def _transaction(
    connection: asyncpg.Connection[Any],
    owner: Owner,
    batch: Batch,
    numbers: Mapping[int, int],
    sessions: Mapping[DeviceNo, Session],
    *,
    copy: bool,
) -> None:
    async with connection.transaction():
        # The lock waits for an attempt whose connection was cut while the server was still committing it.
        if batch.attempts and await connection.fetchval(Q["lock_ledger"], owner.worker, owner.lane, batch.marker):
            return
        failpoints.reach("store")
        checked, written = batch.checked, Written()
        batch.written = written
        checked.begin()
        written.sessions = order_statuses(checked.statuses, sessions)
        if checked.plain.sources or checked.readings:
            if copy:
                await copy_readings(connection, checked)
            else:
                await insert_readings(connection, checked, written)
        if checked.happenings:
            await insert_events(connection, checked.happenings)
        await log.append(connection, owner, checked, numbers, written)
        await quarantine.keep(connection, owner, batch)
        await ledger.count(connection, owner, batch)
        failpoints.reach("before_commit")


async def purge(
    connection: asyncpg.Connection[Any], owner: Owner, log_age: timedelta, quarantine_age: timedelta
) -> int:
    """Deletes what is too old, a little at a time; how many rows.

    The last log row of a partition always stays: its numbers never start again.
    """
    work: list[tuple[str, tuple[Any, ...]]] = [
        (Q["purge_log"], (partition, owner.lane, log_age)) for partition in owner.partitions
    ]
    if owner.lane == 0:
        work.append((Q["purge_quarantine"], (quarantine_age,)))
    deleted = 0
    for statement, arguments in work:
        while rows := _rows(await connection.execute(statement, *arguments)):
            deleted += rows
            await asyncio.sleep(0.02)
    return deleted


def _rows(tag: str) -> int:
    return int(tag.rpartition(" ")[2])
