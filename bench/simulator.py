"""How many devices one simulator process keeps alive at their real intervals, on as many connections as they need."""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import multiprocessing
import resource
import secrets
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import Connection
from typing import Any

import asyncpg
import psutil
import uvloop
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from bench.servers import BenchServers, bench_servers
from bench.system import database, put, service
from device_sim.broker import Broker
from device_sim.fleet import Fleet
from device_sim.life import Surroundings
from device_sim.main import allow_connections
from device_sim.presets import BY_NAME
from device_sim.presets.generate import generate
from services.domain.ids import CommunityId
from services.domain.registry import Community

PRESETS = ("minzhu", "bagudun", "gongyuan")
"""The large ones, in turn: about a fifth of their devices have a connection of their own."""


@dataclass(frozen=True, slots=True)
class SimulatorResult:
    """CPU as shares of one core over the watched time; memory resident, MiB. `lost`: what was never acknowledged."""

    devices: int
    connections: int
    processes: int
    connect_s: float
    watched_s: float
    messages_per_s: float
    readings_sets_per_s: float
    resent: int
    lost: int
    core_share: dict[str, float | None]
    simulator_mib: int
    broker_mib: int | None
    kib_a_connection_at_the_broker: float | None


def communities(devices: int) -> list[Community]:
    """At least so many devices: whole presets in turn under names of their own, the last one scaled to fit."""
    made: list[Community] = []
    while (missing := devices - sum(len(one.devices) for one in made)) > 0:
        preset = BY_NAME[PRESETS[len(made) % len(PRESETS)]]
        preset = replace(preset, id=CommunityId(f"{preset.id}{len(made)}"))
        whole = generate(preset)
        if len(whole.devices) > missing:
            whole = generate(preset, max(0.05, min(1.0, missing / len(whole.devices))))
        made.append(whole)
    return made


async def measure(
    servers: BenchServers, *, devices: int, watch_s: float, say: Any = lambda text: None
) -> SimulatorResult:
    """Raises ValueError where the machine does not allow so many connections, or servers cannot admit devices."""
    if servers.admit is None or servers.device_url is None:
        raise ValueError("devices need a broker that admits them: unset LINHUB_DATABASE_URL and LINHUB_MQTT_URL")
    homes = communities(devices)
    own = [device.id for home in homes for device in home.devices if device.gateway_id is None]
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if most != resource.RLIM_INFINITY and len(own) + 200 > most:
        raise ValueError(f"{devices:,} devices need {len(own):,} connections; this machine allows {most:,} open files")
    credentials: dict[str, str] = {device: secrets.token_hex(10) for device in own}
    name = f"bench{secrets.token_hex(4)}"
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(database(servers.database_url, name))
        connection = await asyncpg.connect(url)
        stack.push_async_callback(connection.close)
        say(f"{len(homes)} communities, {sum(len(h.devices) for h in homes):,} devices into the registry")
        await put(connection, tuple(replace(home, accounts=()) for home in homes))
        servers.admit(credentials)
        common = {
            "LINHUB_DATABASE_URL": url,
            "LINHUB_MQTT_URL": servers.ingest_url,
            "LINHUB_MQTT_CLIENT_PREFIX": name,
        }
        running = [
            stack.enter_context(service(one, {**common, "LINHUB_WORKER": f"{name}-{one}"}))
            for one in ("ingest", "alerts")
        ]
        for one in running:
            await one.ready()
        ours, theirs = multiprocessing.Pipe()
        broker = _broker(servers.device_url)
        before = _rss(broker)
        child = multiprocessing.Process(
            target=_simulate, args=([h.id for h in homes], homes, servers.device_url, credentials, theirs), daemon=True
        )
        child.start()
        stack.callback(child.kill)
        return await _watch(ours, child, broker, before, running, homes, len(own), watch_s, say, connection)


async def _watch(
    pipe: Connection,
    child: multiprocessing.Process,
    broker: psutil.Process | None,
    broker_before: int | None,
    running: Sequence[Any],
    homes: Sequence[Community],
    connections: int,
    watch_s: float,
    say: Any,
    connection: asyncpg.Connection[Any],
) -> SimulatorResult:
    began = time.perf_counter()

    async def ask(word: str) -> dict[str, int]:
        pipe.send(word)
        answer: dict[str, int] = await asyncio.to_thread(pipe.recv)
        return answer

    while (now := await ask("state"))["connected"] < connections:
        say(f"{now['connected']:,} of {connections:,} connected")
        for one in running:
            one.check()
        if not child.is_alive() or time.perf_counter() - began > 900:
            raise RuntimeError(f"only {now['connected']} of {connections} devices connected")
        await asyncio.sleep(0.5)
    connected_s = time.perf_counter() - began
    watched = {"simulator": psutil.Process(child.pid), "mosquitto": broker}
    watched |= {one.name: psutil.Process(one.process.pid) for one in running}
    first, spent, at = await ask("state"), {who: _cpu(p) for who, p in watched.items()}, time.perf_counter()
    received = await connection.fetchval("SELECT sum(received)::bigint FROM ingest_ledger")
    while (gone := time.perf_counter() - at) < watch_s:
        say(f"{connections:,} connected, watching for {watch_s - gone:.0f} s more")
        await asyncio.sleep(min(1.0, max(0.01, watch_s - gone)))
    last, gone = await ask("state"), time.perf_counter() - at
    sets = await connection.fetchval("SELECT sum(received)::bigint FROM ingest_ledger") - received
    shares = {
        who: None if p is None or spent[who] is None else round((_cpu(p) - spent[who]) / gone, 3)
        for who, p in watched.items()
    }
    memory, broker_now = _rss(watched["simulator"]), _rss(broker)
    say("waiting for the last acknowledgements")
    end = await ask("drain")
    return SimulatorResult(
        devices=sum(len(home.devices) for home in homes),
        connections=connections,
        processes=1,
        connect_s=round(connected_s, 1),
        watched_s=round(gone, 1),
        messages_per_s=round((last["published"] - first["published"]) / gone, 1),
        readings_sets_per_s=round(sets / gone, 1),
        resent=last["resent"] - first["resent"],
        lost=end["spooled"],
        core_share=shares,
        simulator_mib=(memory or 0) >> 20,
        broker_mib=None if broker_now is None else broker_now >> 20,
        kib_a_connection_at_the_broker=(
            None
            if broker_now is None or broker_before is None
            else round((broker_now - broker_before) / 1024 / connections, 1)
        ),
    )


# In the simulator's own process


def _simulate(
    _: list[str], homes: list[Community], device_url: str, credentials: dict[str, str], pipe: Connection
) -> None:
    allow_connections()
    gc.freeze()
    uvloop.run(_live(homes, Broker.at(device_url), credentials, pipe))


async def _live(homes: list[Community], broker: Broker, credentials: dict[str, str], pipe: Connection) -> None:
    stop = asyncio.Event()
    fleets = [Fleet(home, broker, credentials, Surroundings(home), with_backfill=False) for home in homes]
    for fleet in fleets:
        fleet.connects_per_s = 1000 / len(fleets)
    loop = asyncio.get_running_loop()

    async def tell() -> None:
        while True:
            word = await loop.run_in_executor(None, pipe.recv)
            if word == "drain":
                for fleet in fleets:
                    fleet.silent = True
                deadline = time.monotonic() + 60
                while sum(f.spooled for f in fleets) and time.monotonic() < deadline:  # noqa: ASYNC110
                    await asyncio.sleep(0.2)
            totals = {"connected": 0, "published": 0, "resent": 0, "spooled": 0}
            for fleet in fleets:
                traffic = fleet.progress.traffic
                totals["connected"] += traffic.connected
                totals["published"] += traffic.published
                totals["resent"] += traffic.resent
                totals["spooled"] += fleet.spooled
            pipe.send(totals)

    async with asyncio.TaskGroup() as group:
        group.create_task(tell())
        for fleet in fleets:
            group.create_task(fleet.run(stop))


def _broker(device_url: str) -> psutil.Process | None:
    from bench.cpu import listening

    pid = listening(Broker.at(device_url).port)
    return None if pid is None else psutil.Process(pid)


def _cpu(process: psutil.Process | None) -> float:
    if process is None:
        return 0.0
    times = process.cpu_times()
    return float(times.user + times.system)


def _rss(process: psutil.Process | None) -> int | None:
    return None if process is None else int(process.memory_info().rss)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.simulator", description=__doc__)
    parser.add_argument("--devices", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=60.0)
    given = parser.parse_args()
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with bench_servers() as servers, Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("starting")
        try:
            found = asyncio.run(
                measure(
                    servers,
                    devices=given.devices,
                    watch_s=given.seconds,
                    say=lambda text: progress.update(task, description=text),
                )
            )
        except ValueError as error:
            console.print(f"[red]{error}")
            return 2
    sys.stdout.write(json.dumps(asdict(found), indent=1) + "\n")
    return 1 if found.lost else 0


if __name__ == "__main__":
    raise SystemExit(main())
