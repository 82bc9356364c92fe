"""What is remembered of an alert that is held back: JSON as it stands, so that a restart changes nothing."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from typing import Any
from uuid import UUID

from services.domain.engine.decisions import Raise
from services.domain.engine.hold.asking import Asking
from services.domain.ids import AlertId, DeviceNo, RuleId
from services.domain.vocabulary import Label, Severity, Team


@dataclass(slots=True)
class Held:
    """One open alert that sends nobody for now. `sent`: it had sent somebody before, only what comes again is held."""

    draft: Raise
    """As it would be raised today."""
    reasons: tuple[str, ...]
    since_ms: int
    due_ms: int | None = None
    """When to look again; None: not before something happens."""
    sent: bool = False
    settles_ms: int | None = None
    calms_ms: int | None = None
    """Until when it must stand to be taken at its word, where it flaps."""
    grace: dict[str, int] = field(default_factory=dict)
    """Root causes that are over → until when it may follow them."""
    asking: Asking | None = None

    @property
    def key(self) -> tuple[str, str]:
        return self.draft.family, self.draft.subject

    @property
    def remembered(self) -> tuple[Any, ...]:
        """What makes a difference after a restart."""
        asking = (self.asking.until_ms, self.asking.well) if self.asking is not None else None
        return self.reasons, self.settles_ms, self.calms_ms, tuple(self.grace.items()), asking, self.draft.grouped

    @property
    def capped(self) -> bool:
        return any(reason.startswith("cap:") for reason in self.reasons)


def held_json(held: Held) -> dict[str, Any]:
    return {
        "draft": {**asdict(held.draft), "id": str(held.draft.id), "trigger": dict(held.draft.trigger)},
        "reasons": list(held.reasons),
        "since": held.since_ms,
        "due": held.due_ms,
        "sent": held.sent,
        "settles": held.settles_ms,
        "calms": held.calms_ms,
        "grace": dict(held.grace),
        "asking": asdict(held.asking) if held.asking else None,
    }


def held_of(stored: dict[str, Any]) -> Held:
    return Held(
        raise_of(stored["draft"]),
        tuple(stored["reasons"]),
        stored["since"],
        stored["due"],
        stored["sent"],
        stored["settles"],
        stored["calms"],
        dict(stored["grace"]),
        Asking(**stored["asking"]) if stored["asking"] else None,
    )


def raise_of(stored: dict[str, Any]) -> Raise:
    """From `asdict` after a trip through JSON."""
    joins = stored["joins"]
    plain = Raise(
        **{
            **stored,
            "id": AlertId(UUID(stored["id"])),
            "rule_id": RuleId(stored["rule_id"]),
            "device_no": None if stored["device_no"] is None else DeviceNo(stored["device_no"]),
            "severity": Severity(stored["severity"]),
            "team": Team(stored["team"]),
            "title": Label(**stored["title"]),
            "why": Label(**stored["why"]),
            "held": tuple(stored["held"]),
        }
    )
    return replace(
        plain,
        joins=None if joins is None else (joins[0], joins[1]),
        absorbs=tuple((family, subject) for family, subject in stored["absorbs"]),
    )
