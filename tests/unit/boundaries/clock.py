"""Boundaries of clock rules."""

from __future__ import annotations

from services.domain.rules.evaluation import Clock, Item
from services.domain.rules.parameters import ClockParameters
from tests.unit.boundaries.table import NO_COUNTER, NO_GAP, NO_NUMBER, Case, Table
from tests.unit.rules_support import NO, at, read


def table() -> Table:
    rule = ClockParameters(300)

    def ahead(seconds: float, by: float) -> Item:
        return Clock(NO, at(seconds + by), at(seconds), round(by * 1000))

    return {
        "long enough": "it lasts no time",
        "1 ms too short": "it lasts no time",
        "hysteresis holds": Case(rule, [ahead(0, 301), read(0, 1, delay=300.001)], [(0, "fire")]),
        "hysteresis lets go": Case(rule, [ahead(0, 301), read(0, 1, delay=300)], [(0, "fire"), (300, "clear")]),
        "window's edge inside": Case(rule, [ahead(0, 300.001)], [(0, "fire")]),
        "window's edge 1 ms outside": Case(rule, [ahead(0, 300)], []),
        "gap of three intervals": NO_GAP,
        "gap 1 ms longer": NO_GAP,
        "late pages nobody": Case(rule, [read(0, 1, delay=9000)], []),
        "late corrects": "what is late proves nothing of the clock",
        "overtaken": Case(rule, [ahead(10, 400), read(5, 1, delay=5)], [(10, "fire")]),
        "no number": NO_NUMBER,
        "counter reset": NO_COUNTER,
        "first ever": Case(rule, [ahead(0, -301)], [(0, "fire")]),
    }
