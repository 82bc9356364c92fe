"""Latitude and longitude on a community's plan, also those that Chinese maps and phones shift (GCJ-02, BD-09)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import atan2, cos, hypot, isfinite, pi, radians, sin, sqrt

M_PER_DEGREE = 111_320.0
"""Of latitude."""


class Datum(StrEnum):
    """In what a position is given. What a phone's own receiver says is WGS-84; map kits in China say GCJ-02 or BD-09,
    which lie 100 to 700 m beside it."""

    WGS84 = "wgs84"
    GCJ02 = "gcj02"
    BD09 = "bd09"


@dataclass(frozen=True, slots=True)
class Ground:
    """Where a community's plan lies: its origin in WGS-84, x eastwards and y southwards from there, in metres."""

    latitude: float
    longitude: float
    width: float
    height: float

    def outside_m(self, x: float, y: float) -> float:
        """How far outside the plan; 0 on it."""
        return hypot(max(-x, 0.0, x - self.width), max(-y, 0.0, y - self.height))


def on_plan(
    ground: Ground, latitude: float, longitude: float, datum: Datum = Datum.WGS84
) -> tuple[float, float] | None:
    """(x, y) in metres on the plan; None where it is no position on Earth. Exact to a metre within some kilometres."""
    if not (isfinite(latitude) and isfinite(longitude)) or abs(latitude) > 90 or abs(longitude) > 180:
        return None
    if abs(latitude) < 1e-6 and abs(longitude) < 1e-6:
        return None  # what receivers say that have found nothing
    latitude, longitude = as_wgs84(latitude, longitude, datum)
    east = M_PER_DEGREE * cos(radians(ground.latitude))
    return (longitude - ground.longitude) * east, (ground.latitude - latitude) * M_PER_DEGREE


def as_wgs84(latitude: float, longitude: float, datum: Datum) -> tuple[float, float]:
    if datum is Datum.WGS84:
        return latitude, longitude
    if datum is Datum.BD09:
        latitude, longitude = _bd09_as_gcj02(latitude, longitude)
    # The shift is known one way only; it changes so slowly that three rounds leave less than a millimetre.
    found = latitude, longitude
    for _ in range(3):
        shifted = as_gcj02(*found)
        found = found[0] + latitude - shifted[0], found[1] + longitude - shifted[1]
    return found


_A, _EE = 6_378_245.0, 0.006_693_421_622_965_943
"""Semi-major axis and squared eccentricity of the Krasovsky 1940 ellipsoid, on which GCJ-02 is laid."""


def as_gcj02(latitude: float, longitude: float) -> tuple[float, float]:
    """WGS-84 as Chinese maps show it; outside China it is left as it is."""
    if not (0.8293 < latitude < 55.8271 and 72.004 < longitude < 137.8347):
        return latitude, longitude
    x, y = longitude - 105.0, latitude - 35.0
    common = (20 * sin(6 * x * pi) + 20 * sin(2 * x * pi)) * 2 / 3
    north = -100 + 2 * x + 3 * y + 0.2 * y * y + 0.1 * x * y + 0.2 * sqrt(abs(x)) + common
    north += (20 * sin(y * pi) + 40 * sin(y / 3 * pi)) * 2 / 3
    north += (160 * sin(y / 12 * pi) + 320 * sin(y * pi / 30)) * 2 / 3
    east = 300 + x + 2 * y + 0.1 * x * x + 0.1 * x * y + 0.1 * sqrt(abs(x)) + common
    east += (20 * sin(x * pi) + 40 * sin(x / 3 * pi)) * 2 / 3
    east += (150 * sin(x / 12 * pi) + 300 * sin(x / 30 * pi)) * 2 / 3
    turn = radians(latitude)
    magic = 1 - _EE * sin(turn) ** 2
    north *= 180 / ((_A * (1 - _EE)) / (magic * sqrt(magic)) * pi)
    east *= 180 / (_A / sqrt(magic) * cos(turn) * pi)
    return latitude + north, longitude + east


def _bd09_as_gcj02(latitude: float, longitude: float) -> tuple[float, float]:
    x, y = longitude - 0.0065, latitude - 0.006
    turn = pi * 3000 / 180
    far, angle = hypot(x, y) - 0.00002 * sin(y * turn), atan2(y, x) - 0.000003 * cos(x * turn)
    return far * sin(angle), far * cos(angle)
