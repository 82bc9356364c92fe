"""The facts of an order worked out in Python from its history, and random histories to compare with; no SQL."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import quantiles
from typing import Any

from services.domain.ids import CommunityId, OrderId
from services.domain.kpis import COUNTED, FIGURES, MEASURED, Much, Tally
from services.domain.orders import (
    SYSTEM,
    Actor,
    Draft,
    Entry,
    Move,
    MoveRequest,
    Order,
    OrderState,
    Rung,
    Source,
    created,
    decide,
    fold,
    plain_terms,
)
from services.domain.orders.folding import apply
from services.domain.orders.imported import stand_in
from services.domain.vocabulary import Label, Role, Severity, Team

S = OrderState
_GONE = frozenset({S.CANCELLED, S.FALSE_ALARM, S.MERGED})


def facts(history: Sequence[Entry], now: datetime) -> dict[str, Any]:
    """Every fact by name: True or False, or a size, or None where it has none."""
    order = fold(history)
    moves = [entry.move for entry in history]
    filed = Move.DISPATCH in moves or Move.TRANSFER in moves or Move.REOPEN in moves
    closed = order.state is S.CLOSED
    past = order.resolve_due is not None and order.resolve_due <= now
    due = filed and order.state not in _GONE and (closed or past)
    deferred = filed and order.state is S.PAUSED and past
    stood = min([now, *([order.closed_at] if order.closed_at else [])])
    ran = min([stood, *([order.paused_at] if order.paused_at else [])])
    done = order.resolved_at or order.closed_at

    def judged(limit_s: float, at: datetime | None) -> bool:
        if at is not None:
            return True
        return order.dispatched_at is not None and order.dispatched_at + timedelta(seconds=limit_s) <= stood

    def within(limit_s: float, at: datetime | None) -> bool:
        return (
            at is not None
            and order.dispatched_at is not None
            and at - order.dispatched_at <= timedelta(seconds=limit_s)
        )

    def late_or_done(at: datetime | None, limit: datetime | None) -> bool:
        return limit is not None and (at is not None or limit < ran)

    def kept(at: datetime | None, limit: datetime | None) -> bool:
        return at is not None and limit is not None and at <= limit

    from_alert = order.source is Source.ALERT
    resident = order.source is Source.RESIDENT and closed
    reworks = sum(
        1
        for number, entry in enumerate(history)
        if entry.move is Move.REOPEN and fold(history[:number]).resolved_at is not None
    )
    return {
        "received": True,
        "filed": filed,
        "due": due,
        "deferred": deferred,
        "due_not_deferred": due and not deferred,
        "closed": due and closed,
        "closed_on_time": due and closed and (order.resolve_due is None or kept(done, order.resolve_due)),
        "overdue": due and not closed and order.resolved_at is None and not deferred,
        "accept_1min_judged": judged(60, order.accepted_at),
        "accepted_1min": within(60, order.accepted_at),
        "arrive_10min_judged": judged(600, order.arrived_at),
        "arrived_10min": within(600, order.arrived_at),
        "accept_judged": late_or_done(order.accepted_at, order.accept_due),
        "accept_kept": kept(order.accepted_at, order.accept_due),
        "arrive_judged": late_or_done(order.arrived_at, order.arrive_due),
        "arrive_kept": kept(order.arrived_at, order.arrive_due),
        "resolve_judged": late_or_done(order.resolved_at, order.resolve_due),
        "resolve_kept": kept(order.resolved_at, order.resolve_due),
        "verify_judged": late_or_done(order.verified_at, order.verify_due),
        "verify_kept": kept(order.verified_at, order.verify_due),
        "resolved": order.resolved_at is not None or reworks > 0,
        "reworked": reworks > 0,
        "returned": Move.RETURN in moves,
        "alert_ended": from_alert and order.state in (S.CLOSED, S.FALSE_ALARM),
        "false_alarm": from_alert and order.state is S.FALSE_ALARM,
        "rated": order.rating is not None,
        "satisfied": order.rating is not None and order.rating >= 4,
        "asked_for": resident,
        "called_back": resident and order.call_back is not None,
        "reached": order.call_back in ("satisfied", "unsatisfied"),
        "content": order.call_back == "satisfied",
        "accept_s": order.accept_s,
        "arrive_s": order.arrive_s,
        "resolve_s": order.resolve_s,
        "verify_s": order.verify_s,
        "rating": order.rating,
        "escalations": moves.count(Move.ESCALATE) if filed else None,
        "urges": moves.count(Move.URGE),
    }  # fmt: skip


def tally_of(found: Sequence[dict[str, Any]]) -> Tally:
    much = {}
    for name in MEASURED:
        values = sorted(one[name] for one in found if one[name] is not None)
        p90 = None
        if name.endswith("_s") and values:
            p90 = values[0] if len(values) == 1 else quantiles(values, n=10, method="inclusive")[8]
        much[name] = Much(len(values), sum(values), p90)
    return Tally({name: sum(1 for one in found if one[name]) for name in COUNTED}, much)


@dataclass(frozen=True, slots=True)
class Made:
    order: Order
    history: tuple[Entry, ...]


_MOVES = tuple(move for move in Move if move is not Move.CREATE)
_ONWARDS = (Move.DISPATCH, Move.ACCEPT, Move.ARRIVE, Move.RESOLVE, Move.VERIFY, Move.CLOSE)


def random_history(chance: random.Random, draft: Draft, at: datetime, now: datetime) -> Made:
    """A walk through the table of moves: mostly onwards, now and then anything that is legal."""
    terms = plain_terms(draft.severity)
    draft = replace(draft, terms=replace(terms, pause_reasons=("waiting_parts",)))
    history = [created(draft, at, "import", "system")]
    order = fold(history)
    for _ in range(chance.randrange(14)):
        at += timedelta(seconds=round(10 ** chance.uniform(0, 5.2), 3))
        if at > now:
            break
        for move in chance.sample(_ONWARDS, len(_ONWARDS)) if chance.random() < 0.6 else chance.sample(_MOVES, 8):
            entry = _legal(chance, order, move, at)
            if entry is not None:
                history.append(entry)
                order = apply(order, entry)
                break
    assert all(one.at <= two.at for one, two in pairwise(history))
    return Made(order, tuple(history))


def _legal(chance: random.Random, order: Order, move: Move, at: datetime) -> Entry | None:
    community = order.community_id
    request = MoveRequest(
        move=move,
        version=order.version,
        reason="原因",
        note="说明",
        team=chance.choice((Team.PATROL, Team.MAINTENANCE)) if move is Move.TRANSFER else order.team,
        assignee_id=stand_in(community, order.team) if move is Move.ASSIGN else None,
        pause_reason="waiting_parts",
        rating=chance.randrange(1, 6),
        outcome=chance.choice(("satisfied", "unsatisfied", "unreached")),
        clock="accept",
        rung=Rung(chance.randrange(5)),
        severity=Severity.CRITICAL.value if move is Move.REPEAT else None,
    )
    people = (
        Actor(stand_in(community, order.team), Role.STAFF, order.team, community, leads=True),
        Actor(stand_in(community, Team.DESK), Role.DESK, Team.DESK, community),
        Actor(stand_in(community, Team.GENERAL), Role.DESK, Team.DESK, community),
        Actor("import-resident", Role.RESIDENT, None, community, reporter=True),
        SYSTEM,
    )
    for actor in chance.sample(people, len(people)):
        entry = decide(order, request, actor, at)
        if isinstance(entry, Entry):
            return entry
    return None


def draft(chance: random.Random, community: str, number: int, **more: Any) -> Draft:
    source = more.pop("source", None) or chance.choice((Source.RESIDENT, Source.STAFF, Source.PLATFORM, Source.PATROL))
    return Draft(
        id=OrderId(more.pop("id")),
        community_id=CommunityId(community),
        source=source,
        kind="report",
        severity=chance.choice(list(Severity)),
        title=Label("垃圾堆放", "Rubbish"),
        team=chance.choice((Team.PATROL, Team.MAINTENANCE, Team.CLEANING)),
        correlation=f"r{number}",
        category=chance.choice((None, "litter", "lift")),
        external_id=f"r{number}",
        **more,
    )


assert {figure.over for figure in FIGURES} <= {*COUNTED, *MEASURED}
