"""Reference communities keep their published figures, look like estates, and come out the same for the same seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

import device_sim.presets as package
from device_sim.presets import BY_NAME, PRESETS
from device_sim.presets.generate import generate
from device_sim.presets.layout import Rect
from device_sim.presets.preset import Preset
from device_sim.scenarios import STORIES
from services.domain.devices import BY_NAME as KINDS
from services.domain.drawing import ORDER, check_drawing
from services.domain.registry import ELDER_LIVING_ALONE, FIRE_LANE, WATER_ZONE, Community
from services.domain.vocabulary import Role, Team

MACHINERY = {"rosters", "preset", "layout", "people", "devices", "accounts", "generate"}


def _kinds(community: Community) -> Counter[str]:
    return Counter(device.kind for device in community.devices)


@pytest.mark.parametrize("preset", PRESETS, ids=lambda p: p.id)
def test_preset_same_seed_same_community_another_seed_another(preset: Preset) -> None:
    assert generate(preset, 0.05, 7) == generate(preset, 0.05, 7)
    assert generate(preset, 0.05, 7) != generate(preset, 0.05, 8)


@pytest.mark.parametrize("preset", PRESETS, ids=lambda p: p.id)
def test_preset_whole_has_the_published_figures(preset: Preset) -> None:
    community = generate(preset, 1.0)
    assert len(community.households) == community.registered_households == preset.households
    assert len(community.people) == community.registered_residents == preset.residents
    assert len(community.buildings) == preset.buildings
    assert len(community.units) == preset.units
    assert len(community.grids) == preset.grids
    alone = [person for person in community.people if ELDER_LIVING_ALONE in person.tags]
    assert len(alone) == preset.elders_alone
    elders = sum("elder" in person.tags for person in community.people)
    assert elders == round(preset.residents * preset.elders_share)
    kinds = _kinds(community)
    for kind, count in preset.devices.items():
        assert kinds[kind] == count, kind
    lanes = sum(FIRE_LANE in device.tags for device in community.devices)
    assert kinds["parking_sensor"] - lanes == preset.spaces


def test_preset_figures_are_those_of_the_case_collections() -> None:
    published = {
        "gongyuan": (2510, 5612),
        "mudan": (3094, 10187),
        "bagudun": (3147, 7918),
        "linfen": (1864, 4771),
        "shinan": (3100, 7052),
        "hainaer": (1360, 2607),
        "minzhu": (3962, 8744),
    }
    assert {name: (BY_NAME[name].households, BY_NAME[name].residents) for name in published} == published
    cameras = [BY_NAME["gongyuan"].devices[f"{kind}_camera"] for kind in ("highthrow", "perimeter", "ebike")]
    assert sum(cameras) == 202
    assert BY_NAME["gongyuan"].spaces == 181
    assert BY_NAME["gongyuan"].grids == 5
    assert BY_NAME["mudan"].devices["wristband"] == 43
    assert round(BY_NAME["mudan"].elders_share * 10187) == 4365
    assert (BY_NAME["shinan"].buildings, BY_NAME["shinan"].units, BY_NAME["shinan"].grids) == (88, 257, 6)
    assert BY_NAME["linfen"].buildings == 67
    assert (BY_NAME["hainaer"].buildings, BY_NAME["hainaer"].spaces) == (44, 910)
    assert (BY_NAME["fengshu"].devices["gas_alarm"], BY_NAME["fengshu"].devices["sos_button"]) == (42, 89)


def test_preset_files_are_all_in_the_tuple() -> None:
    files = {path.stem for path in Path(package.__file__).parent.glob("*.py")} - MACHINERY - {"__init__"}
    assert files == {preset.id for preset in PRESETS}


@pytest.mark.parametrize("scale", [0.0, -1.0, 1.5])
def test_preset_refuses_a_scale_outside_its_range(scale: float) -> None:
    with pytest.raises(ValueError, match="scale"):
        generate(PRESETS[0], scale)


def _boxes(community: Community, kinds: set[str]) -> Iterator[Rect]:
    for shape in community.plan["shapes"]:
        if shape["kind"] in kinds:
            yield _box(shape["points"])


def _box(points: list[list[Any]]) -> Rect:
    xs, ys = [p[0] for p in points], [p[1] for p in points]
    return Rect(min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys))


@pytest.mark.parametrize("scale", [0.05, 0.2, 1.0])
@pytest.mark.parametrize("preset", PRESETS, ids=lambda p: p.id)
def test_plan_has_nothing_on_top_of_a_building(preset: Preset, scale: float) -> None:
    community = generate(preset, scale)
    plan = Rect(0, 0, community.plan["width"], community.plan["height"])
    houses = [Rect(b.x, b.y, b.width, b.depth) for b in community.buildings]
    ground = list(
        _boxes(community, {"road", "green", "water", "parking", "gate", "court", "centre", "bin", "play", "path"})
    )
    assert {shape["kind"] for shape in community.plan["shapes"]} == set(ORDER) - {"other"}
    assert check_drawing(community.plan) == []
    assert not [pair for pair in combinations(houses, 2) if pair[0].overlaps(pair[1])]
    assert not [(house, rect) for house in houses for rect in ground if house.overlaps(rect)]
    for rect in (*houses, *ground):
        assert rect.x >= 0 and rect.y >= 0
        assert rect.x + rect.width <= plan.width + 0.1 and rect.y + rect.depth <= plan.depth + 0.1


@pytest.mark.parametrize("preset", PRESETS, ids=lambda p: p.id)
def test_plan_keeps_roads_clear_of_parking_green_and_court(preset: Preset) -> None:
    community = generate(preset, 0.2)
    soft = list(_boxes(community, {"green", "parking", "court", "water"}))
    assert not [(a, b) for a in _boxes(community, {"road"}) for b in soft if a.overlaps(b)]


@pytest.mark.parametrize("preset", PRESETS, ids=lambda p: p.id)
def test_devices_are_where_they_belong(preset: Preset) -> None:
    community = generate(preset, 0.1)
    blocks = {block.id: block for block in community.buildings}
    gateways = {device.id: device for device in community.devices if device.kind == "gateway"}
    ids = [device.id for device in community.devices]
    assert len(set(ids)) == len(ids)
    for device in community.devices:
        assert device.kind in KINDS
        assert device.place
        assert 0 <= device.x <= community.plan["width"] and 0 <= device.y <= community.plan["height"], device
        assert device.grid_id in {grid.id for grid in community.grids}
        if device.building_id:
            block = blocks[device.building_id]
            assert block.x - 8 <= device.x <= block.x + block.width + 8, device
            assert block.y - 8 <= device.y <= block.y + block.depth + 8, device
        if device.gateway_id:
            assert gateways[device.gateway_id].unit_id == device.unit_id
    meters = Counter(device.household_id for device in community.devices if device.kind.endswith("_meter"))
    assert all(meters[home.id] == 3 for home in community.households)


@pytest.mark.parametrize("preset", PRESETS, ids=lambda p: p.id)
def test_smallest_share_can_live_every_story_more_than_once(preset: Preset) -> None:
    community = generate(preset, 0.05)
    assert set(_kinds(community)) == set(KINDS)
    assert any(WATER_ZONE in device.tags for device in community.devices)
    for story in STORIES:
        need = story.need
        fitting = [d for d in community.devices if d.kind == need.kind and (need.tag is None or need.tag in d.tags)]
        if need.one_building:
            homes = Counter(device.building_id for device in fitting)
            assert sum(count >= need.count for count in homes.values()) >= 2, story.name
        else:
            assert len(fitting) >= 3 * need.count, story.name
        behind = Counter(device.gateway_id for device in community.devices)
        assert sum(behind[device.id] for device in fitting) >= min(need.behind, 200), story.name
        for kind, count in need.extras:
            assert sum(device.kind == kind for device in community.devices) >= 2 * count, story.name


def test_elder_devices_hang_where_elders_live_alone() -> None:
    community = generate(BY_NAME["mudan"], 0.2)
    alone = {p.household_id for p in community.people if ELDER_LIVING_ALONE in p.tags}
    for kind in ("wristband", "door_magnet", "sos_button"):
        homes = {device.household_id for device in community.devices if device.kind == kind}
        assert homes == alone, kind
    sizes = Counter(person.household_id for person in community.people)
    assert all(sizes[home] == 1 for home in alone)


@pytest.mark.parametrize("preset", PRESETS, ids=lambda p: p.id)
def test_accounts_cover_every_role_and_team(preset: Preset) -> None:
    community = generate(preset, 0.05)
    assert {a.role for a in community.accounts} == set(Role) - {Role.DISPLAY}, (
        "a screen's account is made when it is paired"
    )
    assert {a.team for a in community.accounts if a.team} == set(Team)
    grids = {a.grid_id for a in community.accounts if a.role is Role.GRID}
    assert grids == {grid.id for grid in community.grids}
    assert len({a.username for a in community.accounts}) == len(community.accounts)
