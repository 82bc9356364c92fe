"""Readings as a file, page by page: a connection is held for one page at a time, and never while a reader is slow."""

from __future__ import annotations

import asyncio
import io
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from services.api.data import store
from services.api.store.database import Database
from services.domain.people.privacy import Shown

PAGE = 50_000
"""Rows of one statement: some 3 MB of text."""
ROW_GROUP = 100_000


@dataclass(frozen=True, slots=True)
class Wanted:
    """Devices of one kind by number, and its metrics by name and place in the stored array (from 1)."""

    community_id: str
    devices: Sequence[int]
    metrics: Sequence[tuple[str, int]]
    start: datetime
    end: datetime
    health: Shown = Shown.NONE
    """What a device's wearer must consent to, still when a page of it is read."""
    opened: frozenset[int] = frozenset()
    """Devices that an emergency has opened to the asker."""

    @property
    def header(self) -> list[str]:
        return ["device", "ts", *(name for name, _ in self.metrics)]


async def pages(database: Database, wanted: Wanted) -> AsyncIterator[bytes]:
    """Lines without a header, a device after the other, each by time. Small pages of several devices come joined."""
    slots = [slot for _, slot in wanted.metrics]
    joined: list[bytes] = []
    size = 0
    for number in wanted.devices:
        after = wanted.start - _JUST_BEFORE
        while True:
            page = await _page(database, wanted, number, slots, after)
            rows = page.count(b"\n")
            if rows:
                joined.append(page)
                size += len(page)
            if size >= 1_000_000:
                yield b"".join(joined)
                joined, size = [], 0
            if rows < PAGE:
                break
            last = page[page.rindex(b"\n", 0, -1) + 1 :].split(b",", 2)[1].decode()
            after = datetime.fromisoformat(last)
    if joined:
        yield b"".join(joined)


_JUST_BEFORE = datetime.resolution


async def _page(database: Database, wanted: Wanted, number: int, slots: list[int], after: datetime) -> bytes:
    sink = io.BytesIO()
    needs = 0 if number in wanted.opened else int(wanted.health)

    async def take(data: bytes) -> None:
        sink.write(data)

    async with database.read() as connection:
        await connection.copy_from_query(
            store.Q["lines"], wanted.community_id, number, slots, after, wanted.end, PAGE, needs,
            output=take, format="text",
        )  # fmt: skip
    return sink.getvalue()


async def as_csv(database: Database, wanted: Wanted) -> AsyncIterator[bytes]:
    """UTF-8, times in UTC; an empty cell where nothing was sent."""
    yield (",".join(wanted.header) + "\n").encode()
    async for page in pages(database, wanted):
        yield page


async def as_parquet(database: Database, wanted: Wanted) -> AsyncIterator[bytes]:
    """Row groups of a hundred thousand rows, zstd; memory holds one of them at a time."""
    sink = _Sink()
    schema = pa.schema(
        [("device", pa.string()), ("ts", pa.timestamp("ms", tz="UTC")), *((n, pa.float64()) for n, _ in wanted.metrics)]
    )
    writer = pa.parquet.ParquetWriter(sink, schema, compression="zstd")
    try:
        waiting: list[Any] = []
        rows = 0
        async for page in pages(database, wanted):
            table = await asyncio.to_thread(_table, page, schema)
            waiting.append(table)
            rows += table.num_rows
            if rows >= ROW_GROUP:
                await asyncio.to_thread(writer.write_table, pa.concat_tables(waiting), ROW_GROUP)
                waiting, rows = [], 0
                yield sink.taken()
        if waiting:
            await asyncio.to_thread(writer.write_table, pa.concat_tables(waiting), ROW_GROUP)
    finally:
        writer.close()
    yield sink.taken()


def _table(page: bytes, schema: Any) -> Any:
    return pa.csv.read_csv(
        pa.BufferReader(page),
        read_options=pa.csv.ReadOptions(column_names=schema.names, use_threads=False),
        convert_options=pa.csv.ConvertOptions(
            column_types=schema, null_values=[""], timestamp_parsers=[pa.csv.ISO8601]
        ),
    )


class _Sink(io.RawIOBase):
    """What a writer writes, until it is taken away."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def taken(self) -> bytes:
        body = b"".join(self._parts)
        self._parts.clear()
        return body
