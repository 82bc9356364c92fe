"""The API's application, put together from what `main` (or a test) hands it."""

from __future__ import annotations

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Message

from services.adapters.observe import Readiness, health_routes
from services.api.city import ngsi
from services.api.context import Context
from services.api.openapi import Application
from services.api.routes import ROUTERS
from services.api.uploads.multipart import OVERHEAD_BYTES
from services.api.web import problems
from services.api.web.middleware import Edge

DESCRIPTION = """邻枢社区感知与响应接口 · the API of LinHub.

Times are RFC 3339 in UTC. Errors are RFC 9457 problem details in Chinese and English. Lists page by `cursor` → `next`.
Browsers log in at `/api/v1/auth/login`, keep the cookies and send `X-LinHub: 1` with every change. Programs take tokens
from `/api/v1/auth/token` (OAuth 2.0) and send them as `Authorization: Bearer …`; one lives ten minutes and is renewed
by its refresh token, which counts once.
"""


def create_app(context: Context, readiness: Readiness) -> FastAPI:
    """Everything under `/api/v1`, NGSI-LD under its own prefix, health and metrics at the root, the cockpit's files
    everywhere else."""
    app = Application(
        title="LinHub 邻枢",
        version="1",
        description=DESCRIPTION,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.context = context
    problems.install(app)
    ngsi.install(app)
    for router in ROUTERS:
        app.include_router(router)
    app.router.routes.extend(health_routes(readiness))
    app.router.routes.append(Route("/api/{path:path}", _no_such_route))
    app.router.routes.append(Route("/ngsi-ld/{path:path}", _no_such_route))
    app.router.routes.append(Route("/{path:path}", context.cockpit.page, methods=["GET"]))
    app.add_middleware(Edge, upload_bytes=context.intake.limits.most_bytes + OVERHEAD_BYTES)
    return app


async def warm(app: FastAPI) -> None:
    """Asks for one page before anybody else can: FastAPI builds what its routes need at the first request, and nobody's
    request should stand for that half second."""

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_: Message) -> None:
        return None

    path = "/health/live"  # after all routers: each of them is asked whether it knows the page
    await app(
        {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": "GET",
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [],
            "client": None,
            "server": None,
        },
        receive,
        send,
    )


async def _no_such_route(request: Request) -> Response:
    return problems.problem_response(404, problems.HTTP_WORDS[404], instance=request.url.path)
