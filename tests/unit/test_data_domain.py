"""Thinning curves out, air quality, filling bins and forecasts; pure."""

from __future__ import annotations

import itertools
import math
import random
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from services.domain.air import air, individual
from services.domain.filling import full_at
from services.domain.forecast import NEEDED_DAYS, Band, score, seasonal, solar
from services.domain.forecast.seasonal import naive
from services.domain.forecast.solar import clear_sky
from services.domain.lttb import downsample, lttb

ZONE = ZoneInfo("Asia/Shanghai")
HOUR = timedelta(hours=1)
START = datetime(2026, 9, 6, 16, tzinfo=UTC)
"""A Monday's midnight in Shanghai; the national holidays of October lie among the days after it."""


def test_lttb_keeps_both_ends_the_number_and_the_spike() -> None:
    points = [(float(n), math.sin(n / 50)) for n in range(5000)]
    points[2345] = (2345.0, 40.0)
    kept = lttb(points, 100)
    assert len(kept) == 100
    assert kept[0] == points[0] and kept[-1] == points[-1] and (2345.0, 40.0) in kept
    assert kept == sorted(kept) and set(kept) <= set(points)
    assert lttb(points[:3], 100) == points[:3]


@pytest.mark.parametrize("seed", range(20))
def test_lttb_never_draws_over_an_outage(seed: int) -> None:
    rng = random.Random(seed)
    points, at = [], 0.0
    for _ in range(rng.randint(2, 6)):
        for _ in range(rng.randint(1, 400)):
            points.append((at, rng.random()))
            at += 60
        at += rng.randint(200, 9000)
    kept = downsample(points, 60, 180)
    for (x0, y0), (x1, y1) in itertools.pairwise(kept):
        assert x0 < x1
        if y0 is not None and y1 is not None:
            between = [x for x, _ in points if x0 <= x <= x1]
            assert all(b - a <= 180 for a, b in itertools.pairwise(between))
    assert kept[0] == points[0] and kept[-1] == points[-1]


def test_air_index_is_that_of_the_standard_s_table() -> None:
    assert [individual("pm2_5", v) for v in (0, 35, 75, 115, 150, 250, 350, 500, 900)] == [
        0, 50, 100, 150, 200, 300, 400, 500, 500,
    ]  # fmt: skip
    assert [individual("pm10", v) for v in (50, 150, 250, 350, 420, 500, 600)] == [50, 100, 150, 200, 300, 400, 500]
    assert individual("pm2_5", 35.1) == 51
    worst = air(60.0, 90.0)
    assert worst is not None
    assert (worst.aqi, worst.level, worst.label.zh, worst.primary) == (82, 2, "良", "pm2_5")
    clean = air(10.0, None)
    assert clean is not None and clean.primary is None and clean.level == 1
    assert air(None, None) is None


def test_bin_is_foretold_from_where_it_was_emptied() -> None:
    at = START
    points = [(at + n * HOUR / 4, 60.0 + n) for n in range(12)] + [
        (at + (3 + n / 4) * HOUR, 2.0 + n) for n in range(13)
    ]
    limit = full_at(points, 80.0)
    assert limit is not None
    # 12 points in 3 hours: 4 points an hour from 14 % at the sixth hour
    assert abs((limit - (at + 6 * HOUR)).total_seconds() - (80 - 14) / 4 * 3600) < 1
    assert full_at(points[:12], 65.0) is None
    assert full_at([(at + n * HOUR, 30.0) for n in range(9)], 80.0) is None


def year(rng: random.Random, days: int) -> dict[datetime, float]:
    """Consumption that follows the clock, the kind of day and a slow drift of level, with noise and outages."""
    history = {}
    level = 100.0
    for day in range(days):
        level *= math.exp(rng.gauss(0.0, 0.012))
        moved = math.exp(rng.gauss(0.0, 0.08))
        for hour in range(24):
            at = START + timedelta(days=day, hours=hour)
            rest = at.astimezone(ZONE).weekday() >= 5
            shape = 0.4 + math.exp(-((hour - 8) ** 2) / 6) * (0.5 if rest else 1.2) + math.exp(-((hour - 19) ** 2) / 9)
            if rng.random() > 0.01:
                history[at] = max(0.0, level * moved * shape * math.exp(rng.gauss(0.0, 0.1)))
    return history


@pytest.mark.parametrize("seed", range(3))
def test_forecast_beats_the_same_hour_of_last_week_and_its_band_holds(seed: int) -> None:
    history = year(random.Random(seed), 120)
    ours, theirs, within, hours = 0.0, 0.0, 0.0, 0
    for day in range(60, 118, 3):
        start = START + timedelta(days=day)
        before = {at: value for at, value in history.items() if start - timedelta(days=56) <= at < start}
        foretold = seasonal(before, start, 24, ZONE)
        assert foretold is not None
        mine = score(history, foretold)
        plain = score(history, naive(before, start, 24))
        assert mine.wape is not None and plain.wape is not None and mine.coverage is not None
        ours += mine.wape
        theirs += plain.wape
        within += mine.coverage * mine.hours
        hours += mine.hours
    days = len(range(60, 118, 3))
    told = f"WAPE {ours / days:.3f}, same hour last week {theirs / days:.3f}, coverage {within / hours:.2f}"
    print(f"\nseed {seed}, {days} days: {told}")  # noqa: T201
    assert ours < theirs * 0.95
    assert 0.65 <= within / hours <= 0.97


def test_forecast_of_little_history_says_so_and_never_goes_below_nothing() -> None:
    history = {START + n * HOUR: 1.0 for n in range(24 * (NEEDED_DAYS - 1))}
    assert seasonal(history, START + timedelta(days=NEEDED_DAYS), 48, ZONE) is None
    empty = {START + n * HOUR: 0.0 for n in range(24 * 20)}
    found = seasonal(empty, START + timedelta(days=20), 48, ZONE)
    assert found is not None and set(found.values()) == {Band(0.0, 0.0, 0.0)} and len(found) == 48


def test_solar_forecast_is_dark_at_night_and_follows_the_sun() -> None:
    rng = random.Random(5)
    history = {}
    for day in range(30):
        cloud = rng.uniform(0.3, 1.0)
        for hour in range(24):
            at = START + timedelta(days=day, hours=hour)
            history[at] = 40.0 * cloud * clear_sky(at, 29.7, 116.0)
    start = START + timedelta(days=30)
    found = solar(history, start, 48, ZONE, 29.7, 116.0)
    assert found is not None
    assert found[start].p90 == 0.0  # midnight
    noon = found[start + 12 * HOUR]
    assert 0 < noon.p10 < noon.p50 < noon.p90 <= 40.0
    assert all(band.p10 <= band.p50 <= band.p90 for band in found.values())


def test_score_is_by_hand() -> None:
    actual = {START: 10.0, START + HOUR: 20.0, START + 2 * HOUR: 0.1}
    bands = {START: Band(8, 9, 11), START + HOUR: Band(10, 15, 18), START + 2 * HOUR: Band(0, 0, 1)}
    found = score(actual, bands)
    assert found.wape == pytest.approx(6.1 / 30.1)
    assert found.mape == pytest.approx((0.1 + 0.25) / 2)  # the third is next to nothing
    assert found.coverage == pytest.approx(2 / 3)
