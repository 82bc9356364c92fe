"""One lane: receives, checks, commits, and only then acknowledges, batch after batch."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import structlog

from services.adapters.mqtt import Inbound, Receiver
from services.adapters.steady_clock import wall_ms
from services.domain.codecs.topic import parse_topic
from services.domain.ids import DeviceNo
from services.domain.messages import Lane as LaneName
from services.domain.messages import Reason, Rejected
from services.ingest import core, failpoints, metrics, store
from services.ingest.acks import acknowledgements, foreign_replies
from services.ingest.admission import Admission
from services.ingest.checked import Checked, ClockOff, Flooded, Session
from services.ingest.checking import SLICE, Checker
from services.ingest.database import POISON, Held
from services.ingest.readings import Bulk
from services.ingest.registry_keeper import RegistryKeeper
from services.ingest.store import Batch, Owner
from services.ingest.telling import Teller

log = structlog.get_logger(__name__)

DEAF_S = 3.0
"""Who cannot store for longer than this has kept everybody waiting."""
_FAULTS = 2
"""More tries of a batch after a fault of ours."""
_CALM_PER_S = 5_000
"""Messages a second up to which batches are gathered no longer than asked for; twice as many, twice as long …"""
_MOST_PATIENT = 4.0
"""… up to so many times."""


_PORTION_BYTES = 1024 * 1024
"""A message may carry one reading or a thousand; so much payload at a time keeps a transaction near 10,000 rows."""


@dataclass(frozen=True, slots=True)
class LaneOptions:
    name: LaneName
    owner: Owner
    limit: int
    linger_s: float
    debug: bool = False
    role: str = ""
    """What it is called where there is more than one of a name: in metrics and client ids."""


class Lane:
    """`sessions` is shared by nobody else; `on_commit` sees each batch after its commit.

    Stores for the partitions it was given by `adopt`. `on_fenced` gets one that turns out to have another owner; the
    batch goes on without it, and its messages are left to that owner. With `keep`, the lane is there for what `keep`
    accepts, and acknowledges the rest unseen: another session hears that. What then turns out to be a partition's goes
    to `hand_over`.
    """

    def __init__(
        self,
        options: LaneOptions,
        subscriber: Receiver,
        held: Held,
        registry: RegistryKeeper,
        sessions: dict[DeviceNo, Session],
        on_commit: Callable[[Batch], None],
        admission: Admission,
        on_fenced: Callable[[int], None] = lambda partition: None,
        keep: Callable[[Inbound], bool] | None = None,
        hand_over: Callable[[list[Inbound]], Awaitable[None]] | None = None,
        now_ms: Callable[[], int] = wall_ms,
    ) -> None:
        self.options = options
        self.subscriber = subscriber
        self._held = held
        self._registry = registry
        self._sessions = sessions
        self._on_commit = on_commit
        self._on_fenced = on_fenced
        self._keep = keep
        self._hand_over = hand_over
        self._numbers: dict[int, int] = {}
        self._shunned: set[int] = set()
        self._fenced: set[int] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._admission = admission
        self._checker = Checker(options.name, registry, admission)
        self._now_ms = now_ms
        self._teller = Teller(options.name, options.debug, now_ms)
        self._bulk = Bulk()
        self._turn = asyncio.Lock()
        self._marker = datetime.min.replace(tzinfo=UTC)
        self.draining = False
        self.task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """For ever."""
        linger_s, before = self.options.linger_s, time.monotonic()
        while not self.draining:
            messages = await self.subscriber.receive(self.options.limit, linger_s)
            now = time.monotonic()
            linger_s = patience(self.options.linger_s, len(messages), now - before)
            before = now
            self._idle.clear()
            failpoints.reach("received")
            try:
                for portion in portions(messages):
                    await self._finish(portion)
            finally:
                self._idle.set()

    # Whose messages

    def adopt(self, numbers: Mapping[int, int]) -> None:
        """From now on these partitions are stored here, each after its last log number."""
        self._numbers.update(numbers)
        self._shunned -= numbers.keys()
        self._fenced -= numbers.keys()

    def let_pass(self, other: Lane, within_s: float) -> None:
        """After an outage of the database, what `other` has in hand is stored before anything of this lane; unless it
        cannot be `within_s`, which must be longer than the pause between two tries of it."""

        async def passed() -> None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(within_s):
                    while other.busy or other.subscriber.waiting:  # noqa: ASYNC110  # only after an outage
                        await asyncio.sleep(0.01)

        self._held.after = passed

    def was_deaf(self, seconds: float) -> None:
        """Nobody stored for so long; what queued up meanwhile is no flood."""
        if seconds > DEAF_S:
            self._admission.limiter.forgive(round(seconds * 1000), self._now_ms())

    def shun(self, partition: int) -> None:
        """Takes up no further message of it; what is in hand is finished. `settled` says when."""
        self._shunned.add(partition)

    def drop(self, partition: int) -> None:
        """It is not ours (any more): what is in hand of it is neither stored nor acknowledged."""
        self._shunned.add(partition)
        self._fenced.add(partition)
        self._numbers.pop(partition, None)

    @property
    def busy(self) -> bool:
        return not self._idle.is_set()

    async def settled(self) -> None:
        """Until what is in hand now is committed and acknowledged."""
        await self._idle.wait()

    def _partition(self, message: Inbound) -> int | None:
        topic = parse_topic(message.topic)
        return None if isinstance(topic, Rejected) else self._registry.current.communities.get(topic.community)

    def _but(self, messages: Sequence[Inbound], partitions: set[int]) -> list[Inbound]:
        if not partitions:
            return list(messages)
        return [message for message in messages if self._partition(message) not in partitions]

    async def take(self, messages: Sequence[Inbound]) -> None:
        """Stores what came to another lane; that one acknowledges it to the broker."""
        async with self._turn:
            await self._store(self._batch(messages, await self._checker.check(messages, admitted=True)))

    async def note(self, clocks: list[ClockOff], floods: list[Flooded]) -> None:
        """Puts wrong clocks and floods that another lane met into this lane's log."""
        async with self._turn:
            await self._store(self._batch((), Checked(clocks=clocks, floods=floods)))

    async def _finish(self, messages: list[Inbound]) -> None:
        if self._keep is None:
            kept = messages = self._but(messages, self._shunned)
        else:
            kept = [message for message in messages if self._keep(message)]
        if kept:
            async with self._turn:
                await self._store(self._batch(kept, await self._checker.check(kept)))
        if self._keep is None:
            messages = self._but(messages, self._fenced)
        failpoints.reach("before_puback")
        for start in range(0, len(messages), SLICE):
            stale = self.subscriber.ack(messages[start : start + SLICE])
            if stale:
                metrics.STALE_ACKS.labels(self.options.name).inc(stale)
            if len(messages) > SLICE:
                await asyncio.sleep(0)
        failpoints.reach("after_puback")
        metrics.QUEUE.labels(self.options.name).set(self.subscriber.waiting)

    def _batch(self, messages: Sequence[Inbound], checked: Checked) -> Batch:
        now = datetime.now(UTC)
        self._marker = max(now, self._marker + timedelta(microseconds=1))
        return Batch(messages, checked, self._marker)

    # Storing

    async def _store(self, batch: Batch) -> None:
        def retry() -> None:
            batch.attempts += 1
            metrics.RETRIES.labels(self.options.name).inc()

        started = time.perf_counter()
        try:
            await self._held.patiently(
                lambda c: store.write(c, self.options.owner, batch, self._numbers, self._sessions, self._bulk), retry
            )
        except POISON as error:
            await self._isolate(batch, error)
            return
        except store.Fenced as fence:
            await self._without(batch, fence)
            return
        except Exception as error:
            await self._after_fault(batch, error)
            return
        failpoints.reach("after_commit")
        took = time.perf_counter() - started
        metrics.COMMIT.labels(self.options.name).observe(took)
        self.was_deaf(took)
        self._settle(batch)

    async def _without(self, batch: Batch, fence: store.Fenced) -> None:
        """Nothing of the batch was written. The rest of it goes on; what has another owner is left to that owner."""
        partition = fence.partition
        if self._hand_over is not None:
            await self._hand_over([message for message in batch.messages if self._partition(message) == partition])
        else:
            log.warning("partition_fenced", partition=partition, lane=self.options.name, why=str(fence))
            self.drop(partition)
            self._on_fenced(partition)
        if rest := self._but(batch.messages, {partition}):
            await self._store(self._batch(rest, await self._checker.check(rest, admitted=True)))
        elif not batch.messages:
            clocks = [clock for clock in batch.checked.clocks if clock.device.partition != partition]
            floods = [flood for flood in batch.checked.floods if flood.device.partition != partition]
            if clocks or floods:
                await self._store(self._batch((), Checked(clocks=clocks, floods=floods)))

    async def _after_fault(self, batch: Batch, error: Exception) -> None:
        """A fault of ours. It may pass, so the batch has two more tries; then the culprit is looked for."""
        log.exception("store_fault", attempts=batch.attempts, messages=len(batch.messages))
        if batch.faults >= _FAULTS:
            await self._isolate(batch, error)
            return
        batch.faults += 1
        batch.attempts += 1
        await self._store(batch)

    async def _isolate(self, batch: Batch, error: BaseException) -> None:
        """Halves the batch until the message that the database will not take stands alone, and quarantines it."""
        messages = batch.messages
        if len(messages) > 1:
            for half in (messages[: len(messages) // 2], messages[len(messages) // 2 :]):
                await self._store(self._batch(half, await self._checker.check(half, admitted=True)))
            return
        log.error("poison_message", topic=messages[0].topic if messages else "", error=repr(error)[:500])
        if not messages or (batch.checked.refusals and not batch.checked.accepted):
            raise error
        topic = parse_topic(messages[0].topic)
        assert not isinstance(topic, Rejected)  # noqa: S101
        checked = Checked(foreign=batch.checked.foreign)
        why = Rejected(Reason.MALFORMED, f"it could not be stored: {type(error).__name__}", topic.device)
        core.check(checked, 0, messages[0].received_ms, topic, why, self._registry.current)
        await self._store(self._batch(messages, checked))

    def _settle(self, batch: Batch) -> None:
        """After the commit: the promise to the devices first, then what is only for us."""
        try:
            failpoints.reach("ack")
            for topic, payload in acknowledgements(batch.messages, batch.checked):
                self.subscriber.publish(topic, payload)
            if batch.checked.foreign:
                for topic, payload in foreign_replies(batch.messages, batch.checked):
                    self.subscriber.publish(topic, payload)
        except Exception:
            # It is committed, so the broker may forget it; who hears nothing sends again, and that is a duplicate.
            log.exception("acknowledgement_fault", messages=len(batch.messages))
        self._numbers.update((p, number) for p, number in batch.written.numbers.items() if p in self._numbers)
        self._sessions.update(batch.written.sessions)
        self._on_commit(batch)
        self._teller.tell(batch)


def patience(linger_s: float, count: int, within_s: float) -> float:
    """How long to gather the next batch when so many messages came within so long.

    What a transaction costs beside its rows (log rows, ledger, the alert engine's turns) is shared by the more messages
    the longer they gather. While few come each waits no longer than `linger_s`.
    """
    rate = count / max(within_s, 1e-6)
    return linger_s * min(max(1.0, rate / _CALM_PER_S), _MOST_PATIENT)


def portions(messages: list[Inbound], most: int = _PORTION_BYTES) -> list[list[Inbound]]:
    """The messages in order, cut where a portion's payload would pass `most` bytes; none is empty."""
    if sum([len(message.payload) for message in messages]) <= most:
        return [messages]
    cut: list[list[Inbound]] = [[]]
    size = 0
    for message in messages:
        if size and size + len(message.payload) > most:
            cut.append([])
            size = 0
        cut[-1].append(message)
        size += len(message.payload)
    return cut
