"""Inhibition: while a root cause is open, what follows from it within its reach sends nobody."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from uuid import UUID

from services.domain.engine.hold.places import place_of
from services.domain.engine.subjects import Subject
from services.domain.rules.rule import Rule, Within

GRACE_LEAST_MS = 60_000
GRACE_MOST_MS = 15 * 60_000
PREFIX = "inhibited:"


def grace_ms(interval_ms: int) -> int:
    """How long children may take to recover after their root cause is over: two of their intervals, within bounds."""
    return min(max(2 * interval_ms, GRACE_LEAST_MS), GRACE_MOST_MS)


class Roots:
    """Open alerts that mute others, by place, so that looking one up costs the same however many are open."""

    def __init__(self) -> None:
        self._at: dict[tuple[Within, str], dict[UUID, tuple[str, ...]]] = {}
        self._of: dict[UUID, set[tuple[Within, str]]] = {}

    def add(self, alert_id: UUID, rule: Rule, subject: Subject) -> bool:
        """Whether the rule mutes anything here."""
        for mutes in rule.mutes:
            place = place_of(subject, mutes.within)
            if place is not None:
                known = self._at.setdefault((mutes.within, place), {})
                known[alert_id] = (*known.get(alert_id, ()), *mutes.families)
                self._of.setdefault(alert_id, set()).add((mutes.within, place))
        return alert_id in self._of

    def remove(self, alert_id: UUID) -> bool:
        """Whether it was one."""
        keys = self._of.pop(alert_id, set())
        for key in keys:
            del self._at[key][alert_id]
            if not self._at[key]:
                del self._at[key]
        return bool(keys)

    def above(self, alert_id: UUID, family: str, subject: Subject, mutes: Callable[[UUID], bool]) -> Iterator[UUID]:
        """Root causes of this alert; `mutes`: whether one counts (what is itself only a consequence does not)."""
        if not self._at:
            return
        found: set[UUID] = set()
        for within in Within:
            place = place_of(subject, within)
            for root, patterns in self._at.get((within, place), {}).items() if place is not None else ():
                if root == alert_id or root in found or not any(fnmatchcase(family, one) for one in patterns):
                    continue
                if mutes(root):
                    found.add(root)
                    yield root
