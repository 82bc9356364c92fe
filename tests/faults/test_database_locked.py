"""Fault 12: somebody else locks tables, deadlocks with ingest and drops chunks while messages come in."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from tests.conftest import Mqtt
from tests.fault_kit import SEED, Stubborn, all_acknowledged, all_stored, assert_each_once
from tests.fault_rows import CAMPAIGN, note, row
from tests.ingest_kit import Database, database, ingest, until

SECONDS = 30 if CAMPAIGN else 1.5
TABLES = ("ingest_ledger", "reading", "device_event", "ingest_log", "device_state", "quarantine")


@asynccontextmanager
async def beside(*works: object) -> AsyncIterator[None]:
    tasks = [asyncio.ensure_future(work) for work in works]  # type: ignore[call-overload]
    try:
        yield
        for task in tasks:
            assert not task.done(), task.exception()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@row(12)
async def test_ingest_waits_out_locks_and_survives_deadlocks(
    db: Database, database_url: str, mqtt: Mqtt, said: Stubborn
) -> None:
    chance = random.Random(SEED)
    locks = deadlocks = 0

    async def lock() -> None:
        """Two tables, in any order, a moment apart: sooner or later against the order of a batch."""
        nonlocal locks, deadlocks
        async with database(database_url) as other:
            await other.connection.execute("SET deadlock_timeout = '20ms'")
            while True:
                with contextlib.suppress(asyncpg.DeadlockDetectedError):
                    async with other.connection.transaction():
                        for table in chance.sample(TABLES, 2):
                            await other.connection.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
                            await asyncio.sleep(chance.uniform(0, 0.05))
                        locks += 1
                await asyncio.sleep(chance.uniform(0, 0.05))

    async def often_enough() -> bool:
        return locks > 3

    await db.connection.execute(
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET deadlock_timeout = ''10ms''', current_database()); END $$"
    )
    async with ingest(database_url, mqtt.url):
        async with beside(lock()):
            await said.keep_saying(SECONDS)
            await until(often_enough)
        await until(lambda: all_stored(db, said))
        await until(lambda: all_acknowledged(said))
        await assert_each_once(db, said)
    deadlocks = await db.connection.fetchval(
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    )
    note(locks=locks, deadlocks=deadlocks)


@row(12)
async def test_ingest_stores_everything_while_old_chunks_are_dropped(
    db: Database, database_url: str, mqtt: Mqtt, said: Stubborn, home: str
) -> None:
    """What is dropped on purpose is older than all that comes in; nothing newer goes with it."""
    dropped = 0

    async def drop() -> None:
        nonlocal dropped
        async with database(database_url) as other:
            number = await other.no(f"{home}-lamp_post-1")
            while True:
                await other.connection.execute(
                    "INSERT INTO reading SELECT $1, now() - n * interval '1 day', '{1}' "
                    "FROM generate_series(30, 34) AS n ON CONFLICT DO NOTHING",
                    number,
                )
                rows = await other.connection.fetch("SELECT drop_chunks('reading', older_than => interval '20 days')")
                dropped += len(rows)

    async def often_enough() -> bool:
        return dropped > 10

    async with ingest(database_url, mqtt.url):
        async with beside(drop()):
            await said.keep_saying(SECONDS)
            await until(often_enough)
        await until(lambda: all_stored(db, said))
        await until(lambda: all_acknowledged(said))
    await db.connection.execute("DELETE FROM reading WHERE ts < now() - interval '20 days'")
    await assert_each_once(db, said)
    note(chunks_dropped=dropped)
