"""Metering: the same consumption however the readings come and wherever they are cut, and the right one."""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, replace
from functools import reduce

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from services.domain.devices import CATALOGUE
from services.domain.devices.kind import MetricType
from services.domain.metering import (
    EMPTY,
    HOUR_MS,
    Meter,
    Point,
    Register,
    Summary,
    Swap,
    consumption,
    merge,
    summarize,
    summary_of,
)
from tests.metering_oracle import EXAMPLES, Oracle

MINUTE_MS = 60_000
examples = settings(max_examples=EXAMPLES or 300, deadline=None)
WATER = Register(max_per_h=4.0, modulus=1000.0, slack_h=0.25)
GATE = Register(max_per_h=400.0, retentive=False, slack_h=0.25)


def points(*pairs: tuple[float, float]) -> list[Point]:
    """(minutes, value) …"""
    return [Point(round(minutes * MINUTE_MS), value) for minutes, value in pairs]


def used(meter: Meter, *pairs: tuple[float, float]) -> tuple[float, int]:
    return consumption(meter, [summarize(meter, points(*pairs))])[0]


def eighths(low: int, high: int) -> st.SearchStrategy[float]:
    """Sums of eighths are exact, so equal means equal."""
    return st.integers(low * 8, high * 8).map(lambda n: n / 8)


@st.composite
def histories(draw: st.DrawFn) -> tuple[Meter, dict[int, float]]:
    """Anything: smooth stretches, jumps, glitches, resets, ends of the register, swaps, silences."""
    register = draw(st.sampled_from([WATER, GATE, replace(WATER, modulus=None), replace(WATER, retentive=False)]))
    ts, value = 0, draw(st.one_of(eighths(0, 20), eighths(980, 999), eighths(0, 990)))
    readings: dict[int, float] = {}
    swaps = []
    for _ in range(draw(st.integers(0, 24))):
        ts += draw(st.sampled_from([1_000, 5 * MINUTE_MS, 15 * MINUTE_MS, HOUR_MS, 7 * HOUR_MS, 40 * HOUR_MS]))
        match draw(st.sampled_from(["use"] * 8 + ["spike", "zero", "small", "reset", "swap", "jump"])):
            case "use":
                value += draw(eighths(0, 1))
                if register.modulus is not None and value >= register.modulus:
                    value -= register.modulus
                readings[ts] = value
            case "spike":
                readings[ts] = draw(eighths(0, 999))
            case "zero":
                readings[ts] = 0.0
            case "small":
                readings[ts] = draw(eighths(0, 1))
            case "reset":
                value = readings[ts] = draw(eighths(0, 1))
            case "swap":
                initial = draw(eighths(0, 5))
                swaps.append(Swap(ts, value + draw(eighths(0, 1)), initial))
                value = initial
            case "jump":
                value = readings[ts] = draw(eighths(0, 999))
    return Meter(register, tuple(swaps)), readings


@examples
@given(histories(), st.randoms(use_true_random=False), st.data())
def test_metering_equals_one_pass_over_all_readings_wherever_they_are_cut(
    history: tuple[Meter, dict[int, float]], chance: random.Random, data: st.DataObject
) -> None:
    meter, readings = history
    end = max(readings, default=0) + 1
    cuts = data.draw(st.lists(st.integers(0, end), max_size=8))
    edges = sorted({0, *cuts, end})
    sent = [Point(ts, value) for ts, value in readings.items()] * chance.randint(1, 3)
    chance.shuffle(sent)
    wanted = Oracle(meter).buckets(readings, edges)
    summaries = [
        summarize(meter, [p for p in sent if begin <= p.ts_ms < past]) for begin, past in itertools.pairwise(edges)
    ]
    found = consumption(meter, summaries)
    assert found == [(bucket.used, bucket.breaks) for bucket in wanted]
    for summary, bucket in zip(summaries, wanted, strict=True):
        if bucket.count:
            assert (summary.count, summary.low, summary.high, summary.total) == (
                bucket.count,
                bucket.low,
                bucket.high,
                bucket.total,
            )
            assert summary.last is not None and summary.last.value == bucket.last
        else:
            assert summary == EMPTY
    assert min((amount for amount, _ in found), default=0.0) >= 0


@examples
@given(histories(), st.randoms(use_true_random=False))
def test_summaries_merge_in_any_grouping(history: tuple[Meter, dict[int, float]], chance: random.Random) -> None:
    meter, readings = history
    parts = [summary_of(Point(ts, readings[ts])) for ts in sorted(readings)]
    whole = reduce(lambda a, b: merge(meter, a, b), parts, EMPTY)
    for at in sorted(chance.sample(range(len(parts) + 1), min(3, len(parts))), reverse=True):
        parts.insert(at, EMPTY)
    while len(parts) > 1:
        at = chance.randrange(len(parts) - 1)
        parts[at : at + 2] = [merge(meter, parts[at], parts[at + 1])]
    assert (parts or [EMPTY])[0] == whole


@dataclass
class Life:
    """A real meter: what truly went through, and what its readings showed of it."""

    meter: Meter
    readings: dict[int, float]
    truth: float


@st.composite
def lives(draw: st.DrawFn) -> Life:
    """Swaps and ends of the register as they come, and wild readings that stand alone."""
    ts, value, truth = 0, draw(st.one_of(eighths(0, 20), eighths(990, 999), eighths(300, 600))), 0.0
    readings = {0: value}
    swaps: list[Swap] = []
    wild = 2
    for _ in range(draw(st.integers(1, 25))):
        ts += 15 * MINUTE_MS
        step = draw(eighths(0, 1))
        truth += step
        value = (value + step) % 1000.0
        what = draw(st.sampled_from(["use"] * 6 + ["wild", "swap"]))
        wild += 1
        if what == "wild" and wild > 2:
            # Far from anything that could follow or go before within its neighbours' time.
            readings[ts] = (value + draw(eighths(100, 900))) % 1000.0
            assume(readings[ts] > 20)
            wild = 0
            continue
        readings[ts] = value
        if what == "swap" and wild > 1:
            initial = draw(eighths(0, 5))
            swaps.append(Swap(ts + 1, value, initial))
            value = initial
    ts += 15 * MINUTE_MS
    readings[ts] = value
    return Life(Meter(WATER, tuple(swaps)), readings, truth)


@examples
@given(lives())
def test_metering_finds_what_truly_went_through(life: Life) -> None:
    summary = summarize(life.meter, [Point(ts, value) for ts, value in life.readings.items()])
    assert consumption(life.meter, [summary])[0][0] == life.truth


@examples
@given(st.lists(st.tuples(st.integers(1, 30 * MINUTE_MS), eighths(0, 1)), max_size=60))
def test_days_sum_to_the_difference_of_the_counter(steps: list[tuple[int, float]]) -> None:
    meter = Meter(Register(max_per_h=8.0, slack_h=0.25))
    ts, value, days = 0, 100.0, {0: [Point(0, 100.0)]}
    for gap, step in steps:
        ts, value = ts + gap, value + step
        days.setdefault(ts // (2 * HOUR_MS), []).append(Point(ts, value))
    found = consumption(meter, [summarize(meter, day) for day in days.values()])
    assert sum(amount for amount, _ in found) == value - 100.0
    assert sum(breaks for _, breaks in found) == 0


M = Meter(WATER)


@pytest.mark.parametrize(
    ("meter", "readings", "wanted"),
    [
        (M, [(0, 10), (15, 10.5), (30, 11)], (1.0, 0)),
        pytest.param(M, [(0, 999.5), (15, 0.25)], (0.75, 0), id="the register starts again from zero"),
        pytest.param(M, [(0, 500), (15, 0.5), (30, 1)], (1.0, 0), id="reset"),
        pytest.param(M, [(0, 500), (15, 300), (30, 300.5)], (0.5, 1), id="an impossible fall counts nothing"),
        pytest.param(M, [(0, 10), (15, 700), (30, 700.5)], (0.5, 1), id="an impossible rise counts nothing"),
        pytest.param(M, [(0, 10), (15, 700), (30, 10.5), (45, 11)], (1.0, 1), id="a wild reading costs nothing"),
        pytest.param(M, [(0, 10), (15, 0), (30, 10.5), (45, 11)], (1.0, 0), id="nor does a zero"),
        pytest.param(M, [(0, 10), (15, 0), (600, 10.5)], (0.5, 0), id="nor a zero before a silence"),
        pytest.param(
            Meter(GATE), [(0, 50), (15, 0), (30, 60)], (60.0, 0), id="what forgets its count may begin at zero"
        ),
        pytest.param(M, [(0, 10), (1, 11)], (1.0, 0), id="a tick of the register soon after another"),
        pytest.param(
            Meter(WATER, (Swap(20 * MINUTE_MS, 501.0, 3.0),)), [(0, 500), (30, 3.5)], (1.5, 0), id="meter swap"
        ),
        pytest.param(
            Meter(WATER, (Swap(20 * MINUTE_MS, 501.0, 3.0), Swap(25 * MINUTE_MS, 3.25, 7.0))),
            [(0, 500), (30, 7.125)],
            (1.375, 0),
            id="two swaps between two readings",
        ),
        pytest.param(
            Meter(WATER, (Swap(15 * MINUTE_MS, 500.0, 3.0),)), [(0, 500), (15, 3)], (0.0, 0), id="read as it is put in"
        ),
        pytest.param(M, [(0, 10)], (0.0, 0), id="one reading says nothing"),
        pytest.param(M, [], (0.0, 0), id="none"),
    ],
)
def test_metering_of_a_few_readings(
    meter: Meter, readings: list[tuple[float, float]], wanted: tuple[float, int]
) -> None:
    assert used(meter, *readings) == wanted


def test_late_readings_change_nothing_but_their_own_summary() -> None:
    hours = [summarize(M, points((60 * n + 5, n), (60 * n + 35, n + 0.5))) for n in range(4)]
    late = summarize(M, points((65, 1), (80, 1.25), (95, 1.5)))
    assert consumption(M, hours) == consumption(M, [hours[0], late, *hours[2:]])
    assert replace(late, count=2, total=2.5) != hours[1]


def test_summary_keeps_two_readings_at_each_end() -> None:
    whole = summarize(M, points((0, 1), (1, 1.125), (2, 1.25), (3, 1.375), (4, 1.5)))
    assert whole == Summary(
        5, 1, 1.5, 6.25, tuple(points((0, 1), (1, 1.125))), tuple(points((3, 1.375), (4, 1.5))), 0.375
    )
    assert whole.mean == 1.25


def test_every_counter_says_how_it_can_move() -> None:
    for kind in CATALOGUE:
        for metric in kind.metrics:
            counter = metric.type is MetricType.COUNTER
            assert (metric.register is not None) == counter, f"{kind.name}.{metric.name}"
            if metric.register is not None and metric.register.household_per_h is not None:
                assert metric.register.household_per_h < metric.register.max_per_h
