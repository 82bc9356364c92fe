"""The durable clock of work orders: whoever lets a deadline pass is helped by the next rung of the ladder."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import asyncpg
import structlog

from services.adapters import outbox
from services.adapters.dispatch import people_at
from services.adapters.orders import OrderRow, append_moves, due_orders
from services.alerts import metrics
from services.domain.orders import Clock, Move, MoveRequest, Owed, overdue

log = structlog.get_logger(__name__)

_LATE: dict[Clock, str] = {
    "file": "立案超时",
    "accept": "接单超时",
    "arrive": "到场超时",
    "resolve": "处置超时",
    "verify": "核实超时",
}


async def escalate_due(pool: asyncpg.Pool[Any], partitions: Sequence[int], now: datetime) -> int:
    """Does everything that time has made due by now and returns how many steps up the ladder that were.

    Nothing is kept in memory: what is owed follows from the order's own deadlines, and each step is named by clock,
    rung and deadline, so a restart misses none and two engines take none twice. `now` is the steady clock's: the
    deadlines were set by it.
    """
    taken = 0
    async with pool.acquire() as connection:
        for order in await due_orders(connection, partitions, now):
            taken += await _act(connection, order, now)
    return taken


async def _act(connection: asyncpg.Connection[Any], order: OrderRow, now: datetime) -> int:
    async with connection.transaction():
        locked_version = await connection.fetchval("SELECT version FROM work_order WHERE id = $1 FOR UPDATE", order.id)
        if locked_version != order.version:
            # Somebody moved it in this very moment, perhaps by accepting it: look again at the next round.
            return 0
        owed = overdue(order, now)
        requests = [await _request(connection, order, one, now) for one in owed]
        moved, outgoing = await append_moves(connection, order.id, requests, now)
        await outbox.append(connection, outgoing)
    steps = [one for one in owed if one.what == "escalate"]
    for step in steps:
        metrics.ESCALATIONS.labels(step.clock).inc()
    if steps:
        log.warning(
            "order_escalated", correlation=order.correlation, order=order.number, rung=moved.rung, clock=steps[0].clock
        )
    return len(steps)


async def _request(connection: asyncpg.Connection[Any], order: OrderRow, owed: Owed, now: datetime) -> MoveRequest:
    people: tuple[str, ...] = ()
    rung = owed.rung
    if rung is not None:
        reached = await people_at(connection, order, rung, now)
        rung, people = reached.rung, reached.people
    return MoveRequest(
        Move(owed.what),
        order.version,
        reason=f"{_LATE[owed.clock]} · {owed.clock} overdue",
        clock=owed.clock,
        rung=rung,
        people=people,
        idempotency_key=owed.key,
    )
