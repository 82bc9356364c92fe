"""Login at another place: there and back again."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from services.api.access.oidc import STATE_S, Oidc, OidcError
from services.api.common import PREFIX, PROBLEMS
from services.api.context import Context, Ctx
from services.api.guard import caller, open_to_all
from services.api.routes.auth import set_cookies
from services.api.web import meters
from services.api.web.problems import ApiError, not_found

router = APIRouter(prefix=f"{PREFIX}/auth/oidc", tags=["auth 登录"], responses=PROBLEMS)
_COOKIE = "linhub_oidc"
_PATH = f"{PREFIX}/auth/oidc"


def _oidc(context: Context) -> Oidc:
    if context.oidc is None:
        raise not_found("login", "oidc")
    return context.oidc


def _back(request: Request, context: Context) -> str:
    base = (context.settings.public_url or str(request.base_url)).rstrip("/")
    return f"{base}{_PATH}/callback"


def _to_login(outcome: str) -> Response:
    return RedirectResponse(f"/login?oidc={outcome}", 303)


@router.get(
    "/start",
    summary="统一登录 Log in elsewhere",
    dependencies=[open_to_all()],
    response_class=Response,
    status_code=303,
)
async def start(request: Request, context: Ctx) -> Response:
    """To the provider; its cookie is Lax, since the way back begins on another site."""
    context.auth.admit(caller(request))
    try:
        begun = await _oidc(context).begin(_back(request, context))
    except OidcError as error:
        return _to_login(str(error))
    answer = RedirectResponse(begun.url, 303)
    secure = request.url.scheme == "https"
    answer.set_cookie(
        _COOKIE, begun.cookie, max_age=int(STATE_S), path=_PATH, secure=secure, httponly=True, samesite="lax"
    )
    return answer


@router.get(
    "/callback",
    summary="统一登录返回 Back from there",
    dependencies=[open_to_all()],
    response_class=Response,
    status_code=303,
)
async def callback(request: Request, context: Ctx) -> Response:
    """Sets the cookies of a session, or says on the login page why not."""
    oidc, outcome = _oidc(context), "ok"
    try:
        issued = await oidc.finish(
            request.cookies.get(_COOKIE, ""), request.query_params, _back(request, context), caller(request)
        )
    except OidcError as error:
        outcome = str(error)
        meters.LOGINS.labels("refused").inc()
    except ApiError:
        outcome = "limited"
        meters.LOGINS.labels("limited").inc()
    answer = _to_login(outcome)
    if outcome == "ok":
        meters.LOGINS.labels("ok").inc()
        set_cookies(request, answer, issued)
    answer.delete_cookie(_COOKIE, path=_PATH, secure=request.url.scheme == "https", httponly=True, samesite="lax")
    return answer
