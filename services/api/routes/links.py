"""The page a notice's link leads to: it shows what it is about, and a button says that one knows.

Looking at it acknowledges nothing, since messengers fetch links to preview them.
"""

from __future__ import annotations

import re
import time
from html import escape
from typing import Annotated, Any

import structlog
from fastapi import APIRouter, Path, Request
from starlette.responses import HTMLResponse

from services.adapters.notices import book
from services.adapters.notices.following import acknowledge
from services.api.answers.shapes import Row
from services.api.context import Ctx
from services.api.guard import open_to_all
from services.api.store.tenancy import SERVICE
from services.domain.notices import TEMPLATES, render
from services.domain.vocabulary import Severity

log = structlog.get_logger(__name__)
router = APIRouter(tags=["notices 通知"])

Token = Annotated[str, Path(max_length=64)]
_TOKEN = re.compile(r"^[A-Za-z0-9_-]{22}$")
_A_PAGE: dict[str, Any] = {"content": {"text/html": {"schema": {"type": "string"}}}}
_PAGES: dict[int | str, dict[str, Any]] = {
    200: {"description": "网页 A page for people"},
    404: {"description": "链接无效或已过期 · not valid, or not any more", **_A_PAGE},
    429: {"description": "尝试过多 · too many attempts", **_A_PAGE},
}
_HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
}
_PAGE = """<!doctype html><html lang="zh"><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>LinHub 邻枢</title>
<style>body{{font:18px/1.6 system-ui,sans-serif;max-width:32rem;margin:2rem auto;padding:0 1rem}}
pre{{white-space:pre-wrap;font:inherit}}button{{font:inherit;padding:.8rem 2rem;border:0;border-radius:.4rem;
background:#0b57d0;color:#fff;width:100%}}.en{{color:#555}}</style>{body}</html>"""


def _page(body: str, status: int = 200) -> HTMLResponse:
    return HTMLResponse(_PAGE.format(body=body), status, headers=_HEADERS)


def _unknown(request: Request, context: Ctx) -> HTMLResponse:
    context.guesses.failed("", _address(request), time.monotonic())
    return _page("<p>链接无效或已过期。</p><p class=en>This link is not valid, or not any more.</p>", 404)


def _address(request: Request) -> str:
    return request.client.host if request.client else "?"


def _limited(request: Request, context: Ctx) -> HTMLResponse | None:
    wait_s = context.guesses.wait_s("-", _address(request), time.monotonic())
    if wait_s <= 0:
        return None
    found = _page("<p>尝试过多，请稍候。</p><p class=en>Too many attempts; please wait.</p>", 429)
    found.headers["Retry-After"] = str(int(wait_s) + 1)
    return found


def _shown(row: Row) -> str:
    parts = []
    for language, sort in (("zh", ""), ("en", " class=en")):
        severity = Severity(row["severity"])
        title, body = render(TEMPLATES[row["template"]], row["params"], severity, language, row["timezone"])
        parts.append(f"<h3{sort}>{escape(title)}</h3><pre{sort}>{escape(body)}</pre>")
    return "".join(parts)


_DONE = "<p>✓ 已确认知悉。接单请在系统中操作。</p><p class=en>It is noted that you know. To accept, use the system.</p>"
_ASK = "<form method=post><button>我已知悉 · I know</button></form>"


@router.get(
    "/n/{token}",
    summary="通知链接 What a notice is about",
    dependencies=[open_to_all()],
    responses=_PAGES,
    response_class=HTMLResponse,
)
async def look(token: Token, request: Request, context: Ctx) -> HTMLResponse:
    """Changes nothing."""
    if limited := _limited(request, context):
        return limited
    row = None
    if _TOKEN.match(token):
        async with context.database.read(as_=SERVICE) as connection:
            row = await book.by_token(connection, token, context.clock.now())
    if row is None:
        return _unknown(request, context)
    return _page(_shown(row) + (_DONE if row["acknowledged_at"] else _ASK))


@router.post(
    "/n/{token}",
    summary="确认知悉 Say that one knows",
    dependencies=[open_to_all()],
    responses=_PAGES,
    response_class=HTMLResponse,
)
async def say(token: Token, request: Request, context: Ctx) -> HTMLResponse:
    """Doing it again changes nothing. It does not accept the order."""
    if limited := _limited(request, context):
        return limited
    now = context.clock.now()
    row = None
    if _TOKEN.match(token):
        async with context.database.write(as_=SERVICE) as connection:
            row = await book.by_token(connection, token, now)
            if row is not None:
                await acknowledge(connection, row["id"], now, row["name"] or "?")
    if row is None:
        return _unknown(request, context)
    log.info("notice_acknowledged", notice=str(row["id"]), by=row["recipient"])
    return _page(_shown(row) + _DONE)
