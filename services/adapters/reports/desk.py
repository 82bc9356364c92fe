"""What the desk does with a report: files it (立案), refuses it (不予立案), or joins it to another order."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from services.adapters.dispatch import people_at
from services.adapters.orders import OrderRow, VersionConflict, append_moves, apply_move, fetch_order
from services.adapters.orders.classes import terms_for
from services.adapters.outbox import Outgoing, append
from services.adapters.reports.files import load_categories
from services.adapters.reports.opening import AHEAD
from services.adapters.reports.rows import Q
from services.adapters.reports.saying import NotNow, with_order
from services.domain.orders import SYSTEM, TOP_RUNG, Actor, Draft, Move, MoveRequest, OrderState, Rung
from services.domain.orders.order import Source
from services.domain.vocabulary import Label, Severity, Team


async def file(
    connection: asyncpg.Connection[Any],
    report_id: UUID,
    version: int,
    *,
    category: str | None,
    severity: Severity | None,
    team: Team | None,
    key: str,
    actor: Actor,
    now: datetime,
) -> OrderRow:
    """立案: dispatches the order, under another category, graver or to another team where the desk knows better.

    Raises ReportNotFound, NotNow, VersionConflict, MoveRefused.
    """
    row, order = await with_order(connection, report_id)
    if await connection.fetchval(Q["key_used"], order.id, key):
        return order
    if version != order.version:
        raise VersionConflict(order)
    if order.state is not OrderState.CREATED:
        raise NotNow(Label("该上报已立案或已办结", "It was filed already, or is over"))
    if category is not None and category != row["category"]:
        known = load_categories().get(category)
        if known is None:
            raise NotNow(Label(f"没有类别 {category}", f"There is no category {category}"))
        await connection.execute(Q["recategorise"], order.id, category)
        team = team or known.team
        if severity is None and known.severity.rank > order.severity.rank:
            severity = known.severity
    outgoing: list[Outgoing] = []
    if severity is not None and severity.rank > order.severity.rank:
        graver = MoveRequest(
            Move.REPEAT,
            order.version,
            severity=severity.value,
            terms=await terms_for(connection, _as_draft(order, category or row["category"], severity), now),
            reason="立案时核定 · found graver when filed",
        )
        order, outgoing = await append_moves(connection, order.id, [graver], now)
    request = MoveRequest(
        Move.DISPATCH, order.version, team=team or order.team, reason="立案 · filed", idempotency_key=key
    )
    order = await apply_move(connection, order.id, request, actor, now)
    await append(connection, outgoing)
    return order


def _as_draft(order: OrderRow, category: str, severity: Severity) -> Draft:
    """As it would have been opened, had it been known."""
    return Draft(
        id=order.id,
        community_id=order.community_id,
        source=order.source,
        kind=order.kind,
        severity=severity,
        title=order.title,
        team=order.team,
        correlation=order.correlation,
        building_id=order.building_id,
        grid_id=order.grid_id,
        category=category,
    )


async def refuse(
    connection: asyncpg.Connection[Any],
    report_id: UUID,
    version: int,
    reason: str,
    key: str,
    actor: Actor,
    now: datetime,
) -> OrderRow:
    """不予立案: the order is cancelled with a reason that its reporters read. Raises as `file`."""
    _, order = await with_order(connection, report_id)
    if order.state is not OrderState.CREATED and not await connection.fetchval(Q["key_used"], order.id, key):
        raise NotNow(Label("该上报已立案或已办结，请在工单上取消", "It was filed or is over; cancel its order instead"))
    request = MoveRequest(Move.CANCEL, version, reason=reason, idempotency_key=key)
    return await apply_move(connection, order.id, request, actor, now)


async def join(
    connection: asyncpg.Connection[Any],
    report_id: UUID,
    into_id: UUID,
    key: str,
    actor: Actor,
    now: datetime,
) -> OrderRow:
    """并入: what it reports is worked on in another order; that one. A report's own order is merged with all its
    reports; out of an order that is not of residents, or that somebody has taken up, the report alone moves.

    Raises ReportNotFound, OrderNotFound, NotNow, MoveRefused.
    """
    row = await connection.fetchrow(Q["report"], report_id)
    # Two orders are always locked in the order of their ids, so that two who join crosswise do not wait for each other.
    for one in sorted({into_id, row["worked_on_id"]} if row is not None else {into_id}, key=str):
        await fetch_order(connection, one, lock=True)
    row, order = await with_order(connection, report_id)
    into = await fetch_order(connection, into_id, lock=True)
    if order.id == into.id:
        return into
    if into.community_id != row["community_id"] or into.state not in AHEAD | {OrderState.PAUSED}:
        raise NotNow(Label("不能并入该工单：须为本社区未处置的工单", "It can only join an order whose work lies ahead"))
    if order.ended:
        raise NotNow(Label("该上报已办结", "It is over"))
    words = f"上报 {row['number']} 并入工单 {into.number} · joined"
    if order.source is Source.RESIDENT and order.state in (OrderState.CREATED, OrderState.DISPATCHED):
        request = MoveRequest(Move.MERGE, order.version, reason=words, merge_into=into.id, idempotency_key=key)
        await apply_move(connection, order.id, request, actor, now)
        return await fetch_order(connection, into.id)
    await connection.execute(Q["lead_to"], report_id, into.id)
    await apply_move(connection, order.id, MoveRequest(Move.NOTE, order.version, note=words), actor, now)
    worse = order.severity.rank > into.severity.rank
    repeat = MoveRequest(
        Move.REPEAT,
        into.version,
        severity=order.severity.value if worse else None,
        terms=await terms_for(connection, _as_draft(into, into.category or row["category"], order.severity), now)
        if worse
        else None,
        note=words,
    )
    into, outgoing = await append_moves(connection, into.id, [repeat], now)
    told = {"report_id": str(report_id), "order_id": str(into.id)}
    outgoing.append(Outgoing("report.joined", into.community_id, str(report_id), into.correlation, told))
    await append(connection, outgoing)
    return into


async def urge(
    connection: asyncpg.Connection[Any],
    order_id: UUID,
    version: int,
    reason: str,
    until: datetime | None,
    key: str,
    actor: Actor,
    now: datetime,
) -> OrderRow:
    """督办: the order is wanted done, by a time and for a reason that stand in its history. From the second urge on
    it climbs a rung. Raises OrderNotFound, VersionConflict, MoveRefused."""
    before = await fetch_order(connection, order_id, lock=True)
    said = reason if until is None else f"{reason}（限 {until.isoformat(timespec='minutes')} 前 · by then）"
    request = MoveRequest(Move.URGE, version, reason=said, idempotency_key=key)
    order = await apply_move(connection, order_id, request, actor, now)
    if order.version == before.version or order.urges < 2:
        return order
    if order.rung >= TOP_RUNG:
        return order
    reached = await people_at(connection, order, Rung(order.rung + 1), now)
    again = MoveRequest(
        Move.ESCALATE,
        order.version,
        reason=f"第 {order.urges} 次督办 · urged {order.urges} times",
        rung=reached.rung,
        people=reached.people,
    )
    return await apply_move(connection, order_id, again, SYSTEM, now)
