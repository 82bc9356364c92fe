"""Where the sun stands, after the low-accuracy equations of NOAA's solar calculator (good to about 0.1°)."""

from __future__ import annotations

from math import acos, asin, cos, degrees, pi, radians, sin, tan

_DAY_MS = 86_400_000
_J2000_MS = 946_728_000_000
TWILIGHT_DEG = 6.0
"""Civil twilight. Between -6° and +6° it is neither day nor night to a rule: lamps and PV plants are switching."""


def elevation_deg(ts_ms: int, latitude: float, longitude: float) -> float:
    """Degrees of the sun's centre above the horizon, refraction left out. Longitude east is positive."""
    century = (ts_ms - _J2000_MS) / _DAY_MS / 36_525
    mean_long = radians((280.46646 + century * (36_000.76983 + century * 0.0003032)) % 360)
    anomaly = radians(357.52911 + century * (35_999.05029 - 0.0001537 * century))
    eccentricity = 0.016708634 - century * (0.000042037 + 0.0000001267 * century)
    centre = (
        sin(anomaly) * (1.914602 - century * (0.004817 + 0.000014 * century))
        + sin(2 * anomaly) * (0.019993 - 0.000101 * century)
        + sin(3 * anomaly) * 0.000289
    )
    node = radians(125.04 - 1934.136 * century)
    apparent = mean_long + radians(centre - 0.00569 - 0.00478 * sin(node))
    tilt = radians(23.439291 - 0.0130042 * century + 0.00256 * cos(node))
    declination = asin(sin(tilt) * sin(apparent))
    y = tan(tilt / 2) ** 2
    equation_min = 4 * degrees(
        y * sin(2 * mean_long)
        - 2 * eccentricity * sin(anomaly)
        + 4 * eccentricity * y * sin(anomaly) * cos(2 * mean_long)
        - 0.5 * y * y * sin(4 * mean_long)
        - 1.25 * eccentricity * eccentricity * sin(2 * anomaly)
    )
    minutes = (ts_ms % _DAY_MS) / 60_000 + equation_min + 4 * longitude
    hour_angle = radians(minutes / 4 - 180)
    lat = radians(latitude)
    cosine = sin(lat) * sin(declination) + cos(lat) * cos(declination) * cos(hour_angle)
    return degrees(pi / 2 - acos(max(-1.0, min(1.0, cosine))))


def is_daylight(ts_ms: int, latitude: float, longitude: float) -> bool | None:
    """True by day, False by night, None in twilight."""
    elevation = elevation_deg(ts_ms, latitude, longitude)
    if elevation >= TWILIGHT_DEG:
        return True
    return False if elevation <= -TWILIGHT_DEG else None
