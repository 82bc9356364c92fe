"""Points of a curve: evenly spaced, with nothing where nothing was observed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from services.api.answers.models import Point

_EPOCH_MS = 946_684_800_000
"""Buckets are counted from 2000-01-03, a Monday, as the database's time_bucket counts them."""
_MONDAY_MS = _EPOCH_MS + 2 * 86_400_000


def _ms(at: datetime) -> int:
    return round(at.timestamp() * 1000)


def filled(sums: Sequence[tuple[datetime, float]], start: datetime, end: datetime, bucket_s: int) -> list[Point]:
    """Every bucket that touches [start, end); None where nothing was observed."""
    known = {_ms(at): value for at, value in sums}
    step = bucket_s * 1000
    first = (_ms(start) - _MONDAY_MS) // step * step + _MONDAY_MS
    return [Point(ts_ms=at, value=known.get(at)) for at in range(first, _ms(end), step)]


def without_running(points: Sequence[Point]) -> list[Point]:
    """Without the last bucket, in which not every meter has spoken yet: it would look like a drop.

    Where it is all there is, it stays: better an early value than an empty curve.
    """
    earlier = list(points[:-1])
    return earlier if any(point.value is not None for point in earlier) else list(points)


def as_they_came(sums: Sequence[tuple[datetime, float]]) -> list[Point]:
    return [Point(ts_ms=_ms(at), value=value) for at, value in sums]
