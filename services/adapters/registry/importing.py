"""Sheets applied to the registry: rehearsed, then done in one transaction, and done only as rehearsed."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from services.adapters.registry import editing, provision
from services.adapters.registry.csv_file import MOST_LINES, Sheet, Unreadable, read
from services.adapters.registry.places import E, foreign_places, known_places, lock_places, put_places, remove_places
from services.adapters.registry.provision import Faulty, Secret
from services.adapters.registry.sheets import (
    COLUMNS,
    CellFault,
    What,
    cell_faults,
    device_rows,
    of_place,
    place_rows,
)
from services.domain.places import PlaceRow, PlaceSort, check_places
from services.domain.profiles.mapper import Profiles
from services.domain.vocabulary import Label

Progress = Callable[[str, int, int], None]
_QUIET: Progress = lambda step, done, total: None  # noqa: E731


@dataclass(frozen=True, slots=True)
class Does:
    """`does`: add, change or remove. `line` 0 where nothing says it: what the sheet does not hold is removed."""

    line: int
    id: str
    does: str
    columns: tuple[str, ...] = ()


@dataclass(slots=True)
class Outcome:
    encoding: str = ""
    lines: int = 0
    does: list[Does] = field(default_factory=list)
    faults: list[CellFault] = field(default_factory=list)

    def count(self, does: str) -> int:
        return sum(1 for one in self.does if one.does == does)

    @property
    def digest(self) -> str:
        """Of everything it does: what was shown and what is done are the same, or nothing is done."""
        told = json.dumps([(one.id, one.does, one.columns) for one in self.does])
        return hashlib.sha256(told.encode()).hexdigest()


async def rehearse(
    connection: asyncpg.Connection[Any],
    community_id: str,
    what: What,
    raw: bytes,
    *,
    removing: bool,
    profiles: Profiles,
) -> Outcome:
    """What the sheet would do; nothing is written."""
    try:
        sheet = await asyncio.to_thread(read, raw, COLUMNS[what])
    except Unreadable as wrong:
        return Outcome(faults=[CellFault(wrong.line, "", wrong.words)])
    outcome = Outcome(sheet.encoding, len(sheet.rows))
    if not sheet.rows:
        outcome.faults.append(CellFault(0, "", Label("文件没有数据行", "the file has no rows")))
    elif what == "places":
        await _rehearse_places(connection, community_id, sheet, outcome, removing)
    else:
        await _rehearse_devices(connection, community_id, sheet, outcome, removing, profiles)
    outcome.faults.sort(key=lambda one: one.line)
    return outcome


async def _rehearse_places(
    connection: asyncpg.Connection[Any], community_id: str, sheet: Sheet, outcome: Outcome, removing: bool
) -> list[PlaceRow]:
    """The rows to write, whole."""
    rows, faults = await asyncio.to_thread(place_rows, sheet)
    known = await known_places(connection, community_id)
    foreign = await foreign_places(connection, community_id, [row.id for row in rows])
    would, wrong = await asyncio.to_thread(check_places, rows, known, foreign)
    outcome.faults += [*faults, *of_place(wrong)]
    outcome.does += [
        Does(one.line, one.row.id, "add" if one.added else "change", one.columns)
        for one in would
        if one.added or one.columns
    ]
    if removing and not outcome.faults:
        absent = _absent(known, rows)
        transaction = connection.transaction()
        await transaction.start()
        try:
            # As if it were done: homes move to other units before their units go.
            await put_places(connection, community_id, [one.row for one in would])
            standing = await remove_places(connection, community_id, absent)
        finally:
            await transaction.rollback()
        outcome.does += [Does(0, id, "remove") for _, id in absent]
        outcome.faults += [
            CellFault(
                0,
                "",
                Label(
                    f"{one.place} 不在文件中，但其上仍有{one.words.zh}",
                    f"{one.place} is not in the file, but on it stand {one.words.en}",
                ),
            )
            for one in standing
        ]
    return [one.row for one in would if one.added or one.columns]


def _absent(known: dict[tuple[PlaceSort, str], PlaceRow], rows: list[PlaceRow]) -> list[tuple[PlaceSort, str]]:
    """Those of the sorts that the sheet speaks of: a sheet of buildings alone removes no homes."""
    named, sorts = {row.key for row in rows}, {row.sort for row in rows}
    return [key for key in known if key[0] in sorts and key not in named]


async def _rehearse_devices(
    connection: asyncpg.Connection[Any],
    community_id: str,
    sheet: Sheet,
    outcome: Outcome,
    removing: bool,
    profiles: Profiles,
) -> None:
    known = await editing.devices_by_id(connection, community_id, None)
    devices, faults = await asyncio.to_thread(device_rows, sheet, community_id, known, profiles)
    _, would, wrong = await provision.rehearse(
        connection, editing.each(devices), faults=lambda: faults, profiles=profiles
    )
    outcome.faults += cell_faults(wrong)
    outcome.does += [Does(one.line, one.id, "add" if one.added else "change", tuple(one.columns)) for one in would]
    if removing:
        absent = await _absent_devices(connection, community_id, sheet)
        outcome.does += [Does(0, id, "remove") for id in absent]
        outcome.faults += cell_faults(await editing.still_behind(connection, community_id, absent))


async def _absent_devices(connection: asyncpg.Connection[Any], community_id: str, sheet: Sheet) -> list[str]:
    named = [cells.get("id", "") for _, cells in sheet.rows]
    return [row["id"] for row in await connection.fetch(E["absent_devices"], community_id, named)]


async def apply(
    connection: asyncpg.Connection[Any],
    community_id: str,
    what: What,
    raw: bytes,
    *,
    removing: bool,
    profiles: Profiles,
    expected: str,
    actor: str,
    role: str,
    progress: Progress = _QUIET,
) -> tuple[Outcome, list[Secret]] | None:
    """Does what was rehearsed, inside the caller's transaction; None where it would do something else by now.

    Raises Faulty for what somebody made wrong in the same instant.
    """
    await lock_places(connection, community_id)
    progress("checking", 0, 0)
    outcome = await rehearse(connection, community_id, what, raw, removing=removing, profiles=profiles)
    if outcome.faults or outcome.digest != expected:
        return None
    progress("writing", 0, outcome.lines)
    sheet = await asyncio.to_thread(read, raw, COLUMNS[what])
    secrets: list[Secret] = []
    gone = [one.id for one in outcome.does if one.does == "remove"]
    if what == "places":
        rows = await _rehearse_places(connection, community_id, sheet, Outcome(), removing=False)
        await put_places(connection, community_id, rows)
        if gone:
            known = await known_places(connection, community_id)
            await remove_places(connection, community_id, [key for key in known if key[1] in set(gone)])
    else:
        known_devices = await editing.devices_by_id(connection, community_id, None)
        devices, _ = await asyncio.to_thread(device_rows, sheet, community_id, known_devices, profiles)
        await provision.provision(
            connection,
            editing.each(devices),
            secrets.extend,
            actor=actor,
            progress=progress,
            profiles=profiles,
            strict=True,
            audited=False,
        )
        if gone:
            await provision.revoke(connection, gone, actor=actor, retire=True, role=role)
    progress("committing", outcome.lines, outcome.lines)
    return outcome, secrets


__all__ = ["MOST_LINES", "Does", "Faulty", "Outcome", "apply", "rehearse"]
