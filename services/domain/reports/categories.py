"""Categories of what residents report (服务类别): who goes, how grave it is, and whether it waits for the desk.

They are data (`categories.yaml`), read with every fault told at once. Nothing here knows a category by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from services.domain.devices import BY_NAME
from services.domain.rules.faults import Fault, Faults, Path
from services.domain.rules.fields import build, read_parts
from services.domain.vocabulary import Label, Severity, Team

CATEGORY_ID = re.compile(r"[a-z][a-z0-9_]{0,63}")
_RUNGS = frozenset({Team.DESK, Team.STREET, Team.DEPARTMENT})
_WIDEST_M = 2000.0
_PRIVATE_KINDS = frozenset({"wristband", "sos_button", "door_magnet", "water_meter", "gas_meter", "electricity_meter"})
"""Devices of one person or home: a stranger's report never joins their orders, since it would be told how they go."""


class CategorySort(StrEnum):
    """How a resident looks for it."""

    REPAIR = "repair"
    """报事报修: something is broken."""
    SNAP = "snap"
    """随手拍: something is not as it should be."""
    HELP = "help"
    """求助与建议."""


class Filing(StrEnum):
    AT_ONCE = "at_once"
    """Dispatched in the moment it is reported."""
    DESK = "desk"
    """Waits for 立案: the desk files or refuses it, on the `file` clock."""


class Photo(StrEnum):
    NONE = "none"
    WANTED = "wanted"
    REQUIRED = "required"


class Within(StrEnum):
    """In what two reports are about one trouble, however far apart their pins are; named on both and not the same,
    they are about two."""

    NOTHING = "nothing"
    BUILDING = "building"
    UNIT = "unit"
    HOUSEHOLD = "household"


@dataclass(frozen=True, slots=True)
class Category:
    """One category. `window_s`: how long after the last report of an order another one joins it, in seconds."""

    id: str
    sort: CategorySort
    title: Label
    team: Team
    severity: Severity
    filing: Filing
    window_s: float
    radius_m: float = 0.0
    within: Within = Within.NOTHING
    group: str | None = None
    """Categories of one group may be the same trouble under two names."""
    kinds: tuple[str, ...] = ()
    """Device kinds whose open orders are about the same: a report joins what a sensor has told already."""
    photo: Photo = Photo.WANTED
    safety: Label | None = None
    """What to do at once, told with the answer; a critical category has it."""

    @property
    def family(self) -> str:
        return self.group or self.id


@dataclass(frozen=True, slots=True)
class Document:
    """`categories`: empty where there are faults; nothing of it is to be used then."""

    categories: tuple[Category, ...]
    faults: tuple[Fault, ...]


def read_categories(given: Any) -> Document:
    """From `{categories: […]}`."""
    faults = Faults([])
    if not isinstance(given, Mapping) or not isinstance(given.get("categories"), list) or not given["categories"]:
        faults.add((), "应为 categories 列表", "expected a list named categories")
        return Document((), tuple(faults.found))
    for key in given:
        if key != "categories":
            faults.unknown((key,), Label("字段", "field"), key, ("categories",))
    found: list[Category] = []
    for index, one in enumerate(given["categories"]):
        path: Path = ("categories", index)
        before = len(faults.found)
        parts = read_parts(Category, one, path, faults)
        _check(parts, path, faults)
        made = build(Category, parts, path, faults) if len(faults.found) == before else None
        if made is not None:
            found.append(made)
    _check_twins(given["categories"], faults)
    return Document(() if faults.found else tuple(found), tuple(faults.found))


def _check(parts: Mapping[str, Any], path: Path, faults: Faults) -> None:
    if "id" in parts and not CATEGORY_ID.fullmatch(parts["id"]):
        faults.add(
            (*path, "id"),
            "id 由小写字母、数字与 _ 组成，以字母开头",
            "an id is small letters, digits and _, a letter first",
        )
    if parts.get("team") in _RUNGS:
        faults.add((*path, "team"), "应为到现场的队伍", "expected a team that goes to places")
    if parts.get("severity") is Severity.CRITICAL:
        if parts.get("filing") is Filing.DESK:
            faults.add((*path, "filing"), "紧急类别须立即派单：at_once", "a critical category cannot wait: at_once")
        if parts.get("safety") is None:
            faults.add(path, "紧急类别须写明 safety（先做什么）", "a critical category needs safety: what to do first")
        if parts.get("photo") is Photo.REQUIRED:
            faults.add((*path, "photo"), "紧急类别不得强制拍照", "nobody in danger has to take a photo first")
    radius = parts.get("radius_m", 0.0)
    if not 0 <= radius <= _WIDEST_M:
        faults.add((*path, "radius_m"), f"半径须在 0 到 {_WIDEST_M:.0f} 米", f"a radius is 0 to {_WIDEST_M:.0f} metres")
    for index, kind in enumerate(parts.get("kinds", ())):
        here = (*path, "kinds", index)
        if kind not in BY_NAME:
            faults.unknown(here, Label("设备类型", "device kind"), kind, BY_NAME)
        elif kind in _PRIVATE_KINDS:
            faults.add(here, f"{kind} 属于个人或家庭，不可并入", f"{kind} belongs to one person or home: never joined")


def _check_twins(given: Iterable[Any], faults: Faults) -> None:
    seen: dict[str, int] = {}
    for index, one in enumerate(given):
        name = one.get("id") if isinstance(one, Mapping) else None
        if isinstance(name, str) and seen.setdefault(name, index) != index:
            faults.add(
                ("categories", index, "id"),
                f"{name} 已用于 categories[{seen[name]}]",
                f"{name} is the id of categories[{seen[name]}] already",
            )
