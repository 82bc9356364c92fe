"""Boundaries of n of m rules."""

from __future__ import annotations

from math import inf, nan

from services.domain.rules.parameters import NOfMParameters
from tests.unit.boundaries.table import LEAST, NO_COUNTER, Case, Table, minutes
from tests.unit.rules_support import read


def table() -> Table:
    rule = NOfMParameters("v", LEAST, 10, n=2, m=3)
    return {
        "long enough": Case(rule, [read(0, 10), read(60, 1), read(120, 10)], [(120, "fire")]),
        "1 ms too short": Case(rule, [read(0, 10), read(60, 1), read(120, 9.999)], []),
        "hysteresis holds": Case(rule, [read(0, 10), read(60, 10), read(120, 1)], [(60, "fire")]),
        "hysteresis lets go": Case(rule, [*minutes(10, 0, 1), *minutes(1, 2, 3)], [(60, "fire"), (180, "clear")]),
        "window's edge inside": Case(rule, [read(0, 10), read(60, 1), read(120, 10)], [(120, "fire")]),
        "window's edge 1 ms outside": Case(rule, [read(0, 10), *minutes(1, 1, 2), read(180, 10)], []),
        "gap of three intervals": Case(rule, [read(0, 10), read(180, 10)], [(180, "fire")]),
        "gap 1 ms longer": Case(rule, [read(0, 10), read(180.001, 10)], []),
        "late pages nobody": Case(rule, [read(0, 10), read(60, 10, delay=600.001)], []),
        # the two before the hole are not known any more, so one of the last three may still be bad
        "late corrects": Case(
            rule, [*minutes(10, 0, 1), read(120, 1, delay=601), read(780, 10), read(840, 1)], [(60, "fire")]
        ),
        "overtaken": Case(rule, [read(60, 10), read(30, 10)], []),
        "no number": Case(rule, [read(0, nan), read(60, inf), read(120)], []),
        "counter reset": NO_COUNTER,
        "first ever": Case(rule, [read(0, 99)], []),
    }
