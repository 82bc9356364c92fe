"""The database pool: JSON as Python values, patient at the start, honest about what is missing."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import asyncpg
import structlog

from services.adapters import migrate

log = structlog.get_logger(__name__)

RETRYABLE = (
    OSError,
    asyncpg.InterfaceError,
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
"""What passes by itself when the database comes back or lets go; everything else is a fault of ours."""


async def _prepare(connection: asyncpg.Connection[Any]) -> None:
    await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")


async def open_pool(
    database_url: str, *, name: str, min_size: int = 1, max_size: int = 4, retry_s: float = 1.0
) -> asyncpg.Pool[Any]:
    """Waits for the database and for its schema, saying so once per state; jsonb columns read and write Python values.

    Raises asyncpg.InvalidPasswordError and friends at once: waiting would not mend a wrong setting.
    """
    said = ""
    while True:
        try:
            pending = (await migrate.status(database_url)).pending
            if not pending:
                return await asyncpg.create_pool(
                    database_url,
                    min_size=min_size,
                    max_size=max_size,
                    init=_prepare,
                    server_settings={"application_name": name, "timezone": "UTC"},
                )
            waiting = "schema is behind, run `linhub migrate`: " + ", ".join(pending)
        except RETRYABLE as error:
            waiting = f"database does not answer: {error or type(error).__name__}"
        if waiting != said:
            log.warning("waiting_for_database", why=waiting)
            said = waiting
        await asyncio.sleep(retry_s)
