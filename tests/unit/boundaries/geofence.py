"""Boundaries of geofence rules."""

from __future__ import annotations

from math import nan

from services.domain.rules.evaluation import Item
from services.domain.rules.parameters import Edge, GeofenceParameters
from tests.unit.boundaries.table import NO_COUNTER, NO_WINDOW, Case, Table
from tests.unit.rules_support import read

DEGREE_M = 111_195.0
"""Of latitude, about."""


def table() -> Table:
    rule = GeofenceParameters(Edge.EXIT, ((30.0, 114.0),), radius_m=1000, for_s=300, margin_m=50)
    at_once = GeofenceParameters(Edge.EXIT, ((30.0, 114.0),), radius_m=1000, margin_m=50)

    def gone(seconds: float, metres: float, delay: float = 0.0) -> Item:
        return read(seconds, delay=delay, latitude=30.0 + metres / DEGREE_M, longitude=114.0)

    def away(*seconds: float) -> list[Item]:
        return [gone(0, 0), *(gone(second, 1100) for second in seconds)]

    return {
        "long enough": Case(rule, away(60, 120, 180, 240, 300, 360), [(360, "fire")]),
        "1 ms too short": Case(rule, away(60, 120, 180, 240, 300, 359.999), []),
        "hysteresis holds": Case(at_once, [gone(0, 0), gone(60, 1100), gone(120, 1040)], [(60, "fire")]),
        "hysteresis lets go": Case(
            at_once, [gone(0, 0), gone(60, 1100), gone(120, 990)], [(60, "fire"), (120, "clear")]
        ),
        "window's edge inside": NO_WINDOW,
        "window's edge 1 ms outside": NO_WINDOW,
        "gap of three intervals": Case(rule, away(60, 240, 360), [(360, "fire")]),
        "gap 1 ms longer": Case(rule, away(60, 240.001, 360), []),
        "late pages nobody": Case(at_once, [gone(0, 0), gone(60, 1100, delay=601)], []),
        "late corrects": "which side it was on then says nothing of now",
        "overtaken": Case(at_once, [gone(0, 0), gone(120, 0), gone(60, 1100)], []),
        "no number": Case(at_once, [gone(0, 0), gone(60, nan), gone(120, 0)], []),
        "counter reset": NO_COUNTER,
        "first ever": Case(at_once, [gone(0, 9000)], []),
    }
