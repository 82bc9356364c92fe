"""What a benchmark starts and stops: a database of its own, communities in it, and our services as processes."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import httpx

from deploy.embedded.ports import Reservations
from services.adapters.migrate import migrate
from services.adapters.registry import import_community
from services.domain.ids import CommunityId, DeviceId
from services.domain.registry import GATEWAY_KIND, Community, Device

ROOT = Path(__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Service:
    """One of ours, running. `log()` is the end of what it said."""

    name: str
    process: subprocess.Popen[bytes]
    health_port: int
    log_file: Path

    def log(self) -> str:
        return self.log_file.read_text(errors="replace")[-2000:]

    def check(self) -> None:
        if self.process.poll() is not None:
            raise RuntimeError(f"{self.name} ended with {self.process.returncode}:\n{self.log()}")

    async def ready(self) -> None:
        async with httpx.AsyncClient(trust_env=False) as client:
            for _ in range(1200):
                self.check()
                try:
                    answer = await client.get(f"http://127.0.0.1:{self.health_port}/health/ready")
                    if answer.status_code == 200:
                        return
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.05)
        raise RuntimeError(f"{self.name} did not get ready:\n{self.log()}")


@contextmanager
def service(name: str, environment: Mapping[str, str], module: str | None = None) -> Iterator[Service]:
    """`services.{name}.main` (or `module`, which runs it) with these variables, ended with the block."""
    with tempfile.TemporaryDirectory(prefix="linhub-bench-") as folder:
        log = Path(folder) / "log"
        port = free_port()
        with log.open("wb") as sink:
            process = subprocess.Popen(
                [sys.executable, "-m", module or f"services.{name}.main"],
                cwd=ROOT,
                stderr=sink,
                env={
                    **os.environ,
                    "LINHUB_LOG_LEVEL": "WARNING",
                    "LINHUB_HEALTH_PORT": str(port),
                    **environment,
                },
            )
        try:
            yield Service(name, process, port, log)
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


_PORTS = Reservations()


def free_port() -> int:
    """Not one that the kernel might lend to an outgoing connection before it is used."""
    return _PORTS.choose()


@asynccontextmanager
async def database(url: str, name: str, *, migrated: bool = True) -> AsyncIterator[str]:
    """A database of that name, dropped afterwards."""
    maintenance = await asyncpg.connect(url)
    try:
        await maintenance.execute(f'CREATE DATABASE "{name}"')
    finally:
        await maintenance.close()
    own = urlunsplit(urlsplit(url)._replace(path=f"/{name}"))
    try:
        if migrated:
            await migrate(own)
        yield own
    finally:
        await drop_database(url, name)


async def drop_database(maintenance_url: str, name: str) -> None:
    """Whoever is connected: the server's own jobs may take a while to end."""
    connection = await asyncpg.connect(maintenance_url)
    try:
        for left in reversed(range(12)):
            try:
                await connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
                break
            except asyncpg.ObjectInUseError:  # it waits five seconds for those it has ended
                if not left:
                    raise
    finally:
        await connection.close()


def community(name: str, kind: str, devices: int, gateways: int) -> Community:
    """So many devices of one kind, shared out among gateways."""
    behind = [DeviceId(f"{name}-g{n}") for n in range(gateways)]
    return Community(
        id=CommunityId(name),
        name=name,
        city="bench",
        district="bench",
        street="bench",
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
            *(Device(gateway, GATEWAY_KIND, gateway, "", 0, 0) for gateway in behind),
            *(
                Device(DeviceId(f"{name}-{n}"), kind, str(n), "", 0, 0, gateway_id=behind[n % gateways])
                for n in range(devices)
            ),
        ),
    )


async def put(connection: asyncpg.Connection[Any], communities: tuple[Community, ...]) -> None:
    for one in communities:
        await import_community(connection, one, secret_hashes={}, password_hashes={})
