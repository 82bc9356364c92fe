"""Boundaries of flood rules."""

from __future__ import annotations

from services.domain.rules.evaluation import Flood, Item
from services.domain.rules.parameters import FloodParameters
from tests.unit.boundaries.table import NO_COUNTER, NO_GAP, NO_LIMITS, NO_NUMBER, NO_WINDOW, Case, Table
from tests.unit.rules_support import NO, at


def table() -> Table:
    rule = FloodParameters(300)

    def refused(seconds: float) -> Item:
        return Flood(NO, at(seconds), at(seconds), 9)

    return {
        "long enough": Case(rule, [refused(0)], [(0, "fire"), (300, "clear")], 300),
        "1 ms too short": Case(rule, [refused(0)], [(0, "fire")], 299.999),
        "hysteresis holds": Case(rule, [refused(0), refused(299)], [(0, "fire")], 598),
        "hysteresis lets go": NO_LIMITS,
        "window's edge inside": NO_WINDOW,
        "window's edge 1 ms outside": NO_WINDOW,
        "gap of three intervals": NO_GAP,
        "gap 1 ms longer": NO_GAP,
        "late pages nobody": "it goes by the server's time alone",
        "late corrects": "it goes by the server's time alone",
        "overtaken": "the server's own items overtake each other nowhere",
        "no number": NO_NUMBER,
        "counter reset": NO_COUNTER,
        "first ever": Case(rule, [refused(0)], [(0, "fire")]),
    }
