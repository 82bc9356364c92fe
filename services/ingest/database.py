"""A connection that is held while it works, given up when it does not, and patient with the database."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

import asyncpg
import structlog

from services.adapters.postgres import RETRYABLE
from services.adapters.queries import Queries

log = structlog.get_logger(__name__)
Q = Queries.beside(__file__)

T = TypeVar("T")
Connection: TypeAlias = "asyncpg.Connection[Any]"

POISON = (
    asyncpg.DataError,
    asyncpg.IntegrityConstraintViolationError,
    asyncpg.ProgramLimitExceededError,
    ValueError,
    OverflowError,
)
"""What the data is to blame for: trying again would not help, leaving the culprit out does."""

TROUBLE = (*RETRYABLE, asyncpg.PostgresError)
"""What is tried again for ever."""

_ACQUIRE_S = 5.0


class Held:
    """One task's own connection. Keeping it between batches saves the pool's reset, a round trip each."""

    def __init__(self, pool: asyncpg.Pool[Any], name: str, timeout_s: float, retry_max_s: float) -> None:
        self._pool = pool
        self._name = name
        self._timeout_s = timeout_s
        self._retry_max_s = retry_max_s
        self._connection: Any = None
        self._checked = False
        self.trouble: str | None = None
        """What the database last said that kept us waiting; None while it answers."""
        self.after: Callable[[], Awaitable[None]] | None = None
        """What is let pass before work that has failed is tried again."""

    async def once(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Runs `work`. A connection that fails or takes too long is dropped: its transaction is then undecided."""
        if self._connection is None:
            self._connection = await self._pool.acquire(timeout=_ACQUIRE_S)
            self._checked = False
        # Not asyncio.timeout: cancelling would still wait for the rollback of a server that does not answer.
        task = asyncio.ensure_future(self._work(work))
        try:
            done, _ = await asyncio.wait({task}, timeout=self._timeout_s)
            if not done:
                raise TimeoutError(f"no answer within {self._timeout_s:g} s")
            return task.result()
        except POISON:
            raise
        except BaseException:
            await self.drop()
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise

    async def patiently(self, work: Callable[[Connection], Awaitable[T]], on_retry: Callable[[], None]) -> T:
        """Runs `work` until it succeeds, saying once what is in the way. POISON goes through."""
        delay = 0.05
        while True:
            try:
                result = await self.once(work)
            except POISON:
                raise
            except TROUBLE as error:
                why = f"{type(error).__name__}: {error}".strip(": ")
                if why != self.trouble:
                    log.error("database_trouble", who=self._name, why=why, doing="keeping the batch and trying again")
                    self.trouble = why
                on_retry()
                await asyncio.sleep(delay * random.uniform(0.5, 1.0))  # noqa: S311
                delay = min(delay * 2, self._retry_max_s)
                if self.after is not None:
                    await self.after()
            else:
                if self.trouble is not None:
                    log.warning("database_back", who=self._name)
                    self.trouble = None
                return result

    async def _work(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        connection = self._connection
        if not self._checked:
            # An acknowledgement promises that the data survives a power cut; with this off it would not.
            if await connection.fetchval(Q["synchronous_commit"]) == "off":
                log.error("synchronous_commit_was_off", doing="turned on for this connection; turn it on in the server")
                await connection.execute(Q["turn_on_synchronous_commit"])
            self._checked = True
        return await work(connection)

    async def drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            # The pool takes back by itself a connection that the server closed; touching it again is an error.
            with contextlib.suppress(asyncpg.InterfaceError):
                connection.terminate()
            with contextlib.suppress(asyncpg.InterfaceError):
                await self._pool.release(connection)
