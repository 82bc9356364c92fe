"""The air quality index of particulates after HJ 633-2012 (环境空气质量指数技术规定), tables 1 and 2.

The standard's limits of PM2.5 and PM10 are means of 24 hours: it gives none of one hour. Gases (SO2, NO2, CO, O3) are
part of an official AQI and are not measured here, so this one can only be too low. Over current readings the same table
says how the air is, and is no official index.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from services.domain.vocabulary import Label

_INDEX = (0, 50, 100, 150, 200, 300, 400, 500)
_LIMITS: dict[str, tuple[float, ...]] = {
    "pm2_5": (0, 35, 75, 115, 150, 250, 350, 500),
    "pm10": (0, 50, 150, 250, 350, 420, 500, 600),
}
"""µg/m³, means of 24 h."""
_LEVELS: tuple[tuple[int, Label], ...] = (
    (50, Label("优", "Excellent")),
    (100, Label("良", "Good")),
    (150, Label("轻度污染", "Lightly polluted")),
    (200, Label("中度污染", "Moderately polluted")),
    (300, Label("重度污染", "Heavily polluted")),
)
_WORST = Label("严重污染", "Severely polluted")


@dataclass(frozen=True, slots=True)
class Air:
    """`level` 1 to 6. `primary` (首要污染物) is said from an index over 50 on."""

    aqi: int
    level: int
    label: Label
    primary: str | None


def individual(pollutant: str, value: float) -> int:
    """IAQI: between the limits in proportion, rounded up; 500 beyond the table's end. Raises KeyError."""
    limits = _LIMITS[pollutant]
    value = max(0.0, value)
    for n in range(1, len(limits)):
        if value <= limits[n]:
            low, high = limits[n - 1], limits[n]
            share = (value - low) / (high - low)
            return math.ceil(round((_INDEX[n] - _INDEX[n - 1]) * share + _INDEX[n - 1], 6))
    return _INDEX[-1]


def air(pm2_5: float | None, pm10: float | None) -> Air | None:
    """The worse of the two; None: neither is known."""
    known = {name: value for name, value in (("pm2_5", pm2_5), ("pm10", pm10)) if value is not None}
    if not known:
        return None
    indices = {name: individual(name, value) for name, value in known.items()}
    primary, aqi = max(indices.items(), key=lambda one: one[1])
    for n, (upto, words) in enumerate(_LEVELS, start=1):
        if aqi <= upto:
            return Air(aqi, n, words, primary if aqi > 50 else None)
    return Air(aqi, len(_LEVELS) + 1, _WORST, primary)
