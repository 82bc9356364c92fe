"""Parameters of every rule kind. Each kind's behaviour lives in the file of its name beside this one."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Compare(StrEnum):
    """Direction of a limit; both include the limit itself."""

    AT_LEAST = ">="
    AT_MOST = "<="


@dataclass(frozen=True, slots=True)
class EventParameters:
    """Fires at once when the device reports the event; clears `clear_after_s` after the last repeat.

    With `clear_event`, that event clears it instead (forced door → closed).
    """

    event: str
    clear_after_s: float = 300.0
    clear_event: str | None = None


@dataclass(frozen=True, slots=True)
class ThresholdParameters:
    """Fires when the metric has stood at or past `limit` for `for_s`; clears at or past `clear_limit`."""

    metric: str
    compare: Compare
    limit: float
    for_s: float = 0.0
    clear_limit: float | None = None
    """Where it counts as over (hysteresis); None: just back across the limit."""
    clear_for_s: float = 0.0
    daylight: bool | None = None
    """True: only while the sun is up; False: only while it is down; None: always."""
    guard_metric: str | None = None
    """Counts only while this metric of the same device is at or above `guard_at_least`."""
    guard_at_least: float = 1.0


@dataclass(frozen=True, slots=True)
class OfflineParameters:
    """Fires when nothing has come for `missed` intervals, or the broker reported the last will.

    A device behind an offline gateway is not reported: its gateway is.
    """

    missed: int = 3


@dataclass(frozen=True, slots=True)
class NOfMParameters:
    """Fires when `n` of the last `m` readings stand at or past the limit; clears when fewer than `n` do."""

    metric: str
    compare: Compare
    limit: float
    n: int = 2
    m: int = 3
    and_compare: Compare | None = None
    """With `and_limit`, the far side of a band (111 to 130)."""
    and_limit: float | None = None


@dataclass(frozen=True, slots=True)
class ConsumptionParameters:
    """Fires on a counter's consumption over a trailing window of event time; needs the whole window observed."""

    metric: str
    window_s: float
    compare: Compare
    limit: float
    every_s: float | None = None
    """With this, fires only if every slice of the window meets the limit (use in every half-hour of a day)."""


@dataclass(frozen=True, slots=True)
class AbsenceParameters:
    """Fires when the event did not happen between two local times of day while the device was online."""

    event: str
    from_hour: float
    to_hour: float


@dataclass(frozen=True, slots=True)
class CorrelationParameters:
    """Fires once per building when `count` different devices report the event within `window_s`."""

    event: str
    count: int
    window_s: float


@dataclass(frozen=True, slots=True)
class ClockParameters:
    """Fires when the device's clock is off by more than `limit_s` against the receiving server."""

    limit_s: float = 300.0


@dataclass(frozen=True, slots=True)
class FloodParameters:
    """Fires when messages of the device are refused for being too many, clears `clear_after_s` after the last."""

    clear_after_s: float = 300.0


Parameters = (
    EventParameters
    | ThresholdParameters
    | OfflineParameters
    | NOfMParameters
    | ConsumptionParameters
    | AbsenceParameters
    | CorrelationParameters
    | ClockParameters
    | FloodParameters
)
