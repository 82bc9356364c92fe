"""The learned baseline: cold start, what it learns and what not, seasons, holidays, and what it costs to remember."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from math import cos, pi
from zoneinfo import ZoneInfo

import pytest

from services.domain.devices import BY_NAME
from services.domain.ids import DeviceNo
from services.domain.rules.baseline import (
    _EMPTY,
    ANEW_MS,
    BUCKETS,
    HOUR_MS,
    WEEK_MS,
    Cell,
    bucket_of,
    cell,
    check,
    learn,
    usual,
    with_cell,
)
from services.domain.rules.evaluation import Facts, Reading, Signal, What
from services.domain.rules.parameters import BaselineParameters
from services.domain.rules.reasons import why
from tests.unit.test_rules_kinds import MIN, S, Timeline

ZONE = ZoneInfo("Asia/Shanghai")
RULE = BaselineParameters("power", sigmas=6, direction="both", min_weeks=3, floor=50.0)
EVERY = 15 * MIN
FACTS = Facts(interval_ms=EVERY)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZONE).timestamp() * 1000)


MONDAY = at("2026-05-11T00:00:00")
"""No public holiday for five weeks."""


def daily(ts: int) -> float:
    """100 W at night, 500 W in the middle of the day."""
    return 300 - 200 * cos(2 * pi * ((ts - MONDAY) % (24 * HOUR_MS)) / (24 * HOUR_MS))


def live(line: Timeline, start: int, end: int, value: Callable[[int], float] = daily) -> list[tuple[int, str]]:
    return line.series("power", ((ts, value(ts)) for ts in range(start, end, EVERY)))


def noisy(seed: int, value: Callable[[int], float] = daily) -> Callable[[int], float]:
    rng = random.Random(seed)
    return lambda ts: value(ts) * rng.uniform(0.85, 1.15)


def taught(weeks: int = 4, rule: BaselineParameters = RULE) -> Timeline:
    line = Timeline(rule, Facts(interval_ms=EVERY))
    assert live(line, MONDAY, MONDAY + weeks * WEEK_MS, noisy(1)) == []
    return line


def test_baseline_says_nothing_before_it_has_learned() -> None:
    line = Timeline(RULE, Facts(interval_ms=EVERY))
    wild = noisy(1)
    for week in range(3):
        start = MONDAY + week * WEEK_MS
        assert live(line, start, start + WEEK_MS, wild) == []
        if week < 2:
            assert line.read(start + WEEK_MS - 1, power=90_000.0) == []
    assert line.read(MONDAY + 3 * WEEK_MS, power=90_000.0) == ["fire"]


def test_baseline_needs_the_weeks_of_this_very_hour() -> None:
    line = Timeline(RULE, Facts(interval_ms=EVERY))
    noon = 12 * HOUR_MS

    def not_at_noon(start: int, end: int) -> None:
        for ts in range(start, end, EVERY):
            if (ts - MONDAY) % WEEK_MS // HOUR_MS != 12:
                line.read(ts, power=daily(ts))

    not_at_noon(MONDAY, MONDAY + 4 * WEEK_MS)
    assert line.read(MONDAY + 4 * WEEK_MS + noon, power=90_000.0) == []
    assert line.read(MONDAY + 4 * WEEK_MS + noon + HOUR_MS, power=90_000.0) == ["fire"]


def test_baseline_fires_far_from_usual_and_clears_when_back() -> None:
    line = taught()
    night = MONDAY + 4 * WEEK_MS + 3 * HOUR_MS
    assert line.read(night, power=daily(night) * 1.1) == []
    assert line.read(night + EVERY, power=2000.0) == ["fire"]
    assert line.said[-1].data["usual"] == pytest.approx(daily(night), rel=0.35)
    assert line.read(night + 2 * EVERY, power=2000.0) == []
    assert line.read(night + 3 * EVERY, power=daily(night)) == ["clear"]
    assert line.said[-1].onset_ms == night + EVERY


def test_baseline_knows_the_hour() -> None:
    """What is ordinary at noon is not at night."""
    line = taught()
    assert line.read(MONDAY + 4 * WEEK_MS + 12 * HOUR_MS, power=500.0) == []
    assert line.read(MONDAY + 4 * WEEK_MS + 27 * HOUR_MS, power=500.0) == ["fire"]


@pytest.mark.parametrize(
    ("direction", "high", "low"), [("both", ["fire"], ["fire"]), ("above", ["fire"], []), ("below", [], ["fire"])]
)
def test_baseline_has_a_direction(direction: str, high: list[str], low: list[str]) -> None:
    rule = replace(RULE, direction=direction)
    noon = MONDAY + 4 * WEEK_MS + 12 * HOUR_MS
    assert taught(rule=rule).read(noon, power=5000.0) == high
    assert taught(rule=rule).read(noon, power=-500.0) == low


def test_baseline_duration_edge_good_reading_and_hole() -> None:
    rule = replace(RULE, for_s=1800)
    start = MONDAY + 4 * WEEK_MS

    def series(line: Timeline, *steps: tuple[float, float]) -> list[float]:
        return [n for n, value in steps for _ in line.read(int(start + n * EVERY), power=value)]

    assert series(taught(rule=rule), *((n, 5000.0) for n in range(4))) == [2]
    assert series(taught(rule=replace(rule, for_s=1800.001)), *((n, 5000.0) for n in range(3))) == []
    assert series(taught(rule=rule), (0, 5000), (1, 100), (2, 5000), (3, 5000), (4, 5000)) == [4]
    assert series(taught(rule=rule), (0, 5000), (3, 5000)) == [3]
    assert series(taught(rule=rule), (0, 5000), (3.01, 5000), (4, 5000), (5.01, 5000)) == [5.01]


def test_baseline_late_and_missing_values_neither_fire_nor_teach_nor_end() -> None:
    line = taught()
    night = MONDAY + 4 * WEEK_MS + 3 * HOUR_MS
    before = line.state
    assert line.read(night, late=True, power=5000.0) == []
    assert line.read(night, voltage=220.0) == []
    assert line.state == before
    line.read(night, power=5000.0)
    assert line.read(night + EVERY, late=True, power=100.0) == []
    assert line.state is not None and "onset" in line.state


def test_baseline_reordered_and_repeated_readings_are_sampled_once() -> None:
    line = taught()
    start = MONDAY + 4 * WEEK_MS
    live(line, start, start + 2 * EVERY)
    before = line.state
    for ts in (start + EVERY, start + EVERY + S, start):
        line.read(ts, power=daily(ts))
    assert line.state == before


def test_baseline_of_a_flat_line_has_a_floor() -> None:
    line = Timeline(RULE, Facts(interval_ms=EVERY))
    live(line, MONDAY, MONDAY + 4 * WEEK_MS, lambda ts: 100.0)
    now = MONDAY + 4 * WEEK_MS
    assert line.read(now, power=150.0) == []
    assert line.read(now + EVERY, power=150.1) == ["fire"]


def test_baseline_does_not_learn_from_what_it_flags() -> None:
    line = taught()
    now = MONDAY + 4 * WEEK_MS
    before = line.state
    assert before is not None
    live(line, now, now + 5 * HOUR_MS, lambda ts: 20_000.0)
    assert line.state is not None
    for bucket in range(5):
        old, new = cell(before["cells"], bucket), cell(line.state["cells"], bucket)
        assert (new.level, new.spread, new.learned) == (old.level, old.spread, old.learned)
        assert new.flagged == (1 if bucket < 4 else 0)  # the fifth hour is not over


def test_baseline_takes_what_comes_week_after_week_for_usual() -> None:
    """A new habit is told of three times, at its own hour of the week, and then no more."""
    line = taught()

    def habit(ts: int) -> float:
        return 3000.0 if (ts - MONDAY) % WEEK_MS // HOUR_MS in (50, 51) else daily(ts)

    fired = [at for at, what in live(line, MONDAY + 4 * WEEK_MS, MONDAY + 12 * WEEK_MS, habit) if what == "fire"]
    assert [(ts - MONDAY) // WEEK_MS for ts in fired] == [4, 5, 6, 7]


def test_baseline_starts_anew_after_four_weeks_of_alert() -> None:
    line = taught()
    start = MONDAY + 4 * WEEK_MS
    said = live(line, start, start + 5 * WEEK_MS, lambda ts: 20_000.0)
    assert said == [(start, "fire"), (start + ANEW_MS, "clear")]
    assert line.state is not None and line.state["since"] == start + ANEW_MS


def test_baseline_follows_a_slow_season() -> None:
    """Use doubles over half a year; nobody is told."""

    def season(ts: int) -> float:
        return daily(ts) * (1 + (ts - MONDAY) / (26 * WEEK_MS))

    line = Timeline(replace(RULE, for_s=3600), Facts(interval_ms=EVERY))
    assert live(line, MONDAY, MONDAY + 26 * WEEK_MS, noisy(3, season)) == []
    end = MONDAY + 26 * WEEK_MS
    assert live(line, end, end + 2 * HOUR_MS, lambda ts: 3000.0) == [(end + HOUR_MS, "fire")]


def test_baseline_one_wild_week_moves_a_level_little() -> None:
    known = Cell(100.0, 10.0, 20)
    assert learn(known, [100_000.0] * 4).level == pytest.approx(103.0)
    assert learn(known, [100_000.0] * 4).spread < 14
    for _ in range(60):
        known = learn(known, [200.0, 210.0, 190.0, 200.0])
    assert known.level == pytest.approx(200, abs=5)


def test_baseline_lives_a_holiday_as_a_sunday() -> None:
    facts = Facts(interval_ms=EVERY)
    assert bucket_of(at("2026-10-01T07:30:00"), facts) == 6 * 24 + 7  # a Thursday off
    assert bucket_of(at("2026-10-10T07:30:00"), facts) == 4 * 24 + 7  # a Saturday worked
    assert bucket_of(at("2026-11-23T00:00:00"), facts) == 0
    assert bucket_of(at("2026-11-22T23:59:59"), facts) == 167

    def rests(ts: int) -> float:
        return 1500.0 if bucket_of(ts, facts) >= 5 * 24 else 300.0

    line = Timeline(RULE, Facts(interval_ms=EVERY))
    start = at("2026-08-24T00:00:00")
    assert live(line, start, at("2026-10-12T00:00:00"), rests) == []
    assert line.read(at("2026-10-13T10:00:00"), power=1500.0) == ["fire"]


def test_baseline_cells_are_packed_side_by_side() -> None:
    packed = _EMPTY
    for bucket in (0, 1, 100, 167):
        packed = with_cell(packed, bucket, Cell(bucket + 0.5, 2.25, bucket, bucket % 4))
    for bucket in (0, 1, 100, 167):
        assert cell(packed, bucket) == Cell(bucket + 0.5, 2.25, min(bucket, 63), bucket % 4)
    assert cell(packed, 2) == Cell(0.0, 0.0, 0)
    assert cell(packed, -1) == cell(packed, BUCKETS - 1)
    assert len(packed) == len(_EMPTY) == 168 * 12


def test_baseline_hours_beside_stretch_the_band() -> None:
    packed = with_cell(_EMPTY, 10, Cell(100.0, 5.0, 9))
    packed = with_cell(packed, 11, Cell(900.0, 5.0, 9))
    packed = with_cell(packed, 9, Cell(5000.0, 5.0, 1))
    assert usual(RULE, packed, 10, 100.0) == (100.0, 50.0, 150.0)
    assert usual(RULE, packed, 10, 700.0) == (100.0, 50.0, 950.0)
    assert usual(RULE, packed, 9, 700.0) is None


def test_baseline_memory_and_writes_are_bounded() -> None:
    """At one reading a minute: four writes an hour, of 2.3 kB at most."""
    line = Timeline(RULE, Facts(interval_ms=MIN))
    state, writes, largest = None, 0, 0
    rng = random.Random(5)
    for ts in _minutes(10 * 24 * 60):
        value = float(rng.choice((0.0, 123.456789, 1.9e6, -9.87654321e5)))
        outcome = line.kind.step(RULE, state, Reading(DeviceNo(7), ts, ts, (value,), {"power": 0}), line.facts, ts)
        writes += outcome.state is not state
        state = outcome.state
        largest = max(largest, len(json.dumps(state)))
    assert writes == 10 * 24 * 4
    assert largest < 2300


def _minutes(count: int) -> Iterator[int]:
    return iter(range(MONDAY, MONDAY + count * MIN, MIN))


def test_baseline_takes_a_device_that_reports_hourly() -> None:
    line = Timeline(RULE, Facts(interval_ms=HOUR_MS))
    start = MONDAY + 20 * MIN
    for ts in range(start, start + 4 * WEEK_MS, HOUR_MS):
        assert line.read(ts, power=200.0) == []
    assert line.read(start + 4 * WEEK_MS, power=5000.0) == ["fire"]


def test_baseline_learns_nothing_from_an_hour_with_holes() -> None:
    line = Timeline(RULE, Facts(interval_ms=EVERY))
    for week in range(5):
        line.read(MONDAY + week * WEEK_MS, power=200.0)
        line.read(MONDAY + week * WEEK_MS + HOUR_MS, power=200.0)
    assert line.state is not None
    assert cell(line.state["cells"], 0).learned == 0


def test_baseline_says_why() -> None:
    meter = BY_NAME["electricity_meter"]
    rule = replace(RULE, for_s=7200)
    fired = Signal(What.FIRE, 0, 0, 2300.0, {"usual": 210.0, "band": 700.0})
    said = why(meter, rule, fired, 60, "1号楼101室")
    assert said.zh == "功率 2300 W，远高于该时段平时的 210 W，已 2 小时，1号楼101室"
    assert said.en == "Power 2300 W, far above the 210 W usual at this hour, for 2 h, 1号楼101室"
    low = why(meter, RULE, Signal(What.FIRE, 0, 0, 0.0, {"usual": 210.0}), 60, "")
    assert low.zh == "功率 0 W，远低于该时段平时的 210 W"
    body = why(BY_NAME["wristband"], replace(RULE, metric="heart_rate"), fired, 60, "")
    assert "2300" not in body.zh + body.en and "210" not in body.zh + body.en


@pytest.mark.parametrize("wrong", [{"direction": "up"}, {"sigmas": 0.0}, {"floor": 0.0}, {"min_weeks": 0}])
def test_baseline_refuses_what_can_not_be_judged(wrong: dict[str, float]) -> None:
    check(RULE)
    with pytest.raises(ValueError, match=r"direction|sigmas|min_weeks"):
        check(replace(RULE, **wrong))  # type: ignore[arg-type]


def test_baseline_week_begins_with_the_local_monday() -> None:
    start = datetime.fromtimestamp(MONDAY / 1000, ZONE)
    for n in range(168):
        assert bucket_of(int((start + timedelta(hours=n)).timestamp() * 1000), FACTS) == n


def test_baseline_a_week_of_holidays_is_not_weeks_of_sundays() -> None:
    """From 1 October every day off is lived as a Sunday: that hour was learned often, but not over three weeks."""
    line = Timeline(RULE, Facts(interval_ms=EVERY))
    end = at("2026-10-07T12:00:00")
    assert live(line, at("2026-09-28T00:00:00"), end) == []
    assert line.state is not None
    assert cell(line.state["cells"], bucket_of(end, FACTS)).learned >= RULE.min_weeks
    assert line.read(end, power=90_000.0) == []


def test_baseline_does_not_learn_from_what_it_is_about_to_flag() -> None:
    """Two hours of a device that reports hourly and never varied: the first hour must not excuse the second."""
    line = Timeline(replace(RULE, for_s=7200), Facts(interval_ms=HOUR_MS))
    end = MONDAY + 4 * WEEK_MS
    for ts in range(MONDAY, end, HOUR_MS):
        assert line.read(ts, power=100.0) == []
    assert [line.read(end + n * HOUR_MS, power=3000.0) for n in range(3)] == [[], [], ["fire"]]


@pytest.mark.parametrize("hours", [1, 2, 3])
def test_baseline_of_a_flat_line_fires_after_hours_of_pending(hours: int) -> None:
    """What is off from one reading to the next is pending over whole hours; none of them teaches the one beside it."""
    line = Timeline(replace(RULE, for_s=hours * 3600), Facts(interval_ms=EVERY))
    end = MONDAY + 4 * WEEK_MS
    assert live(line, MONDAY, end, lambda ts: 100.0) == []
    start = end + 30 * MIN
    assert live(line, end, start, lambda ts: 100.0) == []
    assert live(line, start, start + 6 * HOUR_MS, lambda ts: 3000.0) == [(start + hours * HOUR_MS, "fire")]


def test_baseline_of_a_flat_line_follows_no_excursion_that_was_over_before_it_fired() -> None:
    """Three quarters of an hour off, then back: the hour was pending, and is not what is usual from now on."""
    line = Timeline(replace(RULE, for_s=3600), Facts(interval_ms=EVERY))
    end = MONDAY + 4 * WEEK_MS
    assert live(line, MONDAY, end, lambda ts: 100.0) == []
    assert live(line, end, end + 45 * MIN, lambda ts: 3000.0) == []
    assert live(line, end + 45 * MIN, end + HOUR_MS + EVERY, lambda ts: 100.0) == []
    assert line.state is not None
    taught = cell(line.state["cells"], bucket_of(end, FACTS))
    assert taught.level == pytest.approx(105.0)
    assert taught.spread < 10
    # The hour beside, and this one a week on, are judged as before.
    start = end + HOUR_MS + EVERY
    assert live(line, start, start + 2 * HOUR_MS, lambda ts: 400.0) == [(start + HOUR_MS, "fire")]
