"""Rows for PostgreSQL's binary COPY, made a column at a time.

Rows of one shape have the same length and differ in some bytes only, so the n-th byte of a column is laid into all rows
by one strided assignment: no work in Python for a single row.
Format: https://www.postgresql.org/docs/17/sql-copy.html, "Binary Format"; arrays as in the server's array_send.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import TypeVar

from services.adapters.log_rows import column
from services.ingest.values import Row

T = TypeVar("T")

_BEGIN = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_END = b"\xff\xff"
_FLOAT8 = 701
_EPOCH_MS = 946_684_800_000
"""PostgreSQL counts from 2000-01-01, in microseconds."""

_NO_AT, _TS_AT = 6, 14
"""Where device number and time stand in a row: behind the number of columns and their own lengths."""


def reading_rows(device_nos: Sequence[int], ts_ms: Sequence[int], rows: Sequence[Row]) -> bytes:
    """What COPY reading (device_no, ts, vals) FROM STDIN takes, WITH (FORMAT binary). No row is empty."""
    parts = [_BEGIN]
    widths = set(map(len, rows))
    if len(widths) == 1 and not any(None in row for row in rows):
        parts.append(_same(device_nos, ts_ms, rows, (False,) * widths.pop()))
    else:
        shapes: dict[tuple[bool, ...], list[int]] = {}
        for place, row in enumerate(rows):
            shapes.setdefault(tuple([value is None for value in row]), []).append(place)
        for holes, places in shapes.items():
            parts.append(_same(_pick(device_nos, places), _pick(ts_ms, places), _pick(rows, places), holes))
    parts.append(_END)
    return b"".join(parts)


def _pick(of: Sequence[T], places: Iterable[int]) -> list[T]:
    return [of[place] for place in places]


def _same(device_nos: Sequence[int], ts_ms: Sequence[int], rows: Sequence[Row], holes: tuple[bool, ...]) -> bytes:
    """`holes`: which values are NULL, in every row alike."""
    count, width = len(rows), len(holes)
    elements, value_at = bytearray(), []
    for hole in holes:
        elements += struct.pack(">i", -1 if hole else 8)
        if not hole:
            value_at.append(len(elements))
            elements += bytes(8)
    head = struct.pack(">iiiii", 1, any(holes), _FLOAT8, width, 1)
    row = struct.pack(">hiiiqi", 3, 4, 0, 8, 0, len(head) + len(elements)) + head + elements
    first_value = len(row) - len(elements)
    made = bytearray(row * count)
    _lay(made, len(row), _NO_AT, column("i", device_nos), 4)
    _lay(made, len(row), _TS_AT, column("q", [(ts - _EPOCH_MS) * 1000 for ts in ts_ms]), 8)
    columns = [values for values, hole in zip(zip(*rows, strict=True), holes, strict=True) if not hole]
    for at, values in zip(value_at, columns, strict=True):
        _lay(made, len(row), first_value + at, column("d", values), 8)
    return bytes(made)


def _lay(into: bytearray, stride: int, at: int, packed: bytes, size: int) -> None:
    for byte in range(size):
        into[at + byte :: stride] = packed[byte::size]
