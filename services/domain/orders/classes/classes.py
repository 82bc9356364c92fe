"""A community's classes of orders: matched in their order, each turned into the terms of an order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Protocol

from services.domain.orders.terms import CLOCKS, CRITICAL_AGAIN_S, ClockTerm, Mode, Span, Step, Terms
from services.domain.vocabulary import Label, Severity

ALWAYS = "always"
"""The calendar that is always there: around the clock."""

NIGHTS = Span("all", 22.0, 6.0)


class Case(Protocol):
    """What of an order decides its class; a draft is one."""

    @property
    def community_id(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def severity(self) -> Severity: ...
    @property
    def category(self) -> str | None: ...
    @property
    def rule_id(self) -> str | None: ...
    @property
    def family(self) -> str | None: ...
    @property
    def life_safety(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Match:
    """Fits where everything that is said holds; of a list one is enough. Nothing said fits every order."""

    severity: tuple[Severity, ...] = ()
    sources: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()
    """Kinds of devices."""
    categories: tuple[str, ...] = ()
    """Shell patterns over categories of what people report."""
    alerts: tuple[str, ...] = ()
    """Shell patterns over rule ids and families (`water_meter.elder_*`)."""
    life_safety: bool | None = None

    @property
    def fits_all(self) -> bool:
        return self == Match()

    def fits(self, case: Case) -> bool:
        names = [name for name in (case.rule_id, case.family) if name]
        return (
            (not self.severity or case.severity in self.severity)
            and (not self.sources or str(case.source) in self.sources)
            and (not self.kinds or case.kind in self.kinds)
            and (not self.categories or _one(self.categories, [case.category or ""]))
            and (not self.alerts or _one(self.alerts, names))
            and self.life_safety in (None, case.life_safety)
        )


def _again_s(name: str, clock: ClassClock, case: Case) -> float:
    if name == "accept" and case.severity is Severity.CRITICAL:
        return clock.again_s or CRITICAL_AGAIN_S
    return clock.again_s


def _one(patterns: tuple[str, ...], names: list[str]) -> bool:
    return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)


@dataclass(frozen=True, slots=True)
class ClassClock:
    """`ladder`: steps up after the clock ran out; `nights`: the steps where it runs out by night, none: the same.
    `again`: of `accept`, how often the top of the ladder is asked again."""

    due_s: float
    warn_s: float = 0.0
    ladder: tuple[Step, ...] = ()
    nights: tuple[Step, ...] = ()
    again_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Pause:
    reasons: tuple[str, ...] = ()
    """None: it cannot be paused."""
    longest_s: float = 0.0
    """By the wall clock."""


@dataclass(frozen=True, slots=True)
class OrderClass:
    id: str
    title: Label
    clocks: Mapping[str, ClassClock]
    match: tuple[Match, ...] = ()
    """None: every order that no class before it took."""
    calendar: str = ALWAYS
    mode: Mode = Mode.TEAM
    offer: int = 3
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    pause: Pause = field(default_factory=Pause)

    def fits(self, case: Case) -> bool:
        return not self.match or any(one.fits(case) for one in self.match)


@dataclass(frozen=True, slots=True)
class Classes:
    """The last class fits every order. `nights`: when the night's ladders count."""

    classes: tuple[OrderClass, ...]
    calendars: Mapping[str, tuple[Span, ...]] = field(default_factory=dict)
    """By name; `always` is there besides."""
    nights: Span = NIGHTS

    def spans(self, calendar: str) -> tuple[Span, ...]:
        return () if calendar == ALWAYS else self.calendars[calendar]

    def of(self, case: Case) -> OrderClass:
        return next((one for one in self.classes if one.fits(case)), self.classes[-1])

    def terms(self, case: Case, version: int, timezone: str) -> Terms:
        """What an order of this community is to be held to, as of this version of its classes."""
        one = self.of(case)
        return Terms(
            class_id=one.id,
            class_version=version,
            clocks={
                name: ClockTerm(clock.due_s, clock.warn_s, clock.ladder, clock.nights, _again_s(name, clock, case))
                for name in CLOCKS
                if (clock := one.clocks.get(name)) is not None
            },
            timezone=timezone,
            spans=self.spans(one.calendar),
            mode=one.mode,
            offer=one.offer,
            needs=one.needs,
            pause_reasons=one.pause.reasons,
            pause_longest_s=one.pause.longest_s,
            nights=self.nights if any(clock.nights for clock in one.clocks.values()) else None,
        )
