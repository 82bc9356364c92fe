"""Boundaries of correlation rules."""

from __future__ import annotations

from services.domain.rules.parameters import CorrelationParameters
from tests.unit.boundaries.table import NO_COUNTER, NO_GAP, NO_LIMITS, NO_NUMBER, Case, Table
from tests.unit.rules_support import event


def table() -> Table:
    rule = CorrelationParameters("alarm", 2, 180)
    return {
        "long enough": Case(
            rule, [event(0, "alarm", device=1), event(9, "alarm", device=2)], [(9, "fire"), (309, "clear")], 309
        ),
        "1 ms too short": Case(
            rule, [event(0, "alarm", device=1), event(9, "alarm", device=2)], [(9, "fire")], 308.999
        ),
        "hysteresis holds": NO_LIMITS,
        "hysteresis lets go": NO_LIMITS,
        "window's edge inside": Case(
            rule, [event(0, "alarm", device=1), event(180, "alarm", device=2, delay=-1)], [(180, "fire")]
        ),
        "window's edge 1 ms outside": Case(
            rule, [event(0, "alarm", device=1), event(180.001, "alarm", device=2, delay=-1)], []
        ),
        "gap of three intervals": NO_GAP,
        "gap 1 ms longer": NO_GAP,
        "late pages nobody": Case(rule, [event(0, "alarm", device=1), event(1, "alarm", device=2, delay=601)], []),
        "late corrects": "what nobody was told of needs no correction",
        "overtaken": Case(rule, [event(100, "alarm", device=1), event(0, "alarm", device=2, delay=101)], [(0, "fire")]),
        "no number": NO_NUMBER,
        "counter reset": NO_COUNTER,
        "first ever": Case(rule, [event(0, "alarm", device=1)], []),
    }
