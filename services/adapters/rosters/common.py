"""What the parts of the roster's store share: its statements, its refusals, and shifts to and from rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

import asyncpg

from services.adapters.queries import Queries
from services.domain.ids import CommunityId
from services.domain.rosters import Post, Shift
from services.domain.vocabulary import Label, Team

Q = Queries.beside(__file__)
Connection: TypeAlias = "asyncpg.Connection[Any] | asyncpg.pool.PoolConnectionProxy[Any]"
Row: TypeAlias = Mapping[str, Any]


class RosterRefused(Exception):
    """What was asked cannot be; `reason` says why in both languages."""

    def __init__(self, reason: Label) -> None:
        super().__init__(reason.en)
        self.reason = reason


class RosterConflict(Exception):
    """Somebody changed it meanwhile; `version` is the one that stands."""

    def __init__(self, version: int) -> None:
        super().__init__(f"version {version} stands")
        self.version = version


async def lock(connection: Connection, community_id: str) -> None:
    """One change of a community's roster at a time; first in its transaction."""
    await connection.execute(Q["lock_roster"], community_id)


async def zone_of(connection: Connection, community_id: str) -> ZoneInfo:
    return ZoneInfo(await connection.fetchval(Q["zone"], community_id))


def shift_of(row: Row) -> Shift:
    return Shift(
        id=row["id"],
        community_id=CommunityId(row["community_id"]),
        team=Team(row["team"]),
        user_id=row["user_id"],
        starts_at=row["starts_at"],
        ends_at=row["ends_at"],
        post=Post(row["post"]),
        name=row["name"],
        pattern_id=row["pattern_id"],
        version=row["version"],
        stands_in_for=row["stands_in_for"],
        replaces=row["replaces"],
    )


async def insert_shifts(
    connection: Connection, shifts: Sequence[Shift], by: str, now: datetime, why: str = ""
) -> list[Any]:
    """The ids of those that were not there before. Raises RosterRefused where somebody would stand twice at once."""
    if not shifts:
        return []
    records = [
        {
            "id": str(one.id),
            "community_id": one.community_id,
            "team": one.team.value,
            "user_id": one.user_id,
            "starts_at": one.starts_at.isoformat(),
            "ends_at": one.ends_at.isoformat(),
            "post": one.post.value,
            "name": one.name,
            "pattern_id": one.pattern_id,
            "version": one.version,
            "stands_in_for": one.stands_in_for,
            "replaces": str(one.replaces) if one.replaces else None,
        }
        for one in shifts
    ]
    try:
        async with connection.transaction():
            rows = await connection.fetch(Q["insert_shifts"], json.dumps(records, ensure_ascii=False), by, now, why)
    except (asyncpg.ExclusionViolationError, asyncpg.DeadlockDetectedError):
        # Two who put the same person on duty in the same instant, in two communities, wait for each other.
        raise RosterRefused(
            Label("同一人不能同时值两个班", "nobody can stand two shifts at once, in whatever team or community")
        ) from None
    return [row["id"] for row in rows]


def json_of(value: Any) -> Any:
    """A jsonb column as a service's connection gives it, or as a bare one does."""
    return json.loads(value) if isinstance(value, str) else value
