"""Silences, caps, answers from home, and the counts of what was held back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from services.api.store import Q
from services.api.store.database import Connection

Row = Mapping[str, Any]


async def insert_silence(connection: Connection, *values: Any) -> Row:
    """Community, sort, matcher, place, from, to, recurs, why, by whom."""
    row: Row = await connection.fetchrow(Q["insert_silence"], *values)
    return row


async def silence(connection: Connection, silence_id: UUID) -> Row | None:
    row: Row | None = await connection.fetchrow(Q["silence_by_id"], silence_id)
    return row


async def silences(connection: Connection, community_id: str, now: datetime, *, open_only: bool) -> list[Row]:
    """Newest first; open are those that hold now or will."""
    if open_only:
        return list(await connection.fetch(Q["silences_open"], community_id, now))
    return list(await connection.fetch(Q["silences_all"], community_id))


async def end_silence(connection: Connection, silence_id: UUID, now: datetime, by: str) -> Row | None:
    """None where it is over already."""
    row: Row | None = await connection.fetchrow(Q["end_silence"], silence_id, now, by)
    return row


async def matchable(connection: Connection, community_id: str) -> list[Row]:
    """Open alerts, the newest 5,000, with everything a matcher looks at."""
    return list(await connection.fetch(Q["matchable_alerts"], community_id))


async def caps(connection: Connection, community_id: str) -> Row:
    row: Row = await connection.fetchrow(Q["caps"], community_id)
    return row


async def set_caps(connection: Connection, community_id: str, values: dict[str, int]) -> None:
    await connection.execute(Q["set_caps"], community_id, values)


async def askable(connection: Connection, alert_id: UUID) -> Row | None:
    row: Row | None = await connection.fetchrow(Q["askable_alert"], alert_id)
    return row


async def insert_answer(connection: Connection, alert: Row, ok: bool, note: str, by: str) -> None:
    await connection.execute(Q["insert_answer"], alert["id"], alert["partition"], ok, note, by)


async def person(connection: Connection, person_id: str) -> Row | None:
    row: Row | None = await connection.fetchrow(Q["person_at_home"], person_id)
    return row


async def set_away(connection: Connection, person_id: str, until: datetime | None) -> None:
    await connection.execute(Q["set_away"], person_id, until)


async def counts(connection: Connection, community_id: str, since: datetime) -> dict[str, Any]:
    """Of alerts since then: how many of what, what is held now and what never went out, each by reason as stored."""
    row = await connection.fetchrow(Q["alert_counts"], community_id, since)
    held = await connection.fetch(Q["held_now"], community_id)
    over = await connection.fetch(Q["suppressed_since"], community_id, since)
    return {
        **dict(row),
        "orders": await connection.fetchval(Q["orders_today"], community_id, since),
        "suppressed": await connection.fetchval(Q["suppressed_count"], community_id, since),
        "held": await connection.fetchval(Q["held_count"], community_id),
        "held_now": {found["reason"]: found["n"] for found in held},
        "suppressed_by": {found["reason"]: found["n"] for found in over},
    }
