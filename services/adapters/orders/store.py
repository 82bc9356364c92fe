"""Opens and moves work orders inside the caller's transaction; the row is written from the fold of its history."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from services.adapters import outbox
from services.adapters.outbox import Outgoing
from services.adapters.queries import Queries
from services.domain.orders import (
    SYSTEM,
    TOP_RUNG,
    Actor,
    Draft,
    Entry,
    Move,
    MoveRequest,
    Order,
    OrderState,
    Refused,
    Source,
    created,
    decide,
    fold,
)
from services.domain.orders.clocks import CLOCKS
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
        field.name: row[field.name] for field in fields(OrderRow) if field.name not in ("title", "severity")
    }
    return OrderRow(
        **{
            **values,
            "source": Source(row["source"]),
            "title": Label(row["title_zh"], row["title_en"]),
            "severity": Severity(row["severity"]),
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
    first = created(draft, now, SYSTEM.id, SYSTEM.role_name)
    opened = fold([first])
    second = _decided(opened, MoveRequest(Move.DISPATCH, opened.version, team=draft.team), SYSTEM, now)
    order = apply(opened, second)
    row = await connection.fetchrow(Q["insert_order"], *_insert_arguments(order))
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
    row = await connection.fetchrow(Q["update_order"], order.id, current.version, *_update_arguments(order))
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


def _insert_arguments(order: Order) -> tuple[Any, ...]:
    return (
        order.id,
        order.community_id,
        order.source.value,
        order.alert_id,
        order.parent_id,
        order.device_no,
        order.building_id,
        order.grid_id,
        order.kind,
        order.severity.value,
        order.title.zh,
        order.title.en,
        order.place,
        order.x,
        order.y,
        order.team.value,
        order.state.value,
        order.version,
        order.created_at,
        order.correlation,
        *_progress(order),
    )


def _progress(order: Order) -> tuple[Any, ...]:
    """How far it has come, in the order in which both statements end."""
    return (
        order.assignee_id,
        order.rung,
        order.returns,
        order.dispatched_at,
        order.accepted_at,
        order.arrived_at,
        order.resolved_at,
        order.resolved_by,
        order.verified_at,
        order.closed_at,
        order.paused_at,
        order.accept_due,
        order.arrive_due,
        order.resolve_due,
        order.verify_due,
    )


def _update_arguments(order: Order) -> tuple[Any, ...]:
    return (
        order.severity.value,
        order.team.value,
        order.state.value,
        order.version,
        *_progress(order),
    )


async def overdue_orders(
    connection: asyncpg.Connection[Any], partitions: Sequence[int], now: datetime
) -> list[OrderRow]:
    """Open orders of these partitions that owe a step up the ladder which they have not taken; at most 200."""
    rows = await connection.fetch(
        Q["overdue_orders"],
        list(partitions),
        now,
        TOP_RUNG,
        [severity.value for severity in CLOCKS],
        [clocks.accept_s for clocks in CLOCKS.values()],
        [clocks.arrive_s for clocks in CLOCKS.values()],
    )
    return [order_row(row) for row in rows]


async def used_escalations(connection: asyncpg.Connection[Any], order_id: UUID) -> frozenset[str]:
    """Keys of the steps up the ladder already taken."""
    rows = await connection.fetch(Q["used_keys"], order_id)
    return frozenset(row["idempotency_key"] for row in rows)
