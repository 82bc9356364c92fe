"""Sweeps what no row refers to, and proves that everything that is referred to is there and whole."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from services.adapters.evidence import rows
from services.adapters.evidence.errors import Damaged, Missing
from services.adapters.evidence.rows import Connection, Q
from services.adapters.evidence.store import Store

ORPHAN_AGE = timedelta(days=1)
UNLINKED_AGE = timedelta(days=7)
SPOOL_AGE = timedelta(hours=6)


@dataclass(slots=True)
class Swept:
    seen: int = 0
    deleted: int = 0
    freed: int = 0
    unlinked: int = 0
    halves: int = 0


@dataclass(slots=True)
class Verified:
    whole: int = 0
    missing: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)


async def drop_unreferred(connection: Connection, store: Store, name: str) -> bool:
    """Deletes an object unless a row needs it; whether it did. Not inside a transaction.

    Whoever stores the same bytes at this moment holds the object until their row is there, and looks once more that it
    is: see `hold`.
    """
    async with connection.transaction():
        await connection.execute(Q["lock_object"], name)
        if await connection.fetchval(Q["referred"], bytes.fromhex(name)):
            return False
        await store.forget(name)
        return True


async def sweep(
    connection: Connection, store: Store, now: datetime, progress: Callable[[Swept], None] = lambda _: None
) -> Swept:
    """What is older than a day and referred to by no row; what was sent and linked to nothing for a week; halves."""
    done = Swept()
    done.unlinked = await rows.let_go_unlinked(connection, now, UNLINKED_AGE)
    async for found in store.objects.everything():
        done.seen += 1
        if now - found.modified >= ORPHAN_AGE and await drop_unreferred(connection, store, found.name):
            done.deleted += 1
            done.freed += found.size
        if done.seen % 1000 == 0:
            progress(done)
    done.halves = await asyncio.to_thread(clear_spool, store.spool, now, SPOOL_AGE)
    progress(done)
    return done


def clear_spool(spool: Path, now: datetime, age: timedelta) -> int:
    """Removes what uploads that were cut off left behind; how many."""
    cleared = 0
    if not spool.is_dir():
        return 0
    for left in spool.iterdir():
        with contextlib.suppress(OSError):
            if now.timestamp() - left.stat().st_mtime > age.total_seconds():
                shutil.rmtree(left) if left.is_dir() else left.unlink()
                cleared += 1
    return cleared


async def verify(
    connection: Connection, store: Store, progress: Callable[[int, int], None] = lambda _done, _of: None
) -> Verified:
    """Reads every object that a row refers to. `progress` gets how many of how many."""
    found, of = Verified(), await connection.fetchval(Q["count_objects"])
    last: str | None = None
    while page := await connection.fetch(Q["objects"], last):
        for row in page:
            last = str(row["name"])
            try:
                await store.prove(last)
                found.whole += 1
            except Missing:
                found.missing.append(last)
            except Damaged:
                found.damaged.append(last)
        progress(found.whole + len(found.missing) + len(found.damaged), of)
    return found


async def rows_of(connection: Connection, name: str) -> list[str]:
    """The rows that need an object, for people who look for another copy."""
    return [str(row["id"]) for row in await connection.fetch(Q["rows_of"], bytes.fromhex(name))]
