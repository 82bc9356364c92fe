"""The loops of notices: the outbox into the queue, the queue to the channels. Any number of engines may run them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import asyncpg
import structlog

from services.adapters.ending import ended
from services.adapters.notices.carrier import AppriseCarrier, Carrier
from services.adapters.notices.door import Door
from services.adapters.notices.reading import Q, read_outbox
from services.adapters.notices.sending import Batch, Delivery, Rules, claim
from services.adapters.postgres import RETRYABLE
from services.adapters.steady_clock import SteadyClock
from services.alerts.notify import metrics
from services.alerts.settings import AlertSettings

log = structlog.get_logger(__name__)

CLAIMED = 300
CONNECTIONS = 2
UNDER_WAY = 20
"""Batches being sent at once: one whose channels do not answer holds up itself alone."""
_FIGURES_EVERY_S = 5.0
_DRAIN_S = 2.0
"""What was sent and not recorded would be sent twice."""


class Few:
    """The engine's pool for a few at once: a storm of notices must not keep the judging of alerts waiting."""

    def __init__(self, pool: asyncpg.Pool[Any], most: int) -> None:
        self._pool = pool
        self._slots = asyncio.Semaphore(most)

    @contextlib.asynccontextmanager
    async def acquire(self) -> AsyncIterator[Any]:
        async with self._slots, self._pool.acquire() as connection:
            yield connection


class Notifier:
    """One a process. `wake` is told of new rows of the outbox and of the queue; a lost word costs one poll."""

    def __init__(
        self,
        pool: asyncpg.Pool[Any],
        settings: AlertSettings,
        clock: SteadyClock,
        carrier: Carrier | None = None,
    ) -> None:
        self._pool = Few(pool, CONNECTIONS)
        self._clock = clock
        self._poll_s = settings.alerts_poll_s
        self._rules = Rules(settings.notices_lease_s, settings.notices_pace, settings.public_url)
        self._carrier = carrier or AppriseCarrier(settings.notices_timeout_s, Door(settings.notices_allowed))
        self._delivery = Delivery(self._pool, self._carrier, self._rules, clock.now, _count)
        self._read = asyncio.Event()
        self._send = asyncio.Event()
        self._slots = asyncio.Semaphore(UNDER_WAY)
        self._sending: set[asyncio.Task[None]] = set()

    def outbox_grew(self) -> None:
        self._read.set()

    def queue_grew(self) -> None:
        self._send.set()

    async def run(self) -> None:
        """Until cancelled. What is under way then may end; what does not is left to its lease, and sent again."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._forever("notices_read", self.read, self._read, self._poll_s))
                group.create_task(self._forever("notices_send", self.send, self._send, self._poll_s))
                group.create_task(self._forever("notices_figures", self._figures, asyncio.Event(), _FIGURES_EVERY_S))
        finally:
            if self._sending:
                await asyncio.wait(self._sending, timeout=_DRAIN_S)
            await ended(self._sending)

    async def _forever(
        self, name: str, step: Callable[[], Awaitable[None]], wake: asyncio.Event, every_s: float
    ) -> None:
        while True:
            wake.clear()
            try:
                await step()
            except RETRYABLE as error:
                log.warning("notices_wait", loop=name, why=f"{type(error).__name__}: {error}")
            except Exception as error:
                # Nobody being told of one thing must not keep alerts from being judged, nor others from being told.
                log.error("loop_failed", loop=name, why=str(error), exc_info=error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(every_s):
                    await wake.wait()

    async def read(self) -> None:
        """The outbox to its end."""
        more = True
        while more:
            async with self._pool.acquire() as connection:
                done = await read_outbox(connection, self._clock.now())
            more = done is not None and done.more
            if done is not None:
                metrics.MADE.inc(done.notices)
                metrics.UNREADABLE.inc(done.unreadable)
            if done is not None and done.notices:
                self._send.set()

    async def send(self) -> None:
        """Everything that is due, a batch at a time, without waiting for the batches to end."""
        while True:
            await self._slots.acquire()
            try:
                async with self._pool.acquire() as connection:
                    batch = await claim(connection, self._rules, self._clock.now(), CLAIMED)
            except BaseException:
                self._slots.release()
                raise
            if batch is None:
                self._slots.release()
                return
            task = asyncio.create_task(self._deliver(batch))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _deliver(self, batch: Batch) -> None:
        try:
            await self._delivery.deliver(batch)
        except RETRYABLE as error:
            log.warning("notices_wait", loop="notices_deliver", why=f"{type(error).__name__}: {error}")
        except Exception as error:
            log.error("loop_failed", loop="notices_deliver", why=str(error), exc_info=error)
        finally:
            self._slots.release()
            # What failed for good, or has a next in turn, is due at once.
            self._send.set()

    async def _figures(self) -> None:
        async with self._pool.acquire() as connection:
            row = await connection.fetchrow(Q["figures"], self._clock.now())
        metrics.WAITING.set(row["waiting"])
        metrics.OLDEST.set(float(row["oldest_s"]))
        metrics.UNREAD.set(row["unread"])
        metrics.FAILING.set(row["failing"])


def _count(sort: str, what: str) -> None:
    if sort:
        metrics.ATTEMPTS.labels(sort, what).inc()
    else:
        metrics.ENDED.labels(what).inc()
