"""From whatever a document holds to parts that are bounded, finite and printable; refusals in plain words."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from services.domain.codecs.codec import Decoded
from services.domain.ids import DeviceId
from services.domain.messages import (
    AT_ARRIVAL_MS,
    NO_SESSION,
    DeviceEvent,
    Reason,
    Rejected,
    StatusChange,
    Telemetry,
    Topic,
)

MAX_PARTS = 2000
"""Of one message; what lies behind is refused in one sentence."""
MAX_FIELDS = 500
"""Of one part."""
MAX_DEPTH = 8
MAX_TEXT = 256
MAX_NAME = 128
BIGGEST_INT = 1 << 63
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


class Bad(Exception):
    """Why a message, or one part of it, cannot be used."""


def total(read: Callable[[Topic, bytes], Iterable[Decoded]]) -> Callable[[Topic, bytes], list[Decoded]]:
    """A reader that may raise Bad and yield any number of parts, as Codec.decode wants it."""

    def decode(topic: Topic, payload: bytes) -> list[Decoded]:
        parts: list[Decoded] = []
        try:
            for part in read(topic, payload):
                if len(parts) == MAX_PARTS:
                    detail = f"more than {MAX_PARTS} parts in one message; the first {MAX_PARTS} were taken"
                    parts.append(Rejected(Reason.TOO_LARGE, detail, topic.device))
                    break
                parts.append(part)
        except Bad as bad:
            parts.append(Rejected(Reason.MALFORMED, str(bad), topic.device))
        return parts or [Rejected(Reason.MALFORMED, "the message holds no values and no event", topic.device)]

    return decode


def each(
    topic: Topic, items: Iterable[Any], read: Callable[[Any], Iterable[Decoded]], device: DeviceId | None = None
) -> Iterator[Decoded]:
    """The parts of each item; an item that cannot be used does not cost the others."""
    for item in items:
        try:
            yield from read(item)
        except Bad as bad:
            yield Rejected(Reason.MALFORMED, str(bad), device or topic.device)


def named(text: Any, what: str = "the device's name") -> DeviceId:
    """What a format calls a device."""
    if type(text) is not str or not 0 < len(text) <= MAX_NAME or _UNPRINTABLE.search(text):
        raise Bad(f"{what} must be text of 1 to {MAX_NAME} printable characters, got {shape(text)}")
    return DeviceId(text)


def telemetry(device: DeviceId, ts_ms: int, data: Any, message_id: str | None = None) -> Iterator[Decoded]:
    """An object of values as one part; nested names are joined by dots, what cannot be a value is refused by name."""
    values, problems = flatten(data)
    if values:
        yield Telemetry(device, ts_ms, values, message_id)
    for problem in problems[:8]:
        yield Rejected(Reason.MALFORMED, problem, device, message_id)
    if not values and not problems:
        yield Rejected(Reason.MALFORMED, "there are no values in it", device, message_id)


def event(device: DeviceId, ts_ms: int, name: Any, data: Any, message_id: str | None = None) -> DeviceEvent:
    word = named(name, "the event's name")
    if data is None:
        data = {}
    if type(data) is not dict:
        data = {"value": data}
    storable(data)
    return DeviceEvent(device, ts_ms, word, data, message_id)


def online(device: DeviceId, is_online: bool = True, ts_ms: int = AT_ARRIVAL_MS) -> StatusChange:
    return StatusChange(device, ts_ms, is_online, NO_SESSION)


def flatten(data: Any) -> tuple[dict[str, Any], list[str]]:
    """Scalars by dotted name, and what is wrong with the rest. `null` says nothing and is left out."""
    if type(data) is not dict:
        raise Bad(f"expected an object of values, got {shape(data)}")
    values: dict[str, Any] = {}
    problems: list[str] = []
    _flatten(data, "", MAX_DEPTH, values, problems)
    return values, problems


def _flatten(data: Any, prefix: str, depth: int, values: dict[str, Any], problems: list[str]) -> None:
    if depth == 0:
        problems.append(f"{prefix[:60]} nests deeper than {MAX_DEPTH} levels")
        return
    pairs: Iterable[tuple[Any, Any]] = data.items() if type(data) is dict else enumerate(data)
    for key, value in pairs:
        if len(values) >= MAX_FIELDS or len(problems) >= 8:
            if len(problems) < 8:
                problems.append(f"more than {MAX_FIELDS} values in one part; the rest was left out")
            return
        name = f"{prefix}.{key}" if prefix else str(key)
        if not 0 < len(name) <= MAX_NAME or _UNPRINTABLE.search(name):
            problems.append(f"a value's name must have 1 to {MAX_NAME} printable characters")
        elif value is None:
            continue
        elif type(value) is dict or type(value) is list:
            _flatten(value, name, depth - 1, values, problems)
        elif (why := unusable(value)) is not None:
            problems.append(f"{name}: {why}")
        else:
            values[name] = value


def unusable(value: Any) -> str | None:
    """Why a scalar is no value; None: it is one."""
    if type(value) is bool:
        return None
    if type(value) is int:
        return None if -BIGGEST_INT <= value < BIGGEST_INT else "the number is out of all proportion"
    if type(value) is float:
        return None if math.isfinite(value) else "this is no finite number"
    if type(value) is str:
        if len(value) > MAX_TEXT:
            return f"text longer than {MAX_TEXT} characters"
        return "text with unprintable characters" if _UNPRINTABLE.search(value) else None
    return f"{shape(value)} is no value"


def storable(value: Any, depth: int = MAX_DEPTH) -> None:
    """Refuses event data that the database's JSON cannot keep or a reader could not print."""
    if type(value) is dict or type(value) is list:
        if depth == 0:
            raise Bad(f"the event's data nests deeper than {MAX_DEPTH} levels")
        if len(value) > MAX_FIELDS:
            raise Bad(f"the event's data has more than {MAX_FIELDS} entries")
        for key in value if type(value) is dict else ():
            if type(key) is not str or len(key) > MAX_NAME or _UNPRINTABLE.search(key):
                raise Bad("the event's data has a name that cannot be printed")
        for inner in value.values() if type(value) is dict else value:
            storable(inner, depth - 1)
    elif type(value) is str:
        if "\x00" in value or re.search("[\ud800-\udfff]", value):
            raise Bad("the event's data holds a character that cannot be kept")
    elif value is not None and (why := unusable(value)) is not None:
        raise Bad(f"the event's data: {why}")


def text(payload: bytes) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError as error:
        raise Bad(f"not UTF-8 text: byte {error.start}") from None


def mapping(value: Any, what: str) -> Mapping[str, Any]:
    if type(value) is not dict:
        raise Bad(f"{what} must be an object, got {shape(value)}")
    return value


def items(value: Any, what: str) -> list[Any]:
    if type(value) is not list:
        raise Bad(f"{what} must be a list, got {shape(value)}")
    return value


def shape(value: Any) -> str:
    if value is None:
        return "nothing"
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(value), type(value).__name__)
