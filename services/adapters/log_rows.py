"""The readings of one row of `ingest_log` as bytes: columns one after the other, numbers as PostgreSQL sends them.

For n readings: n device numbers (int4), n times of the device, n of arrival (int8, epoch ms), n widths (int2), then the
values of each reading in turn (float8, NaN for a hole), all big-endian. An array of numbers costs the driver a third of
a microsecond each; these cost nothing that can be measured, and the server takes them as they are.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, NamedTuple

_SWAP = sys.byteorder == "little"


class LogReadings(NamedTuple):
    """Columns: reading i has widths[i] of `vals`, in order, None for a hole."""

    device_nos: list[int]
    ts_ms: list[int]
    received_ms: list[int]
    widths: list[int]
    vals: list[float | None]


EMPTY = LogReadings([], [], [], [], [])


def column(code: str, numbers: Iterable[Any]) -> bytes:
    """Numbers of array's type `code`, big-endian."""
    packed = array(code, numbers)
    if _SWAP:
        packed.byteswap()
    return packed.tobytes()


def values(rows: Sequence[Sequence[float | None]]) -> bytes:
    """All values of all rows, NaN for a hole."""
    try:
        return column("d", chain.from_iterable(rows))
    except TypeError:
        return column("d", (math.nan if value is None else value for value in chain.from_iterable(rows)))


def pack(
    device_nos: Sequence[int], ts_ms: Sequence[int], received_ms: Sequence[int], rows: Sequence[Sequence[float | None]]
) -> bytes:
    return b"".join(
        (
            column("i", device_nos),
            column("q", ts_ms),
            column("q", received_ms),
            column("h", map(len, rows)),
            values(rows),
        )
    )


def _numbers(code: str, packed: bytes) -> Any:
    numbers = array(code)
    numbers.frombytes(packed)
    if _SWAP:
        numbers.byteswap()
    return numbers


def unpack(count: int, packed: bytes) -> LogReadings:
    """Raises ValueError where the bytes are not `count` readings."""
    if not count and not packed:
        return EMPTY
    ends = [4 * count, 12 * count, 20 * count, 22 * count]
    if count < 0 or len(packed) < ends[-1]:
        raise ValueError(f"{len(packed)} bytes are no {count} readings")
    widths = _numbers("h", packed[ends[2] : ends[3]])
    if len(packed) != ends[-1] + 8 * sum(widths):
        raise ValueError(f"widths add up to {sum(widths)}, but there are {(len(packed) - ends[-1]) / 8:g} values")
    numbers: list[float | None] = _numbers("d", packed[ends[3] :]).tolist()
    # The sum is no number exactly when one of them is none: what is stored lies within limits.
    if math.isnan(sum(numbers)):  # type: ignore[arg-type]
        numbers = [None if value != value else value for value in numbers]
    return LogReadings(
        _numbers("i", packed[: ends[0]]).tolist(),
        _numbers("q", packed[ends[0] : ends[1]]).tolist(),
        _numbers("q", packed[ends[1] : ends[2]]).tolist(),
        widths.tolist(),
        numbers,
    )


def device_numbers(packed: bytes) -> set[int]:
    """Of the device column alone; of one that is cut short, those that are whole."""
    return set(_numbers("i", packed[: len(packed) // 4 * 4]))
