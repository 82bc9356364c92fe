"""How the history of a work order folds into the order: one entry after the other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

from services.domain.ids import AlertId, CommunityId, OrderId
from services.domain.orders.clocks import Deadlines, deadlines, gone, later
from services.domain.orders.order import Entry, Order, Source
from services.domain.orders.states import Move
from services.domain.orders.terms import Clock, Mode, Rung, Terms, plain_terms
from services.domain.vocabulary import Label, Severity, Team


def _opened(entry: Entry) -> Order:
    detail = entry.detail
    severity = Severity(detail["severity"])
    terms = Terms.from_detail(detail["terms"]) if detail.get("terms") else plain_terms(severity)
    filing = terms.clocks.get("file")
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
        severity=severity,
        title=Label(detail["title"]["zh"], detail["title"]["en"]),
        place=detail["place"],
        x=detail["x"],
        y=detail["y"],
        team=Team(detail["team"]),
        state=entry.to_state,
        version=entry.version,
        created_at=entry.at,
        correlation=detail["correlation"],
        terms=terms,
        category=detail.get("category"),
        external_id=detail.get("external_id"),
        file_due=later(terms, entry.at, filing.due_s) if filing else None,
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
    at, detail = entry.at, entry.detail
    match entry.move:
        case Move.DISPATCH | Move.TRANSFER | Move.REOPEN:
            return _dispatched(order, entry)
        case Move.ASSIGN:
            return replace(
                order,
                assignee_id=detail.get("assignee_id"),
                offered=tuple(detail.get("people", ())),
                mode=Mode(detail.get("mode") or Mode.ASSIGN),
            )
        case Move.ACCEPT:
            took = order.accept_s if order.accept_s is not None else _ran(order, at)
            # Whoever takes it over goes on where the first one was.
            first = order.accepted_at or at
            return _worked(replace(order, accepted_at=first, assignee_id=entry.actor_id, accept_s=took), entry)
        case Move.ARRIVE:
            took = order.arrive_s if order.arrive_s is not None else _ran(order, at)
            on_site = detail.get("on_site") or {}
            return _worked(replace(order, arrived_at=at, arrive_s=took, on_site=on_site.get("by")), entry)
        case Move.RESOLVE:
            done = replace(order, resolved_at=at, resolved_by=entry.actor_id, resolve_s=_took(order, at))
            return _worked(done, entry)
        case Move.VERIFY:
            return replace(order, verified_at=at, verify_s=_took(order, at))
        case Move.CLOSE | Move.CANCEL | Move.FALSE_ALARM | Move.MERGE:
            into = detail.get("merge_into")
            order = _stopped(order, at)
            return replace(order, closed_at=at, paused_at=None, merged_into=OrderId(UUID(into)) if into else None)
        case Move.RETURN:
            # Dispatched again in the same breath, and its clocks begin anew with that; the stopwatch goes on.
            return replace(order, returns=order.returns + 1, assignee_id=None, offered=(), accepted_at=None)
        case Move.PAUSE:
            until = detail.get("pause_until")
            return replace(
                _stopped(order, at),
                paused_at=at,
                pause_reason=detail.get("pause_reason"),
                pause_until=datetime.fromisoformat(until) if until else None,
            )
        case Move.RESUME:
            return _resumed(order, at)
        case Move.ESCALATE:
            rung = detail.get("rung")
            # Histories from before the ladder had five rungs: the desk stood above the team, the street above the desk.
            rung = {0: Rung.DESK, 2: Rung.STREET}.get(order.rung, Rung.STREET) if rung is None else Rung(rung)
            return replace(order, rung=max(order.rung, rung), taken=_taken(order, entry))
        case Move.WARN | Move.BREACH:
            return replace(order, taken=_taken(order, entry))
        case Move.URGE:
            return replace(order, urges=order.urges + 1)
        case Move.EVIDENCE:
            return _shown(order, entry)
        case Move.CALL_BACK:
            return replace(order, call_back=detail.get("outcome"))
        case Move.RATE:
            return replace(order, rating=detail.get("rating"))
        case Move.NOTE:
            return order
        case Move.REPEAT:
            return _brought(_worsened(order, entry), entry.detail.get("merged") or {})
        case Move.CREATE:
            raise ValueError(f"{order.id}: created twice")


def _worked(order: Order, entry: Entry) -> Order:
    if entry.actor_id in order.workers:
        return order
    return replace(order, workers=(*order.workers, entry.actor_id))


def _taken(order: Order, entry: Entry) -> tuple[str, ...]:
    key = entry.idempotency_key
    return (*order.taken, key) if key is not None else order.taken


def _ran(order: Order, at: datetime) -> float:
    """What the stopwatch shows: seconds since the first dispatch, pauses left out."""
    return order.ran_s if order.ran_at is None else order.ran_s + gone(order.terms, order.ran_at, at)


def _took(order: Order, at: datetime) -> float | None:
    """The same since the last dispatch."""
    return None if order.dispatched_at is None else _ran(order, at) - order.ran_before_s


def _stopped(order: Order, at: datetime) -> Order:
    return replace(order, ran_s=_ran(order, at), ran_at=None)


def _brought(order: Order, merged: Mapping[str, Any]) -> Order:
    """What was seen of the order that was merged into this one was seen of this one."""
    return replace(
        order,
        photos_before=order.photos_before + merged.get("photos_before", 0),
        photos_after=order.photos_after + merged.get("photos_after", 0),
        signatures=order.signatures + merged.get("signatures", 0),
    )


def _shown(order: Order, entry: Entry) -> Order:
    """`phase` says of a photo or clip whether it shows the place before or after the work."""
    if entry.detail.get("sort") == "signature":
        return replace(order, signatures=order.signatures + 1)
    match entry.detail.get("phase"):
        case "before":
            return replace(order, photos_before=order.photos_before + 1)
        case "after":
            return replace(order, photos_after=order.photos_after + 1)
        case _:
            return order


def _dispatched(order: Order, entry: Entry) -> Order:
    """Each dispatch starts the clocks anew, for whoever it goes to."""
    detail = entry.detail
    again = entry.move is Move.REOPEN
    anew = replace(
        order,
        team=Team(detail.get("team") or order.team),
        assignee_id=detail.get("assignee_id"),
        mode=Mode(detail.get("mode") or Mode.TEAM),
        offered=tuple(detail.get("people", ())),
        forced=bool(detail.get("forced")) or (order.forced and entry.move is Move.DISPATCH),
        rung=0,
        reworks=order.reworks + (1 if again and order.resolved_at is not None else 0),
        taken=(),
        photos_after=0 if again else order.photos_after,
        on_site=None,
        pause_reason=None,
        pause_until=None,
        paused_s=0.0,
        ran_s=_ran(order, entry.at),
        ran_before_s=_ran(order, entry.at),
        ran_at=entry.at,
        filed_at=order.filed_at or entry.at,
        dispatched_at=entry.at,
        accepted_at=None,
        arrived_at=None,
        resolved_at=None,
        resolved_by=None,
        workers=() if again else order.workers,
        resolve_s=None,
        verify_s=None,
        verified_at=None,
        closed_at=None,
        paused_at=None,
    )
    return _due(anew, deadlines(order.terms, entry.at))


def _due(order: Order, clocks: Deadlines) -> Order:
    return replace(
        order,
        accept_due=clocks.accept,
        arrive_due=clocks.arrive,
        resolve_due=clocks.resolve,
        verify_due=clocks.verify,
    )


def _resumed(order: Order, at: datetime) -> Order:
    """What was paused does not count: what was left of each clock when it was paused is left of it now.

    What had run out by then stays run out.
    """
    paused_at = order.paused_at
    if paused_at is None:
        return order

    def moved(due: datetime | None) -> datetime | None:
        if due is None or due <= paused_at:
            return due
        return later(order.terms, at, gone(order.terms, paused_at, due))

    return replace(
        order,
        paused_at=None,
        pause_reason=None,
        pause_until=None,
        ran_at=at,
        paused_s=order.paused_s + gone(order.terms, paused_at, at),
        accept_due=moved(order.accept_due),
        arrive_due=moved(order.arrive_due),
        resolve_due=moved(order.resolve_due),
        verify_due=moved(order.verify_due),
    )


def _worsened(order: Order, entry: Entry) -> Order:
    """A repeat may say that it got worse: then the terms of the worse class run from now, where they end sooner."""
    severity = Severity(entry.detail.get("severity") or order.severity)
    if severity.rank <= order.severity.rank:
        return order
    given = entry.detail.get("terms")
    terms = Terms.from_detail(given) if given else plain_terms(severity)
    if order.dispatched_at is None and "file" not in terms.clocks and "file" in order.terms.clocks:
        # It waits to be filed still, and must not wait unwatched because the worse class files nothing.
        terms = replace(terms, clocks={"file": order.terms.clocks["file"], **terms.clocks})
    before, running = order, order.ran_at is not None
    order = replace(_stopped(order, entry.at), severity=severity, terms=terms, ran_at=entry.at if running else None)
    filing = terms.clocks.get("file")
    if order.dispatched_at is None:
        sooner = later(terms, entry.at, filing.due_s) if filing is not None else None
        return replace(order, file_due=_sooner(order.file_due, sooner))

    def due(clock: Clock, old: datetime | None) -> datetime | None:
        term = terms.clocks.get(clock)
        if term is None:
            return old
        if order.paused_at is None:
            return _sooner(old, later(terms, entry.at, term.due_s))
        # It stands still: the smaller is left of what was left and what the worse class gives.
        if old is not None and old <= order.paused_at:
            return old
        left = term.due_s if old is None else min(term.due_s, gone(before.terms, order.paused_at, old))
        return later(terms, order.paused_at, left)

    return _due(
        order,
        Deadlines(
            due("accept", order.accept_due),
            due("arrive", order.arrive_due),
            due("resolve", order.resolve_due),
            due("verify", order.verify_due),
        ),
    )


def _sooner(*dues: datetime | None) -> datetime | None:
    return min((due for due in dues if due is not None), default=None)


def fold(history: Iterable[Entry]) -> Order:
    """The order its history makes. Raises ValueError when the history is empty or damaged."""
    order: Order | None = None
    for entry in history:
        order = apply(order, entry)
    if order is None:
        raise ValueError("an order without history")
    return order
