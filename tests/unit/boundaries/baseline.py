"""Boundaries of baseline rules."""

from __future__ import annotations

from math import inf, nan

from services.domain.rules.evaluation import Item
from services.domain.rules.parameters import BaselineParameters, Parameters
from tests.unit.boundaries.table import HOUR, NO_COUNTER, NO_WINDOW, Case, Table
from tests.unit.rules_support import Said, read

WEEK = 168 * HOUR


def table() -> Table:
    """A week of tens, an hour each, then what is said of the next hours."""
    lasting = BaselineParameters("v", min_weeks=1, floor=5, for_s=2 * HOUR)
    short = BaselineParameters("v", min_weeks=1, floor=5, for_s=HOUR / 2)
    at_once = BaselineParameters("v", min_weeks=1, floor=5)
    usual: list[Item] = [read(hour * HOUR, 10) for hour in range(168)]

    def case(rule: Parameters, items: list[Item], says: Said) -> Case:
        return Case(rule, [*usual, *items], says, facts={"interval_ms": HOUR * 1000})

    def hot(*hours: float) -> list[Item]:
        return [read(WEEK + hour * HOUR, 99) for hour in hours]

    ms = 0.001 / HOUR
    return {
        "long enough": case(short, hot(0, 0.5), [(WEEK + HOUR / 2, "fire")]),
        "1 ms too short": case(short, hot(0, 0.5 - ms), []),
        "hysteresis holds": case(at_once, [read(WEEK, 15.001), read(WEEK + HOUR, 15.001)], [(WEEK, "fire")]),
        "hysteresis lets go": case(
            at_once, [read(WEEK, 15.001), read(WEEK + HOUR, 15)], [(WEEK, "fire"), (WEEK + HOUR, "clear")]
        ),
        "window's edge inside": NO_WINDOW,
        "window's edge 1 ms outside": NO_WINDOW,
        "gap of three intervals": case(lasting, hot(0, 3), [(WEEK + 3 * HOUR, "fire")]),
        "gap 1 ms longer": case(lasting, hot(0, 3 + ms), []),
        "late pages nobody": case(at_once, [read(WEEK, 99, delay=3 * HOUR + 1)], []),
        "late corrects": "an hour that came in late is not learned from",
        "overtaken": case(at_once, [read(WEEK, 10), read(WEEK - 60, 99)], []),
        "no number": case(at_once, [read(WEEK, nan), read(WEEK + 60, inf)], []),
        "counter reset": NO_COUNTER,
        "first ever": Case(at_once, [read(0, 99)], []),
    }
