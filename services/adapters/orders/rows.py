"""Work orders as rows: read whole, and written from the fold of their history and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from services.adapters.queries import Queries
from services.domain.orders import (
    Entry,
    Mode,
    Move,
    Order,
    OrderState,
    Refused,
    Source,
    Terms,
    attention_at,
    plain_terms,
)
from services.domain.orders.folding import apply
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
    """The move is not legal for this order, state or person; `refused` says why, and who could."""

    def __init__(self, refused: Refused | Label) -> None:
        self.refused = refused if isinstance(refused, Refused) else Refused(refused)
        super().__init__(self.refused.reason.en)

    @property
    def reason(self) -> Label:
        return self.refused.reason


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
            "workers": tuple(row["workers"]),
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


async def store_entry(connection: asyncpg.Connection[Any], current: OrderRow, entry: Entry) -> OrderRow:
    """Writes one more line of the history and the row that follows from it. Raises VersionConflict."""
    order = apply(current.order, entry)
    row = await connection.fetchrow(Q["update_order"], order.id, current.version, record_of(order))
    if row is None:
        raise VersionConflict(await fetch_order(connection, order.id))
    await insert_history(connection, order.id, entry)
    return order_row(row)


async def insert_history(connection: asyncpg.Connection[Any], order_id: UUID, entry: Entry) -> None:
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
    connection: asyncpg.Connection[Any],
    partitions: Sequence[int],
    now: datetime,
    after: Due | None = None,
    *,
    critical: bool,
    limit: int = 200,
) -> list[Due]:
    """Orders of these partitions on which time has made something due, the latest first, from `after` on.

    `critical`: those, or all others.
    """
    at, last = (after.attention_at, after.id) if after is not None else (None, None)
    rows = await connection.fetch(Q["due_orders"], list(partitions), now, at, last, critical, limit)
    return [Due(row["attention_at"], row["id"]) for row in rows]


async def refresh_attention(connection: asyncpg.Connection[Any], order: OrderRow) -> None:
    """When to look at it next, worked out anew; of the version that was read, which the caller holds."""
    await connection.execute(Q["refresh_attention"], order.id, order.version, attention_at(order))
