"""People of a community: rows of the registry, what they consent to, who looked at their health."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from services.adapters.queries import Queries
from services.api.store.database import Connection

Q = Queries.beside(__file__)
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class PeopleFilter:
    """What a list of people is narrowed to; None: by nothing. `born_upto`, `born_from`: years, both included."""

    moved_out: bool = False
    tags: list[str] | None = None
    building_id: str | None = None
    grid_id: str | None = None
    household_id: str | None = None
    born_upto: int | None = None
    born_from: int | None = None
    text: str | None = None


async def tag_counts(connection: Connection, community_id: str) -> dict[str, int]:
    return {row["tag"]: row["n"] for row in await connection.fetch(Q["tag_counts"], community_id)}


async def people(
    connection: Connection, community_id: str, by: PeopleFilter, *, after: str | None, limit: int | None
) -> list[Row]:
    """By id, after the id `after`; `limit` None: all."""
    rows: list[Row] = await connection.fetch(
        Q["people"], community_id, by.moved_out, by.tags, by.building_id, by.grid_id, by.household_id, by.born_upto,
        by.born_from, by.text, after, limit,
    )  # fmt: skip
    return rows


async def person(connection: Connection, person_id: str) -> Row | None:
    row: Row | None = await connection.fetchrow(Q["person"], person_id)
    return row


async def of_household(connection: Connection, household_id: str) -> list[Row]:
    return list(await connection.fetch(Q["of_household"], household_id))


async def lock(connection: Connection, person_id: str) -> int | None:
    """The version, held to the end of the transaction."""
    version: int | None = await connection.fetchval(Q["lock_person"], person_id)
    return version


async def consents(connection: Connection, person_id: str) -> list[Row]:
    """Newest first, the withdrawn among them."""
    return list(await connection.fetch(Q["consents"], person_id))


async def consent(connection: Connection, consent_id: UUID) -> Row | None:
    row: Row | None = await connection.fetchrow(Q["consent_by_id"], consent_id)
    return row


async def shared_with_family(connection: Connection, person_id: str) -> bool:
    found: bool = await connection.fetchval(Q["shared_with_family"], person_id)
    return found


async def health_reads(
    connection: Connection, community_id: str, person_id: str, before: int | None, limit: int
) -> list[Row]:
    """Newest first, `before` this audit row."""
    subjects = [row["subject"] for row in await connection.fetch(Q["subjects_of"], person_id)]
    return list(await connection.fetch(Q["health_reads"], community_id, person_id, subjects, before, limit))


async def watched_by(connection: Connection, community_id: str, now: datetime) -> list[str]:
    rows = await connection.fetch(Q["watched_by"], community_id, now - timedelta(days=30))
    return [row["by"] for row in rows]


async def emergencies(
    connection: Connection, community_id: str, person_id: str | None, after: tuple[datetime, UUID] | None, limit: int
) -> list[Row]:
    at, last = after or (None, None)
    return list(await connection.fetch(Q["emergencies"], community_id, person_id, at, last, limit))


async def known_people(connection: Connection, community_id: str, ids: Sequence[str]) -> list[Row]:
    """All of the community, the erased too, and whoever else has one of these ids."""
    return list(await connection.fetch(Q["all_people"], community_id, list(ids)))


async def homes(connection: Connection, community_id: str) -> list[Row]:
    return list(await connection.fetch(Q["homes"], community_id))
