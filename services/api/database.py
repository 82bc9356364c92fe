"""The API's way to the database: opened in the background, every use bounded in time, honest while it is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import asyncpg

from services.adapters.postgres import RETRYABLE, open_pool

Connection: TypeAlias = "asyncpg.Connection[Any]"


AWAY = RETRYABLE
"""What a request or a loop may meet while the database is away or dying."""


class DatabaseAwayError(ConnectionError):
    """There is no pool yet; an OSError, so that it is answered like any other absence."""


class Database:
    """Holds the pool once there is one. `waiting` says what readiness should say."""

    def __init__(self, url: str, *, connections: int, timeout_s: float) -> None:
        self.url = url
        self._connections = connections
        self._timeout_s = timeout_s
        self._pool: asyncpg.Pool[Any] | None = None

    @property
    def waiting(self) -> str | None:
        return None if self._pool is not None else "waiting for the database"

    async def open(self) -> None:
        """Returns when the database answers and its schema is as new as this code."""
        self._pool = await open_pool(self.url, name="linhub-api", max_size=self._connections)

    async def close(self) -> None:
        if self._pool is None:
            return
        try:
            async with asyncio.timeout(2):
                await self._pool.close()
        except TimeoutError:
            self._pool.terminate()

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Connection]:
        """A connection for single statements. Raises one of postgres.RETRYABLE where the database is away or slow."""
        if self._pool is None:
            raise DatabaseAwayError("the database was not reached since the start")
        async with asyncio.timeout(self._timeout_s), self._pool.acquire(timeout=self._timeout_s) as connection:
            yield connection

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[Connection]:
        """A connection for work of the API's own that lasts longer than a request may."""
        if self._pool is None:
            raise DatabaseAwayError("the database was not reached since the start")
        async with self._pool.acquire(timeout=self._timeout_s) as connection:
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Connection]:
        """A connection inside one transaction."""
        async with self.read() as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def consistent(self) -> AsyncIterator[Connection]:
        """One snapshot of the database for several reads."""
        async with self.read() as connection, connection.transaction(isolation="repeatable_read", readonly=True):
            yield connection
