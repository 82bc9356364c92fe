"""Opens and moves work orders inside the caller's transaction; the row is written from the fold of its history."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from services.adapters import outbox
from services.adapters.dispatch import choose
from services.adapters.orders.classes import terms_for
from services.adapters.outbox import Outgoing
from services.adapters.queries import Queries
from services.domain.orders import (
    SYSTEM,
    Actor,
    Draft,
    Entry,
    Mode,
    Move,
    MoveRequest,
    Order,
    OrderState,
    Refused,
    Source,
    Terms,
    attention_at,
    created,
    decide,
    fold,
    plain_terms,
)
from services.domain.orders.order import apply
from services.domain.vocabulary import Label, Severity, Team

Q = Queries.beside(__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderRow(Order):
    """An order with the number people call it by."""

    number: int

    @property
    def order(self) -> Order:
        """Without the number: equal to the fold of the history."""
        return Order(**{field.name: getattr(self, field.name) for field in fields(Order)})


class OrderNotFound(Exception):
    """There is no such order."""


class VersionConflict(Exception):
    """Somebody moved it meanwhile; `current` is how it stands now."""

    def __init__(self, current: OrderRow) -> None:
        super().__init__(f"order {current.id} is at version {current.version}")
        self.current = current


class MoveRefused(Exception):
    """The move is not legal for this order, state or person; `reason` says why in both languages."""

    def __init__(self, reason: Label) -> None:
        super().__init__(reason.en)
        self.reason = reason


def order_row(row: Mapping[str, Any]) -> OrderRow:
    """From a whole `work_order` record."""
    values: dict[str, Any] = {
        field.name: row[field.name] for field in fields(OrderRow) if field.name not in ("title", "severity", "terms")
    }
    severity = Severity(row["severity"])
    terms = row["terms"] if isinstance(row["terms"], dict) else json.loads(row["terms"])
    return OrderRow(
        **{
            **values,
            "terms": Terms.from_detail(terms) if terms else plain_terms(severity),
            "mode": Mode(row["mode"]),
            "offered": tuple(row["offered"]),
            "taken": tuple(row["taken"]),
            "source": Source(row["source"]),
            "title": Label(row["title_zh"], row["title_en"]),
            "severity": severity,
            "team": Team(row["team"]),
            "state": OrderState(row["state"]),
        }
    )


async def fetch_order(connection: asyncpg.Connection[Any], order_id: UUID, *, lock: bool = False) -> OrderRow:
    """Raises OrderNotFound. `lock` holds the row until the end of the transaction."""
    row = await connection.fetchrow(Q["lock_order" if lock else "fetch_order"], order_id)
    if row is None:
        raise OrderNotFound(str(order_id))
    return order_row(row)


async def fetch_history(connection: asyncpg.Connection[Any], order_id: UUID) -> list[Entry]:
    """The whole history, oldest first; `fold` of it is the order."""
    return [
        Entry(
            version=row["version"],
            move=Move(row["move"]),
            from_state=OrderState(row["from_state"]) if row["from_state"] else None,
            to_state=OrderState(row["to_state"]),
            at=row["at"],
            actor_id=row["actor_id"],
            actor_role=row["actor_role"],
            reason=row["reason"],
            detail=row["detail"] if isinstance(row["detail"], dict) else json.loads(row["detail"]),
            idempotency_key=row["idempotency_key"],
        )
        for row in await connection.fetch(Q["fetch_history"], order_id)
    ]


async def open_order(connection: asyncpg.Connection[Any], draft: Draft, now: datetime) -> OrderRow:
    """Creates the order and dispatches it to the draft's team, both by the system, and tells the outbox."""
    row, outgoing = await insert_order(connection, draft, now)
    await outbox.append(connection, outgoing)
    return row


async def insert_order(
    connection: asyncpg.Connection[Any], draft: Draft, now: datetime
) -> tuple[OrderRow, list[Outgoing]]:
    """As `open_order`, for a caller who has more to write before the outbox, which must come last."""
    if draft.terms is None:
        draft = replace(draft, terms=await terms_for(connection, draft, now))
    first = created(draft, now, SYSTEM.id, SYSTEM.role_name)
    opened = fold([first])
    choice = await choose(connection, opened, now)
    request = MoveRequest(
        Move.DISPATCH,
        opened.version,
        team=draft.team,
        assignee_id=choice.assignee_id,
        mode=choice.mode,
        people=choice.offered,
        note=choice.why,
    )
    second = _decided(opened, request, SYSTEM, now)
    order = apply(opened, second)
    row = await connection.fetchrow(Q["insert_order"], record_of(order))
    stored = order_row(row)
    for entry in (first, second):
        await _insert_history(connection, order.id, entry)
    return stored, [outgoing_of(opened, first), outgoing_of(order, second)]


def _decided(order: Order, request: MoveRequest, actor: Actor, now: datetime) -> Entry:
    entry = decide(order, request, actor, now)
    if isinstance(entry, Refused):
        raise MoveRefused(entry.reason)
    return entry


def outgoing_of(order: Order, entry: Entry) -> Outgoing:
    """What the outbox says of one move."""
    data = {
        "order_id": str(order.id),
        "alert_id": str(order.alert_id) if order.alert_id else None,
        "state": entry.to_state.value,
        "version": entry.version,
    }
    return Outgoing(f"order.{entry.move.value}", order.community_id, str(order.id), order.correlation, data)


async def apply_move(
    connection: asyncpg.Connection[Any], order_id: UUID, request: MoveRequest, actor: Actor, now: datetime
) -> OrderRow:
    """One move, in the caller's transaction, with its history, audit and outbox lines.

    The same idempotency key again changes nothing and returns the order as it stands now. Raises OrderNotFound,
    VersionConflict (somebody was faster), MoveRefused (not legal, or another order is open for the same alert).
    """
    current = await fetch_order(connection, order_id, lock=True)
    if request.idempotency_key and await connection.fetchval(Q["key_used"], order_id, request.idempotency_key):
        return current
    if request.version != current.version:
        raise VersionConflict(current)
    entry = _decided(current.order, request, actor, now)
    try:
        async with connection.transaction():
            row = await _store(connection, current, entry)
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name != "work_order_open_alert":
            raise
        raise MoveRefused(
            Label("该告警已有另一张未结工单", "Another order is already open for the same alert")
        ) from error
    if actor.role is not None:
        await connection.execute(
            Q["audit"],
            actor.id,
            actor.role_name,
            current.community_id,
            f"order.{entry.move.value}",
            str(current.id),
            json.dumps({"version": entry.version, "from": entry.from_state, "to": entry.to_state}),
        )
    await outbox.append(connection, [outgoing_of(current, entry)])
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
        if request.idempotency_key and await connection.fetchval(Q["key_used"], order_id, request.idempotency_key):
            continue
        entry = decide(current.order, request, SYSTEM, now)
        if isinstance(entry, Refused):
            continue
        outgoing.append(outgoing_of(current, entry))
        current = await _store(connection, current, entry)
    return current, outgoing


async def _store(connection: asyncpg.Connection[Any], current: OrderRow, entry: Entry) -> OrderRow:
    order = apply(current.order, entry)
    row = await connection.fetchrow(Q["update_order"], order.id, current.version, record_of(order))
    if row is None:
        raise VersionConflict(await fetch_order(connection, order.id))
    await _insert_history(connection, order.id, entry)
    return order_row(row)


async def _insert_history(connection: asyncpg.Connection[Any], order_id: UUID, entry: Entry) -> None:
    await connection.execute(
        Q["insert_history"],
        order_id,
        entry.version,
        entry.move.value,
        entry.from_state.value if entry.from_state else None,
        entry.to_state.value,
        entry.at,
        entry.actor_id,
        entry.actor_role,
        entry.reason,
        json.dumps(dict(entry.detail), ensure_ascii=False),
        entry.idempotency_key,
    )


def record_of(order: Order) -> str:
    """The row of an order as JSON, by column name."""
    values: dict[str, Any] = {
        field.name: getattr(order, field.name) for field in fields(Order) if field.name not in ("title", "terms")
    }
    return json.dumps(
        values
        | {
            "title_zh": order.title.zh,
            "title_en": order.title.en,
            "terms": order.terms.as_detail(),
            "attention_at": attention_at(order),
        },
        default=_plain,
        ensure_ascii=False,
    )


def _plain(value: object) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


@dataclass(frozen=True, slots=True)
class Due:
    """An order on which time has made something due, and since when."""

    attention_at: datetime
    id: UUID


async def due_orders(
    connection: asyncpg.Connection[Any], partitions: Sequence[int], now: datetime, after: Due | None = None
) -> list[Due]:
    """Orders of these partitions on which time has made something due, the latest first; 200 at a time, from `after`
    on."""
    at, last = (after.attention_at, after.id) if after is not None else (None, None)
    rows = await connection.fetch(Q["due_orders"], list(partitions), now, at, last)
    return [Due(row["attention_at"], row["id"]) for row in rows]


async def refresh_attention(connection: asyncpg.Connection[Any], order: OrderRow) -> None:
    """When to look at it next, worked out anew; of the version that was read, which the caller holds."""
    await connection.execute(Q["refresh_attention"], order.id, order.version, attention_at(order))
