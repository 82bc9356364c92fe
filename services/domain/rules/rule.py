"""A rule as data: what to watch, when it matters, how bad it is and who goes."""

from __future__ import annotations

from dataclasses import dataclass

from services.domain.ids import RuleId
from services.domain.rules.parameters import Parameters
from services.domain.vocabulary import Label, Severity, Team


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
    person_tag: str | None = None
    """Applies only where the device's household has a person with this tag (elder_living_alone …)."""
    device_tag: str | None = None
    """Applies only to devices that carry this tag (fire_lane, water_zone …)."""
    family: str | None = None
    """Rules of one family watch the same physical thing (a detector's alarm bit and its gas reading, leak and burst):
    their alerts on one subject are one open alert, whose severity is the worst of theirs. None: the rule alone."""
