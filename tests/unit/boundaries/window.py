"""Boundaries of window rules."""

from __future__ import annotations

from math import inf, nan

from services.domain.rules.parameters import Aggregate, WindowParameters
from tests.unit.boundaries.table import LEAST, MIN, Case, Table, minutes
from tests.unit.rules_support import read


def table() -> Table:
    mean = WindowParameters("v", Aggregate.MEAN, 600, LEAST, 10, clear_limit=8)
    total = WindowParameters("v", Aggregate.SUM, 600, LEAST, 10)
    highest = WindowParameters("v", Aggregate.MAX, 600, LEAST, 10)
    return {
        "long enough": Case(mean, minutes(10, 0, 10), [(600, "fire")]),
        "1 ms too short": Case(mean, [*minutes(10, 0, 9), read(599.999, 10)], []),
        "hysteresis holds": Case(mean, [*minutes(10, 0, 10), *minutes(0, 11, 12)], [(600, "fire")]),
        "hysteresis lets go": Case(mean, [*minutes(10, 0, 10), *minutes(0, 11, 13)], [(600, "fire"), (780, "clear")]),
        # the reading at the far edge is not in the window, the one a millisecond after it is
        "window's edge inside": Case(
            highest, [read(0, 0), read(0.001, 10), *minutes(0, 1, 9), read(600, 0)], [(600, "fire")]
        ),
        "window's edge 1 ms outside": Case(highest, [read(0, 10), *minutes(0, 1, 10)], []),
        "gap of three intervals": Case(total, [*minutes(1, 0, 5), read(480, 5), *minutes(1, 9, 10)], [(600, "fire")]),
        "gap 1 ms longer": Case(total, [*minutes(1, 0, 5), read(480.001, 9), *minutes(9, 9, 10)], []),
        "late pages nobody": Case(total, [*minutes(1, 0, 9), read(600, 99, delay=601)], []),
        "late corrects": Case(
            total,
            [*minutes(1, 0, 2), *(read(m * MIN, 1, delay=810 - m * MIN) for m in range(3, 11))],
            [(600, "fire")],
        ),
        "overtaken": Case(total, [*minutes(0, 0, 9), read(580, 0), read(570, 99), read(600, 0)], []),
        "no number": Case(total, [*minutes(0, 0, 9), read(600, nan), read(601, inf), read(602)], []),
        "counter reset": "consumption of a counter is a kind of its own",
        "first ever": Case(highest, [read(0, 99)], []),
    }
