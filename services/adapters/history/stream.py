"""Reads what was received between two times, from the log while it lasts, else from readings, events and notes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from heapq import heapify, heappop, heapreplace
from typing import Any

import asyncpg

from services.adapters.log_rows import EMPTY, unpack
from services.adapters.queries import Queries
from services.domain.engine.entries import LogRow, Unreadable, items_of
from services.domain.engine.subjects import Roster
from services.domain.ids import DeviceNo, Partition
from services.domain.proof.silences import Silences
from services.domain.rules.evaluation import Clock, Event, Flood, Item, Reading, Reply, Status

Q = Queries.beside(__file__)

PIECE = 5_000
"""Items handed over at once: what is in memory of a history, beside the server's cursors."""
_FETCH = 2_000
_SLICE = timedelta(hours=6)
LATE = timedelta(hours=1)
"""What took longer is read apart: else every slice would have to look a week back for it."""
_REPLY = "reply:"

Keyed = tuple[int, int, Item]
"""(received, rank, item): the order of the log, in which of one moment events come before readings."""


class Way(StrEnum):
    """Where history is read from."""

    AUTO = "auto"
    """The log where it reaches back far enough, else the tables."""
    LOG = "log"
    TABLES = "tables"


class LogTooShort(ValueError):
    """The log does not reach back to where it was asked from."""


@dataclass(slots=True)
class Source:
    """What was read, and how much of it."""

    way: Way
    items: int = 0
    unreadable: int = 0
    silences_since: datetime | None = None
    """Since when silences are kept: before, no device counts as offline."""


def ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


async def choose(
    connection: asyncpg.Connection[Any], way: Way, partitions: Sequence[Partition], begin: datetime
) -> Way:
    """Raises LogTooShort where the log was asked for and does not reach back that far."""
    if way is Way.TABLES:
        return way
    rows = await connection.fetch(Q["oldest_log"], list(partitions))
    if all(row["seq"] == 1 or row["committed_ms"] < ms(begin) for row in rows):
        return Way.LOG if rows or way is Way.LOG else Way.TABLES
    if way is Way.LOG:
        oldest = datetime.fromtimestamp(max(row["committed_ms"] for row in rows if row["seq"] > 1) / 1000, UTC)
        raise LogTooShort(f"the log reaches back to {oldest:%Y-%m-%d %H:%M} UTC only")
    return Way.TABLES


async def silences(
    connection: asyncpg.Connection[Any], devices: Sequence[DeviceNo], begin: datetime, end: datetime
) -> Silences:
    rows = await connection.fetch(Q["silences"], list(devices), begin, end)
    return Silences((DeviceNo(row["device_no"]), row["from_ms"], row["to_ms"]) for row in rows)


async def pieces(
    connection: asyncpg.Connection[Any],
    source: Source,
    roster: Roster,
    partition: Partition,
    begin: datetime,
    end: datetime,
) -> AsyncIterator[list[Item]]:
    """Needs a transaction. Between two pieces no two items of one moment stand apart in the wrong order."""
    devices = sorted(roster.devices)
    if source.way is Way.LOG:
        streams = [_log(connection, source, roster, partition, lane, begin, end) for lane in (0, 1)]
    else:
        streams = [
            _events(connection, devices, begin, end),
            _notes(connection, devices, begin, end),
            _readings(connection, roster, devices, begin, end),
            _late(connection, roster, devices, begin, end),
        ]
    piece: list[Item] = []
    async for _, _, item in _merged(streams):
        piece.append(item)
        source.items += 1
        if len(piece) >= PIECE:
            yield piece
            piece = []
    if piece:
        yield piece


async def _merged(streams: Sequence[AsyncIterator[Keyed]]) -> AsyncIterator[Keyed]:
    """Each stream stays in its own order; the streams are taken by (received, rank)."""
    heads: list[tuple[int, int, int, Item, AsyncIterator[Keyed]]] = []
    for place, stream in enumerate(streams):
        first = await anext(stream, None)
        if first is not None:
            heads.append((first[0], first[1], place, first[2], stream))
    keyed = [(received, rank, place) for received, rank, place, *_ in heads]
    waiting = {place: (item, stream) for _, _, place, item, stream in heads}
    heapify(keyed)
    while keyed:
        received, rank, place = keyed[0]
        item, stream = waiting[place]
        yield received, rank, item
        following = await anext(stream, None)
        if following is None:
            heappop(keyed)
        else:
            waiting[place] = following[2], stream
            heapreplace(keyed, (max(received, following[0]), following[1], place))


async def _log(
    connection: asyncpg.Connection[Any],
    source: Source,
    roster: Roster,
    partition: Partition,
    lane: int,
    begin: datetime,
    end: datetime,
) -> AsyncIterator[Keyed]:
    """One lane in the order in which it was written, whatever the times say."""
    from_ms, to_ms = ms(begin), ms(end)
    async for row in connection.cursor(Q["log"], partition, lane, begin, prefetch=16):
        for item in _items(row, roster):
            if isinstance(item, Unreadable):
                source.unreadable += 1
            elif item.device_no in roster.devices and from_ms <= item.received_ms < to_ms:
                yield item.received_ms, lane, item


def _items(row: asyncpg.Record, roster: Roster) -> list[Item | Unreadable]:
    why = ""
    try:
        readings = unpack(row["readings"], row["packed"])
    except ValueError as error:
        readings, why = EMPTY, str(error)
    return list(items_of(LogRow(row["lane"], row["seq"], row["committed_at"], *readings, row["body"], why), roster))


async def _readings(
    connection: asyncpg.Connection[Any], roster: Roster, devices: list[DeviceNo], begin: datetime, end: datetime
) -> AsyncIterator[Keyed]:
    """A slice of time after the other, each sorted by the server."""
    at = begin
    while at < end:
        until = min(at + _SLICE, end)
        async for row in connection.cursor(Q["readings_on_time"], devices, at, until, LATE, prefetch=_FETCH):
            yield _reading(row, roster)
        at = until


async def _late(
    connection: asyncpg.Connection[Any], roster: Roster, devices: list[DeviceNo], begin: datetime, end: datetime
) -> AsyncIterator[Keyed]:
    async for row in connection.cursor(Q["readings_late"], devices, begin, end, LATE, prefetch=_FETCH):
        yield _reading(row, roster)


def _reading(row: asyncpg.Record, roster: Roster) -> Keyed:
    device_no, ts_ms, delay_ms, values = row
    received_ms = ts_ms + delay_ms
    return received_ms, 2, Reading(device_no, ts_ms, received_ms, values, roster.devices[device_no].positions)


async def _events(
    connection: asyncpg.Connection[Any], devices: list[DeviceNo], begin: datetime, end: datetime
) -> AsyncIterator[Keyed]:
    async for row in connection.cursor(Q["events"], devices, begin, end, prefetch=_FETCH):
        device_no, ts_ms, received_ms, event, data = row
        item: Item
        if event.startswith(_REPLY):
            item = Reply(device_no, ts_ms, received_ms)
        else:
            item = Event(device_no, ts_ms, received_ms, event, data)
        yield received_ms, 0, item


async def _notes(
    connection: asyncpg.Connection[Any], devices: list[DeviceNo], begin: datetime, end: datetime
) -> AsyncIterator[Keyed]:
    async for row in connection.cursor(Q["notes"], devices, begin, end, prefetch=_FETCH):
        device_no, received_ms, note = row
        made = _NOTES.get(note["type"])
        if made is not None:
            yield received_ms, 1, made(device_no, int(note["ts_ms"]), received_ms, note)


_NOTES: dict[str, Callable[[DeviceNo, int, int, Any], Item]] = {
    "status": lambda no, ts, at, note: Status(no, ts, at, bool(note["online"]), int(note.get("session") or 0)),
    "clock": lambda no, ts, at, note: Clock(no, ts, at, int(note["offset_ms"])),
    "flood": lambda no, ts, at, note: Flood(no, ts, at, int(note["count"])),
}
