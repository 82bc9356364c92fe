"""When a bin will be full, at the rate at which it has filled since it was last emptied."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

_EMPTIED = 15.0
"""A fall by so many points is a collection and no settling."""
_AHEAD = timedelta(hours=24)
_LEAST = timedelta(hours=1)


def full_at(points: Sequence[tuple[datetime, float]], limit: float) -> datetime | None:
    """Points oldest first. None: full already, not filling, seen for less than an hour, or not within a day."""
    since = 0
    for n in range(1, len(points)):
        if points[n - 1][1] - points[n][1] >= _EMPTIED:
            since = n
    run = points[since:]
    if len(run) < 3 or run[-1][0] - run[0][0] < _LEAST or run[-1][1] >= limit:
        return None
    took = (run[-1][0] - run[0][0]) / timedelta(hours=1)
    an_hour = (run[-1][1] - run[0][1]) / took
    if an_hour <= 0.05:
        return None
    left = timedelta(hours=(limit - run[-1][1]) / an_hour)
    return run[-1][0] + left if left <= _AHEAD else None
