"""One order in any state, and everybody who might have to do with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from services.domain.ids import CommunityId, OrderId
from services.domain.orders import (
    SYSTEM,
    Actor,
    ClockTerm,
    Draft,
    Entry,
    Mode,
    Move,
    MoveRequest,
    Order,
    OrderState,
    Rung,
    Source,
    Step,
    Terms,
    created,
)
from services.domain.orders.folding import apply
from services.domain.orders.pauses import REASONS
from services.domain.vocabulary import Label, Role, Severity, Team

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
HOME, AWAY = CommunityId("home"), CommunityId("away")
INTO = OrderId(UUID(int=9))

PEOPLE: dict[str, Actor] = {
    "system": SYSTEM,
    "assignee": Actor("u-assignee", Role.STAFF, Team.PATROL, HOME),
    "offered": Actor("u-offered", Role.STAFF, Team.PATROL, HOME),
    "mate": Actor("u-mate", Role.STAFF, Team.PATROL, HOME),
    "leader": Actor("u-leader", Role.STAFF, Team.PATROL, HOME, leads=True),
    "cleaner": Actor("u-cleaner", Role.STAFF, Team.CLEANING, HOME),
    "cleaning leader": Actor("u-cleaning-leader", Role.STAFF, Team.CLEANING, HOME, leads=True),
    "maintenance": Actor("u-maintenance", Role.STAFF, Team.MAINTENANCE, HOME),
    "foreign mate": Actor("u-foreign-mate", Role.STAFF, Team.PATROL, AWAY),
    "foreign leader": Actor("u-foreign-leader", Role.STAFF, Team.PATROL, AWAY, leads=True),
    "grid": Actor("u-grid", Role.GRID, Team.GRID, HOME, "g1"),
    "other grid": Actor("u-other-grid", Role.GRID, Team.GRID, HOME, "g2"),
    "other grid leader": Actor("u-grid-leader", Role.GRID, Team.GRID, HOME, "g2", leads=True),
    "foreign grid": Actor("u-foreign-grid", Role.GRID, Team.GRID, AWAY, "g1"),
    "desk": Actor("u-desk", Role.DESK, Team.DESK, HOME),
    "second desk": Actor("u-desk-2", Role.DESK, Team.DESK, HOME),
    "desk who worked": Actor("u-desk-worked", Role.DESK, Team.DESK, HOME),
    "foreign desk": Actor("u-foreign-desk", Role.DESK, Team.DESK, AWAY),
    "admin": Actor("u-admin", Role.ADMIN, None, HOME),
    "city admin": Actor("u-city-admin", Role.ADMIN),
    "foreign admin": Actor("u-foreign-admin", Role.ADMIN, None, AWAY),
    "street": Actor("u-street", Role.STREET, Team.STREET),
    "department": Actor("u-department", Role.STREET, Team.DEPARTMENT),
    "platform": Actor("u-platform", Role.PLATFORM),
    "reporter": Actor("u-reporter", Role.RESIDENT, None, HOME, reporter=True),
    "foreign reporter": Actor("u-foreign-reporter", Role.RESIDENT, None, AWAY, reporter=True),
    "resident": Actor("u-resident", Role.RESIDENT, None, HOME),
    "merchant": Actor("u-merchant", Role.MERCHANT, None, HOME),
    "visitor": Actor("u-visitor", Role.VISITOR, None, HOME),
}
EVERY_REASON = tuple(REASONS)


def terms(**more: Any) -> Terms:
    """Ten minutes to accept, an hour to arrive, four to resolve, a day to verify; every reason for a pause allowed."""
    ladder = tuple(Step(number * 600, rung) for number, rung in enumerate(list(Rung)[1:]))
    clocks: Any = {
        "accept": ClockTerm(600, 150, ladder),
        "arrive": ClockTerm(3600, 900, ladder),
        "resolve": ClockTerm(14400, 3600, (Step(0, Rung.DESK),)),
        "verify": ClockTerm(86400, 0, (Step(0, Rung.DESK),)),
    }
    given = {"clocks": clocks, "pause_reasons": EVERY_REASON, "pause_longest_s": 7200, **more}
    return Terms(class_id="test", class_version=1, **given)


def draft(**more: Any) -> Draft:
    given: dict[str, Any] = {
        "id": OrderId(UUID(int=1)),
        "community_id": HOME,
        "source": Source.ALERT,
        "kind": "gas_alarm",
        "severity": Severity.MAJOR,
        "title": Label("燃气", "Gas"),
        "team": Team.PATROL,
        "correlation": "d@1",
        "place": "1号楼",
        "grid_id": "g1",
        "terms": terms(),
        **more,
    }
    return Draft(**given)


def entry(
    order: Order, move: Move, to: OrderState | None = None, *, by: str = "u-assignee", at: datetime = NOW, **detail: Any
) -> Entry:
    return Entry(order.version + 1, move, order.state, to or order.state, at, by, "staff", detail=detail)


S, M = OrderState, Move
_WORK = [(M.DISPATCH, S.DISPATCHED), (M.ACCEPT, S.ACCEPTED), (M.ARRIVE, S.ARRIVED), (M.RESOLVE, S.RESOLVED)]
_WORK += [(M.VERIFY, S.VERIFIED), (M.CLOSE, S.CLOSED)]
WAYS: dict[OrderState, list[tuple[Move, OrderState]]] = {
    S.CREATED: [],
    S.RETURNED: [(M.DISPATCH, S.DISPATCHED), (M.RETURN, S.RETURNED)],
    S.CANCELLED: [(M.CANCEL, S.CANCELLED)],
    S.FALSE_ALARM: [(M.FALSE_ALARM, S.FALSE_ALARM)],
    S.MERGED: [(M.MERGE, S.MERGED)],
    S.PAUSED: [*_WORK[:2], (M.PAUSE, S.PAUSED)],
    **{to: _WORK[: number + 1] for number, (_, to) in enumerate(_WORK)},
}
"""By the shortest way there."""


def order_in(
    state: OrderState,
    *,
    opened: Draft | None = None,
    mode: Mode = Mode.TEAM,
    named: bool = True,
    helped: bool = True,
    accepted_by: str = "u-assignee",
    returned: bool = False,
    rung: Rung = Rung.TEAM,
    late: bool = False,
    at: datetime = NOW,
) -> Order:
    """`named`: whether somebody was named for it and offered it; `helped`: the second desk has had a hand in it."""
    order = apply(None, created(opened or draft(), at, "system", "system"))
    people: dict[str, Any] = {"assignee_id": "u-assignee", "people": ["u-offered"]} if named else {}
    if returned:
        order = apply(order, entry(order, M.DISPATCH, S.DISPATCHED, at=at))
        order = apply(order, entry(order, M.RETURN, S.RETURNED, at=at))
        people["forced"] = True
    for move, to in WAYS[state]:
        detail: dict[str, Any] = people | {"mode": mode.value} if move is M.DISPATCH else {}
        if move is M.PAUSE:
            detail = {"pause_reason": "weather", "pause_until": (at + timedelta(hours=1)).isoformat()}
        order = apply(
            order, entry(order, move, to, by=accepted_by if move is M.ACCEPT else "u-assignee", at=at, **detail)
        )
        if move is M.ARRIVE and helped:
            order = replace(order, workers=(*order.workers, "u-desk-worked"))
    if rung:
        order = apply(order, entry(order, M.ESCALATE, rung=int(rung), at=at))
    if late:
        key = f"breach:accept:{int(at.timestamp() * 1000)}"
        order = apply(order, replace(entry(order, M.BREACH, at=at), idempotency_key=key))
    assert order.state is state
    return order


def full(move: Move, version: int, **more: Any) -> MoveRequest:
    """With everything filled in that a move may ask of whoever makes it."""
    given: Mapping[str, Any] = {
        "reason": "because",
        "note": "noted",
        "place": "door",
        "team": Team.MAINTENANCE,
        "assignee_id": "u-mate",
        "merge_into": INTO,
        "pause_reason": "weather",
        "evidence_id": "e1",
        "outcome": "satisfied",
        "rating": 5,
        **more,
    }
    return MoveRequest(move, version, **given)
