"""Sessions and failures as rows; the statements stand in `queries.sql`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from services.adapters.queries import Queries
from services.api.store.database import Connection
from services.api.store.users import Account, account_of
from services.domain.access import Permission

Q = Queries.beside(__file__)
Row = Mapping[str, Any]
Sort = Literal["browser", "token", "oidc", "client", "display"]


@dataclass(frozen=True, slots=True)
class SessionRow:
    """A session with its account as both are now."""

    id: str
    account: Account
    limits: frozenset[Permission] | None
    password_mark: str | None
    expires_at: datetime
    stands: bool
    unheard: bool
    """Its last use is so long ago that it should be written down again."""
    used: int


@dataclass(frozen=True, slots=True)
class Renewal:
    """What decides about a refresh token: the session, locked."""

    session: SessionRow
    refresh_hash: bytes | None
    previous_hash: bytes | None
    generation: int
    just_rotated: bool


@dataclass(frozen=True, slots=True)
class Opening:
    """A session to be."""

    id: str
    sort: Sort
    address: str
    network: str
    agent: str
    label: str
    limits: frozenset[Permission] | None
    password_mark: str | None
    idle_s: float
    most_s: float
    refresh_hash: bytes | None


def _session(row: Row) -> SessionRow:
    limits = row["limits"]
    known = set(Permission)
    return SessionRow(
        id=row["session_id"],
        account=account_of(row),
        # A permission that this version no longer knows grants nothing.
        limits=None if limits is None else frozenset(Permission(one) for one in limits if one in known),
        password_mark=row["password_mark"],
        expires_at=row["expires_at"],
        stands=row["stands"],
        unheard=row["unheard"],
        used=row["used"],
    )


async def sessions(connection: Connection, ids: Sequence[str]) -> dict[str, SessionRow]:
    rows = await connection.fetch(Q["sessions_by_ids"], list(ids))
    return {row["session_id"]: _session(row) for row in rows}


async def renewal(connection: Connection, session_id: str, grace_s: float) -> Renewal | None:
    row = await connection.fetchrow(Q["session_locked"], session_id, grace_s)
    if row is None:
        return None
    return Renewal(
        _session(row), row["refresh_hash"], row["previous_hash"], row["generation"], bool(row["just_rotated"])
    )


async def insert_session(connection: Connection, user_id: str, new: Opening) -> datetime:
    """Its absolute end."""
    limits = None if new.limits is None else sorted(new.limits)
    expires_at: datetime = await connection.fetchval(
        Q["session_insert"], new.id, user_id, new.sort, new.address, new.network, new.agent, new.label, limits,
        new.password_mark, new.idle_s, new.most_s, new.refresh_hash,
    )  # fmt: skip
    return expires_at


async def rotate(connection: Connection, session_id: str, refresh_hash: bytes, previous_hash: bytes) -> int:
    """The new generation."""
    generation: int = await connection.fetchval(Q["session_rotate"], session_id, refresh_hash, previous_hash)
    return generation


async def heard(connection: Connection, ids: Sequence[str]) -> None:
    await connection.execute(Q["sessions_heard"], list(ids))


async def used(connection: Connection, session_id: str, generation: int) -> None:
    await connection.execute(Q["session_used"], session_id, generation)


async def end(connection: Connection, session_id: str, by: str, why: str) -> bool:
    """Whether it stood until now."""
    return await connection.fetchval(Q["session_end"], session_id, by, why) is not None


async def end_all(connection: Connection, user_id: str, by: str, why: str, *, save: str = "") -> list[str]:
    """The ids of those that stood until now; `save`: the one that lives on."""
    return [row["id"] for row in await connection.fetch(Q["sessions_end_of"], user_id, by, why, save)]
