"""Boundaries of rate rules."""

from __future__ import annotations

from math import inf, nan

from services.domain.rules.parameters import RateParameters
from tests.unit.boundaries.table import LEAST, MIN, Case, Table
from tests.unit.rules_support import read


def table() -> Table:
    rule = RateParameters("v", LEAST, 10, 300, clear_for_s=120)
    climb = [read(0, 0), *(read(m * MIN, 5) for m in range(1, 5))]
    flat = [read(m * MIN, 20) for m in range(1, 10)]
    return {
        # steady for the whole window from 06:00 on, and for two minutes after that
        "long enough": Case(rule, [read(0, 0), *flat[:8]], [(60, "fire"), (360, "recover"), (480, "clear")]),
        "1 ms too short": Case(rule, [read(0, 0), *flat[:7], read(479.999, 20)], [(60, "fire"), (360, "recover")]),
        "hysteresis holds": Case(rule, [read(0, 0), read(60, 10), read(120, 9)], [(60, "fire")]),
        "hysteresis lets go": Case(
            rule,
            [read(0, 0), *flat[:6], read(420, 30)],
            [(60, "fire"), (360, "recover"), (420, "repeat")],
        ),
        "window's edge inside": Case(rule, [*climb, read(300, 10)], [(300, "fire")]),
        "window's edge 1 ms outside": Case(rule, [*climb, read(300.001, 10)], []),
        "gap of three intervals": Case(rule, [read(0, 0), read(180, 10)], [(180, "fire")]),
        "gap 1 ms longer": Case(rule, [read(0, 0), read(180.001, 10)], []),
        "late pages nobody": Case(rule, [read(0, 0), read(60, 50, delay=600.001)], []),
        "late corrects": Case(rule, [read(0, 50), read(60, 0, delay=601), read(120, 10, delay=545)], [(120, "fire")]),
        "overtaken": Case(rule, [read(60, 20), read(30, 0), read(120, 20)], []),
        "no number": Case(rule, [read(0, 0), read(60, nan), read(120, inf), read(180)], []),
        "counter reset": Case(rule, [read(0, 9000), read(60, 9003), read(120, 2), read(180, 5)], []),
        "first ever": Case(rule, [read(0, 9000)], []),
    }
