"""Places in the database: read, put, removed where nothing stands on them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import asyncpg

from services.adapters.queries import Queries
from services.domain.places import FIELDS, SORTS, PlaceRow, PlaceSort
from services.domain.vocabulary import Label

E = Queries(Path(__file__).with_name("editing.sql"))

Row = Mapping[str, Any]
_STANDING: dict[str, Label] = {
    "compound": Label("小区", "compounds"),
    "grid": Label("网格", "grids"),
    "building": Label("楼栋", "buildings"),
    "unit": Label("单元", "units"),
    "household": Label("住户", "households"),
    "device": Label("设备", "devices"),
    "person": Label("居民", "residents"),
    "account": Label("账号", "accounts"),
    "order": Label("未结工单", "open orders"),
    "code": Label("场所码", "place codes"),
}


@dataclass(frozen=True, slots=True)
class Standing:
    """What stands on a place: how many, and some of them by name (never people)."""

    place: str
    what: str
    count: int
    names: tuple[str, ...]

    @property
    def words(self) -> Label:
        label = _STANDING[self.what]
        named = "、".join(self.names)
        more = "…" if self.count > len(self.names) else ""
        return Label(
            f"{label.zh} {self.count} 个" + (f"（{named}{more}）" if named else ""),
            f"{self.count} {label.en}" + (f" ({', '.join(self.names)}{more})" if named else ""),
        )


async def known_places(connection: asyncpg.Connection[Any], community_id: str) -> dict[tuple[PlaceSort, str], PlaceRow]:
    rows = await connection.fetch(E["places_plain"], community_id)
    return {(row["sort"], row["id"]): place_row(row) for row in rows}


def place_row(row: Row) -> PlaceRow:
    """As it stands; sizes to the centimetre, which is what files and forms say."""
    fields: dict[str, Any] = {name: row[name] for name in FIELDS[row["sort"]]}
    for name in ("x", "y", "width", "depth"):
        if fields.get(name) is not None:
            fields[name] = round(fields[name], 2)
    return PlaceRow(0, row["sort"], row["id"], **fields)


async def lock_places(connection: asyncpg.Connection[Any], community_id: str) -> None:
    """One change of a community's places at a time, to the end of the transaction: what is checked stays so."""
    await connection.execute(E["lock_places"], community_id)


async def foreign_places(
    connection: asyncpg.Connection[Any], community_id: str, ids: Iterable[str]
) -> dict[tuple[str, str], str]:
    rows = await connection.fetch(E["owners"], list(ids))
    return {(row["sort"], row["id"]): row["community_id"] for row in rows if row["community_id"] != community_id}


async def put_places(connection: asyncpg.Connection[Any], community_id: str, rows: Sequence[PlaceRow]) -> None:
    """Rows that were checked, whole; from what others stand on to what stands on it."""
    for sort in SORTS:
        mine = [asdict(row) for row in rows if row.sort == sort]
        if mine:
            await connection.execute(E[f"put_{sort}s"], community_id, json.dumps(mine))


async def remove_places(
    connection: asyncpg.Connection[Any], community_id: str, keys: Iterable[tuple[PlaceSort, str]]
) -> list[Standing]:
    """Removes all of them, or none where something stands on one that does not go with it: that is what is returned."""
    gone = list(keys)
    selves = [f"{sort}:{id}" for sort, id in gone]
    standing: list[Standing] = []
    for sort in SORTS:
        if ids := [id for one, id in gone if one == sort]:
            rows = await connection.fetch(E["stands_on"], sort, ids, selves, community_id)
            standing += [Standing(row["place"], row["what"], row["n"], tuple(row["names"] or ())) for row in rows]
    if standing:
        return standing
    for sort in reversed(SORTS):
        if ids := [id for one, id in gone if one == sort]:
            await connection.execute(E[f"remove_{sort}s"], community_id, ids)
    return []
