"""The shape of a device kind: what it measures, what it reports, what it can be told, and how it lives a day."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from services.domain.metering import Register
from services.domain.vocabulary import Label


class MetricType(StrEnum):
    """How a metric's numbers behave."""

    GAUGE = "gauge"
    """A level at an instant; averages make sense."""
    COUNTER = "counter"
    """Only grows, except at reset, rollover or meter swap; its differences make sense."""
    SWITCH = "switch"
    """0 or 1; `true`/`false` on the wire."""
    STATE = "state"
    """One of `options`; its index is stored, its name may be sent."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One number a device sends. A value outside [low, high] is physically impossible and is quarantined."""

    name: str
    unit: str
    label: Label
    low: float
    high: float
    type: MetricType = MetricType.GAUGE
    options: tuple[str, ...] = ()
    health: bool = False
    """Sensitive personal information: shown only where the role and the purpose allow."""
    on_change: tuple[str, str] | None = None
    """Of a switch: the events its device reports, beside the reading, when it falls to 0 and when it rises to 1."""
    register: Register | None = None
    """Of a counter: how it can move."""


@dataclass(frozen=True, slots=True)
class EventType:
    """Something a device reports once, as it happens. `fields` names what its data may carry."""

    name: str
    label: Label
    fields: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Shows:
    """A reading that proves that a command was carried out: the metric within [low, high]. `param`: within 5 of what
    this parameter of the command asked for."""

    metric: str
    low: float = 0.0
    high: float = 0.0
    param: str | None = None


@dataclass(frozen=True, slots=True)
class Happens:
    """An event that proves it: the device reports it with the command's id as `command` in its data."""

    event: str


@dataclass(frozen=True, slots=True)
class CommandType:
    """Something a device can be told. A dangerous one needs a second approver or a pre-approved plan.

    `lives_s`: how long after its release it may still be carried out. `proof` None: the device's word has to do.
    `calls`: it warns people (sirens, loudspeakers), so in an emergency it may go out before anybody approves it.
    """

    name: str
    label: Label
    dangerous: bool = False
    params: tuple[str, ...] = ()
    lives_s: int = 60
    proof: Shows | Happens | None = None
    calls: bool = False


@dataclass(frozen=True, slots=True)
class Moment:
    """What surrounds a simulated device at one instant."""

    ts_ms: int
    dt_s: float
    """Seconds since this device's previous reading; 0 at its first."""
    hour: float
    """Local time of day, 0 ≤ hour < 24."""
    day_of_year: int
    weekend: bool
    sun: float
    """Clear-sky irradiance as a share of its maximum, 0 at night, already dimmed by cloud."""
    outdoor_c: float
    home: float
    """Share of the household's people who are at home now, 0 to 1 (1 for a device of no household)."""
    residents: int = 2
    scale: float = 1.0
    """How large this device's thing is: flats behind a meter, roof area of a PV plant relative to its default."""
    forced: Mapping[str, float] = field(default_factory=dict)
    """Metrics fixed from outside (a story, a replayed real series); they win over the profile's own."""
    tags: frozenset[str] = frozenset()
    """Tags of the device and of its household's people: nobody parks in a healthy fire lane, elders rise early."""
    latitude: float = 0.0
    longitude: float = 0.0
    """Where the device is at home, degrees (WGS 84); those that move, move around it."""


Memory = dict[str, float]
"""What a simulated device remembers between readings (its counters, its fill level)."""

Profile = Callable[[Memory, Moment, random.Random], dict[str, float]]
"""One believable reading; may change the memory it was handed, nothing else."""


@dataclass(frozen=True, slots=True)
class DeviceKind:
    """One kind of device, whole: everything else in the product that lists kinds reads this.

    The order of `metrics` is the order of the stored array: append at the end only, never reorder.
    """

    name: str
    label: Label
    system: str
    """The system of the community it serves, S1 to S28."""
    metrics: tuple[Metric, ...]
    events: tuple[EventType, ...]
    commands: tuple[CommandType, ...]
    interval_s: int
    """Seconds between two reports of a healthy device (telemetry, or the heartbeat where it has none)."""
    profile: Profile

    def position(self, metric: str) -> int | None:
        """Where the metric stands in the stored array; None where this kind has no such metric."""
        for index, known in enumerate(self.metrics):
            if known.name == metric:
                return index
        return None
