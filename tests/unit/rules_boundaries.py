"""The boundaries of every rule kind, as a table: what comes in, what the rule must say and when (seconds since 08:00).

A kind has a case for each boundary, or a sentence that says why it has no such boundary. Every case is run as it
stands, with the engine dying after every step, and with every item told twice: it must say the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf, nan
from typing import Any

from services.domain.ids import DeviceNo
from services.domain.rules.evaluation import Clock, Flood, Gathered, Item, Lag
from services.domain.rules.parameters import (
    AbsenceParameters,
    Aggregate,
    ClockParameters,
    Compare,
    ConsumptionParameters,
    CorrelationParameters,
    DelayParameters,
    EventParameters,
    FloodParameters,
    GatheringParameters,
    NOfMParameters,
    OfflineParameters,
    Parameters,
    RateParameters,
    SequenceParameters,
    SilenceParameters,
    ThresholdParameters,
    WindowParameters,
)
from tests.unit.rules_support import NO, Said, at, event, offline, online, read

BOUNDARIES = (
    "long enough",
    "1 ms too short",
    "hysteresis holds",
    "hysteresis lets go",
    "window's edge inside",
    "window's edge 1 ms outside",
    "gap of three intervals",
    "gap 1 ms longer",
    "late pages nobody",
    "late corrects",
    "overtaken",
    "no number",
    "counter reset",
    "first ever",
)


@dataclass(frozen=True)
class Case:
    rule: Parameters
    items: list[Item]
    says: Said
    until_s: float = 0.0
    facts: dict[str, Any] = field(default_factory=dict)


Table = dict[str, Case | str]
MIN, HOUR = 60, 3600
MOST, LEAST = Compare.AT_MOST, Compare.AT_LEAST
NO_COUNTER = "it does not look at counters"
NO_NUMBER = "it looks at no values"
NO_LIMITS = "it has no limits that differ"
NO_WINDOW = "it has no window"
NO_GAP = "it is not about telemetry, which alone comes at intervals"


def minutes(value: float, start: int, end: int) -> list[Item]:
    """One reading a minute, both ends included."""
    return [read(minute * MIN, value) for minute in range(start, end + 1)]


def threshold() -> Table:
    at_once = ThresholdParameters("v", LEAST, 10, clear_limit=5)
    rule = ThresholdParameters("v", LEAST, 10, for_s=300)
    return {
        "long enough": Case(rule, minutes(10, 0, 5), [(300, "fire")]),
        "1 ms too short": Case(rule, [*minutes(10, 0, 4), read(299.999, 10)], []),
        "hysteresis holds": Case(at_once, [read(0, 10), read(60, 5.001)], [(0, "fire")]),
        "hysteresis lets go": Case(at_once, [read(0, 10), read(60, 5)], [(0, "fire"), (60, "clear")]),
        "window's edge inside": NO_WINDOW,
        "window's edge 1 ms outside": NO_WINDOW,
        "gap of three intervals": Case(rule, [read(0, 12), read(180, 12), read(300, 12)], [(300, "fire")]),
        "gap 1 ms longer": Case(rule, [read(0, 12), read(180.001, 12), read(300.001, 12)], []),
        "late pages nobody": Case(at_once, [read(0, 50, delay=600.001)], []),
        "late corrects": Case(
            rule, [*minutes(10, 0, 4), read(300, 1, delay=600.001), read(910, 10), read(970, 10)], []
        ),
        "overtaken": Case(at_once, [read(60, 1), read(30, 50)], []),
        "no number": Case(at_once, [read(0, nan), read(60, inf), read(120, -inf), read(180)], []),
        "counter reset": NO_COUNTER,
        "first ever": Case(at_once, [read(0, 10)], [(0, "fire")]),
    }


def n_of_m() -> Table:
    rule = NOfMParameters("v", LEAST, 10, n=2, m=3)
    return {
        "long enough": Case(rule, [read(0, 10), read(60, 1), read(120, 10)], [(120, "fire")]),
        "1 ms too short": Case(rule, [read(0, 10), read(60, 1), read(120, 9.999)], []),
        "hysteresis holds": Case(rule, [read(0, 10), read(60, 10), read(120, 1)], [(60, "fire")]),
        "hysteresis lets go": Case(rule, [*minutes(10, 0, 1), *minutes(1, 2, 3)], [(60, "fire"), (180, "clear")]),
        "window's edge inside": Case(rule, [read(0, 10), read(60, 1), read(120, 10)], [(120, "fire")]),
        "window's edge 1 ms outside": Case(rule, [read(0, 10), *minutes(1, 1, 2), read(180, 10)], []),
        "gap of three intervals": Case(rule, [read(0, 10), read(180, 10)], [(180, "fire")]),
        "gap 1 ms longer": Case(rule, [read(0, 10), read(180.001, 10)], []),
        "late pages nobody": Case(rule, [read(0, 10), read(60, 10, delay=600.001)], []),
        # the two before the hole are not known any more, so one of the last three may still be bad
        "late corrects": Case(
            rule, [*minutes(10, 0, 1), read(120, 1, delay=601), read(780, 10), read(840, 1)], [(60, "fire")]
        ),
        "overtaken": Case(rule, [read(60, 10), read(30, 10)], []),
        "no number": Case(rule, [read(0, nan), read(60, inf), read(120)], []),
        "counter reset": NO_COUNTER,
        "first ever": Case(rule, [read(0, 99)], []),
    }


def consumption() -> Table:
    hour = ConsumptionParameters("v", HOUR, MOST, 1)
    over = ConsumptionParameters("v", HOUR, LEAST, 10)
    swapped = [*minutes(500, 0, 30), *minutes(37, 31, 61)]
    return {
        "long enough": Case(hour, minutes(5, 0, 60), [(3600, "fire")]),
        "1 ms too short": Case(hour, [*minutes(5, 0, 59), read(3599.999, 5)], []),
        "hysteresis holds": "fires and clears at one limit, each only where nothing is in doubt",
        "hysteresis lets go": Case(hour, [*minutes(5, 0, 60), read(3660, 6.001)], [(3600, "fire"), (3660, "clear")]),
        "window's edge inside": Case(over, [*minutes(0, 0, 1), *minutes(10, 2, 61)], [(3600, "fire")], 0),
        "window's edge 1 ms outside": Case(
            over, [read(0, 0), read(0.999, 10), *minutes(10, 1, 59), read(3601, 10)], []
        ),
        "gap of three intervals": Case(
            hour, [*minutes(5, 0, 30), read(33 * MIN, 5), *minutes(5, 34, 60)], [(3600, "fire")]
        ),
        "gap 1 ms longer": Case(hour, [*minutes(5, 0, 30), read(33 * MIN + 0.001, 5), *minutes(5, 34, 60)], []),
        "late pages nobody": Case(hour, [*minutes(5, 0, 59), read(3600, 5, delay=601)], []),
        "late corrects": Case(
            hour,
            [
                *minutes(5, 0, 49),
                *(read(m * MIN, 5, delay=(60 - m) * MIN + 0.5) for m in range(50, 60)),
                read(3600, 5, delay=1),
            ],
            [(3600, "fire")],
        ),
        "overtaken": Case(hour, [*minutes(5, 0, 59), read(3599, 5), read(3590, 99), read(3600, 5)], [(3600, "fire")]),
        "no number": Case(hour, [*minutes(5, 0, 59), read(3600, nan), read(3610, inf)], []),
        "counter reset": Case(over, swapped, []),
        "first ever": Case(over, [read(0, 99)], []),
    }


def rate() -> Table:
    rule = RateParameters("v", LEAST, 10, 300, clear_for_s=120)
    climb = [read(0, 0), *(read(m * MIN, 5) for m in range(1, 5))]
    flat = [read(m * MIN, 20) for m in range(1, 10)]
    return {
        # steady for the whole window from 06:00 on, and for two minutes after that
        "long enough": Case(rule, [read(0, 0), *flat[:8]], [(60, "fire"), (360, "recover"), (480, "clear")]),
        "1 ms too short": Case(rule, [read(0, 0), *flat[:7], read(479.999, 20)], [(60, "fire"), (360, "recover")]),
        "hysteresis holds": Case(rule, [read(0, 0), read(60, 10), read(120, 9)], [(60, "fire")]),
        "hysteresis lets go": Case(
            rule,
            [read(0, 0), *flat[:6], read(420, 30)],
            [(60, "fire"), (360, "recover"), (420, "repeat")],
        ),
        "window's edge inside": Case(rule, [*climb, read(300, 10)], [(300, "fire")]),
        "window's edge 1 ms outside": Case(rule, [*climb, read(300.001, 10)], []),
        "gap of three intervals": Case(rule, [read(0, 0), read(180, 10)], [(180, "fire")]),
        "gap 1 ms longer": Case(rule, [read(0, 0), read(180.001, 10)], []),
        "late pages nobody": Case(rule, [read(0, 0), read(60, 50, delay=600.001)], []),
        "late corrects": Case(
            rule,
            [read(m * MIN, 0, delay=(12 - m) * MIN) for m in range(2)] + [read(720, 50), read(780, 50)],
            [],
        ),
        "overtaken": Case(rule, [read(60, 20), read(30, 0), read(120, 20)], []),
        "no number": Case(rule, [read(0, 0), read(60, nan), read(120, inf), read(180)], []),
        "counter reset": Case(rule, [read(0, 9000), read(60, 9003), read(120, 2), read(180, 5)], []),
        "first ever": Case(rule, [read(0, 9000)], []),
    }


def window() -> Table:
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
            [*minutes(1, 0, 1), *(read(m * MIN, 1, delay=(13 - m) * MIN) for m in (2, 3)), *minutes(1, 13, 13)],
            [],
        ),
        "overtaken": Case(total, [*minutes(0, 0, 9), read(570, 99), read(600, 0)], []),
        "no number": Case(total, [*minutes(0, 0, 9), read(600, nan), read(601, inf), read(602)], []),
        "counter reset": "consumption of a counter is a kind of its own",
        "first ever": Case(highest, [read(0, 99)], []),
    }


def silence() -> Table:
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


def sequence() -> Table:
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


def gathering() -> Table:
    rule = GatheringParameters("*.offline", 3, "gateway", window_s=600)

    def moved(seconds: float, *rises: float) -> Item:
        return Gathered(NO, at(seconds), at(seconds), [at(rise) for rise in rises])

    return {
        "long enough": Case(rule, [moved(0, 0), moved(1, 0, 1), moved(2, 0, 1, 2)], [(2, "fire")]),
        "1 ms too short": "it lasts no time: it counts",
        "hysteresis holds": Case(rule, [moved(2, 0, 1, 2), moved(5, 0, 1, 2, 5), moved(6, 1, 2, 5)], [(2, "fire")]),
        "hysteresis lets go": Case(rule, [moved(2, 0, 1, 2), moved(5, 0, 2)], [(2, "fire"), (5, "clear")], 10),
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


def single_event() -> Table:
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


def correlation() -> Table:
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


def absence() -> Table:
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


def offline_rule() -> Table:
    rule = OfflineParameters()
    heard = [read(0, 1)]
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


def clock() -> Table:
    rule = ClockParameters(300)

    def ahead(seconds: float, by: float) -> Item:
        return Clock(NO, at(seconds + by), at(seconds), round(by * 1000))

    return {
        "long enough": "it lasts no time",
        "1 ms too short": "it lasts no time",
        "hysteresis holds": Case(rule, [ahead(0, 301), read(0, 1, delay=300.001)], [(0, "fire")]),
        "hysteresis lets go": Case(rule, [ahead(0, 301), read(0, 1, delay=300)], [(0, "fire"), (300, "clear")]),
        "window's edge inside": Case(rule, [ahead(0, 300.001)], [(0, "fire")]),
        "window's edge 1 ms outside": Case(rule, [ahead(0, 300)], []),
        "gap of three intervals": NO_GAP,
        "gap 1 ms longer": NO_GAP,
        "late pages nobody": Case(rule, [read(0, 1, delay=9000)], []),
        "late corrects": "what is late proves nothing of the clock",
        "overtaken": Case(rule, [ahead(10, 400), read(5, 1, delay=5)], [(10, "fire")]),
        "no number": NO_NUMBER,
        "counter reset": NO_COUNTER,
        "first ever": Case(rule, [ahead(0, -301)], [(0, "fire")]),
    }


def flood() -> Table:
    rule = FloodParameters(300)

    def refused(seconds: float) -> Item:
        return Flood(NO, at(seconds), at(seconds), 9)

    return {
        "long enough": Case(rule, [refused(0)], [(0, "fire"), (300, "clear")], 300),
        "1 ms too short": Case(rule, [refused(0)], [(0, "fire")], 299.999),
        "hysteresis holds": Case(rule, [refused(0), refused(299)], [(0, "fire")], 598),
        "hysteresis lets go": NO_LIMITS,
        "window's edge inside": NO_WINDOW,
        "window's edge 1 ms outside": NO_WINDOW,
        "gap of three intervals": NO_GAP,
        "gap 1 ms longer": NO_GAP,
        "late pages nobody": "it goes by the server's time alone",
        "late corrects": "it goes by the server's time alone",
        "overtaken": "the server's own items overtake each other nowhere",
        "no number": NO_NUMBER,
        "counter reset": NO_COUNTER,
        "first ever": Case(rule, [refused(0)], [(0, "fire")]),
    }


TABLES: dict[type, Table] = {
    ThresholdParameters: threshold(),
    NOfMParameters: n_of_m(),
    ConsumptionParameters: consumption(),
    RateParameters: rate(),
    WindowParameters: window(),
    SilenceParameters: silence(),
    SequenceParameters: sequence(),
    GatheringParameters: gathering(),
    EventParameters: single_event(),
    CorrelationParameters: correlation(),
    AbsenceParameters: absence(),
    OfflineParameters: offline_rule(),
    ClockParameters: clock(),
    FloodParameters: flood(),
}
