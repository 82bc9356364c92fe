"""Raw DL/T 645-2007 frames (electricity): 68 A0…A5 68 C L data+33H CS 16, with or without FE before.

A meter's address is its 12 digits, high byte first, as printed. Frames carry no time: they are taken at arrival, all of
a message as one reading. Source: DL/T 645-2007, clauses 5 and 7, annexes A and D.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from services.domain.codecs.codec import Codec, Decoded
from services.domain.codecs.common.frames import bcd, checksum, digits, octets
from services.domain.codecs.common.parts import Bad, telemetry, total
from services.domain.ids import DeviceId
from services.domain.messages import AT_ARRIVAL_MS, Reason, Rejected, Topic

_TARIFFS = ("", "_t1", "_t2", "_t3", "_t4")
_ENERGY = {
    0x0000: "combined_active_energy_kwh",
    0x0001: "forward_active_energy_kwh",
    0x0002: "reverse_active_energy_kwh",
}
_PHASED: dict[int, tuple[str, int, float, tuple[str, ...]]] = {
    0x0201: ("voltage_v", 2, 0.1, ("", "_a", "_b", "_c")),
    0x0202: ("current_a", 3, 0.001, ("", "_a", "_b", "_c")),
    0x0203: ("active_power_kw", 3, 0.0001, ("_total", "_a", "_b", "_c")),
    0x0204: ("reactive_power_kvar", 3, 0.0001, ("_total", "_a", "_b", "_c")),
    0x0205: ("apparent_power_kva", 3, 0.0001, ("_total", "_a", "_b", "_c")),
    0x0206: ("power_factor", 2, 0.001, ("_total", "_a", "_b", "_c")),
}
"""DI3 DI2 → name, bytes, weight of the last digit, suffixes by DI1 (annex A, table A.3)."""
_SIGNED = {0x0202, 0x0203, 0x0204, 0x0206, 0x0000}
_ERRORS = (
    "another error", "it has no such data", "wrong password or not authorised", "the baud rate cannot be changed",
    "too many yearly zones", "too many daily periods", "too many tariffs",
)  # fmt: skip
"""The bits of the error word of an abnormal answer."""


def _read(topic: Topic, payload: bytes) -> Iterator[Decoded]:
    found: dict[str, dict[str, Any]] = {}
    for frame in _frames(octets(payload)):
        try:
            address, values = _frame(frame)
            found.setdefault(address, {}).update(values)
        except Bad as bad:
            yield Rejected(Reason.MALFORMED, str(bad), topic.device)
    for address, values in found.items():
        yield from telemetry(DeviceId(address), AT_ARRIVAL_MS, values)


def _frames(data: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(data):
        if data[at] == 0xFE:
            at += 1
            continue
        size = 12 + data[at + 9] if len(data) > at + 9 else 0
        yield data[at : at + size] if size else data[at:]
        if size == 0 or data[at] != 0x68 or at + size > len(data) or data[at + size - 1] != 0x16:
            return
        at += size


def _frame(frame: bytes) -> tuple[str, dict[str, Any]]:
    if frame[:1] != b"\x68":
        raise Bad(f"a DL/T 645 frame starts with 68H, this starts with {frame[:1].hex().upper()}H")
    if len(frame) < 12 or len(frame) != 12 + frame[9]:
        raise Bad("the frame is cut off: it is shorter than its length byte says")
    if frame[7] != 0x68 or frame[-1] != 0x16:
        raise Bad("the second 68H or the closing 16H is not where a DL/T 645 frame has it")
    if frame[-2] != checksum(frame[:-2]):
        raise Bad(f"checksum {frame[-2]:02X}H is wrong, {checksum(frame[:-2]):02X}H is right: damaged on the way")
    address, control = digits(frame[1:7]), frame[8]
    data = bytes((byte - 0x33) & 0xFF for byte in frame[10:-2])
    if not control & 0x80:
        raise Bad("this is a question to the meter, not its answer")
    if control & 0x40:
        bits = data[0] if data else 0
        why = ", ".join(words for bit, words in enumerate(_ERRORS) if bits >> bit & 1) or "it does not say why"
        raise Bad(f"meter {address} refuses the question: {why}")
    if control & 0x1F not in (0x11, 0x12):
        raise Bad(f"control code {control:02X}H is not read; answers to reading (91H, B1H, 92H) are")
    if len(data) < 5:
        raise Bad(f"meter {address} answers without data")
    if control & 0x1F == 0x12:
        data = data[:-1]
    return address, _values(int.from_bytes(data[:4], "little"), data[4:])


def _values(identifier: int, body: bytes) -> dict[str, Any]:
    group, item, settled = identifier >> 16, identifier >> 8 & 0xFF, identifier & 0xFF
    if settled == 0 and group in _ENERGY:
        return _series(group, item, body, _ENERGY[group], 4, 0.01, _TARIFFS, first=0)
    if settled == 0 and group in _PHASED:
        name, size, weight, suffixes = _PHASED[group]
        first = 0 if suffixes[0] else 1
        return _series(group, item, body, name, size, weight, suffixes, first)
    raise Bad(
        f"data identifier {identifier:08X}H is not read; 00010000H (energy), 0201xx00H (voltage), 0202xx00H (current), "
        "0203xx00H (power) and 0206xx00H (power factor) are"
    )


def _series(
    group: int, item: int, body: bytes, name: str, size: int, weight: float, suffixes: tuple[str, ...], first: int
) -> dict[str, Any]:
    """One value, or with FFH as the item a block of them. A value of nothing but F is not there."""
    if item == 0xFF:
        wanted = range(first, len(suffixes))
    elif first <= item < len(suffixes):
        wanted = range(item, item + 1)
    else:
        raise Bad(f"data identifier {group:04X}{item:02X}00H is not read")
    if len(body) < size or (item != 0xFF and len(body) != size):
        raise Bad(f"{group:04X}{item:02X}00H needs {size} bytes a value, this has {len(body)}")
    values: dict[str, Any] = {}
    for place, index in enumerate(wanted):
        raw = body[place * size : place * size + size]
        if len(raw) < size:
            break
        if set(raw) == {0xFF}:
            continue
        values[name + suffixes[index]] = round(_number(raw, group in _SIGNED) * weight, 4)
    if not values:
        raise Bad(f"{group:04X}{item:02X}00H: the meter measures nothing there")
    return values


def _number(raw: bytes, signed: bool) -> int:
    negative = signed and raw[-1] & 0x80
    number = bcd(raw[:-1] + bytes([raw[-1] & 0x7F]) if signed else raw)
    if number is None:
        raise Bad(f"{raw[::-1].hex().upper()}H is no decimal number")
    return -number if negative else number


CODEC = Codec("dlt645", total(_read))
