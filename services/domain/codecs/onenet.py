"""OneNET (China Mobile) 物模型 over MQTT: `$sys/{pid}/{device}/thing/{property|event|pack|history}/post`.

Property `{"params": {name: {"value", "time"}}}`; packs and histories are lists, each entry with its `identity`.
Source: OneNET documentation, device access, 物模型 topics; historyDataNotify and subDeviceHistoryNotify.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from services.domain.codecs.codec import Codec, Decoded
from services.domain.codecs.common import json, thing
from services.domain.codecs.common.parts import Bad, each, items, mapping, named, total
from services.domain.ids import DeviceId
from services.domain.messages import Topic


def _read(topic: Topic, payload: bytes) -> Iterator[Decoded]:
    message = json.obj(payload)
    device, path = _route(topic, message)
    params = message.get("params")
    if path == "property/post":
        yield from thing.properties(device, params)
    elif path == "event/post":
        if not mapping(params, "params"):
            raise Bad("there is no event in it")
        yield from thing.events(device, params)
    elif path in ("pack/post", "history/post"):
        entries = items(params, "params")
        yield from each(topic, entries, lambda entry: thing.pack(_identity(entry, device), entry))
    else:
        raise Bad(f"{path[:80] or 'a message that does not say what it is'} is no report of properties or events")


def _route(topic: Topic, message: dict[str, Any]) -> tuple[DeviceId, str]:
    levels = thing.levels(topic.tail)
    if len(levels) > 4 and levels[0] == "$sys" and levels[3] == "thing":
        return named(levels[2]), "/".join(levels[4:])
    if len(levels) >= 2 and levels[0] == "thing":
        return topic.device, "/".join(levels[1:])
    method = message.get("method")
    return topic.device, method.removeprefix("thing.").replace(".", "/") if type(method) is str else ""


def _identity(entry: Any, default: DeviceId) -> DeviceId:
    identity = mapping(entry, "an entry").get("identity")
    if identity is None:
        return default
    return named(mapping(identity, "identity").get("deviceName"), "identity.deviceName")


def _reply(topic: Topic, payload: bytes, refused: str | None) -> tuple[str, bytes] | None:
    """`…/post/reply` with code 200, or 2402 where the message is refused."""
    levels = thing.levels(topic.tail)
    try:
        message = json.obj(payload)
    except Bad:
        return None
    if type(message.get("id")) not in (str, int) or levels[-1:] != ["post"]:
        return None
    code, words = (200, "success") if refused is None else (2402, refused[:200])
    return "/".join(levels) + "/reply", thing.answer(id=message["id"], code=code, msg=words)


CODEC = Codec("onenet", total(_read), _reply)
