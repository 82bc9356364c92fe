"""All devices of a community in one process: each on its own connection, gateways speaking for their meters."""

from __future__ import annotations

import asyncio
import heapq
import logging
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from device_sim import memory
from device_sim.backfill import backfill
from device_sim.broker import Broker, Traffic
from device_sim.held import Held
from device_sim.life import Life, Surroundings, live
from device_sim.obeyed import Obeyed
from device_sim.paho_loop import first
from device_sim.spool import Spool
from device_sim.uplink import Uplink
from services.domain.registry import GATEWAY_KIND, Community

log = logging.getLogger(__name__)

GATEWAY_POLL_S = 10.0
CONNECTS_AT_ONCE = 50
CONNECTS_PER_S = 200.0
SAVE_S = 15.0
MAX_BATCH = 200
"""Readings a gateway puts into one message; far below what the broker and ingest take."""
GATEWAY_SPOOL = 2000
SELDOM_S = 300.0


@dataclass(slots=True)
class Station:
    """One connection: a device, and the meters behind it where it is a gateway."""

    own: Life
    behind: list[Life]
    uplink: Uplink
    filled: bool = True
    """False while yesterday's readings are still to be sent: counters only move forwards."""

    @property
    def lives(self) -> list[Life]:
        return [self.own, *self.behind]

    def say(self, items: list[dict[str, Any]]) -> None:
        """Readings of this device, or of those behind it, in batches under one id each."""
        for start in range(0, len(items), MAX_BATCH):
            self.uplink.send("telemetry", items[start : start + MAX_BATCH])


@dataclass(slots=True)
class Progress:
    """What somebody watching the fleet wants to know."""

    traffic: Traffic = field(default_factory=Traffic)
    stations: int = 0
    devices: int = 0
    last_story: str = ""


class Fleet:
    """`credentials`: device id to broker secret; a device without one logs in anonymously (a test broker)."""

    def __init__(
        self,
        community: Community,
        broker: Broker,
        credentials: Mapping[str, str],
        surroundings: Surroundings,
        *,
        home: Path | None = None,
        speed: float = 1.0,
        with_backfill: bool = True,
    ) -> None:
        self.community, self.surroundings = community, surroundings
        self.progress = Progress()
        self._file = home / "sim" / f"memory-{community.id}.json" if home else None
        self._with_backfill, self._speed = with_backfill, speed
        self.connects_per_s = CONNECTS_PER_S
        self.silent = False
        """Nothing new is said; what is spooled still goes out."""
        held = Held(home / "sim" / "held.json") if home else (lambda _: False)
        lives = {device.id: live(device, surroundings.seed, speed) for device in community.devices}
        if self._file:
            log.info("memory of %d devices found", memory.load(self._file, lives.values()))
        obeyed = Obeyed(home / "sim" / f"obeyed-{community.id}.jsonl" if home else None)
        obeyed.compact()
        self.stations: dict[str, Station] = {}
        for device in community.devices:
            if device.gateway_id is not None:
                continue
            own = lives[device.id]
            capacity = GATEWAY_SPOOL if device.kind == GATEWAY_KIND else 300
            uplink = Uplink(
                broker,
                community.id,
                device.id,
                credentials.get(device.id),
                traffic=self.progress.traffic,
                spool=Spool(capacity),
                on_command=partial(self._obey, device.id),
                held=held,
                obeyed=obeyed,
            )
            self.stations[device.id] = Station(own, [], uplink)
        for device in community.devices:
            if device.gateway_id is not None:
                self.stations[device.gateway_id].behind.append(lives[device.id])
        self.progress.stations, self.progress.devices = len(self.stations), len(lives)

    @property
    def spooled(self) -> int:
        return sum(len(station.uplink.spool) for station in self.stations.values())

    def station_of(self, device: str) -> Station:
        """The connection that speaks for this device. Raises KeyError."""
        if device in self.stations:
            return self.stations[device]
        return next(s for s in self.stations.values() if any(life.device.id == device for life in s.behind))

    async def run(self, stop: asyncio.Event) -> None:
        """Lives until `stop`, then says good-bye and saves what the devices remember."""
        gate = asyncio.Semaphore(CONNECTS_AT_ONCE)
        async with asyncio.TaskGroup() as group:
            if self._with_backfill:
                group.create_task(backfill(self, stop))
            group.create_task(self._every_second(stop))
            group.create_task(self._report(stop))
            group.create_task(self._connect_all(group, gate, stop))
        self.save()

    async def _connect_all(self, group: asyncio.TaskGroup, gate: asyncio.Semaphore, stop: asyncio.Event) -> None:
        """Not all at once: a broker that comes back meets a stream, not a wall."""
        order = list(self.stations.values())
        random.shuffle(order)
        order.sort(key=lambda station: station.own.kind.name != GATEWAY_KIND)
        for station in order:
            if stop.is_set():
                return
            group.create_task(station.uplink.run(stop, gate))
            await asyncio.sleep(random.uniform(0.5, 1.5) / self.connects_per_s)

    async def _every_second(self, stop: asyncio.Event) -> None:
        """Keep-alive, resending, and saving the memories."""
        saved, said = time.monotonic(), ""
        while not stop.is_set():
            for station in self.stations.values():
                station.uplink.misc()
                station.uplink.resend_due()
            refused = self.progress.traffic.refused
            if refused != said:
                log.warning("the broker refuses %s", refused)
                said = refused
            if time.monotonic() - saved > SAVE_S:
                await asyncio.to_thread(self.save)
                saved = time.monotonic()
            await first(asyncio.sleep(1.0), stop.wait())

    def save(self) -> None:
        if self._file:
            memory.save(self._file, [life for station in self.stations.values() for life in station.lives])

    async def _report(self, stop: asyncio.Event) -> None:
        """Wakes each station when it has something to say; a heap, so that thousands cost nothing while silent."""
        now_ms = int(time.time() * 1000)
        heap: list[tuple[int, int, Station]] = []
        for order, station in enumerate(self.stations.values()):
            self._begin(station, now_ms)
            heap.append((self._next(station, now_ms), order, station))
        heapq.heapify(heap)
        spoken = 0
        while not stop.is_set():
            due_ms, order, station = heap[0]
            now_ms = int(time.time() * 1000)
            if due_ms > now_ms or self.silent:
                wait_s = 1.0 if self.silent else min(1.0, (due_ms - now_ms) / 1000)
                await first(asyncio.sleep(wait_s), stop.wait())
                continue
            self._speak(station, now_ms)
            heapq.heapreplace(heap, (max(now_ms + 1, self._next(station, now_ms)), order, station))
            spoken += 1
            if spoken % 20 == 0:
                await asyncio.sleep(0)

    def _begin(self, station: Station, now_ms: int) -> None:
        """First words: one that reports seldom tells what it measured last, at its own time; the others report soon."""
        for life in station.lives:
            life.wake(now_ms)
        own = station.own
        before = own.previous_ms(now_ms)
        if own.interval_s >= SELDOM_S and own.kind.metrics and own.last_ms < before:
            report = own.look(self.surroundings, before)
            own.reported_ms = before
            station.uplink.send("telemetry", {"ts": before, "values": report.values})
            own.schedule(now_ms)

    def _next(self, station: Station, now_ms: int) -> int:
        """A gateway asks its meters every few seconds; a device that reports changes looks every minute."""
        own = station.own
        if station.behind:
            step = round(GATEWAY_POLL_S * 1000 / self._speed)
        elif own.sends_changes:
            step = round(own.sense_s * 1000)
        else:
            return own.due_ms
        step = max(step, 20)
        phase = hash_phase(own.device.id, step)
        return now_ms - (now_ms - phase) % step + step

    def _speak(self, station: Station, now_ms: int) -> None:
        own = station.own
        if not station.filled:
            own.due_ms = max(own.due_ms, now_ms + 1000)
            return
        if station.behind:
            batch = []
            for life in station.behind:
                if life.due_ms <= now_ms:
                    report = life.look(self.surroundings, now_ms)
                    life.reported_ms = now_ms
                    batch.append({"device": life.device.id, "ts": now_ms, "values": report.values})
                    life.schedule(now_ms)
            if batch:
                station.say(batch)
        if own.due_ms > now_ms and not own.sends_changes:
            return
        self._tell(station, now_ms)

    def _tell(self, station: Station, now_ms: int, *, at_once: bool = False) -> None:
        """The device's own report: when it is due, when a switch moved, or `at_once`."""
        own = station.own
        report = own.look(self.surroundings, now_ms)
        for name, data in report.events:
            station.uplink.send("event", {"ts": now_ms, "event": name, "data": data}, urgent=True)
        if own.due_ms > now_ms and not report.events and not at_once:
            return
        if own.due_ms <= now_ms:
            own.schedule(now_ms)
        own.reported_ms = now_ms
        if report.values:
            station.uplink.send("telemetry", {"ts": now_ms, "values": report.values})
        else:
            station.uplink.refresh_status(now_ms)

    def _obey(self, device: str, command: dict[str, Any]) -> tuple[bool, str]:
        """Carries a command out and reports the new state at once; a gateway also for those behind it."""
        station, now_ms = self.stations[device], int(time.time() * 1000)
        meant = str(command.get("device", device))
        if meant != device:
            return self._obey_behind(station, meant, command, now_ms)
        ok, detail = station.own.obey(command)
        if ok and any(event.name == "played" for event in station.own.kind.events):
            data = {"command": command["id"], "seconds": 6}
            station.uplink.send("event", {"ts": now_ms, "event": "played", "data": data}, urgent=True)
        elif ok:
            asyncio.get_running_loop().call_soon(partial(self._tell, station, now_ms, at_once=True))
        return ok, detail

    def _obey_behind(self, station: Station, device: str, command: dict[str, Any], now_ms: int) -> tuple[bool, str]:
        life = next((one for one in station.behind if one.device.id == device), None)
        if life is None:
            return False, f"{device} is not behind this gateway"
        ok, detail = life.obey(command)
        if ok and life.kind.metrics:
            report = life.look(self.surroundings, now_ms)
            life.reported_ms = now_ms
            station.uplink.send("telemetry", [{"device": device, "ts": now_ms, "values": report.values}])
        return ok, detail


def hash_phase(device: str, step: int) -> int:
    return random.Random(f"poll|{device}").randrange(step)
