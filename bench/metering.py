"""What roll-ups cost and give: the job's CPU a reading, and queries over five years of hours, with their plans.

`python -m bench.metering` on servers of its own; `--devices 300 --years 5` is what docs/decisions/0013 reports.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import time
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg

from bench.servers import bench_servers
from services.adapters.migrate import migrate
from services.adapters.queries import Queries
from services.ingest import rollups

Q = Queries(Path(__file__).with_name("metering.sql"))
NAME = "linhub_bench_metering"
HOUR = timedelta(hours=1)
LIVE_H = 2
"""The last hours, not yet rolled up: read from the readings."""
RAW_DAYS = 40
"""So far back the readings are kept."""


@dataclass
class Cost:
    """`messages` of so many metrics in so many hours of single devices, one step after another."""

    kind: str
    a_device_hour: int
    messages: int
    database_us: float
    client_us: float


@dataclass
class Query:
    """Milliseconds over `runs` with everything in memory, and how the plan reads."""

    what: str
    rows: int
    p50_ms: float
    p99_ms: float
    runs: int


@dataclass
class Result:
    devices: int
    years: float
    boundary_us_a_batch: float = 0.0
    """What looking at the boundary adds to a telemetry transaction, both sides together."""
    cost: list[Cost] = field(default_factory=list)
    sizes: dict[str, str] = field(default_factory=dict)
    queries: list[Query] = field(default_factory=list)


def backend_cpu_s(pid: int) -> float:
    """User and system time of a process of this machine."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def job_cost(db: Any, kind: str, devices: int, every_s: float, hours: int) -> Cost:
    """The real job over so many devices that spoke every so often, until it has caught up."""
    await db.execute(Q["clear"])
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    start = end - hours * HOUR
    await db.execute(Q["community"])
    await db.execute(Q["devices"], kind, devices)
    await db.execute(Q["speak"], kind, start, end, every_s)
    await db.execute(Q["settle"])
    await db.execute(Q["progress"], start, end)
    messages = await db.fetchval(Q["messages"])
    pid = await db.fetchval("SELECT pg_backend_pid()")
    server, client = backend_cpu_s(pid), time.process_time()
    size = 100
    while True:
        began = time.monotonic()
        done = await rollups.step(db, 0, size)
        size = min(size * 2, 2000) if time.monotonic() - began < 0.1 else size
        if not done.more:
            break
    server, client = backend_cpu_s(pid) - server, time.process_time() - client
    assert await db.fetchval(Q["counted"]) == messages, "the roll-ups do not hold every reading"
    return Cost(
        kind, round(3600 / every_s), messages, round(server / messages * 1e6, 2), round(client / messages * 1e6, 2)
    )


async def boundary_cost(db: Any, batches: int) -> float:
    """Microseconds of CPU a batch, of which nothing is late."""
    await db.execute(Q["reopen"])
    pid = await db.fetchval("SELECT pg_backend_pid()")
    nos, ts_ms = list(range(2500)), [time.time_ns() // 1_000_000] * 2500
    before = backend_cpu_s(pid) + time.process_time()
    async with db.transaction():
        for _ in range(batches):
            assert await rollups.mark_late(db, [0, 1, 2, 3], nos, ts_ms) == 0
    return round((backend_cpu_s(pid) + time.process_time() - before) / batches * 1e6, 1)


async def history(db: Any, devices: int, years: float) -> None:
    """Hours and days as the job would have left them, and the readings of the last weeks."""
    await db.execute(Q["clear"])
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    start = end - timedelta(days=round(365.25 * years))
    filled = end - LIVE_H * HOUR
    await db.execute(Q["community"])
    await db.execute(Q["devices"], "electricity_meter", devices)
    at = start
    while at < filled:
        past = min(at + timedelta(days=90), filled)
        await db.execute(Q["past_hours"], at, past)
        await db.execute(Q["past_meter_hours"], at, past)
        at = past
    await db.execute(Q["past_days"], start, filled)
    await db.execute(Q["past_meter_days"], start, filled)
    await db.execute(Q["speak"], "electricity_meter", end - timedelta(days=RAW_DAYS), end, 900.0)
    await db.execute(Q["progress"], filled, filled)
    await db.execute(Q["settle"])


async def timed(db: Any, what: str, runs: int, statement: str, *arguments: Any) -> Query:
    took = []
    rows = 0
    for _ in range(runs + 3):
        began = time.perf_counter()
        rows = len(await db.fetch(Q[statement], *arguments))
        took.append((time.perf_counter() - began) * 1000)
    took = sorted(took[3:])
    p99 = took[min(len(took) - 1, int(len(took) * 0.99))]
    return Query(what, rows, round(statistics.median(took), 1), round(p99, 1), runs)


async def queries(db: Any, devices: int, years: float) -> list[Query]:
    now = datetime.now(UTC)
    device = await db.fetchval(Q["a_device"])
    whole, year, month, day = (now - timedelta(days=d) for d in (round(365.25 * years), 365, 30, 1))
    found = [
        await timed(db, f"one device, {years:g} y of days: consumption", 60, "meter_series", device, whole, now, "day"),
        await timed(db, f"one device, {years:g} y of days: power", 60, "rollup_series", device, whole, now, "day"),
        await timed(db, "one device, 30 days of hours: consumption", 100, "meter_series", device, month, now, "hour"),
        await timed(db, "one device, 30 days of hours: power", 100, "rollup_series", device, month, now, "hour"),
        await timed(db, "one device, 24 hours: consumption", 200, "meter_series", device, day, now, "hour"),
        await timed(db, f"{devices} devices, 24 hours: consumption", 30, "meter_sum", day, now, "hour"),
        await timed(db, f"{devices} devices, 30 days: consumption", 30, "meter_sum", month, now, "day"),
        await timed(db, f"{devices} devices, 30 days: power", 30, "rollup_sum", month, now, "day"),
        await timed(db, f"{devices} devices, a year of days: consumption", 10, "meter_sum", year, now, "day"),
    ]
    row = await db.fetchrow(Q["conserved"], device, whole, now)
    assert abs(row["used"] - row["difference"]) < 1e-6, "the days do not sum to the difference of the counter"
    return found


async def measure(database_url: str, devices: int, years: float, plans: bool) -> Result:
    result = Result(devices, years)
    maintenance = await asyncpg.connect(database_url)
    try:
        await maintenance.execute(f"DROP DATABASE IF EXISTS {NAME} WITH (FORCE)")
        await maintenance.execute(f"CREATE DATABASE {NAME}")
        url = database_url.rsplit("/", 1)[0] + f"/{NAME}"
        await migrate(url)
        db = await asyncpg.connect(url, server_settings={"timezone": "UTC"}, command_timeout=600)
        try:
            for kind, every_s, count in (
                ("environment", 1.0, 40),
                ("environment", 60.0, 2000),
                ("electricity_meter", 60.0, 2000),
                ("water_meter", 900.0, 5000),
            ):
                result.cost.append(await job_cost(db, kind, count, every_s, 2))
            result.boundary_us_a_batch = await boundary_cost(db, 3000)
            await history(db, devices, years)
            rows = await db.fetch(Q["sizes"])
            result.sizes = {row["name"]: f"{row['rows']} rows, {row['size']}" for row in rows}
            result.queries = await queries(db, devices, years)
            if plans:
                await show_plans(db, years)
        finally:
            await db.close()
        await maintenance.execute(f"DROP DATABASE {NAME} WITH (FORCE)")
    finally:
        await maintenance.close()
    return result


async def show_plans(db: Any, years: float) -> None:
    """The plans inside the functions, as auto_explain sees them."""
    said: list[str] = []
    db.add_log_listener(lambda _, message: said.append(message.message))
    await db.execute(Q["explain_on"])
    now = datetime.now(UTC)
    device = await db.fetchval(Q["a_device"])
    await db.fetch(Q["meter_series"], device, now - timedelta(days=round(365.25 * years)), now, "day")
    await asyncio.sleep(0.1)
    for message in said:
        print(message)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=300)
    parser.add_argument("--years", type=float, default=5)
    parser.add_argument("--plans", action="store_true")
    told = parser.parse_args()
    with bench_servers() as servers:
        result = asyncio.run(measure(servers.database_url, told.devices, told.years, told.plans))
    print(json.dumps(asdict(result), indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
