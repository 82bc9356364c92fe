"""Tasmota: `tele/SENSOR`, `tele/STATE`, `stat/RESULT` as JSON, `tele/LWT` Online or Offline, `stat/POWER` ON or OFF.

The levels stand in the tail (`FullTopic sc/{community}/%topic%/up/telemetry/%prefix%/`). `Time` is local and without a
zone unless SetOption52 is 1: without one it is taken as that of China. Source: Tasmota documentation, "MQTT" and
"JSON Status Responses".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from services.domain.codecs.codec import Codec, Decoded
from services.domain.codecs.common import json, thing
from services.domain.codecs.common.parts import Bad, named, online, shape, telemetry, text, total
from services.domain.codecs.common.times import moment
from services.domain.messages import Topic

_WRAPPERS = {"StatusSNS", "StatusSTS"}


def _read(topic: Topic, payload: bytes) -> Iterator[Decoded]:
    levels = thing.levels(topic.tail)
    last = levels[-1] if levels else ""
    if last == "LWT":
        word = text(payload).strip().lower()
        if word not in ("online", "offline"):
            raise Bad(f"LWT must be Online or Offline, got {word[:40]!r}")
        yield online(topic.device, word == "online")
    elif levels[:1] == ["cmnd"]:
        raise Bad("this is an order to the device (cmnd), not its report; FullTopic and prefixes are mixed up")
    elif payload.lstrip()[:1] in (b"{", b"["):
        yield from _report(topic, json.document(payload))
    elif last:
        # `stat/POWER ON`: one word about the thing that the last level names.
        yield from telemetry(topic.device, moment(None), {named(last): _word(text(payload))})
    else:
        raise Bad("expected JSON; set FullTopic so that the last level says what the message is")


def _report(topic: Topic, document: Any) -> Iterator[Decoded]:
    if type(document) is not dict:
        raise Bad(f"expected an object, got {shape(document)}")
    for name in _WRAPPERS & document.keys():
        if type(document[name]) is dict:
            document = document[name]
    said = document.get("Time")
    if type(said) is str:
        said = said.replace(".", "-", 2)
    values = {name: value for name, value in document.items() if name != "Time"}
    if not values:
        yield online(topic.device)
        return
    yield from telemetry(topic.device, moment(said), values)


def _word(word: str) -> Any:
    word = word.strip()
    if not word:
        raise Bad("the message is empty")
    return word


CODEC = Codec("tasmota", total(_read))
