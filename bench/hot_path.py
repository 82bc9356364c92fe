"""What one telemetry message costs between the broker and the order: CPU by stage, without a broker.

`python -m bench.hot_path [--messages N] [--devices N] [--batch N]`: prepared messages through the real lane, one
stage after the other so that each can be charged, into a private database, and then through the alert engine.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import psutil
import uvloop

from bench.ingest import KIND
from bench.servers import bench_servers
from bench.system import community as make_community
from bench.system import database
from services.adapters.mqtt import Inbound
from services.adapters.postgres import open_pool
from services.adapters.registry import import_community
from services.alerts import lease as leases
from services.alerts.partition import PartitionWorker
from services.alerts.settings import AlertSettings
from services.alerts.store import CONSUMER
from services.domain.devices import BY_NAME, CATALOGUE
from services.domain.ids import PARTITIONS
from services.domain.messages import Lane as LaneName
from services.ingest import state_store, store
from services.ingest.admission import Admission
from services.ingest.database import Held
from services.ingest.lane import Lane, LaneOptions
from services.ingest.limits import Limiter, Limits, Rate
from services.ingest.ownership import membership
from services.ingest.ownership.balance import SLOTS
from services.ingest.registry import kind_spec
from services.ingest.registry_keeper import RegistryKeeper
from services.ingest.state import StateFold
from services.ingest.store import Owner

_NAME = "hotpath"
_STATE_EVERY = 10
"""Batches between two writes of device states: 0.4 s at 50,000 messages a second."""


class Silent:
    """A broker that nobody hears: takes acknowledgements and answers, delivers nothing."""

    ready, waiting = True, 0

    async def run(self) -> None:
        await asyncio.Event().wait()

    async def receive(self, limit: int, linger_s: float = 0.0) -> list[Inbound]:
        await asyncio.Event().wait()
        return []

    def ack(self, messages: Iterable[Inbound]) -> int:
        return 0

    def publish(self, topic: str, payload: bytes) -> None:
        return None

    def set_filters(self, wanted: Collection[str], unwanted: Collection[str] = ()) -> None:
        return None

    async def close(self) -> None:
        return None


@dataclass
class Spent:
    """CPU seconds by stage, of this process and of the database's."""

    python: dict[str, float] = field(default_factory=dict)
    postgres: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def at(self, stage: str) -> Iterator[None]:
        began = time.process_time()
        try:
            yield
        finally:
            self.python[stage] = self.python.get(stage, 0.0) + time.process_time() - began


def inbound(community: str, devices: list[str], count: int, batch: int, seed: int = 1) -> list[Inbound]:
    """`count` messages of all three metrics, nothing that trips a rule, in turn from each device, one a second."""
    chance = random.Random(seed)
    names = [metric.name for metric in BY_NAME[KIND].metrics]
    texts = [
        json.dumps(
            dict(zip(names, (round(chance.uniform(*ends), 2) for ends in ((0, 3), (5, 30), (60, 95))), strict=True))
        )
        for _ in range(50_003)
    ]
    now_ms = time.time_ns() // 1_000_000
    first_ms = now_ms - 1000 * (count * batch // len(devices) + 1)
    messages = []
    for n in range(count):
        if batch == 1:
            device = devices[n % len(devices)]
            body = f'{{"ts":{first_ms + 1000 * (n // len(devices))},"values":{texts[n % 50_003]}}}'
        else:
            device = f"{community}-g0"
            parts = range(n * batch, (n + 1) * batch)
            body = "[" + ",".join(
                f'{{"device":"{devices[i % len(devices)]}","ts":{first_ms + 1000 * (i // len(devices))},'
                f'"values":{texts[i % 50_003]}}}' for i in parts
            ) + "]"  # fmt: skip
        messages.append(Inbound(f"sc/{community}/{device}/up/telemetry", body.encode(), 1, n, False, now_ms))
    return messages


async def measure(database_url: str, messages: int, devices: int, batch: int, limit: int) -> Mapping[str, Any]:
    """`batch` readings a message, `limit` messages a transaction. Leaves nothing behind."""
    async with database(database_url, f"{_NAME}{time.time_ns() % 10**9}") as url:
        community = make_community(_NAME, KIND, devices, gateways=2)
        ids = [d.id for d in community.devices if d.kind == KIND and (batch == 1 or d.gateway_id == f"{_NAME}-g0")]
        sent = inbound(_NAME, list(ids), messages, batch)
        async with _pool(url, "write") as pool, _pool(url, "states") as state_pool, _pool(url, "alerts") as alert_pool:
            async with pool.acquire() as connection:
                await import_community(connection, community, secret_hashes={}, password_hashes={})
            spent = Spent()
            before = await _sizes(pool)
            await _ingest(sent, limit, pool, state_pool, spent)
            after = await _sizes(pool)
            await _alerts(alert_pool, spent)
            stored = await pool.fetchval("SELECT sum(stored)::bigint FROM ingest_ledger")
        readings = messages * batch
        assert stored == readings, f"{stored} stored of {readings}"
        return {
            "python": {stage: round(s / readings * 1e6, 2) for stage, s in spent.python.items()},
            "postgres": {stage: round(s / readings * 1e6, 2) for stage, s in spent.postgres.items()},
            "bytes": {what: round((after[what] - before[what]) / readings, 1) for what in after},
        }


@asynccontextmanager
async def _pool(url: str, name: str) -> Any:
    pool = await open_pool(url, name=f"{_NAME}-{name}", max_size=2)
    try:
        yield pool
    finally:
        pool.terminate()


async def _ingest(sent: list[Inbound], limit: int, pool: Any, state_pool: Any, spent: Spent) -> None:
    registry = RegistryKeeper(pool, {kind.name: kind_spec(kind) for kind in CATALOGUE}, lambda: None)
    await registry.load()
    owner, fold = Owner(_NAME, f"{_NAME}/1", 1, tuple(range(PARTITIONS))), StateFold()
    admission = Admission(Limiter(Limits(telemetry=Rate(1_000_000, 1_000_000))))
    held, writer = Held(pool, "write", 30, 1), Held(state_pool, "states", 30, 1)
    options = LaneOptions(LaneName.TELEMETRY, owner, limit, 0.05)
    lane = Lane(options, Silent(), held, registry, {}, lambda batch: None, admission)
    async with state_pool.acquire() as connection:
        await membership.register(connection, owner.worker, owner.instance, ())
        await membership.claim(connection, owner.instance, SLOTS)
    lane._numbers = await held.once(lambda c: store.claim(c, owner))
    await writer.once(lambda c: c.execute("SELECT 1"))
    watch = {"store": _backend(held), "states": _backend(writer)}
    began = {stage: await process for stage, process in watch.items()}
    for number, start in enumerate(range(0, len(sent), limit), start=1):
        portion = sent[start : start + limit]
        with spent.at("decode, check, batch"):
            batch = lane._batch(portion, await lane._check(portion))
        with spent.at("store"):
            await held.once(lambda c, batch=batch: store.write(c, owner, batch, lane._numbers, {}, lane._bulk))  # type: ignore[misc]
        with spent.at("settle, count"):
            lane._settle(batch)
        with spent.at("states"):
            state_store.fold_batch(fold, batch.checked, batch.written.numbers, 1)
            if number % _STATE_EVERY == 0 or start + limit >= len(sent):
                pending, positions = fold.take()
                await writer.once(lambda c, p=pending, q=positions: state_store.save(c, p, q))  # type: ignore[misc]
    for stage, (process, cpu) in began.items():
        spent.postgres[stage] = _seconds(process) - cpu
    await held.drop()
    await writer.drop()


async def _alerts(pool: Any, spent: Spent) -> None:
    async with pool.acquire() as connection:
        partition = await connection.fetchval("SELECT partition FROM community")
        lease = (await leases.hold(connection, CONSUMER, _NAME, [partition], 600))[partition]
    catalogue = {kind.name: kind for kind in CATALOGUE}
    worker = PartitionWorker(pool, lease, AlertSettings(database_url="postgresql://unused"), catalogue)
    await worker._load()
    postgres = await _postgres(pool)
    began = sum(map(_seconds, postgres))
    with spent.at("alert engine"):
        while await worker._turn():
            pass
    spent.postgres["alert engine"] = sum(map(_seconds, postgres)) - began


def _backend(held: Held) -> Awaitable[tuple[psutil.Process, float]]:
    async def find() -> tuple[psutil.Process, float]:
        (process,) = await _named(held._connection)
        return process, _seconds(process)

    return find()


async def _postgres(pool: Any) -> list[psutil.Process]:
    async with pool.acquire() as connection:
        return await _named(connection)


async def _named(connection: Any) -> list[psutil.Process]:
    """The backend of this connection, found by its title: its number may be of its sandbox's own counting."""
    port = await connection.fetchval("SELECT inet_client_port()")
    found = []
    for process in psutil.process_iter(["cmdline"]):
        title = " ".join(process.info["cmdline"] or ())
        if title.startswith("postgres:") and f"({port})" in title:
            found.append(process)
    return found


def _seconds(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


async def _sizes(pool: Any) -> dict[str, int]:
    row = await pool.fetchrow(
        "SELECT pg_current_wal_lsn() - '0/0'::pg_lsn AS wal, hypertable_size('reading') AS reading, "
        "pg_total_relation_size('ingest_log') AS ingest_log, pg_total_relation_size('device_state') AS device_state"
    )
    return {name: int(value) for name, value in row.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=200_000)
    parser.add_argument("--devices", type=int, default=1_000)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--limit", type=int, default=2_000)
    parser.add_argument("--profile", action="store_true")
    told = parser.parse_args()
    with bench_servers() as servers:
        work: Callable[[], Mapping[str, Any]] = lambda: uvloop.run(  # noqa: E731
            measure(servers.database_url, told.messages, told.devices, told.batch, told.limit)
        )
        if told.profile:
            import cProfile
            import pstats

            profile = cProfile.Profile()
            found = profile.runcall(work)
            pstats.Stats(profile).sort_stats("tottime").print_stats(35)
        else:
            found = work()
    print(f"CPU in µs a reading set; {told.messages} messages of {told.batch}, {told.devices} devices")
    stages = list(dict.fromkeys([*found["python"], *found["postgres"]]))
    for stage in stages:
        python, postgres = (found[who].get(stage, 0.0) for who in ("python", "postgres"))
        print(f"  {stage:24} python {python:6.2f}   postgres {postgres:6.2f}")
    print("bytes a reading set: " + ", ".join(f"{what} {size}" for what, size in found["bytes"].items()))


if __name__ == "__main__":
    main()
