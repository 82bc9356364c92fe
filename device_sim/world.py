"""What surrounds the devices: the sun over the community, cloud, the season's temperature, and who is at home."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache

from services.domain.registry import Person

CHINA = timezone(timedelta(hours=8))
"""One clock in all of China, without summer time."""


@dataclass(frozen=True, slots=True)
class LocalTime:
    hour: float
    day_of_year: int
    weekend: bool
    ordinal: int
    """Days since year 1, to seed what is drawn once a day."""


def local_time(ts_ms: int) -> LocalTime:
    at = datetime.fromtimestamp(ts_ms / 1000, UTC).astimezone(CHINA)
    hour = at.hour + at.minute / 60 + at.second / 3600
    return LocalTime(hour, at.timetuple().tm_yday, at.weekday() >= 5, at.toordinal())


def solar_elevation(latitude: float, longitude: float, ts_ms: int) -> float:
    """Degrees above the horizon; declination and equation of time after Spencer (1971), good to half a degree."""
    at = datetime.fromtimestamp(ts_ms / 1000, UTC)
    hour_utc = at.hour + at.minute / 60 + at.second / 3600
    g = 2 * math.pi * (at.timetuple().tm_yday - 1 + (hour_utc - 12) / 24) / 365
    declination = (
        0.006918
        - 0.399912 * math.cos(g)
        + 0.070257 * math.sin(g)
        - 0.006758 * math.cos(2 * g)
        + 0.000907 * math.sin(2 * g)
    )
    equation_min = 229.18 * (
        0.000075
        + 0.001868 * math.cos(g)
        - 0.032077 * math.sin(g)
        - 0.014615 * math.cos(2 * g)
        - 0.040849 * math.sin(2 * g)
    )
    hour_angle = math.radians(15 * (hour_utc + longitude / 15 + equation_min / 60 - 12))
    lat = math.radians(latitude)
    sine = math.sin(lat) * math.sin(declination) + math.cos(lat) * math.cos(declination) * math.cos(hour_angle)
    return math.degrees(math.asin(max(-1.0, min(1.0, sine))))


@dataclass(frozen=True, slots=True)
class Sky:
    """The weather of one community; the same seed and time give the same weather."""

    latitude: float
    longitude: float
    seed: int = 1

    def cloud(self, ts_ms: int) -> float:
        """Share of the sky covered, drawn for each three hours and joined smoothly."""
        step = ts_ms / 10_800_000
        before, share = math.floor(step), step - math.floor(step)
        return _cloud(self.seed, before) * (1 - share) + _cloud(self.seed, before + 1) * share

    def sun(self, ts_ms: int) -> float:
        """Irradiance as a share of the greatest: 0 at night; full cloud lets a quarter through (Kasten and Czeplak)."""
        elevation = solar_elevation(self.latitude, self.longitude, ts_ms)
        if elevation <= 0:
            return 0.0
        return math.sin(math.radians(elevation)) * (1 - 0.75 * math.pow(self.cloud(ts_ms), 3.4))

    def outdoor_c(self, ts_ms: int) -> float:
        """Coldest in late January and before sunrise, warmest in late July and at three; colder to the north."""
        local = local_time(ts_ms)
        mean = 31.5 - 0.5 * self.latitude
        swing = 4.0 + 0.38 * self.latitude
        season = -swing * math.cos(2 * math.pi * (local.day_of_year - 24) / 365)
        day = 4.5 * math.cos(2 * math.pi * (local.hour - 15) / 24) * (1 - 0.5 * self.cloud(ts_ms))
        return mean + season + day + (_cloud(self.seed + 77, local.ordinal) - 0.5) * 5


@lru_cache(maxsize=4096)
def _cloud(seed: int, step: int) -> float:
    return random.Random(f"cloud|{seed}|{step}").betavariate(1.1, 1.3)


@dataclass(frozen=True, slots=True)
class Habit:
    """When one person leaves and returns, in hours; drawn anew each day around these."""

    leaves: float
    returns: float
    goes_out: float
    """Chance of going out on a working day; half of it at the weekend."""


def habit_of(person: Person, rng: random.Random, year: int) -> Habit:
    age = year - person.birth_year
    if age >= 60:
        return Habit(rng.uniform(8.5, 9.5), rng.uniform(10.2, 11.2), 0.75)
    if age < 6:
        return Habit(9.5, 11.0, 0.6)
    if age < 18:
        return Habit(rng.uniform(7.2, 7.6), rng.uniform(16.5, 17.8), 0.98)
    return Habit(rng.gauss(8.0, 0.35), rng.gauss(18.2, 0.7), 0.9)


@dataclass(frozen=True, slots=True)
class Home:
    """One household's coming and going."""

    id: str
    habits: tuple[Habit, ...]

    def share(self, local: LocalTime) -> float:
        """How many of the household are at home, 0 to 1."""
        if not self.habits:
            return 1.0
        here = 0
        for nth, habit in enumerate(self.habits):
            rng = random.Random(f"{self.id}|{nth}|{local.ordinal}")
            out = rng.random() < habit.goes_out * (0.5 if local.weekend else 1.0)
            shift = rng.gauss(1.5 if local.weekend else 0, 0.25)
            here += not (out and habit.leaves + shift <= local.hour < habit.returns + shift)
        return here / len(self.habits)


def home_of(household: str, people: list[Person], year: int) -> Home:
    rng = random.Random(f"home|{household}")
    return Home(household, tuple(habit_of(person, rng, year) for person in people))
