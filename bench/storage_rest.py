"""What else decides how readings are kept: very long histories, states that change all the time, and compression."""

from __future__ import annotations

import random
import struct
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from statistics import median
from typing import Any

import asyncpg

from bench.storage_load import PRESENT, START, Q, server_cpu_s
from bench.storage_measure import GIB, Progress, connected, prepare
from services.domain.devices import CATALOGUE
from services.domain.devices.kind import DeviceKind, Moment

DAYS = (30, 400, 1_830)
"""A month, the time that readings are kept, five years: as many chunks."""
_RUNS = 50


@dataclass(frozen=True, slots=True)
class HistoryFigures:
    """One day's curve of one device. `once`: by a plan for all times, as the server makes it at the sixth run."""

    chunks: int
    each_ms: float
    each_locked: int
    once_ms: float
    once_locked: int


async def measure_history(url: str, progress: Progress) -> list[HistoryFigures]:
    """The same question to ever longer histories, planned anew each time and planned once."""
    found = []
    async with connected(url) as connection:
        await prepare(connection, PRESENT)
        before = 0
        for days in DAYS:
            progress(f"a history of {days:,} days")
            await connection.execute(Q["sparse"], START, before, days)
            await connection.execute("ANALYZE reading")
            before = days
            await connection.execute(Q["plan_each"])
            each = await _curve(connection, days)
            await connection.execute(Q["plan_once"])
            once = await _curve(connection, days)
            found.append(HistoryFigures(days, *each, *once))
    return found


async def _curve(connection: asyncpg.Connection[Any], days: int) -> tuple[float, int]:
    end = START + timedelta(days=days)
    statement = await connection.prepare(Q["curve_wide"])
    await statement.fetch(1, end - timedelta(days=1), end)
    took = []
    for n in range(_RUNS):
        began = time.perf_counter()
        await statement.fetch(n % 20 + 1, end - timedelta(days=1), end)
        took.append((time.perf_counter() - began) * 1000)
    async with connection.transaction():
        await statement.fetch(1, end - timedelta(days=1), end)
        locked: int = await connection.fetchval(Q["locked_chunks"])
    return round(median(took), 2), locked


@dataclass(frozen=True, slots=True)
class StateFigures:
    """µs of server CPU for one device's new state, without and with an index on what changes each time."""

    without_us: float | None
    with_us: float | None


async def measure_states(url: str, progress: Progress) -> StateFigures:
    """10,000 devices whose state is written twenty times, 500 a statement."""
    progress("device states")
    costs: list[float | None] = []
    for indexed in (False, True):
        async with connected(url, migrated=True) as connection:
            name: str = await connection.fetchval("SELECT current_database()")
            await connection.execute(Q["states_without_devices"])
            if indexed:
                await connection.execute(Q["states_before"])
            await connection.execute(Q["states"])
            before = server_cpu_s(name)
            for _ in range(20):
                for first in range(1, 10_001, 500):
                    await connection.execute(Q["update_states"], first, first + 499)
            after = server_cpu_s(name)
            costs.append(None if before is None or after is None else round((after - before) / 200_000 * 1e6, 1))
    return StateFigures(*costs)


@dataclass(frozen=True, slots=True)
class PackedFigures:
    """Values of a believable day as compression would lay them together; `share`: of a community's readings."""

    kind: str
    share: float
    pglz: float
    lz4: float


_SHARES = {
    "electricity_meter": 0.80,
    "water_meter": 0.04,
    "gas_meter": 0.02,
    "gas_alarm": 0.06,
    "smoke_detector": 0.01,
    "wristband": 0.02,
    "environment": 0.03,
    "parking_sensor": 0.01,
    "bin": 0.01,
}
"""Of readings, by the catalogue's intervals, for 2,500 households with three meters and two alarms each."""


async def estimate_packed(url: str, progress: Progress) -> list[PackedFigures]:
    """An estimate of what the community edition would make of it, which cannot be run here.

    That edition lays the arrays of a thousand rows of a device one behind the other and compresses them as TOAST; this
    does the same with the bytes of an array as PostgreSQL keeps it (21 bytes before the values). Bytes a reading.
    """
    found = []
    async with connected(url) as connection:
        await connection.execute(Q["packed"])
        for kind in CATALOGUE:
            if kind.name not in _SHARES:
                continue
            progress(f"compression, {kind.name}")
            sizes = {}
            bodies = [_segment(kind, seed) for seed in range(8)]
            for method in ("pglz", "lz4"):
                await connection.execute(Q["unpack"])
                await connection.execute(Q[f"pack_{method}"])
                for body, _ in bodies:
                    await connection.execute(Q["pack"], body)
                sizes[method] = await connection.fetchval(Q["packed_size"]) / sum(count for _, count in bodies)
            found.append(PackedFigures(kind.name, _SHARES[kind.name], round(sizes["pglz"], 2), round(sizes["lz4"], 2)))
    return found


def _segment(kind: DeviceKind, seed: int) -> tuple[bytes, int]:
    """A thousand rows of one device, and how many readings they are."""
    chance, memory = random.Random(seed), dict[str, float]()
    at = datetime(2026, 6, 1, seed, tzinfo=UTC)
    step = timedelta(seconds=kind.interval_s)
    body, readings = bytearray(), 0
    for _ in range(1_000):
        at += step
        hour = (at.hour + 8) % 24 + at.minute / 60
        moment = Moment(
            ts_ms=round(at.timestamp() * 1000),
            dt_s=kind.interval_s,
            hour=hour,
            day_of_year=at.timetuple().tm_yday,
            weekend=at.weekday() > 4,
            sun=max(0.0, 1 - abs(hour - 12.5) / 6.5),
            outdoor_c=24 + 5 * max(0.0, 1 - abs(hour - 14) / 8),
            home=0.4 if 9 <= hour < 17 else 0.9,
        )
        values = kind.profile(memory, moment, chance)
        row = [float(values[metric.name]) for metric in kind.metrics]
        readings += len(row)
        head = struct.pack("<iiiii", 1, 0, 701, len(row), 1)
        body += bytes([(len(head) + 8 * len(row)) * 2 + 3 & 0xFF]) + head + struct.pack(f"<{len(row)}d", *row)
    return bytes(body), readings


def gib_packed(found: list[PackedFigures], metrics_per_row: float) -> dict[str, float]:
    """GiB per 1 B readings, by method; a byte a row is added for the times, which pack by their differences."""
    whole = sum(one.share for one in found)
    return {
        method: round(
            (sum(one.share * getattr(one, method) for one in found) / whole + 1 / metrics_per_row) * 1e9 / GIB, 1
        )
        for method in ("pglz", "lz4")
    }
