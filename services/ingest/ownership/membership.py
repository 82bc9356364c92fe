"""Who lives and who owns what, as the database has it: registration, heartbeats, claims and releases.

A partition belongs to the worker that its lease names, until that worker lets it go or is dismissed. Time alone takes
nothing away: a database that was away for an hour finds everybody where they were. Only whoever has been watching for
long enough may say of another that it is gone (`Watch`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import asyncpg

from services.adapters.queries import Queries
from services.ingest.ownership.balance import SLOTS

Q = Queries.beside(__file__)


class NameTaken(Exception):
    """Another living process has this worker's name."""


@dataclass(frozen=True, slots=True)
class Peer:
    """`connected`: its heartbeat's connection stands, so its process does. `silent_s`: since its last heartbeat."""

    worker: str
    instance: str
    silent_s: float
    connected: bool


@dataclass(frozen=True, slots=True)
class View:
    """What one heartbeat saw, itself included. `owners` names instances; '' where a slot is free."""

    peers: tuple[Peer, ...]
    owners: Mapping[int, str]
    epochs: Mapping[int, int]
    former: tuple[tuple[str, str], ...] = ()
    """(client id, role) of sessions that are to be emptied and removed."""

    def owned_by(self, instance: str) -> frozenset[int]:
        return frozenset(slot for slot, owner in self.owners.items() if owner == instance)


@dataclass(slots=True)
class Watch:
    """Tells the dead from those that only could not be heard.

    Gone is whoever was silent for `ttl_s`, in the eyes of somebody who himself heard from the database for so long
    without a break; and whoever's connection was found broken for `confirm_s`, except while our own has just been
    made anew: whatever broke it may have broken theirs.
    """

    ttl_s: float
    confirm_s: float
    _steady_since: float = field(default=0.0, init=False)
    _looked_at: float = field(default=float("-inf"), init=False)
    _shaken_at: float = field(default=float("-inf"), init=False)
    _broken_since: dict[str, float] = field(default_factory=dict, init=False)

    def shaken(self, now_s: float) -> None:
        """The connection to the database was lost and is back."""
        self._shaken_at = now_s

    def gone(self, peers: Collection[Peer], me: str, now_s: float) -> list[str]:
        """Instances to dismiss. `now_s` is any steady clock."""
        if now_s - self._looked_at > self.ttl_s / 2:
            self._steady_since = now_s
            if self._looked_at > float("-inf"):
                self._shaken_at = now_s
        self._looked_at = now_s
        others = [peer for peer in peers if peer.instance != me]
        broken = [peer.instance for peer in others if not peer.connected]
        self._broken_since = {instance: self._broken_since.get(instance, now_s) for instance in broken}
        watching, calm = now_s - self._steady_since > self.ttl_s, now_s - self._shaken_at > self.ttl_s / 2
        return [
            peer.instance
            for peer in others
            if (watching and peer.silent_s > self.ttl_s)
            or (calm and now_s - self._broken_since.get(peer.instance, now_s) >= self.confirm_s)
        ]


async def register(connection: asyncpg.Connection[Any], worker: str, instance: str, dead: Collection[str]) -> int:
    """Enters the list of the living; the number of the lock to hold. Raises NameTaken.

    `dead` are instances the caller knows to be gone; with the name comes what the last one of that name owned.
    """
    async with connection.transaction():
        await connection.execute(Q["lock_registration"])
        await connection.execute(Q["make_slots"], list(SLOTS))
        await bury(connection, dead)
        try:
            async with connection.transaction():
                number = await connection.fetchval(Q["register"], worker, instance)
        except asyncpg.UniqueViolationError as error:
            raise NameTaken(f"another process is called {worker}") from error
        await connection.fetchval(Q["hold_lock"], number)
    return int(number)


async def look(connection: asyncpg.Connection[Any]) -> View:
    peers = tuple(
        Peer(row["worker"], row["instance"], row["silent_s"], row["connected"])
        for row in await connection.fetch(Q["workers"])
    )
    leases = await connection.fetch(Q["owners"])
    former = await connection.fetch(Q["former_sessions"])
    return View(
        peers,
        {row["partition"]: row["owner"] for row in leases},
        {row["partition"]: row["epoch"] for row in leases},
        tuple((row["client_id"], row["role"]) for row in former),
    )


async def beat(connection: asyncpg.Connection[Any], instance: str) -> bool:
    """Shows that this worker lives; False when it is not on the list (any more)."""
    number = await connection.fetchval(Q["seen"], instance)
    if number is not None:
        # Held twice by the connection that has it already, which does no harm; taken anew by a new connection.
        await connection.fetchval(Q["hold_lock"], number)
    return number is not None


async def bury(connection: asyncpg.Connection[Any], instances: Collection[str]) -> list[int]:
    """As `dismiss`, and ends their connections: a process that stopped in the middle of sending rows holds its locks.

    The server waits for the rest of such a statement for ever; no limit on idle transactions ends it.
    """
    freed = await dismiss(connection, instances)
    if instances:
        await connection.fetchval(Q["end_connections"], list(instances))
    return freed


async def dismiss(connection: asyncpg.Connection[Any], instances: Collection[str]) -> list[int]:
    """Strikes them off the list; the slots that became free."""
    return list(await connection.fetchval(Q["dismiss"], list(instances)))


async def claim(connection: asyncpg.Connection[Any], instance: str, slots: Sequence[int]) -> dict[int, int]:
    """slot → epoch of what could be had. After it, nothing that a former owner wrote can still be committed."""
    return {row["partition"]: row["epoch"] for row in await connection.fetch(Q["claim"], instance, list(slots))}


async def release(connection: asyncpg.Connection[Any], instance: str, slots: Collection[int]) -> None:
    await connection.execute(Q["release"], instance, list(slots))


async def forget_former(connection: asyncpg.Connection[Any], client_id: str) -> None:
    await connection.execute(Q["forget_former_session"], client_id)
