"""Places and devices as sheets: their columns, rows of cells as rows of the registry, and every fault by its cell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from services.adapters.registry import fault_words
from services.adapters.registry.csv_file import Column, Sheet
from services.adapters.registry.device_rows import device_of
from services.adapters.registry.provision import Fault, NewDevice
from services.domain.devices import BY_NAME as KINDS
from services.domain.places import SORT_NAMES, PlaceFault, PlaceRow
from services.domain.profiles.mapper import Profiles
from services.domain.vocabulary import Label

What = Literal["places", "devices"]

PLACE_COLUMNS = (
    Column("type", "类型", needed=True),
    Column("id", "编号", needed=True),
    Column("name", "名称"),
    Column("compound", "小区"),
    Column("grid", "网格"),
    Column("building", "楼栋"),
    Column("unit", "单元"),
    Column("floors", "层数"),
    Column("floor", "楼层"),
    Column("x", "X"),
    Column("y", "Y"),
    Column("width", "长"),
    Column("depth", "宽"),
)
DEVICE_COLUMNS = (
    Column("id", "编号", needed=True),
    Column("kind", "类型"),
    Column("name", "名称"),
    Column("place", "位置"),
    Column("building", "楼栋"),
    Column("unit", "单元"),
    Column("household", "住户"),
    Column("grid", "网格"),
    Column("floor", "楼层"),
    Column("x", "X"),
    Column("y", "Y"),
    Column("gateway", "网关"),
    Column("interval_s", "上报间隔秒"),
    Column("tags", "标签"),
    Column("codec", "报文格式"),
    Column("address", "设备地址"),
    Column("profile", "厂商配置"),
)
COLUMNS: dict[What, tuple[Column, ...]] = {"places": PLACE_COLUMNS, "devices": DEVICE_COLUMNS}
_NUMBERS = {"floors": int, "floor": int, "x": float, "y": float, "width": float, "depth": float}
_KIND_NAMES = {name: kind.name for kind in KINDS.values() for name in (kind.label.zh, kind.label.en.casefold())}
_COLUMN_OF = {
    "no_kind": "kind",
    "no_codec": "codec",
    "no_profile": "profile",
    "profile_kind": "profile",
    "profile_format": "profile",
    "own_gateway": "gateway",
    "no_gateway": "gateway",
    "gateway_behind": "gateway",
    "is_gateway": "gateway",
    "no_building": "building",
    "no_unit": "unit",
    "unit_elsewhere": "unit",
    "no_household": "household",
    "household_elsewhere": "household",
    "household_building": "household",
    "no_grid": "grid",
    "floor_above": "floor",
    "address_twice": "address",
    "address_taken": "address",
    "no_person": "person_id",
}


@dataclass(frozen=True, slots=True)
class CellFault:
    """`line` 0: of the file as a whole, or of no line."""

    line: int
    column: str
    words: Label


def place_rows(sheet: Sheet) -> tuple[list[PlaceRow], list[CellFault]]:
    rows: list[PlaceRow] = []
    faults: list[CellFault] = []
    for line, cells in sheet.rows:
        sort = SORT_NAMES.get(cells.get("type", ""))
        if sort is None:
            names = "、".join(SORT_NAMES)
            faults.append(
                CellFault(
                    line,
                    "type",
                    Label(
                        f"没有类型 {cells.get('type', '')!r}，可用：{names}",
                        f"there is no type {cells.get('type', '')!r}; there are {names}",
                    ),
                )
            )
            continue
        fields: dict[str, Any] = {}
        before = len(faults)
        for name, text in cells.items():
            if name in ("type", "id") or not text:
                continue
            field = f"{name}_id" if name in ("compound", "grid", "building", "unit") else name
            if name in _NUMBERS:
                try:
                    fields[field] = _NUMBERS[name](text)
                except ValueError:
                    faults.append(CellFault(line, name, Label(f"{text!r} 不是数", f"{text!r} is no number")))
            else:
                fields[field] = text
        if len(faults) == before:
            rows.append(PlaceRow(line, sort, cells.get("id", ""), **fields))
    return rows, faults


def place_cells(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the view as cells."""
    return {
        **{name: row[name] for name in ("id", "name", "floors", "floor", "x", "y", "width", "depth")},
        "type": row["sort"],
        **{name: row[f"{name}_id"] for name in ("compound", "grid", "unit")},
        # A unit stands in a building; of a home the unit says it.
        "building": row["building_id"] if row["sort"] == "unit" else None,
    }


def said_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """A device as a row of a list would say it."""
    return {
        **{name: row[name] for name in ("id", "kind", "name", "place", "floor", "interval_s", "codec")},
        **{name: row[name] for name in ("address", "profile")},
        "community": row["community_id"],
        "tags": " ".join(row["tags"]),
        **{name: row[f"{name}_id"] for name in ("building", "unit", "household", "grid", "gateway")},
        **{name: round(row[name], 2) for name in ("x", "y")},
    }


def device_rows(
    sheet: Sheet, community_id: str, known: Mapping[str, Mapping[str, Any]], profiles: Profiles
) -> tuple[list[NewDevice], list[Fault]]:
    """Devices as the sheet says them; of known ones, columns that are not there stay as they are."""
    faults: list[Fault] = []
    devices: list[NewDevice] = []
    for line, cells in sheet.rows:
        said: dict[str, Any] = dict(cells)
        kind = said.get("kind", "")
        said["kind"] = _KIND_NAMES.get(kind.casefold(), kind)
        if (row := known.get(said.get("id", ""))) is not None:
            said = {**said_of(row), **said}
        said["community"] = community_id
        device = device_of(line, said, faults, profiles)
        if device is not None:
            devices.append(device)
    return devices, faults


def cell_faults(faults: Iterable[Fault]) -> list[CellFault]:
    return [CellFault(one.line, _column(one), fault_words.words(one)) for one in faults]


def _column(fault: Fault) -> str:
    if fault.fault in ("bad_value", "bad_id"):
        return fault.value.partition(":")[0]
    if fault.fault in ("missing", "no_column"):
        return fault.value
    return _COLUMN_OF.get(fault.fault, "id")


def of_place(faults: Iterable[PlaceFault]) -> list[CellFault]:
    return [CellFault(one.line, one.column.removesuffix("_id") or one.column, one.words) for one in faults]
