"""One shape of the reading table, or one way to keep the log, measured on a database of its own."""

from __future__ import annotations

import random
import secrets
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import timedelta
from statistics import quantiles
from typing import Any

import asyncpg

from bench.storage_load import BATCH, MEAN_WIDTH, START, Fleet, Q, Shape, arguments, batches, server_cpu_s
from bench.system import database

GIB = 1 << 30
SUM_METERS = 200
_SLICE_ROWS = 500_000
_QUARTERS = 4
_EXPLAIN = "EXPLAIN (ANALYZE, BUFFERS, SUMMARY) "
Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Latency:
    """Milliseconds at the client, on one connection."""

    p50_ms: float
    p99_ms: float


@dataclass(frozen=True, slots=True)
class ShapeFigures:
    """Bytes: the table and its indexes, no log. CPU: of the connection that inserts, batches of 2,500 messages."""

    shape: str
    rows: int
    chunks: int
    heap_bytes_per_reading: float
    index_bytes_per_reading: float
    gib_per_billion: float
    cpu_us_per_reading: float | None
    cpu_us_per_message: float | None
    latest: Latency
    curve_24h: Latency
    sum_24h: Latency
    plans: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@asynccontextmanager
async def connected(url: str, *, migrated: bool = False) -> AsyncIterator[asyncpg.Connection[Any]]:
    """A connection to a fresh database, dropped afterwards."""
    async with database(url, f"bench{secrets.token_hex(4)}", migrated=migrated) as own:
        connection = await asyncpg.connect(own, server_settings={"timezone": "UTC"})
        try:
            if not migrated:
                await connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
            yield connection
        finally:
            await connection.close()


async def prepare(connection: asyncpg.Connection[Any], shape: Shape) -> None:
    await connection.execute(Q["functions"])
    await connection.execute(Q[shape.table])
    await connection.execute(Q["hypertable"].replace("$1", f"'{shape.chunk.total_seconds():.0f} s'"))
    await connection.execute(Q[shape.key])
    for extra in shape.extra:
        await connection.execute(Q[extra])


async def bulk(
    connection: asyncpg.Connection[Any], shape: Shape, fleet: Fleet, first: int, last: int, progress: Progress
) -> None:
    """Turns [first, last), made by the server itself, in the order and with the effect of as many messages."""
    step = max(1, _SLICE_ROWS // fleet.devices)
    for at in range(first, last, step):
        upto = min(last, at + step)
        await connection.execute(Q[f"bulk_{shape.table}"], START, fleet.every, fleet.devices, at, upto)
        progress(f"{shape.name}: {upto * fleet.devices / 1e6:.1f} M rows")


async def insert_cost(
    connection: asyncpg.Connection[Any], shape: Shape, fleet: Fleet, first_turn: int, count: int
) -> tuple[float | None, int]:
    """Seconds of the server's CPU for so many batches as ingest sends them, each committed; and how many readings."""
    name: str = await connection.fetchval("SELECT current_database()")
    statement = await connection.prepare(Q[f"insert_{shape.table}"])
    ready = [arguments(shape.table, batch) for batch in batches(fleet, first_turn, count)]
    readings = sum(len(batch[3]) for batch in batches(fleet, first_turn, count))
    # The first one opens the chunk and fills the connection's caches. The cheapest quarter counts: whoever shares the
    # machine can only make it dearer.
    await statement.fetch(*ready[0])
    cheapest: float | None = None
    share = (count - 1) // _QUARTERS
    for first in range(1, 1 + share * _QUARTERS, share):
        before = server_cpu_s(name)
        for batch in ready[first : first + share]:
            await statement.fetch(*batch)
        after = server_cpu_s(name)
        if before is not None and after is not None:
            cheapest = min(after - before, cheapest if cheapest is not None else after - before)
    return cheapest, round(readings * share / count)


async def queries(
    connection: asyncpg.Connection[Any], shape: Shape, fleet: Fleet, turns: int, repeat: int
) -> tuple[dict[str, Latency], dict[str, str]]:
    """The newest value of a device, its last 24 h, and the last 24 h of 200 devices by the hour; with their plans."""
    await connection.execute(Q["settle"])
    end = START + turns * fleet.every
    day = end - timedelta(days=1)
    chance = random.Random(1)
    form = "wide" if shape.table == "real" else shape.table
    latencies, plans = {}, {}
    for name in ("latest", "curve", "sum"):
        sql = Q[f"{name}_{form}"]
        statement = await connection.prepare(sql)
        took = []
        for _ in range(repeat if name != "sum" else 20):
            device = chance.randrange(fleet.devices) + 1
            meters = chance.sample(range(1, fleet.devices + 1), min(SUM_METERS, fleet.devices))
            choices: dict[str, list[Any]] = {
                "latest": [device],
                "curve": [device, day, end],
                "sum": [meters, day, end],
            }
            given = choices[name]
            began = time.perf_counter()
            await statement.fetch(*given)
            took.append((time.perf_counter() - began) * 1000)
        cuts = quantiles(took, n=100)
        latencies[name] = Latency(round(cuts[49], 2), round(cuts[98], 2))
        rows = await connection.fetch(_EXPLAIN + sql, *given)
        plans[name] = "\n".join(row[0] for row in rows)
    return latencies, plans


async def figures(
    connection: asyncpg.Connection[Any],
    shape: Shape,
    fleet: Fleet,
    turns: int,
    cost: tuple[float | None, int] | None,
    repeat: int,
) -> ShapeFigures:
    """Of the table as it is now. `cost` as `insert_cost` told it."""
    found, plans = await queries(connection, shape, fleet, turns, repeat)
    size = await connection.fetchrow(Q["bytes"])
    readings = await connection.fetchval("SELECT count(*) FROM reading")
    rows = readings
    if shape.table == "narrow":
        rows = round(readings / MEAN_WIDTH)
    else:
        readings = rows * MEAN_WIDTH
    spent, counted = cost or (None, 1)
    per_reading = None if spent is None else spent / counted * 1e6
    return ShapeFigures(
        shape=shape.name,
        rows=rows,
        chunks=size["chunks"],
        heap_bytes_per_reading=round(size["heap"] / readings, 1),
        index_bytes_per_reading=round(size["indexes"] / readings, 1),
        gib_per_billion=round((size["heap"] + size["indexes"]) / readings * 1e9 / GIB, 1),
        cpu_us_per_reading=None if per_reading is None else round(per_reading, 2),
        cpu_us_per_message=None if per_reading is None else round(per_reading * MEAN_WIDTH, 2),
        latest=found["latest"],
        curve_24h=found["curve"],
        sum_24h=found["sum"],
        plans=plans,
    )


async def measure_shape(
    url: str, shape: Shape, fleet: Fleet, rows: int, count: int, progress: Progress
) -> ShapeFigures:
    """History of so many rows, then `count` batches as ingest sends them, then questions."""
    async with connected(url) as connection:
        await prepare(connection, shape)
        turns = fleet.turns(rows)
        await bulk(connection, shape, fleet, 0, turns, progress)
        progress(f"{shape.name}: {count} batches of {BATCH:,}")
        cost = await insert_cost(connection, shape, fleet, turns, count)
        return await figures(connection, shape, fleet, turns, cost, repeat=100)


@dataclass(frozen=True, slots=True)
class RawInsert:
    """`INSERT … ON CONFLICT DO NOTHING` and a commit, nothing else, on one connection."""

    messages: int
    readings: int
    seconds: float
    readings_per_s: float
    cpu_us_per_reading: float | None


async def raw_insert(url: str, seconds: float, batch: int = BATCH, metrics: int = 3) -> RawInsert:
    """How fast the migrated `reading` takes rows of so many metrics, `batch` rows a statement and transaction.

    The client's arrays are drawn before the clock starts; encoding them is part of what is measured, as for ingest.
    """
    async with connected(url, migrated=True) as connection:
        name: str = await connection.fetchval("SELECT current_database()")
        statement = await connection.prepare(Q["insert_wide"])
        chance = random.Random(1)
        devices = list(range(1, batch + 1))
        widths, starts = [metrics] * batch, list(range(1, batch * metrics + 1, metrics))
        values = [round(chance.uniform(1, 3), 2) for _ in range(batch * metrics)]
        at = round(time.time() * 1000) - 86_400_000
        await statement.fetch(devices, [at] * batch, widths, values, starts)
        done, cpu, began = 0, server_cpu_s(name), time.perf_counter()
        while (elapsed := time.perf_counter() - began) < seconds:
            done += 1
            await statement.fetch(devices, [at + done * 1000] * batch, widths, values, starts)
        spent = server_cpu_s(name)
        stored = await connection.fetchval("SELECT count(*) FROM reading") - batch
    if stored != done * batch:
        raise RuntimeError(f"{done * batch} rows were sent and {stored} are there")
    readings = stored * metrics
    used = None if cpu is None or spent is None else round((spent - cpu) / readings * 1e6, 2)
    return RawInsert(stored, readings, round(elapsed, 2), round(readings / elapsed), used)
