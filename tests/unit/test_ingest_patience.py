"""Batches are gathered longer the more messages come, and never longer than four times what was asked for."""

from __future__ import annotations

import pytest

from services.ingest.lane import patience


@pytest.mark.parametrize(
    ("count", "within_s", "waits_s"),
    [(1, 3600, 0.05), (250, 0.05, 0.05), (1_000, 0.1, 0.1), (2_500, 0.05, 0.2), (10_000, 0.0, 0.2)],
)
def test_batches_are_gathered_longer_under_load(count: int, within_s: float, waits_s: float) -> None:
    assert patience(0.05, count, within_s) == pytest.approx(waits_s)


def test_a_lane_that_does_not_wait_never_does() -> None:
    assert patience(0.0, 10_000, 0.01) == 0
