"""The device catalogue is complete, consistent, and its stored order never changes."""

from __future__ import annotations

import json
import re
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

import pytest

from services.adapters.rules import load_defaults
from services.domain import devices
from services.domain.devices import BY_NAME, CATALOGUE
from services.domain.devices.describe import markdown
from services.domain.devices.kind import DeviceKind, MetricType
from services.domain.rules.parameters import ClockParameters, EventParameters, FloodParameters, OfflineParameters
from services.domain.rules.rule import Rule
from services.domain.vocabulary import Label, Severity, Team

GOLDEN = Path(__file__).parent.parent / "golden" / "catalogue_metrics.json"
SHARED_FILES = {"__init__", "kind", "day", "describe"}
RULES = load_defaults()
NO_ALERT = {"opened", "closed", "entered", "left", "passed", "finished", "played"}
"""Events of a good day: they are kept, and nobody is sent."""
EVERY_RULE = [pytest.param(kind, rule, id=rule.id) for kind in CATALOGUE for rule in RULES[kind.name]]
each_kind = pytest.mark.parametrize("kind", CATALOGUE, ids=lambda kind: kind.name)


def labels(thing: Any) -> list[Label]:
    """Every label anywhere inside."""
    if isinstance(thing, Label):
        return [thing]
    if is_dataclass(thing):
        return [label for field in fields(thing) for label in labels(getattr(thing, field.name))]
    return [label for item in thing for label in labels(item)] if isinstance(thing, tuple) else []


def test_catalogue_lists_every_file() -> None:
    files = {path.stem for path in Path(devices.__file__).parent.glob("*.py")} - SHARED_FILES
    assert files == {kind.name for kind in CATALOGUE}
    assert len(BY_NAME) == len(CATALOGUE)


def test_catalogue_keeps_the_stored_order_of_metrics() -> None:
    golden = json.loads(GOLDEN.read_text())
    for kind in CATALOGUE:
        now = [[metric.name, metric.unit] for metric in kind.metrics]
        stored = golden.get(kind.name, [])
        assert now[: len(stored)] == stored, f"{kind.name}: stored readings would change their meaning"
        assert now == stored, f"{kind.name}: append the new metrics to {GOLDEN.name}"
    assert set(golden) == set(BY_NAME)


@each_kind
def test_catalogue_speaks_both_languages(kind: DeviceKind) -> None:
    for label in labels(kind):
        assert label.zh.strip(), label
        assert re.search(r"[A-Za-z]", label.en), label
        assert re.search(r"[\u4e00-\u9fff]", label.zh) or label.zh in {"PM2.5", "PM10"}, f"{label} is not Chinese"
        assert not re.search(r"[\u4e00-\u9fff]", label.en), label
        assert not re.search(r"[\u4e00-\u9fff],", label.zh), f"{label}: half-width comma"


@each_kind
def test_catalogue_metrics_have_sensible_ranges(kind: DeviceKind) -> None:
    names = [metric.name for metric in kind.metrics]
    assert len(names) == len(set(names))
    for position, metric in enumerate(kind.metrics):
        assert metric.low < metric.high
        assert kind.position(metric.name) == position
        if metric.type is MetricType.SWITCH:
            assert (metric.low, metric.high) == (0, 1)
        assert bool(metric.options) == (metric.type is MetricType.STATE)
        if metric.options:
            assert (metric.low, metric.high) == (0, len(metric.options) - 1)
        if metric.on_change:
            assert metric.type is MetricType.SWITCH
            assert set(metric.on_change) <= {event.name for event in kind.events}
    assert kind.position("no such metric") is None
    assert re.fullmatch(r"S([1-9]|1\d|2[0-8])", kind.system)
    assert kind.interval_s > 0


@pytest.mark.parametrize(("kind", "rule"), EVERY_RULE)
def test_catalogue_rule_refers_to_what_its_kind_has(kind: DeviceKind, rule: Rule) -> None:
    assert rule.id.split(".")[0] == kind.name
    parameters = rule.parameters
    metric = getattr(parameters, "metric", None)
    assert metric is None or kind.position(metric) is not None
    guard = getattr(parameters, "guard_metric", None)
    assert guard is None or kind.position(guard) is not None
    events = {event.name for event in kind.events}
    assert getattr(parameters, "event", None) in events | {None}
    assert getattr(parameters, "clear_event", None) in events | {None}
    assert rule.family is None or rule.family.startswith(kind.name + ".")
    assert rule.life_safety is False or rule.severity is Severity.CRITICAL


def test_catalogue_rule_ids_are_unique() -> None:
    ids = [rule.id for kind in CATALOGUE for rule in RULES[kind.name]]
    assert len(ids) == len(set(ids))


@each_kind
def test_catalogue_family_goes_to_one_team(kind: DeviceKind) -> None:
    families: dict[str, set[tuple[Team, bool]]] = {}
    for rule in RULES[kind.name]:
        if rule.family:
            families.setdefault(rule.family, set()).add((rule.team, rule.opens_order))
    assert all(len(ways) == 1 for ways in families.values()), families


@each_kind
def test_catalogue_watches_every_kind_for_silence_clock_and_battery(kind: DeviceKind) -> None:
    by_id = {rule.id.split(".")[1]: rule for rule in RULES[kind.name]}
    silence_is_dangerous = kind.name in {"smoke_detector", "gas_alarm", "sos_button", "wristband", "gateway"}
    usual = Severity.MAJOR if silence_is_dangerous else Severity.MINOR
    assert by_id["offline"].parameters == OfflineParameters(missed=3)
    assert by_id["clock"].parameters == ClockParameters(limit_s=300)
    assert by_id["clock"].opens_order is silence_is_dangerous
    assert {by_id["offline"].severity, by_id["clock"].severity} == {usual}
    assert by_id["flood"].parameters == FloodParameters(clear_after_s=300)
    assert (by_id["flood"].severity, by_id["flood"].opens_order) == (Severity.MINOR, True)
    assert {by_id["offline"].team, by_id["clock"].team, by_id["flood"].team} == {Team.MAINTENANCE}
    assert ("low_battery" in by_id) is (kind.position("battery") is not None)


@each_kind
def test_catalogue_sends_somebody_for_every_bad_event(kind: DeviceKind) -> None:
    watched = {rule.parameters.event for rule in RULES[kind.name] if isinstance(rule.parameters, EventParameters)}
    assert {event.name for event in kind.events} - watched <= NO_ALERT


def test_catalogue_marks_what_needs_a_second_approver() -> None:
    dangerous = {f"{kind.name}.{command.name}" for kind in CATALOGUE for command in kind.commands if command.dangerous}
    assert dangerous == {
        "water_meter.valve_open",
        "water_meter.valve_close",
        "gas_meter.valve_close",
        "gas_alarm.valve_close",
        "electricity_meter.relay_open",
        "electricity_meter.relay_close",
        "loudspeaker.speak",
        "siren.siren_on",
        "siren.siren_off",
    }


def test_catalogue_marks_health_data() -> None:
    private = {f"{kind.name}.{metric.name}" for kind in CATALOGUE for metric in kind.metrics if metric.health}
    vitals = ("heart_rate", "systolic", "diastolic", "spo2", "steps", "latitude", "longitude")
    assert private == {f"wristband.{name}" for name in vitals}


def test_catalogue_marks_what_is_about_life() -> None:
    assert {rule.id for kind in CATALOGUE for rule in RULES[kind.name] if rule.life_safety} == {
        "gas_meter.overflow",
        "gas_meter.leak",
        "gas_alarm.alarm",
        "gas_alarm.lel_high",
        "smoke_detector.alarm",
        "smoke_detector.fire",
        "wristband.sos",
        "wristband.fall",
        "sos_button.pressed",
        "perimeter_camera.water_edge",
        "bin.hot",
        "bin.fire",
        "manhole.open",
        "charger.hot",
        "charger.overheat",
        "tunnel_sensor.ch4_high",
        "tunnel_sensor.o2_low",
        "tunnel_sensor.h2s_high",
    }


@pytest.mark.parametrize(
    ("language", "words"), [("zh", "燃气泄漏报警 (紧急 → 防控巡查队)"), ("en", "Gas alarm (Critical → Safety patrol)")]
)
def test_catalogue_describes_itself(language: Literal["zh", "en"], words: str) -> None:
    head, rule, *rows = markdown(RULES, language).splitlines()
    assert len(rows) == len(CATALOGUE)
    assert {line.count(" | ") for line in (head, rule, *rows)} == {6}
    row = next(line for line in rows if "`gas_alarm`" in line)
    assert words in row
    assert "`lel` (%LEL)" in row and "`valve_close`!" in row and "5 min" in row
