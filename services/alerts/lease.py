"""Who evaluates which partition: leases with a growing epoch, so that a stale owner can no longer write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import asyncpg

from services.adapters.queries import Queries

Q = Queries.beside(__file__)


@dataclass(frozen=True, slots=True)
class Lease:
    """The right to write for one partition. `epoch` was given out once only."""

    partition: int
    owner: str
    epoch: int


class LeaseLost(Exception):
    """Another engine has taken the partition over; nothing of this transaction was written."""


async def hold(
    connection: asyncpg.Connection[Any], consumer: str, owner: str, partitions: Sequence[int], ttl_s: float
) -> dict[int, Lease]:
    """Renews what this owner has and takes what nobody has (or whose owner stopped renewing).

    Returns all leases this owner now holds. A partition whose epoch differs from before was lost in between.
    """
    async with connection.transaction():
        renewed = await connection.fetch(Q["renew_leases"], consumer, owner, ttl_s)
        held = {row["partition"] for row in renewed}
        wanted = [partition for partition in partitions if partition not in held]
        taken = await connection.fetch(Q["acquire_leases"], consumer, owner, wanted, ttl_s) if wanted else []
    return {row["partition"]: Lease(row["partition"], owner, row["epoch"]) for row in [*renewed, *taken]}


async def release(connection: asyncpg.Connection[Any], consumer: str, owner: str) -> None:
    """Lets go of everything at once, so that a standby need not wait for the leases to run out."""
    await connection.execute(Q["release_leases"], consumer, owner)
