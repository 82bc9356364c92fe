"""The durable clock of work orders: whoever lets a deadline pass is helped by the next rung of the ladder."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import asyncpg
import structlog

from services.adapters import outbox
from services.adapters.orders import OrderRow, append_moves, overdue_orders, used_escalations
from services.alerts import metrics
from services.domain.orders import Move, MoveRequest, overdue
from services.domain.orders.clocks import Clock

log = structlog.get_logger(__name__)

_LATE: dict[Clock, str] = {"accept": "接单超时", "arrive": "到场超时", "resolve": "处置超时", "verify": "核实超时"}


async def escalate_due(pool: asyncpg.Pool[Any], partitions: Sequence[int], now: datetime) -> int:
    """Takes every step that is owed by now and returns how many.

    Nothing is kept in memory: what is owed follows from the order's own deadlines, and each step is named by clock,
    number and deadline, so a restart misses none and two engines take none twice. `now` is the steady clock's: the
    deadlines were set by it.
    """
    taken = 0
    async with pool.acquire() as connection:
        for order in await overdue_orders(connection, partitions, now):
            taken += await _escalate(connection, order, now)
    return taken


async def _escalate(connection: asyncpg.Connection[Any], order: OrderRow, now: datetime) -> int:
    done = await used_escalations(connection, order.id)
    owed = [step for step in overdue(order, now) if step.key not in done]
    if not owed:
        return 0
    requests = [
        MoveRequest(
            Move.ESCALATE,
            order.version,
            reason=f"{_LATE[step.clock]} · {step.clock} overdue",
            clock=step.clock,
            idempotency_key=step.key,
        )
        for step in owed
    ]
    async with connection.transaction():
        locked_version = await connection.fetchval("SELECT version FROM work_order WHERE id = $1 FOR UPDATE", order.id)
        if locked_version != order.version:
            # Somebody moved it in this very moment, perhaps by accepting it: look again at the next round.
            return 0
        moved, outgoing = await append_moves(connection, order.id, requests, now)
        await outbox.append(connection, outgoing)
    for step in owed[: len(outgoing)]:
        metrics.ESCALATIONS.labels(step.clock).inc()
    if outgoing:
        log.warning(
            "order_escalated", correlation=order.correlation, order=order.number, rung=moved.rung, clock=owed[0].clock
        )
    return len(outgoing)
