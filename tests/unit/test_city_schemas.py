"""Every published type makes events that fit its schema under any grants; what was published once stays readable."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator, Draft202012Validator, FormatChecker

from services.domain.city import BY_NAME, CATALOGUE, TEST, CityEventType, DataClass, OutboxRow, make, test_event
from services.domain.city.asyncapi import asyncapi
from services.domain.city.schemas import envelope_schema, schema_of
from tests.city_kit import alert_data, order_data

PUBLISHED = Path(__file__).parents[1] / "golden" / "city_schemas.json"
"""The schemas as receivers know them. A type or field that is new is added by running this file as a module; one that
went or changed is a new version of its type."""
SPECIFICATION = Path(__file__).parents[1] / "golden" / "asyncapi-3.0.0.json"
AT = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
_PLAN = {"run_id": "r", "plan_id": "gas_leak", "version": 3, "alert_id": "a", "health": False}
SAMPLES: Mapping[str, dict[str, Any]] = {
    "alert": alert_data(id="a"),
    "order": order_data(order_id="o"),
    "report": {"report_id": "p", "order_id": "o", "category": "noise", "joined": False, "rating": 2, "rework": True},
    "case": {"order_id": "o", "evidence_id": "e"},
    "plan": _PLAN | {"step": "valve", "action": "command", "state": "done", "result": {"x": 1},
                     "title": {"zh": "燃", "en": "g"}},
    "command": _PLAN | {"step": "valve", "command_id": "c", "device_id": "test-valve-1", "name": "close",
                        "dangerous": True, "expires_at": AT.isoformat(), "detail": "x"},
    "device": {"device_id": "test-bin-1", "kind": "bin", "online": False, "at": AT.isoformat()},
    "kpi.day": {"day": "2026-11-21", "figures": [
        {"name": "closing", "unit": "%", "value": None, "part": 0, "whole": 0}]},
    "public.changed": {"at": AT.isoformat(), "parking_left": 4.0, "parking_spaces": 40.0, "noise_db": 51.5},
    "public.opened": {"open_data": True},
}  # fmt: skip
"""Rows as the code writes them, by type or family."""
_CHECK = FormatChecker()


def sample(kind: CityEventType) -> OutboxRow:
    data = SAMPLES.get(kind.type) or SAMPLES[kind.family]
    return OutboxRow(7, AT, kind.type, "test", "x", data)


def grants() -> Iterator[tuple[DataClass, ...]]:
    return (some for count in range(len(DataClass) + 1) for some in combinations(DataClass, count))


@pytest.mark.parametrize("kind", CATALOGUE, ids=lambda kind: kind.name)
def test_event_fits_its_schemas_under_any_grants(kind: CityEventType) -> None:
    whole = Draft202012Validator(envelope_schema(kind), format_checker=_CHECK)
    data = Draft202012Validator(schema_of(kind), format_checker=_CHECK)
    published = asyncapi("", "/api/v1")["components"]["schemas"][kind.name]["schema"]
    for given in grants():
        event = make(sample(kind), given, health_shown=True)
        whole.validate(event.document())
        data.validate(dict(event.data))
        Draft202012Validator(published).validate(json.loads(event.structured()[1]))
        for name, needs in kind.model.gated().items():
            assert name not in event.data or needs in given


def test_asyncapi_document_is_one_by_the_specifications_own_schema() -> None:
    check = Draft7Validator(json.loads(SPECIFICATION.read_text(encoding="utf-8")))
    for base, broker in (
        ("", None), ("https://linhub.example.cn", "mqtts://mqtt.example.cn:8883"), ("http://10.1.2.3:8080", None),
    ):  # fmt: skip
        document = asyncapi(base, "/api/v1", broker)
        assert [error.json_path for error in check.iter_errors(document)] == []
        for _, reference in _references(document):
            part: Any = document
            for name in reference.removeprefix("#/").split("/"):
                part = part[name]
    assert document["servers"]["broker"]["host"] == "10.1.2.3:1883"
    channel = document["channels"]["mqtt"]
    assert set(re.findall(r"{(\w+)}", channel["address"])) == set(channel["parameters"])
    assert len(channel["messages"]) == len(CATALOGUE) + 1
    assert not check.is_valid(asyncapi("", "/api/v1") | {"operations": {"x": {"action": "push"}}})


def _references(part: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(part, dict):
        if isinstance(part.get("$ref"), str):
            yield path, part["$ref"]
        for name, one in part.items():
            yield from _references(one, f"{path}/{name}")
    elif isinstance(part, list):
        for number, one in enumerate(part):
            yield from _references(one, f"{path}/{number}")


def test_test_event_fits_its_schemas() -> None:
    event = test_event("test-1", "s", "test", AT)
    Draft202012Validator(envelope_schema(TEST), format_checker=_CHECK).validate(event.document())


def test_schema_refuses_what_is_no_event() -> None:
    kind = BY_NAME["cn.linhub.order.close.v1"]
    document = make(sample(kind), []).document()
    check = Draft202012Validator(envelope_schema(kind), format_checker=_CHECK)
    changes: tuple[dict[str, Any], ...] = ({"mark": "Real"}, {"type": "x"}, {"sequence": "7"}, {"data": {}})
    for wrong in (*changes, {"specversion": "0.3"}):
        assert not check.is_valid(document | wrong), wrong


def _current() -> dict[str, Any]:
    return {kind.name: schema_of(kind) for kind in (*CATALOGUE, TEST)}


def broken(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """What somebody who reads by the schemas of before would stumble over."""
    wrong: list[str] = []
    for name, old in before.items():
        new = now.get(name)
        if new is None:
            wrong.append(f"{name} is gone")
            continue
        wrong += [f"{name}: {field} is no longer always there" for field in set(old["required"]) - set(new["required"])]
        for field, said in old["properties"].items():
            here = new["properties"].get(field)
            if here is None:
                wrong.append(f"{name}: {field} is gone")
            elif _shape(here) != _shape(said):
                wrong.append(f"{name}: {field} is another thing")
    return sorted(wrong)


def _shape(field: Any) -> Any:
    """A field without its words."""
    if isinstance(field, list):
        return [_shape(one) for one in field]
    if not isinstance(field, dict):
        return field
    return {name: _shape(one) for name, one in field.items() if name not in ("title", "description")}


def test_what_was_published_stays_readable() -> None:
    published = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    assert broken(published, _current()) == [], "make a new version of the type instead"
    assert published.keys() == _current().keys(), "python -m tests.unit.test_city_schemas writes down what is new"


def test_a_field_that_goes_or_changes_is_noticed() -> None:
    before = _current()
    name = "cn.linhub.order.close.v1"
    changes: tuple[Callable[[Any], Any], ...] = (
        lambda schema: schema["properties"].pop("state"),
        lambda schema: schema["properties"].update(state={"type": "integer"}),
        lambda schema: schema["required"].remove("state"),
    )
    for change in changes:
        after = json.loads(json.dumps(before))
        change(after[name])
        assert broken(before, after)
    assert broken(before, {one: schema for one, schema in before.items() if one != name}) == [f"{name} is gone"]
    more = json.loads(json.dumps(before))
    more[name]["properties"]["new"] = {"type": "string"}
    assert broken(before, more) == []


if __name__ == "__main__":
    text = json.dumps(_current(), ensure_ascii=False, indent=1, sort_keys=True)
    PUBLISHED.write_text(text + "\n", encoding="utf-8")
