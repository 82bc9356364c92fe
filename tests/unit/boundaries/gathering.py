"""Boundaries of gathering rules."""

from __future__ import annotations

from services.domain.rules.evaluation import Gathered, Item
from services.domain.rules.parameters import GatheringParameters
from tests.unit.boundaries.table import NO_COUNTER, NO_GAP, NO_NUMBER, Case, Table
from tests.unit.rules_support import NO, at


def table() -> Table:
    rule = GatheringParameters("*.offline", 3, "gateway", window_s=600)

    def moved(seconds: float, *rises: float) -> Item:
        return Gathered(NO, at(seconds), at(seconds), [at(rise) for rise in rises])

    return {
        "long enough": Case(rule, [moved(0, 0), moved(1, 0, 1), moved(2, 0, 1, 2)], [(2, "fire")]),
        "1 ms too short": "it lasts no time: it counts",
        "hysteresis holds": Case(rule, [moved(2, 0, 1, 2), moved(5, 0, 1, 2, 5), moved(6, 1, 2, 5)], [(2, "fire")]),
        # one that has been dead for hours began none of this, and does not keep it open
        "hysteresis lets go": Case(
            rule, [moved(2, -9000, 0, 1, 2), moved(5, -9000, 0, 2)], [(2, "fire"), (5, "clear")], 10
        ),
        "window's edge inside": Case(rule, [moved(600, 0, 300, 600)], [(600, "fire")]),
        "window's edge 1 ms outside": Case(rule, [moved(601, 0, 300, 600.001)], []),
        "gap of three intervals": NO_GAP,
        "gap 1 ms longer": NO_GAP,
        "late pages nobody": "it counts alerts, and what is late raises none",
        "late corrects": "it counts alerts, and what is late raises none",
        # ended and begun again within one millisecond: two alerts
        "overtaken": Case(
            rule,
            [moved(2, 0, 1, 2), moved(2, 0, 1), moved(2, 0, 1, 2)],
            [(2, "fire"), (2, "clear"), (2, "fire")],
        ),
        "no number": NO_NUMBER,
        "counter reset": NO_COUNTER,
        "first ever": Case(rule, [moved(0)], []),
    }
