"""What a screen asks without a login: a code to show, and whether somebody has typed it in."""

from __future__ import annotations

import hmac
from datetime import timedelta
from http import HTTPStatus
from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import APIRouter, Request, Response

from services.api.access.credentials import display_of, display_text, hashed, inet, new_secret
from services.api.access.models import ClaimIn, ClaimOut, PairingOut, RefreshIn, RefreshOut
from services.api.access.pairing import new_code, qr, shown
from services.api.answers.models import Problem
from services.api.common import PREFIX, PROBLEMS
from services.api.context import Ctx
from services.api.guard import DISPLAY_COOKIE, address_of, of_screen, open_to_all
from services.api.identity.auth import Ticket
from services.api.store import access
from services.api.store.tenancy import SERVICE
from services.api.web.limits import network_of
from services.api.web.problems import ApiError, not_found

router = APIRouter(prefix=f"{PREFIX}/displays", tags=["displays 屏幕"], responses=PROBLEMS)

LASTS = timedelta(minutes=10)
POLL_S = 2.0
MOST_OPEN = 30
"""Codes open at a time from one network: more is no wall being hung but a flood, which is its own affair alone."""
MOST_OPEN_EVERYWHERE = 10_000
"""What the table holds at most, whoever asks."""
_COOKIE_S = 400 * 86_400
"""The longest that browsers keep one; each refresh begins it anew."""
_MANY: dict[int | str, dict[str, Any]] = {
    429: {"model": Problem, "description": "请求过多 · too many codes asked for; see Retry-After"}
}


def _too_many(wait_s: int) -> ApiError:
    return ApiError(
        HTTPStatus.TOO_MANY_REQUESTS,
        f"配对码申请过多，请 {wait_s} 秒后再试 · too many codes were asked for; try again in {wait_s} s",
        headers={"Retry-After": str(wait_s)},
    )


@router.post(
    "/pairings",
    summary="申请配对码 A code for a screen to show",
    status_code=201,
    dependencies=[open_to_all()],
    responses=_MANY,
)
async def ask(request: Request, context: Ctx) -> PairingOut:
    """Good for ten minutes and one screen. The desk types it in at `/displays`."""
    address = address_of(request)
    network = network_of(address)
    wait_s = context.pairings.wait_s(network)
    if wait_s:
        raise _too_many(wait_s)
    id, secret = uuid4(), new_secret()
    # A screen that nobody has paired yet belongs to no community.
    async with context.database.write(as_=SERVICE) as connection:
        of_network, of_all = await access.open_pairings(connection, network if inet(address) else None)
        if of_network >= MOST_OPEN or of_all >= MOST_OPEN_EVERYWHERE:
            raise _too_many(60)
        until = None
        while until is None:
            code = new_code()
            until = await access.insert_pairing(connection, id, code, hashed(secret), inet(address), LASTS)
    where = f"{(context.settings.public_url or str(request.base_url)).rstrip('/')}/displays"
    return PairingOut(
        id=id,
        code=shown(code),
        secret=secret,
        expires_at=until,
        poll_s=POLL_S,
        address=where,
        qr=qr(f"{where}?code={shown(code)}"),
    )


@router.post("/pairings/{pairing_id}/claim", summary="领取会话 Has it been typed in", dependencies=[open_to_all()])
async def claim(pairing_id: UUID, body: ClaimIn, request: Request, response: Response, context: Ctx) -> ClaimOut:
    """By the screen that asked, with its secret. `paired` sets its cookie; asked again within the ten minutes, it sets
    another, for an answer may be lost with the power."""
    address = address_of(request)
    # Whose screen it has become, only the row says that its secret opens.
    async with context.database.write(as_=SERVICE) as connection:
        row = await access.pairing(connection, pairing_id)
        if row is None or not hmac.compare_digest(row["secret_hash"], hashed(body.secret)):
            raise not_found("pairing", pairing_id)
        if row["expires_at"] <= context.clock.now():
            return ClaimOut(state="expired")
        if row["display_id"] is None:
            return ClaimOut(state="waiting")
        secret = new_secret()
        if not await access.give_display_secret(connection, row["display_id"], hashed(secret), inet(address)):
            return ClaimOut(state="expired")
        screen = await access.display(connection, row["display_id"])
        assert screen is not None  # noqa: S101 - it was written just now
    context.credentials.forget(f"display:{row['display_id']}")
    _set_cookie(request, response, display_text(row["display_id"], secret))
    return ClaimOut(state="paired", community_id=screen["community_id"], name=screen["name"])


def _set_cookie(request: Request, response: Response, token: str) -> None:
    response.set_cookie(
        DISPLAY_COOKIE,
        token,
        max_age=_COOKIE_S,
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )


def _screen(ticket: Ticket) -> UUID:
    """Raises ApiError 403 for an account of the screens' role that came in by a password."""
    id = display_of(ticket)
    if id is None:
        raise ApiError(HTTPStatus.FORBIDDEN, "只有已配对的屏幕可用 · only a paired screen may ask for this")
    return id


@router.post("/me/refresh", summary="续期 Renew this screen's session")
async def refresh(
    body: RefreshIn, request: Request, response: Response, context: Ctx, ticket: Annotated[Ticket, of_screen()]
) -> RefreshOut:
    """A screen asks by itself, daily, and says which build it shows; none: it has just loaded the page."""
    id = _screen(ticket)
    idle = timedelta(days=context.settings.display_idle_days)
    async with context.database.write() as connection:
        build = body.build or context.cockpit.build()
        until = await access.display_build(connection, id, build, idle, inet(address_of(request)))
        screen = await access.display(connection, id)
    if until is None or screen is None:
        raise not_found("screen", id)
    if token := request.cookies.get(DISPLAY_COOKIE):
        _set_cookie(request, response, token)
    return RefreshOut(
        name=screen["name"], community_id=screen["community_id"], expires_at=until, build=context.cockpit.build()
    )


@router.post("/me/logout", status_code=204, summary="断开本屏 Cut this screen off")
async def logout(request: Request, response: Response, context: Ctx, ticket: Annotated[Ticket, of_screen()]) -> None:
    """It falls back to its pairing page."""
    id = _screen(ticket)
    async with context.database.write() as connection:
        await access.revoke_display(connection, id, ticket.principal.id)
    context.credentials.forget(ticket.token_id)
    response.delete_cookie(
        DISPLAY_COOKIE, path="/", secure=request.url.scheme == "https", httponly=True, samesite="strict"
    )
