"""Arithmetic of working time (工作时): how much of it lies between two moments, and when so much has gone by.

Working time are all moments at which the clock on the wall of the community shows one of the calendar's hours on one of
its days (工作日 with public holidays and made-up days, see `calendar`), exact to the microsecond.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from services.domain import calendar
from services.domain.orders.terms import Span

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAIVE_EPOCH = datetime(1970, 1, 1)
_DAY_US, _HOUR_US = 86_400_000_000, 3_600_000_000
_US = timedelta(microseconds=1)
MOST_DAYS = 20_000
"""So far ahead or back anything is looked for; a calendar that needs longer has no working time to speak of."""
_KEPT = 4_000
"""Days kept worked out of one calendar: some ten years."""


class NoWorkingTime(ValueError):
    """The calendar has no hours, or so few that what is asked for never comes."""


def add(spans: tuple[Span, ...], zone: str, start: datetime, seconds: float) -> datetime:
    """When so many seconds of working time have gone by since start, the first such moment. No spans: always."""
    if not spans:
        return start + timedelta(seconds=seconds)
    return _moment(_hours(spans, zone).after(_us(start), round(seconds * 1e6)))


def before(spans: tuple[Span, ...], zone: str, end: datetime, seconds: float) -> datetime:
    """The last moment at which so many seconds of working time are still left until end: the mirror of `add`."""
    if not spans:
        return end - timedelta(seconds=seconds)
    return _moment(_hours(spans, zone).before(_us(end), round(seconds * 1e6)))


def between(spans: tuple[Span, ...], zone: str, start: datetime, end: datetime) -> float:
    """Seconds of working time from start to end; 0 where end is not after start."""
    if not spans:
        return max(0.0, (end - start).total_seconds())
    return _hours(spans, zone).between(_us(start), _us(end)) / 1e6


def stretches(
    spans: tuple[Span, ...], zone: str, start: datetime, end: datetime
) -> tuple[tuple[datetime, datetime], ...]:
    """The stretches of working time from start to end, oldest first, none touching the next."""
    if not spans:
        return ((start, end),) if start < end else ()
    hours, low, high = _hours(spans, zone), _us(start), _us(end)
    cut: list[tuple[int, int]] = []
    for day in range(low // _DAY_US, -(-high // _DAY_US)):
        cut += [(max(a, low), min(b, high)) for a, b in hours.day(day).stretches if a < high and b > low]
    return tuple((_moment(a), _moment(b)) for a, b in merged(cut))


def merged(given: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """In order, what overlaps or touches put together, what is empty left out."""
    found: list[tuple[int, int]] = []
    for start, end in sorted(given):
        if end <= start:
            continue
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((start, end))
    return found


@dataclass(frozen=True, slots=True)
class _Day:
    """One day of UTC: its stretches of working time, microseconds since the epoch, and how long they are together."""

    stretches: tuple[tuple[int, int], ...]
    total: int


class _Hours:
    """The working time of one calendar in one time zone, worked out day by day as it is asked for."""

    def __init__(self, spans: tuple[Span, ...], zone: str) -> None:
        for span in spans:
            calendar.check_days(span.days)
        self._spans = spans
        self._zone = ZoneInfo(zone)
        self._days: dict[int, _Day] = {}

    def day(self, number: int) -> _Day:
        found = self._days.get(number)
        if found is None:
            if len(self._days) >= _KEPT:
                self._days.clear()
            found = self._days[number] = self._worked_out(number)
        return found

    def _worked_out(self, number: int) -> _Day:
        found: list[tuple[int, int]] = []
        for start, end, offset in self._even(number * _DAY_US, (number + 1) * _DAY_US):
            local = start + offset, end + offset
            for from_us, to_us in self._on_the_wall(*local):
                found.append((max(from_us, local[0]) - offset, min(to_us, local[1]) - offset))
        stretches = tuple(merged(found))
        return _Day(stretches, sum(end - start for start, end in stretches))

    def _even(self, start: int, end: int) -> list[tuple[int, int, int]]:
        """Pieces during which the zone's distance from UTC is one and the same, with that distance."""
        pieces: list[tuple[int, int, int]] = []
        for low in range(start, end, 6 * _HOUR_US):
            high = low + 6 * _HOUR_US
            while low < high:
                offset, edge = self._offset(low), high
                if self._offset(high - 1) != offset:
                    below = low
                    while edge - below > 1:
                        middle = (below + edge) // 2
                        below, edge = (middle, edge) if self._offset(middle) == offset else (below, middle)
                if pieces and pieces[-1][2] == offset:
                    pieces[-1] = pieces[-1][0], edge, offset
                else:
                    pieces.append((low, edge, offset))
                low = edge
        return pieces

    def _offset(self, us: int) -> int:
        offset = _moment(us).astimezone(self._zone).utcoffset()
        return 0 if offset is None else offset // _US

    def _on_the_wall(self, start: int, end: int) -> Iterable[tuple[int, int]]:
        """Hours of the days from the one before start to that of end, as microseconds of the clock on the wall."""
        for number in range(start // _DAY_US - 1, (end - 1) // _DAY_US + 1):
            day = date.fromordinal(_NAIVE_EPOCH.toordinal() + number)
            for span in self._spans:
                if calendar.is_among(span.days, day):
                    from_us, to_us = round(span.from_hour * _HOUR_US), round(span.to_hour * _HOUR_US)
                    if to_us <= from_us:
                        to_us += _DAY_US
                    yield number * _DAY_US + from_us, number * _DAY_US + to_us

    def between(self, start: int, end: int) -> int:
        if end <= start:
            return 0
        first, last = start // _DAY_US, end // _DAY_US
        if first == last:
            return self._part(first, start, end)
        whole = sum(self.day(number).total for number in range(first + 1, last))
        return self._part(first, start, end) + whole + self._part(last, start, end)

    def _part(self, number: int, start: int, end: int) -> int:
        return sum(max(0, min(b, end) - max(a, start)) for a, b in self.day(number).stretches)

    def after(self, start: int, left: int) -> int:
        if left <= 0:
            return start
        first = start // _DAY_US
        for number in range(first, first + MOST_DAYS):
            day = self.day(number)
            if number != first and day.total < left:
                left -= day.total
                continue
            for a, b in day.stretches:
                a = max(a, start)
                if b - a >= left:
                    return a + left
                left -= max(0, b - a)
        raise NoWorkingTime("no working time within reach")

    def before(self, end: int, left: int) -> int:
        if left <= 0:
            return end
        last = (end - 1) // _DAY_US
        for number in range(last, last - MOST_DAYS, -1):
            day = self.day(number)
            if number != last and day.total < left:
                left -= day.total
                continue
            for a, b in reversed(day.stretches):
                b = min(b, end)
                if b - a >= left:
                    return b - left
                left -= max(0, b - a)
        raise NoWorkingTime("no working time within reach")


@lru_cache(maxsize=256)
def _hours(spans: tuple[Span, ...], zone: str) -> _Hours:
    return _Hours(spans, zone)


def _us(moment: datetime) -> int:
    return (moment - EPOCH) // _US


def _moment(us: int) -> datetime:
    return EPOCH + timedelta(microseconds=us)
