"""Readings of a batch into the database: in bulk as long as each is new, one by one where some are not."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from services.adapters.queries import Queries
from services.domain.messages import Reason, Rejected
from services.ingest.batch import Written
from services.ingest.checked import BadValue, Checked, Outcome, Reading
from services.ingest.copy_rows import COLUMNS, reading_rows
from services.ingest.values import reconcile

Q = Queries.beside(__file__)

_PAUSE = 8
_LONGEST_PAUSE = 1024


class NotAllNew(Exception):
    """COPY met a row that is there already: nothing of the transaction holds, and single rows must be looked at."""


@dataclass(slots=True)
class Bulk:
    """Whether COPY is worth trying: it costs a third, but one repeated row of a batch makes it fail as a whole.

    After a failure the next batches are inserted row by row, twice as many after each further one: a device that
    repeats itself for ever costs one vain COPY in a thousand batches.
    """

    pause: int = _PAUSE
    left: int = 0

    def wanted(self) -> bool:
        if self.left:
            self.left -= 1
            return False
        return True

    def failed(self) -> None:
        self.left, self.pause = self.pause, min(2 * self.pause, _LONGEST_PAUSE)

    def worked(self) -> None:
        self.pause = max(_PAUSE, self.pause // 2)


async def copy_readings(connection: asyncpg.Connection[Any], checked: Checked) -> None:
    """All of them, as new rows. Raises NotAllNew; the transaction is then lost."""
    plain, readings = checked.plain, checked.readings
    nos = [device.no for device in plain.devices] + [reading.device.no for reading in readings]
    times = plain.ts_ms + [reading.ts_ms for reading in readings]
    heard = plain.received_ms + [reading.received_ms for reading in readings]
    rows = [*plain.vals, *(reading.vals for reading in readings)]

    async def source() -> AsyncIterator[bytes | bytearray]:
        for piece in reading_rows(nos, times, heard, rows):
            yield piece

    try:
        await connection.copy_to_table("reading", source=source(), columns=COLUMNS, format="binary")
    except (asyncpg.UniqueViolationError, asyncpg.FeatureNotSupportedError) as error:
        raise NotAllNew(str(error)) from error


async def insert_readings(connection: asyncpg.Connection[Any], checked: Checked, written: Written) -> None:
    """Row by row: what is there already is a duplicate, fills holes, or contradicts."""
    checked.unfold()
    readings = checked.readings
    first: dict[tuple[int, int], Reading] = {}
    again: list[Reading] = []
    for reading in readings:
        key = (reading.device.no, reading.ts_ms)
        if key in first:
            again.append(reading)
        else:
            first[key] = reading
    vals, widths, starts = _flat(reading.vals for reading in first.values())
    nos, times = [no for no, _ in first], [ts for _, ts in first]
    delays = [reading.received_ms - reading.ts_ms for reading in first.values()]
    result = await connection.fetchrow(Q["insert_readings"], nos, times, widths, vals, starts, delays)
    if result["count"] < len(first):
        new = set(zip(result["device_nos"] or (), result["ts_ms"] or (), strict=True))
        # In the order they came: which of two is the first value must not depend on the batch.
        repeated = {id(reading) for reading in again}
        again = [r for r in readings if id(r) in repeated or (r.device.no, r.ts_ms) not in new]
    if again:
        await _meet(connection, again, written)


async def _meet(connection: asyncpg.Connection[Any], again: list[Reading], written: Written) -> None:
    """Readings whose row is there already: duplicates, fillers of holes, or contradictions."""
    keys = list({(reading.device.no, reading.ts_ms): None for reading in again})
    times = [ts for _, ts in keys]
    rows = await connection.fetch(Q["stored_readings"], [no for no, _ in keys], times, min(times), max(times))
    stored: dict[tuple[int, int], list[float | None]] = {(row["device_no"], row["ts_ms"]): row["vals"] for row in rows}
    filled: dict[tuple[int, int], list[float | None]] = {}
    for reading in again:
        key = (reading.device.no, reading.ts_ms)
        now, added, disagree = reconcile(stored[key], reading.vals)
        details = [_contradiction(reading, position, now[position]) for position in disagree]
        if any(value is not None for value in added):
            stored[key] = filled[key] = now
            reading.added = added
            written.conflicts += [BadValue(reading, Reason.CONFLICT, detail) for detail in details]
        elif disagree:
            reading.refuse(Rejected(Reason.CONFLICT, "; ".join(details), reading.device.id, reading.message_id))
        else:
            reading.outcome = Outcome.DUPLICATE
    if filled:
        await connection.executemany(Q["fill_reading"], [(*key, vals) for key, vals in filled.items()])


def _contradiction(reading: Reading, position: int, stored: float | None) -> str:
    name = next(name for name, metric in reading.device.kind.metrics.items() if metric.position == position)
    return f"{name}: {stored:g} was stored for this time before, now {reading.vals[position]:g}; the first stands"


def _flat(rows: Iterable[Sequence[float | None]]) -> tuple[list[float], list[int], list[int]]:
    """All values in one array, NaN for a hole, with each row's width and where it starts (from 1).

    An array with NULLs in it can be sliced only by walking it; NaN cannot be sent, so it is free to mean a hole.
    """
    vals: list[float] = []
    widths: list[int] = []
    starts: list[int] = []
    for row in rows:
        starts.append(len(vals) + 1)
        widths.append(len(row))
        if None in row:
            vals += [math.nan if value is None else value for value in row]
        else:
            vals += row  # type: ignore[arg-type]
    return vals, widths, starts
