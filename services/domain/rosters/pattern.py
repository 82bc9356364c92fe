"""A rota (排班规则) as data: which shifts a team stands on which days, and how its people take turns in them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, time
from enum import StrEnum
from itertools import pairwise
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from services.domain.calendar import check_days
from services.domain.vocabulary import Team

EMERGENCY_TEAMS = frozenset({Team.PATROL, Team.GRID, Team.DESK})
"""Where a community keeps a roster for one of these, somebody has to be there around the clock."""


class Cover(StrEnum):
    """When somebody of the team has to be on duty (在岗要求)."""

    ALWAYS = "always"
    HOURS = "hours"
    """In the hours of the rota's own shifts."""


class Turn(StrEnum):
    FIXED = "fixed"
    """The first crew always stands the first shift, and so on."""
    ROTATE = "rotate"
    """轮班: after `step_days` of the rota's days every crew goes on to the next shift; after the last one it rests, as
    long as there are more crews than shifts."""


class Post(StrEnum):
    MEMBER = "member"
    LEADER = "leader"


class PatternError(ValueError):
    """The document is no rota; the text says where and why."""


class ShiftTime(BaseModel):
    """By the clock on the wall. `to` at or before `from` is on the next day; equal: 24 hours."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    name: str = Field(min_length=1, max_length=40)
    from_: time = Field(alias="from")
    to: time

    @model_validator(mode="after")
    def _plain_time(self) -> Self:
        if self.from_.tzinfo is not None or self.to.tzinfo is not None:
            raise ValueError("班次时间按社区当地时间 · hours are by the community's clock, without an offset")
        return self

    @property
    def minutes(self) -> int:
        """Its length by the clock on the wall."""
        start, end = (moment.hour * 60 + moment.minute for moment in (self.from_, self.to))
        return (end - start - 1) % 1440 + 1


class Pattern(BaseModel):
    """`people` are crews of account ids: whoever stands together in one line. `days` as in rules: all, workday,
    restday, weekday, weekend or a list of weekdays. `cover` None: around the clock for patrol, grid and desk, else in
    the hours of the shifts."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)

    team: Team
    name: str = Field(default="", max_length=100)
    shifts: tuple[ShiftTime, ...] = Field(min_length=1, max_length=12)
    days: str = "all"
    people: tuple[tuple[str, ...], ...] = Field(min_length=1, max_length=60)
    leaders: frozenset[str] = frozenset()
    """Of `people`: who stands as the leader of the shift."""
    turn: Turn = Turn.ROTATE
    step_days: int = Field(default=1, ge=1, le=60)
    from_day: date = Field(alias="from")
    until_day: date | None = Field(default=None, alias="until")
    """Its last day; None: for good."""
    cover: Cover | None = None

    @model_validator(mode="after")
    def _sound(self) -> Self:
        check_days(self.days)
        everybody = [person for crew in self.people for person in crew]
        if not all(self.people) or not all(everybody):
            raise ValueError("每组至少一人 · every crew needs somebody")
        if len(set(everybody)) != len(everybody):
            raise ValueError("同一人只能排在一组 · a person stands in one crew only")
        if not self.leaders <= set(everybody):
            raise ValueError("带班人须在排班人员之中 · a leader has to be one of the people")
        if self.turn is Turn.FIXED and len(self.people) != len(self.shifts):
            raise ValueError("固定班：每个班次一组人 · fixed: as many crews as shifts")
        if self.until_day is not None and self.until_day < self.from_day:
            raise ValueError("结束日早于开始日 · it ends before it begins")
        # A crew stands several shifts a day only where there are fewer crews than shifts.
        if len(self.people) < len(self.shifts) and (again := _overlapping(self.shifts)):
            raise ValueError(
                f"人手不足：{again[0]}与{again[1]}重叠 · too few crews: {again[0]} and {again[1]} overlap, one crew "
                "would stand both"
            )
        return self

    @property
    def required_cover(self) -> Cover:
        if self.cover is not None:
            return self.cover
        return Cover.ALWAYS if self.team in EMERGENCY_TEAMS else Cover.HOURS

    def as_document(self) -> dict[str, Any]:
        """JSON as `parse` reads it."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True) | {"leaders": sorted(self.leaders)}

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Pattern:
        """Raises PatternError with all faults in one text."""
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            faults = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}".lstrip(": ") for one in error.errors())
            raise PatternError("; ".join(faults)) from None


def _overlapping(shifts: tuple[ShiftTime, ...]) -> tuple[str, str] | None:
    """Two shifts of one day, or of one day and the next, that share a minute."""
    stretches = []
    for day in (0, 1440):
        for one in shifts:
            start = one.from_.hour * 60 + one.from_.minute + day
            stretches.append((start, start + one.minutes, one.name))
    stretches.sort()
    for (_, ends, name), (starts, _, other) in pairwise(stretches):
        if starts < ends:
            return name, other
    return None
