"""Boundaries of silence rules."""

from __future__ import annotations

from math import inf, nan

from services.domain.rules.evaluation import Item
from services.domain.rules.parameters import SilenceParameters
from tests.unit.boundaries.table import MIN, NO_COUNTER, NO_WINDOW, Case, Table
from tests.unit.rules_support import read


def table() -> Table:
    rule = SilenceParameters("v", 300)

    def without(*seconds: float) -> list[Item]:
        return [read(second, w=1.0) for second in seconds]

    blind = without(0, 60, 120, 180, 240, 300)
    return {
        "long enough": Case(rule, blind, [(300, "fire")]),
        "1 ms too short": Case(rule, [*blind[:5], *without(299.999)], []),
        "hysteresis holds": Case(rule, [*blind, *without(360, 420)], [(300, "fire")]),
        "hysteresis lets go": Case(rule, [*blind, read(360, 0)], [(300, "fire"), (360, "clear")]),
        "window's edge inside": NO_WINDOW,
        "window's edge 1 ms outside": NO_WINDOW,
        "gap of three intervals": Case(rule, without(0, 180, 300), [(300, "fire")]),
        "gap 1 ms longer": Case(rule, without(0, 180.001, 300.001), []),
        "late pages nobody": Case(rule, [*blind[:5], read(300, w=1.0, delay=601)], []),
        # a value that was long on its way clears nothing by itself; the next reading knows of it
        "late corrects": Case(rule, [*blind, read(360, 1, delay=601), *without(420)], [(300, "fire"), (420, "clear")]),
        "overtaken": Case(rule, [*blind[:5], read(210, 1), *without(300)], [(300, "fire")]),
        "no number": Case(rule, [read(m * MIN, nan if m % 2 else inf) for m in range(6)], [(300, "fire")]),
        "counter reset": NO_COUNTER,
        "first ever": Case(rule, without(0), []),
    }
