"""One peer measured: same generator, same broker and its settings, a plain table without keys, which favours it."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import secrets
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from typing import Any

import asyncpg

from bench.cpu import CpuMeter
from bench.ingest import AHEAD, COMMUNITIES, KIND, METRICS, publishers
from bench.peers.install import PeerError
from bench.publish import Load, generate
from bench.servers import BenchServers
from bench.system import community, database
from services.adapters.mqtt import Address

_TABLE = "CREATE TABLE message (id bigint GENERATED ALWAYS AS IDENTITY, at timestamptz DEFAULT now(), payload bytea)"
_SO_FAR = "SELECT coalesce(max(id), 0) FROM message"
_COUNT = """
SELECT count(*) AS rows, count(DISTINCT (convert_from(payload, 'UTF8')::json->>'n')::bigint) AS messages FROM message
"""
_QUIET_S = 8.0
"""Nothing new for so long: nothing more comes."""


@dataclass(frozen=True, slots=True)
class Command:
    words: tuple[str, ...]
    environment: Mapping[str, str]
    client_id: str


Make = Callable[[Path, str, str], Command]
"""(folder, mqtt_url, database_url) → how to start the peer on them."""


@dataclass(frozen=True, slots=True)
class PeerResult:
    """As bench.ingest.Result; `lost` and `doubled` are messages, after `kills` kills in the middle of the stream."""

    messages: int
    messages_per_s: float
    readings_per_s: float
    kills: int
    lost: int
    doubled: int
    cpu_us_per_message: dict[str, float | None]


async def measure(
    servers: BenchServers,
    make: Make,
    *,
    messages: int,
    kills: int = 0,
    devices: int = 5000,
) -> PeerResult:
    """Runs the command that `make` gives. A kill is SIGKILL; it is started again a second later."""
    name = f"bench{secrets.token_hex(4)}"
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="linhub-peer-")))
        url = await stack.enter_async_context(database(servers.database_url, name, migrated=False))
        connection = await asyncpg.connect(url)
        stack.push_async_callback(connection.close)
        await connection.execute(_TABLE)
        homes = tuple(community(f"{name}-{n}", KIND, devices // COMMUNITIES, 2) for n in range(COMMUNITIES))
        load = Load(servers.load_url, name, publishers(homes, 1), METRICS, messages, 1, AHEAD, numbered=True)
        # The services' account: it may read everything and keeps a client id of its own.
        command = make(folder, servers.ingest_url, url)
        peer = _Peer(command, folder)
        stack.callback(peer.stop)
        peer.start()
        await asyncio.sleep(5)  # none of them says when it has subscribed
        return await _run(connection, peer, load, kills)


async def _run(connection: asyncpg.Connection[Any], peer: _Peer, load: Load, kills: int) -> PeerResult:
    stored: Synchronized[int] = multiprocessing.Value("q", 0)
    sent: Synchronized[int] = multiprocessing.Value("q", 0)
    generator = multiprocessing.Process(target=generate, args=(load, stored, sent), daemon=True)
    cpu = CpuMeter({"peer": peer.pid}, Address.parse(load.url).port)
    await cpu.begin(connection)
    killed = 0
    began = moved = time.perf_counter()
    count = 0
    generator.start()
    while True:
        await asyncio.sleep(0.05)
        now = await connection.fetchval(_SO_FAR)
        if now != count:
            count, moved = now, time.perf_counter()
        # What is lost is never stored: without this the generator would wait for it for ever.
        stored.value = count if killed == 0 else max(count, sent.value - AHEAD // 2)
        if killed < kills and count >= load.messages * (killed + 1) // (kills + 1):
            peer.kill()
            killed += 1
            await asyncio.sleep(1)
            peer.start()
            moved = time.perf_counter()
        if not generator.is_alive() and (
            (count >= load.messages and not kills) or time.perf_counter() - moved > _QUIET_S
        ):
            break
    generator.join()
    if count == 0:
        raise PeerError(f"the peer stored nothing:\n{peer.log()}")
    elapsed = moved - began
    spent = await cpu.end(connection)
    row = await connection.fetchrow(_COUNT)
    return PeerResult(
        messages=row["messages"],
        messages_per_s=round(row["messages"] / elapsed),
        readings_per_s=round(row["messages"] * len(load.metrics) / elapsed),
        kills=killed,
        lost=load.messages - row["messages"],
        doubled=row["rows"] - row["messages"],
        cpu_us_per_message={
            who: None if s is None or kills else round(s / max(1, row["messages"]) * 1e6, 1) for who, s in spent.items()
        },
    )


class _Peer:
    def __init__(self, command: Command, folder: Path) -> None:
        self._command, self._folder = command, folder
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def log(self) -> str:
        return (self._folder / "log").read_text(errors="replace")[-2000:]

    def start(self) -> None:
        with (self._folder / "log").open("ab") as sink:
            environment = {**os.environ, **self._command.environment}
            self._process = subprocess.Popen(
                self._command.words, cwd=self._folder, env=environment, stdout=sink, stderr=sink, start_new_session=True
            )

    def kill(self) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, 9)
            self._process.wait()

    stop = kill
