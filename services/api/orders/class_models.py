"""What the API takes and answers about classes of orders."""

from __future__ import annotations

from datetime import date, datetime

from pydantic import AwareDatetime, Field

from services.api.answers.models import LabelOut, Model


class ClassClockOut(Model):
    due_s: float
    warn_s: float
    ladder: dict[str, float] = Field(description="rung → seconds after the clock ran out")
    nights: dict[str, float] = Field(description="the same where it runs out by night; empty: as by day")


class OrderClassOut(Model):
    id: str
    title: LabelOut
    calendar: str
    mode: str
    clocks: dict[str, ClassClockOut]
    needs: dict[str, list[str]]
    pause_reasons: list[str]
    pause_longest_s: float


class ClassVersionOut(Model):
    version: int
    at: datetime
    by: str
    note: str
    removed: bool = Field(description="the defaults were put back in force")
    scale: float | None = Field(description="of a drill")
    until: datetime | None = Field(description="of a drill")


class OrderClassesOut(Model):
    """The classes by which orders are opened now."""

    version: int = Field(description="of the text in force; 0: the defaults. Orders name it")
    newest: int = Field(description="the version to name in If-Match")
    scale: float = Field(description="1, or in a drill what every clock is multiplied by")
    until: datetime | None = Field(description="when the drill is over")
    document: str
    classes: list[OrderClassOut]
    history: list[ClassVersionOut] = Field(description="the newest 20 versions")


class DefaultClassesOut(Model):
    document: str
    classes: list[OrderClassOut]


class ClassesChangedOut(Model):
    version: int
    scale: float
    until: datetime | None


class DrillIn(Model):
    """演练: orders opened until then have faster clocks, which are in force at once."""

    scale: float = Field(ge=0.01, le=1, description="what every clock is multiplied by", examples=[0.05])
    until: AwareDatetime = Field(description="at most 24 h ahead", examples=["2026-11-22T18:00:00+08:00"])
    note: str = Field(default="", max_length=500)


class StretchOut(Model):
    start: datetime
    end: datetime


class DayOut(Model):
    date: date
    workday: bool
    note: LabelOut | None = Field(description="where a working day is only assumed")
    stretches: list[StretchOut]
    hours: float


class CalendarOut(Model):
    name: str
    used_by: list[str] = Field(description="classes")
    days: list[DayOut]


class CalendarsOut(Model):
    timezone: str
    calendars: list[CalendarOut]
