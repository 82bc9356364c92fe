"""Working time the slow way: every minute of years, one by one, by a calendar written down a second time.

Public holidays and made-up working days are those of the State Council's yearly notices (国办发明电〔2023〕7 号,
〔2024〕12 号, 〔2025〕7 号), typed in here apart from the library that the product asks.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate
from zoneinfo import ZoneInfo

from services.domain.orders.terms import Span

_OFF = """
2024-01-01 2024-02-10..2024-02-17 2024-04-04..2024-04-06 2024-05-01..2024-05-05 2024-06-10 2024-09-15..2024-09-17
2024-10-01..2024-10-07
2025-01-01 2025-01-28..2025-02-04 2025-04-04..2025-04-06 2025-05-01..2025-05-05 2025-05-31..2025-06-02
2025-10-01..2025-10-08
2026-01-01..2026-01-03 2026-02-15..2026-02-23 2026-04-04..2026-04-06 2026-05-01..2026-05-05 2026-06-19..2026-06-21
2026-09-25..2026-09-27 2026-10-01..2026-10-07
"""
_MADE_UP = """
2024-02-04 2024-02-18 2024-04-07 2024-04-28 2024-05-11 2024-09-14 2024-09-29 2024-10-12
2025-01-26 2025-02-08 2025-04-27 2025-09-28 2025-10-11
2026-01-04 2026-02-14 2026-02-28 2026-05-09 2026-09-20 2026-10-10
"""
WEEK = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


def _days(text: str) -> frozenset[date]:
    found = set()
    for word in text.split():
        first, _, last = word.partition("..")
        day, end = date.fromisoformat(first), date.fromisoformat(last or first)
        while day <= end:
            found.add(day)
            day += timedelta(days=1)
    return frozenset(found)


OFF, MADE_UP = _days(_OFF), _days(_MADE_UP)


def works(day: date) -> bool:
    return day in MADE_UP or (day not in OFF and day.isoweekday() <= 5)


def among(days: str, day: date) -> bool:
    if days == "all":
        return True
    if days in ("workday", "restday"):
        return works(day) == (days == "workday")
    if days in ("weekday", "weekend"):
        return (day.isoweekday() <= 5) == (days == "weekday")
    return WEEK[day.isoweekday() - 1] in days.split(",")


def working(spans: tuple[Span, ...], local: datetime) -> bool:
    """Whether work goes on in the minute that the clock on the wall shows. Hours of spans are whole minutes here."""
    if not spans:
        return True
    shown, day = local.hour * 60 + local.minute, local.date()
    for span in spans:
        begins, ends = round(span.from_hour * 60), round(span.to_hour * 60)
        if begins < ends:
            if begins <= shown < ends and among(span.days, day):
                return True
        elif (shown >= begins and among(span.days, day)) or (
            shown < ends and among(span.days, day - timedelta(days=1))
        ):
            return True
    return False


class Table:
    """Every minute from `first` to `last`: whether work goes on in it."""

    def __init__(self, spans: tuple[Span, ...], zone: str, first: datetime, last: datetime) -> None:
        self.first = first
        minutes = (last - first) // timedelta(minutes=1)
        place = ZoneInfo(zone)
        flags = bytearray(minutes)
        minute = timedelta(minutes=1)
        # A zone that never moves its clocks shows the same wall all day long: an hour is asked once for its offset.
        moment = first
        for start in range(0, minutes, 15):
            local = moment.astimezone(place)
            for number in range(start, min(start + 15, minutes)):
                flags[number] = working(spans, local)
                local += minute
            moment += 15 * minute
        self.flags = bytes(flags)
        self.sums = array("q", [0, *accumulate(flags)])

    def us(self, moment: datetime) -> int:
        return (moment - self.first) // timedelta(microseconds=1)

    def moment(self, us: int) -> datetime:
        return self.first + timedelta(microseconds=us)

    def gone_us(self, us: int) -> int:
        """Microseconds of working time from the beginning of the table."""
        number, rest = divmod(us, 60_000_000)
        return self.sums[number] * 60_000_000 + (rest if self.flags[number] else 0)

    def between(self, start: datetime, end: datetime) -> float:
        return max(0, self.gone_us(self.us(end)) - self.gone_us(self.us(start))) / 1e6

    def add(self, start: datetime, seconds: float) -> datetime:
        wanted = round(seconds * 1e6)
        if wanted <= 0:
            return start
        target = self.gone_us(self.us(start)) + wanted
        number = bisect_left(self.sums, -(-target // 60_000_000)) - 1
        return self.moment(number * 60_000_000 + target - self.sums[number] * 60_000_000)

    def before(self, end: datetime, seconds: float) -> datetime:
        wanted = round(seconds * 1e6)
        if wanted <= 0:
            return end
        target = self.gone_us(self.us(end)) - wanted
        number = bisect_right(self.sums, target // 60_000_000) - 1
        return self.moment(number * 60_000_000 + target - self.sums[number] * 60_000_000)


def step_add(spans: tuple[Span, ...], zone: str, start: datetime, seconds: int) -> datetime:
    """A second at a time, from a whole second on."""
    place, moment, left = ZoneInfo(zone), start, seconds
    while left:
        left -= working(spans, moment.astimezone(place))
        moment += timedelta(seconds=1)
    return moment


def step_between(spans: tuple[Span, ...], zone: str, start: datetime, end: datetime) -> int:
    place, moment, gone = ZoneInfo(zone), start, 0
    while moment < end:
        gone += working(spans, moment.astimezone(place))
        moment += timedelta(seconds=1)
    return gone


def utc(year: int, month: int = 1, day: int = 1) -> datetime:
    return datetime(year, month, day, tzinfo=UTC)
