"""The fold of device states against an oracle: of each metric the newest value, however the readings come apart."""

from __future__ import annotations

import random

import pytest

from services.domain.ids import DeviceNo
from services.ingest.state import Latest, StateFold
from tests.state_oracle import NO, Said, heard, newest, split

NOW = 1_800_000_000_000


def shape(latest: Latest) -> tuple[int, list[float | None], list[int]]:
    """The newest time, and of each metric the value and its time."""
    at = latest.vals_at or [0 if value is None else latest.vals_ms for value in latest.vals]
    return latest.vals_ms, list(latest.vals), at


def tell(fold: StateFold, said: list[Said], chance: random.Random) -> None:
    """One by one or in columns, as the two ways into the fold are."""
    if chance.random() < 0.5:
        for one in said:
            fold.reading(NO, one.ts_ms, NOW, one.vals)
    else:
        fold.readings([NO] * len(said), [one.ts_ms for one in said], [NOW] * len(said), [one.vals for one in said])


@pytest.mark.parametrize("seed", range(400))
def test_state_is_the_newest_value_of_each_metric_whatever_the_order_and_the_split(seed: int) -> None:
    chance = random.Random(seed)
    said = heard(split(chance), chance)
    fold = StateFold()
    while said:
        count = chance.randrange(1, 6)
        tell(fold, said[:count], chance)
        said = said[count:]
    assert shape(fold.pending[NO]) == newest(split(random.Random(seed)))


def test_state_of_metrics_that_come_together_keeps_no_times_of_its_own() -> None:
    fold = StateFold()
    for ts in (1, 3, 2):
        fold.reading(NO, ts, NOW, [float(ts), -float(ts)])
    assert fold.pending[NO].vals_at is None
    fold.reading(NO, 4, NOW, [4.0, None])
    assert (fold.pending[NO].vals, fold.pending[NO].vals_at) == ([4.0, -3.0], [4, 3])
    fold.reading(NO, 5, NOW, [5.0, -5.0])
    assert (fold.pending[NO].vals, fold.pending[NO].vals_at) == ([5.0, -5.0], None)


def test_state_of_halves_of_one_time_is_whole_again_and_the_first_value_stands() -> None:
    fold = StateFold()
    fold.reading(NO, 7, NOW, [1.0, None])
    fold.reading(NO, 7, NOW, [9.0, 2.0])
    assert (fold.pending[NO].vals, fold.pending[NO].vals_at) == ([1.0, 2.0], None)


def test_state_lets_a_late_value_stand_that_is_newer_than_what_is_known_of_its_metric() -> None:
    fold = StateFold()
    for ts, vals in ((10, [10.0, None]), (20, [None, 20.0]), (15, [15.0, None]), (12, [12.0, None])):
        fold.readings([DeviceNo(1)], [ts], [NOW], [vals])
    assert shape(fold.pending[DeviceNo(1)]) == (20, [15.0, 20.0], [15, 20])
