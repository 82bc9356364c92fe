"""ChirpStack v4 (LoRaWAN), JSON integration: `application/{id}/device/{devEui}/event/{up|join|status|location|…}`.

A device's address is its DevEUI in small letters. An uplink needs the decoded `object` (a payload codec in the device
profile); its time is `time`, else the receiving gateway's. Source: ChirpStack documentation, "Event types", and
integration.proto of chirpstack-api 4.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from services.domain.codecs.codec import Codec, Decoded
from services.domain.codecs.common import json, thing
from services.domain.codecs.common.parts import Bad, named, online, telemetry, total
from services.domain.codecs.common.times import moment
from services.domain.ids import DeviceId
from services.domain.messages import AT_ARRIVAL_MS, Topic

_EUI = re.compile(r"[0-9a-f]{16}")


def _read(topic: Topic, payload: bytes) -> Iterator[Decoded]:
    message = json.obj(payload)
    kind = _kind(topic, message)
    device = _device(topic, message)
    ts_ms = _time(message)
    if kind == "up":
        values = message.get("object")
        if values is None or values == {}:
            raise Bad("the uplink has no decoded object; give its device profile in ChirpStack a payload codec")
        yield from telemetry(device, ts_ms, values, _unique(message))
    elif kind == "status":
        names = ("batteryLevel", "margin", "externalPowerSource")
        values = {name: message[name] for name in names if name in message}
        if message.get("batteryLevelUnavailable") is True or message.get("externalPowerSource") is True:
            values.pop("batteryLevel", None)
        yield from telemetry(device, ts_ms, values, _unique(message))
    elif kind == "location":
        place = message.get("location")
        if type(place) is not dict:
            raise Bad("the location is missing")
        yield from telemetry(device, ts_ms, {name: place.get(name) for name in ("latitude", "longitude")})
    elif kind == "join":
        yield online(device, True, ts_ms)
    elif kind in ("ack", "txack", "log", "integration"):
        # About downlinks and the network, not about the thing: its gateway service lives.
        yield online(topic.device)
    else:
        raise Bad(f"ChirpStack event {kind[:40]!r} is not known")


def _kind(topic: Topic, message: dict[str, Any]) -> str:
    levels = thing.levels(topic.tail)
    if levels[-2:-1] == ["event"]:
        return levels[-1]
    if levels:
        return levels[-1]
    return "up" if "object" in message or "fPort" in message else "status" if "margin" in message else "join"


def _device(topic: Topic, message: dict[str, Any]) -> DeviceId:
    info = message.get("deviceInfo")
    eui: Any = info.get("devEui") if type(info) is dict else None
    if eui is None:
        levels = thing.levels(topic.tail)
        eui = levels[levels.index("device") + 1] if "device" in levels[:-1] else None
    eui = str(eui).lower()
    if not _EUI.fullmatch(eui):
        raise Bad("deviceInfo.devEui must be 16 hexadecimal digits")
    return named(eui)


def _time(message: dict[str, Any]) -> int:
    if message.get("time") is not None:
        return moment(message["time"])
    heard = message.get("rxInfo")
    for gateway in heard[:16] if type(heard) is list else ():
        for name in ("gwTime", "nsTime", "time"):
            if type(gateway) is dict and type(gateway.get(name)) is str:
                return moment(gateway[name])
    return AT_ARRIVAL_MS


def _unique(message: dict[str, Any]) -> str | None:
    """ChirpStack's own UUID of the uplink: the same when it is delivered twice, never used again."""
    unique = message.get("deduplicationId")
    return unique if type(unique) is str and re.fullmatch(r"[0-9a-fA-F-]{36}", unique) else None


CODEC = Codec("chirpstack", total(_read))
