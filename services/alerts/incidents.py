"""Which order an alert is worked on in: its own, one that is still open, or a new one linked to the last."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import asyncpg

from services.adapters.orders import OrderRow, append_moves, fetch_order, insert_order
from services.adapters.outbox import Outgoing
from services.adapters.queries import Queries
from services.domain.engine.decisions import Raise
from services.domain.ids import CommunityId, OrderId
from services.domain.orders import Draft, Move, MoveRequest, OrderState, Source
from services.domain.vocabulary import Severity

Q = Queries.beside(__file__)
LINKED_WITHIN = timedelta(hours=24)
"""A trouble that comes back within a day of its order's end is linked to it: the repair may not have held."""
_NOT_TAKEN = (OrderState.CREATED, OrderState.DISPATCHED, OrderState.RETURNED)


@dataclass(slots=True)
class Written:
    """What a transaction has to say to the outbox at its end, and to the log and the metrics after it."""

    outgoing: list[Outgoing] = field(default_factory=list)
    opened: list[OrderRow] = field(default_factory=list)
    raised: int = 0


async def order_for(
    connection: asyncpg.Connection[Any], alert: Raise, written: Written, now: datetime, worse: Severity | None = None
) -> None:
    """Joins the open order of this trouble, or opens one; never two at once.

    An alert that repeats after its order has ended, or comes back within a day, gets a new order linked to the old.
    """
    if not alert.opens_order:
        return
    known: UUID | None = None
    if alert.joins is not None:
        larger = await connection.fetchrow(Q["open_alert_order"], *alert.joins)
        known = larger["order_id"] if larger is not None else None
    known = known or await connection.fetchval(Q["latest_order"], alert.family, alert.subject)
    last = await fetch_order(connection, known, lock=True) if known else None
    if last is not None and not last.ended:
        await _join(connection, last, alert, written, now, worse)
        return
    parent = last if last is not None and last.closed_at is not None and now - last.closed_at <= LINKED_WITHIN else None
    draft = Draft(
        id=OrderId(uuid5(alert.id, f"order|{parent.id if parent else ''}")),
        community_id=CommunityId(alert.community_id),
        source=Source.ALERT,
        kind=alert.kind,
        severity=worse or alert.severity,
        title=alert.title,
        team=alert.team,
        correlation=alert.correlation,
        place=alert.place,
        alert_id=alert.id,
        parent_id=parent.id if parent else None,
        device_no=alert.device_no,
        building_id=alert.building_id,
        grid_id=alert.grid_id,
        x=alert.x,
        y=alert.y,
    )
    order, outgoing = await insert_order(connection, draft, now)
    await connection.execute(Q["link_order"], alert.id, order.id)
    written.outgoing += outgoing
    written.opened.append(order)
    for family, subject in alert.absorbs:
        await _absorb(connection, family, subject, order, written, now)


async def _join(
    connection: asyncpg.Connection[Any],
    order: OrderRow,
    alert: Raise,
    written: Written,
    now: datetime,
    worse: Severity | None,
) -> None:
    severity = worse or (alert.severity if alert.severity.rank > order.severity.rank else None)
    moves = [
        MoveRequest(
            Move.REPEAT,
            order.version,
            alert_id=str(alert.id),
            severity=severity.value if severity else None,
            reason=alert.why.zh,
        )
    ]
    if severity is not None and alert.team is not order.team and order.arrived_at is None:
        # What it has become is another team's work; whoever is already on site stays.
        moves.append(MoveRequest(Move.TRANSFER, order.version, team=alert.team, reason=alert.why.zh))
    _, outgoing = await append_moves(connection, order.id, moves, now)
    await connection.execute(Q["link_order"], alert.id, order.id)
    written.outgoing += outgoing


async def _absorb(
    connection: asyncpg.Connection[Any], family: str, subject: str, into: OrderRow, written: Written, now: datetime
) -> None:
    """Orders that somebody has accepted go on: a person is on the way. The others become part of the larger one."""
    row = await connection.fetchrow(Q["open_alert_order"], family, subject)
    if row is None or row["order_id"] is None or row["order_id"] == into.id:
        return
    part = await fetch_order(connection, row["order_id"], lock=True)
    if part.state not in _NOT_TAKEN:
        return
    request = MoveRequest(Move.MERGE, part.version, merge_into=into.id, reason=into.title.zh)
    _, outgoing = await append_moves(connection, part.id, [request], now)
    await connection.execute(Q["link_order"], row["id"], into.id)
    written.outgoing += outgoing


def at(ms: int) -> datetime:
    """Epoch milliseconds as the database wants them."""
    return datetime.fromtimestamp(ms / 1000, UTC)
