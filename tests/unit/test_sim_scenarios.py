"""Every story is in the tuple, and expects what the catalogue's rules say."""

from __future__ import annotations

from pathlib import Path

import pytest

import device_sim.scenarios as package
from device_sim.scenarios import STORIES
from device_sim.theatre.story import Story
from services.adapters.rules import load_defaults
from services.domain.devices import BY_NAME
from services.domain.rules.rule import Rule

RULES: dict[str, Rule] = {rule.id: rule for rules in load_defaults().values() for rule in rules}


def test_scenario_files_are_all_in_the_tuple() -> None:
    files = {path.stem for path in Path(package.__file__).parent.glob("*.py")} - {"__init__"}
    assert files == {story.name for story in STORIES}


def test_scenarios_are_those_of_the_product() -> None:
    assert {story.name for story in STORIES} == {
        "gas_leak",
        "smoke_fire",
        "elder_fall",
        "sos",
        "vitals_high",
        "band_removed",
        "bin_overflow",
        "high_throw",
        "manhole_open",
        "ebike_in_lift",
        "fire_lane_blocked",
        "water_burst",
        "water_edge",
        "power_cut_storm",
        "gas_leak_first_of_three",
        "nobody_accepts",
        "bounced_order",
        "resident_report",
        "storm",
    }


@pytest.mark.parametrize("story", STORIES, ids=lambda s: s.name)
def test_scenario_expects_rules_that_exist_and_open_orders(story: Story) -> None:
    expected = story.expected
    rules = [RULES[rule] for rule in expected.rules]
    if story.need.count == 0:
        # People report it, no device does.
        assert not rules
        return
    assert rules
    assert all(rule.opens_order for rule in rules)
    assert expected.team in {rule.team for rule in rules}
    assert expected.severity in {rule.severity for rule in rules}
    assert expected.life_safety in {rule.life_safety for rule in rules}
    assert story.need.kind in BY_NAME
    assert expected.also <= set(RULES)


@pytest.mark.parametrize("story", [s for s in STORIES if not s.silent_s and s.expected.rules], ids=lambda s: s.name)
def test_scenario_rules_are_of_one_family(story: Story) -> None:
    """Otherwise they would be several alerts, and the story would be wrong to expect one."""
    assert len({RULES[rule].family or rule for rule in story.expected.rules}) == 1


def test_scenario_of_silent_devices_says_its_oldest_reading_first() -> None:
    """Only so is it seen whether they spoke while their wires were taken over."""
    assert {s.name for s in STORIES if s.first is not None} == {s.name for s in STORIES if s.need.quiet_s}
