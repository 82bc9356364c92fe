"""What every rule kind is handed and what it gives back: items of the log, facts, signals, outcomes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from zoneinfo import ZoneInfo

from services.domain.ids import DeviceNo
from services.domain.vocabulary import Label

if TYPE_CHECKING:
    from services.domain.devices.kind import DeviceKind


@dataclass(frozen=True, slots=True)
class Reading:
    """One row of telemetry. `late`: it took too long to arrive to page anybody."""

    device_no: DeviceNo
    ts_ms: int
    received_ms: int
    values: Sequence[float | None]
    positions: Mapping[str, int]
    late: bool = False

    def value(self, metric: str) -> float | None:
        """None where this reading does not carry the metric, or carries what is no number."""
        position = self.positions.get(metric)
        if position is None or position >= len(self.values):
            return None
        value = self.values[position]
        return value if value is not None and math.isfinite(value) else None


@dataclass(frozen=True, slots=True)
class Event:
    """Something a device reported once."""

    device_no: DeviceNo
    ts_ms: int
    received_ms: int
    event: str
    data: Mapping[str, Any] = field(default_factory=dict)
    late: bool = False
    id: str = ""
    """Its sender's name for the message; empty where it gave none."""


@dataclass(frozen=True, slots=True)
class Status:
    """The device connected, or its last will was published. The will's `ts_ms` is that of the connection."""

    device_no: DeviceNo
    ts_ms: int
    received_ms: int
    online: bool
    session: int = 0


@dataclass(frozen=True, slots=True)
class Clock:
    """A message too far in the future to be stored: the device's clock is ahead by `offset_ms`."""

    device_no: DeviceNo
    ts_ms: int
    received_ms: int
    offset_ms: int


@dataclass(frozen=True, slots=True)
class Flood:
    """A publisher was over its rate: `count` of its messages were refused since the last time it was noted."""

    device_no: DeviceNo
    ts_ms: int
    received_ms: int
    count: int


@dataclass(frozen=True, slots=True)
class Reply:
    """A device's answer to a command: to the rules, a sign of life. A gateway answers for those behind it."""

    device_no: DeviceNo
    ts_ms: int
    received_ms: int
    command_id: str = ""
    ok: bool = True
    detail: str = ""
    done: bool = True


@dataclass(frozen=True, slots=True)
class Gathered:
    """An alert of a device in a place was raised or ended. `received_ms`: when that was decided, server time.

    `rises`: since when the devices there that a gathering rule counts have theirs open, in order, epoch ms. The engine
    owns the list and goes on changing it.
    """

    device_no: DeviceNo
    ts_ms: int
    received_ms: int
    rises: Sequence[int]


@dataclass(frozen=True, slots=True)
class Lag:
    """How long messages lay between their receipt and the rules, as the engine found at `received_ms`, server time."""

    device_no: DeviceNo
    """Of nobody: 0. It is about the platform."""
    ts_ms: int
    received_ms: int
    delay_ms: int


Item = Reading | Event | Status | Clock | Flood | Reply | Gathered | Lag


@dataclass(slots=True)
class Line:
    """The way from the devices of one partition to the log; `heard_ms` is when anything last came through."""

    heard_ms: int = 0
    since_ms: int = 0
    """Since when somebody has been listening without a break; what was silent before may have spoken to nobody."""
    settle_ms: int = 60 * 60_000
    """Silence counts anew from `since_ms`, for so long at most: whatever was down with us is not blamed for it, and
    a button that reports twice a day is still missed on time however often we restart."""


@dataclass(slots=True)
class Facts:
    """What is known of a rule's subject apart from the item at hand. The engine keeps it; rule kinds only read it."""

    interval_ms: int
    latitude: float = 0.0
    longitude: float = 0.0
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("Asia/Shanghai"))
    away_until_ms: int | None = None
    seen_ms: int | None = None
    """When the server last received anything of the device; None: never yet."""
    made_ms: int = 0
    """The device's own time of its newest telemetry."""
    session: int = 0
    online: bool = False
    online_since_ms: int = 0
    gateway: Facts | None = None
    line: Line = field(default_factory=Line)


State = dict[str, Any] | None
"""What a rule remembers of one subject, JSON as it stands; None while there is nothing to remember."""


class What(StrEnum):
    """What a rule says about its subject."""

    FIRE = "fire"
    REPEAT = "repeat"
    RECOVER = "recover"
    CLEAR = "clear"
    OFFLINE = "offline"
    ONLINE = "online"


@dataclass(frozen=True, slots=True)
class Signal:
    """`ts_ms` is the device's own time of the item that decided; `onset_ms` that of the one that began it."""

    what: What
    ts_ms: int
    onset_ms: int
    value: float | None = None
    data: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """`due_ms`: ask again by `tick` at this server time; None: not before the next item."""

    state: State
    signals: tuple[Signal, ...] = ()
    due_ms: int | None = None


NOTHING = Outcome(None)

P = TypeVar("P")
Step = Callable[[P, State, Item, Facts, int], Outcome]
Tick = Callable[[P, State, Facts, int], Outcome]


@dataclass(frozen=True, slots=True)
class RuleKind(Generic[P]):
    """One kind of rule: pure functions of (parameters, state, item, facts, now in epoch ms).

    `reads`: items that can change a subject at rest. `reads_active`: items that matter only while there is a state.
    `starts`: a subject is given one `tick` when the rule first meets it, to set its clock.
    `per_building`: the subject is the device's building, not the device.
    `place`: the subject is a place of the device of this sort: gateway, building, grid or community.
    `rests`: (metric, low, high) such that `step` of a reading comes to nothing for a subject without a state while
    the metric is not sent or lies strictly between; None: every reading is to be seen. `rests_only_if_sent`: a reading
    without the metric is to be seen too.
    """

    parameters: type[P]
    step: Step[P]
    tick: Tick[P]
    reads: tuple[type, ...]
    reads_active: tuple[type, ...] = ()
    starts: bool = False
    per_building: bool = False
    place: Callable[[P], str] | None = None
    rests: Callable[[P], tuple[str, float, float]] | None = None
    rests_only_if_sent: bool = False
    reason: Callable[[DeviceKind, P, Signal], Label] | None = None
    """The sentence that says why; None: it stands in `reasons`."""
    observes: Callable[[dict[str, Any]], State] | None = None
    """For a kind whose memory is knowledge (a baseline, a window) and not only what is pending: it is called also while
    the rule does not count, and this takes from a state what is pending or fired. None: the memory is dropped then."""


OVERTAKEN_MS = 60 * 60_000
"""How long a rule remembers what is over, lest something older that comes after it begin it again. No event is waited
for longer than this, not even a call for help: what is older yet pages nobody anyhow."""
GAP_INTERVALS = 3
"""A hole longer than this many reporting intervals is not bridged: what stood before it is no longer known."""


def short_of(compare: str, limit: float) -> tuple[float, float]:
    """The open interval of values that are not past the limit."""
    return (-math.inf, limit) if compare == ">=" else (limit, math.inf)


def past(compare: str, value: float, limit: float) -> bool:
    """Both directions include the limit itself."""
    return value >= limit if compare == ">=" else value <= limit
