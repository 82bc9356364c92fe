"""The audit trail's hash chain, walked: the first row that is not what was written, and what is wrong with it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import asyncpg

from services.adapters.queries import Queries

Q = Queries(Path(__file__).with_name("audit.sql"))
BATCH = 5000

Fault = Literal["edited", "missing", "moved", "foreign", "rewritten", "cut off"]
WORDS: Mapping[Fault, str] = {
    "edited": "its contents are not those that were written: its own hash does not fit them",
    "missing": "rows before it are gone",
    "moved": "it stood elsewhere when it was written",
    "foreign": "it does not continue the chain: it was put in from outside",
    "rewritten": "its hash was made anew: it is not the one that was noted, or that the next row continues",
    "cut off": "the trail ends before a row that was noted",
}


@dataclass(frozen=True, slots=True)
class Anchor:
    """A row that was noted somewhere else, where whoever edits the table does not reach."""

    id: int
    hash: bytes

    def __str__(self) -> str:
        return f"{self.id}:{self.hash.hex()}"

    @classmethod
    def read(cls, text: str) -> Anchor:
        """Raises ValueError for what `str` did not write."""
        id, _, hash = text.strip().partition(":")
        if not id.isascii() or not id.isdecimal() or len(hash) != 64:
            raise ValueError(f"{text.strip()!r} is not an anchor: <id>:<64 hexadecimal digits>")
        return cls(int(id), bytes.fromhex(hash))


@dataclass(frozen=True, slots=True)
class Found:
    """The first row that is wrong. `detail`: what differs, with both values."""

    id: int
    fault: Fault
    detail: str
    row: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """`rows` were looked at; `head` is the last good one, to be noted; `anchors`: how many notes were compared."""

    rows: int
    head: Anchor | None
    anchors: int
    found: Found | None


async def span(connection: asyncpg.Connection[Any], from_id: int) -> int:
    """How many rows there are from here on."""
    count: int = await connection.fetchval(Q["count"], from_id)
    return count


async def head(connection: asyncpg.Connection[Any]) -> Anchor | None:
    row = await connection.fetchrow(Q["head"])
    return Anchor(row["id"], bytes(row["hash"])) if row else None


async def _rows(connection: asyncpg.Connection[Any], from_id: int) -> AsyncIterator[Mapping[str, Any]]:
    at = from_id - 1
    while True:
        batch = await connection.fetch(Q["rows"], at, BATCH)
        for row in batch:
            yield row
        if len(batch) < BATCH:
            return
        at = batch[-1]["id"]


async def verify(
    connection: asyncpg.Connection[Any],
    *,
    from_id: int = 1,
    anchors: Sequence[Anchor] = (),
    progress: Callable[[int], None] = lambda _: None,
) -> Verdict:
    """Reads the trail from `from_id` on, in the caller's transaction. The row before `from_id` is taken as it stands.

    A chain alone cannot tell that its end was cut off, nor that all of it was written anew from some row on; `anchors`
    can.
    """
    noted = {one.id: one.hash for one in anchors if one.id >= from_id}
    before = await connection.fetchrow(Q["row"], from_id - 1)
    last = Anchor(before["id"], bytes(before["hash"])) if before else None
    expected_id = from_id if before or from_id == 1 else None
    count = compared = 0
    async for row in _rows(connection, from_id):
        found = await _look(connection, row, last, expected_id)
        if found is None and row["id"] in noted:
            compared += 1
            if noted[row["id"]] != row["hash"]:
                found = Found(row["id"], "rewritten", f"noted {noted[row['id']].hex()}, found {row['hash'].hex()}", row)
        if found is not None:
            return Verdict(count, last, compared, found)
        count += 1
        last, expected_id = Anchor(row["id"], bytes(row["hash"])), row["id"] + 1
        if count % 1000 == 0:
            progress(count)
    progress(count)
    beyond = sorted(id for id in noted if last is None or id > last.id)
    if beyond:
        end = last.id if last else "nothing"
        return Verdict(
            count, last, compared, Found(beyond[0], "cut off", f"the last row is {end}; {beyond[-1]} was noted")
        )
    return Verdict(count, last, compared, None)


async def _look(
    connection: asyncpg.Connection[Any], row: Mapping[str, Any], last: Anchor | None, expected_id: int | None
) -> Found | None:
    id = row["id"]
    if row["hash"] != row["computed"]:
        origin = await connection.fetchval(Q["moved_from"], id, row["hash"])
        if origin is not None:
            return Found(id, "moved", f"by its hash it is row {origin}", row)
        return Found(id, "edited", f"its contents give {row['computed'].hex()}, written was {row['hash'].hex()}", row)
    if expected_id is not None and id != expected_id:
        gone = f"{expected_id}" if id == expected_id + 1 else f"{expected_id} to {id - 1}"
        return Found(expected_id, "missing", f"gone: {gone}; the next one is {id}", None)
    previous = last.hash if last is not None else b""
    if expected_id is None or row["previous"] == previous:
        return None
    if last is not None and await connection.fetchval(Q["continues"], id, row["hash"]):
        # What follows continues this row, so it belongs here: the one before is not what this one was chained to.
        return Found(last.id, "rewritten", f"row {id} continues {row['previous'].hex()}, found {previous.hex()}", None)
    detail = f"it continues {row['previous'].hex() or 'nothing'}, before it stands {previous.hex() or 'nothing'}"
    return Found(id, "foreign", detail, row)


async def list_rows(
    connection: asyncpg.Connection[Any],
    *,
    actor: str | None,
    action: str | None,
    subject: str | None,
    community: str | None,
    since: datetime | None,
    until: datetime | None,
    limit: int,
) -> list[Mapping[str, Any]]:
    """Newest first; `action` and `subject` by their beginning."""
    rows: list[Mapping[str, Any]] = await connection.fetch(
        Q["list"], actor, action, subject, community, since, until, limit
    )
    return rows
