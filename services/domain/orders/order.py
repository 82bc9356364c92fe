"""One work order: what it is opened with, what is added to its history, and how the history folds into it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

from services.domain.ids import AlertId, CommunityId, DeviceNo, OrderId
from services.domain.orders.clocks import Deadlines, deadlines
from services.domain.orders.states import ENDED, Move, OrderState
from services.domain.vocabulary import Label, Severity, Team

TOP_RUNG = 2
"""The ladder: 0 the team, 1 the community desk (社区值班), 2 the street office (街道). Nobody stands above it here."""


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
    assignee_id: str | None = None
    rung: int = 0
    returns: int = 0
    dispatched_at: datetime | None = None
    accepted_at: datetime | None = None
    arrived_at: datetime | None = None
    resolved_at: datetime | None = None
    resolved_by: str | None = None
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


def _opened(entry: Entry) -> Order:
    detail = entry.detail
    return Order(
        id=OrderId(UUID(detail["id"])),
        community_id=CommunityId(detail["community_id"]),
        source=Source(detail["source"]),
        alert_id=AlertId(UUID(detail["alert_id"])) if detail["alert_id"] else None,
        parent_id=OrderId(UUID(detail["parent_id"])) if detail["parent_id"] else None,
        device_no=detail["device_no"],
        building_id=detail["building_id"],
        grid_id=detail["grid_id"],
        kind=detail["kind"],
        severity=Severity(detail["severity"]),
        title=Label(detail["title"]["zh"], detail["title"]["en"]),
        place=detail["place"],
        x=detail["x"],
        y=detail["y"],
        team=Team(detail["team"]),
        state=entry.to_state,
        version=entry.version,
        created_at=entry.at,
        correlation=detail["correlation"],
    )


def apply(order: Order | None, entry: Entry) -> Order:
    """The order after one more entry. Raises ValueError where the entry does not follow: the history is damaged."""
    if order is None:
        if entry.move is not Move.CREATE or entry.version != 1:
            raise ValueError(f"a history begins with create, not with {entry.move} {entry.version}")
        return _opened(entry)
    if entry.version != order.version + 1 or entry.from_state is not order.state:
        raise ValueError(
            f"{order.id}: entry {entry.version} from {entry.from_state} follows {order.version} {order.state}"
        )
    order = replace(order, state=entry.to_state, version=entry.version)
    at = entry.at
    match entry.move:
        case Move.DISPATCH | Move.TRANSFER | Move.REOPEN:
            return _dispatched(order, entry)
        case Move.ACCEPT:
            return replace(order, accepted_at=at, assignee_id=entry.actor_id)
        case Move.ARRIVE:
            return replace(order, arrived_at=at)
        case Move.RESOLVE:
            return replace(order, resolved_at=at, resolved_by=entry.actor_id)
        case Move.VERIFY:
            return replace(order, verified_at=at)
        case Move.CLOSE | Move.CANCEL | Move.FALSE_ALARM | Move.MERGE:
            return replace(order, closed_at=at, paused_at=None)
        case Move.RETURN:
            return replace(order, returns=order.returns + 1, assignee_id=None)
        case Move.PAUSE:
            return replace(order, paused_at=at)
        case Move.RESUME:
            return _resumed(order, at)
        case Move.ESCALATE:
            return replace(order, rung=min(order.rung + 1, TOP_RUNG))
        case Move.REPEAT:
            return _worsened(order, entry)
        case Move.CREATE:
            raise ValueError(f"{order.id}: created twice")


def _dispatched(order: Order, entry: Entry) -> Order:
    """Each dispatch starts the clocks anew, for whoever it goes to."""
    anew = replace(
        order,
        team=Team(entry.detail.get("team") or order.team),
        assignee_id=entry.detail.get("assignee_id"),
        rung=0,
        dispatched_at=entry.at,
        accepted_at=None,
        arrived_at=None,
        resolved_at=None,
        resolved_by=None,
        verified_at=None,
        closed_at=None,
        paused_at=None,
    )
    return _due(anew, deadlines(order.severity, entry.at))


def _due(order: Order, clocks: Deadlines) -> Order:
    return replace(
        order,
        accept_due=clocks.accept,
        arrive_due=clocks.arrive,
        resolve_due=clocks.resolve,
        verify_due=clocks.verify,
    )


def _resumed(order: Order, at: datetime) -> Order:
    """What was paused does not count: every deadline moves back by the length of the pause."""
    if order.paused_at is None:
        return order
    pause = at - order.paused_at

    def moved(due: datetime | None) -> datetime | None:
        return None if due is None else due + pause

    return replace(
        order,
        paused_at=None,
        accept_due=moved(order.accept_due),
        arrive_due=moved(order.arrive_due),
        resolve_due=moved(order.resolve_due),
        verify_due=moved(order.verify_due),
    )


def _worsened(order: Order, entry: Entry) -> Order:
    """A repeat may say that it got worse: then the clocks of the worse class run from now, if they end sooner."""
    severity = Severity(entry.detail.get("severity") or order.severity)
    if severity.rank <= order.severity.rank:
        return order
    if order.dispatched_at is None:
        return replace(order, severity=severity)
    fresh = deadlines(severity, entry.at)
    sooner = Deadlines(
        min(fresh.accept, order.accept_due or fresh.accept),
        min(fresh.arrive, order.arrive_due or fresh.arrive),
        min(fresh.resolve, order.resolve_due or fresh.resolve),
        min(fresh.verify, order.verify_due or fresh.verify),
    )
    return replace(_due(order, sooner), severity=severity)


def fold(history: Iterable[Entry]) -> Order:
    """The order its history makes. Raises ValueError when the history is empty or damaged."""
    order: Order | None = None
    for entry in history:
        order = apply(order, entry)
    if order is None:
        raise ValueError("an order without history")
    return order
