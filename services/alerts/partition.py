"""Evaluates one partition for as long as its lease lasts: read, fold, commit, tick; built anew after any failure."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import asyncpg
import structlog

from services.adapters.postgres import RETRYABLE
from services.adapters.queries import Queries
from services.adapters.steady_clock import SteadyClock
from services.alerts import metrics
from services.alerts.lease import Lease, LeaseLost
from services.alerts.loading import load_engine, load_roster
from services.alerts.reading import LogReader, oldest_received_ms
from services.alerts.settings import AlertSettings
from services.alerts.store import CONSUMER, Advance, CheckpointMoved, commit
from services.domain.devices.kind import DeviceKind
from services.domain.engine.core import Engine
from services.domain.engine.entries import LogRow, Unreadable, items_of, told, wrong_columns
from services.domain.engine.hold.reasons import sort_of
from services.domain.engine.hold.settling import Start
from services.domain.engine.platform import LOG_GAP, NOBODY
from services.domain.engine.quiet import apply_readings
from services.domain.ids import DeviceNo, RuleId
from services.domain.rules.evaluation import Event, Reply

log = structlog.get_logger(__name__)
Q = Queries.beside(__file__)
_RETRY_S = (0.1, 0.5, 1.0, 2.0, 5.0)


class PartitionWorker:
    """One partition under one lease. `wake` says that the log or the registry has something new."""

    def __init__(
        self,
        pool: asyncpg.Pool[Any],
        lease: Lease,
        settings: AlertSettings,
        catalogue: Mapping[str, DeviceKind],
        clock: SteadyClock | None = None,
    ) -> None:
        self.lease = lease
        self.wake = asyncio.Event()
        self.registry_changed = False
        self._pool = pool
        self._settings = settings
        self._catalogue = catalogue
        self._clock = clock or SteadyClock(settings.clock_hold_s, settings.clock_file)
        self._steps = self._clock.steps
        self._engine: Engine | None = None
        self._reader = LogReader(lease.partition, settings.alerts_readings_per_turn)
        self._next_tick = 0.0
        self._look = True
        """Whether the log is to be read; else only the clocks are."""
        self._read_to_ms = 0
        """Everything that had been committed by then, by the steady clock, was read."""
        self._reloaded_for: set[int] = set()
        self.idle = False
        """Whether the log was read to its end at the last look."""

    async def run(self) -> None:
        """Until cancelled, or until the lease is lost. Failures are said, then tried again from the database."""
        failures = 0
        while True:
            try:
                if self._engine is None:
                    await self._load()
                busy = await self._turn()
                failures = 0
            except (LeaseLost, CheckpointMoved) as lost:
                log.warning("partition_lost", partition=self.lease.partition, why=str(lost))
                return
            except RETRYABLE as error:
                failures = await self._start_over("database", error, failures)
                continue
            except Exception as error:
                # Stop this partition loudly and try again from what is committed; the other partitions go on.
                failures = await self._start_over("fault", error, failures)
                continue
            if not busy:
                await self._rest()

    async def _start_over(self, why: str, error: BaseException, failures: int) -> int:
        self._engine = None
        metrics.RELOADS.labels(why).inc()
        message = f"{type(error).__name__}: {error}"
        if why == "database":
            log.warning("partition_waits", partition=self.lease.partition, why=message)
        else:
            log.error("partition_failed", partition=self.lease.partition, why=message, exc_info=error)
        await asyncio.sleep(_RETRY_S[min(failures, len(_RETRY_S) - 1)])
        return failures + 1

    async def _rest(self) -> None:
        pause = max(0.0, min(self._next_tick - time.monotonic(), self._settings.alerts_poll_s))
        try:
            async with asyncio.timeout(pause):
                await self.wake.wait()
        except TimeoutError:
            return

    async def _load(self) -> None:
        settling_s = self._settings.alerts_settling_s
        async with self._pool.acquire() as connection:
            loaded = await load_engine(
                connection, CONSUMER, self.lease.partition, self._catalogue, self._fault, settling_s
            )
        self._engine = loaded.engine
        self._reader.start(loaded.checkpoints)
        self._look = True
        started_ms = self._clock.now_ms()
        self._engine.listen(started_ms, round(self._settings.alerts_settle_s * 1000))
        if loaded.away:
            self._engine.alerts.book.start = Start(started_ms, round(settling_s * 1000))
        self._steps = self._clock.steps
        self.registry_changed = False
        log.info(
            "partition_loaded",
            partition=self.lease.partition,
            epoch=self.lease.epoch,
            devices=len(loaded.engine.roster.devices),
            open_alerts=len(loaded.engine.alerts.open),
            checkpoints=loaded.checkpoints,
        )

    def _fault(self, rule_id: RuleId, subject: str, error: Exception) -> None:
        metrics.FAULTS.labels(rule_id).inc()
        log.error("rule_set_aside", rule=rule_id, subject=subject, why=f"{type(error).__name__}: {error}")

    async def _reload_registry(self, connection: asyncpg.Connection[Any]) -> None:
        assert self._engine is not None  # noqa: S101
        self.registry_changed = False
        roster = await load_roster(connection, self.lease.partition, self._catalogue)
        engine = Engine(roster, self._engine.alerts.open.values(), self._fault)
        engine.carry_over(self._engine)
        self._engine = engine
        metrics.RELOADS.labels("registry").inc()

    async def _turn(self) -> bool:
        """One transaction: all waiting events, else some telemetry, else a tick. False when there is nothing to do."""
        assert self._engine is not None  # noqa: S101
        self._look = self._look or self.wake.is_set()
        self.wake.clear()
        if self._steps != self._clock.steps:
            # Another time from here on: what was silent by the old one is counted anew by the new.
            self._steps = self._clock.steps
            self._engine.listen(self._clock.now_ms(), round(self._settings.alerts_settle_s * 1000))
        if self._look or self.registry_changed or self._reader.waits or self._unconfirmed():
            async with self._pool.acquire() as connection:
                if self.registry_changed:
                    await self._reload_registry(connection)
                asked_ms = self._clock.now_ms()
                rows = await self._reader.next(connection)
                self.idle = not rows
                if rows:
                    await self._consume(connection, rows)
                    return True
            self._look = False
            if not self._reader.waits:
                self._read_to_ms = asked_ms
            self._lag(0.0)
        if time.monotonic() >= self._next_tick and not self._reader.waits:
            self._next_tick = time.monotonic() + self._settings.alerts_tick_s
            await self._tick()
        return False

    def _unconfirmed(self) -> bool:
        """Nobody has looked at the log for two polls; clocks do not run beyond what was read."""
        return self._clock.now_ms() - self._read_to_ms > 2000 * self._settings.alerts_poll_s

    async def _consume(self, connection: asyncpg.Connection[Any], rows: list[LogRow]) -> None:
        lane = rows[0].lane
        before = self._reader.checkpoints[lane]
        await self._know_devices(connection, rows)
        engine = self._engine
        assert engine is not None  # noqa: S101
        self._lag((datetime.now(UTC) - rows[0].committed_at).total_seconds())
        now_ms = self._clock.now_ms()
        engine.lagged(now_ms, now_ms - oldest_received_ms(rows, now_ms))
        for gap in self._reader.gaps():
            engine.happened(Event(NOBODY, now_ms, now_ms, LOG_GAP, {"lane": gap.lane, "missed": gap.missed}))
        evaluated, overtaken = engine.evaluations, engine.overtaken
        replies: list[Reply] = []
        for row in rows:
            readable = not (why := wrong_columns(row))
            if not readable:
                engine.happened(Event(NOBODY, now_ms, now_ms, LOG_GAP, {"lane": lane, "seq": row.seq, "why": why}))
            if readable and row.device_nos and (unknown := apply_readings(engine, row)):
                metrics.UNKNOWN.inc(unknown)
            for item in told(row) if readable else items_of(row, engine.roster):
                if isinstance(item, Unreadable):
                    metrics.UNREADABLE.inc()
                    log.error("log_entry_unreadable", partition=self.lease.partition, seq=row.seq, why=item.why)
                    continue
                if isinstance(item, Reply):
                    replies.append(item)
                if not engine.apply(item):
                    metrics.UNKNOWN.inc()
            metrics.ITEMS.labels("event" if lane == 0 else "telemetry").inc(row.size)
        metrics.EVALUATIONS.inc(engine.evaluations - evaluated)
        metrics.OVERTAKEN.inc(engine.overtaken - overtaken)
        await self._commit(connection, [Advance(lane, before, rows[-1].seq)], rows[0] if lane == 0 else None, replies)
        self._reader.checkpoints[lane] = rows[-1].seq

    async def _know_devices(self, connection: asyncpg.Connection[Any], rows: list[LogRow]) -> None:
        """A device may be in the log before word of the changed registry has come; look once for each unknown one."""
        assert self._engine is not None  # noqa: S101
        numbers = set().union(*(row.device_nos for row in rows))
        numbers |= {
            entry["device_no"] for row in rows for entry in row.body if isinstance(entry, dict) and "device_no" in entry
        }
        unknown = {n for n in numbers if DeviceNo(n) not in self._engine.roster.devices} - self._reloaded_for
        if unknown:
            self._reloaded_for |= unknown
            await self._reload_registry(connection)

    async def _tick(self) -> None:
        engine = self._engine
        assert engine is not None  # noqa: S101
        # Clocks run only where everything received before them was read.
        now_ms = min(self._clock.now_ms(), self._read_to_ms) - round(self._settings.alerts_slack_s * 1000)
        with metrics.TICK_SECONDS.time():
            if suspects := engine.suspects(now_ms):
                for row in await self._pool.fetch(Q["last_seen"], suspects):
                    engine.heard(DeviceNo(row["device_no"]), row["seen_ms"])
            evaluated = engine.evaluations
            if engine.alerts.book.wants_answers():
                for row in await self._pool.fetch(Q["load_answers"], self.lease.partition):
                    engine.alerts.book.answer(row["alert_id"], row["id"], row["ok"], row["answered_by"], now_ms)
            engine.lagged(self._clock.now_ms(), 0)
            engine.tick(now_ms)
            metrics.EVALUATIONS.inc(engine.evaluations - evaluated)
        partition = str(self.lease.partition)
        for sort, held in engine.alerts.book.counts().items():
            metrics.HELD.labels(partition, sort).set(held)
        metrics.SET_ASIDE.labels(partition).set(len(engine.aside))
        metrics.STATES.labels(partition).set(engine.remembers)
        metrics.MEMORY.labels(partition).set(engine.memory_bytes())
        await self._commit(None, [], None)

    async def _commit(
        self,
        connection: asyncpg.Connection[Any] | None,
        advances: list[Advance],
        first_event: LogRow | None,
        replies: Sequence[Reply] = (),
    ) -> None:
        """On a connection of its own where none is at hand: most ticks decide nothing."""
        assert self._engine is not None  # noqa: S101
        decided = self._engine.take()
        if not advances and not decided.decisions and not decided.states:
            return
        with metrics.COMMIT_SECONDS.time():
            if connection is None:
                async with self._pool.acquire() as own:
                    written = await commit(own, self.lease, advances, decided, self._clock.now(), replies)
            else:
                written = await commit(connection, self.lease, advances, decided, self._clock.now(), replies)
        metrics.RAISED.inc(written.raised)
        metrics.ORDERS.inc(len(written.opened))
        metrics.RELEASED.inc(written.released)
        for sort in map(sort_of, written.suppressed):
            metrics.SUPPRESSED.labels(sort).inc()
        for order in written.opened:
            log.info(
                "order_opened",
                correlation=order.correlation,
                order=order.number,
                order_id=str(order.id),
                alert_id=str(order.alert_id),
                kind=order.kind,
                severity=order.severity.value,
                team=order.team.value,
            )
        if written.opened and first_event is not None:
            metrics.EVENT_SECONDS.observe((datetime.now(UTC) - first_event.committed_at).total_seconds())

    def _lag(self, seconds: float) -> None:
        metrics.LAG_SECONDS.labels(str(self.lease.partition)).set(max(0.0, seconds))

    def heads(self, heads: Mapping[int, int], asked_ms: int) -> None:
        """The newest seq of each lane as it was then, for the lag; wakes the worker when there is something to read."""
        behind_at_all = not self._reader.checkpoints or self.idle is False
        for lane, seq in heads.items():
            behind = max(0, seq - self._reader.checkpoints.get(lane, seq))
            metrics.LAG_ENTRIES.labels(str(self.lease.partition), "event" if lane == 0 else "telemetry").set(behind)
            behind_at_all = behind_at_all or behind > 0
        if behind_at_all:
            self.wake.set()
        elif not self._reader.waits:
            self._read_to_ms = max(self._read_to_ms, asked_ms)
