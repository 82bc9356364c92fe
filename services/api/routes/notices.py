"""Notices: who was told of what and whether it arrived; one's own, and saying that one knows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated
from uuid import UUID

import structlog
from fastapi import APIRouter, Query

from services.adapters.notices import book
from services.adapters.notices.following import acknowledge
from services.api.answers.models import LabelOut
from services.api.answers.shapes import Row
from services.api.common import PREFIX, PROBLEMS, Cursor, Limit, time_and_id
from services.api.context import Ctx
from services.api.guard import community_in_scope, in_scope, needs
from services.api.identity.auth import Ticket
from services.api.orders.notice_models import AcknowledgedOut, AttemptOut, NoticeOut, NoticePage, NoticeState
from services.api.store import communities as communities_store
from services.api.store import work
from services.api.store.database import Connection
from services.api.web import cursor
from services.api.web.problems import not_found
from services.domain.access import Permission
from services.domain.notices import TEMPLATES, render
from services.domain.notices.channels import failure
from services.domain.vocabulary import Role, Severity

log = structlog.get_logger(__name__)
router = APIRouter(prefix=PREFIX, tags=["notices 通知"], responses=PROBLEMS)

_SAME = (
    "id", "community_id", "order_id", "number", "alert_id", "template", "severity", "state", "via", "turn", "attempts",
    "escalated", "digest_of", "created_at", "not_before", "expires_at", "sent_at", "acknowledged_at",
)  # fmt: skip


def shown(row: Row, timezone: str, tried: Sequence[Row] | None = None, *, whole: bool = False) -> NoticeOut:
    """`whole`: with what the other end said to a failed attempt; others are told which sort of failure it was."""
    texts = {
        language: render(TEMPLATES[row["template"]], row["params"], Severity(row["severity"]), language, timezone)
        for language in ("zh", "en")
    }
    return NoticeOut(
        **{name: row[name] for name in _SAME},
        last_error=row["last_error"] if whole else failure(row["last_error"]),
        recipient=row["name"],
        title=LabelOut(zh=texts["zh"][0], en=texts["en"][0]),
        body=LabelOut(zh=texts["zh"][1], en=texts["en"][1]),
        tried=None if tried is None else [_attempt(one, whole) for one in tried],
    )


def _attempt(row: Row, whole: bool) -> AttemptOut:
    fields = {name: row[name] for name in AttemptOut.model_fields}
    return AttemptOut(**fields if whole else fields | {"error": failure(row["error"])})


def _page(rows: list[Row], limit: int, zones: dict[str, str], *, whole: bool = False) -> NoticePage:
    page = rows[:limit]
    more = cursor.encode(page[-1]["created_at"].isoformat(), page[-1]["id"]) if len(rows) > limit else None
    return NoticePage(items=[shown(row, zones[row["community_id"]], whole=whole) for row in page], next=more)


@router.get("/communities/{community_id}/notices", summary="通知记录 Notices, newest first")
async def notices(
    community_id: str,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.NOTICES)],
    state: NoticeState | None = None,
    order_id: Annotated[UUID | None, Query()] = None,
    account_id: Annotated[str | None, Query(max_length=64, description="收件人 to this account")] = None,
    after: Annotated[Cursor, Query(alias="cursor")] = None,
    limit: Limit = 100,
) -> NoticePage:
    key, now = time_and_id(after), context.clock.now()
    async with context.database.read() as connection:
        community = await community_in_scope(connection, ticket.principal, community_id)
        rows = await book.page(
            connection,
            community_id=community_id,
            order_id=order_id,
            recipient=f"account:{account_id}" if account_id else None,
            state=state,
            now=now,
            after=key,
            limit=limit + 1,
        )
    return _page(rows, limit, {community_id: community["timezone"]}, whole=ticket.principal.role is Role.ADMIN)


@router.get("/orders/{order_id}/notices", summary="工单的通知 Notices of one order, with every attempt")
async def of_order(
    order_id: UUID, context: Ctx, ticket: Annotated[Ticket, needs(Permission.NOTICES)], limit: Limit = 200
) -> list[NoticeOut]:
    who = ticket.principal
    async with context.database.consistent() as connection:
        found = await work.orders_by_ids(connection, [order_id])
        order = await in_scope(connection, who, found[0] if found else None, "order", order_id)
        community = await community_in_scope(connection, who, order["community_id"])
        rows = await book.page(connection, order_id=order_id, now=context.clock.now(), limit=limit)
        tried = await book.attempts(connection, [row["id"] for row in rows])
    whole = who.role is Role.ADMIN
    return [shown(row, community["timezone"], tried.get(row["id"], []), whole=whole) for row in rows]


@router.get("/me/notices", summary="我的通知 One's own notices, newest first")
async def mine(
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.SELF)],
    unread: Annotated[bool, Query(description="未确认 those not acknowledged")] = True,
    after: Annotated[Cursor, Query(alias="cursor")] = None,
    limit: Limit = 100,
) -> NoticePage:
    key, now = time_and_id(after), context.clock.now()
    async with context.database.read() as connection:
        rows = await book.page(
            connection,
            recipient=f"account:{ticket.principal.id}",
            unread=unread,
            now=now,
            after=key,
            limit=limit + 1,
        )
        zones = await _zones(connection, rows)
    return _page(rows, limit, zones)


async def _zones(connection: Connection, rows: Sequence[Row]) -> dict[str, str]:
    found: dict[str, str] = {}
    for community_id in {row["community_id"] for row in rows}:
        community = await communities_store.communities(connection, community_id=community_id)
        found[community_id] = community[0]["timezone"]
    return found


@router.post("/me/notices/{notice_id}/ack", summary="知悉 Say that one knows; it does not accept the order")
async def ack(notice_id: UUID, context: Ctx, ticket: Annotated[Ticket, needs(Permission.SELF)]) -> AcknowledgedOut:
    """Doing it again changes nothing. Whoever waits in turn for the same is not told any more."""
    who = ticket.principal
    async with context.database.write() as connection:
        recipient = await book.recipient_of(connection, notice_id)
        if recipient != f"account:{who.id}":
            raise not_found("notice", notice_id)
        await acknowledge(connection, notice_id, context.clock.now(), who.display_name)
    log.info("notice_acknowledged", notice=str(notice_id), by=who.id)
    return AcknowledgedOut(id=notice_id, acknowledged=True)
