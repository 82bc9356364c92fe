"""A linkage plan (预案): what sets it off, and what is done then, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from fnmatch import fnmatchcase

from services.domain.rules.rule import Scope
from services.domain.vocabulary import Label, Role, Severity, Team


class Reach(StrEnum):
    """Which devices of a kind are meant, seen from the device that raised the alert."""

    TRIGGER = "trigger"
    HOUSEHOLD = "household"
    UNIT = "unit"
    BUILDING = "building"
    GRID = "grid"
    COMMUNITY = "community"


class People(StrEnum):
    """Groups of people, seen from the alert."""

    WEARER = "wearer"
    FAMILY = "family"
    """The household of the device, without who wears it."""
    HOUSEHOLD = "household"
    NEIGHBOURS = "neighbours"
    """Other households of the same floor and unit."""
    UNIT = "unit"
    BUILDING = "building"


class Then(StrEnum):
    """What becomes of the run where a step failed or ran out of time."""

    GO_ON = "go_on"
    STOP = "stop"
    """Steps that have not begun are left out."""
    ESCALATE = "escalate"
    """The desk is told, and the run goes on."""


class Enough(StrEnum):
    ALL = "all"
    ANY = "any"


@dataclass(frozen=True, slots=True)
class Command:
    """One command to each device that is meant. The texts among `params` may hold places (see `facts.PLACES`)."""

    name: str
    kinds: tuple[str, ...]
    within: Reach
    tags: frozenset[str] = frozenset()
    params: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    enough: Enough = Enough.ALL


@dataclass(frozen=True, slots=True)
class Broadcast:
    """The loudspeakers within reach say the text, and the sirens sound for `siren_s`, where that is given.

    Where there is none of either within reach, the community's own are taken, if `widen`.
    """

    within: Reach
    text: Label
    siren_s: float | None = None
    widen: bool = True


@dataclass(frozen=True, slots=True)
class Order:
    """The alert's order: opened where there is none, else raised to the severity; its team told why."""

    team: Team
    severity: Severity
    text: Label | None = None


@dataclass(frozen=True, slots=True)
class Notice:
    """A notice to groups of people, to everybody with a role (网格员: those of the alert's 网格), or to a team."""

    text: Label
    people: tuple[People, ...] = ()
    roles: tuple[Role, ...] = ()
    teams: tuple[Team, ...] = ()


@dataclass(frozen=True, slots=True)
class Wait:
    seconds: float


Action = Command | Broadcast | Order | Notice | Wait
WORDS: Mapping[type, str] = {
    Command: "command",
    Broadcast: "broadcast",
    Order: "order",
    Notice: "notice",
    Wait: "wait",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One step. It falls due `after_s` after the last of `needs` has ended; without any, after the alert was raised."""

    id: str
    action: Action
    needs: tuple[str, ...] = ()
    after_s: float = 0.0
    timeout_s: float = 60.0
    """Of commands: when they expire. A step that could not begin for so long after it was due is not begun at all."""
    condition: str | None = None
    """CEL; the step is left out where it does not hold."""
    on_timeout: Then = Then.GO_ON
    on_failure: Then = Then.GO_ON

    @property
    def word(self) -> str:
        return WORDS[type(self.action)]


@dataclass(frozen=True, slots=True)
class Trigger:
    """Alerts of these rules or families (shell patterns), at least this bad, within the scope."""

    alerts: tuple[str, ...]
    severity: Severity = Severity.INFO
    scope: Scope = field(default_factory=Scope)

    def names(self, rule_id: str, family: str) -> bool:
        return any(fnmatchcase(rule_id, one) or fnmatchcase(family, one) for one in self.alerts)


@dataclass(frozen=True, slots=True)
class Plan:
    id: str
    title: Label
    trigger: Trigger
    steps: tuple[Step, ...]
    condition: str | None = None
    mode: str = "live"
    """`live` or `off`."""
    note: str = ""
