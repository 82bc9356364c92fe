"""Working days, hours past midnight and by the sun; none of it ever raises because of a date."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from services.domain.calendar import (
    check_days,
    counts_at,
    in_hours,
    is_among,
    is_known,
    is_workday,
    local_time,
    note,
    working_like,
)
from services.domain.rules.evaluation import Facts
from services.domain.rules.rule import During
from services.domain.sun import TWILIGHT_DEG, elevation_deg, is_daylight

SHANGHAI = ZoneInfo("Asia/Shanghai")


def at(text: str, zone: ZoneInfo = SHANGHAI) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp() * 1000)


# 国务院办公厅关于2026年部分节假日安排的通知: days off (first, last), and the weekend days worked for them.
OFF_2026 = [
    ("01-01", "01-03"),
    ("02-15", "02-23"),
    ("04-04", "04-06"),
    ("05-01", "05-05"),
    ("06-19", "06-21"),
    ("09-25", "09-27"),
    ("10-01", "10-07"),
]
WORKED_2026 = ["01-04", "02-14", "02-28", "05-09", "09-20", "10-10"]


def test_calendar_is_that_of_the_state_council_for_2026() -> None:
    off = set()
    for first, last in OFF_2026:
        day = date.fromisoformat(f"2026-{first}")
        while day <= date.fromisoformat(f"2026-{last}"):
            off.add(day)
            day += timedelta(days=1)
    worked = {date.fromisoformat(f"2026-{day}") for day in WORKED_2026}
    for number in range(365):
        day = date(2026, 1, 1) + timedelta(days=number)
        expected = day in worked or (day not in off and day.weekday() < 5)
        assert is_workday(day) is expected, day
        assert note(day) is None


@pytest.mark.parametrize(
    "day", [date(2020, 1, 31), date(2021, 2, 15), date(2022, 10, 7), date(2024, 2, 9), date(2025, 1, 28)]
)
def test_calendar_knows_the_years_before(day: date) -> None:
    """2024-02-09 was New Year's Eve and worked; the others were weekdays off."""
    assert is_known(day)
    assert is_workday(day) is (day == date(2024, 2, 9))


@pytest.mark.parametrize("year", [1999, 2003, 2060, 9999])
def test_calendar_beyond_what_is_published_goes_by_weekdays_and_says_so(year: int) -> None:
    monday = next(day for day in (date(year, 5, 1) + timedelta(days=n) for n in range(7)) if day.weekday() == 0)
    assert [is_workday(monday + timedelta(days=n)) for n in range(7)] == [True] * 5 + [False] * 2
    said = note(monday)
    assert said is not None
    assert str(year) in said.zh and str(year) in said.en


def test_calendar_lives_a_holiday_as_a_sunday() -> None:
    assert working_like(date(2026, 10, 1)) == 6  # a Thursday off
    assert working_like(date(2026, 10, 10)) == 4  # a Saturday worked
    assert working_like(date(2026, 9, 20)) == 0  # a Sunday worked
    assert working_like(date(2026, 10, 3)) == 5  # a Saturday off stays one
    assert working_like(date(2026, 11, 25)) == 2


def test_calendar_days_have_names() -> None:
    holiday, made_up, saturday = date(2026, 10, 1), date(2026, 10, 10), date(2026, 11, 21)
    assert [is_among("workday", day) for day in (holiday, made_up, saturday)] == [False, True, False]
    assert [is_among("restday", day) for day in (holiday, made_up, saturday)] == [True, False, True]
    assert [is_among("weekday", day) for day in (holiday, made_up, saturday)] == [True, False, False]
    assert [is_among("weekend", day) for day in (holiday, made_up, saturday)] == [False, True, True]
    assert [is_among("thu, sat", day) for day in (holiday, made_up, saturday)] == [True, True, True]
    assert is_among("all", holiday) and not is_among("mon", holiday)
    for wrong in ("", "sunday", "mon;tue", "workday,sat"):
        with pytest.raises(ValueError, match="unknown day"):
            check_days(wrong)


@pytest.mark.parametrize(
    ("when", "within"),
    [
        ("2026-11-20T21:59:59.999", False),  # a Friday
        ("2026-11-20T22:00:00", True),
        ("2026-11-21T00:00:00", True),  # the night still belongs to Friday
        ("2026-11-21T05:59:59.999", True),
        ("2026-11-21T06:00:00", False),
        ("2026-11-21T22:00:00", False),  # Saturday
        ("2026-11-22T05:00:00", False),
        ("2026-11-23T05:00:00", False),  # Monday before dawn belongs to Sunday
        ("2026-09-30T22:00:00", True),  # the eve of the National Day
        ("2026-10-01T05:59:59", True),
        ("2026-10-01T22:00:00", False),
        ("2026-10-08T05:00:00", False),
        ("2026-10-10T23:00:00", True),  # a Saturday worked
        ("2026-10-11T05:00:00", True),
    ],
)
def test_calendar_hours_past_midnight_belong_to_their_evening(when: str, within: bool) -> None:
    assert in_hours("workday", 22.0, 6.0, at(when), SHANGHAI) is within


def test_calendar_hours_include_their_beginning_and_not_their_end() -> None:
    for text, within in (("08:59:59.999", False), ("09:00:00", True), ("17:29:59.999", True), ("17:30:00", False)):
        assert in_hours("all", 9.0, 17.5, at(f"2026-11-22T{text}"), SHANGHAI) is within
    assert all(in_hours("all", 0.0, 24.0, at("2026-11-22T00:00:00") + n * 3_600_000, SHANGHAI) for n in range(24))
    assert all(in_hours("all", 7.0, 7.0, at("2026-11-22T00:00:00") + n * 3_600_000, SHANGHAI) for n in range(24))


def test_calendar_hours_go_by_the_clock_on_the_wall_where_there_is_summer_time() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    spring = int(datetime(2026, 3, 29, 0, 30, tzinfo=UTC).timestamp() * 1000)  # 01:30; at 02:00 it becomes 03:00
    hours = [in_hours("all", 2.0, 3.0, spring + n * 900_000, berlin) for n in range(8)]
    assert not any(hours)
    autumn = int(datetime(2026, 10, 25, 0, 0, tzinfo=UTC).timestamp() * 1000)  # 02:00 twice
    hours = [in_hours("all", 2.0, 3.0, autumn + n * 900_000, berlin) for n in range(9)]
    assert hours == [True] * 8 + [False]
    night = [in_hours("sat", 22.0, 6.0, autumn + n * 3_600_000, berlin) for n in range(-5, 8)]
    assert night == [False] + [True] * 9 + [False] * 3


def test_calendar_hours_ask_the_sun() -> None:
    facts = Facts(interval_ms=60_000, latitude=29.7, longitude=116.0)
    day, night = During(daylight=True), During(daylight=False)
    noon, midnight = at("2026-11-22T12:00"), at("2026-11-22T00:00")
    assert (counts_at(day, noon, facts), counts_at(day, midnight, facts)) == (True, False)
    assert (counts_at(night, noon, facts), counts_at(night, midnight, facts)) == (False, True)
    dawn = next(
        ts for ts in range(at("2026-11-22T05:00"), noon, 1000) if elevation_deg(ts, 29.7, 116.0) >= -TWILIGHT_DEG
    )
    assert (counts_at(night, dawn - 1000, facts), counts_at(night, dawn + 1000, facts)) == (True, None)
    morning = next(ts for ts in range(dawn, noon, 1000) if elevation_deg(ts, 29.7, 116.0) >= TWILIGHT_DEG)
    assert (counts_at(day, morning - 1000, facts), counts_at(day, morning, facts)) == (None, True)
    assert counts_at(During(from_hour=13, to_hour=14, daylight=True), noon, facts) is False
    assert local_time(noon, SHANGHAI).hour == 12


def test_calendar_sunrise_and_sunset_are_those_of_another_computation() -> None:
    """Sunrise is at -0.833° (radius and refraction). Times as astral 3.2 gives them, to the minute."""
    published = [
        ("2026-06-21", 39.904, 116.407, "04:46", "19:46"),
        ("2026-12-22", 39.904, 116.407, "07:33", "16:53"),
        ("2026-03-20", 31.230, 121.474, "05:59", "18:05"),
    ]
    for day, latitude, longitude, rise, fall in published:
        start = at(f"{day}T00:00")
        up = [ts for ts in range(start, start + 86_400_000, 60_000) if elevation_deg(ts, latitude, longitude) > -0.833]
        assert abs(up[0] - at(f"{day}T{rise}")) <= 90_000, (day, datetime.fromtimestamp(up[0] / 1000, SHANGHAI))
        assert abs(up[-1] - at(f"{day}T{fall}")) <= 90_000, (day, datetime.fromtimestamp(up[-1] / 1000, SHANGHAI))


def test_calendar_sun_never_rises_in_a_polar_winter() -> None:
    assert not any(is_daylight(at("2026-12-22T00:00") + n * 600_000, 78.2, 15.6) for n in range(144))
