"""One work order: what it is opened with, what is added to its history, and how it stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from services.domain.ids import AlertId, CommunityId, DeviceNo, OrderId
from services.domain.orders.states import ENDED, Move, OrderState
from services.domain.orders.terms import Mode, Rung, Terms
from services.domain.vocabulary import Label, Severity, Team

TOP_RUNG = max(Rung)


class Source(StrEnum):
    """Where an order comes from; afterwards they are all the same thing."""

    ALERT = "alert"
    RESIDENT = "resident"
    PATROL = "patrol"
    PLATFORM = "platform"
    STAFF = "staff"


@dataclass(frozen=True, slots=True)
class Draft:
    """What an order is opened with. x and y are metres on the community's plan."""

    id: OrderId
    community_id: CommunityId
    source: Source
    kind: str
    severity: Severity
    title: Label
    team: Team
    correlation: str
    place: str = ""
    alert_id: AlertId | None = None
    parent_id: OrderId | None = None
    device_no: DeviceNo | None = None
    building_id: str | None = None
    grid_id: str | None = None
    x: float | None = None
    y: float | None = None
    category: str | None = None
    """Of what residents and staff report: an entry of the categories (服务类别)."""
    external_id: str | None = None
    """What another system calls it."""
    terms: Terms | None = None
    """None: the store asks the community's classes."""
    rule_id: str | None = None
    family: str | None = None
    life_safety: bool = False
    """What raised it, to find its class by; not kept with the order, for a rule may be about somebody's health."""

    def as_detail(self) -> dict[str, Any]:
        """The same as JSON, for the `create` entry: an order needs nothing but its history."""
        return {
            "id": str(self.id),
            "community_id": self.community_id,
            "source": self.source.value,
            "kind": self.kind,
            "severity": self.severity.value,
            "title": {"zh": self.title.zh, "en": self.title.en},
            "team": self.team.value,
            "correlation": self.correlation,
            "place": self.place,
            "alert_id": str(self.alert_id) if self.alert_id else None,
            "parent_id": str(self.parent_id) if self.parent_id else None,
            "device_no": self.device_no,
            "building_id": self.building_id,
            "grid_id": self.grid_id,
            "x": self.x,
            "y": self.y,
            "category": self.category,
            "external_id": self.external_id,
            "terms": self.terms.as_detail() if self.terms else None,
        }


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of an order's append-only history. `version` counts from 1 without gaps."""

    version: int
    move: Move
    from_state: OrderState | None
    to_state: OrderState
    at: datetime
    actor_id: str
    actor_role: str
    reason: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A work order as it stands: exactly the fold of its history."""

    id: OrderId
    community_id: CommunityId
    source: Source
    alert_id: AlertId | None
    parent_id: OrderId | None
    device_no: DeviceNo | None
    building_id: str | None
    grid_id: str | None
    kind: str
    severity: Severity
    title: Label
    place: str
    x: float | None
    y: float | None
    team: Team
    state: OrderState
    version: int
    created_at: datetime
    correlation: str
    terms: Terms
    category: str | None = None
    external_id: str | None = None
    assignee_id: str | None = None
    mode: Mode = Mode.TEAM
    offered: tuple[str, ...] = ()
    """Account ids it was offered to; empty: the whole team."""
    forced: bool = False
    """Dispatched again after a return: it cannot be returned once more."""
    rung: int = 0
    returns: int = 0
    reworks: int = 0
    """返工: how often it was opened again after it was said to be resolved."""
    urges: int = 0
    taken: tuple[str, ...] = ()
    """Keys (`clocks.Owed.key`) of what time has made due and was done, of the running dispatch."""
    photos_before: int = 0
    photos_after: int = 0
    signatures: int = 0
    on_site: str | None = None
    """How the arrival was checked: position, code, or None (said only)."""
    pause_reason: str | None = None
    pause_until: datetime | None = None
    paused_s: float = 0.0
    """Seconds of its class's calendar spent paused since the dispatch."""
    ran_s: float = 0.0
    """The stopwatch: seconds from the first dispatch to `ran_at`, each stretch by the calendar in force during it."""
    ran_before_s: float = 0.0
    """What it showed at the last dispatch."""
    ran_at: datetime | None = None
    """It runs since then; None: it stands still (not dispatched yet, paused, ended)."""
    merged_into: OrderId | None = None
    rating: int | None = None
    call_back: str | None = None
    """What whoever reported it said when asked: satisfied, unsatisfied, unreached."""
    filed_at: datetime | None = None
    """立案: its first dispatch."""
    file_due: datetime | None = None
    accept_s: float | None = None
    arrive_s: float | None = None
    """Seconds of its class's calendar from the first dispatch to the first acceptance and arrival, pauses left out."""
    resolve_s: float | None = None
    verify_s: float | None = None
    """The same of the last dispatch."""
    dispatched_at: datetime | None = None
    accepted_at: datetime | None = None
    arrived_at: datetime | None = None
    resolved_at: datetime | None = None
    resolved_by: str | None = None
    workers: tuple[str, ...] = ()
    """Who has accepted it, arrived or resolved it since it was last opened: none of them checks the work."""
    verified_at: datetime | None = None
    closed_at: datetime | None = None
    paused_at: datetime | None = None
    accept_due: datetime | None = None
    arrive_due: datetime | None = None
    resolve_due: datetime | None = None
    verify_due: datetime | None = None

    @property
    def ended(self) -> bool:
        return self.state in ENDED

    @property
    def before_pause(self) -> OrderState:
        """The state a paused order resumes into."""
        if self.arrived_at is not None:
            return OrderState.ARRIVED
        return OrderState.ACCEPTED if self.accepted_at is not None else OrderState.DISPATCHED


def created(draft: Draft, at: datetime, actor_id: str, actor_role: str) -> Entry:
    """The first entry of an order's history."""
    return Entry(1, Move.CREATE, None, OrderState.CREATED, at, actor_id, actor_role, None, draft.as_detail())
