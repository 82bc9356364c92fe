"""Elders with the latest of what is known of them; consents, emergency access and whose health data was read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from services.adapters.queries import Queries
from services.api.database import Connection
from services.domain.registry import ELDER_LIVING_ALONE

Q = Queries(Path(__file__).with_name("privacy.sql"))
Row = Mapping[str, Any]

HOME_KINDS = ("door_magnet", "water_meter", "sos_button")
"""Devices of a home that tell whether somebody lives in it as ever; the wristband is the person's own."""


async def in_emergency(connection: Connection, person_id: str, account_id: str) -> bool:
    """Whether the account has stated an emergency about this person that is not over."""
    found: bool = await connection.fetchval(Q["in_emergency"], person_id, account_id)
    return found


async def elders(connection: Connection, community_id: str, grid_id: str | None) -> list[Row]:
    """Who lives alone, and who wears a device; by id. `grid_id` None: everywhere."""
    return list(await connection.fetch(Q["elders"], community_id, ELDER_LIVING_ALONE, grid_id))


async def elder_devices(
    connection: Connection, community_id: str, people: Sequence[str], homes: Sequence[str]
) -> list[Row]:
    """What they wear and what is in their homes, with the latest state; never from history."""
    return list(await connection.fetch(Q["elder_devices"], community_id, people, homes, HOME_KINDS))


async def elder_alerts(connection: Connection, devices: Sequence[int]) -> list[Row]:
    return list(await connection.fetch(Q["elder_alerts"], devices))


async def baselines(connection: Connection, devices: Sequence[int]) -> list[Row]:
    return list(await connection.fetch(Q["baselines"], devices))
