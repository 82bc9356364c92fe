"""Commands to devices (设备指令): asked for, approved by a second person, followed to their one end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

import structlog
from fastapi import APIRouter, Query
from starlette.responses import Response

from services.adapters.commands import asking
from services.adapters.commands.asking import Asked, CommandRefused, id_of
from services.adapters.commands.common import Q
from services.api.answers.models import LabelOut, Problem
from services.api.commands.models import (
    CommandDetailOut,
    CommandIn,
    CommandLineOut,
    CommandPage,
    CommandWhyIn,
    LedgerCommandOut,
    NoteIn,
    ReviewIn,
    StrayOut,
    StrayPage,
)
from services.api.common import PREFIX, PROBLEMS, Cursor, Limit, OnceKey, State, answer, once, time_and_id
from services.api.context import Ctx
from services.api.guard import community_in_scope, in_scope, needs
from services.api.identity.auth import Ticket
from services.api.store.database import Connection
from services.api.web import cursor
from services.api.web.problems import ApiError, not_found
from services.domain.access import Permission, Principal, reaches_grid
from services.domain.commands import STATE_LABELS, CommandState
from services.domain.vocabulary import Role

log = structlog.get_logger(__name__)
router = APIRouter(prefix=PREFIX, tags=["commands 设备指令"], responses=PROBLEMS)
REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "缺少 Idempotency-Key · the header is missing"},
    409: {"model": Problem, "description": "指令已不在此状态 · it is not in that state any more, or the key is taken"},
}
_STATUS = {
    "who": HTTPStatus.FORBIDDEN,
    "value": HTTPStatus.UNPROCESSABLE_ENTITY,
    "state": HTTPStatus.CONFLICT,
    "key": HTTPStatus.CONFLICT,
}


@contextmanager
def refusing() -> Iterator[None]:
    """What the ledger refuses is answered as a problem."""
    try:
        yield
    except CommandRefused as why:
        raise ApiError(_STATUS[why.code], str(why)) from None


@router.post(
    "/communities/{community_id}/commands", status_code=201, summary="下发指令 Ask for a command", responses=REFUSALS
)
async def ask(
    community_id: str,
    body: CommandIn,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.COMMAND_ASK)],
    key: OnceKey = None,
) -> LedgerCommandOut:
    """A dangerous one waits ten minutes for a second person; any other leaves at once."""
    who, number = ticket.principal, id_of(ticket.principal.id, once(key))
    asked = Asked(body.name, body.params, body.why, body.emergency, body.expires_in_s)
    async with context.database.write() as connection:
        await community_in_scope(connection, who, community_id)
        device = await asking.target(connection, body.device_id)
        if device is None or device["community_id"] != community_id:
            raise not_found("device", body.device_id)
        with refusing():
            row = await asking.ask(connection, who, number, asked, device, context.clock.now())
    log.info("command_asked", command_id=str(number), device=body.device_id, name=body.name, by=who.id)
    return LedgerCommandOut(**shown(row, who))


@router.get(
    "/communities/{community_id}/commands", response_model=CommandPage, summary="指令台账 The ledger, newest first"
)
async def commands(
    community_id: str,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.COMMANDS)],
    state: State = "open",
    device_id: Annotated[str | None, Query(max_length=64)] = None,
    batch_id: Annotated[UUID | None, Query()] = None,
    only: Annotated[list[CommandState] | None, Query(description="只看这些状态 · these states alone")] = None,
    to_review: Annotated[bool, Query(description="只看待复核的紧急越权 · emergencies nobody has reviewed")] = False,
    single: Annotated[bool, Query(description="不含批量的 · none of those in batches")] = False,
    after: Annotated[Cursor, Query(alias="cursor")] = None,
    limit: Limit = 100,
) -> Response:
    who = ticket.principal
    at, last = time_and_id(after) or (None, None)
    is_open = state == "open" and not to_review and only is None
    states = None if only is None else [one.value for one in only]
    grid = who.grid_id or "-" if who.role is Role.GRID else None
    async with context.database.read() as connection:
        await community_in_scope(connection, who, community_id)
        rows = await connection.fetch(
            Q["page"],
            community_id,
            device_id,
            batch_id,
            is_open,
            to_review,
            states,
            grid,
            single,
            at,
            last,
            limit + 1,
        )
    page = rows[:limit]
    more = cursor.encode(page[-1]["requested_at"].isoformat(), page[-1]["id"]) if len(rows) > limit else None
    return answer(CommandPage(items=[LedgerCommandOut(**shown(row, who)) for row in page], next=more))


@router.get("/commands/{command_id}", summary="一条指令及其经过 One command with its history")
async def command(
    command_id: UUID, context: Ctx, ticket: Annotated[Ticket, needs(Permission.COMMANDS)]
) -> CommandDetailOut:
    async with context.database.consistent() as connection:
        return await _detail(connection, ticket.principal, command_id)


@router.post("/commands/{command_id}/approve", summary="批准 Approve, as a second person", responses=REFUSALS)
async def approve(
    command_id: UUID, body: NoteIn, context: Ctx, ticket: Annotated[Ticket, needs(Permission.COMMAND_APPROVE)]
) -> CommandDetailOut:
    """It leaves at once. Whoever asked and whoever approved are looked up once more as it does."""
    who = ticket.principal
    async with context.database.write() as connection:
        row = await _locked(connection, who, command_id)
        with refusing():
            await asking.approve(connection, who, row, body.note, context.clock.now())
        return await _detail(connection, who, command_id)


@router.post("/commands/{command_id}/reject", summary="不批准 Reject", responses=REFUSALS)
async def reject(
    command_id: UUID, body: CommandWhyIn, context: Ctx, ticket: Annotated[Ticket, needs(Permission.COMMAND_APPROVE)]
) -> CommandDetailOut:
    who = ticket.principal
    async with context.database.write() as connection:
        row = await _locked(connection, who, command_id)
        with refusing():
            await asking.reject(connection, who, row, body.why, context.clock.now())
        return await _detail(connection, who, command_id)


@router.post(
    "/commands/{command_id}/cancel", summary="撤回未下发的指令 Call back what has not left", responses=REFUSALS
)
async def cancel(
    command_id: UUID, body: CommandWhyIn, context: Ctx, ticket: Annotated[Ticket, needs(Permission.COMMAND_ASK)]
) -> CommandDetailOut:
    """What was handed to the broker cannot be called back; ask for the opposite instead."""
    who = ticket.principal
    async with context.database.write() as connection:
        row = await _locked(connection, who, command_id)
        with refusing():
            await asking.cancel(connection, who, row, body.why, context.clock.now())
        return await _detail(connection, who, command_id)


@router.post("/commands/{command_id}/review", summary="复核紧急越权 Review an emergency", responses=REFUSALS)
async def review(
    command_id: UUID, body: ReviewIn, context: Ctx, ticket: Annotated[Ticket, needs(Permission.COMMAND_APPROVE)]
) -> CommandDetailOut:
    who = ticket.principal
    async with context.database.write() as connection:
        row = await _locked(connection, who, command_id)
        with refusing():
            await asking.review(connection, who, row, body.verdict, body.note, context.clock.now())
        return await _detail(connection, who, command_id)


@router.get(
    "/communities/{community_id}/command-strays",
    response_model=StrayPage,
    summary="无效回执 Replies that moved no command",
)
async def strays(
    community_id: str,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.COMMAND_APPROVE)],
    after: Annotated[Cursor, Query(alias="cursor")] = None,
    limit: Limit = 100,
) -> Response:
    key = cursor.decode(after, 2)
    at, last = _stray_key(key)
    async with context.database.read() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        rows = await connection.fetch(Q["strays_of"], community_id, None, at, last, limit + 1)
    page = rows[:limit]
    more = cursor.encode(page[-1]["last_at"].isoformat(), page[-1]["id"]) if len(rows) > limit else None
    return answer(StrayPage(items=[StrayOut(**dict(row)) for row in page], next=more))


def _stray_key(key: Any) -> tuple[datetime | None, int | None]:
    if key is None:
        return None, None
    try:
        return datetime.fromisoformat(key[0]), int(key[1])
    except ValueError:
        raise cursor.refused() from None


async def _locked(connection: Connection, who: Principal, command_id: UUID) -> Mapping[str, Any]:
    """Its row, held to the end of the transaction. Raises 404 also for what is outside the asker's reach."""
    return await _reached(connection, who, await asking.fetch(connection, command_id, lock=True), command_id)


async def _reached(
    connection: Connection, who: Principal, row: Mapping[str, Any] | None, command_id: UUID
) -> Mapping[str, Any]:
    found = await in_scope(connection, who, row, "command", command_id)
    if not reaches_grid(who, found["grid_id"]):
        raise not_found("command", command_id)
    return found


async def _detail(connection: Connection, who: Principal, command_id: UUID) -> CommandDetailOut:
    row = await _reached(connection, who, await asking.fetch(connection, command_id), command_id)
    lines = await asking.history(connection, command_id)
    found = await connection.fetch(Q["strays_of"], row["community_id"], command_id, None, None, 100)
    return CommandDetailOut(
        **shown(row, who),
        history=[CommandLineOut(**dict(line)) for line in lines],
        strays=[StrayOut(**dict(one)) for one in found],
    )


def shown(row: Mapping[str, Any], who: Principal) -> dict[str, Any]:
    """What is said aloud stays with those who answer for commands: it may name people."""
    label = STATE_LABELS[CommandState(row["state"])]
    out = {name: row[name] for name in LedgerCommandOut.model_fields if name != "label"}
    if not who.may(Permission.COMMAND_ASK) and not who.may(Permission.COMMAND_APPROVE):
        out["params"] = {}
    return out | {"label": LabelOut(zh=label.zh, en=label.en)}
