"""The devices' side of the stories, played now and then by a running fleet: a demo is alive, nothing is asserted."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Mapping, Sequence
from typing import Any

from device_sim.fleet import Fleet
from device_sim.paho_loop import first
from device_sim.scenarios import BY_NAME, STORIES
from device_sim.theatre.story import Story
from services.domain.registry import Device

log = logging.getLogger(__name__)

PLAYED = tuple(story for story in STORIES if story.act is None or story.silent_s)
"""What devices do by themselves; the others are about what people do with it."""
FIRST_AFTER_S = 10.0
REST_S = 6 * 3600.0
"""A device that played rests so long: its order is probably still being worked on."""
CALM_AFTER_S = (60.0, 150.0)
AWAY_S = 300.0


class FleetStage:
    """The fleet's own connections as a stage."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet

    def now_ms(self) -> int:
        return int(time.time() * 1000)

    async def event(self, device: str, name: str, data: Mapping[str, Any], ts_ms: int) -> None:
        self._say(device, "event", {"ts": ts_ms, "event": name, "data": dict(data)})

    async def reading(self, device: str, values: Mapping[str, Any], ts_ms: int) -> None:
        self._say(device, "telemetry", {"ts": ts_ms, "values": dict(values)})

    def _say(self, device: str, channel: str, body: dict[str, Any]) -> None:
        station = self._fleet.station_of(device)
        items: dict[str, Any] | list[dict[str, Any]] = body
        if station.own.device.id != device:
            items = [{"device": device, **body}]
        station.uplink.send(channel, items, urgent=channel == "event")

    async def status(self, device: str, online: bool) -> None:
        self._fleet.station_of(device).uplink.say_status(device, online, self.now_ms())

    async def cut(self, devices: Sequence[str]) -> None:
        for device in devices:
            uplink = self._fleet.station_of(device).uplink
            uplink.away_until = time.monotonic() + AWAY_S
            uplink.cut()

    async def restore(self, devices: Sequence[str]) -> None:
        for device in devices:
            self._fleet.station_of(device).uplink.away_until = 0.0


class Players:
    """Picks a story, and devices that have not played lately."""

    def __init__(self, fleet: Fleet, every_s: float, *, seed: int | None = None) -> None:
        self._fleet, self._every_s = fleet, every_s
        self._stage = FleetStage(fleet)
        self._rng = random.Random(seed)
        self._played: dict[str, float] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """gas_leak first, then any; each brought to its calm end a minute or two after."""
        story, wait = BY_NAME["gas_leak"], FIRST_AFTER_S
        calming: set[asyncio.Task[None]] = set()
        while not stop.is_set():
            await first(asyncio.sleep(wait), stop.wait())
            if stop.is_set():
                break
            devices = self.cast(story)
            if devices:
                self._fleet.progress.last_story = f"{story.name} ({devices[0]})"
                log.info("story %s with %s", story.name, ", ".join(devices))
                if story.first is not None:
                    await story.first(self._stage, devices)
                await story.script(self._stage, devices)
                task = asyncio.create_task(self._calm(story, devices, stop))
                calming.add(task)
                task.add_done_callback(calming.discard)
            wait = self._every_s
            story = self._rng.choice([other for other in PLAYED if other is not story])
        await asyncio.gather(*calming, return_exceptions=True)

    async def _calm(self, story: Story, devices: Sequence[str], stop: asyncio.Event) -> None:
        await first(asyncio.sleep(self._rng.uniform(*CALM_AFTER_S)), stop.wait())
        if story.calm is not None and not stop.is_set():
            await story.calm(self._stage, devices)

    def cast(self, story: Story) -> list[str]:
        """Devices for the story; none when all that could play have done so lately."""
        need, now, now_ms = story.need, time.monotonic(), time.time() * 1000
        lives = {life.device.id: life for station in self._fleet.stations.values() for life in station.lives}
        free: list[Device] = [
            life.device
            for life in lives.values()
            if life.device.kind == need.kind
            and (need.tag is None or need.tag in life.device.tags)
            and now - self._played.get(life.device.id, -REST_S) >= REST_S
            and now_ms - life.reported_ms >= need.quiet_s * 1000
        ]
        self._rng.shuffle(free)
        if need.one_building:
            homes: dict[str | None, list[Device]] = {}
            for device in free:
                homes.setdefault(device.building_id, []).append(device)
            free = next((devices for devices in homes.values() if len(devices) >= need.count), [])
        if len(free) < need.count:
            return []
        chosen = free[: need.count]
        beside = next(
            (
                life.device
                for life in lives.values()
                if need.beside == life.device.kind and life.device.building_id == chosen[0].building_id
            ),
            None,
        )
        ids: list[str] = [device.id for device in (*chosen, *([beside] if beside else []))]
        self._played.update(dict.fromkeys(ids, now))
        return ids
