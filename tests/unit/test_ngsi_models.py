"""Entities of every type, of every kind of device, under every grant: valid by the Smart Data Models, and no leak."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker

from services.domain.city import DataClass
from services.domain.city.ngsi import (
    TYPES,
    AlertThing,
    DeviceThing,
    Entity,
    Form,
    ParkingThing,
    Site,
    Thing,
    entity_of,
)
from services.domain.city.ngsi.context import context, short
from services.domain.city.ngsi.kinds import DEVICES, NOT_DEVICES
from services.domain.city.ngsi.mapping import parking_of
from services.domain.devices import BY_NAME, CATALOGUE
from services.domain.registry import FIRE_LANE
from services.domain.vocabulary import Label, Severity

GOLDEN = Path(__file__).parents[1] / "golden" / "ngsi"
SITE = Site("test", "测试社区", 29.7, 116.0)
AT = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
GRANTS = [frozenset(some) for size in range(5) for some in combinations(DataClass, size)]
SECRET_PLACE, SECRET_WORDS = "3 号楼 2 单元 501", "王秀英家中燃气泄漏"


def device(
    kind: str, at_home: bool = False, online: bool = True, heard: bool = True, high: bool = False
) -> DeviceThing:
    values = {one.name: (one.high if high else one.low) for one in BY_NAME[kind].metrics if not one.health}
    return DeviceThing(
        id=f"test-{kind}-1", kind=kind, name=f"{kind} {SECRET_PLACE if at_home else '1'}",
        place=SECRET_PLACE if at_home else "东门外", x=12.5, y=30, at_home=at_home, tags=frozenset(), online=online,
        last_seen_at=AT if heard else None, ts=AT if heard else None, values=values if heard else {},
    )  # fmt: skip


def alert(kind: str, severity: Severity = Severity.CRITICAL, over: bool = False) -> AlertThing:
    return AlertThing(
        id="6f1c8a52-0d0f-4b0e-9d5c-0f6f0a1f2a3b", kind=kind, severity=severity, state="cleared" if over else "firing",
        team="maintenance", life_safety=True, title=Label("燃气泄漏", "Gas leak"), why=Label(SECRET_WORDS, "12 %LEL"),
        place=SECRET_PLACE, device_id=f"test-{kind}-1", onset_at=AT, fired_at=AT, last_at=AT,
        cleared_at=AT if over else None, occurrences=2,
    )  # fmt: skip


def things() -> Iterator[Thing]:
    for kind in BY_NAME:
        for at_home in (False, True):
            for high in (False, True):
                yield device(kind, at_home, high=high)
            yield device(kind, at_home, online=False)
            yield device(kind, at_home, online=False, heard=False)
        for severity in Severity:
            yield alert(kind, severity)
            yield alert(kind, severity, over=True)
    yield ParkingThing(12, 10, 4, AT)
    yield ParkingThing(12, 0, 0, None)
    yield ParkingThing(9, 9, 4, AT)


def every() -> Iterator[tuple[frozenset[DataClass], Thing, Entity]]:
    for granted in GRANTS:
        for thing in things():
            for kind in TYPES.values():
                entity = entity_of(kind, SITE, thing, granted)
                if entity is not None:
                    yield granted, thing, entity


def test_models_every_entity_is_valid() -> None:
    checks = FormatChecker()
    valid = {
        name: Draft202012Validator(json.loads((GOLDEN / f"{name}.json").read_text()), format_checker=checks)
        for name in TYPES
    }
    counted: Counter[str] = Counter()
    used: dict[str, set[str]] = {name: set() for name in TYPES}
    for _, _, entity in every():
        valid[entity.type].validate(entity.document(Form.SIMPLIFIED))
        counted[entity.type] += 1
        used[entity.type] |= set(entity.attributes)
        json.dumps(entity.document(), allow_nan=False)
    sys.stdout.write(f"ngsi: {counted.total()} entities valid: {dict(counted)}\n")
    assert {name: set(kind.attributes) for name, kind in TYPES.items()} == used
    assert min(counted.values()) >= 16


@pytest.mark.parametrize("name", list(TYPES))
def test_models_schemas_can_refuse(name: str) -> None:
    validator = Draft202012Validator(json.loads((GOLDEN / f"{name}.json").read_text()), format_checker=FormatChecker())
    entity = next(one for _, _, one in every() if one.type == name).document(Form.SIMPLIFIED)
    for broken in (
        entity | {"location": [116, 29.7]},
        entity | {"surprise": 1},
        {key: value for key, value in entity.items() if key != "id"},
        entity | {"type": "Cat"},
    ):
        assert not validator.is_valid(broken)


def test_models_show_nothing_that_was_not_granted() -> None:
    for granted, thing, entity in every():
        text = json.dumps(entity.document(), ensure_ascii=False)
        if DataClass.LOCATION not in granted:
            assert SECRET_PLACE not in text
        if DataClass.TEXT not in granted:
            assert SECRET_WORDS not in text and "Gas leak" not in text
        if DataClass.DEVICE not in granted:
            assert "urn:ngsi-ld:Device:" not in text and entity.type not in ("Device", "ParkingSpot")
        if isinstance(thing, DeviceThing) and thing.at_home:
            assert entity.type == "Device"
            assert not {"value", "dateLastValueReported"} & set(entity.attributes), "what a home uses is its own"
            assert "observedAt" not in text, "when it spoke can say when somebody was there"
        assert not isinstance(thing, DeviceThing) or thing.kind not in NOT_DEVICES
        assert '"health"' not in text


def test_models_every_kind_of_device_is_described_or_left_out_with_a_reason() -> None:
    assert set(DEVICES) | set(NOT_DEVICES) == {kind.name for kind in CATALOGUE}
    assert not set(DEVICES) & set(NOT_DEVICES)
    for kind in CATALOGUE:
        if any(metric.health for metric in kind.metrics):
            assert kind.name in NOT_DEVICES
    for name, known in DEVICES.items():
        battery = next((one for one in BY_NAME[name].metrics if one.name == "battery"), None)
        assert known.battery_in_percent == (battery is not None and battery.unit == "%")


def test_models_of_few_spaces_nothing_is_told_and_lanes_are_none() -> None:
    spaces = [replace(device("parking_sensor", high=n < 4), id=f"p{n}") for n in range(12)]
    lane = replace(device("parking_sensor"), tags=frozenset({FIRE_LANE}))
    silent = device("parking_sensor", online=False)
    counted = parking_of([*spaces, lane, silent])
    assert (counted.spaces, counted.known, counted.free) == (13, 12, 8)
    kind = TYPES["OffStreetParking"]
    whole = entity_of(kind, SITE, counted, ())
    assert whole is not None
    told = whole.document(Form.SIMPLIFIED)
    assert (told["totalSpotNumber"], told["availableSpotNumber"], told["occupiedSpotNumber"]) == (13, 8, 4)
    assert entity_of(kind, SITE, parking_of(spaces[:9]), ()) is None
    assert entity_of(TYPES["ParkingSpot"], SITE, lane, {DataClass.DEVICE}) is None


def test_models_say_how_a_bin_is() -> None:
    def status(**values: float) -> Any:
        thing = replace(device("bin"), values={"fill": 80.0, "temperature": 20.0, "tilt": 1.0, **values})
        entity = entity_of(TYPES["WasteContainer"], SITE, thing, ())
        assert entity is not None
        return entity.document(Form.SIMPLIFIED)

    assert status()["status"] == "ok" and status()["fillingLevel"] == 0.8
    assert status(tilt=50)["status"] == "dropped"
    assert status(tilt=50, temperature=61)["status"] == "burning"


def test_models_context_has_a_term_for_everything() -> None:
    terms = context()["@context"]
    for kind in TYPES.values():
        own = terms[kind.name]
        assert (own["@id"] if isinstance(own, dict) else own) == kind.uri
        within = own["@context"] if isinstance(own, dict) else {}
        for name in kind.attributes:
            uri = within.get(name) or terms[name]
            assert isinstance(uri, str) and uri.startswith("http")
            assert short(uri) == name
        assert short(kind.uri) == kind.name
    assert short("https://elsewhere.example/fillingLevel") != "fillingLevel"
