"""Working time against an oracle that looks at every minute, and at every second, by a calendar of its own."""

from __future__ import annotations

import random
import time
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.domain import calendar
from services.domain.orders import working_time
from services.domain.orders.terms import Span
from tests.clock_oracle import MADE_UP, OFF, Table, step_add, step_between, utc, works

SHANGHAI, BERLIN, LORD_HOWE = "Asia/Shanghai", "Europe/Berlin", "Australia/Lord_Howe"
CALENDARS: dict[str, tuple[Span, ...]] = {
    "property": (Span("all", 8, 20),),
    "office": (Span("workday", 8.5, 12), Span("workday", 13.5, 17.5)),
    "night": (Span("workday", 22, 6),),
    "overlapping": (Span("workday", 9, 18), Span("all", 12, 20), Span("weekend", 23, 2), Span("all", 20, 21)),
    "rest": (Span("restday", 10, 16),),
    "mondays": (Span("mon", 9, 10),),
    "all day": (Span("workday", 0, 24), Span("sat", 12, 12)),
}
DURATIONS = (1e-6, 1, 59.999999, 60, 600, 7200, 8 * 3600, 12 * 3600, 86400, 2 * 86400, 5 * 86400)


def test_working_time_knows_the_holidays_that_were_published() -> None:
    """Each day of three years, by the library and by the notices typed in once more."""
    day, compared = date(2024, 1, 1), 0
    while day < date(2027, 1, 1):
        assert calendar.is_workday(day) == works(day), day
        day, compared = day + timedelta(days=1), compared + 1
    assert compared == 1096
    assert all(day.isoweekday() > 5 for day in MADE_UP)
    assert not OFF & MADE_UP


def _compare(spans: tuple[Span, ...], zone: str, year: int) -> Counter[str]:
    """Every day of the year × starts × durations."""
    table = Table(spans, zone, utc(year), utc(year + 1, 5))
    chance = random.Random(year)
    counts: Counter[str] = Counter()
    day = utc(year)
    while day < utc(year + 1):
        for start_s in (0.0, 0.5 * 3600, 4 * 3600 + 0.000001, 9.5 * 3600, chance.uniform(0, 86400)):
            start = day + timedelta(seconds=start_s)
            for seconds in (*chance.sample(DURATIONS, 5), round(chance.uniform(0, 40 * 3600), 6)):
                if spans == CALENDARS["mondays"]:
                    seconds = round(seconds / 12, 6)
                end = working_time.add(spans, zone, start, seconds)
                assert end == table.add(start, seconds), (start, seconds)
                assert working_time.between(spans, zone, start, end) == round(seconds, 6)
                assert table.between(start, end) == round(seconds, 6)
                assert working_time.before(spans, zone, end, seconds) == table.before(end, seconds), (end, seconds)
                wall = start + timedelta(seconds=seconds)
                assert working_time.between(spans, zone, start, wall) == table.between(start, wall)
                counts["compared"] += 4
        day += timedelta(days=1)
    return counts


@pytest.mark.parametrize("name", ["property", "office", "night", "overlapping", "mondays"])
def test_working_time_of_a_year_is_the_minutes_counted_one_by_one(name: str) -> None:
    counts = _compare(CALENDARS[name], SHANGHAI, 2025)
    print(f"\n{name}: {counts['compared']} compared over 365 days")  # noqa: T201
    assert counts["compared"] == 365 * 5 * 6 * 4


@pytest.mark.parametrize("zone", [BERLIN, LORD_HOWE])
def test_working_time_moves_with_a_clock_that_is_put_forward_and_back(zone: str) -> None:
    """By half an hour too (Lord Howe); one stretch begins in the hour that comes twice."""
    spans = (Span("all", 1.5, 2.75), Span("weekday", 8, 17), Span("sat", 22, 3))
    assert _compare(spans, zone, 2024)["compared"] == 366 * 5 * 6 * 4


_TURNS = [date(2024, 2, 9), date(2024, 10, 11), date(2025, 1, 25), date(2025, 10, 8), date(2026, 2, 13)]
_TURNS += [date(2026, 2, 28), date(2026, 9, 30), date(2025, 3, 30), date(2025, 10, 26)]


@settings(max_examples=120, deadline=None)
@given(
    st.sampled_from(sorted(CALENDARS)),
    st.sampled_from([SHANGHAI, BERLIN]),
    st.sampled_from(_TURNS),
    st.integers(-6 * 3600, 30 * 3600),
    st.integers(0, 3 * 3600),
)
def test_working_time_is_the_seconds_counted_one_by_one(name: str, zone: str, day: date, at: int, seconds: int) -> None:
    """Around holidays, made-up days and the days on which clocks are put forward and back."""
    spans = CALENDARS[name]
    start = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(seconds=at)
    end = start + timedelta(seconds=seconds)
    gone = step_between(spans, zone, start, end)
    assert working_time.between(spans, zone, start, end) == gone
    assert working_time.add(spans, zone, start, gone) == step_add(spans, zone, start, gone)
    assert working_time.before(spans, zone, end, gone) >= start
    assert working_time.between(spans, zone, working_time.before(spans, zone, end, gone), end) == gone


_spans = st.lists(
    st.builds(
        lambda days, low, high: Span(days, low / 4, high / 4),
        st.sampled_from(["all", "workday", "restday", "weekday", "weekend", "tue,thu"]),
        st.integers(0, 95),
        st.integers(0, 96),
    ),
    min_size=1,
    max_size=4,
).map(tuple)
_moments = st.datetimes(datetime(2024, 1, 1), datetime(2026, 12, 1), timezones=st.just(UTC))


@settings(max_examples=400, deadline=None)
@given(_spans, st.sampled_from([SHANGHAI, BERLIN, LORD_HOWE]), _moments, st.integers(0, 10**11), st.integers(0, 10**11))
def test_working_time_adds_up(spans: tuple[Span, ...], zone: str, start: datetime, first: int, second: int) -> None:
    """In two steps as in one; and whoever goes on and back is where the same is left. Microseconds."""
    a, b = first / 1e6, second / 1e6
    middle = working_time.add(spans, zone, start, a)
    end = working_time.add(spans, zone, start, (first + second) / 1e6)
    assert round(working_time.between(spans, zone, start, middle) * 1e6) == first
    assert working_time.add(spans, zone, middle, b) == end
    assert round(working_time.between(spans, zone, middle, end) * 1e6) == second
    back = working_time.before(spans, zone, end, b)
    assert middle <= back <= end
    whole = working_time.stretches(spans, zone, start, end)
    assert round(sum((high - low).total_seconds() for low, high in whole) * 1e6) == first + second
    assert all(low < high for low, high in whole)
    assert all(one[1] < other[0] for one, other in pairwise(whole))


def test_working_time_around_the_clock_is_time() -> None:
    start = utc(2026, 10, 1)
    assert working_time.add((), SHANGHAI, start, 90.5) == start + timedelta(seconds=90.5)
    assert working_time.before((), SHANGHAI, start, 90.5) == start - timedelta(seconds=90.5)
    assert working_time.between((), SHANGHAI, start, start + timedelta(hours=1)) == 3600
    assert working_time.between((), SHANGHAI, start, start - timedelta(hours=1)) == 0
    assert working_time.stretches((), SHANGHAI, start, start) == ()


def test_working_time_before_national_day_ends_after_it() -> None:
    """An hour before the end of the last working day before a week of holidays; 30 September 2026 is a Wednesday."""
    office = CALENDARS["office"]
    start = datetime(2026, 9, 30, 8, 30, tzinfo=UTC)  # 16:30 in Shanghai
    assert working_time.add(office, SHANGHAI, start, 3600) == start + timedelta(hours=1)
    assert working_time.add(office, SHANGHAI, start, 3601) == datetime(2026, 10, 8, 0, 30, 1, tzinfo=UTC)
    # 10 October is a Saturday that is worked; whoever has 8 h left on the 9th at noon is done on it.
    noon = datetime(2026, 10, 9, 4, 0, tzinfo=UTC)
    assert working_time.add(office, SHANGHAI, noon, 8 * 3600) == datetime(2026, 10, 10, 6, 0, tzinfo=UTC)


def test_working_time_a_year_ahead_is_found_at_once() -> None:
    office = CALENDARS["office"]
    working_time.add(office, SHANGHAI, utc(2025), 1800 * 3600)
    began = time.process_time()
    for _ in range(200):
        end = working_time.add(office, SHANGHAI, utc(2025), 1800 * 3600)
    each = (time.process_time() - began) / 200
    print(f"\na year ahead in {each * 1e6:.0f} µs, to {end}")  # noqa: T201
    assert end.year == 2025 and end.month >= 11
    assert each < 0.05, "a year is searched day by day"


def test_working_time_that_never_comes_is_an_error_and_no_endless_search() -> None:
    with pytest.raises(working_time.NoWorkingTime):
        working_time.add(CALENDARS["mondays"], SHANGHAI, utc(2025), 10**9)
    with pytest.raises(ValueError, match="unknown day"):
        working_time.add((Span("never", 8, 9),), SHANGHAI, utc(2025), 1)
