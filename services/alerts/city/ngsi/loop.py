"""The loop of NGSI-LD subscriptions: those that something touched since the last look are claimed and served."""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import structlog

from services.adapters.city.ngsi import subscriptions as rows
from services.adapters.city.ngsi.subscriptions import Claimed
from services.adapters.ending import ended
from services.adapters.postgres import RETRYABLE
from services.adapters.steady_clock import SteadyClock
from services.alerts.city import metrics
from services.alerts.city.loop import client_of
from services.alerts.city.ngsi.turn import LEASE_S, WHOLE_S, NgsiTurn
from services.alerts.notify.loop import Few
from services.alerts.settings import AlertSettings

log = structlog.get_logger(__name__)

CONNECTIONS = 1
AT_ONCE = 32
"""Subscriptions served at once: one whose receiver is slow holds up itself alone, until so many of them are."""
_SHARE = 20
"""Looking takes one part in so many of this process's time: where it is slow, it is done more seldom,"""
_SELDOM_S = 10.0
"""but not more seldom than this."""
_DRAIN_S = 2.0


class NgsiDelivery:
    """One a process, any number of processes. `wake` is told of new and changed subscriptions; what devices and alerts
    do is looked at every `look_s`."""

    def __init__(self, pool: asyncpg.Pool[Any], settings: AlertSettings, clock: SteadyClock) -> None:
        self._pool = Few(pool, CONNECTIONS)
        self._clock = clock
        self._client = client_of(settings)
        self._look_s = settings.ngsi_look_s
        self._turn = NgsiTurn(
            self._pool, self._client, clock.now, settings.ngsi_look_s, pace=settings.city_pace,
            stopping=lambda: self._stopping,
        )  # fmt: skip
        self._stopping = False
        self._wake = asyncio.Event()
        self._since: tuple[str, int] | None = None
        self._touched: set[UUID] = set()
        self._next_look = 0.0
        self._serving: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled. What is under way then may end; what does not is left to its lease, and sent again."""
        try:
            while True:
                self._wake.clear()
                try:
                    await self.deliver()
                except RETRYABLE as error:
                    self._since = None
                    log.warning("city_waits", loop="ngsi", why=f"{type(error).__name__}: {error}")
                except Exception as error:
                    # A platform that is not told must not keep alerts from being judged.
                    self._since = None
                    log.error("loop_failed", loop="ngsi", why=str(error), exc_info=error)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._look_s):
                        await self._wake.wait()
        finally:
            self._stopping = True
            if self._serving:
                await asyncio.wait(self._serving, timeout=_DRAIN_S)
            await ended(self._serving)
            await self._client.close()

    async def deliver(self) -> None:
        """Everything that is due, without waiting for the turns to end."""
        await self._look()
        while (free := AT_ONCE - len(self._serving)) > 0:
            async with self._pool.acquire() as connection:
                claimed = await rows.claim(
                    connection, self._touched, self._clock.now(), LEASE_S, free, timedelta(seconds=WHOLE_S)
                )
            if not claimed:
                return
            for one in claimed:
                self._touched.discard(one.subscription_id)
                task = asyncio.create_task(self._serve(one))
                self._serving.add(task)
                task.add_done_callback(self._ended)

    async def _look(self) -> None:
        """Which subscriptions were touched since the last time."""
        if time.monotonic() < self._next_look:
            return
        async with self._pool.acquire() as connection:
            began = time.monotonic()
            now = self._clock.now()
            kinds = await rows.wanted(connection, now)
            if kinds:
                mark = await rows.mark(connection)
                since, self._since = self._since, mark
                self._touched |= (
                    await rows.touched(connection, since, kinds, now)
                    if since is not None
                    else await rows.everybody(connection, now)  # a start, or a failure: any of them may have been
                )
            else:
                self._since, self._touched = None, set()
            figures = await connection.fetchrow(rows.Q["figures"], now)
        metrics.NGSI_ACTIVE.set(figures["active"])
        metrics.NGSI_FAILING.set(figures["failing"])
        took = time.monotonic() - began
        metrics.NGSI_LOOK.observe(took)
        self._next_look = began + max(self._look_s * 0.9, min(took * _SHARE, _SELDOM_S))

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._serving.discard(task)
        if len(self._serving) == AT_ONCE - 1:
            self._wake.set()

    async def _serve(self, one: Claimed) -> None:
        done = False
        try:
            done = await self._turn.serve(one)
        except RETRYABLE as error:
            log.warning("city_waits", loop="ngsi_serve", why=f"{type(error).__name__}: {error}")
        except Exception as error:
            # Its lease keeps it out of everybody's way for a while; then it is tried again.
            log.error("loop_failed", loop="ngsi_serve", subscription=str(one.subscription_id), exc_info=error)
        finally:
            if not done:
                self._touched.add(one.subscription_id)
