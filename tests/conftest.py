"""Real servers for tests: TimescaleDB and mosquitto once a run, a fresh migrated database for each test."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, urlsplit, urlunsplit

import asyncpg
import hypothesis
import pytest
import structlog
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion

from bench.system import drop_database
from deploy.embedded.broker import Mosquitto, connect
from deploy.embedded.postgres import DATABASE
from deploy.embedded.stack import Stack
from services.adapters.broker_identity import SERVICE_ACCOUNTS, replace_file, secret_hash
from services.adapters.migrate import migrate
from tests.late_connections import close_what_comes_too_late

T = TypeVar("T")

# How long one example takes says something of the machine, not of the code. What is red is red again: only a campaign
# draws other examples each time.
hypothesis.settings.register_profile(
    "linhub", deadline=None, derandomize="LINHUB_HYPOTHESIS_EXAMPLES" not in os.environ
)
hypothesis.settings.load_profile("linhub")
# Drawing a traceback with all its locals takes up to a minute, in the middle of the loop that serves.
structlog.configure(
    processors=[
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)

close_what_comes_too_late()

# Seeds and services of tests hash passwords by the dozen; what a hash costs in use is a test of its own.
os.environ.setdefault("LINHUB_PASSWORD_MEMORY_KIB", "1024")
os.environ.setdefault("LINHUB_PASSWORD_PASSES", "1")

TEST_ACCOUNT = "svc-test"
TEST_ACL = f"""
user {TEST_ACCOUNT}
topic readwrite sc/#
topic read $SYS/#
"""
REPOSITORY = Path(__file__).resolve().parents[1]
ROOT = REPOSITORY / ".linhub" / "root"
"""The unpacked packages are shared with `linhub up` and between runs; everything else of a run is its own."""


@dataclass(frozen=True, slots=True)
class Mqtt:
    """The broker. `username` may say and hear everything under `sc/`; `accounts` are the services' own, as in use.

    `port` is the services' listener (client ids are free there), `device_port` the devices' (client id = login name).
    """

    host: str
    port: int
    device_port: int
    username: str
    password: str
    accounts: Mapping[str, str] = field(default_factory=dict)
    broker: Mosquitto | None = None
    """None when a broker that was there before is used."""

    @property
    def url(self) -> str:
        return f"mqtt://{quote(self.username)}:{quote(self.password)}@{self.host}:{self.port}"

    def account_url(self, account: str) -> str:
        return f"mqtt://{account}:{quote(self.accounts[account])}@{self.host}:{self.port}"

    def forget(self) -> None:
        """Removes every retained message under `sc/`."""
        mark, retained, done = f"sc/{secrets.token_hex(8)}", set[str](), threading.Event()

        def heard(_: Client, __: object, message: MQTTMessage) -> None:
            if message.topic == mark:
                done.set()
            elif message.retain:
                retained.add(message.topic)

        client = Client(CallbackAPIVersion.VERSION2)
        client.username_pw_set(self.username, self.password)
        client.on_message = heard
        client.connect(self.host, self.port)
        client.loop_start()
        try:
            client.subscribe("sc/#", qos=1)
            # What is retained comes before what is published after the subscription.
            client.publish(mark, b"", qos=1)
            assert done.wait(60), "the broker does not say what it retains"
            for topic in tuple(retained):
                client.publish(topic, b"", qos=1, retain=True).wait_for_publish(60)
        finally:
            client.disconnect()
            client.loop_stop()

    def admit(self, devices: Mapping[str, str]) -> None:
        """Lets devices (id to secret) log in, beside those admitted before; returns when the broker knows them."""
        if self.broker is None or not devices:
            return
        path = self.broker.password_file
        lines = [line for line in path.read_text().splitlines() if line.partition(":")[0] not in devices]
        lines += [f"{device}:{secret_hash(secret)}" for device, secret in devices.items()]
        replace_file(path, "".join(f"{line}\n" for line in lines).encode(), 0o600)
        self.broker.reload()
        device, secret = next(iter(devices.items()))
        deadline = time.monotonic() + 60
        while connect(self.device_port, device, secret) != 0:
            assert time.monotonic() < deadline, "the broker does not take the new password file"
            time.sleep(0.01)


@dataclass(frozen=True, slots=True)
class Servers:
    """`database_url` is the maintenance database of a superuser. `stack` is None when the servers were there before."""

    database_url: str
    mqtt: Mqtt
    stack: Stack | None = None

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


@contextlib.contextmanager
def own_servers(home: Path) -> Iterator[Servers]:
    """Servers of the caller's own, gone afterwards. Call from the main thread: they die with the calling one."""
    with Stack(home, secret_hash, root=ROOT, extra_acl=TEST_ACL) as stack:
        stack.ensure_root()
        started = stack.start_servers()
        mqtt = Mqtt(
            started.mqtt_host,
            started.mqtt_port,
            started.device_port,
            TEST_ACCOUNT,
            started.secrets[TEST_ACCOUNT],
            started.secrets,
            stack.mosquitto,
        )
        yield Servers(started.maintenance_url, mqtt, stack)


def _given_servers(database_url: str, broker_url: str) -> Servers:
    told = urlsplit(broker_url)
    host, port = told.hostname or "127.0.0.1", told.port or 1883
    accounts = dict.fromkeys(SERVICE_ACCOUNTS, "unused")
    mqtt = Mqtt(host, port, port, told.username or TEST_ACCOUNT, told.password or "unused", accounts)
    return Servers(database_url, mqtt)


@pytest.fixture(scope="session")
def servers() -> Iterator[Servers]:
    """Of this run alone, unless LINHUB_TEST_DATABASE_URL and LINHUB_TEST_MQTT_URL name others."""
    database_url, broker_url = (os.environ.get(f"LINHUB_TEST_{name}_URL") for name in ("DATABASE", "MQTT"))
    if database_url and broker_url:
        yield _given_servers(database_url, broker_url)
        return
    with tempfile.TemporaryDirectory(prefix="linhub-test-") as home, own_servers(Path(home)) as own:
        yield own


@pytest.fixture
def breakable() -> Iterator[Servers]:
    """Servers that this one test may kill, freeze and start again: `breakable.stack.postgres.kill()`.

    `with_database(breakable.database_url, "linhub")` is their migrated database.
    """
    with tempfile.TemporaryDirectory(prefix="linhub-test-") as home, own_servers(Path(home)) as own:
        run(migrate(with_database(own.database_url, DATABASE)))
        yield own


@pytest.fixture
def mqtt(servers: Servers) -> Iterator[Mqtt]:
    """Nothing retained is left for the next test: its ingest would meet devices that it does not know."""
    yield servers.mqtt
    servers.mqtt.forget()


_END_OTHERS = (
    "SELECT count(*) FILTER (WHERE NOT pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE datname = $1"
)
"""Waits for each to be gone; counts those that were not within five seconds."""


async def _close_to_connections(connection: asyncpg.Connection[Any], name: str) -> None:
    """A template must have no connection; TimescaleDB's scheduler makes one wherever connections are allowed."""
    await connection.execute(f'ALTER DATABASE "{name}" WITH ALLOW_CONNECTIONS false')
    while await connection.fetchval(_END_OTHERS, name):
        pass


async def _make_template(maintenance_url: str, name: str) -> None:
    connection = await asyncpg.connect(maintenance_url)
    try:
        await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
        await migrate(with_database(maintenance_url, name))
        await _close_to_connections(connection, name)
    finally:
        await connection.close()


@pytest.fixture(scope="session")
def database_template(servers: Servers) -> Iterator[str]:
    """The name of a migrated database that nobody is connected to, to be cloned."""
    name = f"linhub_template_{secrets.token_hex(6)}"
    with contextlib.ExitStack() as stack:
        stack.callback(lambda: run(drop_database(servers.database_url, name)))
        run(_make_template(servers.database_url, name))
        yield name


async def _clone(maintenance_url: str, template: str) -> str:
    name = f"linhub_test_{secrets.token_hex(6)}"
    connection = await asyncpg.connect(maintenance_url)
    try:
        await connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    finally:
        await connection.close()
    return name


@pytest.fixture
async def database_url(servers: Servers, database_template: str) -> AsyncIterator[str]:
    """A fresh migrated database of the test's own; dropped afterwards, whoever is still connected."""
    name = await _clone(servers.database_url, database_template)
    try:
        yield with_database(servers.database_url, name)
    finally:
        await drop_database(servers.database_url, name)


@pytest.fixture(scope="module")
def module_database_url(servers: Servers, database_template: str) -> Iterator[str]:
    """As `database_url`, for all tests of a module together: for what is dear to fill, and then read only."""
    name = run(_clone(servers.database_url, database_template))
    try:
        yield with_database(servers.database_url, name)
    finally:
        run(drop_database(servers.database_url, name))
