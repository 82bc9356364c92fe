"""Bands of a forecast, robust statistics over few numbers, and how far off a forecast was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

Hours = Mapping[datetime, float]
"""Value by the beginning of the hour; hours in which nothing was observed are not in it."""
LOW, HIGH = 0.1, 0.9


@dataclass(frozen=True, slots=True)
class Band:
    """Four of five values should fall between p10 and p90."""

    p10: float
    p50: float
    p90: float

    @classmethod
    def of(cls, middle: float, below: float, above: float) -> Band:
        """`below`, `above`: how far the ends lie from the middle. Nothing here is ever less than nothing."""
        middle = max(0.0, middle)
        return cls(max(0.0, middle - max(0.0, below)), middle, middle + max(0.0, above))


@dataclass(frozen=True, slots=True)
class Score:
    """WAPE: sum of |actual - p50| ÷ sum of |actual|. MAPE: over hours of at least a tenth of the mean, where a share
    means something. Coverage: the share of hours within the band. None where there is nothing to divide by."""

    hours: int
    wape: float | None
    mape: float | None
    coverage: float | None


def score(actual: Hours, foretold: Mapping[datetime, Band]) -> Score:
    """Over the hours that both have."""
    both = [(actual[hour], foretold[hour]) for hour in sorted(actual.keys() & foretold.keys())]
    if not both:
        return Score(0, None, None, None)
    whole = sum(abs(value) for value, _ in both)
    off = sum(abs(value - band.p50) for value, band in both)
    floor = whole / len(both) / 10
    shares = [abs(value - band.p50) / abs(value) for value, band in both if abs(value) >= floor > 0]
    within = sum(band.p10 <= value <= band.p90 for value, band in both)
    return Score(
        len(both),
        off / whole if whole > 0 else None,
        sum(shares) / len(shares) if shares else None,
        within / len(both),
    )


def median(values: Sequence[float]) -> float:
    return quantile(values, 0.5)


def quantile(values: Sequence[float], share: float) -> float:
    """Between the two nearest values in proportion (type 7 of Hyndman and Fan, 1996). Raises ValueError on none."""
    if not values:
        raise ValueError("no values")
    ordered = sorted(values)
    at = share * (len(ordered) - 1)
    low = int(at)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (at - low)
