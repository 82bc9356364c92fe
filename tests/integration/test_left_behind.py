"""What a process leaves open at the database is ended there, with its locks, however it went away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from services.adapters.postgres import open_pool
from tests.fault_net import Line
from tests.ingest_kit import until

GONE_S = 30.0
"""Patience of the tests; without a bound of ours TCP alone takes minutes to hours to give up."""


@pytest.fixture
async def other(database_url: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    connection = await asyncpg.connect(database_url)
    await connection.execute("CREATE TABLE thing (id integer PRIMARY KEY, said text)")
    await connection.execute("INSERT INTO thing VALUES (1, '')")
    yield connection
    await connection.close()


@asynccontextmanager
async def ours(url: str) -> AsyncIterator[Any]:
    pool = await open_pool(url, name="left-behind", max_size=1, silent_s=1.0)
    try:
        yield await pool.acquire()
    finally:
        pool.terminate()


async def server_side(other: asyncpg.Connection[Any], pid: int) -> str | None:
    """What the server's end of a connection does; None when it is gone."""
    row = await other.fetchrow("SELECT state, wait_event FROM pg_stat_activity WHERE pid = $1", pid)
    return None if row is None else f"{row['state']} {row['wait_event']}"


async def test_left_behind_within_a_statement_on_a_dead_line_its_locks_are_given_up(
    database_url: str, other: asyncpg.Connection[Any]
) -> None:
    async with Line(database_url).running() as line, ours(line.url) as connection:
        pid = connection.get_server_pid()
        await connection.execute("BEGIN")
        await connection.execute("UPDATE thing SET said = 'held'")
        line.lose("server")
        # The server has prepared it, which we never hear, and waits to be told to run it.
        half = asyncio.ensure_future(connection.fetch("SELECT * FROM thing WHERE id = $1", 1))

        async def amid() -> bool:
            return await server_side(other, pid) == "active ClientRead"

        await until(amid)
        async with asyncio.timeout(GONE_S):
            await other.execute("UPDATE thing SET said = 'free'")
        connection.terminate()
        with pytest.raises(asyncpg.ConnectionDoesNotExistError):
            await half


async def test_left_behind_between_two_statements_its_locks_are_given_up(
    database_url: str, other: asyncpg.Connection[Any]
) -> None:
    async with ours(database_url) as connection:
        await connection.execute("BEGIN")
        await connection.execute("UPDATE thing SET said = 'held'")
        async with asyncio.timeout(GONE_S):
            await other.execute("UPDATE thing SET said = 'free'")


async def test_left_behind_in_a_queue_for_a_lock_it_leaves_the_queue(
    database_url: str, other: asyncpg.Connection[Any]
) -> None:
    async with ours(database_url) as holder, ours(database_url) as connection, holder.transaction():
        await holder.execute("UPDATE thing SET said = 'held'")
        pid = connection.get_server_pid()
        waiting = asyncio.ensure_future(connection.execute("UPDATE thing SET said = 'next'"))

        async def queued() -> bool:
            await holder.execute("SELECT")
            return await server_side(other, pid) == "active transactionid"

        async def gone() -> bool:
            await holder.execute("SELECT")
            return await server_side(other, pid) is None

        await until(queued)
        connection.terminate()
        with pytest.raises(asyncpg.ConnectionDoesNotExistError):
            await waiting
        await until(gone, GONE_S)
