"""Logging in and out, and who one is."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

from fastapi import APIRouter, Request, Response

from services.api import meters
from services.api.auth import Caller, Ticket
from services.api.context import Ctx
from services.api.guard import COOKIE, needs, open_to_all
from services.api.models import Login, Problem, Session, UserOut
from services.api.problems import ApiError
from services.api.routes.common import PREFIX, PROBLEMS
from services.domain.access import Permission, Principal

router = APIRouter(prefix=f"{PREFIX}/auth", tags=["auth 登录"], responses=PROBLEMS)


def user(who: Principal) -> UserOut:
    return UserOut(
        id=who.id,
        username=who.username,
        display_name=who.display_name,
        role=who.role,
        team=who.team,
        community_id=who.community_id,
        grid_id=who.grid_id,
    )


def caller(request: Request) -> Caller:
    return Caller(request.client.host if request.client else "?", request.headers.get("User-Agent", ""))


@router.post(
    "/login",
    summary="登录 Log in",
    dependencies=[open_to_all()],
    responses={429: {"model": Problem, "description": "尝试过多 · too many attempts; see Retry-After"}},
)
async def login(body: Login, request: Request, response: Response, context: Ctx) -> Session:
    """Sets the HttpOnly cookie for browsers; programs use `access_token` as a bearer token."""
    try:
        issued = await context.auth.login(body.username, body.password, caller(request), "browser")
    except ApiError as error:
        meters.LOGINS.labels("limited" if error.status == 429 else "refused").inc()
        raise
    meters.LOGINS.labels("ok").inc()
    expires_at = issued.expires_at
    response.set_cookie(
        COOKIE,
        issued.token,
        max_age=int((expires_at - datetime.now(UTC)).total_seconds()),
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return Session(access_token=issued.token, expires_at=expires_at, user=user(issued.ticket.principal))


@router.post("/logout", status_code=204, summary="退出 Log out")
async def logout(
    request: Request, response: Response, context: Ctx, ticket: Annotated[Ticket, needs(Permission.SELF)]
) -> None:
    """Ends this session everywhere, its live streams too."""
    await context.auth.end(ticket)
    response.delete_cookie(COOKIE, path="/", secure=request.url.scheme == "https", httponly=True, samesite="strict")


@router.get("/me", summary="我是谁 Who am I")
async def me(ticket: Annotated[Ticket, needs(Permission.SELF)]) -> UserOut:
    return user(ticket.principal)
