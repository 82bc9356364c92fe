"""The straight line from an empty folder to a community that lives: root, servers, schema, people, services."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from deploy.embedded.errors import StackError
from deploy.embedded.service import Service
from deploy.embedded.stack import Servers, Stack
from services.adapters.broker_identity import secret_hash, write_password_file
from services.adapters.migrate import MigrationError, migrate
from services.adapters.postgres import RETRYABLE
from services.adapters.tenants import LoginError, ensure_login
from services.cli.home import CODE, Given, api_database_url, evidence_url, tr
from services.cli.init import password_variable
from services.cli.report import Ready, Report

API_PORT = 8080
STORIES_S = 120
"""In the demo something happens about this often."""
EXTERNAL_PATIENCE_S = 30.0
"""Given servers may be starting at the same time; LINHUB_PATIENCE_S says how long they are waited for instead."""


@dataclass(frozen=True, slots=True)
class Options:
    demo: bool = False
    preset: str = "gongyuan"
    scale: float = 0.2
    ingest_workers: int = 1
    city: bool = False
    """With a small city platform; of the demo alone."""


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the services of this start find their servers, whosever these are."""

    database: str
    api_database: str | None
    """The tenants' login; None: given servers without one, where the services' login takes the tenants' role."""
    ingest_mqtt: str
    command_mqtt: str
    device_mqtt: str


def _patience_s() -> float:
    try:
        return float(os.environ.get("LINHUB_PATIENCE_S", EXTERNAL_PATIENCE_S))
    except ValueError:
        raise StackError("LINHUB_PATIENCE_S is wrong: expected seconds") from None


def launch(stack: Stack, given: Given, options: Options, report: Report, stopped: Callable[[], bool]) -> None:
    """Starts everything, tells `report`, and watches until `stopped`. The stack is open. Raises StackError."""
    began = time.monotonic()
    servers = _servers(stack, given, report)
    addresses = Addresses(
        given.database_url or servers.database_url,
        os.environ.get("LINHUB_API_DATABASE_URL")
        or (None if given.database_url else api_database_url(stack.home, urlsplit(servers.database_url).port or 0)),
        given.mqtt_url or servers.mqtt_url("svc-ingest"),
        given.mqtt_url or servers.mqtt_url("svc-alerts"),
        given.mqtt_url or servers.device_url,
    )
    report.step(tr("database schema", "数据库结构"))
    asyncio.run(_migrate(addresses.database, addresses.api_database, given.database_url is not None))
    seeded = None
    if options.demo:
        report.step(
            tr(f"community {options.preset}, scale {options.scale:g}", f"社区 {options.preset}，规模 {options.scale:g}")
        )
        seeded = _seed(addresses.database, stack.home, options)
    if given.mqtt_url is None:
        report.step(tr("who may log in at the broker", "消息代理的登录账号"))
        asyncio.run(_write_identity(addresses.database, servers))
        stack.reload_broker()
    report.step(tr("services", "服务"))
    url, notices, city = _start_services(stack, given, servers, addresses, options)
    told = Ready(
        url=url,
        took_s=time.monotonic() - began,
        home=str(stack.home),
        accounts=[_plain(account) for account in seeded.accounts] if seeded else (),
        devices=seeded.devices if seeded else None,
        launcher=os.getpid(),
        notices=notices,
        city=city,
    )
    stack.set_facts(
        url=url,
        notices=notices,
        city=city,
        demo=options.demo,
        preset=options.preset if options.demo else None,
        own_database=given.database_url is None,
        own_broker=given.mqtt_url is None,
    )
    stack.set_phase("ready")
    report.ready(told)
    stack.supervise(stopped)


def _servers(stack: Stack, given: Given, report: Report) -> Servers:
    own_database, own_broker = given.database_url is None, given.mqtt_url is None
    if own_database or own_broker:
        report.step(tr("TimescaleDB and mosquitto from Debian packages", "TimescaleDB 与 mosquitto（Debian 软件包）"))
        stack.ensure_root()
    names = [name for name, own in (("PostgreSQL", own_database), ("mosquitto", own_broker)) if own]
    report.step(tr(" and ".join(names) or "given servers", "、".join(names) or "已有的服务器"))
    servers = stack.start_servers(with_postgres=own_database, with_broker=own_broker)
    if given.mqtt_url is not None:
        _require_answer(given.mqtt_url)
    return servers


def _require_answer(mqtt_url: str) -> None:
    told = urlsplit(mqtt_url)
    address = (told.hostname or "", told.port or 1883)
    deadline = time.monotonic() + _patience_s()
    while True:
        try:
            socket.create_connection(address, timeout=3).close()
            return
        except OSError as error:
            if time.monotonic() >= deadline:
                raise StackError(
                    f"the broker at {address[0]}:{address[1]} does not answer: {error}",
                    hint="LINHUB_MQTT_URL names it; without that variable an embedded one is started",
                ) from error
        time.sleep(0.5)


async def _migrate(database_url: str, api_url: str | None, external: bool) -> None:
    deadline = time.monotonic() + (_patience_s() if external else 5.0)
    while True:
        try:
            await migrate(database_url)
            if api_url is not None:
                await ensure_login(database_url, api_url)
            return
        except (MigrationError, LoginError) as error:
            raise StackError(str(error)) from error
        except asyncpg.InvalidAuthorizationSpecificationError as error:
            raise StackError(f"the database refuses the login: {error}", hint="see LINHUB_DATABASE_URL") from error
        except RETRYABLE as error:
            if time.monotonic() >= deadline:
                raise StackError(
                    f"the database does not answer: {error}", hint="see LINHUB_DATABASE_URL" if external else ""
                ) from error
        await asyncio.sleep(0.5)


def _seed(database_url: str, home: Path, options: Options) -> Any:
    from services.cli.seed import seed

    return asyncio.run(seed(database_url, home, options.preset, options.scale))


def _plain(account: Any) -> Mapping[str, Any]:
    told = asdict(account) if is_dataclass(account) and not isinstance(account, type) else dict(account)
    return {name: None if value is None else str(value) for name, value in told.items()}


async def _write_identity(database_url: str, servers: Servers) -> None:
    connection = await asyncpg.connect(database_url)
    try:
        await write_password_file(connection, servers.password_file, servers.hashes)
    finally:
        await connection.close()


def _module(name: str, *arguments: str) -> Sequence[str]:
    # -P: what lies in the caller's folder must not stand in for a package of ours.
    return [sys.executable, "-P", "-m", name, *arguments]


def _environment(**settings: str) -> dict[str, str]:
    """The caller's environment, so that any setting can be tuned, with what this start decides on top."""
    path = os.pathsep.join(filter(None, [str(CODE), os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **settings}


def ingest_processes(count: int) -> list[tuple[str, str]]:
    """(process, worker) of those that share the partitions; the first process is called as if it were alone."""
    return [("ingest-" + str(number) if number else "ingest", f"ingest-{number}") for number in range(count)]


def _start_services(
    stack: Stack, given: Given, servers: Servers, addresses: Addresses, options: Options
) -> tuple[str, str | None, str | None]:
    """All at once, then each is waited for; the cockpit's address, and in the demo where its notices are shown, and
    what its city platform hears of."""
    waited: list[Service] = []
    api_port = stack.port("api", API_PORT)
    url = f"http://127.0.0.1:{api_port}/"
    # Only the demo's people sit at this machine: to everybody else a link to it would lead nowhere.
    public = {"LINHUB_PUBLIC_URL": os.environ.get("LINHUB_PUBLIC_URL") or url} if options.demo else {}
    # Where notices of the demo are shown, and its city platform, lie on this machine; everybody else's networks stay
    # what they were set to.
    for name in [*(["NOTICES"] if options.demo else []), *(["CITY"] if options.demo and options.city else [])]:
        networks = os.environ.get(f"LINHUB_{name}_NETWORKS", "")
        public[f"LINHUB_{name}_NETWORKS"] = ",".join(filter(None, (networks, "127.0.0.1/32")))

    def start(name: str, module: Sequence[str], health: int | None, **settings: str) -> None:
        waited.append(stack.start_service(name, module, _environment(**settings), health))

    for name, worker in [*ingest_processes(options.ingest_workers), ("alerts", "")]:
        port = stack.port(name)
        start(
            name,
            _module(f"services.{'ingest' if worker else name}.main"),
            port,
            LINHUB_DATABASE_URL=addresses.database,
            LINHUB_MQTT_URL=addresses.ingest_mqtt if worker else addresses.command_mqtt,
            LINHUB_HEALTH_PORT=str(port),
            LINHUB_CLOCK_FILE=str(stack.home / "run" / "clock"),
            **({"LINHUB_WORKER": worker} if worker else public),
        )
    start(
        "api",
        _module("services.api.main"),
        api_port,
        LINHUB_DATABASE_URL=addresses.database,
        LINHUB_HTTP_HOST="127.0.0.1",
        LINHUB_HTTP_PORT=str(api_port),
        LINHUB_CLOCK_FILE=str(stack.home / "run" / "clock"),
        LINHUB_SECRET_KEY=os.environ.get("LINHUB_SECRET_KEY") or stack.secrets.one("session_key"),
        LINHUB_EVIDENCE_URL=evidence_url(stack.home),
        **({"LINHUB_API_DATABASE_URL": addresses.api_database} if addresses.api_database else {}),
    )
    if given.mqtt_url is None:
        start(
            "identity",
            _module("services.cli.main", "identity", "--watch", "--file", str(servers.password_file)),
            # Not waited for to be ready: a broker with a long queue is told of there, and must start all the same.
            None,
            LINHUB_DATABASE_URL=addresses.database,
            LINHUB_MQTT_URL=f"mqtt://{servers.mqtt_host}:{servers.mqtt_port}",
            LINHUB_HEALTH_PORT=str(stack.port("identity")),
            LINHUB_BROKER_DATA=str(stack.mosquitto.folder / "data"),
            **{password_variable(account): secret for account, secret in servers.secrets.items()},
        )
    for service in waited:
        service.wait_ready()
    notices = city = None
    if options.demo and options.city:
        port = stack.port("city-sim")
        city = f"http://127.0.0.1:{port}/"
        stack.start_service(
            "city-sim",
            _module(
                "services.cli.main", "city-sim", "demo", url, "--port", str(port),
                "--book", str(stack.home / "sim" / "city.db"),
            ),
            _environment(LINHUB_DATABASE_URL=addresses.database),
            None,
        )  # fmt: skip
    if options.demo:
        port = stack.port("notices")
        notices = f"http://127.0.0.1:{port}/"
        stack.start_service(
            "notices",
            _module("services.cli.main", "notices", "sink", "--channels", "--port", str(port)),
            _environment(LINHUB_DATABASE_URL=addresses.database),
            None,
        )
        stack.start_service(
            "simulator",
            _module("device_sim.main"),
            _environment(
                LINHUB_MQTT_URL=addresses.device_mqtt,
                LINHUB_SIM_HOME=str(stack.home),
                LINHUB_SIM_PRESET=options.preset,
                LINHUB_SIM_SCALE=str(options.scale),
                LINHUB_SIM_STORIES=os.environ.get("LINHUB_SIM_STORIES", str(STORIES_S)),
            ),
            None,
        )
    return url, notices, city


def new_stack(home: Path, report: Report) -> Stack:
    return Stack(home, secret_hash, say=report.note)
