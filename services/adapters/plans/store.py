"""A community's plans by version: written by one, approved by another, never edited in place."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import asyncpg

from services.adapters.plans.around import Q


class VersionMoved(Exception):
    """Somebody wrote a version meanwhile; `current` is the newest."""

    def __init__(self, current: int) -> None:
        super().__init__(f"the newest version is {current}")
        self.current = current


class NotApproved(Exception):
    """The version cannot be approved; the text says why in both languages."""


@dataclass(frozen=True, slots=True)
class Version:
    version: int
    mode: str
    document: str
    created_by: str
    approved_by: str | None


async def write_version(
    connection: asyncpg.Connection[Any],
    community_id: str,
    plan_id: str,
    mode: str,
    document: str,
    author: str,
    note: str = "",
    *,
    expected: int | None = None,
) -> int:
    """The next version, waiting for approval; its number. Raises VersionMoved where `expected` is not the newest.

    In the caller's transaction; two who write at once are put in a row.
    """
    await connection.execute(Q["lock_plan"], community_id, plan_id)
    row = await connection.fetchrow(Q["latest_version"], community_id, plan_id)
    newest = row["version"] if row is not None else 0
    if expected is not None and expected != newest:
        raise VersionMoved(newest)
    await connection.execute(Q["insert_version"], community_id, plan_id, newest + 1, mode, document, author, note)
    return int(newest + 1)


async def approve(
    connection: asyncpg.Connection[Any], community_id: str, plan_id: str, version: int, by: str, note: str = ""
) -> Version:
    """Puts the version in force. Again by the same person changes nothing. Raises NotApproved, VersionMoved."""
    await connection.execute(Q["lock_plan"], community_id, plan_id)
    row = await connection.fetchrow(Q["latest_version"], community_id, plan_id)
    newest = row["version"] if row is not None else 0
    if newest != version:
        raise VersionMoved(newest)
    found = await fetch_version(connection, community_id, plan_id, version)
    if found is None or found.mode == "removed":
        raise NotApproved("没有可批准的版本 · there is nothing to approve")
    if found.approved_by is not None:
        if found.approved_by == by:
            return found
        raise NotApproved("该版本已批准 · this version is approved already")
    if found.created_by == by:
        raise NotApproved("预案须由编写人以外的人批准 · a plan is approved by another than its author")
    await connection.execute(Q["insert_approval"], community_id, plan_id, version, by, note)
    return Version(found.version, found.mode, found.document, found.created_by, by)


async def fetch_version(
    connection: asyncpg.Connection[Any], community_id: str, plan_id: str, version: int
) -> Version | None:
    row = await connection.fetchrow(Q["fetch_version"], community_id, plan_id, version)
    return Version(**dict(row)) if row is not None else None


async def newest_versions(
    connection: asyncpg.Connection[Any], community_id: str, plan_id: str | None = None
) -> list[asyncpg.Record]:
    """The newest version of each plan, with the one in force beside it (`live_*`, NULL where none is)."""
    return list(await connection.fetch(Q["newest_versions"], community_id, plan_id))


async def take_over_defaults(
    connection: asyncpg.Connection[Any], community_id: str, author: str, approver: str, documents: dict[str, str]
) -> int:
    """Default plans that the community has nothing of yet, written and approved by two named accounts; how many."""
    taken = 0
    for plan_id, document in documents.items():
        if await connection.fetchrow(Q["latest_version"], community_id, plan_id) is not None:
            continue
        number = await write_version(connection, community_id, plan_id, "live", document, author, "LinHub")
        await approve(connection, community_id, plan_id, number, approver, "LinHub")
        taken += 1
    return taken
