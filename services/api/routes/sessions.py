"""One's own sessions and one's own password."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Request

from services.api.common import PREFIX, PROBLEMS, Cursor, Limit
from services.api.context import Ctx
from services.api.guard import caller, needs
from services.api.identity import accounts, store
from services.api.identity.auth import Ticket
from services.api.identity.models import PasswordIn, SessionOut, SessionPage, SessionsEndedOut
from services.api.store import system
from services.api.store.database import Connection
from services.api.web import cursor as cursors
from services.api.web.problems import ApiError, not_found
from services.domain.access import Permission

router = APIRouter(prefix=f"{PREFIX}/auth", tags=["auth 登录"], responses=PROBLEMS)
Self = Annotated[Ticket, needs(Permission.SELF)]


async def page_of(connection: Connection, user_id: str, current: str, cursor: str | None, limit: int) -> SessionPage:
    """Sessions of an account that stand, the newest first."""
    key = cursors.decode(cursor, 2)
    try:
        after = (datetime.fromisoformat(key[0]), key[1]) if key else (None, None)
    except ValueError:
        raise cursors.refused() from None
    rows = await connection.fetch(store.Q["sessions_of"], user_id, *after, limit + 1)
    items = [
        SessionOut(
            **{name: row[name] for name in SessionOut.model_fields.keys() - {"limited", "current"}},
            limited=row["limits"] is not None,
            current=row["id"] == current,
        )
        for row in rows[:limit]
    ]
    following = cursors.encode(items[-1].created_at.isoformat(), items[-1].id) if len(rows) > limit else None
    return SessionPage(items=items, next=following)


@router.get("/sessions", summary="我的登录 My sessions")
async def my_sessions(context: Ctx, ticket: Self, cursor: Cursor = None, limit: Limit = 50) -> SessionPage:
    async with context.database.read() as connection:
        return await page_of(connection, ticket.principal.id, ticket.token_id, cursor, limit)


@router.delete("/sessions/{session_id}", status_code=204, summary="结束我的一个登录 End a session of mine")
async def end_session(session_id: str, context: Ctx, ticket: Self) -> None:
    """Its live streams are cut within a second."""
    if not await context.auth.end_one(ticket.principal, ticket.principal.id, session_id, "owner"):
        raise not_found("session", session_id)


@router.post("/sessions/end-others", summary="结束其他登录 End all my other sessions")
async def end_others(context: Ctx, ticket: Self) -> SessionsEndedOut:
    who = ticket.principal
    async with context.database.write() as connection:
        ended = await store.end_all(connection, who.id, who.id, "owner", save=ticket.token_id)
        detail = {"ended": len(ended)}
        await system.audit(connection, who, who.community_id, "session.end_others", f"user:{who.id}", detail)
    context.auth.forget(ended)
    return SessionsEndedOut(ended=len(ended))


@router.post("/password", status_code=204, summary="修改密码 Change my password")
async def change_password(body: PasswordIn, request: Request, context: Ctx, ticket: Self) -> None:
    """Ends all other sessions; this one goes on."""
    who = ticket.principal
    if body.new == body.current:
        raise ApiError(
            HTTPStatus.UNPROCESSABLE_ENTITY, "新密码与当前密码相同 · the new password is the same as the current one"
        )
    accounts.refuse_password(body.new, who.username, who.display_name)
    account = await context.auth.confirm(ticket, body.current, caller(request))
    hashed = await context.auth.hashing.hash(body.new)
    async with context.database.write() as connection:
        row = {"id": who.id, "username": account.principal.username, "community_id": who.community_id}
        ended = await accounts.put_password(connection, context.auth, who, row, hashed, once=None, save=ticket.token_id)
    context.auth.forget([*ended, ticket.token_id])
