"""Aliyun IoT, Alink JSON 物模型: `/sys/{productKey}/{deviceName}/thing/event/{property|id|property/pack|…}/post`.

The topic's levels stand in the tail; without them the message's `method` says what it is and the publisher is meant.
Source: Aliyun IoT Platform, "Device properties, events, and services" and "Report data in batches by a gateway".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from services.domain.codecs.codec import Codec, Decoded
from services.domain.codecs.common import json, thing
from services.domain.codecs.common.parts import Bad, each, event, items, mapping, named, total
from services.domain.codecs.common.times import moment
from services.domain.ids import DeviceId
from services.domain.messages import Topic


def _read(topic: Topic, payload: bytes) -> Iterator[Decoded]:
    message = json.obj(payload)
    device, path = _route(topic, message)
    params = message.get("params")
    if path == "event/property/post":
        yield from thing.properties(device, params)
    elif path == "event/property/pack/post":
        yield from _packed(device, params)
    elif path == "event/property/history/post":
        entries = items(params, "params")
        yield from each(topic, entries, lambda entry: thing.pack(_identity(entry, device), entry))
    elif path.startswith("event/") and path.endswith("/post") and path.count("/") == 2:
        body = mapping(params, "params")
        wrapped = body.keys() <= {"value", "time"} and "value" in body
        data = body.get("value") if wrapped else body
        yield event(device, moment(body.get("time") if wrapped else None), path.split("/")[1], data)
    else:
        raise Bad(f"{path[:80] or 'a message without a method'} is no report of properties or events")


def _route(topic: Topic, message: dict[str, Any]) -> tuple[DeviceId, str]:
    """Whom it is about and the levels behind `thing/`."""
    levels = thing.levels(topic.tail)
    if len(levels) > 4 and levels[0] == "sys" and levels[3] == "thing":
        return named(levels[2]), "/".join(levels[4:])
    method = message.get("method")
    words = method.split(".") if type(method) is str else []
    return topic.device, "/".join(words[1:] if words[:1] == ["thing"] else words)


def _packed(device: DeviceId, params: Any) -> Iterator[Decoded]:
    body = mapping(params, "params")
    if body.get("properties") or body.get("events"):
        yield from thing.pack(device, body)
    for entry in items(body.get("subDevices", []), "subDevices"):
        try:
            whose = _identity(entry, None)
        except Bad as bad:
            raise Bad(f"subDevices: {bad}") from None
        yield from thing.pack(whose, entry)


def _identity(entry: Any, default: DeviceId | None) -> DeviceId:
    identity = mapping(entry, "an entry").get("identity")
    if identity is None and default is not None:
        return default
    return named(mapping(identity, "identity").get("deviceName"), "identity.deviceName")


def _reply(topic: Topic, payload: bytes, refused: str | None) -> tuple[str, bytes] | None:
    """`{…}_reply` with code 200, or 460 (parameters not valid); none where `sys.ack` is 0 or it has no id."""
    try:
        message = json.obj(payload)
        _, path = _route(topic, message)
    except Bad:
        return None
    sender = message.get("sys")
    if type(message.get("id")) not in (str, int) or (type(sender) is dict and sender.get("ack") == 0):
        return None
    levels = thing.levels(topic.tail)
    if len(levels) <= 4 or not path.endswith("post"):
        return None
    body = thing.answer(
        id=message["id"],
        code=200 if refused is None else 460,
        data={},
        message="success" if refused is None else refused[:200],
        method="thing." + path.replace("/", "."),
        version="1.0",
    )
    return "/".join(levels) + "_reply", body


CODEC = Codec("aliyun", total(_read), _reply)
