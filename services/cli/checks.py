"""What `linhub doctor` looks at: one function a part, each finding with what to do."""

from __future__ import annotations

import asyncio
import os
import re
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import asyncpg

from deploy.embedded import broker, ports, root, sandbox, state, tools
from deploy.embedded.secrets import Secrets
from services.adapters.broker_figures import Figures, read_once
from services.adapters.migrate import MigrationError
from services.adapters.migrate import status as migration_status
from services.adapters.mqtt import Address
from services.adapters.tenants import Separation, separation
from services.cli.broker_watch import NEAR
from services.cli.home import CODE, Given, api_database_url, database_url
from services.cli.launcher import API_PORT
from services.cli.survey import SQL

Level = Literal["ok", "note", "warning", "broken"]
MIN_FREE, LOW_FREE = 1_000_000_000, 5_000_000_000
MIN_FILES = 4096
MIN_PYTHON = (3, 11)
POSTGRES_MAJOR = 17
TIMESCALE = "2.19"
_BROKER_FLOOR = {
    "max_inflight_messages": 20000,
    "max_queued_messages": 3_500_000,
    "max_queued_bytes": 2_147_483_648,
    "max_packet_size": 1048576,
}


@dataclass(frozen=True, slots=True)
class Finding:
    """`todo` is empty when there is nothing to do."""

    subject: str
    level: Level
    found: str
    todo: str = ""


def examine(home: Path) -> Iterator[Finding]:
    """Everything, in the order in which one would mend it."""
    given = Given.from_environment()
    found = state.read(home)
    yield _python()
    yield from _tools(home, given)
    yield from _optional()
    yield _disk(home)
    yield _files()
    yield from _ports(found)
    url = database_url(home)
    if url is None:
        yield Finding("database", "note", "never started", "linhub up")
    else:
        api_url = os.environ.get("LINHUB_API_DATABASE_URL") or None
        if api_url is None and given.database_url is None:
            api_url = api_database_url(home, found.ports["postgres"])
        yield from asyncio.run(_database(url, api_url, found.running or given.database_url is not None))
    yield from _broker(home, found, given)


def _python() -> Finding:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] < MIN_PYTHON:
        return Finding("python", "broken", version, "install Python 3.11 or newer")
    return Finding("python", "ok", version)


def _tools(home: Path, given: Given) -> Iterator[Finding]:
    if given.database_url and given.mqtt_url:
        yield Finding("embedded servers", "note", "not used: LINHUB_DATABASE_URL and LINHUB_MQTT_URL are set")
        return
    unpacked = root.is_ready(home / "root")
    wanted = ["bwrap"] if unpacked else ["bwrap", "mmdebstrap"]
    packages = " ".join(tools.PACKAGES[program] for program in tools.missing(wanted))
    if packages:
        todo = f"sudo apt-get install --no-install-recommends -y {packages}"
        yield Finding("tools", "broken", f"missing: {packages}", todo)
    else:
        yield Finding("tools", "ok", " ".join(wanted))
        probe = subprocess.run(
            ["bwrap", "--unshare-user", "--unshare-pid", "--ro-bind", "/", "/", "true"],
            capture_output=True,
            text=True,
            check=False,
        )
        if probe.returncode != 0:
            yield Finding("sandbox", "broken", probe.stderr.strip(), sandbox.HINT)
        else:
            yield Finding("sandbox", "ok", "namespaces are allowed")
    if unpacked:
        marker = root.read_marker(home / "root")
        parts = [f"{name} {marker.get(name)}" for name in ("postgresql-17", "timescaledb", "mosquitto")]
        yield Finding("packages", "ok", ", ".join(parts))
    else:
        yield Finding("packages", "note", "not unpacked yet", "linhub up")


def _optional() -> Iterator[Finding]:
    built = (CODE / "services" / "api" / "cockpit" / "dist" / "index.html").is_file()
    if built or os.environ.get("LINHUB_COCKPIT_DIR"):
        yield Finding("cockpit", "ok", "built")
    else:
        yield Finding("cockpit", "warning", "not built: the address shows no page", "make web")
    browser = next((path for name in ("chromium", "google-chrome") if (path := shutil.which(name))), None)
    yield Finding("browser", "ok" if browser else "note", browser or "none; only the browser tests need one")


def _disk(home: Path) -> Finding:
    there = next(folder for folder in (home, *home.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    text = f"{free / 1e9:.1f} GB free for {home}"
    if free < MIN_FREE:
        return Finding("disk", "broken", text, f"free at least {MIN_FREE / 1e9:.0f} GB, or set LINHUB_HOME elsewhere")
    if free < LOW_FREE:
        return Finding("disk", "warning", text, "free some space before readings fill it")
    return Finding("disk", "ok", text)


def _files() -> Finding:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < MIN_FILES:
        return Finding(
            "open files", "warning", f"at most {hard}: the broker cannot hold more devices", "raise `ulimit -Hn`"
        )
    return Finding("open files", "ok", f"at most {'any number' if hard == resource.RLIM_INFINITY else hard}")


def _ports(found: state.State) -> Iterator[Finding]:
    if found.running:
        told = ", ".join(f"{name} {port}" for name, port in sorted(found.ports.items()))
        yield Finding("ports", "ok", told)
        return
    taken = {name: port for name, port in found.ports.items() if not ports.is_free(port)}
    if taken:
        told = ", ".join(f"{name} {port}" for name, port in taken.items())
        yield Finding("ports", "note", f"used by another program: {told}", "the next start takes others")
    elif not ports.is_free(API_PORT) and "api" not in found.ports:
        yield Finding("ports", "note", f"{API_PORT} is taken", "the cockpit gets another port; `linhub up` shows it")
    else:
        yield Finding("ports", "ok", "free")


async def _tenants(url: str, api_url: str | None) -> Finding:
    try:
        return judge_tenants(await separation(api_url or url), own_login=api_url is not None)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
        return Finding("tenants", "broken", f"the API's login cannot work: {error or type(error).__name__}", _MEND)


_MEND = "set LINHUB_API_DATABASE_URL to a login of its own and run `linhub migrate`, which makes it"


def judge_tenants(found: Separation, own_login: bool) -> Finding:
    """Whether a fault in a route could show one tenant another's rows."""
    if not found.holds:
        text = f"requests run as {found.role} and see {found.seen} communities without a scope"
        return Finding("tenants", "broken", text, "linhub migrate; see docs/tenancy.md")
    if found.lifts:
        why = "is a superuser" if found.superuser else "bypasses row security" if found.bypasses else "is the services'"
        return Finding("tenants", "warning", f"kept apart, but the API's login {found.login} {why}", _MEND)
    if not own_login:
        return Finding("tenants", "note", f"kept apart, by the same login as the services: {found.login}", _MEND)
    return Finding("tenants", "ok", f"kept apart by the database; requests come as {found.login}")


async def _database(url: str, api_url: str | None, expected: bool) -> list[Finding]:
    try:
        connection = await asyncpg.connect(url, timeout=10, command_timeout=30)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
        text = f"does not answer: {error or type(error).__name__}"
        if expected:
            return [Finding("database", "broken", text, "see logs/postgres.log, or LINHUB_DATABASE_URL")]
        return [Finding("database", "note", "stopped", "linhub up")]
    try:
        before = time.time()
        row = dict(await connection.fetchrow(SQL["versions"]))
        after = time.time()
        compression = dict(await connection.fetchrow(SQL["compression"])) if row["timescaledb"] else None
    finally:
        await connection.close()
    findings = [*judge_database(row), judge_clock(row["now"], before, after)]
    try:
        pending = (await migration_status(url)).pending
    except MigrationError as error:
        return [*findings, Finding("schema", "broken", str(error), "see above")]
    if pending:
        return [*findings, Finding("schema", "broken", f"behind: {', '.join(pending)}", "linhub migrate")]
    findings += [Finding("schema", "ok", "up to date"), await _tenants(url, api_url)]
    return findings if compression is None else [*findings, judge_compression(compression)]


def judge_database(row: Mapping[str, Any]) -> Iterator[Finding]:
    """What the server must be for LinHub's promises to hold."""
    major = row["server_num"] // 10000
    level: Level = "ok" if major >= POSTGRES_MAJOR else "broken"
    yield Finding("PostgreSQL", level, row["server"], "" if level == "ok" else f"use PostgreSQL {POSTGRES_MAJOR}")
    extension, available = row["timescaledb"], row["timescaledb_available"]
    if extension is None and available is None:
        yield Finding("TimescaleDB", "broken", "not installed on the server", "install TimescaleDB 2.19 or newer")
    elif extension is None:
        yield Finding("TimescaleDB", "broken", f"{available} is there but not in this database", "linhub migrate")
    elif _version(extension) < _version(TIMESCALE):
        todo = "ALTER EXTENSION timescaledb UPDATE, or a newer server"
        yield Finding("TimescaleDB", "broken", f"{extension} is older than {TIMESCALE}", todo)
    elif available is not None and available != extension:
        todo = "stop LinHub and run ALTER EXTENSION timescaledb UPDATE in a new connection"
        yield Finding("TimescaleDB", "warning", f"database has {extension}, server has {available}", todo)
    else:
        yield Finding("TimescaleDB", "ok", f"{extension} ({row['license']} edition)")
    for name in ("synchronous_commit", "fsync", "full_page_writes"):
        value = row[name]
        if value == "off" or (name == "synchronous_commit" and value == "local"):
            todo = f"ALTER SYSTEM SET {name} = on; a message that was acknowledged could be lost"
            yield Finding(name, "broken", value, todo)
        else:
            yield Finding(name, "ok", value)
    if row["data_checksums"] != "on":
        todo = "stop the server and run pg_checksums --enable; without, a bad disk goes unseen"
        yield Finding("data checksums", "warning", row["data_checksums"], todo)
    if row["max_connections"] < 50:
        todo = "set max_connections to 100 or more"
        yield Finding("connections", "warning", f"at most {row['max_connections']}", todo)


def judge_compression(row: Mapping[str, Any]) -> Finding:
    """Whether old readings are compressed; only TimescaleDB's community edition can."""
    if row["active"]:
        return Finding("compression", "ok", "readings older than 8 days are compressed")
    if row["license"] == "timescale":
        return Finding("compression", "warning", "off, though this edition has it", "linhub migrate")
    return Finding("compression", "note", f"off: not in the {row['license']} edition; old readings keep their size")


def judge_clock(database: float, before: float, after: float) -> Finding:
    """The database's clock must lie between two looks at ours; messages are judged by ours, rows dated by its."""
    off = database - before if database < before else max(0.0, database - after)
    text = f"database and host differ by {abs(off):.3f} s"
    if time.gmtime(before).tm_year < 2025:
        return Finding("clock", "broken", "the host's clock stands before 2025", "set it, and keep it by NTP")
    if abs(off) >= 5:
        return Finding("clock", "broken", text, "keep both by NTP; beyond 5 min every message is quarantined")
    if abs(off) >= 0.5:
        return Finding("clock", "warning", text, "keep both by NTP")
    return Finding("clock", "ok", text)


def _broker(home: Path, found: state.State, given: Given) -> Iterator[Finding]:
    if given.mqtt_url:
        told = urlsplit(given.mqtt_url)
        host, port = told.hostname or "", told.port or 1883
        code = broker.connect(port, told.username or "", told.password or "", host=host)
        if code is None:
            yield Finding("broker", "broken", f"{host}:{port} does not answer", "see LINHUB_MQTT_URL")
        elif code != 0:
            yield Finding("broker", "broken", f"{host}:{port} refuses the login ({code})", "see LINHUB_MQTT_URL")
        else:
            todo = "make sure its queue and in-flight limits are at least those of deploy/broker/mosquitto.conf"
            yield Finding("broker", "note", f"{host}:{port} answers; its limits cannot be read from here", todo)
        return
    written = home / "mosquitto" / "config" / "mosquitto.conf"
    if not written.exists():
        yield Finding("broker", "note", "never started", "linhub up")
        return
    yield from judge_broker(written.read_text(encoding="utf-8"))
    yield judge_saved(home / "mosquitto" / "data")
    if not found.running:
        yield Finding("broker", "note", "stopped", "linhub up")
        return
    secret = Secrets(home / "secrets.json").one(broker.HEALTH_ACCOUNT)
    for listener in ("mqtt", "mqtt_services"):
        port = found.ports.get(listener, 0)
        code = broker.connect(port, broker.HEALTH_ACCOUNT, secret)
        if code == 0:
            yield Finding(f"broker {listener}", "ok", f"127.0.0.1:{port} takes logins")
        else:
            text = "does not answer" if code is None else f"refuses a login ({code})"
            yield Finding(f"broker {listener}", "broken", f"127.0.0.1:{port} {text}", "see logs/mosquitto.log")
    address = Address(ports.LOOPBACK, found.ports.get("mqtt_services", 0), None, None)
    figures = read_once(address, secret)
    yield judge_dropped(figures.dropped if figures else None)
    yield judge_waiting(figures or Figures(), written.read_text(encoding="utf-8"))


def judge_dropped(count: int | None) -> Finding:
    """What a queue at its limit throws away must never go unseen."""
    if count is None:
        return Finding("broker queues", "note", "the broker does not say what it dropped", "try again in 10 s")
    if count:
        todo = "ingest was away too long, or a device does not fetch what is meant for it; see max_queued_messages"
        return Finding("broker queues", "warning", f"{count} messages dropped since the broker started", todo)
    return Finding("broker queues", "ok", "nothing dropped since the broker started")


def judge_saved(data: Path) -> Finding:
    """Where the broker keeps what waits: it says nothing itself when it cannot."""
    try:
        why = broker.save_trouble(data)
    except OSError as error:
        why = str(error)
    if why is None:
        return Finding("broker saves", "ok", f"to {data}")
    todo = f"make room for {data}; the next save, within two minutes, puts a whole file there"
    return Finding("broker saves", "broken", why, todo)


def judge_waiting(figures: Figures, configuration: str) -> Finding:
    """Told before a queue is full; mosquitto tells the sum over all sessions, which no single one exceeds."""
    limits = {name: int(value) for name, value in re.findall(r"^(max_queued_\w+) (\d+)$", configuration, re.MULTILINE)}
    text = f"up to {figures.waiting:,} messages, {(figures.stored_bytes or 0) / 1e6:,.1f} MB, wait in one session"
    full = [
        name
        for name, value in (("max_queued_messages", figures.waiting), ("max_queued_bytes", figures.stored_bytes or 0))
        if 0 < limits.get(name, 0) * NEAR <= value
    ]
    if full:
        todo = "ingest or the database is away, or too slow: see `linhub status`; what comes beyond is dropped"
        return Finding("broker waiting", "warning", f"{text}, near {', '.join(full)}", todo)
    return Finding("broker waiting", "ok", text)


def judge_broker(configuration: str) -> Iterator[Finding]:
    """Limits below the shipped ones lose messages that wait for ingest."""
    settings = dict(re.findall(r"^(\w+) (.+)$", configuration, re.MULTILINE))
    todo = "take the value of deploy/broker/mosquitto.conf"
    for name, floor in _BROKER_FLOOR.items():
        value = int(settings.get(name, -1))
        # For mosquitto, 0 is no limit.
        good = value == 0 or value >= floor
        yield Finding(name, "ok" if good else "broken", "not set" if value < 0 else str(value), "" if good else todo)
    for name, wanted in (("allow_anonymous", "false"), ("persistence", "true")):
        good = settings.get(name) == wanted
        yield Finding(name, "ok" if good else "broken", settings.get(name, "not set"), "" if good else todo)


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", text)[:3])
