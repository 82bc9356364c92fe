"""Times as devices write them, to epoch milliseconds."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from services.domain.codecs.common.parts import Bad, shape
from services.domain.messages import AT_ARRIVAL_MS

CHINA_MINUTES = 8 * 60
"""Offset of the one time zone of China; assumed where a format writes local time without saying which."""
CLOCK_UNSET_MS = 1_262_304_000_000
"""2010-01-01. An earlier time is a clock that nobody has set yet (1970, 2000): such a part is taken at its arrival."""
_LAST_MS = 253_402_300_799_999
_ISO = re.compile(
    r"(\d{4})-?(\d\d)-?(\d\d)[T ](\d\d):?(\d\d)(?::?(\d\d)(?:[.,](\d{1,9}))?)?\s?(Z|z|[+-]\d\d:?(?:\d\d)?)?", re.ASCII
)
_NUMBER = re.compile(r"\d{1,19}(?:\.\d{1,9})?", re.ASCII)


def moment(value: Any, offset_minutes: int = CHINA_MINUTES) -> int:
    """Epoch (s, ms, µs or ns, told apart by size) as number or text, or an ISO 8601 time; nothing: at arrival."""
    if value is None or value == "":
        return AT_ARRIVAL_MS
    if type(value) is int or type(value) is float:
        return _epoch(value)
    if type(value) is str and len(value) <= 40:
        if _NUMBER.fullmatch(value):
            return _epoch(float(value) if "." in value else int(value))
        if match := _ISO.fullmatch(value.strip()):
            return _iso(match, offset_minutes)
    raise Bad(f"the time must be epoch milliseconds or like 2026-01-31T12:00:00Z, got {_said(value)}")


def of_clock(
    year: int, month: int, day: int, hour: int, minute: int, second: int, offset_minutes: int = CHINA_MINUTES
) -> int:
    """Of the fields of a meter's clock; all zero: it has none."""
    if (year % 100, month, day) == (0, 0, 0):
        return AT_ARRIVAL_MS
    try:
        zone = timezone(timedelta(minutes=offset_minutes))
        at = datetime(year, month, day, hour, minute, second, tzinfo=zone)
    except ValueError as error:
        raise Bad(f"the time {year}-{month}-{day} {hour}:{minute}:{second} does not exist: {error}") from None
    return settled(_ms(at))


def settled(ms: int) -> int:
    """The time, or at arrival where the clock was never set."""
    if ms > _LAST_MS:
        raise Bad("the time lies behind the year 9999")
    return AT_ARRIVAL_MS if ms < CLOCK_UNSET_MS else ms


def _epoch(value: float) -> int:
    if isinstance(value, float) and not math.isfinite(value):
        raise Bad("the time is no finite number")
    if value < 0 or value > 10**20:
        raise Bad("the time is no epoch time")
    if value < 10**11:
        return settled(round(value * 1000))
    for unit in (1, 1_000, 1_000_000):
        if value < 10**14 * unit:
            return settled(int(value) // unit)
    raise Bad("the time is no epoch time")


def _iso(match: re.Match[str], offset_minutes: int) -> int:
    year, month, day, hour, minute = (int(match[group]) for group in range(1, 6))
    fraction = int((match[7] or "0").ljust(9, "0")[:6])
    zone = _zone(match[8], offset_minutes)
    try:
        at = datetime(year, month, day, hour, minute, int(match[6] or 0), fraction, tzinfo=zone)
    except ValueError as error:
        raise Bad(f"the time {match[0]} does not exist: {error}") from None
    return settled(_ms(at))


def _zone(text: str | None, offset_minutes: int) -> timezone:
    if text is None:
        return timezone(timedelta(minutes=offset_minutes))
    if text in "Zz":
        return UTC
    digits = text[1:].replace(":", "").ljust(4, "0")
    minutes = int(digits[:2]) * 60 + int(digits[2:])
    if minutes >= 24 * 60:
        raise Bad(f"{text} is no offset from UTC")
    return timezone(timedelta(minutes=-minutes if text[0] == "-" else minutes))


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _ms(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(milliseconds=1)


def _said(value: Any) -> str:
    return repr(value[:40]) if type(value) is str else shape(value)
