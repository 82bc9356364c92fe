"""Turns a preset, a scale and a seed into a whole community; the same three give the same community to the letter."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from device_sim.presets.accounts import accounts
from device_sim.presets.devices import Site, place_devices
from device_sim.presets.layout import Layout, lay_out
from device_sim.presets.people import populate
from device_sim.presets.preset import Preset
from services.domain.registry import Building, Community, Device, Household, Person, Place

DEFAULT_SEED = 1
MIN_BUILDINGS = 6
MIN_HOUSEHOLDS = 36
MIN_ELDERS_ALONE = 4


@dataclass(frozen=True, slots=True)
class _Estate:
    buildings: tuple[Building, ...]
    units: tuple[Place, ...]
    households: tuple[Household, ...]


def generate(preset: Preset, scale: float = 1.0, seed: int = DEFAULT_SEED) -> Community:
    """The community at `scale` (0 < scale ≤ 1) of its households, people and devices; registered figures stay whole.

    Raises ValueError for another scale.
    """
    if not 0 < scale <= 1:
        raise ValueError(f"scale is {scale}; it must be above 0 and at most 1")
    rng = random.Random(f"{preset.id}|{scale}|{seed}")
    homes = max(MIN_HOUSEHOLDS, round(preset.households * scale))
    # Fewer and lower blocks rather than a handful of full towers: a small estate still looks like one.
    blocks = min(preset.buildings, max(MIN_BUILDINGS, round(preset.buildings * scale**0.6)))
    entrances = max(blocks, round(preset.units * blocks / preset.buildings))
    layout = lay_out(blocks, rng)
    grids = tuple(
        Place(f"{preset.id}-grid{n}", f"第{'一二三四五六七八九'[n - 1]}网格")
        for n in range(1, min(preset.grids, blocks) + 1)
    )
    compounds = tuple(Place(f"{preset.id}-c{n}", name) for n, name in enumerate(preset.compounds, start=1))
    estate = _estate(preset, layout, homes, entrances, grids, compounds)
    alone = min(homes // 4, max(MIN_ELDERS_ALONE, round(preset.elders_alone * scale)))
    people = populate(
        estate.households,
        max(homes, round(preset.residents * homes / preset.households)),
        preset.elders_share,
        alone,
        rng,
    )
    devices = place_devices(Site(preset, scale, layout, estate.buildings, estate.units, estate.households, people), rng)
    return Community(
        id=preset.id,
        name=preset.name,
        city=preset.city,
        district=preset.district,
        street=preset.street,
        latitude=preset.latitude,
        longitude=preset.longitude,
        plan=layout.plan(),
        compounds=compounds,
        grids=grids,
        buildings=estate.buildings,
        units=estate.units,
        households=estate.households,
        people=_consenting(people, devices),
        devices=devices,
        accounts=accounts(preset, grids, people),
        registered_households=preset.households,
        registered_residents=preset.residents,
    )


def _consenting(people: tuple[Person, ...], devices: tuple[Device, ...]) -> tuple[Person, ...]:
    """Whoever wears a wristband has signed for it: vitals, position, and that the family sees them."""
    worn = {device.person_id for device in devices if device.kind == "wristband"}
    consents = frozenset({"vitals", "location", "family"})
    return tuple(replace(one, consents=consents) if one.id in worn else one for one in people)


def _estate(
    preset: Preset,
    layout: Layout,
    homes: int,
    entrances: int,
    grids: tuple[Place, ...],
    compounds: tuple[Place, ...],
) -> _Estate:
    """Spreads entrances over buildings and flats over entrances; two flats a landing, four in a tower."""
    blocks = len(layout.buildings)
    buildings, units, households = [], [], []
    done_entrances = done_homes = 0
    for index, rect in enumerate(layout.buildings):
        number = index + 1
        until = round(entrances * number / blocks)
        mine = until - done_entrances
        flats = [round(homes * (done_entrances + k + 1) / entrances) for k in range(mine)]
        landing = 2 if rect.width > rect.depth * 2 else 4
        tallest = 1
        building_id = f"{preset.id}-b{number}"
        for k, homes_until in enumerate(flats):
            unit = Place(f"{building_id}u{k + 1}", f"{k + 1}单元", building_id)
            units.append(unit)
            for nth in range(homes_until - done_homes):
                floor = 1 + nth // landing
                tallest = max(tallest, floor)
                room = f"{floor}{nth % landing + 1:02d}"
                households.append(Household(f"{preset.id}-h{done_homes + nth + 1}", unit.id, floor, room))
            done_homes = homes_until
        done_entrances = until
        buildings.append(
            Building(
                building_id,
                compounds[index * len(compounds) // blocks].id,
                grids[index * len(grids) // blocks].id,
                f"{number}号楼",
                tallest,
                rect.x,
                rect.y,
                rect.width,
                rect.depth,
            )
        )
    return _Estate(tuple(buildings), tuple(units), tuple(households))
