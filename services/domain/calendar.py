"""Working days by the Chinese calendar (public holidays, 调休) and stretches of the local day.

The State Council publishes the arrangement of a year in the autumn before it. Beyond the last year that the library
knows, Monday to Friday are working days and `note` says so; nothing here raises because of a date.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Protocol
from zoneinfo import ZoneInfo

import chinese_calendar

from services.domain.sun import is_daylight
from services.domain.vocabulary import Label

if TYPE_CHECKING:
    from services.domain.rules.evaluation import Facts

SATURDAY, SUNDAY = 5, 6
WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
NAMED_DAYS = ("all", "workday", "restday", "weekday", "weekend")
_KNOWN: frozenset[int] = frozenset(day.year for day in chinese_calendar.holidays)
"""Years of which the arrangement has been published."""


class Hours(Protocol):
    """A stretch of some local days, as `During` has it."""

    @property
    def days(self) -> str: ...
    @property
    def from_hour(self) -> float: ...
    @property
    def to_hour(self) -> float: ...
    @property
    def daylight(self) -> bool | None: ...


def is_known(day: date) -> bool:
    """Whether the day lies in a year of which the arrangement has been published."""
    return day.year in _KNOWN


def note(day: date) -> Label | None:
    """What people should be told about a working day that is only assumed; None: it is known."""
    if is_known(day):
        return None
    return Label(
        f"{day.year} 年节假日安排未载入，按周一至周五为工作日",
        f"public holidays of {day.year} are not loaded: Monday to Friday count as working days",
    )


@lru_cache(maxsize=1024)
def is_workday(day: date) -> bool:
    """工作日: a weekday that is no public holiday, or a weekend day that is worked to make up for one."""
    if day.year not in _KNOWN:
        return day.weekday() < SATURDAY
    return bool(chinese_calendar.is_workday(day))


@lru_cache(maxsize=1024)
def working_like(day: date) -> int:
    """As which weekday (0 = Monday) people live it: a holiday is a Sunday, a made-up day the workday next to it."""
    weekday = day.weekday()
    if is_workday(day):
        return weekday if weekday < SATURDAY else (4 if weekday == SATURDAY else 0)
    return SUNDAY if weekday < SATURDAY else weekday


def check_days(days: str) -> None:
    """ValueError for anything but a named sort of days or a list of weekdays (`mon,wed`)."""
    for name in [] if days in NAMED_DAYS else days.split(","):
        if name.strip() not in WEEKDAYS:
            raise ValueError(
                f"unknown day {name.strip()!r}: {', '.join(NAMED_DAYS)} or a list of {', '.join(WEEKDAYS)}"
            )


def check_hours(hours: Hours) -> None:
    """ValueError where there are no such days or hours."""
    check_days(hours.days)
    if not (0 <= hours.from_hour < 24 and 0 <= hours.to_hour <= 24):
        raise ValueError("hours are from 0 to 24")


@lru_cache(maxsize=4096)
def is_among(days: str, day: date) -> bool:
    """Whether the local day is one of `days` (as in `During.days`)."""
    match days:
        case "all":
            return True
        case "workday":
            return is_workday(day)
        case "restday":
            return not is_workday(day)
        case "weekday":
            return day.weekday() < SATURDAY
        case "weekend":
            return day.weekday() >= SATURDAY
        case _:
            check_days(days)
            return WEEKDAYS[day.weekday()] in [name.strip() for name in days.split(",")]


def local_time(ts_ms: int, zone: ZoneInfo) -> datetime:
    return datetime.fromtimestamp(ts_ms / 1000, UTC).astimezone(zone)


def hour_of(local: datetime) -> float:
    """The time the clock on the wall shows, 0 ≤ hour < 24."""
    return local.hour + local.minute / 60 + (local.second + local.microsecond / 1e6) / 3600


def in_hours(days: str, from_hour: float, to_hour: float, ts_ms: int, zone: ZoneInfo) -> bool:
    """From `from_hour`, inclusive, to `to_hour`, exclusive, by the clock on the wall (so a change of summer time moves
    it with the clock). At or before `from_hour` it runs past midnight and belongs to the day on which it began."""
    local = local_time(ts_ms, zone)
    hour, today = hour_of(local), local.date()
    if from_hour < to_hour:
        return from_hour <= hour < to_hour and is_among(days, today)
    if hour >= from_hour:
        return is_among(days, today)
    return hour < to_hour and is_among(days, today - timedelta(days=1))


def counts_at(hours: Hours, ts_ms: int, facts: Facts) -> bool | None:
    """Whether the moment lies within, by the clock and the sun of the community; None: it hangs on the sun, and that
    is neither up nor down (civil twilight)."""
    if not in_hours(hours.days, hours.from_hour, hours.to_hour, ts_ms, facts.zone):
        return False
    if hours.daylight is None:
        return True
    daylight = is_daylight(ts_ms, facts.latitude, facts.longitude)
    return None if daylight is None else daylight is hours.daylight
