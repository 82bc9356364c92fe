"""The sun stands where it should, winters are cold, and people are at home when people are."""

from __future__ import annotations

from datetime import datetime

import pytest

from device_sim.world import CHINA, Sky, home_of, local_time, solar_elevation
from services.domain.ids import PersonId
from services.domain.registry import Person


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=CHINA).timestamp() * 1000)


@pytest.mark.parametrize(
    ("latitude", "longitude", "at", "degrees"),
    [
        # noon of the solstices at Beijing (39.9° N): 90 − 39.9 ± 23.44; its solar noon is about 12:14 on the clock
        (39.9, 116.4, "2026-06-21T12:16", 73.5),
        (39.9, 116.4, "2026-12-22T12:13", 26.7),
        # equinox at the equator, overhead at solar noon
        (0.0, 120.0, "2026-03-20T12:07", 89.8),
    ],
)
def test_sun_culminates_where_the_almanac_says(latitude: float, longitude: float, at: str, degrees: float) -> None:
    assert solar_elevation(latitude, longitude, ms(at)) == pytest.approx(degrees, abs=0.8)


def test_sun_rises_in_kuitun_two_hours_after_shanghai() -> None:
    def first_light(latitude: float, longitude: float) -> float:
        return next(
            hour / 10
            for hour in range(240)
            if solar_elevation(latitude, longitude, ms("2026-03-20T00:00") + hour * 360_000) > 0
        )

    assert first_light(44.43, 84.90) - first_light(31.31, 121.45) == pytest.approx(2.4, abs=0.4)


def test_sun_is_dark_at_night_and_dimmed_by_cloud() -> None:
    sky = Sky(29.7, 116.0, seed=3)
    assert sky.sun(ms("2026-11-22T02:00")) == 0.0
    noons = [sky.sun(ms("2026-06-01T12:15") + day * 86_400_000) for day in range(30)]
    assert all(0.2 < value <= 1.0 for value in noons)
    assert max(noons) > 1.4 * min(noons)


def test_weather_same_seed_same_weather() -> None:
    at = ms("2026-11-22T15:00")
    assert Sky(29.7, 116.0, 3).sun(at) == Sky(29.7, 116.0, 3).sun(at)
    assert Sky(29.7, 116.0, 3).outdoor_c(at) != Sky(29.7, 116.0, 4).outdoor_c(at)


def test_temperature_follows_season_hour_and_latitude() -> None:
    south, north = Sky(29.7, 116.0), Sky(41.9, 123.4)

    def mean(sky: Sky, month: str) -> float:
        return sum(sky.outdoor_c(ms(f"2026-{month}T12:00") + day * 86_400_000) for day in range(20)) / 20

    assert 24 < mean(south, "07-10") < 38
    assert -2 < mean(south, "01-10") < 12
    assert mean(north, "01-10") < mean(south, "01-10") - 8
    afternoons = sum(south.outdoor_c(ms("2026-05-01T15:00") + d * 86_400_000) for d in range(10))
    nights = sum(south.outdoor_c(ms("2026-05-01T04:00") + d * 86_400_000) for d in range(10))
    assert afternoons > nights + 30


def _share(people: list[Person], at: str, days: int = 20) -> float:
    home = home_of("h1", people, 2026)
    start = ms(at)
    found = [home.share(local_time(start + day * 86_400_000)) for day in range(days)]
    weekdays = [s for day, s in enumerate(found) if not local_time(start + day * 86_400_000).weekend]
    return sum(weekdays) / len(weekdays)


def test_workers_leave_at_eight_and_are_back_in_the_evening() -> None:
    couple = [Person(PersonId(f"p{n}"), "h1", "张伟", 1986) for n in range(2)]
    assert _share(couple, "2026-11-02T05:00") == 1.0
    assert _share(couple, "2026-11-02T11:00") < 0.3
    assert _share(couple, "2026-11-02T22:30") == 1.0


def test_elders_are_at_home_but_for_their_walk() -> None:
    elder = [Person(PersonId("p1"), "h1", "王秀英", 1944)]
    assert _share(elder, "2026-11-02T14:00") == 1.0
    assert _share(elder, "2026-11-02T09:45") < 0.6


def test_weekends_are_spent_at_home_more() -> None:
    couple = [Person(PersonId(f"p{n}"), "h1", "张伟", 1986) for n in range(2)]
    home = home_of("h1", couple, 2026)
    days = [local_time(ms("2026-11-02T11:00") + day * 86_400_000) for day in range(56)]
    weekend = [home.share(day) for day in days if day.weekend]
    working = [home.share(day) for day in days if not day.weekend]
    assert sum(weekend) / len(weekend) > sum(working) / len(working) + 0.2
