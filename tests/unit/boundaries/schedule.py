"""Boundaries of schedule rules."""

from __future__ import annotations

from math import inf, nan

from services.domain.rules.parameters import ScheduleParameters
from tests.unit.boundaries.table import HOUR, NO_COUNTER, Case, Table, minutes
from tests.unit.rules_support import read


def table() -> Table:
    rule = ScheduleParameters("v", 0, from_hour=8, to_hour=20, for_s=300)
    at_once = ScheduleParameters("v", 0, from_hour=9, to_hour=20, for_s=0)
    return {
        "long enough": Case(rule, minutes(1, 0, 5), [(300, "fire")]),
        "1 ms too short": Case(rule, [*minutes(1, 0, 4), read(299.999, 1)], []),
        "hysteresis holds": Case(rule, minutes(1, 0, 9), [(300, "fire")]),
        "hysteresis lets go": Case(rule, [*minutes(1, 0, 5), read(360, 0)], [(300, "fire"), (360, "clear")]),
        "window's edge inside": Case(at_once, [read(HOUR, 1)], [(HOUR, "fire")]),
        "window's edge 1 ms outside": Case(at_once, [read(HOUR - 0.001, 1)], []),
        "gap of three intervals": Case(rule, [read(0, 1), read(180, 1), read(300, 1)], [(300, "fire")]),
        "gap 1 ms longer": Case(rule, [read(0, 1), read(180.001, 1), read(300.001, 1)], []),
        "late pages nobody": Case(at_once, [read(HOUR, 1, delay=601)], []),
        "late corrects": "how a switch stood then says nothing of now",
        "overtaken": Case(at_once, [read(HOUR + 60, 0), read(HOUR + 30, 1)], []),
        "no number": Case(at_once, [read(HOUR, nan), read(HOUR + 60, inf)], []),
        "counter reset": NO_COUNTER,
        "first ever": Case(at_once, [read(HOUR, 1)], [(HOUR, "fire")]),
    }
