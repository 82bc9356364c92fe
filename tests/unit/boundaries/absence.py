"""Boundaries of absence rules."""

from __future__ import annotations

from services.domain.rules.parameters import AbsenceParameters
from tests.unit.boundaries.table import HOUR, NO_COUNTER, NO_LIMITS, NO_NUMBER, Case, Table
from tests.unit.rules_support import event, offline, online


def table() -> Table:
    rule = AbsenceParameters("opened", 9, 19)
    evening = 11 * HOUR
    return {
        "long enough": Case(rule, [], [(evening, "fire")], evening),
        "1 ms too short": Case(rule, [], [], evening - 0.001),
        "hysteresis holds": NO_LIMITS,
        "hysteresis lets go": Case(rule, [event(evening + 9, "opened")], [(evening, "fire"), (evening + 9, "clear")]),
        "window's edge inside": Case(rule, [event(HOUR, "opened")], [], evening),
        "window's edge 1 ms outside": Case(rule, [event(HOUR - 0.001, "opened")], [(evening, "fire")], evening),
        # unknown while it is offline; once it is back it has a minute for what it could not send
        "gap of three intervals": Case(
            rule, [offline(evening - 9), online(evening + 90)], [(evening, "fire")], evening + 150
        ),
        "gap 1 ms longer": Case(
            rule,
            [offline(evening - 9), online(evening + 90), event(evening - 5, "opened", delay=96)],
            [],
            evening + HOUR,
        ),
        "late pages nobody": Case(rule, [event(evening - 9000, "opened", delay=8990)], [], evening),
        "late corrects": Case(
            rule, [event(evening - 900, "opened", delay=960)], [(evening, "fire"), (evening - 900, "clear")]
        ),
        "overtaken": Case(rule, [event(7200, "opened"), event(10, "opened", delay=7200)], [], evening),
        "no number": NO_NUMBER,
        "counter reset": NO_COUNTER,
        "first ever": Case(AbsenceParameters("opened", 7, 19), [], [], evening),
    }
