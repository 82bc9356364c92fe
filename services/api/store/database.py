"""The API's way to the database: every use within a tenant's scope, bounded in time, honest while it is away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import asyncpg

from services.adapters.postgres import RETRYABLE, open_pool
from services.adapters.tenants import TENANT_ROLE
from services.api.store.tenancy import SERVICE, Scope, current

Connection: TypeAlias = "asyncpg.Connection[Any]"


AWAY = RETRYABLE
"""What a request or a loop may meet while the database is away or dying."""


class DatabaseAwayError(ConnectionError):
    """There is no pool yet; an OSError, so that it is answered like any other absence."""


class TenantLoginError(Exception):
    """The login that `setting` names cannot take the tenants' role; waiting would not mend it."""

    def __init__(self, setting: str, why: str) -> None:
        super().__init__(
            f"it cannot work as {TENANT_ROLE}: {why}; `linhub migrate` with LINHUB_API_DATABASE_URL set makes that "
            f"login, or an administrator runs: GRANT {TENANT_ROLE} TO the login"
        )
        self.setting = setting


class ScopeMissingError(RuntimeError):
    """A fault of ours: a route that verifies no ticket must say aloud whose rows it reads."""


_ENTER = "SELECT tenant_enter($1, $2, $3, $4, $5, $6)"


class Database:
    """Two pools: requests run as the tenants' role, in the scope of who asks; the services' own work in the other.

    `tenant_url`: the tenants' own login; without one, the services' login takes the tenants' role.
    `waiting` says what readiness should say.
    """

    def __init__(
        self,
        url: str,
        *,
        connections: int,
        timeout_s: float,
        tenant_url: str | None = None,
        service_connections: int = 4,
    ) -> None:
        self.url = url
        self._tenant_url = tenant_url or url
        self._connections = connections
        self._service_connections = service_connections
        self._timeout_s = timeout_s
        self._pool: asyncpg.Pool[Any] | None = None
        self._service_pool: asyncpg.Pool[Any] | None = None

    @property
    def waiting(self) -> str | None:
        return None if self._pool is not None else "waiting for the database"

    async def open(self) -> None:
        """Returns when the database answers and its schema is as new as this code."""
        if self._service_pool is None:
            self._service_pool = await open_pool(
                self.url, name="linhub-api-service", max_size=self._service_connections
            )
        try:
            self._pool = await open_pool(
                self._tenant_url,
                name="linhub-api",
                max_size=self._connections,
                role=TENANT_ROLE,
                schema_url=self.url,
            )
        except (
            asyncpg.InvalidAuthorizationSpecificationError,
            asyncpg.InsufficientPrivilegeError,
            asyncpg.InvalidParameterValueError,
        ) as error:
            setting = "database_url" if self._tenant_url == self.url else "api_database_url"
            raise TenantLoginError(setting, str(error)) from error

    async def close(self) -> None:
        for pool in (self._pool, self._service_pool):
            if pool is None:
                continue
            try:
                async with asyncio.timeout(2):
                    await pool.close()
            except TimeoutError:
                pool.terminate()

    @asynccontextmanager
    async def _acquired(self, as_: Scope | None) -> AsyncIterator[Connection]:
        scope = as_ if as_ is not None else current.get()
        if scope is None:
            raise ScopeMissingError("nobody said whose rows these may be: no ticket was verified, and no `as_` given")
        pool = self._service_pool if scope is SERVICE else self._pool
        if pool is None:
            raise DatabaseAwayError("the database was not reached since the start")
        async with pool.acquire(timeout=self._timeout_s) as connection:
            if scope is not SERVICE:
                # Everything is said anew each time; and what was said before, the pool's RESET ALL has wiped.
                await connection.execute(_ENTER, *scope.arguments())
            yield connection

    @asynccontextmanager
    async def read(self, as_: Scope | None = None) -> AsyncIterator[Connection]:
        """A connection for single statements, in the scope of the request's ticket or in the one given.

        Raises one of postgres.RETRYABLE where the database is away or slow, ScopeMissingError where nobody is known.
        """
        async with asyncio.timeout(self._timeout_s), self._acquired(as_) as connection:
            yield connection

    @asynccontextmanager
    async def hold(self) -> AsyncIterator[Connection]:
        """A connection for work of the API's own that lasts longer than a request may."""
        async with self._acquired(SERVICE) as connection:
            yield connection

    @asynccontextmanager
    async def write(self, as_: Scope | None = None) -> AsyncIterator[Connection]:
        """A connection inside one transaction."""
        async with self.read(as_) as connection, connection.transaction():
            yield connection

    @asynccontextmanager
    async def consistent(self, as_: Scope | None = None) -> AsyncIterator[Connection]:
        """One snapshot of the database for several reads."""
        async with self.read(as_) as connection, connection.transaction(isolation="repeatable_read", readonly=True):
            yield connection
