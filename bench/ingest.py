"""How fast ingest stores: real broker, real database, the real services, and what each process spends on a message."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import secrets
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from multiprocessing.sharedctypes import Synchronized
from typing import Any

import asyncpg

from bench.cpu import CpuMeter
from bench.publish import Load, Metric, Publisher, generate
from bench.servers import BenchServers
from bench.system import Service, community, database, put, service
from services.adapters.mqtt import Address
from services.domain.registry import Community

KIND = "manhole"
METRICS = (Metric("tilt", 0, 3), Metric("water_level", 5, 30), Metric("battery", 60, 100))
"""Three metrics, as in the target, where no rule has anything to report."""
COMMUNITIES = 8
AHEAD = 40_000

_RECEIVED = "SELECT coalesce(sum(received), 0)::bigint FROM ingest_ledger"
_ENDED = "SELECT sum(stored)::bigint AS stored, sum(duplicate)::bigint AS duplicate, sum(rejected)::bigint AS rejected FROM ingest_ledger"  # noqa: E501
_BEHIND = """
SELECT coalesce(sum(l.last - coalesce(c.seq, 0)), 0)::bigint
FROM (SELECT partition, lane, max(seq) AS last FROM ingest_log GROUP BY partition, lane) AS l
LEFT JOIN checkpoint c ON c.consumer = 'alerts' AND c.partition = l.partition AND c.lane = l.lane
"""
"""Log rows that the alert engine has not read."""


@dataclass(frozen=True, slots=True)
class Result:
    """Rates count what is stored, from the first publish to the last commit. CPU in µs a message, None where unseen.

    `alerts_behind_s`: how long after the last commit the alert engine had read all of it; None where it did not run.
    """

    messages: int
    readings_per_message: int
    seconds: float
    messages_per_s: float
    readings_per_s: float
    lost: int
    duplicates: int
    rejected: int
    alerts_behind_s: float | None
    cpu_us_per_message: dict[str, float | None]
    workers: int
    cores: int
    command: str


async def measure(
    servers: BenchServers,
    *,
    seconds: float = 10.0,
    messages: int | None = None,
    batch: int = 1,
    devices: int = 5000,
    alerts: bool = True,
    workers: int = 1,
    progress: Callable[[int], None] = lambda stored: None,
) -> Result:
    """Publishes for `seconds`, or `messages` of them, and waits until all are stored. Leaves nothing behind."""
    name = f"bench{secrets.token_hex(4)}"
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(database(servers.database_url, name))
        connection = await asyncpg.connect(url)
        stack.push_async_callback(connection.close)
        homes = tuple(
            community(f"{name}-{n}", KIND, max(1, devices // COMMUNITIES), gateways=2) for n in range(COMMUNITIES)
        )
        await put(connection, homes)
        common = {
            "LINHUB_DATABASE_URL": url,
            "LINHUB_MQTT_URL": servers.ingest_url,
            "LINHUB_MQTT_CLIENT_PREFIX": name,
        }
        running = [
            stack.enter_context(service("ingest", {**common, "LINHUB_WORKER": f"{name}-{n}"})) for n in range(workers)
        ]
        if alerts:
            running.append(stack.enter_context(service("alerts", {**common, "LINHUB_WORKER": f"{name}-alerts"})))
        for one in running:
            await one.ready()
        total = messages if messages is not None else max(1, int(seconds * 200_000 / batch))
        load = Load(
            servers.load_url, name, publishers(homes, batch), METRICS, total, batch, AHEAD if batch == 1 else 1000
        )
        if batch > 1:
            load = replace(load, connections=2)
        return await _run(connection, running, load, None if messages is not None else seconds, workers, progress)


def publishers(homes: tuple[Community, ...], batch: int) -> tuple[Publisher, ...]:
    """Devices for single messages, gateways for batches; each connection gets some of each community."""
    if batch == 1:
        return tuple(
            Publisher(f"sc/{home.id}/{device.id}/up/telemetry")
            for home in homes
            for device in home.devices
            if device.kind == KIND
        )
    behind: dict[str, list[str]] = {}
    for home in homes:
        for device in home.devices:
            if device.gateway_id is not None:
                behind.setdefault(f"sc/{home.id}/{device.gateway_id}/up/telemetry", []).append(device.id)
    return tuple(Publisher(topic, tuple(devices)) for topic, devices in behind.items())


async def _run(
    connection: asyncpg.Connection[Any],
    running: list[Service],
    load: Load,
    seconds: float | None,
    workers: int,
    progress: Callable[[int], None],
) -> Result:
    stored = multiprocessing.Value("q", 0)
    sent = multiprocessing.Value("q", 0)
    generator = multiprocessing.Process(target=generate, args=(load, stored, sent), daemon=True)
    pids = {one.name if one.name != "ingest" else f"ingest{n or ''}": one.process.pid for n, one in enumerate(running)}
    cpu = CpuMeter(pids, Address.parse(load.url).port)
    await cpu.begin(connection)
    began = time.perf_counter()
    generator.start()
    received = await _until_stored(connection, running, load, seconds, generator, stored, sent, progress)
    elapsed = time.perf_counter() - began
    if seconds is not None:
        # After a timed run the broker may still hold some; all is over when nothing more comes.
        settled = -1
        while settled != received:
            settled = received
            await asyncio.sleep(0.5)
            received = await connection.fetchval(_RECEIVED)
            if settled != received:
                elapsed = time.perf_counter() - began
    generator.join()
    behind_s = None
    if any(one.name == "alerts" for one in running):
        waiting = time.perf_counter()
        while await connection.fetchval(_BEHIND):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        behind_s = round(time.perf_counter() - waiting, 2)
    spent = await cpu.end(connection)
    row = await connection.fetchrow(_ENDED)
    rows = await connection.fetchval("SELECT count(*) FROM reading")
    logged = await connection.fetchval("SELECT coalesce(sum(readings), 0)::bigint FROM ingest_log")
    count = row["stored"] // load.batch
    expected = (load.messages if seconds is None else sent.value) * load.batch
    per_message = load.batch * len(load.metrics)
    return Result(
        messages=count,
        readings_per_message=per_message,
        seconds=round(elapsed, 2),
        messages_per_s=round(count / elapsed),
        readings_per_s=round(count * per_message / elapsed),
        lost=max(0, expected - rows),
        duplicates=(logged - rows) + row["duplicate"],
        rejected=row["rejected"],
        alerts_behind_s=behind_s,
        cpu_us_per_message={who: None if s is None else round(s / count * 1e6, 1) for who, s in spent.items()},
        workers=workers,
        cores=os.cpu_count() or 0,
        command=" ".join(["linhub", *sys.argv[1:]]),
    )


async def _until_stored(
    connection: asyncpg.Connection[Any],
    running: list[Service],
    load: Load,
    seconds: float | None,
    generator: multiprocessing.Process,
    stored: Synchronized[int],
    sent: Synchronized[int],
    progress: Callable[[int], None],
) -> int:
    """How many readings were received when all that was to come had come, or the time was over."""
    began = time.perf_counter()
    while True:
        await asyncio.sleep(0.05)
        for one in running:
            one.check()
        received: int = await connection.fetchval(_RECEIVED)
        stored.value = received // load.batch
        progress(received // load.batch)
        if seconds is not None and time.perf_counter() - began >= seconds:
            if generator.is_alive():
                generator.terminate()
            return received
        if not generator.is_alive() and (generator.exitcode or received >= load.messages * load.batch):
            if generator.exitcode:
                raise RuntimeError(f"the load generator ended with {generator.exitcode} after {sent.value} messages")
            return received
