"""What a service says of itself: structured logs, Prometheus metrics, liveness and readiness."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import structlog
import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.adapters.wire import Wire


def configure_logging(service: str, level: str = "INFO", json_lines: bool = True) -> None:
    """One line an event on standard error; `service` and the bound correlation id stand in each."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if json_lines
        else structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
    )
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("uvicorn.access").setLevel("WARNING")
    structlog.contextvars.bind_contextvars(service=service)


Readiness = Callable[[], str | None]
"""None when the service can do its work, otherwise what it is waiting for."""


def health_routes(readiness: Readiness, registry: CollectorRegistry = REGISTRY) -> list[Route]:
    """`/health/live`, `/health/ready` (503 with the reason) and `/metrics`."""

    async def live(_: Request) -> Response:
        return JSONResponse({"status": "live"})

    async def ready(_: Request) -> Response:
        waiting = readiness()
        if waiting is None:
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "waiting", "why": waiting}, status_code=503)

    async def metrics(_: Request) -> Response:
        return Response(generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    return [Route("/health/live", live), Route("/health/ready", ready), Route("/metrics", metrics)]


@asynccontextmanager
async def serve(
    app: Starlette, host: str, port: int, graceful_s: int = 3, *, proxies: str = "127.0.0.1"
) -> AsyncIterator[int]:
    """Serves `app` beside the caller's own work and yields the port (`port` 0 picks a free one).

    `proxies`: addresses or networks, by commas, whose X-Forwarded-For and X-Forwarded-Proto are believed."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=graceful_s,
        lifespan="on",
        http=Wire,
        proxy_headers=True,
        forwarded_allow_ips=proxies,
    )
    server = uvicorn.Server(config)
    config.load()
    server.lifespan = config.lifespan_class(config)
    await server.startup()
    if server.should_exit:
        raise OSError(f"cannot listen on {host}:{port}")
    bound: int = server.servers[0].sockets[0].getsockname()[1]
    loop = asyncio.create_task(server.main_loop())
    try:
        yield bound
    finally:
        server.should_exit = True
        await loop
        await server.shutdown()


@asynccontextmanager
async def serve_health(host: str, port: int, readiness: Readiness) -> AsyncIterator[int]:
    """The health page of a service that has no API of its own."""
    async with serve(Starlette(routes=list(health_routes(readiness))), host, port) as bound:
        yield bound
