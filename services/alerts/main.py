"""The alert engine as a process: composes it, runs it until told to stop, and lets go in reverse."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable
from contextlib import AsyncExitStack
from uuid import uuid4

import structlog
import uvloop

from services.adapters.observe import configure_logging, serve_health
from services.adapters.postgres import end, open_pool, refusal_said
from services.adapters.settings import from_environment
from services.alerts.settings import AlertSettings
from services.alerts.worker import AlertWorker
from services.domain.devices import BY_NAME

log = structlog.get_logger(__name__)

_DRAIN_S = 4.0
"""How long a stop waits for the database: longer than giving the leases back may take."""


async def run(settings: AlertSettings, stop: asyncio.Event, on_ready: Callable[[int], None]) -> None:
    """Evaluates until `stop` is set. `on_ready` is told the port of the health page."""
    async with AsyncExitStack() as stack:
        worker: AlertWorker | None = None

        def readiness() -> str | None:
            return "waiting for the database" if worker is None else worker.readiness()

        port = await stack.enter_async_context(serve_health(settings.health_host, settings.health_port, readiness))
        on_ready(port)
        opening = asyncio.create_task(
            open_pool(
                settings.database_url, name="linhub-alerts", max_size=settings.alerts_pool_size, reads_history=False
            )
        )
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({opening, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not opening.done():
            opening.cancel()
            await asyncio.wait({opening})
            return
        stack.callback(stopped.cancel)
        pool = await opening
        stack.callback(pool.terminate)
        owner = f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:8]}"
        worker = AlertWorker(pool, settings, BY_NAME, owner)
        log.info("alerts_started", owner=owner, port=port)
        working = asyncio.create_task(worker.run(stop))
        await asyncio.wait({working, stopped}, return_when=asyncio.FIRST_COMPLETED)
        await end(working, pool, _DRAIN_S)
        with contextlib.suppress(asyncio.CancelledError):
            await working
        log.info("alerts_stopped", owner=owner)


def main() -> None:
    settings = from_environment(AlertSettings)
    configure_logging("alerts", settings.log_level, settings.log_format == "json")

    async def until_told() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        await run(settings, stop, lambda _port: None)

    with refusal_said():
        uvloop.run(until_told())


if __name__ == "__main__":
    main()
