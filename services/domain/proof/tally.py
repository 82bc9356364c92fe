"""What decisions add up to: the alerts, as the database would hold them, with what was held back and what was sent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from services.domain.engine.decisions import (
    Clear,
    Decided,
    Decision,
    Ease,
    Hold,
    Raise,
    Recover,
    Release,
    Repeat,
)
from services.domain.ids import AlertId, RuleId
from services.domain.vocabulary import Label, Severity


@dataclass(slots=True)
class Alerted:
    """One alert from its beginning to its end. Times are epoch ms; `cleared_ms` None: still open at the end."""

    id: AlertId
    community_id: str
    rule_id: RuleId
    rule_version: int
    family: str
    subject: str
    name: str
    """What people call the subject: a device's public id, a building's key."""
    kind: str
    severity: Severity
    team: str
    life_safety: bool
    title: Label
    why: Label
    onset_ms: int
    fired_ms: int
    last_ms: int
    trigger: Mapping[str, Any]
    correlation: str
    shadow: bool
    held: tuple[str, ...]
    raised_by: RuleId
    spoke: set[RuleId]
    """Every rule of its family that held it open at some time."""
    severities: list[tuple[int, Severity]]
    opens_order: bool
    cleared_ms: int | None = None
    recovering: bool = False
    occurrences: int = 1
    suppressed: int = 0
    orders: int = 0
    """How many orders it would have opened: one when it was raised, or when what held it back was over."""
    once_held: set[str] = field(default_factory=set)
    told: set[tuple[str, int, str]] = field(default_factory=set)

    @property
    def silent(self) -> bool:
        """It would have called somebody and was held back to its end."""
        return self.opens_order and not self.shadow and self.orders == 0 and bool(self.once_held)

    def lasted_ms(self, until_ms: int) -> int:
        return max(0, (self.cleared_ms if self.cleared_ms is not None else until_ms) - self.onset_ms)


class Tally:
    """Takes decisions in their order. Alerts of before it began are not known: what happens to them is passed over."""

    def __init__(self) -> None:
        self.alerts: dict[AlertId, Alerted] = {}

    def take(self, decided: Decided) -> None:
        for decision in decided.decisions:
            self._take(decision)

    def _take(self, decision: Decision) -> None:
        match decision:
            case Raise():
                if decision.id not in self.alerts:
                    self.alerts[decision.id] = _new(decision)
            case Repeat():
                if (known := self.alerts.get(decision.alert.id)) is not None:
                    _repeat(known, decision)
            case Recover():
                if (known := self.alerts.get(decision.id)) is not None:
                    known.recovering, known.last_ms = True, max(known.last_ms, decision.at_ms)
            case Clear():
                if (known := self.alerts.get(decision.id)) is not None and not decision.active_rules:
                    known.cleared_ms, known.recovering = max(known.onset_ms, decision.at_ms), False
            case Ease():
                if (known := self.alerts.get(decision.id)) is not None:
                    known.rule_id, known.rule_version = decision.rule_id, decision.rule_version
                    known.severity, known.title, known.why = decision.severity, decision.title, decision.why
                    known.severities.append((decision.at_ms, decision.severity))
            case Hold():
                if (known := self.alerts.get(decision.id)) is not None:
                    known.held = decision.held
                    known.once_held |= set(decision.held)
            case Release():
                if (known := self.alerts.get(decision.alert.id)) is not None:
                    known.held = ()
                    known.orders += decision.alert.opens
            case _:
                pass

    def sorted(self) -> list[Alerted]:
        return sorted(self.alerts.values(), key=lambda alert: (alert.fired_ms, alert.onset_ms, str(alert.id)))


def of_all(turns: Iterable[Decided]) -> list[Alerted]:
    tally = Tally()
    for decided in turns:
        tally.take(decided)
    return tally.sorted()


def _new(raised: Raise) -> Alerted:
    return Alerted(
        id=raised.id,
        community_id=raised.community_id,
        rule_id=raised.rule_id,
        rule_version=raised.rule_version,
        family=raised.family,
        subject=raised.subject,
        name=raised.device_id or raised.subject,
        kind=raised.kind,
        severity=raised.severity,
        team=raised.team.value,
        life_safety=raised.life_safety,
        title=raised.title,
        why=raised.why,
        onset_ms=raised.onset_ms,
        fired_ms=raised.fired_ms,
        last_ms=raised.last_ms,
        trigger=raised.trigger,
        correlation=raised.correlation,
        shadow=raised.shadow,
        held=raised.held,
        raised_by=raised.rule_id,
        spoke={raised.rule_id},
        severities=[(raised.last_ms, raised.severity)],
        opens_order=raised.opens_order,
        suppressed=int(bool(raised.held)),
        orders=int(raised.opens),
        once_held=set(raised.held),
        told={("raised", raised.last_ms, raised.cause)},
    )


def _repeat(known: Alerted, repeat: Repeat) -> None:
    """As the database counts: the same message again is no second occurrence."""
    alert = repeat.alert
    known.recovering, known.last_ms = False, max(known.last_ms, alert.last_ms)
    known.spoke.add(alert.rule_id)
    said = ("severity" if repeat.worse else "repeated", alert.last_ms, alert.cause)
    if not repeat.counts or said in known.told:
        return
    known.told.add(said)
    known.occurrences += 1
    known.suppressed += int(bool(repeat.held))
    if repeat.worse is not None:
        known.severity, known.team = repeat.worse, alert.team.value
        known.life_safety = known.life_safety or alert.life_safety
        known.rule_id, known.rule_version = alert.rule_id, alert.rule_version
        known.title, known.why, known.trigger = alert.title, alert.why, alert.trigger
        known.severities.append((alert.last_ms, repeat.worse))
