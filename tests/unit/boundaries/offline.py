"""Boundaries of offline rules."""

from __future__ import annotations

from services.domain.rules.evaluation import Item
from services.domain.rules.parameters import OfflineParameters
from tests.unit.boundaries.table import NO_COUNTER, NO_LIMITS, NO_NUMBER, NO_WINDOW, Case, Table
from tests.unit.rules_support import read


def table() -> Table:
    rule = OfflineParameters()
    heard: list[Item] = [read(0, 1)]
    return {
        "long enough": Case(rule, heard, [(180, "offline"), (180, "fire")], 780.001),
        "1 ms too short": Case(rule, heard, [], 780),
        "hysteresis holds": NO_LIMITS,
        "hysteresis lets go": Case(
            rule,
            [*heard, read(900, 1)],
            [(180, "offline"), (180, "fire"), (900, "online"), (900, "clear")],
        ),
        "window's edge inside": NO_WINDOW,
        "window's edge 1 ms outside": NO_WINDOW,
        "gap of three intervals": Case(rule, [*heard, read(180, 1)], [], 190),
        # the whole line is silent for ten minutes more before the device is blamed
        "gap 1 ms longer": Case(
            rule, [*heard, read(780.002, 1)], [(180, "offline"), (180, "fire"), (780.002, "online"), (780.002, "clear")]
        ),
        "late pages nobody": Case(rule, [*heard, read(60, 1, delay=601)], [], 700),
        "late corrects": "it is about when the server heard it, whatever the device says of the time",
        "overtaken": Case(rule, [*heard, read(-60, 1, delay=239)], [], 190),
        "no number": NO_NUMBER,
        "counter reset": NO_COUNTER,
        "first ever": Case(rule, [], [], 9000),
    }
