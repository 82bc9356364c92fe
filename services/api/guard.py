"""The one way into every route: it declares a permission, and gets the asker's session or nothing."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import Depends, Request

from services.api import tenancy
from services.api.auth import Ticket, unauthorised
from services.api.context import Context
from services.api.database import Connection
from services.api.problems import ApiError, not_found
from services.api.shapes import Row
from services.api.store import communities as communities_store
from services.domain.access import Permission, Principal, reaches_community

COOKIE = "linhub_session"
CSRF_HEADER = "X-LinHub"
_READING = frozenset({"GET", "HEAD", "OPTIONS"})


@dataclass(frozen=True, slots=True)
class Requires:
    """A dependency: refuses with 401 without a session, 403 without the permission or the CSRF header."""

    permission: Permission

    async def __call__(self, request: Request) -> Ticket:
        context: Context = request.app.state.context
        token, by_cookie = _token(request)
        if token is None:
            raise unauthorised("请先登录 · log in first")
        ticket = await context.auth.verify(token)
        if by_cookie:
            _check_csrf(request)
        if not ticket.may(self.permission):
            raise ApiError(HTTPStatus.FORBIDDEN, "您的角色无此权限 · your role may not do this")
        tenancy.enter(ticket.principal)
        return ticket


@dataclass(frozen=True, slots=True)
class Open:
    """A dependency that says aloud that a route needs no login."""

    permission: Permission = Permission.ANYONE

    async def __call__(self) -> None:
        return None


@dataclass(frozen=True, slots=True)
class Maybe(Open):
    """A dependency of routes that hear everybody: who it is, where they are logged in.

    A browser's cookie that has run out makes them nobody; a token that somebody sends on purpose must be good.
    """

    async def __call__(self, request: Request) -> Ticket | None:  # type: ignore[override]
        context: Context = request.app.state.context
        token, by_cookie = _token(request)
        if token is None:
            return None
        try:
            ticket = await context.auth.verify(token)
        except ApiError:
            if by_cookie:
                return None
            raise
        if by_cookie:
            _check_csrf(request)
        tenancy.enter(ticket.principal)
        return ticket


def _check_csrf(request: Request) -> None:
    if request.method not in _READING and CSRF_HEADER not in request.headers:
        raise ApiError(
            HTTPStatus.FORBIDDEN,
            f"缺少 {CSRF_HEADER} 请求头 · requests that change something by cookie need the header {CSRF_HEADER}",
        )


def _token(request: Request) -> tuple[str | None, bool]:
    """The session's token and whether a browser sent it by itself."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return token.strip(), False
    return request.cookies.get(COOKIE), True


def needs(permission: Permission) -> Any:
    """`Depends` of `Requires`, for route signatures."""
    return Depends(Requires(permission))


def open_to_all() -> Any:
    return Depends(Open())


def anybody() -> Any:
    """`Depends` of `Maybe`: a ticket, or None without a login."""
    return Depends(Maybe())


async def community_in_scope(connection: Connection, who: Principal, community_id: str) -> Row:
    """The community's row. Raises 404 alike for one that is not there and one outside the asker's scope."""
    rows = await communities_store.communities(connection, community_id=community_id)
    if not rows or not reaches_community(who, rows[0]["id"], rows[0]["street_id"]):
        raise not_found("community", community_id)
    return rows[0]


async def in_scope(connection: Connection, who: Principal, row: Row | None, what: str, name: object) -> Row:
    """A row with a `community_id`, if its community is within the asker's scope; else 404 in its own name."""
    if row is None:
        raise not_found(what, name)
    if who.community_id == row["community_id"]:
        return row
    try:
        await community_in_scope(connection, who, row["community_id"])
    except ApiError:
        raise not_found(what, name) from None
    return row
