"""Boundaries of threshold rules."""

from __future__ import annotations

from math import inf, nan

from services.domain.rules.parameters import ThresholdParameters
from tests.unit.boundaries.table import LEAST, NO_COUNTER, NO_WINDOW, Case, Table, minutes
from tests.unit.rules_support import read


def table() -> Table:
    at_once = ThresholdParameters("v", LEAST, 10, clear_limit=5)
    rule = ThresholdParameters("v", LEAST, 10, for_s=300)
    return {
        "long enough": Case(rule, minutes(10, 0, 5), [(300, "fire")]),
        "1 ms too short": Case(rule, [*minutes(10, 0, 4), read(299.999, 10)], []),
        "hysteresis holds": Case(at_once, [read(0, 10), read(60, 5.001)], [(0, "fire")]),
        "hysteresis lets go": Case(at_once, [read(0, 10), read(60, 5)], [(0, "fire"), (60, "clear")]),
        "window's edge inside": NO_WINDOW,
        "window's edge 1 ms outside": NO_WINDOW,
        "gap of three intervals": Case(rule, [read(0, 12), read(180, 12), read(300, 12)], [(300, "fire")]),
        "gap 1 ms longer": Case(rule, [read(0, 12), read(180.001, 12), read(300.001, 12)], []),
        "late pages nobody": Case(at_once, [read(0, 50, delay=600.001)], []),
        "late corrects": Case(
            rule, [*minutes(10, 0, 4), read(300, 1, delay=600.001), read(910, 10), read(970, 10)], []
        ),
        "overtaken": Case(at_once, [read(60, 1), read(30, 50)], []),
        "no number": Case(at_once, [read(0, nan), read(60, inf), read(120, -inf), read(180)], []),
        "counter reset": NO_COUNTER,
        "first ever": Case(at_once, [read(0, 10)], [(0, "fire")]),
    }
