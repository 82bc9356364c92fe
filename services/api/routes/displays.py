"""Screens (大屏) of a community: paired by the code they show, listed, renamed, cut off."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import APIRouter, Query, Request, Response

from services.api.access.models import DisplayEdit, DisplayIn, DisplayOut, DisplayPage
from services.api.access.pairing import typed
from services.api.answers.models import Problem
from services.api.answers.shapes import Row
from services.api.common import PREFIX, PROBLEMS, Cursor, Limit, State, time_and_id
from services.api.context import Ctx
from services.api.guard import community_in_scope, in_scope, needs
from services.api.identity.auth import Ticket
from services.api.store import access, system
from services.api.store.database import Connection
from services.api.web import cursor
from services.api.web.preconditions import etag, expected_version
from services.api.web.problems import ApiError
from services.domain.access import Permission, Principal

router = APIRouter(prefix=PREFIX, tags=["displays 屏幕"], responses=PROBLEMS)

_SEEN_S = 120
_PAIR: dict[int | str, dict[str, Any]] = {
    409: {"model": Problem, "description": "已被使用 · the code was used already"},
    429: {"model": Problem, "description": "错码过多 · too many wrong codes; see Retry-After"},
}
_EDIT: dict[int | str, dict[str, Any]] = {
    409: {"model": Problem, "description": "已断开 · it was cut off"},
    412: {"model": Problem, "description": "他人已先修改 · somebody was faster"},
    428: {"model": Problem, "description": "缺少 If-Match · name the version you have seen"},
}


def _out(row: Row) -> DisplayOut:
    now = datetime.now(UTC)
    seen = row["last_seen_at"]
    status = (
        "revoked"
        if row["revoked_at"] is not None
        else "expired"
        if row["expires_at"] <= now
        else "waiting"
        if row["waiting"]
        else "seen"
        if seen is not None and now - seen < timedelta(seconds=_SEEN_S)
        else "away"
    )
    return DisplayOut(**{name: row[name] for name in DisplayOut.model_fields if name != "status"}, status=status)


async def _mine(connection: Connection, who: Principal, id: UUID) -> Row:
    return await in_scope(connection, who, await access.display(connection, id), "screen", id)


@router.post("/communities/{community_id}/displays", summary="配对屏幕 Pair a screen", status_code=201, responses=_PAIR)
async def pair(
    community_id: str,
    body: DisplayIn,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.DISPLAYS)],
) -> DisplayOut:
    """By the code it shows. The same code again, by the same person, answers with the same screen."""
    who = ticket.principal
    idle = timedelta(days=context.settings.display_idle_days)
    async with context.database.write() as connection:
        await community_in_scope(connection, who, community_id)
        wait_s = context.wrong_codes.would_wait_s(who.id)
        if wait_s:
            raise ApiError(
                HTTPStatus.TOO_MANY_REQUESTS,
                f"错误的配对码过多，请 {wait_s} 秒后再试 · too many wrong codes; try again in {wait_s} s",
                headers={"Retry-After": str(wait_s)},
            )
        code = typed(body.code)
        found = await access.pairing_by_code(connection, code) if code else None
        if found is None:
            context.wrong_codes.wait_s(who.id)
            raise ApiError(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "没有屏幕显示这个配对码：请核对，或等屏幕换新码 · "
                "no screen shows this code: check it, or wait for a new one",
            )
        if found["display_id"] is not None:
            if found["paired_by"] == who.id and found["community_id"] == community_id:
                return _out(await _mine(connection, who, found["display_id"]))
            raise ApiError(HTTPStatus.CONFLICT, "此配对码已被使用 · this code was used already")
        id = uuid4()
        account = f"display-{id.hex[:16]}"
        await access.insert_service(connection, account, body.name, "display", community_id, None)
        await access.insert_display(connection, id, community_id, account, body.name, body.place, who.id, idle)
        await access.take_pairing(connection, found["id"], id)
        row = await _mine(connection, who, id)
        detail = {"name": body.name, "place": body.place}
        await system.audit(connection, who, community_id, "display.pair", f"display:{id}", detail)
    return _out(row)


@router.get("/communities/{community_id}/displays", summary="屏幕列表 Screens, newest first")
async def displays(
    community_id: str,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.DISPLAYS)],
    state: State = "open",
    after: Annotated[Cursor, Query(alias="cursor")] = None,
    limit: Limit = 100,
) -> DisplayPage:
    key = time_and_id(after)
    async with context.database.read() as connection:
        await community_in_scope(connection, ticket.principal, community_id)
        rows = await access.displays(connection, community_id, revoked=state == "all", after=key, limit=limit + 1)
    page = rows[:limit]
    more = cursor.encode(page[-1]["paired_at"].isoformat(), page[-1]["id"]) if len(rows) > limit else None
    return DisplayPage(items=[_out(row) for row in page], next=more, build=context.cockpit.build())


@router.get("/displays/{display_id}", summary="一块屏幕 One screen")
async def display(
    display_id: UUID, response: Response, context: Ctx, ticket: Annotated[Ticket, needs(Permission.DISPLAYS)]
) -> DisplayOut:
    async with context.database.read() as connection:
        row = await _mine(connection, ticket.principal, display_id)
    response.headers.update(etag(row["version"]))
    return _out(row)


@router.put("/displays/{display_id}", summary="改名 Rename a screen", responses=_EDIT)
async def rename(
    display_id: UUID,
    body: DisplayEdit,
    request: Request,
    response: Response,
    context: Ctx,
    ticket: Annotated[Ticket, needs(Permission.DISPLAYS)],
) -> DisplayOut:
    """With `If-Match`: the version you have seen."""
    who = ticket.principal
    async with context.database.write() as connection:
        before = await _mine(connection, who, display_id)
        seen = expected_version(request)
        if before["revoked_at"] is not None:
            raise ApiError(HTTPStatus.CONFLICT, "此屏已断开 · this screen was cut off")
        if not await access.rename_display(connection, display_id, body.name, body.place, seen):
            raise ApiError(
                HTTPStatus.PRECONDITION_FAILED,
                "他人已先修改，请刷新后再改 · somebody was faster; load it again",
                headers=etag(before["version"]),
            )
        row = await _mine(connection, who, display_id)
        detail = {"name": body.name, "place": body.place}
        await system.audit(connection, who, row["community_id"], "display.rename", f"display:{display_id}", detail)
    response.headers.update(etag(row["version"]))
    return _out(row)


@router.post("/displays/{display_id}/revoke", summary="断开屏幕 Cut a screen off at once")
async def revoke(display_id: UUID, context: Ctx, ticket: Annotated[Ticket, needs(Permission.DISPLAYS)]) -> DisplayOut:
    """Its stream ends, and it falls back to its pairing page. Again changes nothing."""
    who = ticket.principal
    async with context.database.write() as connection:
        row = await _mine(connection, who, display_id)
        if await access.revoke_display(connection, display_id, who.id):
            await system.audit(connection, who, row["community_id"], "display.revoke", f"display:{display_id}", {})
        row = await _mine(connection, who, display_id)
    context.credentials.forget(f"display:{display_id}")
    return _out(row)
