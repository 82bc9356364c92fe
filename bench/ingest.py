"""How fast ingest stores: real broker, real database, the real service, and what each process spends on a message."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import resource
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import httpx
import psutil

from bench.publish import Load, generate
from bench.servers import BenchServers
from services.adapters.migrate import migrate
from services.adapters.mqtt import Address
from services.adapters.registry import import_community
from services.domain.devices import BY_NAME
from services.domain.ids import CommunityId, DeviceId
from services.domain.registry import GATEWAY_KIND, Community, Device

KIND = "manhole"
"""Three metrics, as in the target."""
ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Result:
    """Rates count what is stored, from the first publish to the last commit. CPU in µs a message, None where unseen."""

    messages: int
    readings_per_message: int
    seconds: float
    messages_per_s: float
    readings_per_s: float
    lost: int
    duplicates: int
    rejected: int
    cpu_us_per_message: dict[str, float | None]
    cores: int
    command: str


async def measure(
    servers: BenchServers,
    *,
    seconds: float = 10.0,
    messages: int | None = None,
    batch: int = 1,
    devices: int = 1000,
    progress: Callable[[int], None] = lambda stored: None,
) -> Result:
    """Publishes for `seconds`, or `messages` of them, and waits until all are stored. Leaves nothing behind."""
    name = f"bench{secrets.token_hex(4)}"
    async with _database(servers.database_url, name) as url:
        community = _community(name, devices)
        connection = await asyncpg.connect(url)
        try:
            await import_community(connection, community, secret_hashes={}, password_hashes={})
            with _ingest(url, servers.ingest_url, name) as ingest:
                await _ready(ingest)
                return await _run(connection, ingest, servers.load_url, community, seconds, messages, batch, progress)
        finally:
            await connection.close()


async def _run(
    connection: asyncpg.Connection[Any],
    ingest: _Ingest,
    mqtt_url: str,
    community: Community,
    seconds: float,
    messages: int | None,
    batch: int,
    progress: Callable[[int], None],
) -> Result:
    kind = BY_NAME[KIND]
    metrics = tuple(metric.name for metric in kind.metrics[:3])
    total = messages if messages is not None else 1 << 40
    stored = multiprocessing.Value("q", 0)
    sent = multiprocessing.Value("q", 0)
    gateways = tuple(device.id for device in community.devices if device.kind == GATEWAY_KIND)
    meters = tuple(device.id for device in community.devices if device.kind == KIND)
    rounds = total if messages is not None else max(1, int(seconds * 200_000 / batch))
    load = Load(mqtt_url, community.id, meters, gateways, metrics, rounds, batch, 40_000 if batch == 1 else 1_000)
    if batch > 1:
        load = Load(**{**asdict(load), "connections": 2})
    generator = multiprocessing.Process(target=generate, args=(load, stored, sent), daemon=True)
    cpu = _Cpu(ingest.process.pid, Address.parse(mqtt_url).port)
    await cpu.begin(connection)
    children = _children()
    began = time.perf_counter()
    generator.start()
    stopped = False
    while True:
        await asyncio.sleep(0.05)
        if ingest.process.poll() is not None:
            raise RuntimeError(f"ingest ended with {ingest.process.returncode}:\n{ingest.log()}")
        received = await connection.fetchval("SELECT coalesce(sum(received), 0)::bigint FROM ingest_ledger")
        stored.value = received // batch
        progress(received // batch)
        if generator.is_alive():
            if messages is None and time.perf_counter() - began >= seconds and not stopped:
                generator.terminate()
                generator.join()
                stopped = True
        elif stopped or received >= rounds * batch:
            break
    # After a timed run the broker may still hold some; all is over when nothing more comes.
    elapsed = time.perf_counter() - began
    settled = -1
    while messages is None and settled != received:
        settled = received
        await asyncio.sleep(0.5)
        received = await connection.fetchval("SELECT coalesce(sum(received), 0)::bigint FROM ingest_ledger")
        if settled != received:
            elapsed = time.perf_counter() - began
    generator.join()
    spent = await cpu.end(connection, _children() - children)
    row = await connection.fetchrow(
        "SELECT sum(stored)::bigint AS stored, sum(duplicate)::bigint AS duplicate, sum(rejected)::bigint AS rejected "
        "FROM ingest_ledger"
    )
    rows = await connection.fetchval("SELECT count(*) FROM reading")
    logged = await connection.fetchval("SELECT coalesce(sum(readings), 0)::bigint FROM ingest_log")
    count = row["stored"] // batch
    expected = (sent.value if messages is None else rounds) * batch
    return Result(
        messages=count,
        readings_per_message=batch * len(metrics),
        seconds=round(elapsed, 2),
        messages_per_s=round(count / elapsed),
        readings_per_s=round(count * batch * len(metrics) / elapsed),
        lost=max(0, expected - rows),
        duplicates=(logged - rows) + row["duplicate"],
        rejected=row["rejected"],
        cpu_us_per_message={who: None if s is None else round(s / count * 1e6, 1) for who, s in spent.items()},
        cores=os.cpu_count() or 0,
        command=" ".join(["linhub", *sys.argv[1:]]),
    )


class _Cpu:
    """Seconds of CPU by who spent them; processes of another machine or user cannot be seen."""

    def __init__(self, ingest: int, broker_port: int) -> None:
        self._ingest = psutil.Process(ingest)
        self._broker = _listening(broker_port)
        self._before: dict[str, float | None] = {}

    async def begin(self, connection: asyncpg.Connection[Any]) -> None:
        self._before = await self._now(connection)

    async def end(self, connection: asyncpg.Connection[Any], generator: float) -> dict[str, float | None]:
        after = await self._now(connection)
        spent: dict[str, float | None] = {"generator": generator}
        for who, before in self._before.items():
            now = after[who]
            spent[who] = None if now is None or before is None else now - before
        return spent

    async def _now(self, connection: asyncpg.Connection[Any]) -> dict[str, float | None]:
        # By title, not by the number the server gives: that one may be of its sandbox's own counting.
        name = await connection.fetchval("SELECT current_database()")
        backends = [
            _seconds(process.pid)
            for process in psutil.process_iter(["cmdline"])
            if (title := " ".join(process.info["cmdline"] or ())).startswith("postgres:") and f" {name} " in title
        ]
        known = [s for s in backends if s is not None]
        return {
            "ingest": _seconds(self._ingest.pid),
            "postgres": sum(known) if known else None,
            "mosquitto": None if self._broker is None else _seconds(self._broker),
        }


def _children() -> float:
    """CPU seconds of the children that have ended: here, the generator alone."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _seconds(pid: int) -> float | None:
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return None
    return float(times.user + times.system)


def _listening(port: int) -> int | None:
    try:
        found = [c.pid for c in psutil.net_connections("tcp") if c.status == "LISTEN" and c.laddr[1:] == (port,)]
    except psutil.Error:
        return None
    return next((pid for pid in found if pid), None)


class _Ingest:
    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process, self.port, self._log = process, port, log

    def log(self) -> str:
        return self._log.read_text()[-2000:]

    def __enter__(self) -> _Ingest:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
        self._log.unlink(missing_ok=True)


def _ingest(url: str, mqtt_url: str, name: str) -> _Ingest:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.NamedTemporaryFile(prefix="linhub-bench-", delete=False) as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "services.ingest.main"],
            cwd=ROOT,
            stderr=log,
            env={
                **os.environ,
                "LINHUB_DATABASE_URL": url,
                "LINHUB_MQTT_URL": mqtt_url,
                "LINHUB_WORKER": name,
                "LINHUB_HEALTH_PORT": str(port),
                "LINHUB_LOG_LEVEL": "WARNING",
            },
        )
    return _Ingest(process, port, Path(log.name))


async def _ready(ingest: _Ingest) -> None:
    async with httpx.AsyncClient() as client:
        for _ in range(600):
            if ingest.process.poll() is not None:
                break
            try:
                if (await client.get(f"http://127.0.0.1:{ingest.port}/health/ready")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.05)
    raise RuntimeError(f"ingest did not get ready:\n{ingest.log()}")


@asynccontextmanager
async def _database(url: str, name: str) -> AsyncIterator[str]:
    maintenance = await asyncpg.connect(url)
    own = urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
    try:
        await maintenance.execute(f'CREATE DATABASE "{name}"')
        await migrate(own)
        yield own
    finally:
        await maintenance.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        await maintenance.close()


def _community(name: str, devices: int) -> Community:
    """Devices behind two gateways each connection of the generator has one of."""
    gateways = [DeviceId(f"{name}-g{n}") for n in range(2)]
    return Community(
        id=CommunityId(name),
        name=name,
        city="bench",
        district="bench",
        street=name,
        latitude=30.0,
        longitude=120.0,
        plan={},
        compounds=(),
        grids=(),
        buildings=(),
        units=(),
        households=(),
        people=(),
        devices=(
            *(Device(gateway, GATEWAY_KIND, gateway, "", 0, 0) for gateway in gateways),
            *(
                Device(DeviceId(f"{name}-{n}"), KIND, str(n), "", 0, 0, gateway_id=gateways[n % 2])
                for n in range(devices)
            ),
        ),
    )
