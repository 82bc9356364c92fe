"""Cases (案件) that city platforms open here: the words of their systems, and which state of an order each one is.

The words are those in which 12345 hotlines and 城市运行管理服务平台 commonly speak of a case. No standard's code list
is claimed: what a city's own platform calls a state is for its side to map from `CaseState`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID, uuid5

from services.domain.ids import OrderId
from services.domain.orders.order import Entry
from services.domain.orders.pauses import REASONS
from services.domain.orders.states import Move, OrderState
from services.domain.vocabulary import Label, Role

_CASES = UUID("3f0f2a7e-6f3d-4b57-9a53-0e7c1d7c9b42")
"""Orders of platforms are named by the account and the platform's own id of the case."""


class System(StrEnum):
    """What kind of system opened it; its words are spoken to it."""

    HOTLINE = "hotline"
    """12345 政务服务便民热线."""
    CITY = "city"
    """城市运行管理服务平台."""


class CaseState(StrEnum):
    RECEIVED = "received"
    ASSIGNED = "assigned"
    HANDLING = "handling"
    SUSPENDED = "suspended"
    HANDLED = "handled"
    CHECKED = "checked"
    CLOSED = "closed"
    RETURNED = "returned"
    """By the community, with a reason: it is not theirs, or cannot be done by them."""
    UNFOUNDED = "unfounded"
    WITHDRAWN = "withdrawn"
    """By the platform that opened it."""
    JOINED = "joined"
    """It is worked on in another order, whose state is the case's from there on."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table. `orders`: the states of an order that it is."""

    state: CaseState
    hotline: str
    city: str
    en: str
    orders: frozenset[OrderState]
    over: bool = False

    def words(self, system: System) -> Label:
        return Label(self.hotline if system is System.HOTLINE else self.city, self.en)


S, C = OrderState, CaseState


def _row(state: CaseState, hotline: str, city: str, en: str, *orders: OrderState, over: bool = False) -> Row:
    return Row(state, hotline, city, en, frozenset(orders), over)


TABLE: tuple[Row, ...] = (
    _row(C.RECEIVED, "待签收", "待立案", "Received; the community has not taken it up yet", S.CREATED),
    # An order that a team returned goes to another in the same breath: for the city it never lay with nobody.
    _row(C.ASSIGNED, "已签收", "已派遣", "Taken up and given to a team", S.DISPATCHED, S.RETURNED),
    _row(C.HANDLING, "办理中", "处置中", "Somebody is at it", S.ACCEPTED, S.ARRIVED),
    _row(C.SUSPENDED, "延期办理", "挂账", "Paused, for a reason", S.PAUSED),
    _row(C.HANDLED, "已办理，待核实", "已处置，待核查", "Done, they say; to be verified", S.RESOLVED),
    _row(C.CHECKED, "已核实，待办结", "核查通过，待结案", "Verified; to be closed", S.VERIFIED),
    _row(C.CLOSED, "已办结", "已结案", "Closed", S.CLOSED, over=True),
    _row(C.RETURNED, "已退回", "已退回", "Returned by the community", S.CANCELLED, over=True),
    _row(C.UNFOUNDED, "诉求不属实", "核实无此问题", "There was nothing to it", S.FALSE_ALARM, over=True),
    _row(C.WITHDRAWN, "已撤单", "已撤销", "Withdrawn by whoever opened it", S.CANCELLED, over=True),
    _row(C.JOINED, "并案办理", "并案", "Worked on together with another", S.MERGED),
)
"""Every state of an order is in it; CANCELLED is twice, for it matters who ended it."""

BY_STATE: Mapping[CaseState, Row] = {row.state: row for row in TABLE}
_BY_ORDER: Mapping[OrderState, CaseState] = {
    state: row.state for row in TABLE if row.state is not C.WITHDRAWN for state in row.orders
}

ENDS: frozenset[OrderState] = frozenset(state for row in TABLE if row.over for state in row.orders)
"""States of an order in which its case is over."""


class Act(StrEnum):
    """What a platform does with a case; each is one of our moves."""

    OPEN = "open"
    URGE = "urge"
    ADD = "add"
    HAND_OVER = "hand_over"
    WITHDRAW = "withdraw"


ACTS: Mapping[Act, tuple[Move, Label]] = {
    Act.OPEN: (Move.CREATE, Label("交办", "Open it")),
    Act.URGE: (Move.URGE, Label("督办", "Press for it")),
    Act.ADD: (Move.NOTE, Label("补充说明", "Add something in words")),
    Act.HAND_OVER: (Move.EVIDENCE, Label("移交材料", "Hand over a photo, a clip or a voice note")),
    Act.WITHDRAW: (Move.CANCEL, Label("撤单", "Withdraw it")),
}


def case_id(account_id: str, external_id: str) -> OrderId:
    """The order of a platform's own id: the same for each repetition, another for each account."""
    return OrderId(uuid5(_CASES, f"{account_id}\n{external_id}"))


def state_of(state: OrderState, *, withdrawn: bool = False) -> CaseState:
    """What an order's state is called above. `withdrawn`: by the platform that opened it."""
    return C.WITHDRAWN if withdrawn else _BY_ORDER[state]


def orders_in(state: CaseState) -> frozenset[OrderState]:
    """The other way: which states of an order a word from above means."""
    return BY_STATE[state].orders


def by_platform(entry: Entry) -> bool:
    return entry.actor_role == Role.PLATFORM.value


@dataclass(frozen=True, slots=True)
class Step:
    """Since `at` it is in that state. `reason`: why it was returned, is paused or was found to be nothing."""

    state: CaseState
    at: datetime
    reason: str | None = None


_EXPLAINED = frozenset({C.RETURNED, C.UNFOUNDED, C.SUSPENDED})


def steps(own: Iterable[Entry], joined: Iterable[Entry] = (), withdrawn_at: datetime | None = None) -> list[Step]:
    """How a case went, oldest first. `own`: the history of its own order; `joined`: of the one that it was merged into,
    of which only states are told, from then on: its words are about somebody else's trouble."""
    found: list[Step] = []
    merged_at: datetime | None = None
    for entry in own:
        state = state_of(entry.to_state, withdrawn=entry.move is Move.CANCEL and by_platform(entry))
        reason = _reason(entry) if state in _EXPLAINED else None
        _add(found, Step(state, entry.at, reason))
        merged_at = entry.at if entry.move is Move.MERGE else merged_at
    standing: CaseState | None = None
    for entry in joined:
        state = state_of(entry.to_state)
        if merged_at is None or entry.at > merged_at:
            if standing is not None:
                _add(found, Step(standing, merged_at or entry.at))
                standing = None
            _add(found, Step(state, entry.at))
        else:
            standing = state
    if standing is not None and merged_at is not None:
        _add(found, Step(standing, merged_at))
    if withdrawn_at is not None:
        found = [one for one in found if one.at < withdrawn_at and one.state is not C.WITHDRAWN]
        found.append(Step(C.WITHDRAWN, withdrawn_at))
    return found


def _add(found: list[Step], step: Step) -> None:
    if not found or found[-1].state is not step.state:
        found.append(step)


def _reason(entry: Entry) -> str | None:
    if entry.reason:
        return entry.reason
    named = REASONS.get(str(entry.detail.get("pause_reason", "")))
    return f"{named.zh} · {named.en}" if named is not None else None


@dataclass(frozen=True, slots=True)
class Result:
    """What came of it, once it is resolved. `note`: what whoever resolved it wrote, for whoever asked for it."""

    note: str | None
    resolved_at: datetime


def result(own: Iterable[Entry]) -> Result | None:
    """Of the running dispatch: sent back to work, it has none."""
    found: Result | None = None
    for entry in own:
        if entry.move is Move.RESOLVE:
            found = Result(entry.detail.get("note"), entry.at)
        elif entry.move is Move.REOPEN:
            found = None
    return found
