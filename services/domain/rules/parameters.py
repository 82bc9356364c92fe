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
    max_per_h: float | None = None
    """More than the register can move in an hour: a reading beyond it is not believed until the next bears it out."""


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


@dataclass(frozen=True, slots=True)
class RateParameters:
    """Fires when the metric changes by `limit` or more within `within_s` (`>=` rises, `<=` falls: a negative limit)."""

    metric: str
    compare: Compare
    limit: float
    within_s: float
    clear_for_s: float = 0.0
    """Over when no such change was seen for this long."""

    def __post_init__(self) -> None:
        if self.within_s <= 0:
            raise ValueError("within_s must be above zero")
        if self.limit == 0 or (self.limit > 0) is not (self.compare is Compare.AT_LEAST):
            raise ValueError("limit must be above zero with >= (a rise) and below zero with <= (a fall)")


class Aggregate(StrEnum):
    """What is made of the values of a window."""

    SUM = "sum"
    MEAN = "mean"
    """Weighted by time: each value stands until the next."""
    MIN = "min"
    MAX = "max"
    RANGE = "range"
    COUNT = "count"


@dataclass(frozen=True, slots=True)
class WindowParameters:
    """Fires when an aggregate over the trailing `window_s` of event time stands at or past the limit.

    A window with a hole of more than three intervals in it is not known. Consumption of a counter is a kind of its own.
    """

    metric: str
    aggregate: Aggregate
    window_s: float
    compare: Compare
    limit: float
    clear_limit: float | None = None

    def __post_init__(self) -> None:
        if self.window_s <= 0:
            raise ValueError("window_s must be above zero")


@dataclass(frozen=True, slots=True)
class SilenceParameters:
    """Fires when a metric has not been sent for `for_s` although the device sends telemetry: a broken sensor."""

    metric: str
    for_s: float

    def __post_init__(self) -> None:
        if self.for_s <= 0:
            raise ValueError("for_s must be above zero")


@dataclass(frozen=True, slots=True)
class SequenceParameters:
    """Fires when `event` is not followed by `then` on the same device within `within_s`; cleared by `then`."""

    event: str
    then: str
    within_s: float

    def __post_init__(self) -> None:
        if self.event == self.then:
            raise ValueError("event and then must be two events")
        if self.within_s < 0:
            raise ValueError("within_s must not be below zero")


PLACES = ("gateway", "building", "grid", "community")


@dataclass(frozen=True, slots=True)
class GatheringParameters:
    """Fires once per place when `count` different devices there have an open alert of `rule` at the same time (many
    offline behind one gateway, several flooded manholes of one 网格)."""

    rule: str
    """Pattern over rule ids and families (`*.offline`), of whatever device kind."""
    count: int
    within: str
    """gateway | building | grid | community"""
    window_s: float = 0.0
    """Only alerts that began within this long of each other count, so that what broke one by one over months is no
    common trouble; 0: however far apart."""

    def __post_init__(self) -> None:
        if self.count < 2:
            raise ValueError("count must be at least 2")
        if self.within not in PLACES:
            raise ValueError(f"within must be one of {', '.join(PLACES)}")
        if self.window_s < 0:
            raise ValueError("window_s must not be below zero")


class Edge(StrEnum):
    ENTER = "enter"
    EXIT = "exit"
    DWELL = "dwell"


@dataclass(frozen=True, slots=True)
class GeofenceParameters:
    """Fires when the device's position enters, leaves, or stays within (or outside, for EXIT) an area for `for_s`.

    `area`: polygon of (latitude, longitude) in degrees WGS 84, at least three corners, or one centre with `radius_m`.
    None: a circle of `radius_m` around the community. `margin_m`: hysteresis against the jitter of a position.
    """

    edge: Edge
    area: tuple[tuple[float, float], ...] = ()
    radius_m: float = 0.0
    for_s: float = 0.0
    margin_m: float = 20.0


@dataclass(frozen=True, slots=True)
class ScheduleParameters:
    """Fires when a switch or state does not stand as the timetable wants it for `for_s` (a lamp dark at night, a gate
    open after hours, a pump running on a rest day)."""

    metric: str
    expect: float
    days: str = "all"
    """As During.days."""
    from_hour: float = 0.0
    to_hour: float = 24.0
    daylight: bool | None = None
    for_s: float = 600.0


@dataclass(frozen=True, slots=True)
class BaselineParameters:
    """Fires when the metric stands `sigmas` robust deviations or more off what is usual for this device at this hour
    of the week, for `for_s`; learns from `min_weeks` on, before that it says nothing."""

    metric: str
    sigmas: float = 6.0
    direction: str = "both"
    """above | below | both"""
    min_weeks: int = 3
    floor: float = 0.0
    """Least deviation in the metric's unit that counts, so that a flat line does not make every twitch a surprise."""
    for_s: float = 0.0


@dataclass(frozen=True, slots=True)
class DelayParameters:
    """Fires for a community when its messages reach the rules later than `limit_s` after they were received."""

    limit_s: float = 60.0
    clear_s: float = 10.0


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
    | RateParameters
    | WindowParameters
    | SilenceParameters
    | SequenceParameters
    | GatheringParameters
    | GeofenceParameters
    | ScheduleParameters
    | BaselineParameters
    | DelayParameters
)
