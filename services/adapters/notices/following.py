"""What follows a notice: somebody acknowledges it, or nobody was reached and the order climbs, or the desk is told."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
import structlog

from services.adapters import outbox
from services.adapters.dispatch import people_at
from services.adapters.notices.reading import Known, Q, insert, load_accounts, load_alerts, load_orders
from services.adapters.orders import append_moves, fetch_order
from services.domain.notices import AlertFacts, Event, OrderFacts
from services.domain.notices.audience import undelivered
from services.domain.orders import Entry, Move, MoveRequest, Rung
from services.domain.orders.order import TOP_RUNG
from services.domain.vocabulary import Severity

log = structlog.get_logger(__name__)
Connection: TypeAlias = "asyncpg.Connection[Any]"
Row: TypeAlias = "asyncpg.Record"

UNDELIVERED = "通知未送达 · notice undelivered"
_LAST = frozenset({"undelivered", "unreached", "report", "code", "over"})
"""Of these nobody else is told when they do not arrive; they stand as failed, and the figures say so."""


async def take_further(connection: Connection, notice: Row, now: datetime) -> str:
    """A notice that reached nobody, or that nobody acknowledged in time. Says what came of it: `waits` (somebody else
    was told of the same and may still answer), `over`, `escalated`, or `desk`.

    Everything in one transaction: killed in the middle, it is done again by whoever comes next, and once.
    """
    async with connection.transaction():
        order = await fetch_order(connection, notice["order_id"], lock=True) if notice["order_id"] else None
        others = await connection.fetch(Q["lock_event"], notice["seq"], notice["template"])
        own = next((one for one in others if one["id"] == notice["id"]), None)
        if own is None or own["next_at"] is None or own["escalated"]:
            return "over"
        if notice["template"] in _LAST or (order is not None and order.ended):
            await connection.execute(Q["leave"], notice["id"])
            return "over"
        if any(_may_answer(one) for one in others if one["id"] != notice["id"]):
            await connection.execute(Q["leave"], notice["id"])
            return "waits"
        await connection.execute(Q["end_event"], notice["seq"], notice["template"])
        if order is not None and notice["severity"] == Severity.CRITICAL.value and order.rung < TOP_RUNG:
            reached = await people_at(connection, order, Rung(order.rung + 1), now)
            request = MoveRequest(
                Move.ESCALATE,
                order.version,
                reason=UNDELIVERED,
                rung=reached.rung,
                people=reached.people,
                idempotency_key=f"undelivered:{notice['seq']}:{notice['template']}",
            )
            _, outgoing = await append_moves(connection, order.id, [request], now)
            if outgoing:
                await outbox.append(connection, outgoing)
                log.warning(
                    "notice_undelivered", correlation=notice["correlation"], order=order.number, then="escalated"
                )
                return "escalated"
        await _tell_desk(connection, notice, [one["recipient"] for one in others], now)
        log.warning("notice_undelivered", correlation=notice["correlation"], notice=str(notice["id"]), then="desk")
        return "desk"


def _may_answer(one: Row) -> bool:
    """Acknowledged, under way, waiting for its turn, or delivered and still within its time."""
    return one["state"] in ("queued", "sending", "acknowledged") or (
        one["state"] == "sent" and one["via"] == "channel" and one["next_at"] is not None
    )


async def _tell_desk(connection: Connection, notice: Row, to: list[str], now: datetime) -> None:
    known = Known()
    await load_accounts(connection, known, [notice["community_id"]])
    names = [row["name"] for row in await connection.fetch(Q["recipient_names"], to)]
    event = Event(notice["seq"], "", notice["community_id"], "", notice["correlation"], {})
    told: OrderFacts | AlertFacts | None = None
    if notice["order_id"]:
        await load_orders(connection, known, [notice["order_id"]])
        row, private = known.orders[notice["order_id"]]
        line = Entry(row.version, Move.NOTE, row.state, row.state, now, "system", "system")
        told = OrderFacts(row, row.number, line, private)
    elif notice["alert_id"]:
        await load_alerts(connection, known, [notice["alert_id"]])
        told = known.alerts.get(notice["alert_id"])
    if told is not None:
        drafts = undelivered(event, told, names, known.accounts.get(notice["community_id"], []))
        await insert(connection, [(one, False) for one in drafts], now)


async def acknowledge(connection: Connection, notice_id: UUID, now: datetime, by: str) -> bool:
    """In the caller's transaction. Whoever waits in turn for the same is not told any more; the order's history says
    who knows. Doing it again changes nothing. False: there is no such notice.

    Lock order: order row, notices, outbox.
    """
    head = await connection.fetchrow(Q["notice_head"], notice_id)
    if head is None:
        return False
    orders = await connection.fetch(Q["orders_of_notice"], notice_id)
    for row in orders:
        await fetch_order(connection, row["order_id"], lock=True)
    taken = await connection.fetch(Q["acknowledge"], notice_id, now)
    outgoing = []
    for one in taken:
        await connection.execute(Q["end_turns"], one["seq"], one["template"], one["id"])
    for row in orders:
        if not any(one["order_id"] == row["order_id"] for one in taken):
            continue
        request = MoveRequest(
            Move.NOTE, 0, note=f"已知悉：{by} · {by} knows of it", idempotency_key=f"acknowledged:{notice_id}"
        )
        _, told = await append_moves(connection, row["order_id"], [request], now)
        outgoing.extend(told)
    await outbox.append(connection, outgoing)
    return True
