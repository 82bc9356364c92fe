"""Places of a community as rows: what one may say, what stands on what, and every fault of a list of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Any, Literal, get_args

from services.domain.ids import ID_PATTERN
from services.domain.vocabulary import Label

PlaceSort = Literal["compound", "grid", "building", "unit", "household"]
SORTS: tuple[PlaceSort, ...] = get_args(PlaceSort)
"""From the whole to its parts: what stands later stands on what stands earlier."""
SORT_WORDS: dict[str, Label] = {
    "compound": Label("小区", "compound"),
    "grid": Label("网格", "grid"),
    "building": Label("楼栋", "building"),
    "unit": Label("单元", "unit"),
    "household": Label("住户", "household"),
}
SORT_NAMES: dict[str, PlaceSort] = {
    name: sort for sort in SORTS for name in (sort, SORT_WORDS[sort].zh, "楼" if sort == "building" else sort)
}
PARENTS: dict[PlaceSort, tuple[tuple[str, PlaceSort], ...]] = {
    "compound": (),
    "grid": (),
    "building": (("compound_id", "compound"), ("grid_id", "grid")),
    "unit": (("building_id", "building"),),
    "household": (("unit_id", "unit"),),
}
"""Which fields name what a place stands on."""
FIELDS: dict[PlaceSort, tuple[str, ...]] = {
    "compound": ("name",),
    "grid": ("name",),
    "building": ("name", "compound_id", "grid_id", "floors", "x", "y", "width", "depth"),
    "unit": ("name", "building_id"),
    "household": ("name", "unit_id", "floor"),
}
MOST_NAME = 100
_ID = re.compile(ID_PATTERN)
_DEFAULTS: dict[str, Any] = {"x": 0.0, "y": 0.0, "width": 40.0, "depth": 12.0}
_BOUNDS: dict[str, tuple[float, float]] = {
    "floors": (1, 200),
    "floor": (-10, 200),
    "x": (-10_000, 10_000),
    "y": (-10_000, 10_000),
    "width": (0.5, 1_000),
    "depth": (0.5, 1_000),
}


@dataclass(frozen=True, slots=True)
class PlaceRow:
    """`line` is where it was said. None: not said, so what is there stays. A household's `name` is its room."""

    line: int
    sort: PlaceSort
    id: str
    name: str | None = None
    compound_id: str | None = None
    grid_id: str | None = None
    building_id: str | None = None
    unit_id: str | None = None
    floors: int | None = None
    floor: int | None = None
    x: float | None = None
    y: float | None = None
    width: float | None = None
    depth: float | None = None

    @property
    def key(self) -> tuple[PlaceSort, str]:
        return self.sort, self.id


@dataclass(frozen=True, slots=True)
class PlaceFault:
    line: int
    column: str
    words: Label


@dataclass(frozen=True, slots=True)
class PlaceWould:
    line: int
    row: PlaceRow
    added: bool
    columns: tuple[str, ...]


Known = Mapping[tuple[PlaceSort, str], PlaceRow]


def check_places(
    rows: Sequence[PlaceRow], known: Known, foreign: Mapping[tuple[str, str], str]
) -> tuple[list[PlaceWould], list[PlaceFault]]:
    """What the rows would do to the places there are, and all that is wrong with them.

    `foreign`: places of these ids in other communities.
    """
    faults: list[PlaceFault] = []
    would: list[PlaceWould] = []
    seen: dict[tuple[PlaceSort, str], int] = {}
    said = {row.key for row in rows}
    for row in rows:
        if row.key in seen:
            faults.append(
                PlaceFault(
                    row.line,
                    "id",
                    Label(f"{row.id} 在第 {seen[row.key]} 行已出现", f"{row.id} stands in line {seen[row.key]} too"),
                )
            )
            continue
        seen[row.key] = row.line
        before = known.get(row.key)
        if row.key in foreign:
            faults.append(
                PlaceFault(
                    row.line, "id", Label(f"{row.id} 已被其他社区使用", f"{row.id} belongs to another community")
                )
            )
            continue
        whole = _whole(row, before)
        wrong = list(_faults(whole, known, said))
        faults.extend(wrong)
        if not wrong:
            columns = tuple(
                name for name in FIELDS[row.sort] if before is None or getattr(before, name) != getattr(whole, name)
            )
            would.append(PlaceWould(row.line, whole, before is None, columns))
    return would, faults


def _whole(row: PlaceRow, before: PlaceRow | None) -> PlaceRow:
    """The row with what it does not say: as it is, or as it is by default."""
    names = FIELDS[row.sort]
    filled = {name: getattr(before, name) if before else _DEFAULTS.get(name) for name in names}
    said = {name: value for name in names if (value := getattr(row, name)) is not None}
    return replace(PlaceRow(row.line, row.sort, row.id), **{**filled, **said})


def _faults(row: PlaceRow, known: Known, said: set[tuple[PlaceSort, str]]) -> Iterable[PlaceFault]:
    def fault(column: str, zh: str, en: str) -> PlaceFault:
        return PlaceFault(row.line, column, Label(zh, en))

    if not _ID.match(row.id):
        yield fault(
            "id",
            f"{row.id!r} 不是有效编号：仅限小写字母、数字、- 与 _，最长 64",
            f"{row.id!r} is no id: small letters, digits, - and _, 64 at most",
        )
    if not row.name or len(row.name) > MOST_NAME:
        yield fault("name", f"名称须为 1 至 {MOST_NAME} 字", f"a name has 1 to {MOST_NAME} characters")
    for column, sort in PARENTS[row.sort]:
        parent = getattr(row, column)
        words = SORT_WORDS[sort]
        if not parent:
            yield fault(column, f"缺少所属{words.zh}", f"the {words.en} is missing")
        elif (sort, parent) not in known and (sort, parent) not in said:
            yield fault(column, f"没有{words.zh} {parent}", f"there is no {words.en} {parent}")
    for column, (low, high) in _BOUNDS.items():
        if column not in FIELDS[row.sort]:
            continue
        value = getattr(row, column)
        if value is None:
            yield fault(column, "缺少此项", "this is missing")
        elif not isfinite(value) or not low <= value <= high:
            yield fault(column, f"须在 {low:g} 与 {high:g} 之间", f"must be between {low:g} and {high:g}")
