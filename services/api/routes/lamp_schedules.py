"""Lamp schedules (路灯计划): on and off by the sun, dimmed by the clock, each with the light it wants now."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from services.adapters.commands import lamps as store
from services.api.answers.models import LabelOut, Problem
from services.api.answers.shapes import Row
from services.api.commands.models import DimModel, LampScheduleIn, LampScheduleOut
from services.api.common import PREFIX, PROBLEMS
from services.api.context import Ctx
from services.api.guard import community_in_scope, needs
from services.api.identity.auth import Ticket
from services.api.store import system
from services.api.store.database import Connection
from services.api.web.preconditions import etag, expected_version, stale
from services.api.web.problems import ApiError, not_found
from services.domain.access import Permission
from services.domain.commands.lamps import Lamps, light_at, next_change, wrong

router = APIRouter(prefix=PREFIX, tags=["commands 设备指令"], responses=PROBLEMS)
SCHEDULES = "/communities/{community_id}/lamp-schedules"
ScheduleId = Annotated[str, Path(pattern="^[a-z][a-z0-9_]{0,63}$")]
CHANGES: dict[int | str, dict[str, Any]] = {
    412: {"model": Problem, "description": "他人已先修改 · somebody was faster"},
    428: {"model": Problem, "description": "缺少 If-Match · the header is missing"},
}


@router.get(SCHEDULES, summary="路灯计划 Lamp schedules, with the light they want now")
async def listed(
    community_id: str, context: Ctx, ticket: Annotated[Ticket, needs(Permission.COMMANDS)]
) -> list[LampScheduleOut]:
    async with context.database.read() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        rows = await store.schedules(connection, community_id)
    return [_out(row, context.clock.now_ms()) for row in rows]


@router.put(SCHEDULES + "/{schedule_id}", summary="编写路灯计划 Write one", responses=CHANGES)
async def put(
    community_id: str,
    schedule_id: ScheduleId,
    body: LampScheduleIn,
    request: Request,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.COMMAND_SCHEDULE)],
    response: Response,
) -> LampScheduleOut:
    """If-Match names the version seen; a new one: `If-None-Match: *`. Its lamps are told within half a minute."""
    who, seen = ticket.principal, expected_version(request)
    lamps = Lamps(body.on_deg, body.off_deg, tuple((dim.at, dim.brightness) for dim in body.dims))
    why = wrong(lamps.on_deg, lamps.off_deg, lamps.dims)
    if why is not None:
        raise ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{why.zh} · {why.en}")
    wanted = store.Schedule(body.title.zh, body.title.en, lamps, body.tags, body.grids, body.enabled)
    async with context.database.write() as connection:
        await community_in_scope(connection, who, community_id)
        await _as_seen(connection, community_id, schedule_id, seen)
        version = await store.put(connection, community_id, schedule_id, wanted, who.id, context.clock.now())
        detail = {"version": version, "on_deg": body.on_deg, "off_deg": body.off_deg, "enabled": body.enabled}
        await system.audit(connection, who, community_id, "lamp_schedule.put", f"lamp_schedule:{schedule_id}", detail)
        (row,) = await store.schedules(connection, community_id, schedule_id)
    response.headers.update(etag(version))
    return _out(row, context.clock.now_ms())


@router.delete(SCHEDULES + "/{schedule_id}", status_code=204, summary="删除路灯计划 Remove one", responses=CHANGES)
async def remove(
    community_id: str,
    schedule_id: ScheduleId,
    request: Request,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.COMMAND_SCHEDULE)],
) -> None:
    """Lamps stay as they are."""
    who, seen = ticket.principal, expected_version(request)
    async with context.database.write() as connection:
        await community_in_scope(connection, who, community_id)
        if await _as_seen(connection, community_id, schedule_id, seen) == 0:
            raise not_found("schedule", schedule_id)
        await store.remove(connection, community_id, schedule_id)
        subject = f"lamp_schedule:{schedule_id}"
        await system.audit(connection, who, community_id, "lamp_schedule.remove", subject, {"version": seen})


async def _as_seen(connection: Connection, community_id: str, schedule_id: str, seen: int) -> int:
    """Raises 412 where it is another than the asker has seen."""
    version = await store.version_of(connection, community_id, schedule_id)
    if version != seen:
        raise stale(version, None)
    return version


def _out(row: Row, now_ms: int) -> LampScheduleOut:
    lamps, where = store.lamps_of(row), store.where_of(row)
    following = next_change(lamps, where, now_ms)
    return LampScheduleOut(
        id=row["id"],
        title=LabelOut(zh=row["title_zh"], en=row["title_en"]),
        tags=row["tags"],
        grids=row["grids"],
        on_deg=lamps.on_deg,
        off_deg=lamps.off_deg,
        dims=[DimModel(at=at, brightness=level) for at, level in lamps.dims],
        enabled=row["enabled"],
        version=row["version"],
        changed_by=row["changed_by"],
        changed_name=row["changed_name"],
        changed_at=row["changed_at"],
        light=light_at(lamps, where, now_ms),
        next_at=None if following is None else datetime.fromtimestamp(following[0] / 1000, UTC),
        next_light=None if following is None else following[1],
    )
