"""Spans and times of day as people write them: `90s`, `12h`, `1d12h`, `22:30`; and back, without loss."""

from __future__ import annotations

import math
import re

UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_SPAN = re.compile(r"(?:\d+(?:\.\d+)?[dhms])+")
_PART = re.compile(r"(\d+(?:\.\d+)?)([dhms])")
_TIME = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2}))?")


def read_span(written: object) -> float | None:
    """Seconds; a bare number is seconds. None: not a span."""
    if isinstance(written, bool):
        return None
    if isinstance(written, int | float):
        return float(written) if math.isfinite(written) else None
    if not isinstance(written, str) or not _SPAN.fullmatch(written):
        return None
    return sum(float(count) * UNITS[unit] for count, unit in _PART.findall(written))


def write_span(seconds: float) -> str | float:
    """In the largest unit that says it exactly, or the bare number where none does."""
    for unit, size in UNITS.items():
        if seconds >= size and seconds % size == 0:
            return f"{int(seconds // size)}{unit}"
    text = f"{number(seconds)}s"
    return text if read_span(text) == seconds else seconds


def read_time(written: object) -> float | None:
    """Hours since midnight, 0 to 24; a bare number is hours. None: not a time of day."""
    if isinstance(written, bool):
        return None
    if isinstance(written, int | float):
        hours = float(written)
    else:
        match = _TIME.fullmatch(written) if isinstance(written, str) else None
        if match is None or int(match[2]) > 59 or int(match[3] or 0) > 59:
            return None
        hours = int(match[1]) + int(match[2]) / 60 + int(match[3] or 0) / 3600
    return hours if 0 <= hours <= 24 else None


def write_time(hours: float) -> str | float:
    """`22:30`, or the number where no minute says it exactly."""
    minutes = round(hours * 60)
    text = f"{minutes // 60:02d}:{minutes % 60:02d}"
    return text if read_time(text) == hours else hours


def number(value: float) -> str:
    """The shortest text that reads as the same number; never in powers of ten where that can be helped."""
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    return repr(value)
