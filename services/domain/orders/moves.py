"""The moves of a work order as a table: from which state to which, who may make it, and what it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from services.domain.orders.needs import Need, barred, missing, of_class, words_for, wrong
from services.domain.orders.order import TOP_RUNG, Entry, Order
from services.domain.orders.people import SYSTEM, WHO_LABELS, Actor, Who, sorts_of
from services.domain.orders.requests import MoveRequest, digest
from services.domain.orders.states import ENDED, MOVE_LABELS, STATE_LABELS, Move, OrderState
from services.domain.orders.terms import Mode, Rung
from services.domain.vocabulary import Label

__all__ = [
    "SYSTEM", "TABLE", "Actor", "Legal", "MoveRequest", "Need", "Refused", "Who",
    "allowed_moves", "decide", "needs_of", "sorts_of",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Legal:
    """One row of the table. `to` None: the state stays; RESUME goes back to where it was paused."""

    move: Move
    sources: frozenset[OrderState]
    to: OrderState | None
    who: frozenset[Who]
    needs: frozenset[Need] = frozenset()


S, W = OrderState, Who
_OPEN = frozenset(S) - ENDED
_UNRESOLVED = _OPEN - {S.RESOLVED, S.VERIFIED}
_DONE = frozenset({S.RESOLVED, S.VERIFIED})
_NO_WORK = frozenset({S.CANCELLED, S.FALSE_ALARM, S.MERGED})
_IN_HAND = frozenset({W.ASSIGNEE, W.LEADER, W.DESK})
_ABOVE = frozenset({W.DESK, W.STREET, W.SYSTEM})
_CHECK = frozenset({W.DESK, W.GRID, W.STREET})
_INVOLVED = frozenset(W) - {W.OVERSEER}
_SYSTEM = frozenset({W.SYSTEM})


def _row(
    move: Move,
    sources: frozenset[OrderState] | OrderState,
    to: OrderState | None,
    who: frozenset[Who],
    *needs: Need,
) -> Legal:
    return Legal(move, frozenset({sources}) if isinstance(sources, OrderState) else sources, to, who, frozenset(needs))


_TAKERS = frozenset({W.ASSIGNEE, W.OFFERED, W.HELPER, W.LEADER})
_AFTERWARDS = frozenset({W.DESK, W.GRID, W.STREET, W.SYSTEM, W.REPORTER, W.ASSIGNEE, W.LEADER})

TABLE: tuple[Legal, ...] = (
    _row(Move.DISPATCH, frozenset({S.CREATED, S.RETURNED}), S.DISPATCHED, _ABOVE),
    _row(Move.ACCEPT, S.DISPATCHED, S.ACCEPTED, _TAKERS | {W.DESK}),
    # Taking it over from whoever accepted it: never by accident, so not by any member of the team.
    _row(Move.ACCEPT, S.ACCEPTED, S.ACCEPTED, frozenset({W.LEADER, W.DESK})),
    _row(Move.ARRIVE, S.ACCEPTED, S.ARRIVED, _IN_HAND),
    _row(Move.RESOLVE, S.ARRIVED, S.RESOLVED, _IN_HAND),
    _row(Move.VERIFY, S.RESOLVED, S.VERIFIED, _CHECK, Need.OTHER_PERSON),
    _row(Move.CLOSE, S.VERIFIED, S.CLOSED, frozenset({W.DESK, W.STREET})),
    _row(Move.RETURN, S.DISPATCHED, S.RETURNED, _TAKERS, Need.REASON, Need.FIRST_RETURN),
    _row(Move.RETURN, S.ACCEPTED, S.RETURNED, frozenset({W.ASSIGNEE, W.LEADER}), Need.REASON, Need.FIRST_RETURN),
    _row(Move.TRANSFER, _UNRESOLVED - {S.CREATED}, S.DISPATCHED, _ABOVE, Need.TEAM),
    _row(
        Move.ASSIGN,
        frozenset({S.DISPATCHED, S.ACCEPTED, S.ARRIVED, S.PAUSED}),
        None,
        _ABOVE | {W.LEADER},
        Need.PERSON,
    ),
    _row(Move.PAUSE, frozenset({S.ACCEPTED, S.ARRIVED}), S.PAUSED, _IN_HAND, Need.PAUSE_REASON),
    _row(Move.RESUME, S.PAUSED, None, _IN_HAND | {W.SYSTEM}),
    _row(Move.REOPEN, _DONE, S.DISPATCHED, _CHECK | {W.SYSTEM}, Need.REASON),
    _row(Move.REOPEN, S.CLOSED, S.DISPATCHED, frozenset({W.DESK, W.SYSTEM}), Need.REASON),
    _row(Move.REOPEN, frozenset({S.FALSE_ALARM, S.CANCELLED}), S.DISPATCHED, frozenset({W.DESK}), Need.REASON),
    _row(Move.CANCEL, frozenset({S.CREATED, S.DISPATCHED}), S.CANCELLED, frozenset({W.DESK, W.REPORTER}), Need.REASON),
    _row(Move.CANCEL, _UNRESOLVED - {S.CREATED, S.DISPATCHED}, S.CANCELLED, frozenset({W.DESK}), Need.REASON),
    _row(Move.FALSE_ALARM, S.ARRIVED, S.FALSE_ALARM, _IN_HAND, Need.REASON),
    _row(Move.FALSE_ALARM, _UNRESOLVED - {S.ARRIVED}, S.FALSE_ALARM, frozenset({W.DESK}), Need.REASON),
    _row(Move.MERGE, _UNRESOLVED, S.MERGED, frozenset({W.DESK, W.SYSTEM}), Need.MERGE_INTO),
    _row(Move.URGE, _OPEN, None, frozenset({W.DESK, W.OVERSEER, W.REPORTER, W.SYSTEM})),
    _row(Move.ESCALATE, _OPEN, None, _ABOVE | {W.LEADER}),
    _row(Move.EVIDENCE, _OPEN, None, _INVOLVED, Need.EVIDENCE),
    _row(Move.EVIDENCE, S.CLOSED, None, frozenset({W.DESK}), Need.EVIDENCE),
    _row(Move.NOTE, _OPEN, None, frozenset(W), Need.NOTE),
    _row(Move.NOTE, S.CLOSED, None, _AFTERWARDS, Need.NOTE),
    _row(Move.NOTE, _NO_WORK, None, frozenset({W.DESK, W.SYSTEM}), Need.NOTE),
    _row(Move.CALL_BACK, _DONE | {S.CLOSED}, None, _CHECK | {W.SYSTEM}, Need.OUTCOME),
    _row(Move.RATE, _DONE | {S.CLOSED}, None, frozenset({W.REPORTER, W.SYSTEM}), Need.RATING),
    _row(Move.REPEAT, _OPEN, None, _SYSTEM),
    _row(Move.WARN, _OPEN, None, _SYSTEM),
    _row(Move.BREACH, _OPEN, None, _SYSTEM),
)
"""Every legal move but `create`. What is not here is not done."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a move may not be made, in words for the person who asked, and who could make it.

    `code`: `state` (not in this state), `who` (not by this person), `needs` (something is missing: `needs`), `barred`
    (not by them or not now, whatever they fill in), `value` (what was filled in cannot be), `key` (the
    idempotency key stands for another move).
    """

    reason: Label
    code: str = "barred"
    state: OrderState | None = None
    move: Move | None = None
    who: tuple[Who, ...] = ()
    needs: tuple[Need, ...] = ()


_ROWS: Mapping[tuple[Move, OrderState], Legal] = {(row.move, state): row for row in TABLE for state in row.sources}


def _needs(order: Order, row: Legal, actor: Actor) -> frozenset[Need]:
    """What the class asks for is asked of people: the system has no hands to take a picture."""
    return row.needs if actor.role is None else row.needs | of_class(order, row.move)


def _may(order: Order, actor: Actor, row: Legal, now: datetime | None) -> bool:
    return bool(sorts_of(order, actor, now) & row.who)


def allowed_moves(order: Order, actor: Actor, now: datetime | None = None) -> tuple[Move, ...]:
    """The moves this person may make now, in the order of the table; what they need is asked when they do.

    `now` None: what only time has opened or closed counts once it stands in the history.
    """
    return tuple(
        row.move
        for row in TABLE
        if order.state in row.sources
        and _may(order, actor, row, now)
        and barred(order, actor, row.move, _needs(order, row, actor), now) is None
    )


def needs_of(order: Order, actor: Actor, now: datetime | None = None) -> dict[Move, tuple[Need, ...]]:
    """What each move that this person may make still needs: fields to fill in, and what must be there before."""
    return {
        move: missing(order, MoveRequest(move, order.version), _needs(order, _ROWS[move, order.state], actor))
        for move in allowed_moves(order, actor, now)
    }


def decide(order: Order, request: MoveRequest, actor: Actor, now: datetime) -> Entry | Refused:
    """The next line of the order's history, or why not. Checks everything but the version and other orders."""
    state, move = order.state, request.move
    row = _ROWS.get((move, state))
    refused = Refused(Label("", ""), "state", state, move)
    if row is None:
        return replace(refused, reason=_not_in_state(order, move))
    refused = replace(refused, who=tuple(who for who in Who if who in row.who))
    if not _may(order, actor, row, now):
        return replace(refused, reason=_not_yours(refused), code="who")
    needs = _needs(order, row, actor)
    why = barred(order, actor, move, needs, now, request)
    if why is not None:
        return replace(refused, reason=why, code="barred")
    lacking = missing(order, request, needs)
    if lacking:
        return replace(refused, reason=words_for(order, lacking), code="needs", needs=lacking)
    why = wrong(order, request, actor, now)
    if why is not None:
        return replace(refused, reason=why, code="value")
    to = row.to if row.to is not None else order.before_pause if move is Move.RESUME else state
    detail = _settled(order, request, now).as_detail()
    if request.idempotency_key is not None and actor.role is not None:
        detail["digest"] = digest(request)
    return Entry(
        order.version + 1,
        move,
        state,
        to,
        now,
        actor.id,
        actor.role_name,
        request.reason,
        detail,
        request.idempotency_key,
    )


def _settled(order: Order, request: MoveRequest, now: datetime) -> MoveRequest:
    """The request with what follows from the order itself."""
    match request.move:
        case Move.ARRIVE:
            return replace(request, place=request.place or order.place)
        case Move.DISPATCH if order.state is OrderState.RETURNED:
            # Returned once already: whoever it goes to now keeps it.
            return replace(_named(request), forced=True)
        case Move.DISPATCH | Move.TRANSFER | Move.REOPEN | Move.ASSIGN:
            return _named(request)
        case Move.PAUSE:
            return replace(request, pause_until=_until(order, request, now))
        case Move.ESCALATE if request.rung is None:
            return replace(request, rung=Rung(min(order.rung + 1, TOP_RUNG)))
    return request


def _named(request: MoveRequest) -> MoveRequest:
    """Whoever is named for it is whom it is offered to: those who tell people read them in the history."""
    if request.assignee_id is None or request.people:
        return request
    return replace(request, people=(request.assignee_id,), mode=request.mode or Mode.ASSIGN)


def _until(order: Order, request: MoveRequest, now: datetime) -> datetime | None:
    """When the pause ends by itself: as asked, within what the class allows."""
    longest = order.terms.pause_longest_s
    limit = now + timedelta(seconds=longest) if longest else None
    return min((at for at in (request.pause_until, limit) if at is not None), default=None)


def _not_in_state(order: Order, move: Move) -> Label:
    sources = [state for state in OrderState if (move, state) in _ROWS]
    zh = "、".join(STATE_LABELS[state].zh for state in sources) or "无"
    en = ", ".join(state.value for state in sources) or "none"
    return Label(
        f"工单处于“{STATE_LABELS[order.state].zh}”状态，不能“{MOVE_LABELS[move].zh}”；可执行的状态：{zh}",
        f"An order that is {order.state.value} cannot {move.value}; it can when it is: {en}",
    )


def _not_yours(refused: Refused) -> Label:
    assert refused.move is not None  # noqa: S101
    zh = "、".join(WHO_LABELS[who].zh for who in refused.who)
    en = ", ".join(WHO_LABELS[who].en for who in refused.who)
    return Label(
        f"您不能对该工单“{MOVE_LABELS[refused.move].zh}”，可执行者：{zh}",
        f"You may not {refused.move.value} this order; who may: {en}",
    )
