"""Puts the devices of a community where such devices hang, and gives each its household, building and gateway."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from device_sim.presets.layout import Layout
from device_sim.presets.preset import Preset
from services.domain.ids import DeviceId, PersonId
from services.domain.registry import (
    ELDER_LIVING_ALONE,
    FIRE_LANE,
    GATEWAY_KIND,
    WATER_ZONE,
    Building,
    Device,
    Household,
    Person,
    Place,
)

COMMON_METER_INTERVAL_S = 10
"""The meter of a stairwell's lights and lift reports often: it is how a power cut is seen."""
_FEW = {
    "gas_alarm": 4,
    "wristband": 4,
    "door_magnet": 4,
    "sos_button": 4,
    "highthrow_camera": 4,
    "perimeter_camera": 6,
    "ebike_camera": 4,
    "bin": 6,
    "gate": 3,
    "manhole": 6,
    "lamp_post": 12,
    "environment": 2,
    "pv_inverter": 2,
    "charger": 4,
    "people_counter": 2,
    "tunnel_sensor": 2,
    "loudspeaker": 2,
    "siren": 2,
    "patrol_vehicle": 1,
}
"""The least of each kind, so that a small share of a community can still live every story, more than once."""
_SHORT = {
    "water_meter": "水表",
    "gas_meter": "燃气表",
    "electricity_meter": "电表",
    "gas_alarm": "燃气报警器",
    "smoke_detector": "烟感",
    "wristband": "健康手环",
    "door_magnet": "门磁",
    "sos_button": "一键呼叫",
    "highthrow_camera": "高空抛物相机",
    "perimeter_camera": "周界相机",
    "ebike_camera": "梯控相机",
    "bin": "垃圾桶",
    "parking_sensor": "车位地磁",
    "gate": "道闸",
    "manhole": "智慧井盖",
    "lamp_post": "灯杆",
    "environment": "环境站",
    "pv_inverter": "光伏逆变器",
    "charger": "充电桩",
    "people_counter": "客流计",
    "tunnel_sensor": "管廊传感器",
    "loudspeaker": "应急广播",
    "siren": "声光警报器",
    "patrol_vehicle": "巡查车",
    GATEWAY_KIND: "采集网关",
}


@dataclass(frozen=True, slots=True)
class Site:
    """What there is to hang devices on."""

    preset: Preset
    scale: float
    layout: Layout
    buildings: tuple[Building, ...]
    units: tuple[Place, ...]
    households: tuple[Household, ...]
    people: tuple[Person, ...]


@dataclass(slots=True)
class _Placer:
    site: Site
    rng: random.Random
    devices: list[Device] = field(default_factory=list)
    numbers: dict[str, int] = field(default_factory=dict)
    building: dict[str, Building] = field(default_factory=dict)
    unit: dict[str, Place] = field(default_factory=dict)
    siblings: dict[str, list[Place]] = field(default_factory=dict)
    """The entrances of each building."""

    def new(self, kind: str, place: str, x: float, y: float, **more: object) -> Device:
        number = self.numbers[kind] = self.numbers.get(kind, 0) + 1
        device = Device(
            id=DeviceId(f"{self.site.preset.id}-{kind}-{number}"),
            kind=kind,
            name=f"{_SHORT[kind]}{number}",
            place=place,
            x=round(x, 1),
            y=round(y, 1),
            **(more if "grid_id" in more else {"grid_id": self._nearest(x, y).grid_id, **more}),  # type: ignore[arg-type]
        )
        self.devices.append(device)
        return device

    def _nearest(self, x: float, y: float) -> Building:
        return min(self.site.buildings, key=lambda b: (b.x + b.width / 2 - x) ** 2 + (b.y + b.depth / 2 - y) ** 2)

    def inside(self, kind: str, unit: Place, floor: int, spot: str, **more: object) -> Device:
        """In the part of the building that is this entrance's."""
        block = self.building[unit.parent_id]
        siblings = self.siblings[block.id]
        part = block.width / len(siblings)
        x = block.x + part * siblings.index(unit) + self.rng.uniform(1, part - 1)
        y = block.y + self.rng.uniform(1, block.depth - 1)
        place = f"{block.name}{unit.name}{spot}"
        return self.new(
            kind, place, x, y, building_id=block.id, unit_id=unit.id, grid_id=block.grid_id, floor=floor, **more
        )

    def at_home(self, kind: str, home: Household, **more: object) -> Device:
        return self.inside(kind, self.unit[home.unit_id], home.floor, f"{home.room}室", household_id=home.id, **more)

    def beside(self, kind: str, block: Building, spot: str, dx: float, dy: float, **more: object) -> Device:
        """Outside a building: `dx` along it from its corner, `dy` in front of it (behind it where negative)."""
        y = block.y + block.depth + dy if dy > 0 else block.y + dy
        return self.new(
            kind, f"{block.name}{spot}", block.x + dx, y, building_id=block.id, grid_id=block.grid_id, **more
        )


def place_devices(site: Site, rng: random.Random) -> tuple[Device, ...]:
    """All devices, in a fixed order; the numbers of each kind are the preset's, scaled, never below a few."""
    placer = _Placer(site, rng)
    placer.building = {block.id: block for block in site.buildings}
    placer.unit = {unit.id: unit for unit in site.units}
    for unit in site.units:
        placer.siblings.setdefault(unit.parent_id, []).append(unit)
    counts = {kind: max(_FEW.get(kind, 1), round(n * site.scale)) for kind, n in site.preset.counts().items()}
    counts = {kind: min(n, max(_FEW.get(kind, 1), site.preset.counts()[kind])) for kind, n in counts.items()}
    _meters(placer)
    _safety(placer, counts)
    _elders(placer, counts)
    _buildings(placer, counts)
    _outdoors(placer, counts)
    _parking(placer, max(12, round(site.preset.spaces * site.scale)), counts["charger"])
    return tuple(placer.devices)


def _meters(placer: _Placer) -> None:
    """One gateway an entrance; behind it the meters of its flats and the meter of its stairwell."""
    homes: dict[str, list[Household]] = {}
    for home in placer.site.households:
        homes.setdefault(home.unit_id, []).append(home)
    for unit in placer.site.units:
        gateway = placer.inside(GATEWAY_KIND, unit, 1, "弱电间")
        placer.inside("electricity_meter", unit, 1, "公区", gateway_id=gateway.id, interval_s=COMMON_METER_INTERVAL_S)
        for home in homes.get(unit.id, ()):
            for kind in ("water_meter", "gas_meter", "electricity_meter"):
                placer.at_home(kind, home, gateway_id=gateway.id)


def _spread(things: Sequence[Household], count: int, rng: random.Random) -> list[Household]:
    """`count` of them, each once while they last, in an order of the seed."""
    shuffled = list(things)
    rng.shuffle(shuffled)
    return shuffled[:count]


def _safety(placer: _Placer, counts: dict[str, int]) -> None:
    for home in _spread(placer.site.households, counts["gas_alarm"], placer.rng):
        placer.at_home("gas_alarm", home)
    for unit in placer.site.units:
        top = placer.building[unit.parent_id].floors
        for floor, spot in ((1, "门厅"), (max(1, top // 2), "楼道中层"), (top, "楼道顶层")):
            placer.inside("smoke_detector", unit, floor, spot)


def _elders(placer: _Placer, counts: dict[str, int]) -> None:
    """Those who live alone come first; further alarms go to other elders' homes."""
    by_id = {home.id: home for home in placer.site.households}
    elders = [p for p in placer.site.people if "elder" in p.tags and p.household_id]
    elders.sort(key=lambda p: (ELDER_LIVING_ALONE not in p.tags, int(p.id.rsplit("p", 1)[1])))
    seen: set[str] = set()
    first: list[tuple[Household, PersonId]] = []
    for person in elders:
        if person.household_id and person.household_id not in seen:
            seen.add(person.household_id)
            first.append((by_id[person.household_id], person.id))
    for kind in ("wristband", "door_magnet", "sos_button"):
        for home, person_id in first[: counts[kind]]:
            placer.at_home(kind, home, person_id=person_id)


def _round_robin(blocks: Sequence[Building], count: int) -> Iterator[tuple[Building, int]]:
    """`count` buildings, evenly, with how often each came before."""
    for index in range(count):
        yield (
            blocks[(index * len(blocks) // count) if count < len(blocks) else index % len(blocks)],
            index // len(blocks),
        )


def _buildings(placer: _Placer, counts: dict[str, int]) -> None:
    blocks, rng, units = placer.site.buildings, placer.rng, placer.site.units
    for block, nth in _round_robin(blocks, counts["highthrow_camera"]):
        placer.beside("highthrow_camera", block, "外立面", 4 + (nth * 9) % (block.width - 8), 4.0)
    for index in range(counts["ebike_camera"]):
        unit = units[(index * len(units) // counts["ebike_camera"]) % len(units)]
        placer.inside("ebike_camera", unit, 1, "电梯")
    stations = dict(zip((block.id for block in blocks), placer.site.layout.stations, strict=True))
    for block, nth in _round_robin(blocks, counts["bin"]):
        station = stations[block.id]
        at = station.x - block.x + 0.6 + (nth * 1.2) % (station.width - 1.2)
        placer.beside("bin", block, "垃圾分类点", at, station.y + station.depth / 2 - block.y - block.depth)
    for block, _ in _round_robin(blocks, counts["pv_inverter"]):
        placer.new(
            "pv_inverter",
            f"{block.name}屋顶",
            block.x + block.width / 2,
            block.y + block.depth / 2,
            building_id=block.id,
            floor=block.floors,
        )
    for block, _ in _round_robin(blocks, counts["siren"]):
        placer.beside("siren", block, "东侧", block.width - 1, 2.0)
    for block, _ in _round_robin(blocks, max(3, len(blocks) // 2)):
        placer.beside(
            "parking_sensor", block, "北侧消防通道", rng.uniform(4, block.width - 4), -3.0, tags=frozenset({FIRE_LANE})
        )


def _outdoors(placer: _Placer, counts: dict[str, int]) -> None:
    layout, rng = placer.site.layout, placer.rng
    pond = layout.pond
    for n in range(counts["perimeter_camera"]):
        if n % 2 == 0:
            x, y = pond[(n * 5) % len(pond)]
            placer.new("perimeter_camera", "景观湖岸", x, y, tags=frozenset({WATER_ZONE}))
        else:
            x, y = layout.wall[(n // 2) % len(layout.wall)]
            placer.new("perimeter_camera", "小区围墙", x, y)
    posts = counts["lamp_post"]
    for n in range(posts):
        x, y = layout.kerbs[n % len(layout.kerbs)]
        placer.new("lamp_post", "小区道路", x + n // len(layout.kerbs), y)
    for n in range(counts["manhole"]):
        road = layout.roads[n % (len(layout.roads) - 3)]
        placer.new(
            "manhole",
            "小区道路",
            rng.uniform(road.x + 2, road.x + road.width - 2),
            rng.uniform(road.y + 2, road.y + road.depth - 2),
        )
    for n in range(counts["gate"]):
        gate = layout.gates[n % 3]
        x, y = gate.centre
        placer.new("gate", f"{('南', '东', '西')[n % 3]}门", x + (n // 3) * 1.5, y)
    garden, court = layout.garden, layout.court
    for n in range(counts["environment"]):
        place, rect = (("中心花园", garden), ("运动场", court))[n % 2]
        placer.new("environment", place, rect.x + 2 + n, rect.y + 2)
    for n in range(counts["people_counter"]):
        place, rect = (("运动场", court), ("中心花园", garden), ("社区中心", layout.centre))[n % 3]
        placer.new("people_counter", place, rect.x + rect.width - 2 - n, rect.y + rect.depth - 2)
    for n in range(counts["tunnel_sensor"]):
        road = layout.roads[n % 2]
        placer.new(
            "tunnel_sensor", f"{('北', '南')[n % 2]}侧管廊", road.x + 10 + 18 * n % (road.width - 20), road.y + 4
        )
    for n in range(counts["loudspeaker"]):
        block = placer.site.buildings[n * len(placer.site.buildings) // counts["loudspeaker"]]
        placer.beside("loudspeaker", block, "西侧", 1.0, 2.0)
    for n in range(counts["patrol_vehicle"]):
        x, y = layout.gates[0].centre
        placer.new("patrol_vehicle", "巡查路线", x + 3 * n, y - 10)


def _parking(placer: _Placer, spaces: int, chargers: int) -> None:
    """Bays are filled strip by strip across the estate; the first ones have a charging pile."""
    bays = placer.site.layout.bays
    for n in range(spaces):
        x, y = bays[n % len(bays)]
        placer.new("parking_sensor", f"车位{n + 1:03d}", x, y + (n // len(bays)) * 1.2)
    for n in range(chargers):
        x, y = bays[n % len(bays)]
        placer.new("charger", f"充电车位{n + 1:03d}", x, y + 2.2)
