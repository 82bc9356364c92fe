"""The numbers people were promised: the domain's table of device kinds, written out once more and compared."""

from __future__ import annotations

from typing import Any

import pytest

from services.adapters.rules import load_defaults
from services.domain.devices import CATALOGUE
from services.domain.rules.parameters import Compare
from services.domain.rules.rule import Scope
from services.domain.vocabulary import Severity, Team

MIN, H = 60, 3600
INFO, MINOR, MAJOR, CRITICAL = Severity.INFO, Severity.MINOR, Severity.MAJOR, Severity.CRITICAL
LEAST, MOST = Compare.AT_LEAST, Compare.AT_MOST

# kind: metrics, events, commands, interval
KINDS: dict[str, tuple[str, str, str, int]] = {
    "water_meter": ("total_m3 flow battery valve", "leak tamper backflow", "valve_open valve_close", 15 * MIN),
    "gas_meter": ("total_m3 flow battery valve", "leak tamper", "valve_close", 30 * MIN),
    "electricity_meter": (
        "energy_kwh power voltage current power_factor",
        "overload tamper",
        "relay_open relay_close",
        1 * MIN,
    ),
    "gas_alarm": ("lel battery", "alarm fault end_of_life", "mute valve_close test", 5 * MIN),
    "smoke_detector": ("smoke temperature battery", "alarm fault tamper low_battery", "mute test", 1 * H),
    "wristband": (
        "heart_rate systolic diastolic spo2 steps battery latitude longitude",
        "sos fall removed",
        "locate vibrate",
        5 * MIN,
    ),
    "door_magnet": ("open battery", "opened closed", "", 6 * H),
    "sos_button": ("battery", "pressed", "", 6 * H),
    "highthrow_camera": ("", "thrown", "snapshot", 1 * MIN),
    "perimeter_camera": ("", "crossed", "speak snapshot", 1 * MIN),
    "ebike_camera": ("", "ebike_in_lift", "hold_door speak", 1 * MIN),
    "bin": ("fill temperature tilt", "overflow fire", "", 15 * MIN),
    "parking_sensor": ("occupied battery", "entered left", "", 1 * H),
    "gate": ("open", "passed forced closed", "open close", 5 * MIN),
    "manhole": ("tilt water_level battery", "displaced flooded", "", 1 * H),
    "lamp_post": ("on power brightness", "fault", "on off dim", 10 * MIN),
    "environment": ("temperature humidity pm2_5 pm10 noise", "", "", 1 * MIN),
    "pv_inverter": ("power energy_kwh grid_export temperature", "fault", "", 1 * MIN),
    "charger": ("power energy_kwh temperature state", "overheat finished", "stop", 1 * MIN),
    "people_counter": ("in out inside", "", "", 5 * MIN),
    "tunnel_sensor": ("ch4 h2s o2 water_level temperature", "", "fan_on fan_off", 1 * MIN),
    "loudspeaker": ("", "played fault", "speak", 5 * MIN),
    "siren": ("", "played fault", "siren_on siren_off", 5 * MIN),
    "patrol_vehicle": ("latitude longitude speed", "obstacle exposed_garbage illegal_parking", "", 5),
    "gateway": ("", "", "", 1 * MIN),
}

# rule: severity, team, and the numbers that make it fire
RULES: list[tuple[str, Severity, Team, dict[str, Any]]] = [
    ("water_meter.continuous_use", MINOR, Team.MAINTENANCE, {"window_s": 24 * H, "every_s": 30 * MIN}),
    ("water_meter.burst", MAJOR, Team.MAINTENANCE, {"metric": "flow", "for_s": 60}),
    (
        "water_meter.elder_silence",
        MINOR,
        Team.GRID,
        {"metric": "total_m3", "window_s": 12 * H, "compare": MOST, "limit": 0.01},
    ),
    ("water_meter.elder_overuse", MINOR, Team.GRID, {"window_s": 24 * H, "compare": LEAST, "limit": 2}),
    ("gas_meter.overflow", CRITICAL, Team.PATROL, {"metric": "flow", "for_s": 60}),
    ("electricity_meter.undervoltage", MINOR, Team.MAINTENANCE, {"compare": MOST, "limit": 198, "for_s": 300}),
    ("electricity_meter.overvoltage", MINOR, Team.MAINTENANCE, {"compare": LEAST, "limit": 235.4, "for_s": 300}),
    ("electricity_meter.overcurrent", MAJOR, Team.MAINTENANCE, {"metric": "current", "for_s": 60}),
    ("gas_alarm.alarm", CRITICAL, Team.PATROL, {"event": "alarm"}),
    ("gas_alarm.lel_high", CRITICAL, Team.PATROL, {"compare": LEAST, "limit": 10, "for_s": 5}),
    ("smoke_detector.alarm", CRITICAL, Team.PATROL, {"event": "alarm"}),
    ("smoke_detector.fire", CRITICAL, Team.PATROL, {"event": "alarm", "count": 2, "window_s": 180}),
    ("wristband.sos", CRITICAL, Team.GRID, {"event": "sos"}),
    ("wristband.fall", CRITICAL, Team.GRID, {"event": "fall"}),
    ("wristband.heart_rate_very_low", MAJOR, Team.GRID, {"compare": MOST, "limit": 40, "n": 2, "m": 3}),
    ("wristband.heart_rate_very_high", MAJOR, Team.GRID, {"compare": LEAST, "limit": 131, "n": 2, "m": 3}),
    ("wristband.spo2_very_low", MAJOR, Team.GRID, {"compare": MOST, "limit": 91, "n": 2, "m": 3}),
    ("wristband.systolic_very_low", MAJOR, Team.GRID, {"compare": MOST, "limit": 90, "n": 2, "m": 3}),
    ("wristband.systolic_very_high", MAJOR, Team.GRID, {"compare": LEAST, "limit": 220, "n": 2, "m": 3}),
    (
        "wristband.heart_rate_high",
        MINOR,
        Team.GRID,
        {"compare": LEAST, "limit": 111, "and_compare": MOST, "and_limit": 130},
    ),
    ("wristband.spo2_low", MINOR, Team.GRID, {"compare": MOST, "limit": 93, "and_compare": LEAST, "and_limit": 92}),
    (
        "wristband.systolic_low",
        MINOR,
        Team.GRID,
        {"compare": MOST, "limit": 100, "and_compare": LEAST, "and_limit": 91},
    ),
    ("door_magnet.elder_indoors", MINOR, Team.GRID, {"event": "opened", "from_hour": 7, "to_hour": 19}),
    ("sos_button.pressed", CRITICAL, Team.GRID, {"event": "pressed"}),
    ("highthrow_camera.thrown", MAJOR, Team.PATROL, {"event": "thrown"}),
    ("perimeter_camera.water_edge", CRITICAL, Team.PATROL, {"event": "crossed"}),
    ("ebike_camera.ebike_in_lift", MAJOR, Team.PATROL, {"event": "ebike_in_lift"}),
    ("bin.full", MINOR, Team.CLEANING, {"metric": "fill", "compare": LEAST, "limit": 80, "for_s": 600}),
    ("bin.overflow", MINOR, Team.CLEANING, {"event": "overflow"}),
    ("bin.hot", CRITICAL, Team.PATROL, {"metric": "temperature", "compare": LEAST, "limit": 60}),
    ("parking_sensor.fire_lane", MAJOR, Team.PATROL, {"metric": "occupied", "limit": 1, "for_s": 300}),
    ("gate.forced", MINOR, Team.PATROL, {"event": "forced"}),
    ("gate.held", MINOR, Team.PATROL, {"metric": "open", "limit": 1, "for_s": 60}),
    ("manhole.tilted", MAJOR, Team.MAINTENANCE, {"metric": "tilt", "compare": LEAST, "limit": 10, "for_s": 3}),
    ("manhole.open", CRITICAL, Team.MAINTENANCE, {"metric": "tilt", "compare": LEAST, "limit": 90}),
    ("manhole.water_high", MAJOR, Team.MAINTENANCE, {"metric": "water_level", "compare": LEAST}),
    ("lamp_post.fault", MINOR, Team.MAINTENANCE, {"event": "fault"}),
    ("lamp_post.on_by_day", MINOR, Team.MAINTENANCE, {"limit": 1, "for_s": 600, "daylight": True}),
    ("lamp_post.off_by_night", MINOR, Team.MAINTENANCE, {"limit": 0, "for_s": 600, "daylight": False}),
    ("environment.pm2_5_high", INFO, Team.ENVIRONMENT, {"compare": LEAST, "limit": 150, "for_s": 3600}),
    ("pv_inverter.no_power", MINOR, Team.MAINTENANCE, {"compare": MOST, "limit": 0, "for_s": 1800, "daylight": True}),
    ("charger.hot", CRITICAL, Team.PATROL, {"metric": "temperature", "compare": LEAST, "limit": 70}),
    ("people_counter.over_capacity", MINOR, Team.GENERAL, {"metric": "inside", "compare": LEAST}),
    ("tunnel_sensor.ch4_high", CRITICAL, Team.MAINTENANCE, {"compare": LEAST, "limit": 20}),
    ("tunnel_sensor.o2_low", CRITICAL, Team.MAINTENANCE, {"compare": MOST, "limit": 19.5}),
    ("charger.heating", MAJOR, Team.PATROL, {"metric": "temperature", "limit": 20, "within_s": 300}),
    ("bin.heating", MAJOR, Team.PATROL, {"metric": "temperature", "limit": 20, "within_s": 1800}),
    ("tunnel_sensor.blind", MAJOR, Team.MAINTENANCE, {"metric": "ch4", "for_s": 600}),
    ("gateway.many_offline", MAJOR, Team.MAINTENANCE, {"rule": "*.offline", "count": 5, "within": "gateway"}),
    ("smoke_detector.many_offline", MAJOR, Team.MAINTENANCE, {"count": 3, "within": "building"}),
    ("manhole.waterlogged", CRITICAL, Team.MAINTENANCE, {"rule": "manhole.flooded", "count": 3, "within": "grid"}),
    ("loudspeaker.fault", MINOR, Team.MAINTENANCE, {"event": "fault"}),
    ("siren.fault", MINOR, Team.MAINTENANCE, {"event": "fault"}),
    ("patrol_vehicle.obstacle", MINOR, Team.PATROL, {"event": "obstacle"}),
    ("patrol_vehicle.exposed_garbage", MINOR, Team.CLEANING, {"event": "exposed_garbage"}),
    ("patrol_vehicle.illegal_parking", MINOR, Team.PATROL, {"event": "illegal_parking"}),
]

SCOPES = {
    "water_meter.elder_silence": Scope(person_tags=frozenset({"elder_living_alone"})),
    "water_meter.elder_silence_day": Scope(person_tags=frozenset({"elder_living_alone"})),
    "door_magnet.elder_left_open": Scope(person_tags=frozenset({"elder_living_alone"})),
    "water_meter.elder_overuse": Scope(person_tags=frozenset({"elder_living_alone"})),
    "door_magnet.elder_indoors": Scope(person_tags=frozenset({"elder_living_alone"})),
    "water_meter.elder_unusual": Scope(person_tags=frozenset({"elder_living_alone"})),
    "electricity_meter.elder_unusual": Scope(person_tags=frozenset({"elder_living_alone"})),
    "wristband.wandered": Scope(person_tags=frozenset({"dementia"})),
    "perimeter_camera.water_edge": Scope(device_tags=frozenset({"water_zone"})),
    "parking_sensor.fire_lane": Scope(device_tags=frozenset({"fire_lane"})),
}


def test_catalogue_has_the_kinds_of_the_table() -> None:
    found = {
        kind.name: (
            " ".join(metric.name for metric in kind.metrics),
            " ".join(event.name for event in kind.events),
            " ".join(command.name for command in kind.commands),
            kind.interval_s,
        )
        for kind in CATALOGUE
    }
    assert found == KINDS


@pytest.mark.parametrize(("rule_id", "severity", "team", "numbers"), RULES, ids=[row[0] for row in RULES])
def test_catalogue_rule_has_the_numbers_of_the_table(
    rule_id: str, severity: Severity, team: Team, numbers: dict[str, Any]
) -> None:
    rule = next(rule for rule in load_defaults()[rule_id.split(".")[0]] if rule.id == rule_id)
    assert (rule.severity, rule.team) == (severity, team)
    assert {name: getattr(rule.parameters, name) for name in numbers} == numbers
    assert rule.opens_order is (severity is not INFO)


def test_catalogue_rules_apply_where_the_table_says() -> None:
    scoped = {rule.id: rule.scope for rules in load_defaults().values() for rule in rules if rule.scope != Scope()}
    assert scoped == SCOPES
