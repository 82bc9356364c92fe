"""Boundaries of sequence rules."""

from __future__ import annotations

from services.domain.rules.parameters import SequenceParameters
from tests.unit.boundaries.table import NO_COUNTER, NO_NUMBER, Case, Table
from tests.unit.rules_support import event, offline, online


def table() -> Table:
    rule = SequenceParameters("opened", "closed", 60)
    opened = event(0, "opened")
    return {
        "long enough": Case(rule, [opened], [(60.001, "fire")], 61),
        "1 ms too short": Case(rule, [opened], [], 60),
        "hysteresis holds": Case(rule, [opened, event(70, "opened")], [(60.001, "fire")], 300),
        "hysteresis lets go": Case(rule, [opened, event(70, "closed")], [(60.001, "fire"), (70, "clear")], 300),
        "window's edge inside": Case(rule, [opened, event(60, "closed")], [], 300),
        "window's edge 1 ms outside": Case(
            rule, [opened, event(60.002, "closed")], [(60.001, "fire"), (60.002, "clear")], 300
        ),
        # it is not telemetry, but a device that was away may have said what nobody heard: the time begins anew
        "gap of three intervals": Case(rule, [opened, offline(30), online(50)], [(110.001, "fire")], 300),
        "gap 1 ms longer": Case(rule, [opened, offline(30)], [], 3600),
        "late pages nobody": Case(rule, [event(0, "opened", delay=600.001)], [], 3600),
        "late corrects": Case(rule, [opened, event(30, "closed", delay=700)], [(60.001, "fire"), (30, "clear")], 3600),
        "overtaken": Case(rule, [event(10, "closed"), event(5, "opened", delay=6)], [], 300),
        "no number": NO_NUMBER,
        "counter reset": NO_COUNTER,
        "first ever": Case(rule, [event(0, "closed")], [], 7200),
    }
