"""A connection that listens gives its place in the pool back however it ends, and hides nothing of what ended it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import asyncpg
import pytest

from services.adapters.postgres import listening, open_pool


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[asyncpg.Pool[Any]]:
    opened = await open_pool(database_url, name="listening", max_size=1)
    yield opened
    opened.terminate()


def cut_off(connection: Any) -> None:
    """As the driver ends it that meets the server's farewell where it begins a statement: its listeners stay."""
    connection._con._protocol.abort()


def shut(connection: Any) -> None:
    connection.terminate()


def leave(connection: Any) -> None:
    assert not connection.is_closed()


async def test_listening_hears_its_channels_and_of_its_end(pool: asyncpg.Pool[Any], database_url: str) -> None:
    heard: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    ended = asyncio.Event()

    def hear(_connection: Any, _pid: int, channel: str, payload: str) -> None:
        heard.put_nowait((channel, payload))

    async with (
        listening(pool, {"one": hear, "two": hear}, lambda _: ended.set()) as connection,
        asyncio.timeout(60),
    ):
        other = await asyncpg.connect(database_url)
        await other.execute("NOTIFY one, 'a'; NOTIFY three, 'b'; NOTIFY two, 'c'")
        assert [await heard.get(), await heard.get()] == [("one", "a"), ("two", "c")]
        await other.execute("SELECT pg_terminate_backend($1)", connection.get_server_pid())
        await other.close()
        await ended.wait()
    assert await pool.fetchval("SELECT 1") == 1


@pytest.mark.parametrize("end", [cut_off, shut, leave])
async def test_listening_gives_its_place_back_however_it_ends(
    pool: asyncpg.Pool[Any], end: Callable[[Any], None]
) -> None:
    async with asyncio.timeout(60):
        async with listening(pool, {"one": lambda *_: None}, lambda _: None) as connection:
            before = connection.get_server_pid()
            end(connection)
        # The only place of this pool; what stands there now is another connection, which hears nothing.
        async with pool.acquire() as connection:
            assert connection.get_server_pid() != before
            assert await connection.fetch("SELECT pg_listening_channels()") == []


@pytest.mark.parametrize("end", [cut_off, shut, leave])
async def test_listening_that_is_cancelled_ends_as_cancelled(
    pool: asyncpg.Pool[Any], end: Callable[[Any], None]
) -> None:
    there: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def listen() -> None:
        async with listening(pool, {"one": lambda *_: None}, lambda _: None) as connection:
            there.set_result(connection)
            await asyncio.Event().wait()

    task = asyncio.create_task(listen())
    async with asyncio.timeout(60):
        end(await there)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await pool.fetchval("SELECT 1") == 1
