"""What the 物模型 formats of the Chinese clouds share: properties with times of their own, events, topic levels."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from services.domain.codecs.codec import Decoded
from services.domain.codecs.common.parts import Bad, event, items, mapping, shape, telemetry
from services.domain.codecs.common.times import moment
from services.domain.ids import DeviceId
from services.domain.messages import Reason, Rejected


def levels(tail: str) -> list[str]:
    return [level for level in tail.split("/") if level]


def properties(device: DeviceId, params: Any) -> Iterator[Decoded]:
    """`{name: value}` or `{name: {"value", "time"}}`, or lists of the latter; one part a time."""
    found: dict[int, dict[str, Any]] = {}
    for name, given in mapping(params, "the properties").items():
        for value in given if _is_series(given) else [given]:
            at: Any = None
            if type(value) is dict and "value" in value and value.keys() <= {"value", "time"}:
                value, at = value["value"], value.get("time")
            try:
                found.setdefault(moment(at), {})[name] = value
            except Bad as bad:
                yield Rejected(Reason.MALFORMED, f"{name[:60]}: {bad}", device)
    for ts_ms, values in found.items():
        yield from telemetry(device, ts_ms, values)
    if not params:
        yield Rejected(Reason.MALFORMED, "there are no properties in it", device)


def _is_series(given: Any) -> bool:
    return type(given) is list and bool(given) and all(type(one) is dict and "value" in one for one in given)


def events(device: DeviceId, params: Any) -> Iterator[Decoded]:
    """`{event: {"value": {…}, "time"}}`, or a list of such values."""
    for name, given in mapping(params, "the events").items():
        for value in given if type(given) is list else [given]:
            try:
                if type(value) is not dict:
                    raise Bad(f"{name[:60]}: expected value and time, got {shape(value)}")
                yield event(device, moment(value.get("time")), name, value.get("value"))
            except Bad as bad:
                yield Rejected(Reason.MALFORMED, str(bad), device)


def pack(device: DeviceId, entry: Any) -> Iterator[Decoded]:
    """Properties and events of one device, as packs and histories carry them; each may be a list."""
    body = mapping(entry, "an entry of the pack")
    for key, read in (("properties", properties), ("events", events)):
        given = body.get(key)
        if given is None or given == {} or given == []:
            continue
        for one in items(given, key) if type(given) is list else [given]:
            yield from read(device, one)


def answer(**body: Any) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
