"""What a roof yields: where the sun will stand, times what it has made of a clear sky of late.

A clear sky is taken as the sine of the sun's elevation at the middle of the hour, less what the air takes near the
horizon (Haurwitz 1945: 1098 · sin h · exp(-0.057 / sin h) W/m²). The plant's yield at each hour of the day, in the
same unit, is its best of late; the clearness of late says how much of it to expect.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from math import exp, radians, sin
from zoneinfo import ZoneInfo

from services.domain.forecast.bands import HIGH, LOW, Band, Hours, median, quantile
from services.domain.forecast.seasonal import NEEDED_DAYS, days_of
from services.domain.sun import elevation_deg

_HOUR = timedelta(hours=1)
_WEEKS = timedelta(days=21)
_LATE = timedelta(days=3)
_LEAST_SKY = 0.05
"""Hours with less of a clear sky than this say nothing of the clearness: all night, and the edges of the day."""


def clear_sky(hour: datetime, latitude: float, longitude: float) -> float:
    """Mean over the hour as a share of what falls from the zenith; 0 at night."""
    start_ms = round(hour.timestamp() * 1000)
    total = 0.0
    for minute in (5, 15, 25, 35, 45, 55):
        height = sin(radians(elevation_deg(start_ms + minute * 60_000, latitude, longitude)))
        total += height * exp(-0.057 / height) if height > 0.01 else 0.0
    return total / 6


def solar(
    history: Hours, start: datetime, hours: int, zone: ZoneInfo, latitude: float, longitude: float
) -> dict[datetime, Band] | None:
    """So many hours from `start` on; None: not enough history."""
    known = {hour: value for hour, value in history.items() if start - _WEEKS <= hour < start}
    if days_of(known, zone) < NEEDED_DAYS:
        return None
    ratios: dict[int, list[tuple[datetime, float]]] = defaultdict(list)
    for hour, value in known.items():
        sky = clear_sky(hour, latitude, longitude)
        if sky >= _LEAST_SKY:
            ratios[hour.astimezone(zone).hour].append((hour, value / sky))
    usual = {at: median([ratio for _, ratio in seen]) for at, seen in ratios.items()}
    late = [r / usual[at] for at, seen in ratios.items() if usual[at] > 0 for hour, r in seen if start - hour <= _LATE]
    clearness = min(1.5, max(0.3, median(late))) if len(late) >= 6 else 1.0
    found: dict[datetime, Band] = {}
    for n in range(hours):
        hour = start + n * _HOUR
        at, sky = hour.astimezone(zone).hour, clear_sky(hour, latitude, longitude)
        seen = [r for near in (at - 1, at, at + 1) for _, r in ratios.get(near, ())]
        if sky <= 0 or not seen:
            found[hour] = Band(0.0, 0.0, 0.0)
            continue
        middle = usual.get(at, median(seen))
        # Weather lasts a day or so: today's clearness says a third of tomorrow's.
        weight = 0.5 * (1 - min(1.0, n / 36))
        p50 = middle * (1 + (clearness - 1) * weight)
        low, high = min(quantile(seen, LOW), p50), max(quantile(seen, HIGH), p50)
        found[hour] = Band(max(0.0, low * sky), max(0.0, p50 * sky), max(0.0, high * sky))
    return found
