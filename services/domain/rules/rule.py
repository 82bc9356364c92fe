"""A rule as data: what to watch, when it matters, how bad it is and who goes."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from services.domain.ids import RuleId
from services.domain.rules.parameters import Parameters
from services.domain.vocabulary import Label, Severity, Team


class Mode(StrEnum):
    """What becomes of what a rule says."""

    LIVE = "live"
    SHADOW = "shadow"
    """Evaluated and recorded like any other, marked as shadow: no order, no notice, no plan, not on the wall."""
    OFF = "off"


class Within(StrEnum):
    """How far something reaches from the subject of an alert."""

    DEVICE = "device"
    GATEWAY = "gateway"
    """All devices behind the same gateway, and the gateway itself."""
    HOUSEHOLD = "household"
    UNIT = "unit"
    BUILDING = "building"
    GRID = "grid"
    COMMUNITY = "community"


@dataclass(frozen=True, slots=True)
class Scope:
    """Which devices a rule is about. An empty set says nothing; all sets that say something must hold."""

    device_tags: frozenset[str] = frozenset()
    """The device carries every one of these (fire_lane, water_zone …)."""
    person_tags: frozenset[str] = frozenset()
    """Its household has somebody with each of these (elder_living_alone …)."""
    buildings: frozenset[str] = frozenset()
    grids: frozenset[str] = frozenset()
    households: frozenset[str] = frozenset()
    devices: frozenset[str] = frozenset()
    """Public ids."""
    except_devices: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class During:
    """When a rule counts, by the community's clock. Outside, what was pending is forgotten and nothing new fires;
    what fires already stays until its own condition is over."""

    days: str = "all"
    """all | workday (工作日, with the made-up ones) | restday | weekday | weekend | mon,tue,…"""
    from_hour: float = 0.0
    to_hour: float = 24.0
    """At or before `from_hour`: past midnight. Hours belong to the day on which they begin."""
    daylight: bool | None = None
    """True: only while the sun is up; False: only while it is down."""


@dataclass(frozen=True, slots=True)
class Mutes:
    """While the alert of this rule is open, alerts of these families within reach of its subject send nobody."""

    families: tuple[str, ...]
    """Shell patterns over families (`*.offline`)."""
    within: Within


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask first (先询问): people at home get `wait_s` to say that all is well before anybody is sent."""

    wait_s: float = 1800.0


@dataclass(frozen=True, slots=True)
class Rule:
    """One alert rule. `{value}`, `{limit}` and `{place}` in the reasons are filled in when it fires."""

    id: RuleId
    title: Label
    severity: Severity
    team: Team
    parameters: Parameters
    version: int = 1
    life_safety: bool = False
    """Fire, gas, SOS, falls, water edge: never suppressed, grouped away or rate-limited."""
    opens_order: bool = True
    family: str | None = None
    """Rules of one family watch the same physical thing (a detector's alarm bit and its gas reading, leak and burst):
    their alerts on one subject are one open alert, whose severity is the worst of theirs. None: the rule alone."""
    mode: Mode = Mode.LIVE
    scope: Scope = field(default_factory=Scope)
    during: During | None = None
    guard: str | None = None
    """A CEL expression over `values`, `event`, `data`, `device`, `household`; the item counts only where it is true."""
    group_by: Within | None = None
    """Alerts of this family in one such place are worked on in one order, as long as nobody has arrived yet."""
    mutes: tuple[Mutes, ...] = ()
    ask: Ask | None = None
    note: str = ""
    """Where a limit comes from (standard, datasheet)."""
