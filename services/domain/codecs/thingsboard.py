"""ThingsBoard telemetry: `{k: v}`, `{"ts", "values"}` or lists of them; a gateway's `{"Device A": [{ts, values}]}`.

Source: ThingsBoard documentation, "MQTT Device API" and "MQTT Gateway API".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from services.domain.codecs.codec import Codec, Decoded
from services.domain.codecs.common import json, thing
from services.domain.codecs.common.parts import Bad, each, named, online, shape, telemetry, total
from services.domain.codecs.common.times import moment
from services.domain.ids import DeviceId
from services.domain.messages import AT_ARRIVAL_MS, Topic


def _read(topic: Topic, payload: bytes) -> Iterator[Decoded]:
    document = json.document(payload)
    levels = thing.levels(topic.tail)
    if levels[-2:-1] == ["gateway"] and levels[-1] in ("connect", "disconnect"):
        whose = document.get("device") if type(document) is dict else document
        yield online(named(whose), levels[-1] == "connect")
    elif type(document) is dict and (levels[-2:-1] == ["gateway"] or _of_a_gateway(document)):
        for name, entries in document.items():
            device = named(name)
            yield from each(topic, entries if type(entries) is list else [entries], _reader(device), device)
    elif type(document) is list:
        yield from each(topic, document, _reader(topic.device))
    else:
        yield from _reader(topic.device)(document)


def _of_a_gateway(document: dict[str, Any]) -> bool:
    return bool(document) and all(
        type(entries) is list and entries and all(type(entry) is dict for entry in entries)
        for entries in document.values()
    )


def _reader(device: DeviceId) -> Any:
    def read(entry: Any) -> Iterator[Decoded]:
        if type(entry) is not dict:
            raise Bad(f"expected an object of values, got {shape(entry)}")
        if type(entry.get("values")) is dict and entry.keys() <= {"ts", "values", "metadata"}:
            return telemetry(device, moment(entry.get("ts")), entry["values"])
        return telemetry(device, AT_ARRIVAL_MS, entry)

    return read


CODEC = Codec("thingsboard", total(_read))
