"""`python -m bench.storage`: shapes of the reading table and of the log side by side, as a table and as JSON."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import sys
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from bench.servers import BenchServers, bench_servers
from bench.storage_load import BATCH, MEAN_WIDTH, PRESENT, SHAPES, Fleet
from bench.storage_log import A_BILLION_A_MONTH, ALONE, LOG_SHAPES, LogFigures, measure_log
from bench.storage_measure import (
    ShapeFigures,
    bulk,
    connected,
    figures,
    insert_cost,
    measure_shape,
    prepare,
    raw_insert,
)
from bench.storage_rest import estimate_packed, gib_packed, measure_history, measure_states

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results" / "storage.json"
TARGET_GIB = 55.0
LOG_DAYS = 2
HISTORY_DAYS = 30
"""The full table's span. Of 30 days of readings the log holds two; of a longer history it holds less."""
DEVICES = 2_000
_STAGES = (0.1, 0.3, 1.0)
_QUIET = 10


async def raw_insert_rate(servers: BenchServers, seconds: float, batch: int = BATCH) -> float:
    """Readings a second of rows of three metrics by plain INSERT … ON CONFLICT DO NOTHING on one connection (P2)."""
    return (await raw_insert(servers.database_url, seconds, batch)).readings_per_s


async def measure(servers: BenchServers, readings: int, compare_rows: int, say: Any) -> dict[str, Any]:
    """Everything. `readings` of the full table, `compare_rows` of each alternative."""
    url = servers.database_url
    raw = await raw_insert(url, 5.0)
    fleet = Fleet(DEVICES, timedelta(days=14) / max(1, compare_rows // DEVICES))
    shapes = [await measure_shape(url, shape, fleet, compare_rows, 40, say) for shape in SHAPES]
    logs = [
        await measure_log(url, shape, 100_000 if shape.messages_per_row > 1 else 20_000, say) for shape in LOG_SHAPES
    ]
    history = await measure_history(url, say)
    states = await measure_states(url, say)
    packed = await estimate_packed(url, say)
    growth = await _growth(url, readings, say)
    return {
        "readings": readings,
        "compare_rows": compare_rows,
        "metrics_per_row": MEAN_WIDTH,
        "raw_insert": asdict(raw),
        "shapes": [found.as_dict() for found in shapes],
        "log": [asdict(found) for found in logs],
        "history": [asdict(found) for found in history],
        "states": asdict(states),
        "packed_estimate": [asdict(found) for found in packed],
        "packed_estimate_gib_per_billion": gib_packed(packed, MEAN_WIDTH),
        "growth": [found.as_dict() for found in growth],
        "gib_per_billion_with_log": _with_log(growth[-1], logs),
        "target_gib": TARGET_GIB,
    }


async def measure_present(servers: BenchServers, readings: int, say: Any) -> dict[str, Any]:
    """P5 alone: the present shape with so many readings, and the log as so many are written; at worst a row each."""
    url = servers.database_url
    messages = max(4 * BATCH, min(20_000, readings // 1000))
    log = await measure_log(url, A_BILLION_A_MONTH, 2 * messages, say)
    worst = await measure_log(url, ALONE, messages, say)
    table = (await _growth(url, readings, say))[-1]
    return {
        "readings": readings,
        "heap_bytes_per_reading": table.heap_bytes_per_reading,
        "index_bytes_per_reading": table.index_bytes_per_reading,
        "gib_per_billion": table.gib_per_billion,
        "log_bytes_per_reading": log.bytes_per_reading,
        "gib_per_billion_with_log": _with_log(table, [log])[log.shape],
        "gib_per_billion_with_log_at_worst": _with_log(table, [worst])[worst.shape],
        "target_gib": TARGET_GIB,
    }


async def _growth(url: str, readings: int, say: Any) -> list[ShapeFigures]:
    """The present shape at a tenth, a third and all of the history: what grows with it and what does not."""
    turns = max(len(_STAGES) * 10, round(readings / MEAN_WIDTH / DEVICES))
    fleet = Fleet(DEVICES, timedelta(days=HISTORY_DAYS) / turns)
    found, done = [], 0
    async with connected(url) as connection:
        await prepare(connection, PRESENT)
        for share in _STAGES:
            upto = round(turns * share)
            await bulk(connection, PRESENT, fleet, done, upto, say)
            cost = await insert_cost(connection, PRESENT, fleet, upto, 20)
            # The batches went a few turns ahead; the history goes on where they came from.
            done = upto
            found.append(await figures(connection, PRESENT, fleet, upto, cost, repeat=200))
    return found


def _with_log(table: ShapeFigures, logs: list[LogFigures]) -> dict[str, float]:
    """GiB per 1 B readings of 30 days of which the log holds the last two, by the size of its rows."""
    share = LOG_DAYS / HISTORY_DAYS
    return {log.shape: round(table.gib_per_billion + log.gib_per_billion_logged * log.bloat * share, 1) for log in logs}


def render(console: Console, result: dict[str, Any]) -> None:
    raw = result["raw_insert"]
    console.print(
        f"raw INSERT … ON CONFLICT DO NOTHING, rows of 3, {BATCH:,} a transaction: "
        f"{raw['readings_per_s']:,} readings/s, {raw['cpu_us_per_reading']} µs of server CPU a reading"
    )
    for title, rows in (
        (f"shapes, {result['compare_rows'] / 1e6:g} M rows each", result["shapes"]),
        (f"{PRESENT.name}, growing", result["growth"]),
    ):
        table = Table(title=title)
        for heading in (
            "shape",
            "M rows",
            "chunks",
            "heap",
            "index",
            "GiB/1 B",
            "CPU µs",
            "latest",
            "24 h",
            "sum of 200",
        ):
            table.add_column(heading, justify="left" if heading == "shape" else "right")
        for row in rows:
            times = [f"{row[q]['p50_ms']:g} / {row[q]['p99_ms']:g}" for q in ("latest", "curve_24h", "sum_24h")]
            table.add_row(
                row["shape"],
                f"{row['rows'] / 1e6:.1f}",
                str(row["chunks"]),
                f"{row['heap_bytes_per_reading']:g}",
                f"{row['index_bytes_per_reading']:g}",
                f"{row['gib_per_billion']:g}",
                "–" if row["cpu_us_per_reading"] is None else f"{row['cpu_us_per_reading']:g}",
                *times,
            )
        console.print(table)
    table = Table(title="the log; append and release in µs of server CPU a reading")
    for heading in ("rows", "bytes", "GiB/1 B logged", "append", "release", "bloat", "P5: 30 d and the log"):
        table.add_column(heading, justify="left" if heading == "rows" else "right")
    for row in result["log"]:
        told = [row[k] for k in ("bytes_per_reading", "gib_per_billion_logged")]
        told += [row[k] for k in ("append_us_per_reading", "release_us_per_reading", "bloat")]
        table.add_row(
            row["shape"],
            *("–" if x is None else f"{x:g}" for x in told),
            f"{result['gib_per_billion_with_log'][row['shape']]:g}",
        )
    console.print(table)
    for row in result["history"]:
        console.print(
            f"one curve in {row['chunks']:,} chunks: each time {row['each_ms']:g} ms, {row['each_locked']} locked; "
            f"planned once for all {row['once_ms']:g} ms, {row['once_locked']:,} locked"
        )
    states, packed = result["states"], result["packed_estimate_gib_per_billion"]
    console.print(f"a device state: {states['without_us']} µs of CPU; with an index on its time {states['with_us']} µs")
    console.print(f"compressed, an estimate: {packed['pglz']} GiB per 1 B by pglz, {packed['lz4']} by lz4")
    console.print("bytes and CPU are per reading; query times are p50 / p99 in ms at the client")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readings", type=int, default=100_000_000, help="of the full table")
    parser.add_argument("--compare-rows", type=int, default=1_500_000, help="of each alternative")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    os.nice(_QUIET)
    console = Console(stderr=chosen.json, width=None if sys.stdout.isatty() else 140)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with bench_servers() as servers, Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("preparing")

        def say(what: str) -> None:
            progress.update(task, description=what)

        result = asyncio.run(measure(servers, chosen.readings, chosen.compare_rows, say))
        result["server"] = asyncio.run(_versions(servers.database_url))
    result |= {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cores": os.cpu_count(), "python": platform.python_version()},
        "command": " ".join(["python -m bench.storage", *sys.argv[1:]]),
    }
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    if chosen.json:
        print(json.dumps(result, ensure_ascii=False))
    else:
        render(console, result)
    return 0 if max(result["gib_per_billion_with_log"].values()) <= TARGET_GIB else 1


async def _versions(url: str) -> str:
    connection = await asyncpg.connect(url)
    try:
        found: str = await connection.fetchval("SELECT version()")
        return found.partition(" on ")[0]
    finally:
        await connection.close()


if __name__ == "__main__":
    sys.exit(main())
