"""Boundaries of event rules."""

from __future__ import annotations

from services.domain.rules.parameters import EventParameters
from tests.unit.boundaries.table import NO_COUNTER, NO_GAP, NO_NUMBER, NO_WINDOW, Case, Table
from tests.unit.rules_support import event


def table() -> Table:
    rule = EventParameters("alarm", clear_after_s=300)
    ended = EventParameters("forced", clear_event="closed")
    return {
        "long enough": Case(rule, [event(0, "alarm")], [(0, "fire"), (300, "clear")], 300),
        "1 ms too short": Case(rule, [event(0, "alarm")], [(0, "fire")], 299.999),
        "hysteresis holds": Case(rule, [event(0, "alarm"), event(299, "alarm")], [(0, "fire"), (299, "repeat")], 598.9),
        "hysteresis lets go": Case(ended, [event(0, "forced"), event(9, "closed")], [(0, "fire"), (9, "clear")]),
        "window's edge inside": NO_WINDOW,
        "window's edge 1 ms outside": NO_WINDOW,
        "gap of three intervals": NO_GAP,
        "gap 1 ms longer": NO_GAP,
        "late pages nobody": Case(rule, [event(0, "alarm", delay=600.001)], [], 3600),
        "late corrects": Case(
            ended, [event(0, "forced"), event(9, "closed", delay=700)], [(0, "fire"), (9, "clear")], 9000
        ),
        "overtaken": Case(ended, [event(9, "closed"), event(5, "forced", delay=5)], [], 9000),
        "no number": NO_NUMBER,
        "counter reset": NO_COUNTER,
        "first ever": Case(rule, [event(0, "alarm")], [(0, "fire")]),
    }
