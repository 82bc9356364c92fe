"""When lamps burn: by the sun of the place, dimmed by its clock, and the same for whoever asks late."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from math import acos, cos, degrees, pi, radians, sin
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.domain.commands.lamps import MINUTE_MS, Lamps, Where, command_for, light_at, next_change, wrong
from services.domain.sun import elevation_deg

JIUJIANG = Where(29.7, 116.0, ZoneInfo("Asia/Shanghai"))
TROMSO = Where(69.65, 18.96, ZoneInfo("Europe/Oslo"))
DIMMED = Lamps(dims=((time(23, 0), 50), (time(1, 0), 30), (time(5, 0), 100)))


def ms(text: str, where: Where = JIUJIANG) -> int:
    return round(datetime.fromisoformat(text).replace(tzinfo=where.zone).timestamp() * 1000)


@pytest.mark.parametrize(
    ("at", "light"),
    [
        ("2026-11-22T12:00", 0),
        ("2026-11-22T17:00", 0),
        ("2026-11-22T18:00", 100),
        ("2026-11-22T22:59", 100),
        ("2026-11-22T23:00", 50),
        ("2026-11-23T00:30", 50),
        ("2026-11-23T01:00", 30),
        ("2026-11-23T04:59", 30),
        ("2026-11-23T05:00", 100),
        ("2026-11-23T06:30", 100),
        ("2026-11-23T07:30", 0),
    ],
)
def test_lamps_follow_the_sun_and_then_the_clock(at: str, light: int) -> None:
    assert light_at(DIMMED, JIUJIANG, ms(at)) == light


def sunset_ms(day: str, where: Where) -> int:
    """Another way: Spencer's Fourier series of 1971 for declination and equation of time, good to about a minute."""
    date = datetime.fromisoformat(day)
    x = 2 * pi * (date.timetuple().tm_yday - 1) / 365
    equation = 229.18 * (
        0.000075 + 0.001868 * cos(x) - 0.032077 * sin(x) - 0.014615 * cos(2 * x) - 0.040849 * sin(2 * x)
    )
    tilt = (
        0.006918 - 0.399912 * cos(x) + 0.070257 * sin(x) - 0.006758 * cos(2 * x) + 0.000907 * sin(2 * x)
        - 0.002697 * cos(3 * x) + 0.00148 * sin(3 * x)
    )  # fmt: skip
    lat = radians(where.latitude)
    half = degrees(acos((sin(radians(-0.833)) - sin(lat) * sin(tilt)) / (cos(lat) * cos(tilt)))) * 4
    minutes = 720 - 4 * where.longitude - equation + half
    return round(date.replace(tzinfo=UTC).timestamp() * 1000 + minutes * MINUTE_MS)


@pytest.mark.parametrize("month", range(1, 13))
def test_lamps_go_on_at_sunset_as_another_formula_has_it(month: int) -> None:
    day = f"2026-{month:02}-20"
    change = next_change(Lamps(), JIUJIANG, ms(f"{day}T14:00"))
    assert change is not None and change[1] == 100
    assert abs(change[0] - sunset_ms(day, JIUJIANG)) <= 3 * MINUTE_MS


def test_lamps_go_off_higher_than_they_went_on() -> None:
    """A schedule may light the dusk and leave the dawn."""
    lamps = Lamps(on_deg=3.0, off_deg=-6.0)
    dusk, dawn = ms("2026-11-22T17:05"), ms("2026-11-23T06:35")
    assert 0 < elevation_deg(dusk, 29.7, 116.0) < 3 and light_at(lamps, JIUJIANG, dusk) == 100
    assert -6 < elevation_deg(dawn, 29.7, 116.0) < 0 and light_at(lamps, JIUJIANG, dawn) == 0


def test_night_beyond_the_circle_has_no_change_and_no_end() -> None:
    assert light_at(Lamps(on_deg=-0.833, off_deg=-0.833), TROMSO, ms("2026-12-21T12:00", TROMSO)) == 100
    assert next_change(Lamps(), TROMSO, ms("2026-12-21T12:00", TROMSO)) is None
    assert light_at(Lamps(), TROMSO, ms("2026-06-21T00:30", TROMSO)) == 0


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 365 * 24 * 60), st.sampled_from([JIUJIANG, TROMSO]))
def test_next_change_is_the_next_one(minute: int, where: Where) -> None:
    at = round(datetime(2026, 1, 1, tzinfo=UTC).timestamp() * 1000) + minute * MINUTE_MS
    change = next_change(DIMMED, where, at)
    if change is None:
        return
    when, light = change
    assert light_at(DIMMED, where, when) == light != light_at(DIMMED, where, when - MINUTE_MS)
    assert light_at(DIMMED, where, at) == light_at(
        DIMMED, where, at + (when - MINUTE_MS - at) // 2 // MINUTE_MS * MINUTE_MS
    )


@pytest.mark.parametrize(("light", "name"), [(0, "off"), (100, "on"), (30, "dim")])
def test_light_is_a_command_of_the_catalogue(light: int, name: str) -> None:
    assert command_for(light) == (name, {"brightness": 30} if name == "dim" else {})


def test_schedules_that_cannot_be_are_refused() -> None:
    assert wrong(-0.833, -0.833, DIMMED.dims) is None
    for on, off, dims in (
        (-13.0, 0.0, ()),
        (0.0, 7.0, ()),
        (float("nan"), 0.0, ()),
        (0.0, 0.0, ((time(1), 101),)),
        (0.0, 0.0, ((time(1), 10), (time(1), 20))),
        (0.0, 0.0, tuple((time(hour), 10) for hour in range(13))),
        (0.0, 0.0, ((time(1, tzinfo=UTC), 10),)),
    ):
        assert wrong(on, off, dims) is not None


def test_summer_time_moves_the_dimming_and_not_the_sun() -> None:
    where = Where(48.1, 11.6, ZoneInfo("Europe/Berlin"))
    before, after = ms("2026-10-24T23:30", where), ms("2026-10-25T23:30", where)
    assert after - before == round(timedelta(hours=25).total_seconds() * 1000)
    assert light_at(DIMMED, where, before) == light_at(DIMMED, where, after) == 50
