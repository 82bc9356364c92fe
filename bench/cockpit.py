"""P6: a cockpit's snapshot and its curves of 24 h at a hundred requests a second, over much and over little history.

Readings lie a minute apart for every device, and end now; so does the history of 100,000 orders. What so much loading
leaves to do (vacuum, checkpoint) is done before anything is measured. Requests are sent at times fixed beforehand, from
a process of its own, and a request's time runs from when it was due.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import random
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import uvloop

from bench import loop_watch
from bench.cockpit_system import CockpitSystem, prepared, running
from bench.fanout import event, put_alerts
from bench.servers import BenchServers
from services.adapters.queries import Queries
from services.api.data.curves import CurveKeeper
from services.api.store.database import Database
from services.domain.orders import plain_terms
from services.domain.vocabulary import Severity

Q = Queries(Path(__file__).with_name("cockpit.sql"))
Say = Callable[[str], None]
RATE = 100
ORDERS, OPEN = 100_000, 60
_CONNECTIONS = 24
_CURVES = ("power", "water", "gas", "pv")


@dataclass(frozen=True, slots=True)
class Pace:
    """Milliseconds from when a request was due to its last byte."""

    requests: int
    failed: int
    p50_ms: float
    p99_ms: float
    worst_ms: float
    api_core_percent: float
    loop_cpu_ms: float
    """The longest that the API's own event loop computed without a turn for anybody else."""
    loop_wall_ms: float
    """As above, with what the machine took from it."""


@dataclass(frozen=True, slots=True)
class Cockpit:
    readings: int
    load_s: float
    database_bytes: int
    curves_filled_s: float
    snapshot_bytes: int
    snapshot_gzip_bytes: int
    snapshot: Pace
    curves: Pace
    both_with_events: Pace


async def load(connection: asyncpg.Connection[Any], url: str, readings: int, say: Say) -> int:
    """As many readings (values) as wanted, to the minute before now; how many there are."""
    width = int(await connection.fetchval(Q["widths"]))
    minutes = max(60, readings // width)
    end = datetime.now(UTC).replace(second=0, microsecond=0)
    start = end - timedelta(minutes=minutes)
    step, slices = timedelta(hours=2), []
    while start < end:
        slices.append((start, min(start + step, end)))
        start += step
    waiting, done = list(reversed(slices)), 0

    async def work() -> None:
        nonlocal done
        mine = await asyncpg.connect(url)
        await mine.execute("SET synchronous_commit = off")
        try:
            while waiting:
                await mine.execute(Q["load_readings"], *waiting.pop())
                done += 1
                say(f"{done} of {len(slices)} slices loaded")
        finally:
            await mine.close()

    await asyncio.gather(work(), work())
    return minutes * width


async def measure(servers: BenchServers, readings: int, seconds: float, say: Say) -> Cockpit:
    async with prepared(servers) as made:
        connection, url, home, _ = made
        began = time.monotonic()
        there = await load(connection, url, readings, say)
        await connection.execute(Q["load_states"])
        terms = json.dumps(plain_terms(Severity.MINOR).as_detail())
        await connection.execute(Q["load_orders"], home.id, ORDERS, OPEN, terms, len(home.devices))
        # Days of readings within minutes leave work behind that a history which grew by itself does not.
        say("the database settles")
        await connection.execute(Q["settle"])
        load_s = time.monotonic() - began
        size = int(await connection.fetchval("SELECT pg_database_size(current_database())"))
        say("curves are worked out by the quarter")
        began = time.monotonic()
        database = Database(url, connections=2, timeout_s=60)
        await database.open()
        await CurveKeeper(database, 60).once(datetime.now(UTC))
        await database.close()
        filled_s = time.monotonic() - began
        await connection.execute(Q["checkpoint"])
        async with running(*made, watched=True) as system:
            alerts = await put_alerts(system, OPEN)
            base = f"/api/v1/communities/{home.id}"
            plain = await _once(system, f"{base}/snapshot", packed=False)
            packed = await _once(system, f"{base}/snapshot", packed=True)
            paths = [f"{base}/series/{name}?hours=24" for name in _CURVES]
            for path in paths:
                await _once(system, path, packed=True)
            snapshot = await _pace(system, [f"{base}/snapshot"], seconds, say)
            curves = await _pace(system, paths, seconds, say)
            stop = asyncio.Event()
            telling = asyncio.create_task(_events(system, alerts, stop))
            both = await _pace(system, [f"{base}/snapshot"] * 4 + paths, seconds, say)
            stop.set()
            await telling
    return Cockpit(
        there, round(load_s, 1), size, round(filled_s, 1), len(plain), len(packed), snapshot, curves, both
    )  # fmt: skip


async def _events(system: CockpitSystem, alerts: list[Any], stop: asyncio.Event) -> None:
    """Five a second, each of which the next snapshot must show."""
    n = 0
    while not stop.is_set():
        await event(system, alerts[n % len(alerts)])
        n += 1
        await asyncio.sleep(0.2)


async def _pace(system: CockpitSystem, paths: list[str], seconds: float, say: Say) -> Pace:
    say(f"{RATE} requests a second for {seconds:.0f} s: {paths[0].rpartition('/')[2]}")
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_ask, args=(system.port, paths, system.token, seconds, theirs), daemon=True)
    api = psutil.Process(system.api.process.pid)
    process.start()
    theirs.close()
    await asyncio.to_thread(ours.recv)
    before, began, since = api.cpu_times(), time.monotonic(), time.time()
    try:
        times, failed = await asyncio.to_thread(ours.recv)
    except EOFError:
        raise RuntimeError(f"the load ended early:\n{system.api.log()}") from None
    after, took = api.cpu_times(), time.monotonic() - began
    process.join(10)
    system.api.check()
    core = (after.user + after.system - before.user - before.system) / took
    assert system.loop is not None
    loop = loop_watch.longest(system.loop, since, time.time())
    cuts = statistics.quantiles(times, n=100)
    return Pace(
        len(times), failed, round(cuts[49], 1), round(cuts[98], 1), round(max(times), 1), round(100 * core, 1),
        loop.cpu_ms, loop.wall_ms,
    )  # fmt: skip


def _ask(port: int, paths: list[str], token: str, seconds: float, pipe: Connection) -> None:
    uvloop.run(_asking(port, paths, token, seconds, pipe))


async def _asking(port: int, paths: list[str], token: str, seconds: float, pipe: Connection) -> None:
    idle: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
    for _ in range(_CONNECTIONS):
        idle.put_nowait(await asyncio.open_connection("127.0.0.1", port, limit=1 << 22))
    times: list[float] = []
    failed = 0
    chosen = random.Random(1)

    async def one(due: float, path: str) -> None:
        nonlocal failed
        reader, writer = await idle.get()
        status, _ = await _request(reader, writer, path, token, packed=True)
        times.append(1000 * (loop.time() - due))
        failed += status != 200
        idle.put_nowait((reader, writer))

    loop = asyncio.get_running_loop()
    await asyncio.gather(*(one(loop.time(), path) for path in paths))
    times.clear()
    pipe.send("begun")
    began = loop.time()
    async with asyncio.TaskGroup() as group:
        for n in range(int(seconds * RATE)):
            due = began + n / RATE
            await asyncio.sleep(max(0.0, due - loop.time()))
            group.create_task(one(due, chosen.choice(paths)))
    pipe.send((times, failed))


async def _request(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str, token: str, *, packed: bool
) -> tuple[int, bytes]:
    accepts = "Accept-Encoding: gzip\r\n" if packed else ""
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\n{accepts}Authorization: Bearer {token}\r\n\r\n".encode())
    head = (await reader.readuntil(b"\r\n\r\n")).lower()
    length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return int(head[9:12]), await reader.readexactly(length)


async def _once(system: CockpitSystem, path: str, *, packed: bool) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", system.port, limit=1 << 22)
    status, body = await _request(reader, writer, path, system.token, packed=packed)
    writer.close()
    if status != 200:
        raise RuntimeError(f"{path} answered {status}: {body[:200].decode(errors='replace')}")
    return body


def figures(found: Cockpit) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in asdict(found).items():
        flat |= {f"{name} {key}": one for key, one in value.items()} if isinstance(value, dict) else {name: value}
    return flat
