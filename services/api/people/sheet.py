"""People as a sheet: read with every fault by line, held against what is there, written to be read again."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from services.adapters.registry.csv_file import Column, Sheet
from services.domain.people.tags import BY_NAME, BY_WORDS
from services.domain.vocabulary import Label

Row = Mapping[str, Any]

COLUMNS = (
    Column("id", "编号"),
    Column("name", "姓名", needed=True),
    Column("birth_year", "出生年份"),
    Column("phone", "手机号"),
    Column("household", "住户编号"),
    Column("building", "楼栋"),
    Column("unit", "单元"),
    Column("room", "房号"),
    Column("tags", "标签"),
)
_ID = re.compile(r"^[a-z0-9][a-z0-9_-]{0,63}$")
_PHONE = re.compile(r"^\+?[0-9][0-9 -]{4,30}$")
_BETWEEN = re.compile(r"[;；、,，|]+")


@dataclass(frozen=True, slots=True)
class SheetFault:
    line: int
    column: str | None
    words: Label


@dataclass(slots=True)
class Compared:
    """What a sheet would change. Nothing of it may be written while there are faults."""

    lines: int = 0
    added: int = 0
    changed: int = 0
    faults: list[SheetFault] = field(default_factory=list)
    writes: list[dict[str, Any]] = field(default_factory=list)

    @property
    def unchanged(self) -> int:
        return self.lines - self.added - self.changed


def ids_of(sheet: Sheet) -> list[str]:
    return [said["id"] for _, said in sheet.rows if said.get("id")]


def compared(sheet: Sheet, community_id: str, known: Iterable[Row], homes: Iterable[Row]) -> Compared:
    """`known`: everybody of the community and whoever else has an id of the sheet; `homes`: its households.

    A column that is not there leaves what stands; a cell that is empty clears it. A line without an id is whoever has
    that name in that home, or somebody new.
    """
    people = {row["id"]: row for row in known}
    by_id = {row["id"]: row for row in homes}
    by_place = {(row["building"], row["unit"], row["room"]): id for id, row in by_id.items()}
    found, seen = Compared(lines=len(sheet.rows)), dict[str, int]()
    for line, said in sheet.rows:
        before = len(found.faults)
        row = _read(line, said, sheet.columns, by_id, by_place, found.faults)
        person_id = row.pop("id") or _whose(row, people.values(), community_id)
        old = people.get(person_id)
        if old is not None and (old["community_id"] != community_id or old["erased_at"] is not None):
            taken = Label(
                "该编号已被使用或已抹除，请留空以新建", "the id is taken or was erased; leave it empty for somebody new"
            )
            found.faults.append(SheetFault(line, "id", taken))
        if person_id in seen:
            twice = Label(f"与第 {seen[person_id]} 行重复", f"the same person as in line {seen[person_id]}")
            found.faults.append(SheetFault(line, "id", twice))
        seen[person_id] = line
        if len(found.faults) > before:
            continue
        if old is not None and "tags" in row and set(row["tags"]) == set(old["tags"]):
            # Their order says nothing: whoever wrote them last wrote them in some order.
            row["tags"] = old["tags"]
        new = {"id": person_id, **({name: old[name] for name in _FIELDS} if old else _NOTHING), **row}
        if old is None:
            found.added += 1
        elif any(new[name] != old[name] for name in _FIELDS):
            found.changed += 1
        else:
            continue
        found.writes.append(new)
    return found


_FIELDS = ("household_id", "name", "birth_year", "phone", "tags")
_NOTHING: dict[str, Any] = {"household_id": None, "name": "", "birth_year": None, "phone": None, "tags": []}


def _whose(row: Mapping[str, Any], people: Iterable[Row], community_id: str) -> str:
    """Whoever has the name in the home; else an id that the same line gets again."""
    name, home = row.get("name"), row.get("household_id")
    for one in people:
        if one["name"] == name and one["household_id"] == home and one["erased_at"] is None:
            return str(one["id"])
    return "p-" + sha256(f"{community_id}|{home}|{name}|{row.get('birth_year')}".encode()).hexdigest()[:20]


def _read(
    line: int,
    said: Mapping[str, str],
    columns: tuple[str, ...],
    by_id: Mapping[str, Row],
    by_place: Mapping[tuple[str, str, str], str],
    faults: list[SheetFault],
) -> dict[str, Any]:
    """What the line says, by column of the table; `id` may be empty."""

    def fault(column: str, zh: str, en: str) -> None:
        faults.append(SheetFault(line, column, Label(zh, en)))

    row: dict[str, Any] = {"id": said.get("id", "")}
    if row["id"] and not _ID.match(row["id"]):
        fault("id", "编号只用小写字母、数字、- 和 _", "an id is of a-z, 0-9, - and _")
    name = said.get("name", "")
    if not 0 < len(name) <= 64:
        fault("name", "姓名为 1 到 64 个字", "a name has 1 to 64 letters")
    row["name"] = name
    if "birth_year" in columns:
        year = said.get("birth_year", "")
        right = year.isascii() and year.isdigit() and 1880 <= int(year[:6] or 0) <= 2200
        if year and not right:
            fault("birth_year", f"出生年份不对：{year[:20]}", f"no year of birth: {year[:20]}")
        row["birth_year"] = int(year) if year and right else None
    if "phone" in columns:
        phone = said.get("phone", "")
        if phone and not _PHONE.match(phone):
            fault("phone", "手机号不对", "not a telephone number")
        row["phone"] = phone or None
    if {"household", "building", "room"} & set(columns):
        row["household_id"] = _home(said, by_id, by_place, fault)
    if "tags" in columns:
        names = _tags(said.get("tags", ""))
        unknown = [one for one in names if one not in BY_WORDS]
        if unknown:
            fault("tags", f"目录中没有标签：{unknown[0][:40]}", f"there is no tag {unknown[0][:40]}")
        row["tags"] = sorted({BY_WORDS[one] for one in names if one in BY_WORDS})
    return row


def _tags(text: str) -> list[str]:
    """Words of a tag may hold spaces; names in a row may be parted by nothing else."""
    found: list[str] = []
    for part in (one.strip().lower() for one in _BETWEEN.split(text)):
        found += [part] if part in BY_WORDS else part.split()
    return found


def _home(
    said: Mapping[str, str], by_id: Mapping[str, Row], by_place: Mapping[tuple[str, str, str], str], fault: Any
) -> str | None:
    if wanted := said.get("household"):
        if wanted not in by_id:
            fault("household", f"本社区没有住户 {wanted[:40]}", f"there is no household {wanted[:40]} here")
        return wanted
    place = (said.get("building", ""), said.get("unit", ""), said.get("room", ""))
    if not any(place):
        return None
    found = by_place.get(place)
    if found is None:
        words = " ".join(place)[:80]
        fault("room", f"本社区没有这一户：{words}", f"there is no such home here: {words}")
    return found


def sheet_row(row: Row, lang: str) -> dict[str, Any]:
    """One person as a line; tags by the words of the language."""
    tags = [BY_NAME[tag].label.zh if lang == "zh" else tag for tag in row["tags"] if tag in BY_NAME]
    return {
        "id": row["id"],
        "name": row["name"],
        "birth_year": row["birth_year"],
        "phone": row["phone"],
        "household": row["household_id"],
        "building": row["building"],
        "unit": row["unit"],
        "room": row["room"],
        "tags": "、".join(tags) if lang == "zh" else " ".join(tags),
    }
