"""What becomes of each part of each message: checked against registry and catalogue, or refused with a reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import assert_never

from services.domain.codecs import NATIVE, Decoded
from services.domain.ids import DeviceNo
from services.domain.messages import (
    FUTURE_LIMIT_MS,
    LATE_LIMIT_MS,
    NO_SESSION,
    DeviceEvent,
    Reason,
    Rejected,
    Reply,
    StatusChange,
    Telemetry,
    Topic,
)
from services.ingest.checked import (
    NO_COMMUNITY,
    BadValue,
    Checked,
    ClockOff,
    Happening,
    Outcome,
    Reading,
    Refusal,
    Session,
    Status,
)
from services.ingest.registry import KnownDevice, Registry
from services.ingest.values import number, shown, why

CLOCK_NEVER_SET_MS = 1_577_836_800_000
"""2020-01-01: a device that says it is earlier has lost its clock, not its way."""
DEVICE_TS = "device_ts"
"""In an event's data: the impossible time the device gave, where it was taken at the time of its arrival."""


def check(into: Checked, source: int, received_ms: int, topic: Topic, part: Decoded, registry: Registry) -> None:
    """Puts one decoded part where it belongs. The time of its arrival is the `now` of its time window."""
    refused: Rejected | None
    if isinstance(part, Rejected):
        refused = part
    else:
        publisher = registry.devices.get(topic.device)
        device = None if publisher is None else registry.find(publisher, part.device)
        refused = _stranger(topic, part, publisher, device)
        if refused is None and device is not None and publisher is not None:
            if device is not publisher:
                into.forwarders[publisher.no] = received_ms
            if publisher.codec != NATIVE or device.profile is not None:
                _translated(into, source, received_ms, publisher.codec, device, part, registry)
                return
            if part.device != device.id:
                part = replace(part, device=device.id)
            refused = _take(into, source, received_ms, device, part)
    if refused is not None:
        partition = registry.communities.get(topic.community)
        into.refusals.append(
            Refusal(source, refused, topic.community, NO_COMMUNITY if partition is None else partition)
        )


def heard_again(parts: Sequence[Decoded]) -> list[Decoded]:
    """The parts of a retained message that the broker repeats: what carries no time of its own is not news.

    A smoke alarm of last month must not sound again because ingest subscribed anew. Presence is what retaining is for.
    """
    return [
        Rejected(Reason.TOO_OLD, _UNDATED, part.device, part.message_id)
        if isinstance(part, Telemetry | DeviceEvent) and part.ts_ms < 0
        else part
        for part in parts
    ]


_UNDATED = (
    "a retained message without a time of its own: nobody knows when it was said; switch retain off, or its time on"
)


def _translated(
    into: Checked,
    source: int,
    received_ms: int,
    codec: str,
    device: KnownDevice,
    part: Telemetry | DeviceEvent | StatusChange | Reply,
    registry: Registry,
) -> None:
    """A part in a vendor's words: what it means for the device's kind, each of it checked like any other."""
    for meant in registry.profiles.apply(codec, device.kind.name, device.profile, device.id, part, received_ms):
        refused = meant if isinstance(meant, Rejected) else _take(into, source, received_ms, device, meant)
        if refused is not None:
            into.refusals.append(Refusal(source, refused, device.community, device.partition))


def _take(
    into: Checked,
    source: int,
    received_ms: int,
    device: KnownDevice,
    part: Telemetry | DeviceEvent | StatusChange | Reply,
) -> Rejected | None:
    refused = _window(part, received_ms)
    if refused is not None and refused.reason is Reason.FUTURE:
        into.clocks.append(ClockOff(device, part.ts_ms, received_ms))
    if refused is None:
        return _accept(into, source, received_ms, device, part)
    if isinstance(part, DeviceEvent) and _must_be_answered(part, refused, device):
        return _answer(into, source, received_ms, device, part, refused)
    return refused


def _stranger(
    topic: Topic,
    part: Telemetry | DeviceEvent | StatusChange | Reply,
    publisher: KnownDevice | None,
    device: KnownDevice | None,
) -> Rejected | None:
    """Why this publisher may not say this about this device here."""
    reason, detail = Reason.UNKNOWN_DEVICE, ""
    if publisher is None:
        detail = f"no device {topic.device} is registered; register it, or correct its topic"
    elif publisher.community != topic.community:
        reason = Reason.WRONG_COMMUNITY
        detail = f"{topic.device} belongs to {publisher.community}, not to {topic.community}; correct its topic"
    elif device is None:
        detail = f"no device {part.device} is registered behind {topic.device}"
    elif device is publisher:
        return None
    elif device.community != topic.community:
        reason = Reason.WRONG_COMMUNITY
        detail = f"{device.id} belongs to {device.community}, not to {topic.community}"
    elif device.gateway_no != publisher.no:
        reason = Reason.NOT_YOUR_DEVICE
        detail = f"{device.id} is not registered behind {topic.device}"
    else:
        return None
    return Rejected(reason, detail, part.device, _id_of(part))


def _window(part: Telemetry | DeviceEvent | StatusChange | Reply, now_ms: int) -> Rejected | None:
    if isinstance(part, StatusChange):
        # A will's time is that of the connection, which may have lasted for months; its order is the session.
        early = part.ts_ms - now_ms > FUTURE_LIMIT_MS
        late = False
    else:
        early = part.ts_ms - now_ms > FUTURE_LIMIT_MS
        late = now_ms - part.ts_ms > LATE_LIMIT_MS
    if not early and not late:
        return None
    if early:
        ahead = (part.ts_ms - now_ms) // 1000
        return Rejected(
            Reason.FUTURE,
            f"ts is {ahead} s ahead of the server; set the device's clock",
            part.device,
            _id_of(part),
        )
    hint = "; it looks like seconds, ts is milliseconds" if part.ts_ms < now_ms // 500 else ""
    days = (now_ms - part.ts_ms) // 86_400_000
    return Rejected(Reason.TOO_OLD, f"ts is {days} days ago; at most 7 are taken{hint}", part.device, _id_of(part))


def _must_be_answered(part: DeviceEvent, refused: Rejected, device: KnownDevice) -> bool:
    """A call for help whose time cannot be: ahead of ours, or from before there were such devices."""
    clock_is_wrong = refused.reason is Reason.FUTURE or part.ts_ms < CLOCK_NEVER_SET_MS
    return clock_is_wrong and part.event in device.kind.calls_for_help


def _answer(
    into: Checked, source: int, received_ms: int, device: KnownDevice, part: DeviceEvent, refused: Rejected
) -> Rejected | None:
    """Takes it at the time it arrived; what the device said stands in `data` and, with the reason, in quarantine."""
    before = len(into.happenings)
    data = {**part.data, DEVICE_TS: part.ts_ms}
    unusable = _accept(into, source, received_ms, device, replace(part, ts_ms=received_ms, data=data))
    if unusable is None:
        detail = f"{refused.detail}; a call for help is answered all the same, at the time it arrived"
        into.bad_values += [BadValue(item, refused.reason, detail) for item in into.happenings[before:]]
    return unusable


def _accept(
    into: Checked,
    source: int,
    received_ms: int,
    device: KnownDevice,
    part: Telemetry | DeviceEvent | StatusChange | Reply,
) -> Rejected | None:
    match part:
        case Telemetry():
            return _reading(into, source, received_ms, device, part)
        case DeviceEvent():
            if part.event not in device.kind.events:
                known = ", ".join(sorted(device.kind.events)) or "none"
                detail = f"a {device.kind.name} has no event {shown(part.event)}; it has: {known}"
                return Rejected(Reason.UNKNOWN_EVENT, detail, part.device, part.message_id)
            into.happenings.append(
                Happening(source, received_ms, device, part.ts_ms, part.message_id, part.event, dict(part.data), part)
            )
        case Reply():
            data = {"command_id": part.command_id, "ok": part.ok, "detail": part.detail}
            name = f"reply:{part.command_id}"
            into.happenings.append(
                Happening(source, received_ms, device, part.ts_ms, part.command_id, name, data, part)
            )
        case StatusChange():
            into.statuses.append(Status(source, received_ms, device, part.ts_ms, None, part.online, part.session))
        case _:
            assert_never(part)
    return None


def _reading(into: Checked, source: int, received_ms: int, device: KnownDevice, part: Telemetry) -> Rejected | None:
    metrics = device.kind.metrics
    vals: list[float | None] = [None] * device.kind.width
    bad: list[tuple[Reason, str]] = []
    for name, value in part.values.items():
        metric = metrics.get(name)
        if metric is None:
            bad.append((Reason.UNKNOWN_METRIC, f"a {device.kind.name} has no metric {shown(name)}"))
            continue
        stored, reason = number(metric, value)
        if reason is None:
            vals[metric.position] = stored
        else:
            bad.append((reason, f"{name}: {why(metric, value, reason)}"))
    if len(bad) == len(part.values):
        return Rejected(bad[0][0], "; ".join(detail for _, detail in bad[:8]), part.device, part.message_id)
    item = Reading(source, received_ms, device, part.ts_ms, part.message_id, vals)
    into.readings.append(item)
    for reason, detail in bad:
        into.bad_values.append(BadValue(item, reason, detail))
    return None


def order_statuses(statuses: Sequence[Status], known: Mapping[DeviceNo, Session]) -> dict[DeviceNo, Session]:
    """Marks what says nothing new (a retained status heard again, an older session); the sessions as they are now."""
    now: dict[DeviceNo, Session] = {}
    for status in statuses:
        no = status.device.no
        before = now.get(no) or known.get(no)
        if status.session == NO_SESSION:
            status.session = _session_of(status, before)
        session = (status.session, not status.online)
        if before is not None and session <= before:
            status.outcome = Outcome.DUPLICATE
            status.heartbeat = status.online and session == before and not status.repeated
        else:
            now[no] = session
    return now


def _session_of(status: Status, before: Session | None) -> int:
    """Of a format that numbers no sessions: said again it is nothing new, gone ends the last, back begins another.

    Messages of one device come in their order; where the server's clock was set back the number still grows.
    """
    if before is None:
        return status.received_ms
    session, ended = before
    return max(status.received_ms, session + 1) if status.online and ended else session


def _id_of(part: Telemetry | DeviceEvent | StatusChange | Reply) -> str | None:
    match part:
        case Telemetry() | DeviceEvent():
            return part.message_id
        case Reply():
            return part.command_id
        case StatusChange():
            return None
        case _:
            assert_never(part)
