"""Holds what was said against what happened: found, missed, said for nothing, and how many alerts a day that makes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from bench.year.incident import HOUR, Incident
from bench.year.town import Town
from services.domain.engine.decisions import Clear, Decision, Raise, Release, Repeat
from services.domain.engine.subjects import device_key

SLACK = 2 * 60_000
AFTERMATH = 26 * HOUR
"""A day's window looks back a day: what follows from a trouble may be said as long after it."""


@dataclass(slots=True)
class Row:
    """Counts of one device kind (or of all)."""

    incidents: int = 0
    found: int = 0
    near: int = 0
    alerts: int = 0
    again: int = 0
    """More alerts on a trouble that was found already."""
    follow: int = 0
    """Of another rule on the same device, in the time of a trouble or near miss: true, but not what it was made for."""
    false: int = 0
    safety: int = 0
    safety_found: int = 0

    @property
    def precision(self) -> float:
        return 1 - self.false / self.alerts if self.alerts else 1.0

    @property
    def recall(self) -> float:
        return self.found / self.incidents if self.incidents else 1.0


@dataclass(slots=True)
class Score:
    by_kind: dict[str, Row] = field(default_factory=dict)
    missed: list[Incident] = field(default_factory=list)
    false: list[Raise] = field(default_factory=list)
    decisions: Counter[str] = field(default_factory=Counter)
    open_at_end: int = 0
    orders: int = 0
    suppressed: int = 0
    """Alerts that were over before they sent anybody."""
    trial: int = 0
    """Alerts of rules in shadow mode; they are not judged here."""
    delays_ms: list[int] = field(default_factory=list)
    """From the beginning of a found trouble of life safety to its alert."""


class Scorer:
    """Feed it the decisions in order; `finish` tells."""

    def __init__(self, town: Town, incidents: Sequence[Incident]) -> None:
        self._town = town
        self._score = Score()
        self._found: set[int] = set()
        self._open: set[object] = set()
        self._incidents = incidents
        self._of: dict[str, list[tuple[int, Incident]]] = {}
        for place, incident in enumerate(incidents):
            for key in {incident.subject or device_key(incident.device_no), *_touched(town, incident)}:
                self._of.setdefault(key, []).append((place, incident))
            row = self._row(town.rows[incident.device_no].kind)
            row.incidents += incident.real
            row.near += not incident.real
            row.safety += incident.real and incident.life_safety

    def _row(self, kind: str) -> Row:
        return self._score.by_kind.setdefault(kind, Row())

    def take(self, decisions: Iterable[Decision]) -> None:
        for decision in decisions:
            self._score.decisions[type(decision).__name__.lower()] += 1
            match decision:
                case Raise() if decision.shadow:
                    self._score.trial += 1
                case Raise():
                    self._open.add(decision.id)
                    self._score.orders += decision.opens
                    self._raised(decision)
                case Release():
                    self._score.orders += 1
                case Repeat():
                    self._joined(decision.alert)
                case Clear():
                    self._score.suppressed += bool(decision.suppressed)
                    if not decision.active_rules:
                        self._open.discard(decision.id)
                case _:
                    pass

    def _raised(self, alert: Raise) -> None:
        row = self._row(alert.kind)
        row.alerts += 1
        own, other = self._around(alert)
        if own is None and other is None:
            row.false += 1
            self._score.false.append(alert)
        elif own is None:
            row.follow += 1
        elif own in self._found:
            row.again += 1
        else:
            self._mark(own, alert)

    def _joined(self, alert: Raise) -> None:
        """A second rule of the family, or a second trouble while the first alert still stood."""
        own, _ = self._around(alert)
        if own is not None and own not in self._found:
            self._mark(own, alert)

    def _mark(self, place: int, alert: Raise) -> None:
        self._found.add(place)
        incident = self._incidents[place]
        row = self._row(self._town.rows[incident.device_no].kind)
        row.found += 1
        if incident.life_safety:
            row.safety_found += 1
            self._score.delays_ms.append(alert.fired_ms - incident.from_ms)

    def _around(self, alert: Raise) -> tuple[int | None, int | None]:
        own = other = None
        for place, incident in self._of.get(alert.subject, ()):
            if not incident.from_ms <= alert.fired_ms <= incident.to_ms + AFTERMATH:
                continue
            if not incident.real:
                # Of its own rule nothing may be said; what another says of so odd a value may be true.
                if alert.rule_id != incident.rule_id and alert.fired_ms <= incident.to_ms + self._patience(incident):
                    other = place
                continue
            if incident.family == alert.family and alert.fired_ms <= incident.to_ms + self._patience(incident):
                own = place
            other = place
        return own, other

    def _patience(self, incident: Incident) -> int:
        return 3 * self._town.rows[incident.device_no].interval_s * 1000 + SLACK

    def finish(self) -> Score:
        self._score.missed = [
            incident for place, incident in enumerate(self._incidents) if incident.real and place not in self._found
        ]
        self._score.open_at_end = len(self._open)
        return self._score


def _touched(town: Town, incident: Incident) -> set[str]:
    """Other subjects that may truly speak of it."""
    keys = {device_key(incident.device_no), *(device_key(number) for number, _ in incident.others)}
    keys |= {device_key(number) for number in incident.silent_too}
    building = town.rows[incident.device_no].building_id
    if building is not None:
        keys.add(f"building:{building}")
    return keys
