"""`make bench`: everything that can be measured, on servers of its own, as one table and bench/results/latest.json."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import ingest, loop
from bench.servers import bench_servers
from services.cli.home import database_url

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results" / "latest.json"
PRESET, SCALE = "gongyuan", 0.02


def measure_ingest(messages: int, batch: int) -> dict[str, Any]:
    """So many messages, until the last is stored; a fresh broker and database, nothing else running."""
    with bench_servers() as servers:
        found = asyncio.run(ingest.measure(servers, messages=messages, batch=batch))
    figures = asdict(found)
    spent = figures.pop("cpu_us_per_message")
    del figures["command"], figures["cores"]  # said once for all
    return figures | {f"cpu_us_per_message_{who}": value for who, value in spent.items()}


def measure_loop(events: int) -> dict[str, Any]:
    """From a published alarm to the committed order and to a reader of the live stream; the whole system, no load."""
    with tempfile.TemporaryDirectory(prefix="linhub-bench-") as folder, _system(Path(folder)) as (home, status):
        accounts = {a["username"]: a["password"] for a in json.loads((home / "sim" / "accounts.json").read_text())}
        devices = json.loads((home / "sim" / "credentials.json").read_text())
        device = next(name for name in sorted(devices) if "gas_alarm" in name or "gas-alarm" in name)
        found = asyncio.run(
            loop.measure(
                _database_url(home),
                status["url"].rstrip("/"),
                "desk",
                accounts["desk"],
                "127.0.0.1",
                status["ports"]["mqtt"],
                device,
                devices[device],
                PRESET,
                events,
            )
        )
    return found.as_dict()


@contextmanager
def _system(home: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A running LinHub with a small registry and no simulator. The unpacked servers are shared."""
    (home / "root").symlink_to(ROOT / ".linhub" / "root")
    environment = {**os.environ, "LINHUB_HOME": str(home), "LINHUB_DATABASE_URL": "", "LINHUB_MQTT_URL": ""}

    def linhub(*words: str) -> str:
        command = [sys.executable, "-m", "services.cli.main", *words]
        return subprocess.run(command, cwd=ROOT, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout

    linhub("up", "--detach")
    try:
        linhub("seed", "--preset", PRESET, "--scale", str(SCALE), "--json")
        yield home, json.loads(linhub("status", "--json"))
    finally:
        linhub("down")


def _database_url(home: Path) -> str:
    url = database_url(home, {})
    if url is None:
        raise RuntimeError(f"{home} has no database")
    return url


def show(console: Console, found: dict[str, Any]) -> None:
    table = Table(title=f"LinHub on {found['machine']['cores']} cores, {found['at']}")
    for column in ("what", "figure", "value"):
        table.add_column(column)
    for what, figures in found["figures"].items():
        for name, value in figures.items():
            table.add_row(what, name, f"{value:,}" if isinstance(value, int | float) else str(value))
        table.add_section()
    console.print(table)


MEASURES: dict[str, Callable[[], dict[str, Any]]] = {
    "ingest, single messages": lambda: measure_ingest(200_000, 1),
    "ingest, gateways of 100": lambda: measure_ingest(5_000, 100),
    "loop": lambda: measure_loop(100),
}


def main() -> int:
    console = Console(stderr=True)
    started = time.monotonic()
    figures: dict[str, dict[str, Any]] = {}
    for name, measure in MEASURES.items():
        with console.status(name):
            figures[name] = measure()
    found = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cores": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()},
        "seconds": round(time.monotonic() - started, 1),
        "command": "make bench",
        "figures": figures,
    }
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    show(Console(), found)
    return 1 if any(f.get("lost") or f.get("duplicates") for f in figures.values()) else 0


if __name__ == "__main__":
    raise SystemExit(main())
