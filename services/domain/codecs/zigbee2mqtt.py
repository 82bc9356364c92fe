"""Zigbee2MQTT: `{friendly_name}` with the device's values, `{friendly_name}/availability`, `bridge/state`.

The publisher is the bridge; a device's address is its friendly name (it may hold `/`) or its IEEE address. `last_seen`
is the time where Zigbee2MQTT is set to give it. Source: Zigbee2MQTT documentation, "MQTT Topics and Messages",
"Device-Availability", settings `advanced.last_seen`.
"""

from __future__ import annotations

from collections.abc import Iterator

from services.domain.codecs.codec import Codec, Decoded
from services.domain.codecs.common import json, thing
from services.domain.codecs.common.parts import Bad, named, online, shape, telemetry, text, total
from services.domain.codecs.common.times import moment
from services.domain.messages import Topic

BASE = "zigbee2mqtt"
"""A base_topic that ends in this level is cut off."""


def _read(topic: Topic, payload: bytes) -> Iterator[Decoded]:
    levels = thing.levels(topic.tail)
    if levels[:1] == [BASE]:
        levels = levels[1:]
    if not levels:
        raise Bad("the topic ends before the friendly name; set base_topic to sc/{community}/{bridge}/up/event")
    if levels[0] == "bridge":
        if levels[1:] == ["state"]:
            yield online(topic.device, _state(payload))
        else:
            # Its own housekeeping (devices, info, logging): it lives, that is all we need of it.
            yield online(topic.device)
        return
    if len(levels) > 1 and levels[-1] == "availability":
        yield online(named("/".join(levels[:-1])), _state(payload))
        return
    if len(levels) > 1 and levels[-1] in ("set", "get"):
        raise Bad("this is an order to the device, not its report")
    if not payload.strip().startswith(b"{"):
        raise Bad("expected a JSON object; set advanced.output to json in Zigbee2MQTT")
    document = json.obj(payload)
    values = {name: value for name, value in document.items() if name not in ("last_seen", "elapsed", "device")}
    device = named("/".join(levels))
    if not values:
        yield online(device, True, moment(document.get("last_seen")))
        return
    yield from telemetry(device, moment(document.get("last_seen")), values)


def _state(payload: bytes) -> bool:
    """`{"state": "online"}`; older versions say the bare word."""
    word = text(payload).strip()
    if word.startswith("{"):
        state = json.obj(payload).get("state")
        if type(state) is not str:
            raise Bad(f"state must be online or offline, got {shape(state)}")
        word = state
    if word not in ("online", "offline"):
        raise Bad(f"state must be online or offline, got {word[:40]!r}")
    return word == "online"


CODEC = Codec("zigbee2mqtt", total(_read))
