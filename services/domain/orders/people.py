"""Who a person is to one order: of its team, its leader, who has it, who watches over it, or nobody."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from services.domain.ids import CommunityId
from services.domain.orders.order import Order
from services.domain.orders.terms import Mode, Rung
from services.domain.vocabulary import Label, Role, Team


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asks. `role` None: the system itself. `community_id` None: not bound to one (checked by the caller).

    `id` empty: nobody in particular of this role and team; may be whoever of them an order was given to.
    """

    id: str
    role: Role | None
    team: Team | None = None
    community_id: CommunityId | None = None
    grid_id: str | None = None
    leads: bool = False
    """Leads the team."""
    reporter: bool = False
    """Reported what this order is about; the caller knows."""

    @property
    def role_name(self) -> str:
        return self.role.value if self.role else "system"


SYSTEM = Actor("system", None)


class Who(StrEnum):
    """Sorts of people, seen from one order."""

    ASSIGNEE = "assignee"
    """Who has it: named for it, or first to accept it."""
    OFFERED = "offered"
    """Whom it was offered to."""
    HELPER = "helper"
    """Anybody of its team, where it is open to all of it (`open_to_team`)."""
    TEAM = "team"
    """Anybody of the team it was dispatched to; for 网格 orders, the members of that 网格."""
    LEADER = "leader"
    """Who leads that team."""
    GRID = "grid"
    """Members of the 网格 the place lies in, whoever does the work."""
    DESK = "desk"
    """The desk on duty and the administrators of the community."""
    STREET = "street"
    """The street office or a department, once the order has climbed up to it."""
    OVERSEER = "overseer"
    """The street office, departments and city platforms, who may press for any order (督办)."""
    REPORTER = "reporter"
    """Who reported what it is about."""
    SYSTEM = "system"


WHO_LABELS: dict[Who, Label] = {
    Who.ASSIGNEE: Label("承办人", "whoever has it"),
    Who.OFFERED: Label("被派单人", "whoever it was offered to"),
    Who.HELPER: Label("本队队员（工单对全队开放时）", "anybody of its team, while it is open to all of it"),
    Who.TEAM: Label("本队队员", "its team"),
    Who.LEADER: Label("队长", "the leader of its team"),
    Who.GRID: Label("所在网格的网格员", "grid members of the place"),
    Who.DESK: Label("社区值班", "the community desk"),
    Who.STREET: Label("已升级到的街道或部门", "the street office or department it has climbed to"),
    Who.OVERSEER: Label("街道、部门与城市平台", "the street office, departments and city platforms"),
    Who.REPORTER: Label("上报人", "whoever reported it"),
    Who.SYSTEM: Label("系统", "the system"),
}

_OPEN_MODES = frozenset({Mode.TEAM, Mode.GRAB, Mode.FIRST})


def open_to_team(order: Order, now: datetime | None) -> bool:
    """Whether anybody of the team may take it: a roster that is wrong must never keep help away.

    In the modes that call several, from the first; else once it has climbed a rung, or nobody accepted in time.
    `now` None: by what stands in its history alone.
    """
    if order.mode in _OPEN_MODES or order.rung >= Rung.LEADER:
        return True
    if order.assignee_id is None and not order.offered:
        return True
    late = now is not None and order.accept_due is not None and now >= order.accept_due
    return late or any(key.startswith("breach:accept:") for key in order.taken)


def sorts_of(order: Order, actor: Actor, now: datetime | None = None) -> frozenset[Who]:
    """What this person is to this order; empty for whom it is none of their business."""
    if actor.role is None:
        return frozenset({Who.SYSTEM})
    if actor.role is Role.PLATFORM:
        return frozenset({Who.OVERSEER, Who.REPORTER} if actor.reporter else {Who.OVERSEER})
    if actor.role is Role.STREET:
        return _above(order, actor)
    if actor.community_id != order.community_id and not (actor.role is Role.ADMIN and actor.community_id is None):
        return frozenset()
    found: set[Who] = {Who.REPORTER} if actor.reporter else set()
    match actor.role:
        case Role.DESK | Role.ADMIN:
            found |= {Who.DESK} | _given(order, actor, order.team is Team.DESK)
        case Role.STAFF:
            found |= _of_team(order, actor, actor.team is order.team, now)
        case Role.GRID:
            # An order whose place lies in no 网格 must still find somebody: any grid member may take it.
            own = actor.grid_id is not None and order.grid_id == actor.grid_id
            # So may they once it has climbed, or where nobody was named for it: then all of them are told.
            anybodys = order.grid_id is None or order.rung >= Rung.LEADER or not (order.offered or order.assignee_id)
            taken_up = order.team is Team.GRID and actor.grid_id is not None and (own or anybodys)
            found |= _of_team(order, actor, taken_up, now)
            if own:
                found.add(Who.GRID)
            if actor.leads and order.team is Team.GRID:
                found.add(Who.LEADER)
    return frozenset(found)


def _given(order: Order, actor: Actor, ours: bool) -> set[Who]:
    """`ours`: whether it is the actor's team that has it; a nobody in particular may then be whoever was named."""
    if not actor.id:
        return {Who.ASSIGNEE, Who.OFFERED} if ours else set()
    found = {Who.ASSIGNEE} if order.assignee_id == actor.id else set()
    return found | ({Who.OFFERED} if actor.id in order.offered else set())


def _of_team(order: Order, actor: Actor, ours: bool, now: datetime | None) -> set[Who]:
    found = _given(order, actor, ours)
    if ours:
        found.add(Who.TEAM)
        if open_to_team(order, now):
            found.add(Who.HELPER)
        if actor.leads and actor.team is order.team:
            found.add(Who.LEADER)
    return found


def _above(order: Order, actor: Actor) -> frozenset[Who]:
    """The street office and departments: they watch every order, and take a hand in what has come up to them."""
    department = actor.team is Team.DEPARTMENT
    ours = order.team is (Team.DEPARTMENT if department else Team.STREET)
    climbed = order.rung >= (Rung.DEPARTMENT if department else Rung.STREET)
    # What a department does, its street office goes on answering for.
    reached = ours or climbed or (not department and order.team is Team.DEPARTMENT)
    found = {Who.OVERSEER} | _given(order, actor, ours) | ({Who.STREET} if reached else set())
    if ours:
        found |= {Who.TEAM, Who.HELPER}
    return frozenset(found)
