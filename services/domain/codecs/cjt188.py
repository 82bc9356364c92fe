"""Raw CJ/T 188 frames (water, gas; 2004 and 2018): 68 T A0…A6 C L data CS 16, with or without FE before.

Answers to 901F (readings) and A017 (valve) are read; a meter's address is its 14 digits, high byte first, as printed.
The meter's clock is local time of China. Source: CJ/T 188-2004 and 2018, frame format, data identifiers, units (annex).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from services.domain.codecs.codec import Codec, Decoded
from services.domain.codecs.common.frames import bcd, checksum, digits, octets
from services.domain.codecs.common.parts import Bad, each, telemetry, total
from services.domain.codecs.common.times import of_clock
from services.domain.ids import DeviceId
from services.domain.messages import AT_ARRIVAL_MS, Topic

_UNITS: dict[int, tuple[str, float]] = {
    0x02: ("kwh", 1e-3), 0x05: ("kwh", 1.0), 0x08: ("kwh", 1e3), 0x0A: ("kwh", 1e5),
    0x01: ("kwh", 1 / 3.6e6), 0x0B: ("kwh", 1 / 3600), 0x0E: ("kwh", 1 / 3.6), 0x11: ("kwh", 1e3 / 3.6),
    0x13: ("kwh", 1e5 / 3.6), 0x29: ("m3", 1e-3), 0x2C: ("m3", 1.0),
}  # fmt: skip
"""Unit code → what it counts in LinHub's unit, and the factor."""
_VALVES = ("open", "closed", "fault", "fault")
_HEAT = range(0x20, 0x2A)
_READ, _WRITTEN, _READ_FAILED, _WRITE_FAILED = 0x81, 0x84, 0xC1, 0xC4


def _read(topic: Topic, payload: bytes) -> Iterator[Decoded]:
    data = octets(payload)
    return each(topic, _frames(data), _frame)


def _frames(data: bytes) -> Iterator[bytes]:
    """One after the other; what cannot be one ends the search with its reason (as an empty frame)."""
    at = 0
    while at < len(data):
        if data[at] == 0xFE:
            at += 1
            continue
        size = 13 + data[at + 10] if len(data) > at + 10 else 0
        yield data[at : at + size] if size else data[at:]
        if size == 0 or data[at] != 0x68 or at + size > len(data) or data[at + size - 1] != 0x16:
            return
        at += size


def _frame(frame: bytes) -> Iterator[Decoded]:
    if frame[:1] != b"\x68":
        raise Bad(f"a CJ/T 188 frame starts with 68H, this starts with {frame[:1].hex().upper()}H")
    if len(frame) < 13 or len(frame) != 13 + frame[10]:
        raise Bad("the frame is cut off: it is shorter than its length byte says")
    if frame[-1] != 0x16:
        raise Bad("the frame does not end in 16H")
    if frame[-2] != checksum(frame[:-2]):
        raise Bad(f"checksum {frame[-2]:02X}H is wrong, {checksum(frame[:-2]):02X}H is right: damaged on the way")
    meter, address, control, data = frame[1], digits(frame[2:9]), frame[9], frame[11:-2]
    if control in (_READ_FAILED, _WRITE_FAILED):
        state = f", status {data[1:].hex().upper()}" if len(data) > 1 else ""
        raise Bad(f"meter {address} answers that it could not do it (control {control:02X}H{state})")
    if not control & 0x80:
        raise Bad("this is a question to the meter, not its answer")
    if control not in (_READ, _WRITTEN) or len(data) < 3:
        raise Bad(f"control code {control:02X}H is not read; answers to readings (81H) and valve orders (84H) are")
    identifier = frozenset(data[:2])
    if control == _READ and identifier == {0x90, 0x1F}:
        yield from _reading(meter, DeviceId(address), data[3:])
    elif control == _WRITTEN and identifier == {0xA0, 0x17} and len(data) >= 4:
        yield from telemetry(DeviceId(address), AT_ARRIVAL_MS, _status(data[3]))
    else:
        raise Bad(f"data identifier {data[:2].hex().upper()}H is not read; 901FH (readings) is")


def _reading(meter: int, address: DeviceId, body: bytes) -> Iterator[Decoded]:
    if meter in _HEAT:
        raise Bad(f"meter type {meter:02X}H is a heat meter; there is no such device kind")
    if len(body) < 12:
        raise Bad(f"a reading needs at least 12 bytes behind its identifier, this has {len(body)}")
    values: dict[str, Any] = {}
    for name, at in (("current", 0), ("settled", 5)):
        count, code = bcd(body[at : at + 4]), body[at + 4]
        if count is None:
            continue
        if code not in _UNITS:
            raise Bad(f"unit code {code:02X}H of the {name} total is not known")
        what, factor = _UNITS[code]
        values[f"{name}_total_{what}"] = round(count / 100 * factor, 9)
    ts_ms = AT_ARRIVAL_MS
    if len(body) >= 17:
        ts_ms = _clock(body[10:17])
        values |= _status(body[17]) if len(body) > 17 else {}
    else:
        values |= _status(body[10])
    yield from telemetry(address, ts_ms, values)


def _status(state: int) -> dict[str, Any]:
    """D1 D0 the valve, D2 the battery. A good battery is not mentioned."""
    return {"valve": _VALVES[state & 3], **({"battery_low": True} if state & 4 else {})}


def _clock(raw: bytes) -> int:
    fields = [bcd(raw[at : at + 1]) for at in range(5)]
    year = bcd(raw[5:7])
    if year is None or None in fields:
        return AT_ARRIVAL_MS
    second, minute, hour, day, month = (field or 0 for field in fields)
    return of_clock(year, month, day, hour, minute, second) if year else AT_ARRIVAL_MS


CODEC = Codec("cjt188", total(_read))
