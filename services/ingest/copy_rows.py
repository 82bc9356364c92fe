"""Rows for PostgreSQL's binary COPY, made a column at a time.

Rows of one shape have the same length and differ in some bytes only, so the n-th byte of a column is laid into all rows
by one strided assignment: no work in Python for a single row.
Format: https://www.postgresql.org/docs/17/sql-copy.html, "Binary Format"; arrays as in the server's array_send.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from itertools import chain
from operator import sub

from services.adapters.log_rows import column
from services.ingest.values import Row

_BEGIN = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_END = b"\xff\xff"
_FLOAT8 = 701
_EPOCH_MS = 946_684_800_000
"""PostgreSQL counts from 2000-01-01, in microseconds."""

_PIECE = 4_000
"""Rows made at once: fewer cost more calls, more cost more memory."""

_NO_AT, _TS_AT, _DELAY_AT = 6, 14, 26
"""Where device number, time and delay stand in a row: behind the number of columns and their own lengths."""

COLUMNS = ("device_no", "ts", "delay_ms", "vals")


def reading_rows(
    device_nos: Sequence[int], ts_ms: Sequence[int], received_ms: Sequence[int], rows: Sequence[Row]
) -> Iterator[bytes | bytearray]:
    """What COPY reading (`COLUMNS`) FROM STDIN takes, WITH (FORMAT binary), in pieces. No row is empty.

    What was received lies within the window of times that ingest takes, so every delay fits its four bytes.
    """
    yield _BEGIN
    times = [(ts - _EPOCH_MS) * 1000 for ts in ts_ms]
    delays = list(map(sub, received_ms, ts_ms))
    for start in range(0, len(rows), _PIECE):
        piece = slice(start, start + _PIECE)
        yield from _piece(device_nos[piece], times[piece], delays[piece], rows[piece])
    yield _END


def _piece(
    device_nos: Sequence[int], times: Sequence[int], delays: Sequence[int], rows: Sequence[Row]
) -> Iterator[bytearray]:
    widths = set(map(len, rows))
    if len(widths) == 1:
        try:
            numbers = column("d", chain.from_iterable(rows))
        except TypeError:
            pass
        else:
            yield _same(device_nos, times, delays, numbers, (False,) * widths.pop())
            return
    shapes: dict[tuple[bool, ...], list[int]] = {}
    for place, row in enumerate(rows):
        shapes.setdefault(tuple([value is None for value in row]), []).append(place)
    for holes, places in shapes.items():
        numbers = column("d", (value for place in places for value in rows[place] if value is not None))
        nos, at, late = ([column[place] for place in places] for column in (device_nos, times, delays))
        yield _same(nos, at, late, numbers, holes)


def _same(
    device_nos: Sequence[int], times: Sequence[int], delays: Sequence[int], numbers: bytes, holes: tuple[bool, ...]
) -> bytearray:
    """`holes`: which values are NULL, in every row alike; `numbers`: the others, row by row."""
    elements, value_at = bytearray(), []
    for hole in holes:
        elements += struct.pack(">i", -1 if hole else 8)
        if not hole:
            value_at.append(len(elements))
            elements += bytes(8)
    head = struct.pack(">iiiii", 1, any(holes), _FLOAT8, len(holes), 1)
    row = struct.pack(">hiiiqiii", 4, 4, 0, 8, 0, 4, 0, len(head) + len(elements)) + head + elements
    first_value, length = len(row) - len(elements), len(row)
    made = bytearray(row * len(device_nos))
    _lay(made, length, _NO_AT, column("i", device_nos), 0, 4, 4)
    _lay(made, length, _TS_AT, column("q", times), 0, 8, 8)
    _lay(made, length, _DELAY_AT, column("i", delays), 0, 4, 4)
    for nth, at in enumerate(value_at):
        _lay(made, length, first_value + at, numbers, 8 * nth, 8, 8 * len(value_at))
    return made


def _lay(into: bytearray, length: int, at: int, packed: bytes, start: int, size: int, every: int) -> None:
    """`size` bytes from `start` on, of every `every` bytes of `packed`, at place `at` of every row."""
    for byte in range(size):
        into[at + byte :: length] = packed[start + byte :: every]
