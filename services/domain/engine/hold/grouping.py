"""Grouping: alerts of one family in one place are worked on in one order, while nobody has arrived yet."""

from __future__ import annotations

from uuid import UUID

from services.domain.engine.hold.places import place_of
from services.domain.engine.subjects import Subject
from services.domain.rules.rule import Rule


def group_key(rule: Rule, family: str, subject: Subject) -> str | None:
    """None: it stands alone. Life safety always does."""
    if rule.group_by is None or rule.life_safety:
        return None
    place = place_of(subject, rule.group_by)
    return None if place is None else f"{family}|{rule.group_by.value}:{place}"


class Groups:
    """Which open alerts of a group were sent."""

    def __init__(self) -> None:
        self._sent: dict[str, set[UUID]] = {}
        self._of: dict[UUID, str] = {}

    def other_sent(self, key: str | None, alert_id: UUID) -> bool:
        return key is not None and bool(self._sent.get(key, set()) - {alert_id})

    def sent(self, key: str | None, alert_id: UUID) -> None:
        if key is not None:
            self._sent.setdefault(key, set()).add(alert_id)
            self._of[alert_id] = key

    def gone(self, alert_id: UUID) -> None:
        key = self._of.pop(alert_id, None)
        if key is not None:
            self._sent[key].discard(alert_id)
            if not self._sent[key]:
                del self._sent[key]
