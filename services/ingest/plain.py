"""The short way for what nearly every message is: native telemetry that is right in every respect.

Each kind gets a decoder compiled from its metrics, which decodes, checks ranges and puts the values in order at once.
It takes nothing that the long way (codec, then `core.check`) would not take, with the same result to the bit;
whatever it does not take goes the long way, which knows how to say what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import msgspec
from msgspec.structs import astuple

from services.adapters.mqtt import Inbound
from services.domain.codecs.native import MAX_ID_LENGTH
from services.domain.codecs.topic import parse_topic
from services.domain.devices.kind import MetricType
from services.domain.ids import DeviceId
from services.domain.messages import FUTURE_LIMIT_MS, LATE_LIMIT_MS, MAX_PAYLOAD_BYTES, Rejected
from services.ingest.checked import Checked
from services.ingest.registry import KindSpec, KnownDevice, MetricSpec, Registry
from services.ingest.values import Row, number

_EXACT = 2.0**53
"""Below this every whole number is a float: comparing before or after the conversion comes to the same."""
_LAST_MS = 253_402_300_799_999

Decode = Callable[[bytes | msgspec.Raw], Any]
Odd = tuple[tuple[int, MetricSpec], ...]


class _Part(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """One part of a gateway's list; the values wait for the decoder of the kind they belong to."""

    ts: int
    values: msgspec.Raw
    device: str | None = None
    id: str | None = None


_decode_parts: Callable[[bytes], list[_Part]] = msgspec.json.Decoder(list[_Part]).decode


@dataclass(frozen=True, slots=True)
class Reader:
    """How one kind's values are read. `odd`: metrics that are more than a number within limits."""

    message: Decode
    values: Decode
    odd: Odd


@dataclass(slots=True)
class _Route:
    """Where a device's readings go; `by_name`: the devices it speaks for."""

    device: KnownDevice
    reader: Reader | None
    by_name: dict[str, tuple[KnownDevice, Reader] | None] = field(default_factory=dict)


def reader_for(kind: KindSpec) -> Reader | None:
    """None for a kind that can only go the long way."""
    metrics = sorted(kind.metrics.items(), key=lambda entry: entry[1].position)
    if not metrics or [metric.position for _, metric in metrics] != list(range(kind.width)):
        return None
    if not all(-_EXACT < metric.low <= metric.high < _EXACT for _, metric in metrics):
        return None
    fields: list[tuple[str, Any, Any]] = []
    for _, metric in metrics:
        simple = metric.type not in (MetricType.SWITCH, MetricType.STATE) and not metric.options
        within = Annotated[float, msgspec.Meta(ge=metric.low, le=metric.high)]
        fields.append((f"m{metric.position}", within if simple else float | bool | str, None))
    values = msgspec.defstruct(
        "Values",
        fields,
        rename={f"m{metric.position}": name for name, metric in metrics},
        forbid_unknown_fields=True,
        gc=False,
    )
    message = msgspec.defstruct(
        "Message", [("ts", int), ("values", values), ("id", str | None, None)], forbid_unknown_fields=True, gc=False
    )
    odd = tuple((metric.position, metric) for _, metric in metrics if fields[metric.position][1] == float | bool | str)
    return Reader(msgspec.json.Decoder(message).decode, msgspec.json.Decoder(values).decode, odd)


def _odd(vals: tuple[Any, ...], odd: Odd) -> tuple[float | None, ...] | None:
    """The values as numbers; None if one is none."""
    numbers = list(vals)
    for position, metric in odd:
        value = numbers[position]
        if value is not None:
            numbers[position], wrong = number(metric, value)
            if wrong is not None:
                return None
    return tuple(numbers)


def _plain_id(message_id: str) -> bool:
    return 0 < len(message_id) <= MAX_ID_LENGTH and message_id.isascii() and message_id.isprintable()


class PlainReader:
    """Remembers, for one picture of the registry, what each topic means."""

    def __init__(self) -> None:
        self._registry: Registry | None = None
        self._routes: dict[str, _Route | None] = {}
        self._readers: dict[int, tuple[KindSpec, Reader | None]] = {}

    def read(
        self,
        into: Checked,
        messages: Sequence[Inbound],
        start: int,
        end: int,
        registry: Registry,
        without: Collection[int] = (),
    ) -> list[int]:
        """Takes what is plain of `messages[start:end]`; returns the places of those that must go the long way.

        Those of `without` must: they are not to be believed before somebody has looked at them.
        """
        if registry is not self._registry:
            self._registry, self._routes = registry, {}
        routes, plain, rest = self._routes, into.plain, []
        to_sources, to_devices, to_ts = plain.sources.append, plain.devices.append, plain.ts_ms.append
        to_received, to_vals = plain.received_ms.append, plain.vals.append
        for source in range(start, end):
            if without and source in without:
                rest.append(source)
                continue
            topic, payload, _, _, _, received_ms = messages[source]
            try:
                route = routes[topic]
            except KeyError:
                route = self._route(topic, registry)
            if route is None or len(payload) > MAX_PAYLOAD_BYTES:
                rest.append(source)
                continue
            reader = route.reader
            if reader is None or payload[:1] == b"[":
                if not self._parts(into, route, source, payload, received_ms, registry):
                    rest.append(source)
                continue
            try:
                said = reader.message(payload)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                rest.append(source)
                continue
            ts_ms, message_id = said.ts, said.id
            vals = astuple(said.values)
            if reader.odd or None in vals:
                numbers = _odd(vals, reader.odd)
                if numbers is None or numbers.count(None) == len(numbers):
                    rest.append(source)
                    continue
                vals = numbers
            if not (received_ms - LATE_LIMIT_MS <= ts_ms <= received_ms + FUTURE_LIMIT_MS and 0 <= ts_ms <= _LAST_MS):
                rest.append(source)
                continue
            if message_id is not None:
                if not _plain_id(message_id):
                    rest.append(source)
                    continue
                plain.ids.append((len(plain.sources), message_id))
            to_sources(source)
            to_devices(route.device)
            to_ts(ts_ms)
            to_received(received_ms)
            to_vals(vals)
        return rest

    def _parts(
        self, into: Checked, route: _Route, source: int, payload: bytes, received_ms: int, registry: Registry
    ) -> bool:
        """A gateway's list, taken whole or not at all. False: not at all."""
        try:
            parts = _decode_parts(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return False
        if not parts:
            return False
        earliest, latest = max(0, received_ms - LATE_LIMIT_MS), min(_LAST_MS, received_ms + FUTURE_LIMIT_MS)
        devices: list[KnownDevice] = []
        times: list[int] = []
        rows: list[Row] = []
        ids: list[tuple[int, str]] = []
        by_name, forwards = route.by_name, False
        for part in parts:
            named, ts_ms = part.device, part.ts
            if named is None:
                named = route.device.id
            try:
                target = by_name[named]
            except KeyError:
                target = self._target(route, named, registry)
            if target is None or not earliest <= ts_ms <= latest:
                return False
            device, reader = target
            try:
                vals = astuple(reader.values(part.values))
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                return False
            if reader.odd or None in vals:
                numbers = _odd(vals, reader.odd)
                if numbers is None or numbers.count(None) == len(numbers):
                    return False
                vals = numbers
            if part.id is not None:
                if not _plain_id(part.id):
                    return False
                ids.append((len(devices), part.id))
            forwards = forwards or device is not route.device
            devices.append(device)
            times.append(ts_ms)
            rows.append(vals)
        plain = into.plain
        first = len(plain.sources)
        plain.ids += [(first + place, message_id) for place, message_id in ids]
        plain.sources += [source] * len(devices)
        plain.devices += devices
        plain.ts_ms += times
        plain.received_ms += [received_ms] * len(devices)
        plain.vals += rows
        if forwards:
            into.forwarders[route.device.no] = received_ms
        return True

    def _reader(self, kind: KindSpec) -> Reader | None:
        if not kind.metrics:
            return None
        known = self._readers.get(id(kind))
        if known is None or known[0] is not kind:
            # The kind is kept beside its reader: its id() stays its own.
            known = self._readers[id(kind)] = kind, reader_for(kind)
        return known[1]

    def _route(self, topic: str, registry: Registry) -> _Route | None:
        """Only topics of registered devices are remembered, so there are no more of them than devices."""
        parsed = parse_topic(topic)
        if isinstance(parsed, Rejected) or parsed.channel != "telemetry" or parsed.tail:
            return None
        device = registry.devices.get(parsed.device)
        if device is None or device.community != parsed.community:
            return None
        route = None
        if _native(device):
            route = _Route(device, self._reader(device.kind))
        self._routes[topic] = route
        return route

    def _target(self, route: _Route, named: str, registry: Registry) -> tuple[KnownDevice, Reader] | None:
        """The device a publisher calls so and may speak for. Only the known ones are remembered, as in `_route`."""
        publisher = route.device
        device = registry.devices.get(DeviceId(named))
        if device is None or device.community != publisher.community or device.profile is not None:
            return None
        if device is not publisher and (device.gateway_no != publisher.no or named == publisher.address):
            return None
        reader = self._reader(device.kind)
        found = None if reader is None else (device, reader)
        route.by_name[named] = found
        return found


def _native(device: KnownDevice) -> bool:
    return device.codec == "native" and device.profile is None
