"""The ingest service: `python -m services.ingest.main`, told what to do by LINHUB_* variables."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable
from contextlib import AsyncExitStack
from uuid import uuid4

import structlog
import uvloop

from services.adapters.mqtt import StatusCallback, Subscriber, SubscriberOptions
from services.adapters.mqtt_direct import DirectSubscriber
from services.adapters.observe import configure_logging, serve_health
from services.adapters.postgres import end, open_pool, refusal_said
from services.adapters.settings import from_environment
from services.adapters.steady_clock import SteadyClock
from services.ingest import failpoints
from services.ingest.ownership.keeper import Superseded
from services.ingest.settings import IngestSettings
from services.ingest.worker import Worker

log = structlog.get_logger(__name__)

__all__ = ["Superseded", "run"]

_CONNECTIONS = 13
"""Three lanes, states, roll-ups, heart, moves, the registry's listener and its reader, the broom, some to spare."""

_CANCELLED_S = 2.0
"""How long what was cancelled may take to let go of the database."""


async def run(settings: IngestSettings, stop: asyncio.Event, on_ready: Callable[[int], None]) -> None:
    """Until `stop` is set. `on_ready` gets the health port once the worker is subscribed and the database answers.

    Raises Superseded when another process took its place.
    """
    failpoints.arm(settings.failpoint)
    async with AsyncExitStack() as stack:
        worker: Worker | None = None
        stopping = asyncio.create_task(stop.wait())
        stack.callback(stopping.cancel)

        def readiness() -> str | None:
            return "database: connecting" if worker is None else worker.waiting_for()

        port = await stack.enter_async_context(serve_health(settings.health_host, settings.health_port, readiness))
        # The connections carry it too: whoever buries this process ends what it left open.
        instance = uuid4().hex[:12]
        opening = asyncio.create_task(
            open_pool(
                settings.database_url,
                name=f"linhub-{settings.worker or 'ingest'}/{instance}",
                max_size=_CONNECTIONS,
                silent_s=settings.worker_ttl_s,
            )
        )
        await asyncio.wait({opening, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not opening.done():
            opening.cancel()
            return
        pool = opening.result()
        stack.callback(pool.terminate)
        clock = SteadyClock(settings.clock_hold_s, settings.clock_file)

        def connect(options: SubscriberOptions, on_status: StatusCallback) -> Subscriber:
            return DirectSubscriber(options, on_status, clock.now_ms)

        worker = Worker(settings, pool, connect, instance, clock)
        stack.push_async_callback(worker.release)
        working = asyncio.create_task(worker.run())
        announcing = asyncio.create_task(_announce(worker, port, on_ready))
        stack.callback(announcing.cancel)
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            await worker.drain()
            working.cancel()
            await end(working, pool, _CANCELLED_S)
        await _end(working)


async def _announce(worker: Worker, port: int, on_ready: Callable[[int], None]) -> None:
    while worker.waiting_for() is not None:  # noqa: ASYNC110 - readiness is asked of many parts, none of which knows
        await asyncio.sleep(0.02)
    log.info("ingest_ready", health_port=port)
    on_ready(port)


async def _end(working: asyncio.Task[None]) -> None:
    first: BaseException | None = None
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await working
    except* Superseded as group:
        first = group
    # Raised here and not above: early releases of Python 3.11 wrap what an `except*` raises into a group of its own.
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    if first is not None:
        raise Superseded(str(first))


def main() -> None:
    settings = from_environment(IngestSettings)
    configure_logging("ingest", settings.log_level, settings.log_format == "json")

    async def until_signalled() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await run(settings, stop, lambda port: None)

    try:
        with refusal_said():
            uvloop.run(until_signalled())
    except Superseded as error:
        log.error("superseded", why=str(error), doing="stopping, so that there is one owner")
        sys.exit(3)


if __name__ == "__main__":
    main()
