"""Which class an order is of in its community, and so its terms; the classes of a community by version."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg
import structlog
from prometheus_client import Counter

from services.adapters.orders.class_files import load_defaults, parsed
from services.adapters.queries import Queries
from services.domain.orders.classes import Case, Classes
from services.domain.orders.terms import Terms

log = structlog.get_logger(__name__)
Q = Queries.beside(__file__)
UNREADABLE = Counter(
    "linhub_order_classes_unreadable_total",
    "Orders opened by an older version of their classes: the newest is unreadable",
)


class VersionMoved(Exception):
    """Somebody wrote a version meanwhile; `current` is the newest."""

    def __init__(self, current: int) -> None:
        super().__init__(f"the newest version is {current}")
        self.current = current


@dataclass(frozen=True, slots=True)
class InForce:
    """What counts in a community at one time. Version 0: the defaults; `scale` below 1: a drill, until `until`."""

    version: int
    timezone: str
    scale: float = 1.0
    until: datetime | None = None
    digest: UUID | None = None


@dataclass(frozen=True, slots=True)
class Version:
    version: int
    document: str
    scale: float | None
    until: datetime | None
    created_at: datetime
    created_by: str
    note: str


async def in_force(connection: asyncpg.Connection[Any], community_id: str, now: datetime | None = None) -> InForce:
    """`now` None: the database's. A community that nobody registered has the defaults."""
    row = await connection.fetchrow(Q["class_in_force"], community_id, now)
    if row is None:
        return InForce(0, "Asia/Shanghai")
    return InForce(row["version"] or 0, row["timezone"], row["scale"] or 1.0, row["until"], row["digest"])


async def terms_for(connection: asyncpg.Connection[Any], case: Case, now: datetime | None = None) -> Terms:
    """The terms of the class that the order falls into, in what counts in its community now.

    Whatever is wrong with a stored text, an order gets its clocks: from the last version that can be read, else from
    the defaults; each time it is said.
    """
    found = await in_force(connection, case.community_id, now)
    version, classes = await _readable(connection, case.community_id, found)
    terms = classes.terms(case, version, found.timezone)
    return terms if found.scale >= 1 else terms.scaled(found.scale)


async def classes_of(
    connection: asyncpg.Connection[Any], community_id: str, now: datetime | None = None
) -> tuple[InForce, Classes]:
    """What counts now; its version is that of the text that could be read."""
    found = await in_force(connection, community_id, now)
    version, classes = await _readable(connection, community_id, found)
    return replace(found, version=version), classes


_kept: dict[UUID, Classes] = {}
"""Texts that were read, by their digest. One that is unreadable is looked at, and told of, every time."""
_MOST_KEPT = 1024


async def _readable(connection: asyncpg.Connection[Any], community_id: str, found: InForce) -> tuple[int, Classes]:
    if found.digest is None:
        return 0, load_defaults()
    kept = _kept.get(found.digest)
    if kept is not None:
        return found.version, kept
    for row in await connection.fetch(Q["class_documents"], community_id, found.version):
        try:
            classes = parsed(row["document"])
        except Exception as error:
            # Not only what is known to be wrong: no text that somebody stored keeps an order from being opened.
            UNREADABLE.inc()
            log.error("order_classes_unreadable", community=community_id, version=row["version"], why=str(error))
            continue
        if row["version"] == found.version:
            if len(_kept) >= _MOST_KEPT:
                _kept.clear()
            _kept[found.digest] = classes
        return row["version"], classes
    log.error("order_classes_defaults_stand_in", community=community_id, version=found.version)
    return 0, load_defaults()


async def newest(connection: asyncpg.Connection[Any], community_id: str) -> int:
    """The highest version, whether it counts or not; 0: there is none."""
    return int(await connection.fetchval(Q["class_newest"], community_id))


async def write_version(
    connection: asyncpg.Connection[Any],
    community_id: str,
    document: str,
    author: str,
    note: str = "",
    *,
    expected: int | None = None,
    scale: float | None = None,
    until: datetime | None = None,
) -> int:
    """The next version; its number. Raises VersionMoved where `expected` is not the newest.

    In the caller's transaction; two who write at once are put in a row.
    """
    await connection.execute(Q["lock_classes"], community_id)
    current = await newest(connection, community_id)
    if expected is not None and expected != current:
        raise VersionMoved(current)
    await connection.execute(Q["insert_classes"], community_id, current + 1, document, scale, until, author, note)
    return current + 1


async def versions(
    connection: asyncpg.Connection[Any], community_id: str, below: int | None = None, limit: int = 50
) -> list[Version]:
    """The newest first; `below`: only those older than that."""
    rows = await connection.fetch(Q["class_versions"], community_id, below, limit)
    return [Version(**dict(row)) for row in rows]


async def standing_document(connection: asyncpg.Connection[Any], community_id: str) -> str:
    """The text that counts while there is no drill; empty: the defaults."""
    return str(await connection.fetchval(Q["class_standing"], community_id) or "")


async def document_of(connection: asyncpg.Connection[Any], community_id: str, version: int) -> str:
    """The text of this version; empty: the defaults."""
    return str(await connection.fetchval(Q["class_document"], community_id, version) or "")
