"""Owns partitions by lease, listens for what is new, and keeps one worker running for each partition it owns."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import asyncpg
import structlog

from services.adapters.commands.lamps import make_light
from services.adapters.commands.sending import remind
from services.adapters.ending import ended
from services.adapters.postgres import RETRYABLE, listening
from services.adapters.queries import Queries
from services.adapters.steady_clock import SteadyClock
from services.alerts import lease as leases
from services.alerts import metrics, plans
from services.alerts.city import CityDelivery
from services.alerts.city.ngsi import NgsiDelivery
from services.alerts.commands import CommandSender
from services.alerts.escalation import escalate_due
from services.alerts.notify import Notifier
from services.alerts.partition import PartitionWorker
from services.alerts.retention import sweep
from services.alerts.rosters import watch_rosters
from services.alerts.settings import AlertSettings
from services.alerts.store import CONSUMER
from services.domain.devices.kind import DeviceKind
from services.domain.ids import PARTITIONS

log = structlog.get_logger(__name__)
Q = Queries.beside(__file__)


class AlertWorker:
    """The engine of this process. A second one started beside it waits as standby and takes over what runs out."""

    def __init__(
        self,
        pool: asyncpg.Pool[Any],
        settings: AlertSettings,
        catalogue: Mapping[str, DeviceKind],
        owner: str,
        partitions: int = PARTITIONS,
        clock: SteadyClock | None = None,
    ) -> None:
        self.owner = owner
        self._pool = pool
        self._settings = settings
        self._catalogue = catalogue
        self._clock = clock or SteadyClock(settings.clock_hold_s, settings.clock_file)
        self._all = list(range(partitions))
        self._workers: dict[int, PartitionWorker] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._waiting: str | None = "starting"
        self._said = ""
        self._answered_at = time.monotonic()
        self._plans_wake = asyncio.Event()
        self._sender = CommandSender(pool, settings, owner, lambda: self.owned, self._clock)
        self._notifier = Notifier(pool, settings, self._clock)
        self._city = CityDelivery(pool, settings, self._clock)
        self._ngsi = NgsiDelivery(pool, settings, self._clock)

    def readiness(self) -> str | None:
        """A standby is ready too: its work is to wait."""
        return self._waiting

    @property
    def owned(self) -> list[int]:
        return sorted(self._workers)

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop`. On the way out the leases are let go, so that a standby need not wait."""
        try:
            async with asyncio.TaskGroup() as group:
                loops = [
                    group.create_task(self._every(self._settings.alerts_lease_s / 3, self._hold)),
                    group.create_task(self._every(self._settings.alerts_poll_s, self._poll, of_owner=True)),
                    group.create_task(self._every(self._settings.alerts_tick_s, self._escalate, of_owner=True)),
                    group.create_task(self._every(self._settings.alerts_roster_tick_s, self._rosters, of_owner=True)),
                    group.create_task(self._every(self._settings.alerts_purge_every_s, self._purge)),
                    group.create_task(self._every(self._settings.alerts_lamps_every_s, self._lamps, of_owner=True)),
                    group.create_task(self._run_plans()),
                    group.create_task(self._sender.run()),
                    group.create_task(self._notifier.run()),
                    group.create_task(self._city.run()),
                    group.create_task(self._ngsi.run()),
                    group.create_task(self._listen()),
                    group.create_task(self._watch()),
                    group.create_task(self._clock.keep()),
                ]
                await stop.wait()
                await ended(loops)
        finally:
            await ended(self._tasks.values())
            await self._release()

    async def _release(self) -> None:
        try:
            async with asyncio.timeout(2), self._pool.acquire() as connection:
                await leases.release(connection, CONSUMER, self.owner)
        except RETRYABLE as error:
            log.warning("leases_left_to_expire", why=str(error) or type(error).__name__)

    async def _every(self, seconds: float, work: Any, *, of_owner: bool = False) -> None:
        """Repeats it for ever; a database that does not answer is waited for and said once. What an owner alone does
        (`of_owner`) asks nothing without a partition, and so tells nothing of the database."""
        while True:
            try:
                if self._workers or not of_owner:
                    await work()
                    self._say("")
            except RETRYABLE as error:
                self._say(f"database does not answer: {error or type(error).__name__}")
            except Exception as error:
                # One escalation or poll that fails must not take the evaluation of alerts down with it.
                log.error("loop_failed", loop=work.__name__, why=str(error), exc_info=error)
            await asyncio.sleep(seconds)

    async def _watch(self) -> None:
        """A frozen database keeps every other loop waiting without an error; only the clock can tell."""
        longest = self._settings.alerts_lease_s
        while True:
            if self._waiting is None and time.monotonic() - self._answered_at > longest:
                self._say(f"database has not answered for {longest:g} s")
            await asyncio.sleep(longest / 10)

    def _say(self, waiting: str) -> None:
        self._waiting = waiting or None
        if waiting and waiting != self._said:
            log.warning("waiting_for_database", why=waiting)
        self._said = waiting

    async def _hold(self) -> None:
        async with self._pool.acquire() as connection:
            held = await leases.hold(connection, CONSUMER, self.owner, self._all, self._settings.alerts_lease_s)
        self._answered_at = time.monotonic()
        for partition, worker in list(self._workers.items()):
            if held.get(partition) != worker.lease or self._tasks[partition].done():
                self._drop(partition)
        for partition, lease in held.items():
            if partition not in self._workers:
                worker = PartitionWorker(self._pool, lease, self._settings, self._catalogue, self._clock)
                self._workers[partition] = worker
                self._tasks[partition] = asyncio.create_task(worker.run(), name=f"partition-{partition}")
        metrics.PARTITIONS.set(len(self._workers))

    def _drop(self, partition: int) -> None:
        self._tasks.pop(partition).cancel()
        del self._workers[partition]

    async def _poll(self) -> None:
        """What a lost notification would have said."""
        asked_ms = self._clock.now_ms()
        async with self._pool.acquire() as connection:
            rows = await connection.fetch(Q["log_heads"], self.owned)
        heads: dict[int, dict[int, int]] = {}
        for row in rows:
            heads.setdefault(row["partition"], {})[row["lane"]] = row["seq"]
        for partition, lanes in heads.items():
            if partition in self._workers:
                self._workers[partition].heads(lanes, asked_ms)

    async def _escalate(self) -> None:
        await escalate_due(self._pool, self.owned, self._clock.now())

    async def _rosters(self) -> None:
        ahead, soon = self._settings.alerts_roster_ahead_s, self._settings.alerts_roster_soon_s
        await watch_rosters(
            self._pool, self.owned, self._clock.now(), timedelta(seconds=ahead), timedelta(seconds=soon)
        )

    async def _lamps(self) -> None:
        async with self._pool.acquire() as connection:
            metrics.LAMP_COMMANDS.inc(await make_light(connection, self.owned, self._clock.now()))
            metrics.UNREVIEWED.inc(await remind(connection, self.owned, self._clock.now()))

    async def _purge(self) -> None:
        await sweep(self._pool, self._settings.kept, self._clock.now())

    async def _run_plans(self) -> None:
        """Takes the runs of plans on: at once when a device has answered, else when something falls due."""
        while True:
            self._plans_wake.clear()
            try:
                if self._workers:
                    held = {partition: worker.lease for partition, worker in self._workers.items()}
                    await plans.advance_due(self._pool, held, self._clock.now())
            except RETRYABLE as error:
                log.warning("plans_wait", why=f"{type(error).__name__}: {error}")
            except Exception as error:
                log.error("loop_failed", loop="plans", why=str(error), exc_info=error)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.alerts_tick_s):
                    await self._plans_wake.wait()

    async def _listen(self) -> None:
        """A connection of its own hears of new log entries and of a changed registry; reopened when it ends."""
        while True:
            try:
                await self._hear()
            except Exception as error:
                # The driver makes many things of a dying connection; polling goes on meanwhile.
                log.warning("listener_lost", why=f"{type(error).__name__}: {error}")
            await asyncio.sleep(0.5)

    async def _hear(self) -> None:
        ended = asyncio.Event()

        def on_end(_connection: Any) -> None:
            ended.set()

        heard = {
            "ingest_log": self._on_log,
            "registry": self._on_registry,
            "plan": self._on_plan,
            "command": self._on_command,
            "outbox": self._on_outbox,
            "notice": self._on_notice,
            "city": self._on_city,
        }
        async with listening(self._pool, heard, on_end):
            # Whatever changed while nobody listened.
            self._on_registry(None, 0, "", "")
            await ended.wait()

    def _on_log(self, _connection: Any, _pid: int, _channel: str, payload: str) -> None:
        partition = payload.partition(":")[0]
        worker = self._workers.get(int(partition)) if partition.isdigit() else None
        if worker is not None:
            worker.wake.set()

    def _on_plan(self, _connection: Any, _pid: int, _channel: str, _payload: str) -> None:
        self._plans_wake.set()

    def _on_command(self, _connection: Any, _pid: int, _channel: str, _payload: str) -> None:
        self._sender.wake.set()

    def _on_outbox(self, _connection: Any, _pid: int, _channel: str, _payload: str) -> None:
        self._notifier.outbox_grew()
        self._city.wake()

    def _on_city(self, _connection: Any, _pid: int, _channel: str, _payload: str) -> None:
        self._city.wake()
        self._ngsi.wake()

    def _on_notice(self, _connection: Any, _pid: int, _channel: str, _payload: str) -> None:
        self._notifier.queue_grew()

    def _on_registry(self, _connection: Any, _pid: int, _channel: str, _payload: str) -> None:
        for worker in self._workers.values():
            worker.registry_changed = True
            worker.wake.set()
