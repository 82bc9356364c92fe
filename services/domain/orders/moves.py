"""The moves of a work order as a table: from which state to which, who may make it, and what it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from services.domain.ids import CommunityId, OrderId
from services.domain.orders.order import TOP_RUNG, Entry, Order
from services.domain.orders.states import Move, OrderState
from services.domain.orders.terms import Mode, Rung, Terms
from services.domain.vocabulary import Label, Role, Team


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks. `role` None: the system itself. `community_id` None: not bound to one (checked by the caller)."""

    id: str
    role: Role | None
    team: Team | None = None
    community_id: CommunityId | None = None
    grid_id: str | None = None

    @property
    def role_name(self) -> str:
        return self.role.value if self.role else "system"


SYSTEM = Actor("system", None)


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
    evidence_id: str | None = None
    sort: str | None = None
    phase: str | None = None
    rating: int | None = None
    outcome: str | None = None


class Who(StrEnum):
    """Sorts of people, seen from one order."""

    TEAM = "team"
    """The team it was dispatched to; for 网格 orders, the members of that 网格."""
    GRID = "grid"
    """Members of the 网格 the place lies in, whoever does the work."""
    DESK = "desk"
    """The desk on duty and the administrators of the community."""
    STREET = "street"
    """The street office, once the order has climbed up to it."""
    SYSTEM = "system"


class Need(StrEnum):
    REASON = "reason"
    TEAM = "team"
    OTHER_PERSON = "other_person"
    """Not the one who resolved it."""
    FIRST_RETURN = "first_return"
    MERGE_INTO = "merge_into"


@dataclass(frozen=True, slots=True)
class Legal:
    """One row of the table. `to` None: the state stays; RESUME goes back to where it was paused."""

    move: Move
    sources: frozenset[OrderState]
    to: OrderState | None
    who: frozenset[Who]
    needs: frozenset[Need] = frozenset()


S = OrderState
_OPEN = frozenset({S.CREATED, S.DISPATCHED, S.ACCEPTED, S.ARRIVED, S.RESOLVED, S.VERIFIED, S.PAUSED, S.RETURNED})
_UNRESOLVED = _OPEN - {S.RESOLVED, S.VERIFIED}
_WORK = frozenset({Who.TEAM, Who.DESK})
_DISPATCHERS = frozenset({Who.DESK, Who.STREET, Who.SYSTEM})
_REASON = frozenset({Need.REASON})

TABLE: tuple[Legal, ...] = (
    Legal(Move.DISPATCH, frozenset({S.CREATED, S.RETURNED}), S.DISPATCHED, _DISPATCHERS),
    Legal(Move.ACCEPT, frozenset({S.DISPATCHED}), S.ACCEPTED, _WORK),
    Legal(Move.ARRIVE, frozenset({S.ACCEPTED}), S.ARRIVED, _WORK),
    Legal(Move.RESOLVE, frozenset({S.ARRIVED}), S.RESOLVED, _WORK),
    Legal(
        Move.VERIFY,
        frozenset({S.RESOLVED}),
        S.VERIFIED,
        frozenset({Who.DESK, Who.GRID, Who.STREET}),
        frozenset({Need.OTHER_PERSON}),
    ),
    Legal(Move.CLOSE, frozenset({S.VERIFIED}), S.CLOSED, frozenset({Who.DESK, Who.STREET})),
    Legal(
        Move.RETURN,
        frozenset({S.DISPATCHED, S.ACCEPTED}),
        S.RETURNED,
        frozenset({Who.TEAM}),
        frozenset({Need.REASON, Need.FIRST_RETURN}),
    ),
    Legal(Move.TRANSFER, _UNRESOLVED - {S.CREATED}, S.DISPATCHED, _DISPATCHERS, frozenset({Need.TEAM})),
    Legal(Move.PAUSE, frozenset({S.ACCEPTED, S.ARRIVED}), S.PAUSED, _WORK, _REASON),
    Legal(Move.RESUME, frozenset({S.PAUSED}), None, _WORK | {Who.SYSTEM}),
    Legal(
        Move.REOPEN,
        frozenset({S.RESOLVED, S.VERIFIED}),
        S.DISPATCHED,
        frozenset({Who.DESK, Who.GRID, Who.STREET}),
        _REASON,
    ),
    Legal(Move.REOPEN, frozenset({S.CLOSED, S.FALSE_ALARM, S.CANCELLED}), S.DISPATCHED, frozenset({Who.DESK}), _REASON),
    Legal(Move.CANCEL, _UNRESOLVED, S.CANCELLED, frozenset({Who.DESK}), _REASON),
    Legal(Move.FALSE_ALARM, frozenset({S.ARRIVED}), S.FALSE_ALARM, _WORK, _REASON),
    Legal(Move.FALSE_ALARM, _UNRESOLVED - {S.ARRIVED}, S.FALSE_ALARM, frozenset({Who.DESK}), _REASON),
    Legal(Move.MERGE, _UNRESOLVED, S.MERGED, frozenset({Who.SYSTEM}), frozenset({Need.MERGE_INTO})),
    Legal(Move.ESCALATE, _OPEN, None, frozenset({Who.SYSTEM, Who.DESK})),
    Legal(Move.REPEAT, _OPEN, None, frozenset({Who.SYSTEM})),
    Legal(Move.WARN, _OPEN, None, frozenset({Who.SYSTEM})),
    Legal(Move.BREACH, _OPEN, None, frozenset({Who.SYSTEM})),
)


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a move may not be made, in words for the person who asked."""

    reason: Label


def sorts_of(order: Order, actor: Actor) -> frozenset[Who]:
    """What this person is to this order; empty for whom it is none of their business."""
    if actor.role is None:
        return frozenset({Who.SYSTEM})
    if actor.role is Role.STREET:
        in_charge = order.team is Team.STREET
        found = {Who.STREET} if in_charge or order.rung >= TOP_RUNG else set()
        return frozenset(found | ({Who.TEAM} if in_charge else set()))
    if actor.community_id != order.community_id and not (actor.role is Role.ADMIN and actor.community_id is None):
        return frozenset()
    if actor.role in (Role.DESK, Role.ADMIN):
        return frozenset({Who.DESK})
    if actor.role is Role.STAFF:
        return frozenset({Who.TEAM}) if actor.team is order.team else frozenset()
    if actor.role is Role.GRID and actor.grid_id is not None:
        # An order whose place lies in no 网格 must still find somebody: any grid member of the community may take it.
        own = order.grid_id == actor.grid_id
        found = {Who.GRID} if own else set()
        if order.team is Team.GRID and (own or order.grid_id is None):
            found.add(Who.TEAM)
        return frozenset(found)
    return frozenset()


def _rows(order: Order, move: Move) -> list[Legal]:
    return [row for row in TABLE if row.move is move and order.state in row.sources]


def _barred(order: Order, actor: Actor, row: Legal) -> Refused | None:
    """Needs that no form can fill in."""
    if Need.OTHER_PERSON in row.needs and actor.id == order.resolved_by:
        return Refused(Label("核查须由处置人以外的人进行", "It must be verified by someone other than who resolved it"))
    if Need.FIRST_RETURN in row.needs and order.returns > 0:
        return Refused(
            Label("工单只能退回一次，现为强制派单", "An order can be returned once only; this one is forced")
        )
    if row.move is Move.ESCALATE and order.rung >= TOP_RUNG:
        return Refused(Label("已升级到最高一级", "It already stands on the top rung of the ladder"))
    return None


def allowed_moves(order: Order, actor: Actor) -> tuple[Move, ...]:
    """The moves this person may make now, in the order of the table; what they need is asked when they do."""
    sorts = sorts_of(order, actor)
    found: list[Move] = []
    for row in TABLE:
        fits = order.state in row.sources and sorts & row.who and _barred(order, actor, row) is None
        if fits and row.move not in found:
            found.append(row.move)
    return tuple(found)


def decide(order: Order, request: MoveRequest, actor: Actor, now: datetime) -> Entry | Refused:
    """The next line of the order's history, or why not. Checks everything but the version."""
    rows = _rows(order, request.move)
    if not rows:
        return Refused(
            Label(
                f"工单处于“{order.state.value}”状态，不能执行“{request.move.value}”",
                f"An order that is {order.state.value} cannot {request.move.value}",
            )
        )
    row = next((row for row in rows if sorts_of(order, actor) & row.who), None)
    if row is None:
        who = ", ".join(sorted({sort.value for candidate in rows for sort in candidate.who}))
        return Refused(
            Label(
                f"您无权对该工单执行“{request.move.value}”，可执行者：{who}",
                f"You may not {request.move.value} this order; who may: {who}",
            )
        )
    refused = _barred(order, actor, row) or _missing(request, row)
    if refused is not None:
        return refused
    to = row.to if row.to is not None else order.before_pause if row.move is Move.RESUME else order.state
    return Entry(
        order.version + 1,
        request.move,
        order.state,
        to,
        now,
        actor.id,
        actor.role_name,
        request.reason,
        _detail(order, request),
        request.idempotency_key,
    )


def _missing(request: MoveRequest, row: Legal) -> Refused | None:
    if Need.REASON in row.needs and not (request.reason or "").strip():
        return Refused(Label("请填写原因", "A reason is needed"))
    if Need.TEAM in row.needs and request.team is None:
        return Refused(Label("请选择队伍", "A team is needed"))
    if Need.MERGE_INTO in row.needs and request.merge_into is None:
        return Refused(Label("请指明并入的工单", "The order it is merged into is needed"))
    return None


def _detail(order: Order, request: MoveRequest) -> dict[str, Any]:
    detail: dict[str, Any] = {
        "note": request.note,
        "place": request.place or (order.place if request.move is Move.ARRIVE else None),
        "team": request.team.value if request.team else None,
        "assignee_id": request.assignee_id,
        "alert_id": request.alert_id,
        "severity": request.severity,
        "merge_into": str(request.merge_into) if request.merge_into else None,
        "clock": request.clock,
        "people": list(request.people),
        "mode": request.mode.value if request.mode else None,
        "forced": request.forced,
        "rung": int(request.rung) if request.rung is not None else None,
        "terms": request.terms.as_detail() if request.terms else None,
        "on_site": dict(request.on_site) if request.on_site else None,
        "pause_reason": request.pause_reason,
        "pause_until": request.pause_until.isoformat() if request.pause_until else None,
        "evidence_id": request.evidence_id,
        "sort": request.sort,
        "phase": request.phase,
        "rating": request.rating,
        "outcome": request.outcome,
    }
    return {name: value for name, value in detail.items() if value}
