"""Which order an alert is worked on in: its own, one that is still open, or a new one linked to the last."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import asyncpg

from services.adapters.orders import OrderRow, append_moves, fetch_order, insert_order
from services.adapters.orders.classes import terms_for
from services.adapters.outbox import Outgoing
from services.adapters.queries import Queries
from services.domain.engine.decisions import Ease, Raise
from services.domain.ids import CommunityId, OrderId
from services.domain.orders import Draft, Move, MoveRequest, OrderState, Source, Terms
from services.domain.vocabulary import Severity

Q = Queries.beside(__file__)
LINKED_WITHIN = timedelta(hours=24)
"""A trouble that comes back within a day of its order's end is linked to it: the repair may not have held."""
LISTED = 20
"""Places named in one line of an order's history."""
_DONE = (OrderState.RESOLVED, OrderState.VERIFIED)
_NOT_TAKEN = (OrderState.CREATED, OrderState.DISPATCHED, OrderState.RETURNED)


@dataclass(frozen=True, slots=True)
class Worse:
    """What decides the class of an order that has become worse (see `classes.Case`)."""

    community_id: str
    source: Source
    kind: str
    severity: Severity
    category: str | None
    rule_id: str | None
    family: str | None
    life_safety: bool


@dataclass(slots=True)
class Written:
    """What a transaction has to say to the outbox at its end, and to the log and the metrics after it."""

    outgoing: list[Outgoing] = field(default_factory=list)
    opened: list[OrderRow] = field(default_factory=list)
    raised: int = 0
    sent: list[tuple[Raise, Severity]] = field(default_factory=list)
    """Alerts that went out in this turn, and how bad they are now: what plans go by, once every order stands."""
    released: int = 0
    suppressed: list[str] = field(default_factory=list)
    """Why alerts that are over now never sent anybody."""
    joins: dict[UUID, list[Raise]] = field(default_factory=dict)
    """Order → alerts of its group that have joined it in this transaction; it hears of them at once."""


async def order_for(
    connection: asyncpg.Connection[Any],
    alert: Raise,
    written: Written,
    now: datetime,
    worse: Severity | None = None,
    *,
    opens: bool = True,
) -> None:
    """Joins the open order of this trouble, or opens one; never two at once. `opens` False: only joins.

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
    if not opens or await _joined_group(connection, alert, written):
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
        rule_id=alert.rule_id,
        family=alert.family,
        life_safety=alert.life_safety,
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
            terms=await _graver(connection, order, alert, severity, now) if severity else None,
            reason=alert.why.zh,
        )
    ]
    calls = alert.life_safety or alert.severity is Severity.CRITICAL
    if order.state is OrderState.PAUSED and (calls or severity is not None):
        # Whatever it waited for, it is graver now than when somebody let it wait, or there is a second call for help.
        why = f"{alert.why.zh}；暂停结束 · called again, the pause is over"
        moves.append(MoveRequest(Move.RESUME, order.version, alert_id=str(alert.id), reason=why))
    if order.state in _DONE and calls:
        # Whoever was there is gone: a second call for help is not left to whoever checks the first one some time.
        moves.append(MoveRequest(Move.REOPEN, order.version, team=alert.team, reason=alert.why.zh))
    if severity is not None and alert.team is not order.team and order.arrived_at is None:
        # What it has become is another team's work; whoever is already on site stays.
        moves.append(MoveRequest(Move.TRANSFER, order.version, team=alert.team, reason=alert.why.zh))
    _, outgoing = await append_moves(connection, order.id, moves, now)
    await connection.execute(Q["link_order"], alert.id, order.id)
    written.outgoing += outgoing


async def _graver(
    connection: asyncpg.Connection[Any], order: OrderRow, alert: Raise, severity: Severity, now: datetime
) -> Terms:
    """What the class asks for that the order falls into now that it is worse."""
    return await terms_for(
        connection,
        Worse(
            order.community_id, order.source, alert.kind, severity, order.category, alert.rule_id, alert.family,
            alert.life_safety,
        ),
        now,
    )  # fmt: skip


async def _joined_group(connection: asyncpg.Connection[Any], alert: Raise, written: Written) -> bool:
    """Whether it is worked on in the open order of its group, to whose place nobody has come yet."""
    if alert.group_key is None or alert.life_safety:
        return False
    known = await connection.fetchval(Q["group_order"], alert.group_key)
    if known is None:
        return False
    order = await fetch_order(connection, known, lock=True)
    if order.ended or order.arrived_at is not None:
        return False
    await connection.execute(Q["link_order"], alert.id, order.id)
    written.joins.setdefault(order.id, []).append(alert)
    return True


async def flush_joins(connection: asyncpg.Connection[Any], written: Written, now: datetime) -> None:
    """One line in each order's history for all that joined it in this transaction, however many they are."""
    for order_id, alerts in written.joins.items():
        members = await connection.fetchval(Q["order_members"], order_id)
        worst = max((alert.severity for alert in alerts), key=lambda severity: severity.rank)
        order = await fetch_order(connection, order_id, lock=True)
        places = "、".join(alert.place or alert.subject for alert in alerts[:LISTED])
        more = f"… +{len(alerts) - LISTED}" if len(alerts) > LISTED else ""
        graver = next((one for one in alerts if one.severity is worst and worst.rank > order.severity.rank), None)
        request = MoveRequest(
            Move.REPEAT,
            order.version,
            alert_id=str(alerts[0].id),
            severity=worst.value if graver else None,
            terms=await _graver(connection, order, graver, worst, now) if graver else None,
            reason=f"{alerts[0].title.zh}：新增 {len(alerts)} 处，共 {members} 处",
            note=places + more,
        )
        _, outgoing = await append_moves(connection, order_id, [request], now)
        written.outgoing += outgoing


async def step_down(
    connection: asyncpg.Connection[Any], order_id: UUID | None, ease: Ease, written: Written, now: datetime
) -> None:
    """The order hears that the graver part is over; its severity and its team stay as they are."""
    if order_id is None:
        return
    order = await fetch_order(connection, order_id, lock=True)
    if not order.ended:
        request = MoveRequest(Move.REPEAT, order.version, alert_id=str(ease.id), reason=ease.why.zh)
        _, outgoing = await append_moves(connection, order_id, [request], now)
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
