"""What an installation says of itself when asked: launcher, servers, services, and what the database holds."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg

from deploy.embedded import broker, ports, state
from deploy.embedded.secrets import Secrets
from deploy.embedded.service import health
from services.adapters.broker_figures import read_once
from services.adapters.migrate import MigrationError
from services.adapters.migrate import status as migration_status
from services.adapters.mqtt import Address
from services.adapters.queries import Queries
from services.cli.home import Given, database_url

SQL = Queries.beside(__file__)
LATEST = 5
_WITH_HEALTH = ("ingest", "alerts", "api", "identity")
_MORE_WORKERS = "ingest-"
_OF_THE_DEMO = ("notices", "city-sim", "simulator")
_ANSWER_S = 10.0


def survey(home: Path) -> dict[str, Any]:
    """All of it, as plain values. Never raises for what is down: that is what it reports."""
    found = state.read(home)
    given = Given.from_environment()
    running = found.running
    url = database_url(home)
    database = asyncio.run(_database(url)) if url else {"answers": False, "error": "never started"}
    more = sorted(name for name in found.processes if name.startswith(_MORE_WORKERS))
    services = {name: _service(found, name) for name in ("ingest", *more, "alerts", "api", "identity", *_OF_THE_DEMO)}
    told: dict[str, Any] = {
        "home": str(home),
        "running": running,
        "phase": found.phase if running else "stopped",
        "launcher": found.launcher.pid if running and found.launcher else None,
        "url": found.facts.get("url") if running else None,
        "notices": found.facts.get("notices") if running else None,
        "city": found.facts.get("city") if running else None,
        "demo": bool(found.facts.get("demo")) if running else False,
        "ports": found.ports,
        "servers": {
            "database": {**database, "restarts": found.restarts.get("postgres", 0)},
            "broker": {**_broker(home, found, given), "restarts": found.restarts.get("mosquitto", 0)},
        },
        "services": {name: service for name, service in services.items() if service is not None},
    }
    told["ready"] = bool(
        running
        and found.phase == "ready"
        and database["answers"]
        and told["servers"]["broker"]["answers"]
        and not told["servers"]["broker"].get("trouble")
        and all(service["ready"] for service in told["services"].values())
    )
    return told


def _service(found: state.State, name: str) -> dict[str, Any] | None:
    if name not in found.processes or not found.running:
        return None
    alive = [process.pid for process in found.processes[name] if process.alive]
    port = found.ports.get(name) if name in _WITH_HEALTH or name.startswith(_MORE_WORKERS) else None
    waiting = "not running" if not alive else health(port) if port else None
    return {
        "ready": waiting is None,
        "waiting_for": waiting,
        "pid": alive[0] if alive else None,
        "port": port,
        "restarts": found.restarts.get(name, 0),
    }


def _broker(home: Path, found: state.State, given: Given) -> dict[str, Any]:
    if given.mqtt_url:
        told = urlsplit(given.mqtt_url)
        host, port = told.hostname or "", told.port or 1883
        return {"host": host, "port": port, "answers": ports.answers(port, host, 3.0), "embedded": False}
    port = found.ports.get("mqtt_services", 0)
    answers, figures = False, None
    if port and (home / "secrets.json").exists():
        secret = Secrets(home / "secrets.json").one(broker.HEALTH_ACCOUNT)
        answers = broker.connect(port, broker.HEALTH_ACCOUNT, secret) == 0
        if answers:
            figures = read_once(Address(ports.LOOPBACK, port, None, None), secret)
    data = home / "mosquitto" / "data"
    return {
        "host": ports.LOOPBACK,
        "port": port,
        "device_port": found.ports.get("mqtt"),
        "answers": answers,
        "embedded": True,
        "trouble": broker.save_trouble(data) if data.is_dir() else None,
        "figures": {**asdict(figures), "waiting": figures.waiting} if figures else None,
    }


async def _database(url: str) -> dict[str, Any]:
    told = urlsplit(url)
    place: dict[str, Any] = {"host": told.hostname, "port": told.port or 5432, "name": told.path.lstrip("/")}
    try:
        connection = await asyncpg.connect(url, timeout=_ANSWER_S, command_timeout=30)
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
        return {**place, "answers": False, "error": str(error) or type(error).__name__}
    try:
        versions = dict(await connection.fetchrow(SQL["versions"]))
        del versions["now"]
        told_more = {**place, "answers": True, "error": None, "versions": versions}
        return {**told_more, **await _contents(connection, url)}
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError) as error:
        return {**place, "answers": False, "error": str(error) or type(error).__name__}
    finally:
        await connection.close()


async def _contents(connection: Any, url: str) -> dict[str, Any]:
    try:
        migrations = await migration_status(url)
    except MigrationError as error:
        return {"migrations": {"applied": 0, "pending": [], "error": str(error)}}
    schema = {"applied": len(migrations.applied), "pending": list(migrations.pending), "error": None}
    if migrations.pending:
        return {"migrations": schema}
    by_severity = {row["severity"]: row["count"] for row in await connection.fetch(SQL["open_alerts"])}
    by_state = {row["state"]: row["count"] for row in await connection.fetch(SQL["open_orders"])}
    reasons = [plain(row) for row in await connection.fetch(SQL["quarantine_by_reason"])]
    latest = [plain(row) for row in await connection.fetch(SQL["quarantine_latest"], LATEST)]
    return {
        "migrations": schema,
        "compression": plain(await connection.fetchrow(SQL["compression"])),
        "devices": plain(await connection.fetchrow(SQL["devices"])),
        "ledger": plain(await connection.fetchrow(SQL["ledger"])),
        "ingest_workers": [plain(row) for row in await connection.fetch(SQL["ingest_workers"])],
        "partitions_unowned": list(await connection.fetchval(SQL["partitions_unowned"])),
        "quarantine": {"total": sum(row["count"] for row in reasons), "by_reason": reasons, "latest": latest},
        "alerts": {"open": sum(by_severity.values()), "by_severity": by_severity},
        "orders": {"open": sum(by_state.values()), "by_state": by_state},
    }


def plain(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row as JSON takes it."""
    return {name: value.isoformat() if isinstance(value, datetime) else value for name, value in row.items()}
