"""The community of the year: a slice of a reference community, small enough to live a year in minutes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from device_sim.life import Life, Surroundings, live
from device_sim.presets import PRESETS
from device_sim.presets.generate import generate
from services.domain.devices import BY_NAME
from services.domain.engine.subjects import BuildingRow, Roster, Subject, build_roster
from services.domain.ids import DeviceId, DeviceNo, Partition
from services.domain.registered import CommunityRow, DeviceRow
from services.domain.registry import ELDER_LIVING_ALONE, FIRE_LANE, GATEWAY_KIND, WATER_ZONE, Community, Device
from services.domain.rules.evaluation import Line
from services.domain.rules.rulebook import Rulebook

PRESET = "gongyuan"
SCALE = 0.03
DEFAULT_COUNT = 3
COUNTS: Mapping[str, int] = {
    "water_meter": 16,
    "gas_meter": 8,
    "electricity_meter": 4,
    "wristband": 4,
    "door_magnet": 4,
    "sos_button": 4,
    "smoke_detector": 12,
    "gas_alarm": 4,
    "environment": 1,
    "pv_inverter": 1,
    "charger": 2,
    "tunnel_sensor": 2,
    "patrol_vehicle": 1,
    "highthrow_camera": 1,
    "ebike_camera": 1,
    "perimeter_camera": 2,
}
DEMENTIA = frozenset({"dementia"})
"""Of whoever wears a wristband here, so that all rules for wearers apply."""
SLOWER_S: Mapping[str, int] = {"patrol_vehicle": 60}
"""A vehicle that says every five seconds where it is would be half of all items and teach nothing more."""


@dataclass(frozen=True, slots=True)
class Town:
    community: Community
    devices: Mapping[DeviceNo, Device]
    rows: Mapping[DeviceNo, DeviceRow]
    surroundings: Surroundings
    roster: Roster
    lives: Mapping[DeviceNo, Life]

    def subject(self, number: DeviceNo) -> Subject:
        return self.roster.devices[number]

    def numbers(self, kind: str) -> list[DeviceNo]:
        return [number for number, row in self.rows.items() if row.kind == kind]


def build_town(rulebook: Rulebook, seed: int, scale: float = 1.0) -> Town:
    """`scale`: share of the devices of each kind, at least two of each (so that two can tell the same)."""
    preset = next(preset for preset in PRESETS if preset.id.startswith(PRESET))
    community = generate(preset, SCALE, seed)
    chosen = _choose(community, scale)
    numbers = {device.id: DeviceNo(place) for place, device in enumerate(chosen, start=1)}
    rows = {numbers[device.id]: _row(community, device, numbers) for device in chosen}
    place = CommunityRow(
        community.id, community.name, Partition(0), community.latitude, community.longitude, "Asia/Shanghai"
    )
    buildings = [
        BuildingRow(b.id, b.name, b.grid_id, b.x + b.width / 2, b.y + b.depth / 2) for b in community.buildings
    ]
    roster = build_roster(BY_NAME, rulebook, [place], rows.values(), buildings, {}, Line())
    return Town(
        community,
        {numbers[device.id]: device for device in chosen},
        rows,
        Surroundings(community, seed=seed),
        roster,
        {numbers[device.id]: live(device, seed) for device in chosen},
    )


def _choose(community: Community, scale: float) -> list[Device]:
    """Of each kind those that most rules apply to: elders', fire lanes and water edges first; and their gateways."""
    elders = {p.household_id for p in community.people if ELDER_LIVING_ALONE in p.tags}

    def worth(device: Device) -> tuple[bool, bool]:
        return device.household_id not in elders, not device.tags & {FIRE_LANE, WATER_ZONE}

    chosen: list[Device] = []
    for kind in BY_NAME:
        if kind == GATEWAY_KIND:
            continue
        mine = sorted((device for device in community.devices if device.kind == kind), key=worth)
        least = min(2, COUNTS.get(kind, DEFAULT_COUNT))
        chosen += mine[: max(least, round(COUNTS.get(kind, DEFAULT_COUNT) * scale))]
    gateways = {device.gateway_id for device in chosen if device.gateway_id}
    chosen += [device for device in community.devices if device.id in gateways]
    return chosen


def _row(community: Community, device: Device, numbers: Mapping[DeviceId, DeviceNo]) -> DeviceRow:
    grids = {building.id: building.grid_id for building in community.buildings}
    tags = [p.tags for p in community.people if p.household_id == device.household_id and device.household_id]
    return DeviceRow(
        device_no=numbers[device.id],
        id=device.id,
        community_id=community.id,
        partition=Partition(0),
        kind=device.kind,
        gateway_no=numbers.get(device.gateway_id) if device.gateway_id else None,
        building_id=device.building_id,
        unit_id=device.unit_id,
        household_id=device.household_id,
        grid_id=device.grid_id or grids.get(device.building_id or ""),
        person_tags=frozenset().union(*tags, DEMENTIA if device.kind == "wristband" else ()),
        tags=device.tags,
        interval_s=SLOWER_S.get(device.kind, device.interval_s or BY_NAME[device.kind].interval_s),
        place=device.place,
        x=device.x,
        y=device.y,
        floor=device.floor,
        name=device.name,
        codec=device.codec,
        retired=False,
        person_id=device.person_id,
    )
