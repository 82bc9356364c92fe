"""What a table of boundaries is: what comes in, what the rule must say and when (seconds since 08:00 in Shanghai).

Each kind has its table in the file of its name beside this one: a case for each boundary, or a sentence that says why
it has no such boundary. Every case is run as it stands, with the engine dying after every step, and with every item
told twice: it must say the same.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from services.domain.rules.evaluation import Item
from services.domain.rules.parameters import Compare, Parameters
from tests.unit.rules_support import Said, read

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
