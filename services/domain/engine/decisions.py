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
    held: tuple[str, ...] = ()
    """Why it sends nobody for now (words of `engine.hold`); it is raised, recorded and counted all the same."""
    shadow: bool = False
    """Of a rule on trial: sends nobody, ever."""
    group_key: str | None = None
    """Alerts with the same one are worked on in one order while nobody has arrived yet."""
    grouped: bool = False
    """An alert of its group that was sent is still open: it will most likely join that one's order."""
    cause: str = ""
    """The message or reading behind it, where several can share a device's time."""

    @property
    def sends(self) -> bool:
        """Whether an order, a notice or a plan goes out."""
        return not self.held and not self.shadow

    @property
    def opens(self) -> bool:
        """Whether a new order is opened, as far as can be told without knowing what people did with the last one."""
        return self.opens_order and self.sends and self.joins is None and not self.grouped


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
    held: tuple[str, ...] = ()
    """Not empty: it may join an order that is open, but opens none."""


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
    suppressed: tuple[str, ...] = ()
    """Why it never sent anybody, if it did not: it came and went while it was held back."""
    reason: str = ""
    """Why, where it was not the device that made it end: the rule was removed or changed."""


@dataclass(frozen=True, slots=True)
class Ease:
    """The graver rule of the family is over, a milder one still holds: the alert steps down to it. The order keeps
    its severity and its team, and hears of it."""

    id: AlertId
    rule_id: RuleId
    rule_version: int
    severity: Severity
    was: Severity
    title: Label
    why: Label
    at_ms: int
    correlation: str
    active_rules: tuple[RuleId, ...]


@dataclass(frozen=True, slots=True)
class Hold:
    """The reasons for holding an open alert back are others now; never empty."""

    id: AlertId
    held: tuple[str, ...]
    at_ms: int
    severity: Severity
    correlation: str


@dataclass(frozen=True, slots=True)
class Release:
    """The last reason is gone and the alert still stands: it is sent now. `alert` as it would be raised today."""

    alert: Raise
    was: tuple[str, ...]
    at_ms: int


@dataclass(frozen=True, slots=True)
class Asked:
    """People at home are asked whether all is well, until `until_ms`."""

    alert: Raise
    household_id: str
    until_ms: int


@dataclass(frozen=True, slots=True)
class Answered:
    """Somebody said how it is. Not `ok`: a Release follows unless something else holds it."""

    id: AlertId
    answer: int
    ok: bool
    by: str
    at_ms: int
    severity: Severity
    correlation: str


@dataclass(frozen=True, slots=True)
class Presence:
    """A device was concluded to be offline, or is back. `at_ms` is the server's time it was last heard."""

    device_no: DeviceNo
    device_id: str
    community_id: str
    online: bool
    at_ms: int
    correlation: str


Decision = Raise | Repeat | Recover | Clear | Ease | Hold | Release | Asked | Answered | Presence


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
    life_safety: bool = False
    shadow: bool = False
    cause: str = ""
    """Of its last occurrence."""

    @property
    def key(self) -> tuple[str, str]:
        """What there is one open alert of; one on trial does not stand in the way of a real one."""
        return shadowed(self.family) if self.shadow else self.family, self.subject


def shadowed(family: str) -> str:
    """The family under which alerts on trial are kept apart."""
    return f"~{family}"


@dataclass(frozen=True, slots=True)
class StateChange:
    rule_id: RuleId
    subject: str
    state: State
    shape: str = ""
    """Of the rule that left it; empty: unknown, taken as it is."""


@dataclass(frozen=True, slots=True)
class Decided:
    """Everything one turn of the core came to, to be committed as one."""

    decisions: tuple[Decision, ...]
    states: tuple[StateChange, ...]
