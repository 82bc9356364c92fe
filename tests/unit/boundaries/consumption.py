"""Boundaries of consumption rules."""

from __future__ import annotations

from math import inf, nan

from services.domain.rules.parameters import ConsumptionParameters
from tests.unit.boundaries.table import HOUR, LEAST, MIN, MOST, Case, Table, minutes
from tests.unit.rules_support import read


def table() -> Table:
    hour = ConsumptionParameters("v", HOUR, MOST, 1)
    over = ConsumptionParameters("v", HOUR, LEAST, 10)
    swapped = [*minutes(500, 0, 30), *minutes(37, 31, 61)]
    return {
        "long enough": Case(hour, minutes(5, 0, 60), [(3600, "fire")]),
        "1 ms too short": Case(hour, [*minutes(5, 0, 59), read(3599.999, 5)], []),
        "hysteresis holds": "fires and clears at one limit, each only where nothing is in doubt",
        "hysteresis lets go": Case(hour, [*minutes(5, 0, 60), read(3660, 6.001)], [(3600, "fire"), (3660, "clear")]),
        "window's edge inside": Case(over, [*minutes(0, 0, 1), *minutes(10, 2, 61)], [(3600, "fire")], 0),
        "window's edge 1 ms outside": Case(
            over, [read(0, 0), read(0.999, 10), *minutes(10, 1, 59), read(3601, 10)], []
        ),
        "gap of three intervals": Case(
            hour, [*minutes(5, 0, 30), read(33 * MIN, 5), *minutes(5, 34, 60)], [(3600, "fire")]
        ),
        "gap 1 ms longer": Case(hour, [*minutes(5, 0, 30), read(33 * MIN + 0.001, 5), *minutes(5, 34, 60)], []),
        "late pages nobody": Case(hour, [*minutes(5, 0, 59), read(3600, 5, delay=601)], []),
        "late corrects": Case(
            hour,
            [
                *minutes(5, 0, 49),
                *(read(m * MIN, 5, delay=(60 - m) * MIN + 0.5) for m in range(50, 60)),
                read(3600, 5, delay=1),
            ],
            [(3600, "fire")],
        ),
        "overtaken": Case(hour, [*minutes(5, 0, 59), read(3599, 5), read(3590, 99), read(3600, 5)], [(3600, "fire")]),
        "no number": Case(hour, [*minutes(5, 0, 59), read(3600, nan), read(3610, inf)], []),
        "counter reset": Case(over, swapped, []),
        "first ever": Case(over, [read(0, 99)], []),
    }
