"""SenML (RFC 8428): resolves the records of a pack, whatever they were serialised as."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from services.domain.codecs.codec import Decoded
from services.domain.codecs.common.parts import Bad, named, shape, telemetry
from services.domain.codecs.common.times import settled
from services.domain.ids import DeviceId
from services.domain.messages import AT_ARRIVAL_MS, Reason, Rejected, Topic

NEWEST_VERSION = 10
NAMELESS = "value"
RELATIVE_S = 2**28
"""Section 4.5.3: a smaller time counts from now."""
_KNOWN = {"bn", "bt", "bu", "bv", "bs", "bver", "n", "u", "v", "vs", "vb", "vd", "s", "t", "ut"}


def resolve(topic: Topic, pack: Any) -> Iterator[Decoded]:
    """One part a device and time, in the order of their first record. `name [unit]` where a unit was given.

    A record under a base name belongs to the device that the base name (without a closing separator) names; the
    rest of its name is the value's (none: `value`). Without a base name the publisher is meant.
    """
    if type(pack) is not list or not pack:
        raise Bad(f"a SenML pack is a list of records, got {shape(pack) if pack != [] else 'an empty list'}")
    base = _Base()
    found: dict[tuple[DeviceId, int], dict[str, Any]] = {}
    for number, record in enumerate(pack, 1):
        try:
            base.change(record)
            for device, ts_ms, name, value in base.read(topic, record):
                fields = found.setdefault((device, ts_ms), {})
                if name in fields and fields[name] != value:
                    raise Bad(f"{name} is given twice for one time")
                fields[name] = value
        except Bad as bad:
            yield Rejected(Reason.MALFORMED, f"record {number}: {bad}", topic.device)
    for (device, ts_ms), fields in found.items():
        yield from telemetry(device, ts_ms, fields)


class _Base:
    """The base fields in force (section 4.1): each stays until it is given anew."""

    def __init__(self) -> None:
        self.name, self.unit = "", ""
        self.time = self.value = self.total = 0.0

    def change(self, record: Any) -> None:
        if type(record) is not dict:
            raise Bad(f"expected an object, got {shape(record)}")
        for label in record:
            if type(label) is str and label.endswith("_") and label not in _KNOWN:
                raise Bad(f"it must not be read without understanding {label[:40]}")
        version = record.get("bver", NEWEST_VERSION)
        if type(version) is not int or not 0 < version <= NEWEST_VERSION:
            raise Bad(f"SenML version {version!s:.20} is not known; {NEWEST_VERSION} is")
        self.name = _text(record, "bn", self.name)
        self.unit = _text(record, "bu", self.unit)
        self.time = _number(record, "bt", self.time)
        self.value = _number(record, "bv", self.value)
        self.total = _number(record, "bs", self.total)

    def read(self, topic: Topic, record: dict[str, Any]) -> Iterator[tuple[DeviceId, int, str, Any]]:
        name = _text(record, "n", "")
        device = topic.device
        if self.name:
            device = named(self.name.rstrip(":/._-") or self.name, "the base name")
            name = name or NAMELESS
        given = [label for label in ("v", "vs", "vb", "vd") if label in record]
        if not given and "s" not in record:
            if "v" in record or not any(label in record for label in ("bn", "bt", "bu", "bv", "bs", "bver")):
                raise Bad("it has no value (v, vs, vb, vd or s)")
            return
        if len(given) > 1:
            raise Bad(f"it has several values: {', '.join(given)}")
        if not name:
            raise Bad("it has neither a name nor a base name")
        named(name, "the name")
        unit = _text(record, "u", self.unit)
        ts_ms = _time(self.time + _number(record, "t", 0.0))
        if "s" in record:
            yield device, ts_ms, f"{name}.sum", self.total + _number(record, "s", 0.0)
        for label in given:
            value = record[label]
            if label == "v":
                value = _number(record, "v", 0.0)
                value = value + self.value if self.value else value
            elif label == "vd":
                raise Bad(f"{name} holds data (vd), which is no measurement")
            elif type(value) is not (bool if label == "vb" else str):
                raise Bad(f"{label} is {shape(value)}")
            yield device, ts_ms, f"{name} [{unit}]" if unit and label == "v" else name, value


def _text(record: dict[str, Any], label: str, default: str) -> str:
    value = record.get(label, default)
    if type(value) is not str or len(value) > 128:
        raise Bad(f"{label} must be text of at most 128 characters, got {shape(value)}")
    return value


def _number(record: dict[str, Any], label: str, default: float) -> float:
    value = record.get(label, default)
    if (type(value) is not int and type(value) is not float) or not -1e300 < value < 1e300 or not math.isfinite(value):
        raise Bad(f"{label} must be a finite number, got {shape(value)}")
    return value


def _time(seconds: float) -> int:
    if -RELATIVE_S <= seconds < RELATIVE_S:
        return AT_ARRIVAL_MS + min(0, round(seconds * 1000))
    if not 0 < seconds < 10**12:
        raise Bad("t is no time")
    return settled(round(seconds * 1000))
