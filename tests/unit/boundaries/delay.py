"""Boundaries of delay rules."""

from __future__ import annotations

from services.domain.rules.evaluation import Item, Lag
from services.domain.rules.parameters import DelayParameters
from tests.unit.boundaries.table import NO_COUNTER, NO_GAP, NO_NUMBER, NO_WINDOW, Case, Table
from tests.unit.rules_support import NO, at


def table() -> Table:
    rule = DelayParameters(limit_s=60, clear_s=10)

    def lag(seconds: float, by: float) -> Item:
        return Lag(NO, at(seconds), at(seconds), round(by * 1000))

    return {
        "long enough": Case(rule, [lag(0, 60.001)], [(0, "fire")]),
        "1 ms too short": Case(rule, [lag(0, 60)], []),
        "hysteresis holds": Case(rule, [lag(0, 61), lag(1, 10.001)], [(0, "fire")]),
        "hysteresis lets go": Case(rule, [lag(0, 61), lag(1, 10)], [(0, "fire"), (1, "clear")]),
        "window's edge inside": NO_WINDOW,
        "window's edge 1 ms outside": NO_WINDOW,
        "gap of three intervals": NO_GAP,
        "gap 1 ms longer": NO_GAP,
        "late pages nobody": "being late is what it is about",
        "late corrects": "being late is what it is about",
        "overtaken": "the server's own items overtake each other nowhere",
        "no number": NO_NUMBER,
        "counter reset": NO_COUNTER,
        "first ever": Case(rule, [lag(0, 61), lag(1, 121)], [(0, "fire"), (1, "repeat")]),
    }
