"""Opens and moves work orders inside the caller's transaction; every change is a line of history first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from services.adapters import outbox
from services.adapters.dispatch import choose, people_at
from services.adapters.orders.classes import terms_for
from services.adapters.orders.rows import (
    MoveRefused,
    OrderRow,
    Q,
    VersionConflict,
    fetch_order,
    insert_history,
    order_row,
    record_of,
    store_entry,
)
from services.adapters.outbox import Outgoing
from services.domain.city.cases import by_platform, state_of
from services.domain.orders import (
    SYSTEM,
    TOP_RUNG,
    Actor,
    Draft,
    Entry,
    Move,
    MoveRequest,
    Order,
    Refused,
    Rung,
    Source,
    created,
    decide,
    digest,
    fold,
    unmergeable,
    with_filing,
)
from services.domain.orders.folding import apply
from services.domain.vocabulary import Label

NOBODY_ON_DUTY = "本队无人在岗，直接升级 · nobody of the team is on duty, so the next rung is asked at once"
_ANEW = frozenset({Move.DISPATCH, Move.TRANSFER, Move.REOPEN})
_OTHER_KEY = Label(
    "该 Idempotency-Key 已用于另一次操作，请换一个新的值",
    "This Idempotency-Key was used for something else already; send a new value for each move",
)
_OTHER_OPEN = Label("该告警已有另一张未结工单", "Another order is already open for the same alert")
_NO_TARGET = Label("找不到要并入的工单", "There is no such order to merge it into")


async def open_order(
    connection: asyncpg.Connection[Any],
    draft: Draft,
    now: datetime,
    *,
    actor: Actor = SYSTEM,
    dispatch: bool = True,
) -> OrderRow:
    """As `insert_order`, and tells the outbox: the last thing of its transaction."""
    row, outgoing = await insert_order(connection, draft, now, actor=actor, dispatch=dispatch)
    await outbox.append(connection, outgoing)
    return row


async def insert_order(
    connection: asyncpg.Connection[Any],
    draft: Draft,
    now: datetime,
    *,
    actor: Actor = SYSTEM,
    dispatch: bool = True,
    note: str | None = None,
    asked: str | None = None,
) -> tuple[OrderRow, list[Outgoing]]:
    """Opens the order in the name of `actor`; the caller writes what is returned to the outbox, which comes last.

    The system dispatches it to the draft's team at once; `dispatch` False: it waits until somebody files it (立案).
    `asked`: the digest of what was asked for, kept with the first entry. Raises UniqueViolationError where an order
    of this id, external id or open alert stands already.
    """
    if draft.terms is None:
        draft = replace(draft, terms=await terms_for(connection, draft, now))
    if not dispatch and draft.terms is not None:
        draft = replace(draft, terms=with_filing(draft.terms))
    first = created(draft, now, actor.id, actor.role_name)
    more = {name: value for name, value in (("note", note), ("digest", asked)) if value}
    first = replace(first, detail={**first.detail, **more})
    order = fold([first])
    entries, outgoing = [first], [outgoing_of(order, first)]
    if dispatch:
        request = await _filled(connection, order, MoveRequest(Move.DISPATCH, 1, team=draft.team), SYSTEM, now)
        second = _decided(order, request, SYSTEM, now)
        order = apply(order, second)
        entries.append(second)
        outgoing.append(outgoing_of(order, second))
        for climb in await _climbing(connection, order, now):
            third = _decided(order, climb, SYSTEM, now)
            order = apply(order, third)
            entries.append(third)
            outgoing.append(outgoing_of(order, third))
    row = await connection.fetchrow(Q["insert_order"], record_of(order))
    for entry in entries:
        await insert_history(connection, order.id, entry)
    await _audit(connection, order, first)
    return order_row(row), outgoing


def _decided(order: Order, request: MoveRequest, actor: Actor, now: datetime) -> Entry:
    entry = decide(order, request, actor, now)
    if isinstance(entry, Refused):
        raise MoveRefused(entry)
    return entry


def outgoing_of(order: Order, entry: Entry) -> Outgoing:
    """What the outbox says of one move, and what subscribers may choose by; `order`: as it stands after it."""
    data = {
        "order_id": str(order.id),
        "alert_id": str(order.alert_id) if order.alert_id else None,
        "state": entry.to_state.value,
        "version": entry.version,
        "kind": order.kind,
        "severity": order.severity.value,
        "team": order.team.value,
        "source": order.source.value,
    }
    if order.source is Source.PLATFORM:
        withdrawn = entry.move is Move.CANCEL and by_platform(entry)
        data["case_state"] = state_of(entry.to_state, withdrawn=withdrawn).value
    return Outgoing(f"order.{entry.move.value}", order.community_id, str(order.id), order.correlation, data)


async def apply_move(
    connection: asyncpg.Connection[Any], order_id: UUID, request: MoveRequest, actor: Actor, now: datetime
) -> OrderRow:
    """One move, in the caller's transaction, with its history, audit and outbox lines, and all that follows from it.

    The same idempotency key with the same request changes nothing and returns the order as it stands now. Raises
    OrderNotFound, VersionConflict (somebody was faster), MoveRefused (not legal, the key stands for another request,
    or another order is open for the same alert). A merge may meet the alert engine: DeadlockDetectedError, try again.
    """
    into = await _lock_both(connection, order_id, request)
    current = await fetch_order(connection, order_id, lock=True)
    if request.idempotency_key and (known := await connection.fetchrow(Q["key_of"], order_id, request.idempotency_key)):
        if known["move"] != request.move or known["digest"] not in (None, digest(request)):
            raise MoveRefused(Refused(_OTHER_KEY, "key", current.state, request.move))
        return current
    if request.version != current.version:
        raise VersionConflict(current)
    entry = await _next(connection, current, request, actor, now)
    if into is not None and (why := unmergeable(current, into)) is not None:
        raise MoveRefused(Refused(why, "value", current.state, request.move))
    try:
        async with connection.transaction():
            row = await store_entry(connection, current, entry)
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name != "work_order_open_alert":
            raise
        raise MoveRefused(Refused(_OTHER_OPEN, "barred", current.state, request.move)) from error
    outgoing = [outgoing_of(row, entry)]
    if entry.move in _ANEW and (climbs := await _climbing(connection, row.order, now)):
        row, told = await append_moves(connection, order_id, climbs, now)
        outgoing += told
    if entry.move is Move.RETURN:
        # It goes to somebody else in the same breath: nobody waits on an order that lies with no one.
        again = MoveRequest(Move.DISPATCH, row.version, reason=request.reason, forced=True)
        row, told = await append_moves(connection, order_id, [again], now)
        outgoing += told
    if into is not None:
        outgoing += await _taken_over(connection, current, into, now)
    await _audit(connection, current, entry)
    await outbox.append(connection, outgoing)
    return row


async def append_moves(
    connection: asyncpg.Connection[Any], order_id: UUID, requests: Sequence[MoveRequest], now: datetime
) -> tuple[OrderRow, list[Outgoing]]:
    """Moves of the system itself, against whatever version stands; those not legal in that state are left out.

    `version` of the requests is ignored: the row is locked, so there is nobody to be in conflict with. The caller
    writes the returned events to the outbox when everything else is done.
    """
    current = await fetch_order(connection, order_id, lock=True)
    outgoing: list[Outgoing] = []
    for request in requests:
        if request.idempotency_key and await connection.fetchrow(Q["key_of"], order_id, request.idempotency_key):
            continue
        try:
            entry = await _next(connection, current, request, SYSTEM, now)
        except MoveRefused:
            continue
        current = await store_entry(connection, current, entry)
        outgoing.append(outgoing_of(current, entry))
        if entry.move in _ANEW and (climbs := await _climbing(connection, current.order, now)):
            current, told = await append_moves(connection, order_id, climbs, now)
            outgoing += told
    return current, outgoing


async def _climbing(connection: asyncpg.Connection[Any], order: Order, now: datetime) -> list[MoveRequest]:
    """Of an order that found nobody of its team on duty: the step up to where somebody is, at once."""
    if order.offered or order.assignee_id is not None:
        return []
    reached = await people_at(connection, order, Rung.TEAM, now)
    if reached.rung <= order.rung:
        return []
    words = "各级均无人在岗 · nobody is on duty on any rung" if reached.alone else NOBODY_ON_DUTY
    return [MoveRequest(Move.ESCALATE, order.version, reason=words, rung=reached.rung, people=reached.people)]


async def _next(
    connection: asyncpg.Connection[Any], current: OrderRow, request: MoveRequest, actor: Actor, now: datetime
) -> Entry:
    """The entry, with the people it goes to. Raises MoveRefused before anybody is looked for."""
    order = current.order
    entry = _decided(order, request, actor, now)
    full = await _filled(connection, order, request, actor, now)
    if full is request:
        return entry
    # What was asked for stays what tells a retry, whoever was found for it.
    asked = {"digest": entry.detail["digest"]} if "digest" in entry.detail else {}
    entry = _decided(order, full, actor, now)
    return replace(entry, detail={**entry.detail, **asked})


async def _filled(
    connection: asyncpg.Connection[Any], order: Order, request: MoveRequest, actor: Actor, now: datetime
) -> MoveRequest:
    """With the people it goes to, where it does not name them itself."""
    if request.people or request.assignee_id is not None:
        return request
    if request.move in _ANEW:
        forced = request.forced or (request.move is Move.DISPATCH and order.returns > 0)
        choice = await choose(connection, replace(order, team=request.team or order.team, forced=forced), now)
        return replace(
            request,
            assignee_id=choice.assignee_id,
            mode=choice.mode,
            people=choice.offered,
            forced=forced,
            note=request.note or choice.why,
        )
    if request.move is Move.ESCALATE and actor.role is not None:
        reached = await people_at(connection, order, request.rung or Rung(min(order.rung + 1, TOP_RUNG)), now)
        return replace(request, rung=reached.rung, people=reached.people)
    return request


async def _lock_both(connection: asyncpg.Connection[Any], order_id: UUID, request: MoveRequest) -> OrderRow | None:
    """Of a merge: the order it goes into. Both rows are locked by id, so that two merges cannot wait for each other."""
    if request.move is not Move.MERGE or request.merge_into is None:
        return None
    rows = await connection.fetch(Q["lock_orders"], [order_id, request.merge_into])
    found = {row["id"]: row for row in rows}
    if order_id in found and request.merge_into not in found:
        refused = Refused(_NO_TARGET, "value", order_row(found[order_id]).state, request.move)
        raise MoveRefused(refused)
    return order_row(found[request.merge_into]) if request.merge_into in found else None


async def _taken_over(
    connection: asyncpg.Connection[Any], part: OrderRow, into: OrderRow, now: datetime
) -> list[Outgoing]:
    """What was worked on in the one is worked on in the other: its alerts, how bad it is, and what was seen of it."""
    await connection.execute(Q["move_alerts"], part.id, into.id)
    graver = part.severity.rank > into.severity.rank
    brought = {
        "order_id": str(part.id),
        "number": part.number,
        "photos_before": part.photos_before,
        "photos_after": part.photos_after,
        "signatures": part.signatures,
    }
    joined = MoveRequest(
        Move.REPEAT,
        into.version,
        alert_id=str(part.alert_id) if part.alert_id else None,
        severity=part.severity.value if graver else None,
        terms=part.terms if graver else None,
        reason=f"并入工单 {part.number} · order {part.number} was merged into this one",
        note=part.place or None,
        merged=brought,
    )
    _, outgoing = await append_moves(connection, into.id, [joined], now)
    return outgoing


async def _audit(connection: asyncpg.Connection[Any], order: Order, entry: Entry) -> None:
    if entry.actor_role == SYSTEM.role_name:
        return
    await connection.execute(
        Q["audit"],
        entry.actor_id,
        entry.actor_role,
        order.community_id,
        f"order.{entry.move.value}",
        str(order.id),
        json.dumps({"version": entry.version, "from": entry.from_state, "to": entry.to_state}),
    )
