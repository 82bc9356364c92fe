"""One thing that happens to a device of the year: a trouble, or a near miss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from services.domain.ids import DeviceNo, RuleId

MIN, HOUR, DAY = 60_000, 3_600_000, 86_400_000


@dataclass(frozen=True, slots=True)
class Told:
    """An event the device reports at `at_ms`, on the way for `delay_ms`; `number`: of a clock or flood note."""

    at_ms: int
    event: str
    delay_ms: int = 0
    number: int = 0


@dataclass(frozen=True, slots=True)
class Incident:
    """One thing that happens to one device. `real` False: a near miss, nothing may be said of it."""

    device_no: DeviceNo
    rule_id: RuleId
    family: str
    life_safety: bool
    real: bool
    from_ms: int
    to_ms: int
    forced: Mapping[str, float] = field(default_factory=dict)
    told: tuple[Told, ...] = ()
    others: tuple[tuple[DeviceNo, Told], ...] = ()
    """What neighbours report (two smoke detectors of one building)."""
    silent: bool = False
    will: bool = False
    """Silent with a last will, as a connection that broke; without one the power is gone behind a gateway."""
    subject: str = ""
    """Of the alert; empty: the device."""
    raised: Mapping[str, float] = field(default_factory=dict)
    """Added to what the metric was last."""
    dropped: frozenset[str] = frozenset()
    """Metrics that are not sent."""
    silent_too: tuple[DeviceNo, ...] = ()
    away: bool = False
    """The household has set its away switch."""
