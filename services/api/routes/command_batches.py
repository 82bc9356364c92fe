"""One thing told to many devices (批量指令, 分区播报): progress by the commands' own states, and a stop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

import structlog
from fastapi import APIRouter, Query
from starlette.responses import Response

from services.adapters.commands import batches
from services.adapters.commands.asking import Asked, id_of
from services.adapters.commands.batches import Whom
from services.adapters.commands.common import Q
from services.api.commands.models import (
    CommandBatchIn,
    CommandBatchOut,
    CommandBatchPage,
    CommandWhyIn,
    NoteIn,
    ReviewIn,
)
from services.api.common import PREFIX, PROBLEMS, Cursor, Limit, OnceKey, answer, once, time_and_id
from services.api.context import Ctx
from services.api.guard import community_in_scope, in_scope, needs
from services.api.identity.auth import Ticket
from services.api.routes.commands import REFUSALS, refusing
from services.api.store.database import Connection
from services.api.web import cursor
from services.domain.access import Permission, Principal
from services.domain.commands import OPEN

log = structlog.get_logger(__name__)
router = APIRouter(prefix=PREFIX, tags=["commands 设备指令"], responses=PROBLEMS)
BATCHES = "/communities/{community_id}/command-batches"


@router.post(BATCHES, status_code=201, summary="批量下发 Tell many devices one thing", responses=REFUSALS)
async def make(
    community_id: str,
    body: CommandBatchIn,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.COMMAND_SCHEDULE)],
    key: OnceKey = None,
) -> CommandBatchOut:
    """All of them or none: one that cannot be told is named and nothing is asked of anybody."""
    who, number = ticket.principal, id_of(ticket.principal.id, once(key), "batch")
    asked = Asked(body.name, body.params, body.why, body.emergency, body.expires_in_s)
    whom = Whom(body.kind, body.devices, body.buildings, body.grids, body.tags)
    async with context.database.write() as connection:
        await community_in_scope(connection, who, community_id)
        with refusing():
            row = await batches.make(
                connection, who, number, community_id, asked, whom, body.per_second, context.clock.now()
            )
    log.info("command_batch_asked", batch_id=str(number), name=body.name, total=row["total"], by=who.id)
    return _out(row)


@router.get(BATCHES, response_model=CommandBatchPage, summary="批次 Batches, newest first")
async def listed(
    community_id: str,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.COMMAND_APPROVE)],
    waiting: Annotated[bool, Query(description="只看待批准或待复核的 · what waits for somebody's word")] = False,
    after: Annotated[Cursor, Query(alias="cursor")] = None,
    limit: Limit = 50,
) -> Response:
    at, last = time_and_id(after) or (None, None)
    async with context.database.read() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        rows = await connection.fetch(Q["batches"], community_id, waiting, at, last, limit + 1)
    page = rows[:limit]
    more = cursor.encode(page[-1]["requested_at"].isoformat(), page[-1]["id"]) if len(rows) > limit else None
    return answer(CommandBatchPage(items=[_out(row) for row in page], next=more))


@router.get("/command-batches/{batch_id}", summary="批次进度 How far a batch is")
async def progress(
    batch_id: UUID, context: Ctx, ticket: Annotated[Ticket, needs(Permission.COMMAND_APPROVE)]
) -> CommandBatchOut:
    async with context.database.read() as connection:
        return await _now(connection, ticket.principal, batch_id)


@router.post("/command-batches/{batch_id}/approve", summary="批准整批 Approve the batch", responses=REFUSALS)
async def approve(
    batch_id: UUID, body: NoteIn, context: Ctx, ticket: Annotated[Ticket, needs(Permission.COMMAND_APPROVE)]
) -> CommandBatchOut:
    who = ticket.principal
    async with context.database.write() as connection:
        row = await _locked(connection, who, batch_id)
        with refusing():
            await batches.approve(connection, who, row, body.note, context.clock.now())
        return await _now(connection, who, batch_id)


@router.post("/command-batches/{batch_id}/reject", summary="不批准整批 Reject the batch", responses=REFUSALS)
async def reject(
    batch_id: UUID, body: CommandWhyIn, context: Ctx, ticket: Annotated[Ticket, needs(Permission.COMMAND_APPROVE)]
) -> CommandBatchOut:
    who = ticket.principal
    async with context.database.write() as connection:
        row = await _locked(connection, who, batch_id)
        with refusing():
            await batches.reject(connection, who, row, body.why, context.clock.now())
        return await _now(connection, who, batch_id)


@router.post("/command-batches/{batch_id}/stop", summary="停止其余 Stop what has not left", responses=REFUSALS)
async def stop(
    batch_id: UUID, body: CommandWhyIn, context: Ctx, ticket: Annotated[Ticket, needs(Permission.COMMAND_SCHEDULE)]
) -> CommandBatchOut:
    """Those that have left end by themselves; asked a second time it stays stopped."""
    who = ticket.principal
    async with context.database.write() as connection:
        row = await _locked(connection, who, batch_id)
        with refusing():
            await batches.stop(connection, who, row, body.why, context.clock.now())
        return await _now(connection, who, batch_id)


@router.post("/command-batches/{batch_id}/review", summary="复核紧急播报 Review an emergency", responses=REFUSALS)
async def review(
    batch_id: UUID, body: ReviewIn, context: Ctx, ticket: Annotated[Ticket, needs(Permission.COMMAND_APPROVE)]
) -> CommandBatchOut:
    who = ticket.principal
    async with context.database.write() as connection:
        row = await _locked(connection, who, batch_id)
        with refusing():
            await batches.review(connection, who, row, body.verdict, body.note, context.clock.now())
        return await _now(connection, who, batch_id)


async def _locked(connection: Connection, who: Principal, batch_id: UUID) -> Mapping[str, Any]:
    return await in_scope(connection, who, await batches.fetch(connection, batch_id, lock=True), "batch", batch_id)


async def _now(connection: Connection, who: Principal, batch_id: UUID) -> CommandBatchOut:
    return _out(await in_scope(connection, who, await batches.fetch(connection, batch_id), "batch", batch_id))


def _out(row: Mapping[str, Any]) -> CommandBatchOut:
    counts = row["counts"] or {}
    values = {name: row[name] for name in CommandBatchOut.model_fields if name not in ("counts", "open", "to_review")}
    still = sum(counts.get(state.value, 0) for state in OPEN)
    return CommandBatchOut(**values, counts=counts, open=still, to_review=bool(row["to_review"]))
