"""Around every request: a request id, one log line, metrics, safe headers, and a problem for what nobody caught."""

from __future__ import annotations

import re
import secrets
import time
from http import HTTPStatus

import structlog
from fastapi import HTTPException
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.api.store.database import AWAY
from services.api.web import meters
from services.api.web.problems import problem_response, unavailable

log = structlog.get_logger(__name__)

_GIVEN_ID = re.compile(r"^[A-Za-z0-9_.:@-]{1,128}$")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
_QUIET = ("/health/", "/metrics")
MAX_BODY_BYTES = 64 * 1024
_UPLOADS = re.compile(
    r"^/api/v1/(?:(?:orders|communities)/[^/]+/evidence"
    r"|communities/[^/]+/(?:reports|people/import|registry/imports|plan/preview))$"
)
MAX_BATCH_BYTES = 4 * 1024 * 1024
_BATCHES = re.compile(r"^/api/v1/communities/[^/]+/(?:registry/devices|plan/(?:places|drawings))$")
"""Thousands of devices at once, a whole drawing."""


class BodyTooLarge(HTTPException):
    """Its own words: routes differ in how much they take."""

    def __init__(self, limit: int) -> None:
        how = f"{limit // 1024} KiB" if limit < 1024 * 1024 else f"{limit // (1024 * 1024)} MiB"
        super().__init__(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"请求过大，上限 {how} · the request is larger than {how}",
            headers={"Connection": "close"},
        )


class Edge:
    """A plain ASGI middleware: streams pass through untouched."""

    def __init__(self, app: ASGIApp, upload_bytes: int = MAX_BODY_BYTES) -> None:
        """`upload_bytes`: the largest body of a route that takes files; each sort has its own limit besides."""
        self._app = app
        self._upload_bytes = upload_bytes

    def _limit(self, scope: Scope) -> int:
        if scope["method"] == "POST" and _UPLOADS.match(scope["path"]) is not None:
            return self._upload_bytes
        return MAX_BATCH_BYTES if _BATCHES.match(scope["path"]) is not None else MAX_BODY_BYTES

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.perf_counter()
        headers_in = dict(scope["headers"])
        given = headers_in.get(b"x-request-id", b"").decode("latin-1")
        length, limit = headers_in.get(b"content-length", b""), self._limit(scope)
        request_id = given if _GIVEN_ID.match(given) else secrets.token_hex(8)
        status = 0
        first_byte_s = 0.0

        async def answer(message: Message) -> None:
            nonlocal status, first_byte_s
            if message["type"] == "http.response.start":
                status = message["status"]
                first_byte_s = time.perf_counter() - started
                headers = MutableHeaders(scope=message)
                headers["X-Request-ID"] = request_id
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                if scope["path"].startswith("/api/"):
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        taken = 0

        async def take() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > limit:
                raise BodyTooLarge(limit)
            return message

        with structlog.contextvars.bound_contextvars(request=request_id):
            try:
                if length.isdigit() and int(length) > limit:
                    # By its own word: not a byte of it is read.
                    error = BodyTooLarge(limit)
                    told = problem_response(
                        413, error.detail, instance=scope["path"], headers=dict(error.headers or {})
                    )
                    await told(scope, receive, answer)
                    return
                await self._app(scope, take, answer)
            except Exception as error:
                if not isinstance(error, AWAY):
                    log.exception("request_failed", method=scope["method"], path=_told(scope["path"]))
                if status:
                    raise
                failed = unavailable(scope["path"]) if isinstance(error, AWAY) else _internal(scope, request_id)
                await failed(scope, receive, answer)
            finally:
                self._count(scope, status, first_byte_s, time.perf_counter() - started)

    def _count(self, scope: Scope, status: int, first_byte_s: float, whole_s: float) -> None:
        route = getattr(scope.get("route"), "path", "unmatched")
        meters.REQUESTS.labels(scope["method"], route, str(status)).inc()
        meters.LATENCY.labels(route).observe(first_byte_s)
        if not scope["path"].startswith(_QUIET):
            log.info(
                "request",
                method=scope["method"],
                path=_told(scope["path"]),
                status=status,
                ms=round(whole_s * 1000, 1),
                client=scope["client"][0] if scope.get("client") else None,
            )


def _told(path: str) -> str:
    """What a log may say of it: the links of notices are secrets."""
    return "/n/…" if path.startswith("/n/") else path


def _internal(scope: Scope, request_id: str) -> ASGIApp:
    return problem_response(
        500,
        f"服务器内部错误，编号 {request_id} · an error of ours; quote {request_id} when you report it",
        instance=scope["path"],
    )
