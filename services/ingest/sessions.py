"""The worker's hands: for each slot it owns, its sessions at the broker and its places in the lanes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import structlog

from services.adapters.mqtt import Address, Inbound, StatusCallback, Subscriber, SubscriberOptions
from services.adapters.mqtt_merged import MergedSubscriber
from services.adapters.queries import Queries
from services.domain.ids import DeviceNo
from services.ingest import metrics, state_store, store
from services.ingest.checked import Session
from services.ingest.database import Held
from services.ingest.filters import of_partition
from services.ingest.lane import Lane
from services.ingest.ownership.balance import STRAYS
from services.ingest.registry_keeper import RegistryKeeper
from services.ingest.settings import IngestSettings
from services.ingest.state import StateFold
from services.ingest.strays import Strays

log = structlog.get_logger(__name__)

SubscriberFactory = Callable[[SubscriberOptions, StatusCallback], Subscriber]

Q = Queries.beside(__file__)


@dataclass(frozen=True, slots=True)
class Line:
    """A lane with the sessions it reads, and the window each of these gets."""

    lane: Lane
    merged: MergedSubscriber
    window: int


class Sessions:
    """As services.ingest.ownership.keeper.Hands. `changed` is called when a slot becomes doubtful."""

    def __init__(
        self,
        settings: IngestSettings,
        connect: SubscriberFactory,
        registry: RegistryKeeper,
        reader: Held,
        lines: Collection[Line],
        stray: Line,
        known: dict[DeviceNo, Session],
        save_states: Callable[[], Any],
    ) -> None:
        self._settings = settings
        self._connect = connect
        self._registry = registry
        self._reader = reader
        self._lines = lines
        self._stray = stray
        self._known = known
        self._save_states = save_states
        self._strays: Strays | None = None
        self._watching: asyncio.Task[None] | None = None
        self.held: dict[int, int] = {}
        self.doubtful: set[int] = set()

    @property
    def partitions(self) -> tuple[int, ...]:
        return tuple(sorted(slot for slot in self.held if slot != STRAYS))

    # Taking up

    async def open(self, epochs: Mapping[int, int]) -> None:
        partitions = sorted(slot for slot in epochs if slot != STRAYS)
        if partitions:
            found = await self._reader.once(lambda c: self._read(c, partitions))
            for line, numbers in zip(self._lines, found, strict=True):
                line.lane.adopt(numbers)
                for partition in partitions:
                    subscriber = self.subscriber(f"p{partition}-{line.lane.options.role}", line)
                    subscriber.set_filters(self._filters(partition, line))
                    line.merged.add(_member(partition), subscriber)
        self.held.update(epochs)
        self.doubtful -= epochs.keys()
        if STRAYS in epochs:
            self._open_strays()
        metrics.PARTITIONS.set(len(self.partitions))

    async def _read(self, connection: Any, partitions: list[int]) -> list[dict[int, int]]:
        """What must be known before the first message: the states written, the devices' sessions, the log numbers."""
        await self._registry.load()
        devices = self._registry.current.devices.values()
        gateway_of = {device.no: device.gateway_no for device in devices if device.gateway_no is not None}
        await state_store.catch_up(connection, StateFold(), partitions, gateway_of)
        fresh = {device.no for device in devices if device.partition in partitions}
        known = await state_store.known_sessions(connection)
        self._known.update((no, session) for no, session in known.items() if no in fresh)
        if silent_s := await connection.fetchval(Q["silent_s"], partitions):
            next(iter(self._lines)).lane.was_deaf(float(silent_s))
        return [
            await store.claim(connection, replace(line.lane.options.owner, partitions=tuple(partitions)))
            for line in self._lines
        ]

    def subscriber(self, name: str, line: Line, *, client_id: str = "", expiry_s: int | None = None) -> Subscriber:
        settings, role = self._settings, line.lane.options.role
        was = False

        def on_status(connected: bool, why: str) -> None:
            nonlocal was
            if connected != was:
                metrics.CONNECTED.labels(role).inc(1 if connected else -1)
                was = connected
            if connected:
                metrics.CONNECTIONS.labels(role).inc()

        options = SubscriberOptions(
            address=Address.parse(settings.mqtt_url),
            client_id=client_id or f"{settings.mqtt_client_prefix}-{name}",
            window=line.window,
            held_bytes=max(1024 * 1024, settings.held_bytes // 16),
            keepalive_s=settings.broker_keepalive_s,
        )
        return self._connect(options if expiry_s is None else replace(options, session_expiry_s=expiry_s), on_status)

    def _filters(self, partition: int, line: Line) -> frozenset[str]:
        return of_partition(self._registry.current, partition, line.lane.options.name)

    def _open_strays(self) -> None:
        subscriber = self.subscriber("stray", self._stray)
        self._strays = Strays(self._registry, subscriber.set_filters)
        self._stray.merged.add(_member(STRAYS), subscriber)
        self._watching = asyncio.create_task(self._strays.run())

    def is_stray(self, message: Inbound) -> bool:
        return self._strays is not None and self._strays.keep(message)

    def refilter(self) -> None:
        """The registry changed."""
        for line in self._lines:
            for partition in self.partitions:
                member = line.merged.members.get(_member(partition))
                if member is not None:
                    member.set_filters(self._filters(partition, line))
        if self._strays is not None:
            self._strays.refilter()

    # Letting go

    async def close(self, slots: Collection[int]) -> None:
        for line in self._lines:
            for slot in slots:
                line.lane.shun(slot)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.drain_s):
                await asyncio.gather(*(line.lane.settled() for line in (*self._lines, self._stray)))
                await self._save_states()
        await self.abandon(slots)

    async def abandon(self, slots: Collection[int]) -> None:
        for slot in slots:
            self.held.pop(slot, None)
            self.doubtful.discard(slot)
        for line in self._lines:
            for slot in slots:
                line.lane.drop(slot)
        lines = (self._stray,) if STRAYS in slots else ()
        if STRAYS in slots and self._watching is not None:
            self._watching.cancel()
            self._strays = self._watching = None
        await asyncio.gather(
            *(
                line.merged.remove(_member(slot))
                for line in (*self._lines, *lines)
                for slot in slots
                if _member(slot) in line.merged.members
            )
        )
        metrics.PARTITIONS.set(len(self.partitions))
        with suppress(TimeoutError):
            # What is in hand must not take the slot, taken up again, for the one it was received under.
            async with asyncio.timeout(self._settings.drain_s):
                await asyncio.gather(*(line.lane.settled() for line in self._lines))

    def doubt(self, slot: int) -> None:
        if slot in self.held:
            self.doubtful.add(slot)


def _member(slot: int) -> str:
    return "stray" if slot == STRAYS else f"p{slot}"


def slot_of(member: str) -> int | None:
    """None for a member that is no slot's."""
    return STRAYS if member == "stray" else int(member[1:]) if member[1:].isdigit() else None
