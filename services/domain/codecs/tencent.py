"""Tencent Cloud IoT Explorer 物模型: `$thing/up/{property|event}/{ProductID}/{DeviceName}`, chosen by `method`.

`report {"params", "timestamp"}`, `event_post {"eventId", "type", "params", "timestamp"}`, `events_post {"events"}`.
Source: Tencent Cloud IoT Explorer, 物模型协议 (document 1081/34916); gateways: 网关子设备 (1081/42801).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from services.domain.codecs.codec import Codec, Decoded
from services.domain.codecs.common import json, thing
from services.domain.codecs.common.parts import Bad, each, event, items, mapping, named, online, telemetry, total
from services.domain.codecs.common.times import moment
from services.domain.ids import DeviceId
from services.domain.messages import Topic


def _read(topic: Topic, payload: bytes) -> Iterator[Decoded]:
    message = json.obj(payload)
    levels = thing.levels(topic.tail)
    device = topic.device
    if len(levels) == 5 and levels[:2] == ["$thing", "up"]:
        device = named(levels[4])
    method = message.get("method")
    if method == "report":
        yield from telemetry(device, moment(message.get("timestamp")), message.get("params"))
    elif method == "event_post":
        yield _event(device, message)
    elif method == "events_post":
        yield from each(topic, items(message.get("events"), "events"), lambda one: iter([_event(device, one)]))
    elif levels[:2] == ["$gateway", "operation"] and message.get("type") in ("online", "offline"):
        body = mapping(message.get("payload"), "payload")
        for entry in items(body.get("devices"), "devices"):
            name = named(mapping(entry, "a device").get("device_name"), "device_name")
            yield online(name, message["type"] == "online")
    else:
        raise Bad(f"method {str(method)[:40]!r} is no report of properties or events")


def _event(device: DeviceId, body: Any) -> Decoded:
    entry = mapping(body, "an event")
    return event(device, moment(entry.get("timestamp")), entry.get("eventId"), entry.get("params"))


_REPLIES = {"report": "report_reply", "event_post": "event_reply", "events_post": "events_reply"}


def _reply(topic: Topic, payload: bytes, refused: str | None) -> tuple[str, bytes] | None:
    """On `$thing/down/…` with code 0, or 406 where the message is refused; none without a clientToken."""
    levels = thing.levels(topic.tail)
    try:
        message = json.obj(payload)
    except Bad:
        return None
    method, token = message.get("method"), message.get("clientToken")
    if type(method) is not str or method not in _REPLIES or type(token) is not str or levels[:2] != ["$thing", "up"]:
        return None
    code, status = (0, "success") if refused is None else (406, refused[:200])
    body = thing.answer(method=_REPLIES[method], clientToken=token, code=code, status=status)
    return "/".join(["$thing", "down", *levels[2:]]), body


CODEC = Codec("tencent", total(_read), _reply)
