"""P7: a thousand displays watch one community while twenty events a second are committed, on the API's real process.

Each event is a repeat of an alert, committed with its outbox row as the alert engine commits it; its time is in its
data. A frame's delay is from before that commit to the display's socket. Displays live in a process of their own.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from typing import Any
from uuid import uuid4

import psutil
import uvloop

from bench.cockpit_system import CockpitSystem, prepared, running
from bench.servers import BenchServers

RATE = 20
_MARK = b'"sent":'


@dataclass(frozen=True, slots=True)
class FanOut:
    displays: int
    stalled: int
    events_per_s: float
    api_core_percent: float
    """Of one core, while events flow; what the API needs without any is not taken off."""
    idle_core_percent: float
    p50_ms: float
    p99_ms: float
    worst_ms: float
    frames: int
    lost: int
    """Frames that a display which reads did not get."""
    connect_s: float


class _Display(asyncio.Protocol):
    """One reader of the stream. A stalled one reads its first bytes and nothing more."""

    def __init__(self, request: bytes, delays: list[float], stalled: bool) -> None:
        self._request, self._delays, self._stalled = request, delays, stalled
        self.opened = asyncio.get_running_loop().create_future()
        self.frames = 0
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        transport.write(self._request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        if not self.opened.done():
            if b" 200 " in data[:20]:
                self.opened.set_result(None)
                if self._stalled:
                    self._transport.pause_reading()  # type: ignore[attr-defined]
            else:
                self.opened.set_exception(RuntimeError(data[:200].decode(errors="replace")))
        now = time.time() * 1000
        data = self._tail + data
        at = data.find(_MARK)
        while at >= 0:
            end = data.find(b"}", at)
            if end < 0:
                break
            self.frames += 1
            self._delays.append(now - float(data[at + len(_MARK) : end]))
            at = data.find(_MARK, end)
        self._tail = data[at:] if at >= 0 else data[-len(_MARK) :]


def _displays(port: int, path: str, token: str, count: int, stalled: int, pipe: Connection) -> None:
    """A process of its own: opens them all, says so, reads until told to stop, hands back what it saw."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(65536, resource.getrlimit(resource.RLIMIT_NOFILE)[1]),) * 2)

    async def watch() -> None:
        loop = asyncio.get_running_loop()
        request = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
        delays: list[float] = []
        began = time.monotonic()
        displays: list[_Display] = []
        for start in range(0, count, 50):
            made = await asyncio.gather(
                *(
                    loop.create_connection(partial(_Display, request, delays, n < stalled), "127.0.0.1", port)
                    for n in range(start, min(count, start + 50))
                )
            )
            displays += [display for _, display in made]
            await asyncio.gather(*(display.opened for _, display in made))
        pipe.send(time.monotonic() - began)
        await loop.run_in_executor(None, pipe.recv)
        delays.clear()
        for display in displays:
            display.frames = 0
        pipe.send("begun")
        await loop.run_in_executor(None, pipe.recv)
        pipe.send((delays, [display.frames for display in displays[stalled:]]))

    uvloop.run(watch())


async def measure(
    servers: BenchServers, *, displays: int, seconds: float, stalled: int, say: Callable[[str], None]
) -> FanOut:
    async with prepared(servers) as made, running(*made) as system:
        alerts = await put_alerts(system, RATE)
        say(f"{displays} displays open their streams")
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        path = f"/api/v1/communities/{system.community.id}/stream"
        reader = context.Process(
            target=_displays, args=(system.port, path, system.token, displays, stalled, theirs), daemon=True
        )
        reader.start()
        try:
            return await _measured(system, alerts, displays, stalled, seconds, ours, say)
        finally:
            reader.terminate()
            reader.join(10)


async def _measured(
    system: CockpitSystem, alerts: list[Any], displays: int, stalled: int, seconds: float, pipe: Connection,
    say: Callable[[str], None],
) -> FanOut:  # fmt: skip
    connect_s = await asyncio.to_thread(pipe.recv)
    api = psutil.Process(system.api.process.pid)
    await asyncio.sleep(2)
    idle = await _core(api, 5.0)
    pipe.send("begin")
    await asyncio.to_thread(pipe.recv)
    say(f"{RATE} events a second for {seconds:.0f} s")
    before, began, sent = _cpu(api), time.monotonic(), 0
    while time.monotonic() - began < seconds:
        await event(system, alerts[sent % len(alerts)])
        sent += 1
        await asyncio.sleep(max(0.0, began + sent / RATE - time.monotonic()))
    took = time.monotonic() - began
    core = (_cpu(api) - before) / took
    await asyncio.sleep(1)
    system.api.check()
    pipe.send("end")
    delays, frames = await asyncio.to_thread(pipe.recv)
    cuts = statistics.quantiles(delays, n=100)
    return FanOut(
        displays, stalled, round(sent / took, 1), round(100 * core, 1), round(100 * idle, 1), round(cuts[49], 1),
        round(cuts[98], 1), round(max(delays), 1), len(delays), sum(sent - one for one in frames), round(connect_s, 1),
    )  # fmt: skip


async def event(system: CockpitSystem, alert: Any) -> None:
    """One repeat, committed as the engine would."""
    async with system.connection.transaction():
        trigger = json.dumps({"sent": round(time.time() * 1000, 1)})
        await system.connection.execute("UPDATE alert SET trigger = $2 WHERE id = $1", alert, trigger)
        await system.connection.execute(
            "SELECT outbox_append('alert.repeated', $1, $2::text, '', jsonb_build_object('id', $2::text))",
            system.community.id,
            str(alert),
        )


async def put_alerts(system: CockpitSystem, count: int) -> list[Any]:
    made = []
    for row in await system.connection.fetch("SELECT device_no, kind, place FROM device LIMIT $1", count):
        alert = uuid4()
        await system.connection.execute(
            "INSERT INTO alert (id, community_id, rule_id, rule_version, family, subject, active_rules, device_no, "
            "kind, severity, team, state, title_zh, title_en, why_zh, why_en, place, onset_at, fired_at, last_at, "
            "correlation) "
            "VALUES ($1, $2, 'bench', 1, 'bench', 'device:' || $3::integer, '{bench}', $3, $4, 'minor', 'patrol', "
            "'firing', '测', 'bench', '测', 'bench', $5, now(), now(), now(), 'bench')",
            alert, system.community.id, row["device_no"], row["kind"], row["place"],
        )  # fmt: skip
        made.append(alert)
    return made


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


async def _core(process: psutil.Process, seconds: float) -> float:
    before, began = _cpu(process), time.monotonic()
    await asyncio.sleep(seconds)
    return (_cpu(process) - before) / (time.monotonic() - began)
