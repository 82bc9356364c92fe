"""Cases of city management (城管部件与事件): what it calls our devices' troubles and residents' reports.

They are data (`municipal.yaml`); each code says in which state it is, since the standards are sold, not free to read.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

STANDARD = "CJ/T 214-2007"
Digits = Annotated[str, StringConstraints(pattern=r"^[0-9]{2}$")]
Name = Annotated[str, StringConstraints(min_length=1, max_length=80)]
Id = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]


class CaseSort(StrEnum):
    COMPONENT = "component"
    """部件: a thing that stands in the street."""
    EVENT = "event"
    """事件: something that happens there."""


class CodeState(StrEnum):
    DRAFT = "draft"
    CHECKED = "checked"
    MISSING = "missing"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Words(_Part):
    zh: Name
    en: Name


class Standard(_Part):
    id: Id
    title: Name
    codes: bool


class Entry(_Part):
    sort: CaseSort
    major: Digits = Field(alias="class")
    minor: Digits | None
    state: CodeState
    checked_by: Name | None = None
    name: Words
    kinds: tuple[Id, ...]
    categories: tuple[Id, ...]

    @model_validator(mode="after")
    def _stated(self) -> Self:
        if (self.minor is None) != (self.state is CodeState.MISSING):
            raise ValueError("a code is missing, or is a draft or checked")
        if (self.checked_by is None) != (self.state is not CodeState.CHECKED):
            raise ValueError("a checked code names who has checked it, and by what; no other does")
        return self


class Apart(_Part):
    why: Name
    kinds: tuple[Id, ...]
    categories: tuple[Id, ...]


class Municipal(_Part):
    """The whole file. Raises ValidationError, with every fault."""

    standards: tuple[Standard, ...]
    classes: Mapping[CaseSort, Mapping[Digits, Words]]
    cases: tuple[Entry, ...]
    apart: tuple[Apart, ...]

    @model_validator(mode="after")
    def _whole(self) -> Self:
        faults = [
            f"{one.name.zh}: there is no class {one.major} of {one.sort}"
            for one in self.cases
            if one.major not in self.classes.get(one.sort, {})
        ]
        for what in ("kinds", "categories"):
            named = [name for part in (*self.cases, *self.apart) for name in getattr(part, what)]
            faults += [f"{what}: {name} stands twice" for name in sorted(set(named)) if named.count(name) > 1]
        if faults:
            raise ValueError("; ".join(faults))
        return self

    def cases_by_kind(self) -> dict[str, dict[str, Any]]:
        """By what an alert or an order is of (a kind of device or a category): what is published of its case."""
        return {
            name: {
                "standard": STANDARD,
                "sort": one.sort.value,
                "major": one.major,
                "minor": one.minor,
                "state": one.state.value,
                "name": {"zh": one.name.zh, "en": one.name.en},
            }
            for one in self.cases
            for name in (*one.kinds, *one.categories)
        }
