"""Logging in, staying logged in and logging out; tokens for programs; and who one is."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response

from services.api.access import oauth
from services.api.access.oauth import OAuthError
from services.api.answers.models import Login, Problem, Session, UserOut
from services.api.common import PREFIX, PROBLEMS
from services.api.context import Context, Ctx
from services.api.guard import COOKIE, REFRESH_COOKIE, caller, check_csrf, check_origin, needs, open_to_all
from services.api.identity.auth import Issued, Ticket, ended
from services.api.identity.models import LoginOptionsOut, OAuthProblem, OidcOut, RenewedOut, TokenOut
from services.api.web import meters
from services.api.web.problems import ApiError
from services.domain.access import PERMISSIONS, Permission
from services.domain.passwords import SHORTEST

router = APIRouter(prefix=f"{PREFIX}/auth", tags=["auth 登录"], responses=PROBLEMS)
_LIMITED: dict[int | str, dict[str, Any]] = {
    429: {"model": Problem, "description": "尝试过多 · too many attempts; see Retry-After"}
}
_PATH = f"{PREFIX}/auth"


def user(ticket: Ticket) -> UserOut:
    who = ticket.principal
    return UserOut(
        id=who.id,
        username=who.username,
        display_name=who.display_name,
        role=who.role,
        team=who.team,
        community_id=who.community_id,
        grid_id=who.grid_id,
        must_change=ticket.must_change,
    )


def set_cookies(request: Request, response: Response, issued: Issued) -> None:
    """The access token for the whole site; the refresh token only for where it is used up."""
    now = datetime.now(UTC)
    for name, value, until, path in (
        (COOKIE, issued.token, issued.expires_at, "/"),
        (REFRESH_COOKIE, issued.refresh, issued.ticket.expires_at, _PATH),
    ):
        if value is not None:
            response.set_cookie(
                name,
                value,
                max_age=int((until - now).total_seconds()),
                path=path,
                secure=request.url.scheme == "https",
                httponly=True,
                samesite="strict",
            )


def _drop_cookies(request: Request, response: Response) -> None:
    for name, path in ((COOKIE, "/"), (REFRESH_COOKIE, _PATH)):
        response.delete_cookie(name, path=path, secure=request.url.scheme == "https", httponly=True, samesite="strict")


def _counted(error: ApiError) -> None:
    meters.LOGINS.labels("limited" if error.status == HTTPStatus.TOO_MANY_REQUESTS else "refused").inc()


@router.get("/options", summary="登录方式 Ways to log in", dependencies=[open_to_all()])
async def options(context: Ctx) -> LoginOptionsOut:
    oidc = context.oidc
    return LoginOptionsOut(
        contact=context.settings.login_contact,
        password_shortest=SHORTEST,
        oidc=OidcOut(name=oidc.name, issuer=oidc.issuer, start=f"{_PATH}/oidc/start") if oidc is not None else None,
    )


@router.post("/login", summary="登录 Log in", dependencies=[open_to_all()], responses=_LIMITED)
async def login(body: Login, request: Request, response: Response, context: Ctx) -> Session:
    """Sets two HttpOnly cookies for browsers; a program takes its tokens from `/auth/token`."""
    check_origin(request)
    try:
        issued = await context.auth.login(body.username, body.password, caller(request), "browser")
    except ApiError as error:
        _counted(error)
        raise
    meters.LOGINS.labels("ok").inc()
    set_cookies(request, response, issued)
    return Session(
        access_token=issued.token,
        expires_at=issued.expires_at,
        session_expires_at=issued.ticket.expires_at,
        user=user(issued.ticket),
    )


@router.post("/refresh", summary="续期 Renew", dependencies=[open_to_all()], responses=_LIMITED)
async def refresh(request: Request, response: Response, context: Ctx) -> RenewedOut:
    """Renews by cookie. A refresh token counts once; used a second time, it ends the session."""
    check_csrf(request)
    token = request.cookies.get(REFRESH_COOKIE)
    if token is None:
        raise ended()
    issued = await context.auth.refresh(token, caller(request))
    set_cookies(request, response, issued)
    return RenewedOut(
        expires_at=issued.expires_at,
        session_expires_at=issued.ticket.expires_at,
        user=user(issued.ticket),
    )


@router.post("/logout", status_code=204, summary="退出 Log out")
async def logout(
    request: Request, response: Response, context: Ctx, ticket: Annotated[Ticket, needs(Permission.SELF)]
) -> None:
    """Ends this session everywhere, its live streams too."""
    await context.auth.end(ticket)
    _drop_cookies(request, response)


@router.get("/me", summary="我是谁 Who am I")
async def me(ticket: Annotated[Ticket, needs(Permission.SELF)]) -> UserOut:
    return user(ticket)


_FORM = {
    "requestBody": {
        "required": True,
        "content": {
            "application/x-www-form-urlencoded": {
                "schema": {
                    "type": "object",
                    "required": ["grant_type"],
                    "properties": {
                        "grant_type": {
                            "type": "string",
                            "enum": ["password", "refresh_token", "client_credentials"],
                        },
                        "username": {"type": "string", "maxLength": 64},
                        "password": {"type": "string", "maxLength": 256, "format": "password"},
                        "refresh_token": {"type": "string", "maxLength": 256},
                        "scope": {"type": "string", "description": "permissions, by spaces; left out: all"},
                        "client_id": {"type": "string", "maxLength": 256},
                        "client_secret": {"type": "string", "maxLength": 256, "format": "password"},
                    },
                    "example": {"grant_type": "password", "username": "desk", "password": "••••••••"},
                }
            }
        },
    }
}


@router.post(
    "/token",
    summary="令牌 OAuth 2.0 token",
    dependencies=[open_to_all()],
    openapi_extra=_FORM,
    response_model=TokenOut,
    responses={
        400: {"model": OAuthProblem, "description": "RFC 6749 §5.2"},
        401: {"model": OAuthProblem, "description": "invalid_client"},
        429: {"model": OAuthProblem, "description": "尝试过多 · too many attempts; see Retry-After"},
    },
)
async def token(request: Request, context: Ctx) -> Response:
    """Grants: `password`, `refresh_token` (rotated: keep the new one), `client_credentials`."""
    try:
        if request.headers.get("Content-Type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
            raise OAuthError("invalid_request", "send application/x-www-form-urlencoded")
        form = oauth.form_of(await request.body())
        issued = await _granted(request, context, form)
    except OAuthError as error:
        return error.response()
    limits = issued.ticket.limits
    said = TokenOut(
        access_token=issued.token,
        expires_in=max(0, int((issued.expires_at - datetime.now(UTC)).total_seconds())),
        refresh_token=issued.refresh,
        scope=" ".join(sorted(limits)) if limits is not None else None,
    )
    headers = {"Cache-Control": "no-store", "Pragma": "no-cache"}
    return Response(said.model_dump_json(exclude_none=True), 200, headers, "application/json")


async def _granted(request: Request, context: Context, form: dict[str, str]) -> Issued:
    grant = oauth.required(form, "grant_type")
    scope = oauth.scope_of(form)
    try:
        if grant == "password":
            username, password = oauth.required(form, "username", 64), oauth.required(form, "password")
            limits = None if scope is None else scope | {Permission.SELF}
            issued = await context.auth.login(username, password, caller(request), "token", limits)
            meters.LOGINS.labels("ok").inc()
            return _within_role(issued)
        if grant == "refresh_token":
            return await context.auth.refresh(oauth.required(form, "refresh_token"), caller(request))
    except ApiError as error:
        if grant == "password":
            _counted(error)
        status = error.status if error.status == HTTPStatus.TOO_MANY_REQUESTS else HTTPStatus.BAD_REQUEST
        headers = {name: value for name, value in error.headers.items() if name == "Retry-After"}
        raise OAuthError("invalid_grant", error.detail, status, headers) from None
    if grant == "client_credentials" and context.clients is not None:
        client_id, secret = oauth.client_of(form, request.headers.get("Authorization", ""))
        try:
            context.auth.admit(caller(request))
        except ApiError as error:
            raise OAuthError("invalid_client", error.detail, error.status, error.headers) from None
        return await context.clients(client_id, secret, scope, caller(request))
    raise OAuthError("unsupported_grant_type", "use password, refresh_token or client_credentials")


def _within_role(issued: Issued) -> Issued:
    """What was asked beyond the role is not granted, and the answer says what was (RFC 6749, section 3.3)."""
    ticket = issued.ticket
    if ticket.limits is None:
        return issued
    granted = ticket.limits & PERMISSIONS[ticket.principal.role]
    narrowed = Ticket(ticket.principal, ticket.token_id, ticket.expires_at, granted, ticket.must_change)
    return Issued(issued.token, issued.expires_at, issued.refresh, narrowed)
