"""When public figures have changed enough to be told."""

from __future__ import annotations

from collections.abc import Mapping

CROWD = 10
"""Of fewer parking spaces than this nothing is told: of a few, somebody knows whose is free."""

TOLERANCE: Mapping[str, float] = {
    "parking_spaces": 0.0,
    "parking_left": 0.0,
    "noise_db": 3.0,
    "temperature_c": 1.0,
    "pm25": 5.0,
    "pm10": 10.0,
}
"""A change of more than this is one."""


def changed(before: Mapping[str, float | None], now: Mapping[str, float | None]) -> dict[str, float | None]:
    """What is other than it was told: the figures that moved by more than their tolerance, came or went."""
    moved = {}
    for name, tolerance in TOLERANCE.items():
        old, new = before.get(name), now.get(name)
        if (old is None) != (new is None) or (old is not None and new is not None and abs(new - old) > tolerance):
            moved[name] = new
    return moved
