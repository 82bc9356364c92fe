"""Which gateways and channels of notices lead where the door does not let them: before an upgrade, after a failure."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import asyncpg

from services.adapters.notices.carrier import endpoint, gateway_address
from services.adapters.notices.door import Door
from services.adapters.outward import Allowed, Refused, Resolve, look_up, system_resolve
from services.adapters.queries import Queries

Q = Queries(Path(__file__).with_name("notices.sql"))
_LOOK_UP_S = 5.0
_NEVER = frozenset({"metadata", "this host", "multicast", "6to4", "Teredo"})


@dataclass(frozen=True, slots=True)
class Finding:
    """`why` None: it may be used. `networks`: what would have to be listed for it. Nothing of the address is in it."""

    community: str
    sort: str
    shown: str
    why: str | None
    networks: tuple[str, ...] = ()


async def checked(database: str, networks: str, resolve: Resolve = system_resolve) -> list[Finding]:
    """Every gateway and every channel of somebody's own host. Raises ValueError for what are no networks."""
    door = Door(Allowed.of(networks.split(","), ()), resolve)
    connection = await asyncpg.connect(database)
    try:
        rows = await connection.fetch(Q["addresses"])
    finally:
        await connection.close()
    return [await _finding(door, row) for row in rows]


async def _finding(door: Door, row: Any) -> Finding:
    address = gateway_address(row["address"], "10086")
    known: tuple[str, int] | None = await asyncio.to_thread(endpoint, address)

    def found(why: str | None, networks: Sequence[str] = ()) -> Finding:
        return Finding(row["community"] or "", row["sort"], row["shown"], why, tuple(networks))

    if known is None:
        return found("no such address")
    host, port = known
    if not host:
        return found(None)
    errand = door.errand(address, _LOOK_UP_S)
    try:
        async with asyncio.timeout(_LOOK_UP_S):
            there = await door.resolve(host, port)
            await look_up(host, port, errand.allowed, door.resolve, plain=errand.plain)
    except Refused as why:
        # Listing that would let a message read the credentials of this machine: whoever means it lists it by hand.
        mine = [] if str(why) in _NEVER else [f"{one}/{ip_address(one).max_prefixlen}" for one in there]
        return found(str(why), mine)
    except (OSError, TimeoutError):
        return found("name not found")
    return found(None)
