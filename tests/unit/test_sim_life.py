"""One device's life: deterministic, spread over its interval, obedient, and it remembers."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from device_sim import memory
from device_sim.life import Life, Surroundings, live
from device_sim.presets import BY_NAME
from device_sim.presets.generate import generate
from services.domain.devices.kind import MetricType
from services.domain.registry import Community, Device

MORNING = 1_795_309_200_000
"""2026-11-22 09:00 in China."""
HOUR = 3_600_000


@pytest.fixture(scope="module")
def community() -> Community:
    return generate(BY_NAME["gongyuan"], 0.05)


def of(community: Community, kind: str) -> Device:
    return next(device for device in community.devices if device.kind == kind)


def test_life_same_seed_same_readings(community: Community) -> None:
    def day(seed: int) -> list[object]:
        surroundings = Surroundings(community, seed=seed)
        lives = [live(device, seed) for device in community.devices[:60]]
        return [life.look(surroundings, MORNING + n * HOUR).values for n in range(6) for life in lives]

    assert day(1) == day(1)
    assert day(1) != day(2)


def test_life_every_kind_sends_what_its_catalogue_entry_allows(community: Community) -> None:
    surroundings = Surroundings(community)
    seen = set()
    for device in community.devices:
        if device.kind in seen:
            continue
        seen.add(device.kind)
        life = live(device, 1)
        for step in range(48):
            report = life.look(surroundings, MORNING + step * HOUR // 2)
            for name, value in report.values.items():
                position = life.kind.position(name)
                assert position is not None, f"{device.kind} sends {name}"
                metric = life.kind.metrics[position]
                if metric.type is MetricType.SWITCH:
                    assert isinstance(value, bool)
                elif metric.type is MetricType.STATE:
                    assert value in metric.options
                else:
                    assert metric.low <= value <= metric.high, f"{device.kind} {name} {value}"
            assert {name for name, _ in report.events} <= {event.name for event in life.kind.events}


def test_life_neighbours_never_report_in_chorus(community: Community) -> None:
    meters = [live(d, 1) for d in community.devices if d.kind == "electricity_meter" and d.interval_s is None]
    for life in meters:
        life.schedule(MORNING)
        assert MORNING < life.due_ms <= MORNING + 60_000
    tenths = Counter((life.due_ms - MORNING) // 6000 for life in meters)
    assert len(tenths) >= 9
    assert max(tenths.values()) < len(meters) / 3


def test_life_schedule_keeps_the_interval(community: Community) -> None:
    life = live(of(community, "water_meter"), 1)
    life.schedule(MORNING)
    first = life.due_ms
    life.schedule(first)
    assert life.due_ms - first == 900_000


def test_life_speed_divides_the_interval(community: Community) -> None:
    assert live(of(community, "water_meter"), 1, speed=10).interval_s == 90


def test_life_switch_that_moves_is_also_an_event(community: Community) -> None:
    surroundings = Surroundings(community)
    life = live(of(community, "parking_sensor"), 1)
    life.forced["occupied"] = 0.0
    assert life.look(surroundings, MORNING).events == ()
    life.forced["occupied"] = 1.0
    report = life.look(surroundings, MORNING + 60_000)
    assert [name for name, _ in report.events] == ["entered"]
    assert report.values["occupied"] is True
    life.forced["occupied"] = 0.0
    assert [name for name, _ in life.look(surroundings, MORNING + 120_000).events] == ["left"]


def test_life_closed_valve_stops_the_water_until_it_is_opened(community: Community) -> None:
    surroundings = Surroundings(community)
    life = live(of(community, "water_meter"), 1)
    life.look(surroundings, MORNING)
    assert life.obey({"command": "valve_close"}) == (True, "done")
    shut = life.look(surroundings, MORNING + HOUR).values
    assert shut["valve"] == "closed"
    later = life.look(surroundings, MORNING + 9 * HOUR).values
    assert later["flow"] == 0
    assert later["total_m3"] == shut["total_m3"]
    life.obey({"command": "valve_open"})
    assert life.look(surroundings, MORNING + 12 * HOUR).values["valve"] == "open"


def test_life_refuses_a_command_its_kind_does_not_have(community: Community) -> None:
    ok, detail = live(of(community, "bin"), 1).obey({"command": "relay_open"})
    assert not ok
    assert "relay_open" in detail


def test_life_lamp_dims_to_what_it_is_told(community: Community) -> None:
    life = live(of(community, "lamp_post"), 1)
    assert life.obey({"command": "dim", "params": {"brightness": 30}})[0]
    values = life.look(Surroundings(community), MORNING).values
    assert values["brightness"] == 30
    assert values["on"] is True


def test_memory_after_a_restart_counters_go_on(community: Community, tmp_path: Path) -> None:
    surroundings = Surroundings(community)
    device = of(community, "electricity_meter")
    before = live(device, 1)
    last = [before.look(surroundings, MORNING + n * 60_000).values["energy_kwh"] for n in range(30)][-1]
    before.obey({"command": "relay_open"})
    memory.save(tmp_path / "memory.json", [before])
    after: Life = live(device, 1)
    assert memory.load(tmp_path / "memory.json", [after]) == 1
    assert after.forced == before.forced
    after.obey({"command": "relay_close"})
    values = [after.look(surroundings, MORNING + (30 + n) * 60_000).values["energy_kwh"] for n in range(5)]
    assert values == sorted(values)
    assert last <= values[0] < last + 0.2


@pytest.mark.parametrize("content", ["", "{", "[]", '{"x": 1}'])
def test_memory_that_cannot_be_read_is_as_none(community: Community, tmp_path: Path, content: str) -> None:
    path = tmp_path / "memory.json"
    path.write_text(content)
    life = live(replace(community.devices[0]), 1)
    assert memory.load(path, [life]) == 0
    assert life.memory == {}
