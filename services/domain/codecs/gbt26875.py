"""GB/T 26875.3-2011, fire transmission devices (用户信息传输装置): 4040 header unit sum 2323.

Part states (type 2) and system states (1) become events by the bits that are set, analog values (3) readings, the
device's own state (21) events of the publisher. A part's address is `{system}.{system address}.{part, 8 hex digits}`.
Time tags are local time of China. Source: GB/T 26875.3-2011, clauses 6, 8 and tables 3 to 8.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from services.domain.codecs.codec import Codec, Decoded
from services.domain.codecs.common.frames import checksum, octets
from services.domain.codecs.common.parts import Bad, event, online, telemetry, total
from services.domain.codecs.common.times import of_clock
from services.domain.ids import DeviceId
from services.domain.messages import Reason, Rejected, Topic

_HEAD = 27
"""Bytes from the start mark to the command byte."""
_CONFIRM, _DENY = 3, 6
_SYSTEM_BITS = (
    "normal", "fire_alarm", "fault", "shielded", "supervised", "started", "feedback", "delayed", "main_power_fault",
    "backup_power_fault", "bus_fault", "manual", "configuration_changed", "reset",
)  # fmt: skip
_PART_BITS = (
    "normal", "fire_alarm", "fault", "shielded", "supervised", "started", "feedback", "delayed", "power_fault",
)  # fmt: skip
_OWN_BITS = (
    "normal", "fire_alarm", "fault", "main_power_fault", "backup_power_fault", "centre_link_fault", "line_fault",
)  # fmt: skip
_ANALOG = {
    1: ("event_count", 1.0), 2: ("height_m", 0.01), 3: ("temperature_c", 0.1), 4: ("pressure_mpa", 0.1),
    5: ("pressure_kpa", 0.1), 6: ("gas_lel", 0.1), 7: ("time_s", 1.0), 8: ("voltage_v", 0.1), 9: ("current_a", 0.1),
    10: ("flow_l_s", 0.1), 11: ("air_m3_min", 0.1), 12: ("wind_m_s", 1.0),
}  # fmt: skip
"""Analog type → name and weight (table 8)."""


def _read(topic: Topic, payload: bytes) -> Iterator[Decoded]:
    data = octets(payload)
    at = 0
    while at < len(data):
        size = _size(data, at)
        yield from _frame(topic, data[at : at + size])
        at += size


def _size(data: bytes, at: int) -> int:
    if data[at : at + 2] != b"\x40\x40":
        raise Bad(f"a GB/T 26875.3 frame starts with 4040H, this starts with {data[at : at + 2].hex().upper()}H")
    if len(data) - at < _HEAD + 3:
        raise Bad("the frame is cut off: a frame has at least 30 bytes")
    size = _HEAD + 3 + int.from_bytes(data[at + 24 : at + 26], "little")
    if len(data) - at < size:
        raise Bad(f"the frame is cut off: {size} bytes are announced, {len(data) - at} came")
    frame = data[at : at + size]
    if frame[-2:] != b"\x23\x23":
        raise Bad("the frame does not end in 2323H")
    if frame[-3] != checksum(frame[2:-3]):
        raise Bad(f"checksum {frame[-3]:02X}H is wrong, {checksum(frame[2:-3]):02X}H is right: damaged on the way")
    return size


def _frame(topic: Topic, frame: bytes) -> Iterator[Decoded]:
    command, unit = frame[26], frame[_HEAD:-3]
    if command in (_CONFIRM, _DENY) or not unit:
        yield online(topic.device)
        return
    if command not in (2, 5):
        raise Bad(f"command {command} is no report; 2 (sending data) and 5 (answer) are")
    if len(unit) < 2:
        raise Bad("the data unit is cut off")
    kind, count, body = unit[0], unit[1], unit[2:]
    if kind not in _OBJECTS:
        if kind in _SILENT:
            yield online(topic.device)
            return
        raise Bad(f"information type {kind} is not read; 1 (systems), 2 (parts), 3 (analog) and 21 (own state) are")
    size, read = _OBJECTS[kind]
    if count == 0 or len(body) < count * size:
        raise Bad(f"{count} objects of {size} bytes are announced, {len(body)} bytes came")
    for number in range(count):
        try:
            yield from read(topic, body[number * size : number * size + size])
        except Bad as bad:
            yield Rejected(Reason.MALFORMED, f"object {number + 1}: {bad}", topic.device)


def _system(topic: Topic, body: bytes) -> Iterator[Decoded]:
    state = int.from_bytes(body[2:4], "little")
    data = {"system": body[0], "state": f"{state:04X}"}
    return _events(DeviceId(f"{body[0]}.{body[1]}"), state, _SYSTEM_BITS, _clock(body[4:10]), data)


def _part(topic: Topic, body: bytes) -> Iterator[Decoded]:
    state = int.from_bytes(body[7:9], "little")
    note = body[9:40].split(b"\0")[0].decode("gb18030", "replace").strip()
    data = {"part": body[2], "state": f"{state:04X}", **({"note": note} if note else {})}
    return _events(_address(body), state, _PART_BITS, _clock(body[40:46]), data)


def _analog(topic: Topic, body: bytes) -> Iterator[Decoded]:
    kind, raw = body[7], int.from_bytes(body[8:10], "little", signed=True)
    if kind not in _ANALOG:
        raise Bad(f"analog type {kind} is not known")
    name, weight = _ANALOG[kind]
    return telemetry(_address(body), _clock(body[10:16]), {name: round(raw * weight, 2)})


def _own(topic: Topic, body: bytes) -> Iterator[Decoded]:
    return _events(topic.device, body[0], _OWN_BITS, _clock(body[1:7]), {"state": f"{body[0]:02X}"})


_OBJECTS: dict[int, tuple[int, Callable[[Topic, bytes], Iterator[Decoded]]]] = {
    1: (10, _system),
    2: (46, _part),
    3: (16, _analog),
    21: (7, _own),
}
"""Information type → bytes of one object with its time tag, and its reader."""
_SILENT = (4, 5, 6, 7, 8, 24, 25, 26, 28)
"""Operations, versions, configurations, system time: they say that the device lives."""


def _address(body: bytes) -> DeviceId:
    return DeviceId(f"{body[0]}.{body[1]}.{body[3:7][::-1].hex()}")


def _events(
    device: DeviceId, state: int, bits: tuple[str, ...], ts_ms: int, data: dict[str, object]
) -> Iterator[Decoded]:
    """One event a bit that is set; bit 0 is 1 in normal operation and 0 in a test."""
    raised = [name for bit, name in enumerate(bits) if bit and state >> bit & 1]
    for name in raised or (["normal"] if state & 1 else ["test"]):
        yield event(device, ts_ms, name, dict(data))


def _clock(tag: bytes) -> int:
    second, minute, hour, day, month, year = tag
    return of_clock(2000 + year, month, day, hour, minute, second)


def _reply(topic: Topic, payload: bytes, refused: str | None) -> tuple[str, bytes] | None:
    """A confirmation (command 3), or a denial (6), with the frame's own number and time, addresses swapped."""
    try:
        data = octets(payload)
        frame = data[: _size(data, 0)]
    except Bad:
        return None
    if frame[26] != 2:
        return None
    command = _CONFIRM if refused is None else _DENY
    body = frame[2:12] + frame[18:24] + frame[12:18] + b"\0\0" + bytes([command])
    return "gbt26875", b"\x40\x40" + body + bytes([checksum(body)]) + b"\x23\x23"


CODEC = Codec("gbt26875", total(_read), _reply)
