"""The one way into every route: it declares a permission, and gets the asker's session or nothing."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

from fastapi import Depends, Request

from services.api.answers.shapes import Row
from services.api.context import Context
from services.api.identity.auth import Caller, Ticket, unauthorised
from services.api.store import communities as communities_store
from services.api.store import tenancy
from services.api.store.database import Connection
from services.api.web.problems import ApiError, not_found
from services.domain.access import Permission, Principal, reaches_community
from services.domain.vocabulary import Role

COOKIE = "linhub_session"
DISPLAY_COOKIE = "linhub_display"
KEY_HEADER = "X-API-Key"
REFRESH_COOKIE = "linhub_refresh"
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
        ticket = await context.credentials.ticket(token, address_of(request))
        if by_cookie:
            check_csrf(request)
        self._check_screen(request, ticket)
        if not ticket.may(self.permission):
            if ticket.must_change:
                raise ApiError(
                    HTTPStatus.FORBIDDEN,
                    "请先把一次性密码改为您自己的密码 · first change the one-time password to one of your own",
                )
            raise ApiError(HTTPStatus.FORBIDDEN, "您的角色无此权限 · your role may not do this")
        tenancy.enter(ticket.principal)
        return ticket

    def _check_screen(self, request: Request, ticket: Ticket) -> None:
        _only_looks(request, ticket)


@dataclass(frozen=True, slots=True)
class OfScreen(Requires):
    """A dependency of what a paired screen does for itself: nobody else may."""

    permission: Permission = Permission.SELF

    def _check_screen(self, request: Request, ticket: Ticket) -> None:
        if ticket.principal.role is not Role.DISPLAY:
            raise ApiError(HTTPStatus.FORBIDDEN, "只有已配对的屏幕可用 · only a paired screen may ask for this")


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
            ticket = await context.credentials.ticket(token, address_of(request))
        except ApiError:
            if by_cookie:
                return None
            raise
        if by_cookie:
            check_csrf(request)
        _only_looks(request, ticket)
        tenancy.enter(ticket.principal)
        return ticket


def _only_looks(request: Request, ticket: Ticket) -> None:
    """A screen shows and does nothing, whatever its role should come to be given."""
    if ticket.principal.role is Role.DISPLAY and request.method not in _READING:
        raise ApiError(HTTPStatus.FORBIDDEN, "屏幕只能看 · a screen may only look")


def address_of(request: Request) -> str:
    return request.client.host if request.client else "?"


def caller(request: Request) -> Caller:
    return Caller(address_of(request), request.headers.get("User-Agent", ""))


def check_csrf(request: Request) -> None:
    """Raises ApiError 403 where a page of another origin may have made the browser send this with its cookies."""
    if request.method in _READING:
        return
    if CSRF_HEADER not in request.headers:
        raise ApiError(
            HTTPStatus.FORBIDDEN,
            f"缺少 {CSRF_HEADER} 请求头 · requests that change something by cookie need the header {CSRF_HEADER}",
        )
    check_origin(request)


def check_origin(request: Request) -> None:
    """Raises ApiError 403 where the browser says that a page of another origin asks.

    What the browser calls same-origin is believed first: a proxy may rewrite the host, which it has not seen.
    """
    site = request.headers.get("Sec-Fetch-Site")
    if site is not None:
        foreign = site not in ("same-origin", "none")
    else:
        origin = request.headers.get("Origin")
        public_url = request.app.state.context.settings.public_url or ""
        ours = {request.headers.get("Host", ""), urlsplit(public_url).netloc}
        foreign = origin is not None and urlsplit(origin).netloc not in ours
    if foreign:
        raise ApiError(HTTPStatus.FORBIDDEN, "请求来自其他网站，已拒绝 · refused: a page of another site asks for this")


def _token(request: Request) -> tuple[str | None, bool]:
    """The session's token and whether a browser sent it by itself."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token:
        return token.strip(), False
    if key := request.headers.get(KEY_HEADER, "").strip():
        return key, False
    return request.cookies.get(COOKIE) or request.cookies.get(DISPLAY_COOKIE), True


def needs(permission: Permission) -> Any:
    """`Depends` of `Requires`, for route signatures."""
    return Depends(Requires(permission))


def of_screen() -> Any:
    """`Depends` of `OfScreen`."""
    return Depends(OfScreen())


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
