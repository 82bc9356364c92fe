"""What the core decides, as data: the worker writes it, a backtest only counts it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from services.domain.ids import AlertId, DeviceNo, RuleId
from services.domain.rules.evaluation import State
from services.domain.vocabulary import Label, Severity, Team


@dataclass(frozen=True, slots=True)
class Raise:
    """A new alert, whole. `joins`: the open alert (family, subject) whose order it is worked on in, if not its own.

    `absorbs`: alerts on parts of the same trouble, whose orders nobody has accepted yet are merged into this one's.
    """

    id: AlertId
    community_id: str
    rule_id: RuleId
    rule_version: int
    family: str
    subject: str
    device_no: DeviceNo | None
    device_id: str | None
    building_id: str | None
    grid_id: str | None
    kind: str
    severity: Severity
    team: Team
    life_safety: bool
    opens_order: bool
    title: Label
    why: Label
    place: str
    x: float | None
    y: float | None
    onset_ms: int
    last_ms: int
    fired_ms: int
    trigger: Mapping[str, Any]
    correlation: str
    joins: tuple[str, str] | None = None
    absorbs: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Repeat:
    """The open alert came again, or a rule of its family joined it. `worse`: its new severity, if that rose.

    `counts` False: the same message set off a second rule of the family, which is not a second occurrence.
    """

    alert: Raise
    """As the rule that spoke would have raised it; `alert.id` is the open one's."""
    active_rules: tuple[RuleId, ...]
    worse: Severity | None = None
    counts: bool = True


@dataclass(frozen=True, slots=True)
class Recover:
    """Back across the limit, but not yet for long enough. The alert is still open."""

    id: AlertId
    severity: Severity
    at_ms: int
    correlation: str


@dataclass(frozen=True, slots=True)
class Clear:
    """No rule of the family holds any more. `active_rules` not empty: some still do, and the alert stays open."""

    id: AlertId
    severity: Severity
    at_ms: int
    correlation: str
    active_rules: tuple[RuleId, ...] = ()


@dataclass(frozen=True, slots=True)
class Presence:
    """A device was concluded to be offline, or is back. `at_ms` is the server's time it was last heard."""

    device_no: DeviceNo
    device_id: str
    community_id: str
    online: bool
    at_ms: int
    correlation: str


Decision = Raise | Repeat | Recover | Clear | Presence


@dataclass(slots=True)
class OpenAlert:
    """What the core knows of an alert that is open."""

    id: AlertId
    family: str
    subject: str
    severity: Severity
    state: str
    active: list[RuleId]
    correlation: str
    onset_ms: int


@dataclass(frozen=True, slots=True)
class StateChange:
    rule_id: RuleId
    subject: str
    state: State


@dataclass(frozen=True, slots=True)
class Decided:
    """Everything one turn of the core came to, to be committed as one."""

    decisions: tuple[Decision, ...]
    states: tuple[StateChange, ...]
