"""`make bench`: everything that can be measured, on servers of its own, as one table and bench/results/latest.json."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench import (
    catchup,
    cockpit,
    cockpit_page,
    fanout,
    gas_leak,
    ingest,
    loop,
    loop_load,
    page_day,
    returning,
    rules,
    simulator,
    storage,
)
from bench.peers import install, mq_bridge, node_red, peer
from bench.servers import BenchServers, bench_servers
from services.cli.home import database_url

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results" / "latest.json"
PRESET, SCALE = "gongyuan", 0.02

Figures = dict[str, Any]
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Scale:
    """How much of everything. `full` is what the targets speak of; `quick` shows that it all works."""

    single_messages: int
    gateway_messages: int
    raw_s: float
    alarms: int
    readings: int
    outage_min: float
    devices: int
    watch_s: float
    peer_messages: int
    peer_slow_messages: int
    calls: int
    storm_devices: int
    leaks: int
    batches: int
    wall_hours: int


FULL = Scale(1_000_000, 20_000, 8.0, 200, 100_000_000, 10.0, 100_000, 60.0, 500_000, 60_000, 600, 10_000, 120, 300, 24)
QUICK = Scale(100_000, 2_000, 3.0, 40, 2_000_000, 0.5, 4_000, 10.0, 60_000, 15_000, 100, 2_000, 20, 40, 1)


def single(scale: Scale, say: Say) -> Figures:
    """P1. Single messages of three metrics, alert engine on."""
    with bench_servers() as servers:
        return _ingest(servers, scale.single_messages, 1)


def gateways(scale: Scale, say: Say) -> Figures:
    """P2. Gateways of 100, against what the same server takes from a bare INSERT, in one run."""
    with bench_servers() as servers:
        raw = asyncio.run(storage.raw_insert_rate(servers, scale.raw_s))
        found = _ingest(servers, scale.gateway_messages, 100)
    return found | {
        "raw_insert_readings_per_s": round(raw),
        "of_raw_insert_percent": round(100 * found["readings_per_s"] / raw, 1),
    }


def _ingest(servers: BenchServers, messages: int, batch: int) -> Figures:
    figures = asdict(asyncio.run(ingest.measure(servers, messages=messages, batch=batch)))
    spent = figures.pop("cpu_us_per_message")
    del figures["command"], figures["cores"]  # said once for all
    return figures | {f"cpu_us_per_message_{who}": value for who, value in spent.items()}


def alarms(scale: Scale, say: Say) -> Figures:
    """P3 without load: from a published alarm to the committed order and to a reader of the live stream."""
    return measure_alarms(scale.alarms)


def loaded(scale: Scale, say: Say) -> Figures:
    """P3. Calls for help while 5,000 messages of telemetry a second go the same way."""
    with bench_servers() as servers:
        return asyncio.run(loop_load.under_load(servers, calls=scale.calls, say=say))


def stormy(scale: Scale, say: Say) -> Figures:
    """P3. Calls for help while 10,000 devices come back at once."""
    with bench_servers() as servers:
        return asyncio.run(loop_load.in_storm(servers, calls=scale.calls, devices=scale.storm_devices, say=say))


def measure_alarms(events: int) -> Figures:
    """So many alarms, one after the other, through a whole system of its own."""
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


def evaluated(scale: Scale, say: Say) -> Figures:
    """P4. Rules over rows of the log on one core; tables by devices and by rules, one line a cell."""
    found = asdict(rules.measure(quick=scale is QUICK, say=say))
    flat: Figures = {}
    for name, value in found.items():
        cells = value.items() if isinstance(value, dict) else [("", value)]
        flat |= {f"{name} {of}".strip(): one for of, one in cells}
    return flat


def stored(scale: Scale, say: Say) -> Figures:
    """P5. Bytes of a reading with its indexes and its share of the log."""
    with bench_servers() as servers:
        return asyncio.run(storage.measure_present(servers, scale.readings, say))


def watched(scale: Scale, say: Say) -> Figures:
    """P6. Snapshot and curves at 100 requests a second."""
    with bench_servers() as servers:
        return cockpit.figures(asyncio.run(cockpit.measure(servers, scale.readings, scale.watch_s / 3, say)))


def watched_little(scale: Scale, say: Say) -> Figures:
    """P6 over a hundredth of the history."""
    with bench_servers() as servers:
        return cockpit.figures(asyncio.run(cockpit.measure(servers, scale.readings // 100, scale.watch_s / 3, say)))


def fanned(scale: Scale, say: Say) -> Figures:
    """P7. A thousand displays."""
    with bench_servers() as servers:
        return asdict(
            asyncio.run(fanout.measure(servers, displays=1000, seconds=scale.watch_s / 3, stalled=0, say=say))
        )


def fanned_stalled(scale: Scale, say: Say) -> Figures:
    """P7 while fifty of them take nothing."""
    with bench_servers() as servers:
        found = fanout.measure(servers, displays=1000, seconds=scale.watch_s / 3, stalled=50, say=say)
        return asdict(asyncio.run(found))


def outage(scale: Scale, say: Say) -> Figures:
    """P8. The database away at 5,000 messages a second, then back."""
    with bench_servers() as servers:
        return asdict(asyncio.run(catchup.measure(servers, rate=5000, outage_s=scale.outage_min * 60, say=say)))


def simulated(scale: Scale, say: Say) -> Figures:
    """P9. One simulator process at real intervals."""
    with bench_servers() as servers:
        found = asdict(asyncio.run(simulator.measure(servers, devices=scale.devices, watch_s=scale.watch_s, say=say)))
    shares = found.pop("core_share")
    return found | {f"core_share_{who}": share for who, share in shares.items()}


def leaks(scale: Scale, say: Say) -> Figures:
    """A gas leak from the alarm to the closed order, heard of and verified by a city platform."""
    with bench_servers() as servers:
        return asyncio.run(gas_leak.measure(servers, scale.leaks, say))


def painted(scale: Scale, say: Say) -> Figures:
    """The cockpit's page: script, first paint, repaint of 2,000 devices."""
    with bench_servers() as servers:
        return asdict(asyncio.run(cockpit_page.measure(servers, batches=scale.batches, openings=9, say=say)))


def left_open(scale: Scale, say: Say) -> Figures:
    """The wall left open for a day, in fast motion."""
    with bench_servers() as servers:
        return asdict(asyncio.run(page_day.measure(servers, hours=scale.wall_hours, say=say)))


def returned(scale: Scale, say: Say) -> Figures:
    """Two hundred screens after the API was away for 45 s."""
    with bench_servers() as servers:
        return asdict(asyncio.run(returning.measure(servers, screens=returning.SCREENS, away_s=45.0, say=say)))


def peers(scale: Scale, say: Say) -> Figures:
    """The peers on the same load, broker and broker settings: rows of undecoded text in a table without keys."""
    there = install.install()
    cases: dict[str, tuple[peer.Make, int, int]] = {
        "mq_bridge": (lambda f, m, d: mq_bridge.command(there, f, m, d), scale.peer_messages, 0),
        "node_red": (lambda f, m, d: node_red.command(there, f, m, d, batched=False), scale.peer_slow_messages, 0),
        "node_red_batched": (
            lambda f, m, d: node_red.command(there, f, m, d, batched=True),
            scale.peer_slow_messages * 3,
            0,
        ),
    }
    for name in ("mq_bridge", "node_red_batched"):
        make, messages, _ = cases[name]
        cases[f"{name}_killed"] = (make, messages, 3)
    figures: Figures = {}
    for name, (make, messages, kills) in cases.items():
        say(f"{name}, {messages:,} messages")
        with bench_servers() as servers:
            found = asyncio.run(peer.measure(servers, make, messages=messages, kills=kills))
        if kills:
            figures |= {f"{name}_kills": found.kills, f"{name}_lost": found.lost, f"{name}_doubled": found.doubled}
        else:
            cpu = found.cpu_us_per_message
            figures |= {f"{name}_messages_per_s": found.messages_per_s, f"{name}_cpu_us": cpu["peer"]}
    return figures


def ratios(figures: dict[str, Figures]) -> Figures:
    """LinHub's single messages against each peer's, of the same run."""
    ours = figures["P1 single messages"]
    theirs = figures["peers"]
    return {
        f"times_{name}": round(ours["messages_per_s"] / theirs[f"{name}_messages_per_s"], 2)
        for name in ("mq_bridge", "node_red", "node_red_batched")
    }


MEASURES: dict[str, Callable[[Scale, Say], Figures]] = {
    "P1 single messages": single,
    "P2 gateways of 100": gateways,
    "P3 alarms": alarms,
    "P3 under load": loaded,
    "P3 in a storm": stormy,
    "P4 rules": evaluated,
    "P5 storage": stored,
    "P6 cockpit": watched,
    "P6 cockpit, little history": watched_little,
    "P7 fan-out": fanned,
    "P7 fan-out, 50 stalled": fanned_stalled,
    "P8 after an outage": outage,
    "P9 simulator": simulated,
    "gas-leak": leaks,
    "page": painted,
    "page-day": left_open,
    "page-return": returned,
}


def show(console: Console, found: dict[str, Any]) -> None:
    table = Table(title=f"LinHub on {found['machine']['cores']} cores, {found['at']}")
    for column in ("what", "figure", "value"):
        table.add_column(column)
    for what, figures in found["figures"].items():
        for name, value in figures.items():
            table.add_row(what, name, f"{value:,}" if isinstance(value, int | float) else str(value))
        table.add_section()
    console.print(table)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.run", description=__doc__)
    parser.add_argument("--peers", action="store_true", help="Node-RED and mq-bridge on the same load, with ratios")
    parser.add_argument("--quick", action="store_true", help="small amounts: shows that it works, not what it can do")
    parser.add_argument("--only", action="append", default=[], metavar="P1", help="may be given more than once")
    given = parser.parse_args(arguments)
    chosen = {
        name: measure
        for name, measure in MEASURES.items()
        if not given.only or any(name.split()[0].lower() == one.lower() for one in given.only)
    }
    if given.peers:
        chosen["peers"] = peers
    if not chosen:
        parser.error(f"--only takes {', '.join(name.split()[0] for name in MEASURES)}")
    console = Console(stderr=True)
    scale = QUICK if given.quick else FULL
    started = time.monotonic()
    figures: dict[str, Figures] = {}
    for number, (name, measure) in enumerate(chosen.items(), start=1):
        with console.status(f"{number} of {len(chosen)}: {name}") as status:
            began = time.monotonic()
            figures[name] = measure(scale, lambda text, n=name, s=status: s.update(f"{n}: {text}"))  # type: ignore[misc]
            console.print(f"{name}: done in {time.monotonic() - began:.0f} s")
    if {"peers", "P1 single messages"} <= figures.keys():
        figures["ratios"] = ratios(figures)
    found = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": {"cores": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()},
        "seconds": round(time.monotonic() - started, 1),
        "command": " ".join(["python -m bench.run", *(sys.argv[1:] if arguments is None else arguments)]),
        "figures": figures,
    }
    RESULTS.parent.mkdir(parents=True, exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    show(Console(), found)
    return 1 if any(f.get("lost") or f.get("duplicates") for f in figures.values()) else 0


if __name__ == "__main__":
    raise SystemExit(main())
