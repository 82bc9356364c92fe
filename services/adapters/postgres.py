"""The database pool: JSON as Python values, patient at the start, honest about what is missing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import asyncpg
import structlog

from services.adapters import migrate
from services.adapters.ending import cancel_again
from services.adapters.settings import refuse

log = structlog.get_logger(__name__)

RETRYABLE = (
    OSError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    asyncpg.PostgresConnectionError,
    asyncpg.exceptions.CannotConnectNowError,
    asyncpg.exceptions.AdminShutdownError,
    asyncpg.exceptions.CrashShutdownError,
    asyncpg.exceptions.TooManyConnectionsError,
    asyncpg.exceptions.SerializationError,
    asyncpg.exceptions.DeadlockDetectedError,
    asyncpg.exceptions.LockNotAvailableError,
    asyncpg.exceptions.DiskFullError,
    asyncpg.exceptions.QueryCanceledError,
    TimeoutError,
)
"""What passes by itself when the database comes back or lets go; everything else is a fault of ours.

InternalClientError is what the driver makes of an answer that a dying server cut in half.
"""


async def _prepare(connection: asyncpg.Connection[Any]) -> None:
    await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")


_NOTICED_MS = 2000
"""How soon a server that runs or waits for us looks whether we are still there."""


def _let_go(silent_s: float) -> dict[str, str]:
    """What has the server end what is left of us, and its locks, once we have been silent or unreachable for so long.

    Three ways to be left behind, and none covers another: a transaction between two statements (idle); within a
    statement, where it has answered and waits for the rest, which counts as active, on a line that carries nothing
    (TCP's own patience is a quarter of an hour for what it has said, Linux's tcp_retries2 of 15, and two hours where it
    has said nothing, RFC 1122 4.2.3.6); and waiting for a lock, where it would read of our end only afterwards.
    """
    milliseconds, seconds = str(round(silent_s * 1000)), str(max(1, round(silent_s)))
    return {
        "idle_in_transaction_session_timeout": milliseconds,
        "tcp_user_timeout": milliseconds,
        "tcp_keepalives_idle": seconds,
        "tcp_keepalives_interval": seconds,
        "client_connection_check_interval": str(min(_NOTICED_MS, round(silent_s * 1000))),
    }


async def open_pool(
    database_url: str,
    *,
    name: str,
    min_size: int = 1,
    max_size: int = 4,
    retry_s: float = 1.0,
    silent_s: float = 60.0,
    reads_history: bool = True,
    role: str | None = None,
    schema_url: str | None = None,
) -> asyncpg.Pool[Any]:
    """Waits for the database and for its schema, saying so once per state; jsonb columns read and write Python values.

    `reads_history` has each run of a statement planned for its own times. A plan made once for all times would lock
    every chunk of history at each run, and fail whenever the oldest is just being dropped.
    `silent_s`: what is open of ours is ended by the server once we have been silent or unreachable for so long. Where
    a process stops, or a line goes dead without a word, its locks would keep everybody waiting until TCP gives up.
    `role`: what every connection runs as; given at its start, so neither RESET ROLE nor RESET ALL lifts it.
    `schema_url`: the login that may ask about the schema, where this one may not.
    Raises asyncpg.InvalidPasswordError and friends at once: see `refusal_said`.
    """
    settings = {
        "application_name": name,
        "timezone": "UTC",
        **_let_go(silent_s),
    }
    if reads_history:
        settings["plan_cache_mode"] = "force_custom_plan"
    if role is not None:
        settings["role"] = role
    said = ""
    while True:
        try:
            pending = (await migrate.status(schema_url or database_url)).pending
            if not pending:
                return await asyncpg.create_pool(
                    database_url,
                    min_size=min_size,
                    max_size=max_size,
                    init=_prepare,
                    server_settings=settings,
                )
            waiting = "schema is behind, run `linhub migrate`: " + ", ".join(pending)
        except asyncpg.InvalidCatalogNameError as error:
            waiting = f"{error}; create it, or correct LINHUB_DATABASE_URL"
        except RETRYABLE as error:
            waiting = f"database does not answer: {error or type(error).__name__}"
        if waiting != said:
            log.warning("waiting_for_database", why=waiting)
            said = waiting
        await asyncio.sleep(retry_s)


@asynccontextmanager
async def listening(
    pool: asyncpg.Pool[Any], heard: Mapping[str, Callable[..., None]], ended: Callable[..., None]
) -> AsyncIterator[Any]:
    """A connection of the pool that LISTENs: `heard` is called with (connection, pid, channel, payload) of each notice
    on its channel, `ended` once when the server or the line ends the connection. Where a statement of the block meets
    that end first, the statement raises one of `RETRYABLE` instead.

    It is closed afterwards and never used again: the pool opens another. In that second case the driver keeps the
    listeners of the connection, and the pool would take it back with a warning only. Closing also asks nothing of a
    server that no longer answers, and hides nothing of what ended the block, a cancellation neither.
    """
    async with pool.acquire() as connection:
        try:
            connection.add_termination_listener(ended)
            for channel, hear in heard.items():
                await connection.add_listener(channel, hear)
            yield connection
        finally:
            # One whose end the driver has seen is the pool's again and refuses to be touched.
            with suppress(asyncpg.InterfaceError, asyncpg.InternalClientError):
                connection.remove_termination_listener(ended)
                connection.terminate()


async def end(working: asyncio.Task[None], pool: asyncpg.Pool[Any], patience_s: float) -> None:
    """Waits so long for work that was told to stop, then ends it without the database.

    A server that is frozen answers no cancellation either. Cutting the connections frees whoever waits for one, but
    with an error in place of the cancellation, which they would wait out and try again: hence they are told again.
    Whoever calls awaits `working` afterwards.
    """
    await asyncio.wait({working}, timeout=patience_s)
    if working.done():
        return
    log.warning("stopping_without_the_database", waited_s=patience_s)
    pool.terminate()
    while not working.done():
        cancel_again()
        await asyncio.wait({working}, timeout=0.2)


@contextmanager
def refusal_said() -> Iterator[None]:
    """Exits with 2 after one line where the database refuses the login: waiting would not mend a wrong setting."""
    try:
        yield
    except asyncpg.InvalidAuthorizationSpecificationError as error:
        refuse("database_url", f"the database refuses the login: {error}")
