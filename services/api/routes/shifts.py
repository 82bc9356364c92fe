"""Single shifts: listed, added, cancelled; stand-ins (替班) and swaps (换班)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, timedelta
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID

import structlog
from fastapi import APIRouter, Query
from pydantic import AwareDatetime

from services.adapters.rosters import changes
from services.api.answers.models import Problem
from services.api.common import PREFIX, PROBLEMS, Cursor, Limit, OnceKey, once, time_and_id
from services.api.context import Ctx
from services.api.guard import community_in_scope, in_scope, needs
from services.api.identity.auth import Ticket
from services.api.orders.roster_models import (
    CancelShiftIn,
    ChangedOut,
    ShiftIn,
    ShiftOut,
    ShiftPage,
    StandInIn,
    SwapAnswerIn,
    SwapIn,
    SwapOut,
)
from services.api.routes.rosters import refusals, told
from services.api.web import cursor
from services.api.web.problems import ApiError
from services.domain.access import Permission
from services.domain.ids import CommunityId
from services.domain.rosters import Shift
from services.domain.vocabulary import Team

log = structlog.get_logger(__name__)
router = APIRouter(prefix=PREFIX, tags=["shifts 班次"], responses=PROBLEMS)
ONCE: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "缺少 Idempotency-Key · the header is missing"}
}
LONGEST_LIST = timedelta(days=93)


def _shift(row: Mapping[str, Any], display_name: str | None = None) -> ShiftOut:
    names = [name for name in ShiftOut.model_fields if name not in ("display_name", "rota")]
    shown = row["display_name"] if display_name is None and "display_name" in row else display_name
    return ShiftOut(**{name: row[name] for name in names}, display_name=shown, rota=row["pattern_id"])


@router.get("/communities/{community_id}/shifts", summary="班次 Shifts, by their start")
async def shifts(
    community_id: str,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.ROSTERS)],
    start: Annotated[AwareDatetime, Query(alias="from")],
    end: Annotated[AwareDatetime, Query(alias="to")],
    team: Team | None = None,
    cancelled: Annotated[bool, Query(description="the cancelled ones too")] = False,
    after: Annotated[Cursor, Query(alias="cursor")] = None,
    limit: Limit = 100,
) -> ShiftPage:
    key = time_and_id(after)
    if not timedelta(0) < end - start <= LONGEST_LIST:
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "时段须在 93 天以内 · ask for up to 93 days")
    async with context.database.read() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        rows = await changes.shifts(connection, changes.Page(community_id, start, end, team, cancelled, key, limit + 1))
    page = rows[:limit]
    more = cursor.encode(page[-1]["starts_at"].isoformat(), page[-1]["id"]) if len(rows) > limit else None
    return ShiftPage(items=[_shift(row) for row in page], next=more)


@router.post("/communities/{community_id}/shifts", summary="加班次 One shift by hand", responses=ONCE)
async def add(
    community_id: str,
    body: ShiftIn,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.ROSTER_EDIT)],
    key: OnceKey = None,
) -> ShiftOut:
    who, now = ticket.principal, context.clock.now()
    wanted = Shift(
        id=changes.id_of(who.id, once(key)),
        community_id=CommunityId(community_id),
        team=body.team,
        user_id=body.user_id,
        starts_at=body.starts_at.astimezone(UTC),
        ends_at=body.ends_at.astimezone(UTC),
        post=body.post,
        name=body.name,
    )
    async with context.database.write() as connection:
        await community_in_scope(connection, who, community_id)
        with refusals():
            row = await changes.add_shift(connection, wanted, who.id, now, body.why)
        if row["made_at"] == now:
            detail = {"team": body.team.value, "user_id": body.user_id, "shift_id": str(wanted.id)}
            await told(connection, who, community_id, "shift", f"shift:{wanted.id}", detail)
    return _shift(row)


@router.post("/shifts/{shift_id}/cancel", summary="取消班次 Cancel one shift")
async def cancel(
    shift_id: UUID, body: CancelShiftIn, context: Ctx, ticket: Annotated[Ticket, needs(Permission.ROSTER_EDIT)]
) -> ChangedOut:
    """Of one that has begun the rest falls away. Again changes nothing."""
    who, now = ticket.principal, context.clock.now()
    async with context.database.write() as connection:
        row = await in_scope(connection, who, await changes.shift(connection, shift_id), "shift", shift_id)
        with refusals():
            done = await changes.cancel(connection, row, who.id, now, body.why)
        if done:
            detail = {"team": row["team"], "user_id": row["user_id"], "shift_id": str(shift_id), "reason": body.why}
            await told(connection, who, row["community_id"], "cancel", f"shift:{shift_id}", detail)
    return ChangedOut(cancelled=int(done), added=0)


@router.post("/communities/{community_id}/stand-ins", summary="替班 Somebody stands for somebody", responses=ONCE)
async def stand_in(
    community_id: str,
    body: StandInIn,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.ROSTER_EDIT)],
    key: OnceKey = None,
) -> ChangedOut:
    """Shifts of `absent` change hands for that time, by the minute. A retry finds nothing left to change."""
    who, now = ticket.principal, context.clock.now()
    once(key)
    async with context.database.write() as connection:
        await community_in_scope(connection, who, community_id)
        with refusals():
            change = await changes.put_stand_in(
                connection,
                community_id,
                body.absent,
                body.user_id,
                body.starts_at.astimezone(UTC),
                body.ends_at.astimezone(UTC),
                who.id,
                now,
                body.why,
                body.team,
            )
        if change.cancelled:
            detail = {
                "team": change.cancelled[0].team.value,
                "absent": body.absent,
                "user_id": body.user_id,
                "from": body.starts_at.isoformat(),
                "to": body.ends_at.isoformat(),
            }
            await told(connection, who, community_id, "stand_in", f"user:{body.absent}", detail)
    return ChangedOut(cancelled=len(change.cancelled), added=len(change.added))


@router.post("/shifts/{shift_id}/swap", summary="申请换班 Ask somebody to swap", responses=ONCE)
async def swap(
    shift_id: UUID,
    body: SwapIn,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.ROSTERS)],
    key: OnceKey = None,
) -> SwapOut:
    """For one's own shift; the desk may ask for anybody. It takes place when the other one agrees."""
    who, now = ticket.principal, context.clock.now()
    swap_id = changes.id_of(who.id, once(key))
    async with context.database.write() as connection:
        one = await in_scope(connection, who, await changes.shift(connection, shift_id), "shift", shift_id)
        other = await in_scope(
            connection, who, await changes.shift(connection, body.for_shift_id), "shift", body.for_shift_id
        )
        if one["user_id"] != who.id and not who.may(Permission.ROSTER_EDIT):
            raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "只能换自己的班 · this is not your shift")
        with refusals():
            changes.check_swappable(one, other, now)
            row = await changes.ask_swap(connection, swap_id, one, other, who.id, now, body.why)
        if row["asked_at"] == now:
            detail = {
                "team": one["team"],
                "user_id": one["user_id"],
                "asked": other["user_id"],
                "swap_id": str(swap_id),
            }
            await told(connection, who, one["community_id"], "swap_asked", f"swap:{swap_id}", detail)
    return _swap(row)


@router.post("/swaps/{swap_id}/answer", summary="答复换班 Agree, or not")
async def answer_swap(
    swap_id: UUID, body: SwapAnswerIn, context: Ctx, ticket: Annotated[Ticket, needs(Permission.ROSTERS)]
) -> SwapOut:
    """By whoever was asked, nobody else. The same answer again changes nothing."""
    who, now = ticket.principal, context.clock.now()
    async with context.database.write() as connection:
        asked = await in_scope(connection, who, await changes.swap(connection, swap_id), "swap", swap_id)
        other = await changes.shift(connection, asked["for_shift_id"])
        if other is None or other["user_id"] != who.id:
            raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, "须由被申请人答复 · only whoever was asked can answer")
        with refusals():
            row = await changes.answer_swap(connection, swap_id, body.agree, who.id, now)
        if row["answered_at"] == now:
            detail = {"team": other["team"], "agreed": body.agree, "swap_id": str(swap_id), "user_id": who.id}
            await told(connection, who, row["community_id"], "swap", f"swap:{swap_id}", detail)
    return _swap(row)


@router.get("/communities/{community_id}/swaps", summary="换班申请 Swaps asked for, newest first")
async def swaps(
    community_id: str,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.ROSTERS)],
    open_only: Annotated[bool, Query(alias="open")] = True,
) -> list[SwapOut]:
    async with context.database.read() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        return [_swap(row) for row in await changes.swaps(connection, community_id, open_only=open_only)]


def _swap(row: Mapping[str, Any]) -> SwapOut:
    return SwapOut(**{name: row[name] for name in SwapOut.model_fields})
