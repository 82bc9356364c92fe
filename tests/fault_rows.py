"""Which row of the fault table a test proves, and the figures it tells: printed, and kept in pytest's report."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TypeVar

import pytest

from deploy.faultrun import ROWS

T = TypeVar("T", bound=Callable[..., object])

CAMPAIGN = bool(os.environ.get("LINHUB_FAULT_CAMPAIGN"))
"""Long and thorough rather than short."""

_told: dict[str, int | float | str] = {}


def row(*numbers: int) -> Callable[[T], T]:
    """Marks a test as a proof of these rows. It must `note` what was lost and doubled, or nobody believes it."""

    def mark(test: T) -> T:
        for number in numbers:
            test = pytest.mark.fault(row=ROWS[number].number)(test)
        return test

    return mark


def note(**figures: int | float | str) -> None:
    """`sent`, `lost`, `doubled` and `kills` add up within a test; of any other name the last word stands."""
    for name, value in figures.items():
        if name in ("sent", "lost", "doubled", "kills"):
            _told[name] = int(_told.get(name, 0)) + int(value)
        else:
            _told[name] = round(value, 3) if isinstance(value, float) else value
    sys.stdout.write(", ".join(f"{name.replace('_', ' ')} {value}" for name, value in figures.items()) + "\n")


def take() -> dict[str, int | float | str]:
    """What this test told, forgotten now."""
    told = dict(_told)
    _told.clear()
    return told
