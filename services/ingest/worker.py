"""An ingest worker whole: two lanes (and the strays'), the registry, the device states, the broom."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from uuid import uuid4

import asyncpg
import structlog

from services.adapters.mqtt import Address, StatusCallback, Subscriber, SubscriberOptions
from services.domain.devices import CATALOGUE
from services.domain.ids import DeviceNo
from services.domain.messages import Lane as LaneName
from services.domain.messages import Rejected, Topic
from services.ingest import metrics, retention, rollups, state_store
from services.ingest.core import ClockOff, Session
from services.ingest.database import TROUBLE, Held
from services.ingest.filters import filters, stray_filters
from services.ingest.lane import Lane, LaneOptions
from services.ingest.registry import Registry, kind_spec
from services.ingest.registry_keeper import RegistryKeeper
from services.ingest.settings import IngestSettings
from services.ingest.state import StateFold
from services.ingest.store import Batch, Owner

log = structlog.get_logger(__name__)

SubscriberFactory = Callable[[SubscriberOptions, StatusCallback], Subscriber]

_CLOCK_NOTE_EVERY_S = 60.0
_BUSY_SHARE = 4
"""Writing device states takes at most one part in so many plus one of the time."""


class Worker:
    """`run` until cancelled; `drain` first for a stop that leaves nothing half done."""

    def __init__(self, settings: IngestSettings, pool: asyncpg.Pool[Any], connect: SubscriberFactory) -> None:
        self._settings = settings
        self._pool = pool
        self._instance = f"{settings.worker}/{uuid4().hex[:8]}"
        self._fold = StateFold()
        self._fold_changed = asyncio.Event()
        self._clock_noted: dict[DeviceNo, float] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._helds: list[Held] = []
        self._sessions: dict[DeviceNo, Session] = {}
        self.registry = RegistryKeeper(pool, {kind.name: kind_spec(kind) for kind in CATALOGUE}, self._refilter)
        self.events = self._lane(
            LaneName.EVENT, "event", connect, settings.event_window, settings.event_batch_messages, 0.0
        )
        self.telemetry = self._lane(
            LaneName.TELEMETRY,
            "telemetry",
            connect,
            settings.telemetry_window,
            settings.batch_messages,
            settings.batch_wait_s,
        )
        self.lanes = [self.events, self.telemetry]
        if strays := stray_filters(settings.owned):
            lane = self._lane(
                LaneName.EVENT, "stray", connect, settings.telemetry_window, settings.batch_messages, 0.05
            )
            lane.subscriber.set_filters(strays)
            self.lanes.append(lane)
        self._writer = self._held("states")
        self._saving = asyncio.Lock()
        self._rollups = rollups.Rollups(
            self._held("rollups"), lambda: settings.owned, settings.rollup_lag_s, settings.rollup_every_s
        )

    def _held(self, name: str) -> Held:
        held = Held(self._pool, name, self._settings.commit_timeout_s, self._settings.retry_max_s)
        self._helds.append(held)
        return held

    def _lane(
        self, name: LaneName, role: str, connect: SubscriberFactory, window: int, limit: int, linger_s: float
    ) -> Lane:
        settings, stray = self._settings, role == "stray"

        def on_status(connected: bool, why: str) -> None:
            metrics.CONNECTED.labels(role).set(1 if connected else 0)
            if connected:
                metrics.CONNECTIONS.labels(role).inc()

        subscriber = connect(
            SubscriberOptions(
                address=Address.parse(settings.mqtt_url),
                client_id=f"linhub-{settings.worker}-{role}",
                window=window,
                held_bytes=settings.held_bytes,
            ),
            on_status,
        )
        owner = Owner(
            f"{settings.worker}-stray" if stray else settings.worker,
            self._instance,
            name.number,
            () if stray else settings.owned,
        )

        return Lane(
            LaneOptions(name, owner, limit, linger_s, settings.log_level == "DEBUG"),
            subscriber,
            self._held(role),
            self.registry,
            self._sessions if name is LaneName.EVENT and not stray else {},
            lambda batch: self._committed(name, batch),
            _unregistered if stray else lambda topic, registry: True,
        )

    # Life

    async def run(self) -> None:
        """Raises store.Fenced or SessionTakenOver (in an ExceptionGroup) when somebody else does our work."""
        self._log_settings()
        await self._writer.patiently(self._prepare, lambda: None)
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                tasks.create_task(self.registry.run())
                tasks.create_task(self._write_states())
                tasks.create_task(retention.keep_swept(self._pool, self._settings.kept, self._settings.purge_every_s))
                tasks.create_task(self._rollups.run())
                for lane in self.lanes:
                    tasks.create_task(lane.subscriber.run())
                    lane.task = tasks.create_task(lane.run())
        finally:
            self._tasks = None

    async def _prepare(self, connection: Any) -> None:
        """Everything a lane must know before its first message."""
        await self.registry.load()
        by_no = {device.no: device for device in self.registry.current.devices.values()}
        gateway_of = {no: device.gateway_no for no, device in by_no.items() if device.gateway_no is not None}
        await state_store.catch_up(connection, self._fold, self._settings.owned, gateway_of)
        self._sessions.clear()
        self._sessions.update(await state_store.known_sessions(connection))
        self._refilter()

    def _log_settings(self) -> None:
        log.info("ingest_starting", worker=self._instance, partitions=self._settings.partitions)

    async def drain(self) -> None:
        """Finishes the batches at hand, writes the states, says goodbye to the broker."""
        for lane in self.lanes:
            lane.draining = True
            if not lane.busy and lane.task is not None:
                lane.task.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.drain_s):
                await asyncio.gather(
                    *(lane.task for lane in self.lanes if lane.task is not None), return_exceptions=True
                )
                with suppress(*TROUBLE):
                    await self._save_states()
        for lane in self.lanes:
            await lane.subscriber.close()

    async def release(self) -> None:
        for held in self._helds:
            await held.drop()

    def waiting_for(self) -> str | None:
        """What keeps this worker from its work; None while it does it."""
        for held in self._helds:
            if held.trouble is not None:
                return f"database: {held.trouble}"
        for lane in self.lanes:
            if not lane.claimed:
                return "database: taking over the partitions"
            if not lane.subscriber.ready:
                return f"broker: {lane.options.name} lane is not subscribed"
        return None

    # What happens while it lives

    def _refilter(self) -> None:
        for lane in (self.events, self.telemetry):
            plan = filters(self.registry.current, self._settings.owned, lane.options.name)
            lane.subscriber.set_filters(plan.wanted, plan.unwanted)

    def _committed(self, name: LaneName, batch: Batch) -> None:
        state_store.fold_batch(self._fold, batch.checked, batch.written.numbers, name.number)
        self._fold_changed.set()
        if name is LaneName.TELEMETRY and batch.checked.clocks and self._tasks is not None:
            self._tasks.create_task(self._note_clocks(batch.checked.clocks))

    async def _note_clocks(self, clocks: list[ClockOff]) -> None:
        """A wrong clock is wrong in each message; the alert engine hears of it once a minute."""
        now = time.monotonic()
        fresh: dict[DeviceNo, ClockOff] = {}
        for clock in clocks:
            if now - self._clock_noted.get(clock.device.no, -_CLOCK_NOTE_EVERY_S) >= _CLOCK_NOTE_EVERY_S:
                self._clock_noted[clock.device.no] = now
                fresh[clock.device.no] = clock
        if fresh:
            await self.events.note_clocks(list(fresh.values()))

    async def _write_states(self) -> None:
        while True:
            await self._fold_changed.wait()
            self._fold_changed.clear()
            began = time.monotonic()
            await self._save_states()
            await asyncio.sleep(max(self._settings.state_wait_s, _BUSY_SHARE * (time.monotonic() - began)))

    async def _save_states(self) -> None:
        async with self._saving:
            pending, positions = self._fold.take()
            if pending:
                await self._writer.patiently(lambda c: state_store.save(c, pending, positions), lambda: None)
                metrics.STATES.inc(len(pending))


def _unregistered(topic: Topic | Rejected, registry: Registry) -> bool:
    return isinstance(topic, Rejected) or topic.community not in registry.communities
