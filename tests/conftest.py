"""Real servers for tests: TimescaleDB and mosquitto once a run, a fresh migrated database for each test."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg
import pytest

from services.adapters.broker_identity import SERVICE_ACCOUNTS
from services.adapters.migrate import migrate

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Mqtt:
    """The broker. `username` may say and hear everything under `sc/`; `accounts` are the services' own, as in production.

    `port` is the services' listener (client ids are free there), `device_port` the devices' (client id = login name).
    """

    host: str
    port: int
    device_port: int
    username: str
    password: str
    accounts: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"mqtt://{quote(self.username)}:{quote(self.password)}@{self.host}:{self.port}"

    def account_url(self, account: str) -> str:
        return f"mqtt://{account}:{quote(self.accounts[account])}@{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Servers:
    """`database_url` is the maintenance database of a superuser."""

    database_url: str
    mqtt: Mqtt

    @property
    def mqtt_host(self) -> str:
        return self.mqtt.host

    @property
    def mqtt_port(self) -> int:
        return self.mqtt.port


def with_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def run(work: Coroutine[Any, Any, T]) -> T:
    """Runs `work` on a loop of its own, apart from the one that pytest-asyncio keeps."""
    results: list[T] = []
    errors: list[BaseException] = []

    def target() -> None:
        try:
            results.append(asyncio.run(work))
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=target)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]
    return results[0]


@pytest.fixture(scope="session")
def servers() -> Servers:
    database_url = os.environ["LINHUB_TEST_DATABASE_URL"]
    mqtt_url = urlsplit(os.environ["LINHUB_TEST_MQTT_URL"])
    host, port = mqtt_url.hostname or "127.0.0.1", mqtt_url.port or 1883
    accounts = dict.fromkeys(SERVICE_ACCOUNTS, "unused")
    mqtt = Mqtt(host, port, port, mqtt_url.username or "svc-test", mqtt_url.password or "unused", accounts)
    return Servers(database_url, mqtt)


@pytest.fixture
def mqtt(servers: Servers) -> Mqtt:
    return servers.mqtt


async def _close_to_connections(connection: asyncpg.Connection[Any], name: str) -> None:
    """A template must have no connection; TimescaleDB's scheduler makes one wherever connections are allowed."""
    await connection.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS false')
    async with asyncio.timeout(30):
        while await connection.fetchval(
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = $1", name
        ):
            await asyncio.sleep(0.02)


async def _make_template(maintenance_url: str, name: str) -> None:
    connection = await asyncpg.connect(maintenance_url)
    try:
        await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
        await migrate(with_database(maintenance_url, name))
        await _close_to_connections(connection, name)
    finally:
        await connection.close()


async def _drop(maintenance_url: str, name: str) -> None:
    connection = await asyncpg.connect(maintenance_url)
    try:
        await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def database_template(servers: Servers) -> Iterator[str]:
    """The name of a migrated database that nobody is connected to, to be cloned."""
    name = f"linhub_template_{secrets.token_hex(6)}"
    with contextlib.ExitStack() as stack:
        stack.callback(lambda: run(_drop(servers.database_url, name)))
        run(_make_template(servers.database_url, name))
        yield name


@pytest.fixture
async def database_url(servers: Servers, database_template: str) -> AsyncIterator[str]:
    """A fresh migrated database of the test's own; dropped afterwards, whoever is still connected."""
    name = f"linhub_test_{secrets.token_hex(6)}"
    connection = await asyncpg.connect(servers.database_url)
    try:
        await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{database_template}"')
    finally:
        await connection.close()
    try:
        yield with_database(servers.database_url, name)
    finally:
        await _drop(servers.database_url, name)
