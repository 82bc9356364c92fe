"""What somebody asks for: one move of one order, with all that it may carry."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime
from hashlib import sha256
from typing import Any

from services.domain.ids import OrderId
from services.domain.orders.states import Move
from services.domain.orders.terms import Mode, Rung, Terms
from services.domain.vocabulary import Team


@dataclass(frozen=True, slots=True)
class MoveRequest:
    """One move somebody asks for. `version` is the one they saw; `merge_into` is the order that takes this one over."""

    move: Move
    version: int
    reason: str | None = None
    note: str | None = None
    place: str | None = None
    team: Team | None = None
    assignee_id: str | None = None
    idempotency_key: str | None = None
    alert_id: str | None = None
    severity: str | None = None
    merge_into: OrderId | None = None
    clock: str | None = None
    people: tuple[str, ...] = ()
    """Account ids: whom it is offered to, or who is asked on the next rung."""
    mode: Mode | None = None
    forced: bool = False
    rung: Rung | None = None
    terms: Terms | None = None
    """With a graver severity: what the graver class asks for."""
    on_site: Mapping[str, Any] | None = None
    """What the check of an arrival found: {"by": "position" | "code", "distance_m": …}."""
    pause_reason: str | None = None
    pause_until: datetime | None = None
    acted_at: datetime | None = None
    """When it was done by the clock of the phone it was done on, where it was sent only when there was a network again.
    A claim: kept for people to read, no clock runs by it."""
    evidence_id: str | None = None
    sort: str | None = None
    phase: str | None = None
    rating: int | None = None
    outcome: str | None = None
    merged: Mapping[str, Any] | None = None
    """Of a repeat: the order that was merged into this one, and what it brings along."""

    def as_detail(self) -> dict[str, Any]:
        """JSON for the history; what was not said is left out."""
        given = {
            "note": self.note,
            "place": self.place,
            "team": self.team.value if self.team else None,
            "assignee_id": self.assignee_id,
            "alert_id": self.alert_id,
            "severity": self.severity,
            "merge_into": str(self.merge_into) if self.merge_into else None,
            "clock": self.clock,
            "people": list(self.people),
            "mode": self.mode.value if self.mode else None,
            "forced": self.forced,
            "terms": self.terms.as_detail() if self.terms else None,
            "on_site": dict(self.on_site) if self.on_site else None,
            "pause_reason": self.pause_reason,
            "pause_until": self.pause_until.isoformat() if self.pause_until else None,
            "acted_at": self.acted_at.isoformat() if self.acted_at else None,
            "evidence_id": self.evidence_id,
            "sort": self.sort,
            "phase": self.phase,
            "rating": self.rating,
            "outcome": self.outcome,
            "merged": dict(self.merged) if self.merged else None,
        }
        detail = {name: value for name, value in given.items() if value}
        return detail if self.rung is None else detail | {"rung": int(self.rung)}


_NOT_ASKED = frozenset({"version", "idempotency_key", "acted_at", "on_site", "people", "forced", "terms", "merged"})
"""Filled in by whoever takes the request, or no part of what is wanted: a phone that looked again wants the same."""


def digest(request: MoveRequest) -> str:
    """What tells a retry from another request under the same key."""
    asked = {one.name: getattr(request, one.name) for one in fields(MoveRequest) if one.name not in _NOT_ASKED}
    return digest_of({name: value for name, value in asked.items() if value is not None})


def digest_of(asked: Mapping[str, Any]) -> str:
    text = json.dumps(asked, sort_keys=True, ensure_ascii=False, default=str)
    return sha256(text.encode()).hexdigest()[:32]
