"""LinHub's own format: a JSON object, or a list of them as gateways send.

telemetry `{"id"?, "ts", "values": {…}}`, event `{"id", "ts", "event", "data"?}`, each with `"device"` in a list;
status `{"ts", "online", "session"}`; reply `{"id", "ts", "ok", "detail"?, "done"?}`. Times are epoch milliseconds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from pydantic_core import from_json

from services.domain.codecs.codec import Codec, Decoded
from services.domain.ids import ID_PATTERN, DeviceId
from services.domain.messages import DeviceEvent, Message, Reason, Rejected, Reply, StatusChange, Telemetry, Topic

MAX_ID_LENGTH = 128
MAX_DEPTH = 8
"""How deep an event's data may nest; a clip, a photo, a track of points need four."""
_LAST_MS = 253_402_300_799_999
"""31 December 9999; what lies behind it is no time."""
_BIGGEST_INT = 1 << 63
_ID = re.compile(ID_PATTERN[1:-1])
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f]")


class _Bad(Exception):
    """Why a part cannot be used."""


def decode(topic: Topic, payload: bytes) -> list[Decoded]:
    """As Codec.decode."""
    try:
        document = from_json(payload, allow_inf_nan=False)
    except ValueError as error:
        return [Rejected(Reason.MALFORMED, f"not JSON: {error}", topic.device)]
    if type(document) is dict:
        return [_part(topic, document)]
    if type(document) is not list:
        return [Rejected(Reason.MALFORMED, f"expected an object or a list, got {_name(document)}", topic.device)]
    if not document:
        return [Rejected(Reason.MALFORMED, "the list is empty", topic.device)]
    if topic.channel not in ("telemetry", "event"):
        return [Rejected(Reason.MALFORMED, f"{topic.channel} takes one object, not a list", topic.device)]
    return [_part(topic, part) for part in document]


def _part(topic: Topic, part: Any) -> Decoded:
    device, message_id = topic.device, None
    try:
        if type(part) is not dict:
            raise _Bad(f"expected an object, got {_name(part)}")
        message_id = _message_id(part)
        if (named := part.get("device")) is not None:
            if type(named) is not str or _ID.fullmatch(named) is None:
                raise _Bad("device must be a device id: small letters, digits, _ and -, at most 64")
            device = DeviceId(named)
        return _READERS[topic.channel](device, _ts(part), message_id, part)
    except _Bad as bad:
        return Rejected(Reason.MALFORMED, str(bad), device, message_id)


def _telemetry(device: DeviceId, ts_ms: int, message_id: str | None, part: dict[str, Any]) -> Telemetry:
    values = part.get("values")
    if type(values) is not dict:
        raise _Bad(f"values must be an object of metrics, got {_name(values)}")
    if not values:
        raise _Bad("values is empty")
    return Telemetry(device, ts_ms, values, message_id)


def _event(device: DeviceId, ts_ms: int, message_id: str | None, part: dict[str, Any]) -> DeviceEvent:
    if message_id is None:
        raise _Bad("an event needs an id, to be acknowledged by")
    data = part.get("data", {})
    if type(data) is not dict:
        raise _Bad(f"data must be an object, got {_name(data)}")
    _storable(data, MAX_DEPTH)
    return DeviceEvent(device, ts_ms, _text(part, "event", 64), data, message_id)


def _status(device: DeviceId, ts_ms: int, _: str | None, part: dict[str, Any]) -> StatusChange:
    session = part.get("session")
    if type(session) is not int or not 0 <= session < _BIGGEST_INT:
        raise _Bad("session must be a whole number that grows with each connection")
    return StatusChange(device, ts_ms, _bool(part, "online"), session)


def _reply(device: DeviceId, ts_ms: int, message_id: str | None, part: dict[str, Any]) -> Reply:
    if message_id is None:
        raise _Bad("a reply needs the id of its command")
    detail = part.get("detail", "")
    if type(detail) is not str:
        raise _Bad(f"detail must be text, got {_name(detail)}")
    done = _bool(part, "done") if "done" in part else True
    return Reply(device, ts_ms, message_id, _bool(part, "ok"), _UNPRINTABLE.sub(" ", detail)[:500], done)


_READERS: dict[str, Callable[[DeviceId, int, str | None, dict[str, Any]], Message]] = {
    "telemetry": _telemetry,
    "event": _event,
    "status": _status,
    "reply": _reply,
}


def _ts(part: dict[str, Any]) -> int:
    ts = part.get("ts")
    if type(ts) is float and ts.is_integer():
        ts = int(ts)
    if type(ts) is not int:
        raise _Bad(f"ts must be epoch milliseconds, got {_name(ts)}")
    if not 0 <= ts <= _LAST_MS:
        raise _Bad("ts is no time: epoch milliseconds lie between 0 and the year 9999")
    return ts


def _message_id(part: dict[str, Any]) -> str | None:
    message_id = part.get("id")
    if message_id is None:
        return None
    if type(message_id) is not str or not 0 < len(message_id) <= MAX_ID_LENGTH or _UNPRINTABLE.search(message_id):
        raise _Bad(f"id must be text of 1 to {MAX_ID_LENGTH} printable characters")
    return message_id


def _text(part: dict[str, Any], key: str, longest: int) -> str:
    text = part.get(key)
    if type(text) is not str or not 0 < len(text) <= longest or _UNPRINTABLE.search(text):
        raise _Bad(f"{key} must be text of 1 to {longest} printable characters")
    return text


def _bool(part: dict[str, Any], key: str) -> bool:
    value = part.get(key)
    if type(value) is not bool:
        raise _Bad(f"{key} must be true or false, got {_name(value)}")
    return value


def _storable(value: Any, depth: int) -> None:
    """Refuses what the database's JSON cannot keep or a reader could not print."""
    if type(value) is dict or type(value) is list:
        if depth == 0:
            raise _Bad(f"data nests deeper than {MAX_DEPTH} levels")
        for key in value if type(value) is dict else ():
            _storable(key, depth - 1)
        for inner in value.values() if type(value) is dict else value:
            _storable(inner, depth - 1)
    elif type(value) is str:
        if "\x00" in value:
            raise _Bad("data holds a NUL character")
    elif (type(value) is float and not math.isfinite(value)) or (
        type(value) is int and not -_BIGGEST_INT <= value < _BIGGEST_INT
    ):
        raise _Bad("data holds a number that is out of all proportion")


def _name(value: Any) -> str:
    if value is None:
        return "nothing"
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false", int: "a number", float: "a number"}
    return names.get(type(value), type(value).__name__)


CODEC = Codec("native", decode)
