"""Hours that follow the clock and the kind of day: the median of like hours, brought to the level of late.

Like hours are those of the same hour of the day on the same kind of day within eight weeks, days near by counting
more. A public holiday is a day of rest whatever its weekday, and a worked Saturday is a working day. The level of late
is the median ratio of the last three days to what the medians said of them, so that a cold week or an empty one moves
everything.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from services.domain.calendar import is_workday
from services.domain.forecast.bands import HIGH, LOW, Band, Hours, median, quantile

NEEDED_DAYS = 14
"""Two weeks: before, no hour of a day of rest has been seen often enough to say anything."""
_LEAST = 3
_LEVEL_DAYS = 3
_LEVEL_LOW, _LEVEL_HIGH = 0.5, 2.0
_HALF_LIFE_DAYS = 14.0
_WIDER = 1.2
"""The profile has seen the days whose misses it is measured by; days to come are missed by more."""
_HOUR = timedelta(hours=1)

_Key = tuple[str, int]


def kind_of_day(day: date) -> str:
    """`mon_thu`, `fri`, `sat` or `rest`: the last before rest, and the first of it, have evenings of their own."""
    if is_workday(day):
        return "work" if is_workday(day + timedelta(days=1)) else "fri"
    return "sat" if not is_workday(day + timedelta(days=1)) else "sun"


def days_of(history: Hours, zone: ZoneInfo) -> int:
    """How many local days have at least half of their hours."""
    counts: dict[date, int] = defaultdict(int)
    for hour in history:
        counts[hour.astimezone(zone).date()] += 1
    return sum(count >= 12 for count in counts.values())


def seasonal(history: Hours, start: datetime, hours: int, zone: ZoneInfo) -> dict[datetime, Band] | None:
    """So many hours from `start` (a whole hour) on, by what lies before it; None: not enough history."""
    known = {hour: value for hour, value in history.items() if hour < start}
    if days_of(known, zone) < NEEDED_DAYS:
        return None
    profile = _Profile(known, start, zone)
    level = _level(known, profile, start)
    ratios = _residuals(known, profile, start, zone)
    found: dict[datetime, Band] = {}
    for n in range(hours):
        hour = start + n * _HOUR
        middle = profile.at(hour)
        if middle is None:
            continue
        # What is high now is nearer to the usual in two days.
        lead = min(1.0, n / 48)
        moved = middle * (level + (1 + (level - 1) * 0.7 - level) * lead)
        below, above = ratios[hour.astimezone(zone).hour]
        wide = _WIDER + 0.25 * lead
        found[hour] = Band.of(moved, below * wide, above * wide)
    return found


class _Profile:
    """The weighted median of like hours; where too few are known, of that hour on any day."""

    def __init__(self, known: Hours, start: datetime, zone: ZoneInfo) -> None:
        self._zone = zone
        self._by: dict[_Key, list[tuple[float, float]]] = defaultdict(list)
        self._any: dict[int, list[tuple[float, float]]] = defaultdict(list)
        self._kinds: dict[date, str] = {}
        self._said: dict[_Key, float | None] = {}
        for hour, value in known.items():
            age = (start - hour) / timedelta(days=1)
            weight = 0.5 ** (age / _HALF_LIFE_DAYS)
            key = self._key(hour)
            self._by[key].append((value, weight))
            self._any[key[1]].append((value, weight))

    def _key(self, hour: datetime) -> _Key:
        local = hour.astimezone(self._zone)
        day = local.date()
        if day not in self._kinds:
            self._kinds[day] = kind_of_day(day)
        return self._kinds[day], local.hour

    def at(self, hour: datetime) -> float | None:
        key = self._key(hour)
        if key not in self._said:
            like = self._by.get(key, [])
            if len(like) < _LEAST:
                like = self._any.get(key[1], [])
            self._said[key] = _weighted_median(like) if like else None
        return self._said[key]


def _weighted_median(values: list[tuple[float, float]]) -> float:
    ordered = sorted(values)
    half, seen = sum(weight for _, weight in ordered) / 2, 0.0
    for value, weight in ordered:
        seen += weight
        if seen >= half:
            return value
    return ordered[-1][0]


def _level(known: Hours, profile: _Profile, start: datetime) -> float:
    """Of the last days against the profile; hours with next to nothing in them say nothing of the level."""
    hours = [start - n * _HOUR for n in range(1, _LEVEL_DAYS * 24 + 1)]
    said = [(known[hour], middle) for hour in hours if hour in known and (middle := profile.at(hour)) is not None]
    usual = [middle for _, middle in said]
    floor = sum(usual) / len(usual) / 5 if usual else 0.0
    ratios = [value / middle for value, middle in said if middle > floor > 0]
    if len(ratios) < 12:
        return 1.0
    return min(_LEVEL_HIGH, max(_LEVEL_LOW, median(ratios)))


def _residuals(known: Hours, profile: _Profile, start: datetime, zone: ZoneInfo) -> list[tuple[float, float]]:
    """By local hour: how far actual values lay below and above the profile at p10 and p90, in four weeks.

    Neighbouring hours are taken together, for a quantile of a tenth needs more than a handful of values.
    """
    by: dict[int, list[float]] = defaultdict(list)
    for hour, value in known.items():
        if start - hour <= timedelta(days=28) and (middle := profile.at(hour)) is not None:
            local = hour.astimezone(zone).hour
            for near in (local - 1, local, local + 1):
                by[near % 24].append(value - middle)
    return [(-quantile(by[hour], LOW), quantile(by[hour], HIGH)) if by[hour] else (0.0, 0.0) for hour in range(24)]


def naive(history: Hours, start: datetime, hours: int) -> dict[datetime, Band]:
    """The same hour a week before: what any forecast has to beat."""
    week = timedelta(days=7)
    found = {}
    for n in range(hours):
        hour = start + n * _HOUR
        value = history.get(hour - week)
        if value is not None and hour - week < start:
            found[hour] = Band.of(value, 0.0, 0.0)
    return found


def midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)
