"""States under reserved ids: kept beside those of the rules, so that a restart finds them."""

from __future__ import annotations

from typing import Any

from services.domain.engine.decisions import StateChange
from services.domain.ids import RuleId

HELD = RuleId("~held")
FLAPPING = RuleId("~flapping")
CAPS = RuleId("~caps")


def is_reserved(rule_id: str) -> bool:
    """Whether a state is the book's and not a rule's."""
    return rule_id.startswith("~")


def joined(key: tuple[str, str]) -> str:
    """Family and subject as one subject of a state."""
    return f"{key[0]}|{key[1]}"


class Memory:
    """All of them, and which changed since they were last taken."""

    def __init__(self) -> None:
        self._states: dict[tuple[RuleId, str], dict[str, Any]] = {}
        self._changed: dict[tuple[RuleId, str], dict[str, Any] | None] = {}

    def get(self, sort: RuleId, subject: str) -> dict[str, Any] | None:
        return self._states.get((sort, subject))

    def set(self, sort: RuleId, subject: str, state: dict[str, Any] | None) -> None:
        """As the database has it already."""
        if state is not None:
            self._states[sort, subject] = state

    def put(self, sort: RuleId, subject: str, state: dict[str, Any] | None) -> None:
        if state is None:
            self._states.pop((sort, subject), None)
        else:
            self._states[sort, subject] = state
        self._changed[sort, subject] = state

    def all(self) -> list[StateChange]:
        return [StateChange(sort, subject, state) for (sort, subject), state in self._states.items()]

    def take(self) -> tuple[StateChange, ...]:
        found = tuple(StateChange(sort, subject, state) for (sort, subject), state in self._changed.items())
        self._changed.clear()
        return found
