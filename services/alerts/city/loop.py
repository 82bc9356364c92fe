"""The loops of city events: claim what has something to send, serve each beside the others, look at the figures."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import asyncpg
import structlog

from services.adapters.city import store
from services.adapters.city.reading import Q
from services.adapters.city.store import Progress
from services.adapters.ending import ended
from services.adapters.outward import Limits, OutwardClient
from services.adapters.postgres import RETRYABLE
from services.adapters.steady_clock import SteadyClock
from services.alerts.city import metrics
from services.alerts.city.figures import tell_figures, tell_public
from services.alerts.city.mqtt import MqttSender
from services.alerts.city.sender import Sender, WebhookSender
from services.alerts.city.serving import LEASE_S, Connections, Turn
from services.alerts.notify.loop import Few
from services.alerts.settings import AlertSettings
from services.domain.city import Way

log = structlog.get_logger(__name__)

CONNECTIONS = 2
AT_ONCE = 64
"""Subscriptions served at once: one that is slow holds up itself alone, until so many of them are."""
_SETTLE_S = 0.05
"""A storm of rows wakes this once, not once a row."""
_FIGURES_EVERY_S = 10.0
_DRAIN_S = 2.0


class CityDelivery:
    """One a process, any number of processes. `wake` is told of new rows and changed subscriptions; a lost word costs
    one poll."""

    def __init__(
        self,
        pool: asyncpg.Pool[Any],
        settings: AlertSettings,
        clock: SteadyClock,
        senders: Mapping[Way, Sender] | None = None,
    ) -> None:
        self._pool = Few(pool, CONNECTIONS)
        self._clock = clock
        self._wake = asyncio.Event()
        self._poll_s = settings.alerts_poll_s
        self._tell_s = settings.city_tell_s
        self._senders = dict(senders or senders_of(settings, self._pool, clock, self.wake))
        self._turn = Turn(
            self._pool, self._senders, clock.now, (settings.public_url or "").rstrip("/"), pace=settings.city_pace,
            stopping=lambda: self._stopping,
        )  # fmt: skip
        self._stopping = False
        self._serving: set[asyncio.Task[None]] = set()

    def wake(self) -> None:
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled. What is under way then may end; what does not is left to its lease, and sent again."""
        beside = [
            asyncio.create_task(self._forever(f"city_{way}", sender.run, asyncio.Event(), self._poll_s))
            for way, sender in self._senders.items()
        ]
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._forever("city_deliver", self.deliver, self._wake, self._poll_s))
                group.create_task(self._forever("city_figures", self._figures, asyncio.Event(), _FIGURES_EVERY_S))
                group.create_task(self._forever("city_tell", self._tell, asyncio.Event(), self._tell_s))
                try:
                    await asyncio.Event().wait()
                finally:
                    self._stopping = True  # before the loops have ended: a turn must not begin another event meanwhile
        finally:
            if self._serving:
                await asyncio.wait(self._serving, timeout=_DRAIN_S)
            await ended(self._serving)
            for sender in self._senders.values():
                await sender.close()
            await ended(beside)

    async def _forever(
        self, name: str, step: Callable[[], Awaitable[None]], wake: asyncio.Event, every_s: float
    ) -> None:
        while True:
            wake.clear()
            try:
                await step()
            except RETRYABLE as error:
                log.warning("city_waits", loop=name, why=f"{type(error).__name__}: {error}")
            except Exception as error:
                # A platform that is not told must not keep alerts from being judged.
                log.error("loop_failed", loop=name, why=str(error), exc_info=error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(every_s):
                    await wake.wait()
                    await asyncio.sleep(min(_SETTLE_S, every_s))

    async def deliver(self) -> None:
        """Everything that is due, without waiting for the turns to end."""
        while True:
            free = AT_ONCE - len(self._serving)
            if free == 0:
                return  # whoever ends wakes this again
            async with self._pool.acquire() as connection:
                ways = [way.value for way, sender in self._senders.items() if sender.link is not None]
                claimed = await store.claim(connection, ways, self._clock.now(), LEASE_S, free)
            if not claimed:
                return
            for one in claimed:
                task = asyncio.create_task(self._serve(one))
                self._serving.add(task)
                task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._serving.discard(task)
        self._wake.set()

    async def _serve(self, one: Progress) -> None:
        try:
            await self._turn.serve(one)
        except RETRYABLE as error:
            log.warning("city_waits", loop="city_serve", why=f"{type(error).__name__}: {error}")
        except Exception as error:
            # Its lease keeps it out of everybody's way for a while; then it is tried again.
            log.error("loop_failed", loop="city_serve", subscription=str(one.subscription_id), exc_info=error)

    async def _tell(self) -> None:
        await tell_figures(self._pool, self._clock.now())
        await tell_public(self._pool, self._clock.now())

    async def _figures(self) -> None:
        async with self._pool.acquire() as connection:
            row = await connection.fetchrow(Q["figures"], [way.value for way in self._senders])
        metrics.ACTIVE.set(row["active"])
        metrics.DISABLED.set(row["disabled"])
        metrics.FAILING.set(row["failing"])
        metrics.BEHIND.set(row["behind"])
        metrics.DEAD.set(row["dead"])


def senders_of(
    settings: AlertSettings, pool: Connections, clock: SteadyClock, wake: Callable[[], None]
) -> dict[Way, Sender]:
    senders: dict[Way, Sender] = {Way.WEBHOOK: WebhookSender(client_of(settings))}
    if settings.mqtt_url is not None:
        senders[Way.MQTT] = MqttSender(settings, pool, clock.now, wake)
    return senders


def client_of(settings: AlertSettings) -> OutwardClient:
    limits = Limits(settings.city_connect_s, settings.city_timeout_s, connections=AT_ONCE)
    return OutwardClient(settings.city_allowed, limits, ca_file=settings.city_ca_file)
