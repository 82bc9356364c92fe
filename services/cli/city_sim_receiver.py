"""The receiving end of a small city platform: keeps what is proven, then says so; or behaves as badly as asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from html import escape

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, Response, StreamingResponse
from starlette.routing import Route

from services.cli.city_sim_book import Book
from services.cli.city_sim_proof import Key, Refused, proven

MOST_BYTES = 1_048_576
_SHOWN = 50
_CHUNK = b"0" * 65_536


@dataclass(frozen=True, slots=True)
class Manners:
    """How badly to behave, for tests and drills. `lie`: says that it was kept, and keeps nothing. `endless`: an answer
    that does not end. `refuse` and `redirect` answer every request so."""

    slow_s: float = 0.0
    refuse: int | None = None
    retry_after_s: int | None = None
    redirect: str | None = None
    lie: bool = False
    endless: bool = False


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class Receiver:
    """`manners` may be changed while it serves."""

    book: Book
    keys: tuple[Key, ...]
    manners: Manners = field(default_factory=Manners)
    clock: Callable[[], datetime] = _now
    heard: int = 0

    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route("/", self.page, methods=["GET"]),
                Route("/{path:path}", self.take, methods=["POST"]),
            ]
        )

    async def page(self, _request: Request) -> HTMLResponse:
        """What came, for whoever looks in with a browser."""
        figures = self.book.figures().as_dict()
        rows = "".join(f"<tr><th>{escape(name)}<td>{escape(str(value))}" for name, value in figures.items())
        lines = "".join(
            f"<tr><td>{escape(at[11:19])}<td>{escape(type)}<td>{escape(subject)}<td>{escape(mark)}"
            for at, type, subject, mark, _ in self.book.newest(_SHOWN)
        )
        return HTMLResponse(
            "<!doctype html><meta charset=utf-8><meta http-equiv=refresh content=2>"
            "<title>城市平台 City platform</title>"
            "<style>body{font:16px system-ui;margin:2rem}td,th{text-align:left;padding:.2rem 1rem}</style>"
            f"<h1>城市平台 City platform</h1><table>{rows}</table><h2>收到 Came</h2><table>{lines}</table>",
            headers={"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"},
        )

    async def take(self, request: Request) -> Response:
        self.heard += 1
        manners = self.manners
        if manners.slow_s:
            await asyncio.sleep(manners.slow_s)
        if manners.redirect is not None:
            return Response(status_code=307, headers={"Location": manners.redirect})
        if manners.refuse is not None:
            wait = {"Retry-After": str(manners.retry_after_s)} if manners.retry_after_s is not None else {}
            return Response(status_code=manners.refuse, headers=wait)
        if manners.endless:
            return StreamingResponse(_endless())
        try:
            return await self._kept(request)
        except Refused as refused:
            self.book.refuse(str(refused), self.clock())
            return Response(str(refused), refused.status, media_type="text/plain; charset=utf-8")

    async def _kept(self, request: Request) -> Response:
        body = b""
        try:
            async for part in request.stream():
                body += part
                if len(body) > MOST_BYTES:
                    raise Refused(413, "too large 过大")
        except ClientDisconnect:
            return Response(status_code=400)
        now = self.clock()
        headers = {name.lower(): text for name, text in request.headers.items()}
        event = proven(headers, body, self.keys, now)
        if not self.manners.lie:
            self.book.keep(event, now)
        return Response(status_code=204)


async def _endless() -> AsyncIterator[bytes]:
    while True:
        yield _CHUNK
        await asyncio.sleep(0)
