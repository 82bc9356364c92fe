"""An ingest worker whole: lanes, the sessions they read, the registry, the device states, the broom."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import suppress
from typing import Any

import asyncpg
import structlog

from services.adapters import profiles
from services.adapters.mqtt import Inbound
from services.adapters.mqtt_merged import MergedSubscriber
from services.adapters.steady_clock import SteadyClock
from services.domain.devices import CATALOGUE
from services.domain.ids import CommunityId, DeviceNo
from services.domain.messages import Lane as LaneName
from services.ingest import former, metrics, retention, rollups, state_store
from services.ingest.admission import Admission
from services.ingest.checked import ClockOff, Flooded, Session
from services.ingest.database import TROUBLE, Held
from services.ingest.filters import CHANNELS_OF, of_former_versions
from services.ingest.lane import Lane, LaneOptions
from services.ingest.limits import Limiter
from services.ingest.ownership import membership
from services.ingest.ownership.balance import SLOTS
from services.ingest.ownership.keeper import Keeper, Pace
from services.ingest.registry import kind_spec
from services.ingest.registry_keeper import RegistryKeeper
from services.ingest.sessions import Line, Sessions, SubscriberFactory, slot_of
from services.ingest.settings import IngestSettings
from services.ingest.state import StateFold
from services.ingest.store import Batch, Owner

log = structlog.get_logger(__name__)

_CLOCK_NOTE_EVERY_S = 60.0
_OWED_S = 2.0
_IDLE_SHARE = 9
"""Between two writes of device states so many times as long as the last one took is left to the messages …"""
_IDLE_MOST_S = 1.0
"""… but no longer than this, where the screens would feel it, …"""
_IDLE_LEAST_SHARE = 4
"""… unless writing would then take more than one part in so many plus one of the time."""


class Worker:
    """`run` until cancelled; `drain` first for a stop that leaves nothing half done."""

    def __init__(
        self,
        settings: IngestSettings,
        pool: asyncpg.Pool[Any],
        connect: SubscriberFactory,
        instance: str,
        clock: SteadyClock,
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._connect = connect
        self._instance = instance
        self._clock = clock
        self._fold = StateFold()
        self._fold_changed = asyncio.Event()
        self._clock_noted: dict[DeviceNo, float] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._helds: list[Held] = []
        self._known: dict[DeviceNo, Session] = {}
        self._admission = Admission(Limiter(settings.limits))
        self._saving = asyncio.Lock()
        self._ready_at: dict[str, float] = {}
        self._lines: list[Line] = []
        self._sessions: Sessions | None = None
        self._owning: asyncio.Task[None] | None = None
        self.registry = RegistryKeeper(
            pool, {kind.name: kind_spec(kind) for kind in CATALOGUE}, self._refilter, profiles.load(settings.profiles)
        )
        self._writer = self._held("states")
        pace = Pace(settings.worker_ttl_s, settings.worker_beat_s)
        heart = self._held("heart", timeout_s=settings.worker_ttl_s)
        self._reader, self._former = self._held("moves"), self._held("former")
        self.keeper = Keeper(heart, self._reader, self._instance, pace)
        self._rollups = rollups.Rollups(
            self._held("rollups"), lambda: self.owned, settings.rollup_lag_s, settings.rollup_every_s
        )

    def _held(self, name: str, timeout_s: float | None = None) -> Held:
        settings = self._settings
        held = Held(self._pool, name, timeout_s or settings.commit_timeout_s, settings.retry_max_s)
        self._helds.append(held)
        return held

    @property
    def owned(self) -> tuple[int, ...]:
        """The partitions in hand now; work that is done once a partition is done by their owner."""
        return () if self._sessions is None else self._sessions.partitions

    # Making

    def _make(self, worker: str) -> Sessions:
        settings = self._settings
        self._lines = [
            self._line(worker, LaneName.EVENT, "event", settings.event_window, settings.event_batch_messages, 0.0),
            self._line(
                worker,
                LaneName.TELEMETRY,
                "telemetry",
                settings.telemetry_window,
                settings.batch_messages,
                settings.batch_wait_s,
            ),
            self._line(worker, LaneName.EVENT, "stray", 1_000, settings.batch_messages, 0.05),
        ]
        *lines, stray = self._lines
        events, telemetry = lines
        telemetry.lane.let_pass(events.lane, 2 * settings.retry_max_s)
        return Sessions(
            settings, self._connect, self.registry, self._reader, lines, stray, self._known, self._save_states
        )

    def _line(self, worker: str, name: LaneName, role: str, window: int, limit: int, linger_s: float) -> Line:
        stray = role == "stray"
        merged = MergedSubscriber(self._taken_over)
        lane = Lane(
            LaneOptions(
                name,
                Owner(f"{worker}-stray" if stray else worker, self._instance, name.number, ()),
                limit,
                linger_s,
                self._settings.log_level == "DEBUG",
                role,
            ),
            merged,
            self._held(role),
            self.registry,
            # Both lanes know them: foreign formats say on any channel whether a device is there.
            self._known if not stray else {},
            lambda batch: self._committed(name, batch),
            self._admission,
            self._doubt,
            (lambda message: self._sessions is not None and self._sessions.is_stray(message)) if stray else None,
            self._hand_over if stray else None,
            self._clock.now_ms,
        )
        return Line(lane, merged, window)

    # Life

    async def run(self) -> None:
        """Raises Superseded (in an ExceptionGroup) when another process has this worker's name."""
        log.info("ingest_starting", instance=self._instance, worker=self._settings.worker or None)
        worker = await self.keeper.register(self._settings.worker)
        await self._writer.patiently(lambda c: self.registry.load(), lambda: None)
        self._sessions = self._make(worker)
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                tasks.create_task(self._clock.keep())
                tasks.create_task(self.registry.run())
                tasks.create_task(self._write_states())
                tasks.create_task(self._rollups.run())
                tasks.create_task(retention.keep_swept(self._pool, self._settings.kept, self._settings.purge_every_s))
                for line in self._lines:
                    tasks.create_task(line.merged.run())
                    line.lane.task = tasks.create_task(line.lane.run())
                tasks.create_task(self._empty_former())
                self._owning = tasks.create_task(self.keeper.run(self._sessions))
        finally:
            self._tasks = None

    async def drain(self) -> None:
        """Finishes the batches at hand, writes the states, says goodbye to the broker, and frees the partitions."""
        if self._owning is not None:
            self._owning.cancel()
            await asyncio.wait({self._owning}, timeout=2)
        lanes = [line.lane for line in self._lines]
        for lane in lanes:
            lane.draining = True
            if not lane.busy and lane.task is not None:
                lane.task.cancel()
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.drain_s):
                await asyncio.gather(*(lane.task for lane in lanes if lane.task is not None), return_exceptions=True)
                with suppress(*TROUBLE):
                    await self._save_states()
        for line in self._lines:
            await line.merged.close()
        if self.keeper.worker:
            await self.keeper.leave()

    async def release(self) -> None:
        for held in self._helds:
            await held.drop()

    def waiting_for(self) -> str | None:
        """What keeps this worker from its work; None while it does it."""
        for held in self._helds:
            if held.trouble is not None:
                return f"database: {held.trouble}"
        if self.keeper.waiting is not None:
            return self.keeper.waiting
        for line in self._lines:
            role = line.lane.options.role
            if line.merged.ready:
                self._ready_at[role] = time.monotonic()
            # The strays' filters change all the time, and for a moment each change is one that the broker owes.
            elif role != "stray" or time.monotonic() - self._ready_at.get(role, -math.inf) > _OWED_S:
                return f"broker: {role} lane is not subscribed"
        return None

    # What happens while it lives

    def _refilter(self) -> None:
        if self._sessions is not None:
            self._sessions.refilter()

    def _taken_over(self, member: str) -> None:
        slot = slot_of(member)
        if slot is not None:
            self._doubt(slot)

    def _doubt(self, slot: int) -> None:
        """Somebody else was met in it. Whose it is, the next look at the database tells."""
        if self._sessions is not None:
            self._sessions.doubt(slot)
            self.keeper.hurry()

    async def _hand_over(self, messages: list[Inbound]) -> None:
        """Of a community so new that its own session may have missed it. Not ours: its sender will send again."""
        registry = self.registry.current
        mine = [m for m in messages if registry.communities.get(CommunityId(m.topic.split("/")[1])) in self.owned]
        for line in self._lines[:2]:
            channels = CHANNELS_OF[line.lane.options.name]
            if some := [message for message in mine if message.topic.split("/")[4] in channels]:
                await line.lane.take(some)

    def _committed(self, name: LaneName, batch: Batch) -> None:
        state_store.fold_batch(self._fold, batch.checked, batch.written.numbers, name.number)
        self._fold_changed.set()
        checked = batch.checked
        if name is LaneName.TELEMETRY and (checked.clocks or checked.floods) and self._tasks is not None:
            self._tasks.create_task(self._note(checked.clocks, checked.floods))

    async def _note(self, clocks: list[ClockOff], floods: list[Flooded]) -> None:
        """A wrong clock is wrong in each message; the alert engine hears of it once a minute."""
        now = time.monotonic()
        fresh: dict[DeviceNo, ClockOff] = {}
        for clock in clocks:
            if now - self._clock_noted.get(clock.device.no, -_CLOCK_NOTE_EVERY_S) >= _CLOCK_NOTE_EVERY_S:
                self._clock_noted[clock.device.no] = now
                fresh[clock.device.no] = clock
        if fresh or floods:
            await self._lines[0].lane.note(list(fresh.values()), floods)

    async def _write_states(self) -> None:
        while True:
            await self._fold_changed.wait()
            self._fold_changed.clear()
            began = time.monotonic()
            await self._save_states()
            await asyncio.sleep(self._state_pause_s(time.monotonic() - began))

    def _state_pause_s(self, took_s: float) -> float:
        """Ten thousand states cost what as many readings do; written less often, one write serves more readings."""
        pause_s = max(min(_IDLE_SHARE * took_s, _IDLE_MOST_S), _IDLE_LEAST_SHARE * took_s)
        return max(self._settings.state_wait_s, pause_s)

    async def _save_states(self) -> None:
        async with self._saving:
            pending, positions = self._fold.take()
            if pending:
                await self._writer.patiently(lambda c: state_store.save(c, pending, positions), lambda: None)
                metrics.STATES.inc(len(pending))

    # What earlier versions left at the broker

    async def _empty_former(self) -> None:
        """While there is such a session, one worker owns everything (keeper): what is in it may be of any partition."""
        while True:
            sessions, left = self._sessions, self.keeper.view.former
            if left and sessions is not None and sessions.held.keys() >= set(SLOTS) and self.waiting_for() is None:
                for client_id, role in left:
                    try:
                        await self._empty_one(sessions, client_id, role)
                    except (former.NotEmptied, *TROUBLE) as error:
                        log.warning("former_session_not_emptied", client_id=client_id, why=str(error))
                self.keeper.hurry()
            await asyncio.sleep(self._settings.worker_beat_s)

    async def _empty_one(self, sessions: Sessions, client_id: str, role: str) -> None:
        line = next(line for line in self._lines if line.lane.options.role == role)
        owned = dict(sessions.held)
        subscriber = sessions.subscriber(role, line, client_id=client_id)
        line.merged.add(client_id, subscriber)
        try:
            await former.empty(subscriber, line.lane, of_former_versions(self.registry.current))
        finally:
            if client_id in line.merged.members:
                await line.merged.remove(client_id)
        if sessions.held != owned:
            raise former.NotEmptied("partitions changed hands meanwhile")
        await former.end(sessions.subscriber(role, line, client_id=client_id, expiry_s=0))
        await self._former.once(lambda c: membership.forget_former(c, client_id))
        await self._former.drop()
        log.info("former_session_removed", client_id=client_id)
