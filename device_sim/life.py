"""The life of one simulated device without its wire: what it measures at a moment, and what it reports of it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from device_sim.presets.people import YEAR
from device_sim.world import Home, LocalTime, Sky, home_of, local_time
from services.domain.devices import BY_NAME
from services.domain.devices.kind import DeviceKind, Memory, Metric, MetricType, Moment
from services.domain.registry import Community, Device, Person

SENSE_S = 60.0
"""How often a device that reports changes looks, between its heartbeats."""
WAKE_S = 20.0
COMMON_METER_SCALE = 0.6
"""Lights and lift of one stairwell, as a share of a flat's use."""
_M_PER_DEGREE = 111_320.0

Forced = Callable[[Device, int], Mapping[str, float]]
"""Metrics fixed from outside for a device at a time (a replayed real series)."""


class Surroundings:
    """What the devices of one community share. `pv_scale` is one inverter's roof against 1,000 m²."""

    def __init__(
        self,
        community: Community,
        *,
        seed: int = 1,
        pv_scale: float = 1.0,
        forced: Forced | None = None,
        outdoor_c: Callable[[int], float] | None = None,
    ) -> None:
        self.community, self.seed, self.pv_scale = community, seed, pv_scale
        self.sky = Sky(community.latitude, community.longitude, seed)
        self._forced = forced
        self._outdoor_c = outdoor_c or self.sky.outdoor_c
        people: dict[str, list[Person]] = {}
        for person in community.people:
            if person.household_id:
                people.setdefault(person.household_id, []).append(person)
        self._people = people
        self._homes = {home: home_of(home, members, YEAR) for home, members in people.items()}
        self._nobody = Home("", ())
        self._sky_at: tuple[int, LocalTime, float, float] = (-1, local_time(0), 0.0, 0.0)

    def moment(self, device: Device, ts_ms: int, dt_s: float, forced: Mapping[str, float]) -> Moment:
        second = ts_ms // 1000
        if self._sky_at[0] != second:
            self._sky_at = (second, local_time(ts_ms), self.sky.sun(ts_ms), self._outdoor_c(ts_ms))
        _, local, sun, outdoor_c = self._sky_at
        members = self._people.get(device.household_id or "", [])
        outside = self._forced(device, ts_ms) if self._forced else {}
        return Moment(
            ts_ms=ts_ms,
            dt_s=dt_s,
            hour=local.hour,
            day_of_year=local.day_of_year,
            weekend=local.weekend,
            sun=sun,
            outdoor_c=outdoor_c,
            home=self._homes.get(device.household_id or "", self._nobody).share(local),
            residents=len(members) or 2,
            scale=self._scale(device),
            forced={**outside, **forced},
            tags=device.tags.union(*(person.tags for person in members)),
            latitude=self.community.latitude - device.y / _M_PER_DEGREE,
            longitude=self.community.longitude
            + device.x / (_M_PER_DEGREE * math.cos(math.radians(self.community.latitude))),
        )

    def _scale(self, device: Device) -> float:
        if device.kind == "pv_inverter":
            return self.pv_scale
        if device.kind == "electricity_meter" and device.household_id is None:
            return COMMON_METER_SCALE
        return 1.0


@dataclass(frozen=True, slots=True)
class Report:
    """What one look brought: values as they go on the wire, and the events of what changed."""

    values: dict[str, Any]
    events: tuple[tuple[str, dict[str, Any]], ...] = ()


@dataclass(slots=True)
class Life:
    """One device. `memory` and `last_ms` are all that has to outlive a restart of the simulator."""

    device: Device
    kind: DeviceKind
    interval_s: float
    rng: random.Random
    memory: Memory = field(default_factory=dict)
    last_ms: int = 0
    forced: dict[str, float] = field(default_factory=dict)
    switches: dict[str, float] = field(default_factory=dict)
    sends_changes: bool = False
    reported_ms: int = 0
    """When it last sent a reading."""
    due_ms: int = 0
    """When it reports next."""

    @property
    def sense_s(self) -> float:
        return min(SENSE_S, self.interval_s) if self.sends_changes else self.interval_s

    def previous_ms(self, now_ms: int) -> int:
        """When it should have reported last: each device has its own phase, so neighbours never speak in chorus."""
        step = self._step_ms
        return now_ms - (now_ms - random.Random(f"phase|{self.device.id}").randrange(step)) % step

    def schedule(self, now_ms: int) -> None:
        self.due_ms = self.previous_ms(now_ms) + self._step_ms

    @property
    def _step_ms(self) -> int:
        return max(1, round(self.interval_s * 1000))

    def wake(self, now_ms: int) -> None:
        """Switched on: the first report comes within moments, whatever the interval."""
        within = max(1, round(min(WAKE_S, self.interval_s) * 1000))
        self.due_ms = now_ms + random.Random(f"wake|{self.device.id}").randrange(within)

    def look(self, surroundings: Surroundings, ts_ms: int) -> Report:
        """Measures once. A switch that moved since the last look is also an event."""
        dt_s = max(0.0, (ts_ms - self.last_ms) / 1000) if self.last_ms else 0.0
        moment = surroundings.moment(self.device, ts_ms, dt_s, self.forced)
        raw = self.kind.profile(self.memory, moment, self.rng)
        self.last_ms = ts_ms
        events = []
        for metric in self.kind.metrics:
            if metric.on_change is None or metric.name not in raw:
                continue
            value = raw[metric.name]
            before = self.switches.get(metric.name)
            self.switches[metric.name] = value
            if before is not None and before != value:
                name = metric.on_change[int(value >= 1)]
                events.append((name, self._data_of(name)))
        return Report({name: wire(self.kind, name, value) for name, value in raw.items()}, tuple(events))

    def _data_of(self, event: str) -> dict[str, Any]:
        if event == "passed":
            return {"credential": f"card-{self.rng.randrange(10_000):04d}", "direction": self.rng.choice(("in", "out"))}
        return {}

    def obey(self, command: Mapping[str, Any]) -> tuple[bool, str]:
        """Carries out a command of this kind by fixing what it changes; (ok, detail)."""
        name = str(command.get("command"))
        params = command.get("params") or {}
        if name not in {known.name for known in self.kind.commands}:
            return False, f"{self.kind.name} has no command {name}"
        effects: dict[str, dict[str, float | None]] = {
            "valve_close": {"valve": 1.0, "flow": 0.0},
            "valve_open": {"valve": None, "flow": None},
            "relay_open": {"voltage": 0.0, "power": 0.0},
            "relay_close": {"voltage": None, "power": None},
            "on": {"on": 1.0, "brightness": None},
            "off": {"on": 0.0, "brightness": 0.0},
            "open": {"open": 1.0},
            "close": {"open": None},
            "stop": {"state": 0.0, "power": 0.0},
        }
        if name == "dim":
            level = float(params.get("brightness", 50))
            effects["dim"] = {"on": 1.0 if level > 0 else 0.0, "brightness": level}
        for metric, value in effects.get(name, {}).items():
            if self.kind.position(metric) is None:
                continue
            if value is None:
                self.forced.pop(metric, None)
            else:
                self.forced[metric] = value
        return True, "done"


def wire(kind: DeviceKind, name: str, value: float) -> Any:
    """As a device writes it: switches true or false, states by name."""
    position = kind.position(name)
    metric: Metric | None = None if position is None else kind.metrics[position]
    if metric is not None and metric.type is MetricType.SWITCH:
        return value >= 1
    if metric is not None and metric.type is MetricType.STATE:
        return metric.options[int(value)]
    return value


def live(device: Device, seed: int, speed: float = 1.0) -> Life:
    """A device at its first moment; the same seed gives the same life. `speed` makes it report more often."""
    kind = BY_NAME[device.kind]
    return Life(
        device=device,
        kind=kind,
        interval_s=(device.interval_s or kind.interval_s) / speed,
        rng=random.Random(f"life|{seed}|{device.id}"),
        sends_changes=any(metric.on_change for metric in kind.metrics),
    )
