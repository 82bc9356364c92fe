"""What reporters add to their reports: more information, a rating, that it is over, that it takes too long."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from services.adapters import outbox
from services.adapters.orders import OrderRow, apply_move, fetch_order
from services.adapters.outbox import Outgoing
from services.adapters.reports.rows import Q, Row, fetch_report
from services.domain.orders import SYSTEM, Actor, Move, MoveRequest
from services.domain.orders.order import Source
from services.domain.orders.states import OrderState
from services.domain.reports import rating as ratings
from services.domain.vocabulary import Label, Severity

MOST_NOTES = 20
_STOPPABLE = frozenset({OrderState.CREATED, OrderState.DISPATCHED})


class NotNow(Exception):
    """What was asked for cannot be had now; `reason` says why in both languages."""

    def __init__(self, reason: Label) -> None:
        super().__init__(reason.en)
        self.reason = reason


async def with_order(connection: asyncpg.Connection[Any], report_id: UUID) -> tuple[Row, OrderRow]:
    """The report and the order it is worked on in, both held to the end of the transaction, the order first.

    Raises ReportNotFound.
    """
    row = await fetch_report(connection, report_id)
    order = await fetch_order(connection, row["worked_on_id"], lock=True)
    row = await fetch_report(connection, report_id, lock=True)
    if row["worked_on_id"] != order.id:  # merged between the two reads
        order = await fetch_order(connection, row["worked_on_id"], lock=True)
    return row, order


def _event(what: str, row: Row, order: OrderRow, **more: Any) -> Outgoing:
    told = {"report_id": str(row["id"]), "order_id": str(order.id), **more}
    return Outgoing(f"report.{what}", row["community_id"], str(row["id"]), order.correlation, told)


async def rate(
    connection: asyncpg.Connection[Any],
    report_id: UUID,
    stars: int,
    comment: str | None,
    satisfied: bool | None,
    reporter: Actor,
    now: datetime,
) -> bool:
    """Keeps what they say, makes the order's rating of it, and sends people back where it says so; whether it did.

    The same again changes nothing. A complaint that sends nobody back is the desk's to answer (`report.unsatisfied`,
    and the list of call-backs). Raises ReportNotFound, NotNow.
    """
    row, order = await with_order(connection, report_id)
    unhappy = ratings.unsatisfied(stars, satisfied)
    said = ratings.Said(row["rating"], row["rated_at"], row["reworked_at"] is not None)
    if (row["rating"], row["rating_comment"], row["satisfied"]) == (stars, comment, not unhappy):
        return False
    refused = ratings.refuses_rating(order, said, now)
    if refused is not None:
        raise NotNow(refused)
    assert order.resolved_at is not None  # noqa: S101 - else it was refused
    fresh = row["rated_at"] is None or row["rated_at"] < order.resolved_at
    again = unhappy and ratings.reworks(order, said, now)
    await connection.execute(Q["set_rating"], report_id, stars, not unhappy, comment, now, fresh, again)
    voices = [one["rating"] for one in await connection.fetch(Q["ratings"], order.id, order.resolved_at)]
    request = MoveRequest(Move.RATE, order.version, rating=ratings.order_rating(voices))
    order = await apply_move(connection, order.id, request, reporter, now)
    if again:
        reason = f"上报人不满意，返工（上报 {row['number']}） · the reporter is not satisfied"
        order = await apply_move(
            connection, order.id, MoveRequest(Move.REOPEN, order.version, reason=reason), SYSTEM, now
        )
    if unhappy:
        await outbox.append(connection, [_event("unsatisfied", row, order, rating=stars, rework=again)])
    return again


async def add_information(
    connection: asyncpg.Connection[Any], report_id: UUID, text: str, key: str, reporter: Actor, now: datetime
) -> None:
    """Keeps it with the report; the order's history says that there is something, not what. Raises ReportNotFound,
    NotNow (the order has ended, or there is enough)."""
    row, order = await with_order(connection, report_id)
    if order.ended:
        raise NotNow(Label("该事项已办结，请重新上报", "This is closed; report it anew"))
    if await connection.fetchval(Q["count_notes"], report_id) >= MOST_NOTES:
        raise NotNow(Label(f"最多补充 {MOST_NOTES} 次", f"You can add to it {MOST_NOTES} times"))
    if await connection.fetchval(Q["insert_note"], report_id, now, True, text, key) is None:
        return
    note = f"上报人补充了信息（上报 {row['number']}） · the reporter added something"
    await apply_move(connection, order.id, MoveRequest(Move.NOTE, order.version, note=note), reporter, now)


async def withdraw(connection: asyncpg.Connection[Any], report_id: UUID, reporter: Actor, now: datetime) -> bool:
    """Whether the order ended with it: only where nothing else hangs on it, nobody has taken it up yet, and no life can
    hang on it. Raises ReportNotFound."""
    row, order = await with_order(connection, report_id)
    if row["withdrawn_at"] is not None:
        return order.state is OrderState.CANCELLED
    await connection.execute(Q["withdraw"], report_id, now)
    others = await connection.fetchval(Q["others"], order.id, report_id)
    alone = order.source is Source.RESIDENT and not others and not row["joined"]
    stops = alone and order.state in _STOPPABLE and order.severity is not Severity.CRITICAL
    words = f"上报人撤回（上报 {row['number']}） · withdrawn by the reporter"
    if stops:
        await apply_move(connection, order.id, MoveRequest(Move.CANCEL, order.version, reason=words), reporter, now)
    elif not order.ended:
        await apply_move(connection, order.id, MoveRequest(Move.NOTE, order.version, note=words), reporter, now)
    await outbox.append(connection, [_event("withdrawn", row, order)])
    return stops


async def hasten(connection: asyncpg.Connection[Any], report_id: UUID, reporter: Actor, now: datetime) -> None:
    """催办: a hint to the desk that it takes too long; the order's history shows it. Raises ReportNotFound, NotNow."""
    row, order = await with_order(connection, report_id)
    refused = ratings.refuses_urge(order, row["urged_at"], now)
    if refused is not None:
        raise NotNow(refused)
    await connection.execute(Q["urged"], report_id, now)
    note = f"上报人催办（上报 {row['number']}） · the reporter asks for it"
    await apply_move(connection, order.id, MoveRequest(Move.NOTE, order.version, note=note), reporter, now)
    await outbox.append(connection, [_event("urged", row, order)])


async def call_back(
    connection: asyncpg.Connection[Any],
    order_id: UUID,
    report_ids: list[UUID],
    outcome: str,
    note: str | None,
    version: int,
    key: str | None,
    actor: Actor,
    now: datetime,
) -> OrderRow:
    """回访: what those said who were asked, kept with their reports; the order keeps the outcome. Where they are not
    satisfied, an order of residents is opened again. Raises as `apply_move`, and NotNow for other orders' reports.
    """
    order = await fetch_order(connection, order_id, lock=True)
    own = {row["id"]: row for row in await connection.fetch(Q["of_order"], order_id)}
    asked = [own[one] for one in report_ids if one in own] if report_ids else list(own.values())
    if not asked or len(asked) < len(report_ids):
        raise NotNow(Label("该工单没有这条上报", "No such report is worked on in this order"))
    request = MoveRequest(Move.CALL_BACK, version, outcome=outcome, idempotency_key=key)
    moved = await apply_move(connection, order_id, request, actor, now)
    if moved.version == order.version:
        return moved  # the same key again
    for row in sorted(asked, key=lambda one: str(one["id"])):
        await connection.execute(Q["called_back"], row["id"], outcome, note, now, actor.id)
    if outcome == "unsatisfied" and order.source is Source.RESIDENT:
        reason = "回访不满意，返工 · not satisfied when called back"
        moved = await apply_move(
            connection, order_id, MoveRequest(Move.REOPEN, moved.version, reason=reason), SYSTEM, now
        )
    return moved
