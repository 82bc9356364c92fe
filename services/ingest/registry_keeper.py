"""Keeps the registry in memory as the database has it: read whole at each notice that something changed."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any

import asyncpg
import structlog

from services.adapters.postgres import listening
from services.adapters.queries import Queries
from services.domain.codecs import NATIVE
from services.domain.ids import CommunityId, DeviceId, DeviceNo, Partition
from services.domain.profiles.mapper import Profiles
from services.ingest.database import TROUBLE
from services.ingest.registry import KindSpec, KnownDevice, Registry

log = structlog.get_logger(__name__)
Q = Queries.beside(__file__)

_SETTLE_S = 0.1
"""An import changes many rows in many statements; one reading after the last is enough."""
_LONGEST_S = 300.0
"""Read again after so long at the latest, in case a notice was lost."""


_AT_ONCE = 500
"""Devices taken in before the event loop gets its turn: a few milliseconds."""


async def load_registry(
    connection: asyncpg.Connection[Any],
    kinds: Mapping[str, KindSpec],
    profiles: Profiles | None = None,
    known: Registry | None = None,
) -> Registry:
    """Devices in use and all communities. A device of a kind that this version does not know has no metrics.

    What is as in `known` is that very object, the registry itself where nothing changed: a hundred thousand devices
    are read a few at a time, so that messages go on, and nobody has to compare them again.
    """
    known = known or Registry(profiles=profiles or Profiles())
    devices: dict[DeviceId, KnownDevice] = {}
    addresses: dict[tuple[DeviceNo, str], KnownDevice] = {}
    changed = False
    async with connection.transaction(isolation="repeatable_read", readonly=True):
        communities = {
            CommunityId(row["id"]): Partition(row["partition"]) for row in await connection.fetch(Q["communities"])
        }
        cursor = await connection.cursor(Q["registry"])
        while rows := await cursor.fetch(_AT_ONCE):
            for row in rows:
                device = _device(row, communities, kinds)
                if device is None:
                    continue
                before = known.devices.get(device.id)
                if before == device:
                    device = before
                else:
                    changed = True
                devices[device.id] = device
                if device.gateway_no is not None and device.address is not None:
                    addresses[device.gateway_no, device.address] = device
            await asyncio.sleep(0)
    if not changed and len(devices) == len(known.devices) and communities == known.communities:
        return known
    return Registry(devices, communities, addresses, known.profiles)


def _device(
    row: asyncpg.Record, communities: Mapping[CommunityId, Partition], kinds: Mapping[str, KindSpec]
) -> KnownDevice | None:
    partition = communities.get(row["community_id"])
    if partition is None:
        return None
    return KnownDevice(
        row["device_no"],
        row["id"],
        CommunityId(row["community_id"]),
        partition,
        kinds.get(row["kind"]) or KindSpec(row["kind"], 0, {}, frozenset()),
        row["gateway_no"],
        row["codec"],
        row["address"],
        row["profile"],
    )


def unusable(registry: Registry) -> list[tuple[DeviceId, str]]:
    """Devices of which nothing could be used, and why: better known before a fire than by its refused alarm."""
    by_no = {device.no: device for device in registry.devices.values()}
    found = []
    for device in registry.devices.values():
        speaker = device if device.gateway_no is None else by_no.get(device.gateway_no, device)
        if speaker.codec == NATIVE and device.profile is None:
            continue
        if (why := registry.profiles.problem(speaker.codec, device.kind.name, device.profile)) is not None:
            found.append((device.id, why))
    return found


class RegistryKeeper:
    def __init__(
        self,
        pool: asyncpg.Pool[Any],
        kinds: Mapping[str, KindSpec],
        changed: Callable[[], None],
        profiles: Profiles | None = None,
    ) -> None:
        self._pool = pool
        self._kinds = kinds
        self._profiles = profiles or Profiles()
        self._changed = changed
        self._loaded_at = 0.0
        self._notice = asyncio.Event()
        self._loading = asyncio.Lock()
        self.current = Registry(profiles=self._profiles)

    async def load(self) -> None:
        """Raises what the database raises."""
        async with self._loading, self._pool.acquire() as connection:
            began = time.monotonic()
            fresh = await load_registry(connection, self._kinds, self._profiles, self.current)
            self._loaded_at = began
            if fresh is not self.current:
                self.current = fresh
                log.info("registry_loaded", devices=len(fresh.devices), communities=len(fresh.communities))
                for device, why in unusable(fresh)[:20]:
                    log.warning("device_registered_wrong", device=device, why=why)
                self._changed()

    async def refresh_if_older(self, age_s: float) -> None:
        """Best effort: when the database is away the picture stays as it is."""
        if time.monotonic() - self._loaded_at > age_s:
            self._loaded_at = time.monotonic()
            with contextlib.suppress(*TROUBLE):
                await asyncio.wait_for(self.load(), 5)

    async def run(self) -> None:
        """For ever: listens, and reads again after each notice and each time it had to reconnect."""
        while True:
            try:
                await self._listen()
            except TROUBLE as error:
                log.warning("registry_listener_lost", why=str(error) or type(error).__name__)
                await asyncio.sleep(1)

    async def _listen(self) -> None:
        def notice(*_: object) -> None:
            self._notice.set()

        async with listening(self._pool, {"registry": notice}, notice) as connection:
            while not connection.is_closed():
                self._notice.clear()
                await self.load()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._notice.wait(), _LONGEST_S)
                await asyncio.sleep(_SETTLE_S)
