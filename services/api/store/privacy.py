"""Elders with the latest of what is known of them; consents, emergency access and whose health data was read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from services.adapters.queries import Queries
from services.api.store.database import Connection
from services.domain.registry import ELDER_LIVING_ALONE

Q = Queries(Path(__file__).with_name("privacy.sql"))
Row = Mapping[str, Any]

HOME_KINDS = ("door_magnet", "water_meter", "sos_button")
"""Devices of a home that tell whether somebody lives in it as ever; the wristband is the person's own."""


async def in_emergency(connection: Connection, person_id: str, account_id: str) -> bool:
    """Whether the account has stated an emergency about this person that is not over."""
    found: bool = await connection.fetchval(Q["in_emergency"], person_id, account_id)
    return found


async def opened_by_emergency(connection: Connection, account_id: str) -> frozenset[str]:
    return frozenset(row["person_id"] for row in await connection.fetch(Q["opened_by_emergency"], account_id))


async def consents_of(connection: Connection, community_id: str) -> dict[int, tuple[int, datetime | None]]:
    """What may be shown now of each device that somebody wears, and since when they do; None: nobody did before."""
    rows = await connection.fetch(Q["consents_of"], community_id)
    return {row["device_no"]: (row["consents"], row["worn_since"]) for row in rows}


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


async def elder(connection: Connection, person_id: str) -> Row | None:
    row: Row | None = await connection.fetchrow(Q["elder"], person_id)
    return row


async def timeline(
    connection: Connection, community_id: str, devices: Sequence[int], since: datetime
) -> dict[str, list[Row]]:
    """`events`, `alerts` and `answers` since then, newest first."""
    return {
        name: list(await connection.fetch(Q[f"life_{name}"], devices, since, community_id))
        for name in ("events", "alerts", "answers")
    }


async def visits(connection: Connection, devices: Sequence[int]) -> list[Row]:
    return list(await connection.fetch(Q["visits"], devices))


async def contacts(connection: Connection, person_id: str) -> list[Row]:
    """With their whole numbers: for whoever has to call."""
    return list(await connection.fetch(Q["contacts_whole"], person_id))


async def half_hours(
    connection: Connection, community_id: str, device_no: int, position: int, start: datetime, end: datetime
) -> list[tuple[datetime, float]]:
    rows = await connection.fetch(Q["half_hours"], device_no, start, end, position + 1, community_id)
    return [(row["bucket"], row["value"]) for row in rows]
