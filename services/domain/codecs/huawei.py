"""Huawei Cloud IoTDA over MQTT: `$oc/devices/{id}/sys/{properties/report|gateway/sub_devices/…/report|events/up}`.

A value is called `{service_id}.{property}`; `event_time` is UTC like 20151212T121212Z or 2020-08-12T12:12:12.333Z.
Source: Huawei Cloud IoTDA, API reference on devices: "Device Reporting Properties", "Gateway Reporting Device
Properties in Batches", "Gateway Updating Sub-Device Status", "Device Reporting Events".
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from services.domain.codecs.codec import Codec, Decoded
from services.domain.codecs.common import json, thing
from services.domain.codecs.common.parts import Bad, each, event, items, mapping, named, online, telemetry, total
from services.domain.codecs.common.times import moment
from services.domain.ids import DeviceId
from services.domain.messages import Reason, Rejected, Topic

_UTC_MINUTES = 0


def _read(topic: Topic, payload: bytes) -> Iterator[Decoded]:
    message = json.obj(payload)
    levels = thing.levels(topic.tail)
    device = topic.device
    if len(levels) > 4 and levels[0] == "$oc" and levels[1] == "devices":
        device = named(levels[2])
    if "devices" in message:
        yield from each(topic, items(message["devices"], "devices"), _sub_device)
    elif levels[-2:] == ["events", "up"] or (not levels and topic.channel == "event"):
        whose = named(message["object_device_id"], "object_device_id") if message.get("object_device_id") else device
        for service in items(message.get("services"), "services"):
            yield from _event(whose, service)
    else:
        yield from _services(device, message.get("services"))


def _sub_device(entry: Any) -> Iterator[Decoded]:
    body = mapping(entry, "an entry of devices")
    return _services(named(body.get("device_id"), "device_id"), body.get("services"))


def _services(device: DeviceId, services: Any) -> Iterator[Decoded]:
    found: dict[int, dict[str, Any]] = {}
    for service in items(services, "services"):
        try:
            body = mapping(service, "a service")
            name = named(body.get("service_id"), "service_id")
            values = mapping(body.get("properties"), f"the properties of {name}")
            found.setdefault(moment(body.get("event_time"), _UTC_MINUTES), {})[name] = values
        except Bad as bad:
            yield Rejected(Reason.MALFORMED, str(bad), device)
    for ts_ms, merged in found.items():
        yield from telemetry(device, ts_ms, merged)


def _event(device: DeviceId, service: Any) -> Iterator[Decoded]:
    try:
        body = mapping(service, "a service")
        name = named(body.get("event_type"), "event_type")
        ts_ms = moment(body.get("event_time"), _UTC_MINUTES)
        if name == "sub_device_update_status":
            for status in items(mapping(body.get("paras"), "paras").get("device_statuses"), "device_statuses"):
                entry = mapping(status, "a status")
                word = entry.get("status")
                if word not in ("ONLINE", "OFFLINE"):
                    raise Bad("a sub-device's status must be ONLINE or OFFLINE")
                yield online(named(entry.get("device_id"), "device_id"), word == "ONLINE", ts_ms)
        elif str(body.get("service_id")).startswith("$"):
            raise Bad(f"{name} of the service {str(body['service_id'])[:40]} is a question to the cloud, no report")
        else:
            yield event(device, ts_ms, name, body.get("paras"))
    except Bad as bad:
        yield Rejected(Reason.MALFORMED, str(bad), device)


CODEC = Codec("huawei", total(_read))
