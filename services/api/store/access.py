"""Keys, clients, screens and their pairing, and the audit trail as it is read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from services.adapters.queries import Queries
from services.api.store.database import Connection

S = Queries(Path(__file__).with_name("access.sql"))
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NewKey:
    id: str
    user_id: str
    community_id: str | None
    sort: str
    name: str
    secret_hash: bytes
    scopes: Sequence[str]
    addresses: Sequence[Any]
    """Networks of `ipaddress`."""
    per_minute: int
    created_by: str
    expires_at: datetime
    rotated_from: str | None = None


@dataclass(frozen=True, slots=True)
class Reach:
    """What the asker's scope lets them see; both None: everything."""

    community_id: str | None
    street_id: str | None


@dataclass(frozen=True, slots=True)
class AuditFilter:
    actor: str | None = None
    action: str | None = None
    """Beginning of the action."""
    subject: str | None = None
    """Beginning of the subject."""
    since: datetime | None = None
    until: datetime | None = None
    by_name: bool = False
    """Whether `actor` may be a user name or a name, and not an id alone."""


# -- what comes with a request --------------------------------------------------------------------------------------


async def keys_with_accounts(connection: Connection, ids: Sequence[str]) -> dict[str, Row]:
    return {row["key_id"]: row for row in await connection.fetch(S["key_with_account"], list(ids))}


async def displays_with_accounts(connection: Connection, ids: Sequence[UUID]) -> dict[UUID, Row]:
    return {row["display_id"]: row for row in await connection.fetch(S["display_with_account"], list(ids))}


async def key_used(connection: Connection, ids: Sequence[str]) -> None:
    await connection.execute(S["key_used"], list(ids))


async def display_seen(connection: Connection, ids: Sequence[UUID], idle: timedelta, address: str | None) -> None:
    """Also moves the end on: a screen in use never runs out."""
    await connection.execute(S["display_seen"], list(ids), idle, address)


# -- accounts of programs, and their keys ---------------------------------------------------------------------------


async def insert_service(
    connection: Connection, id: str, name: str, role: str, community_id: str | None, street_id: str | None
) -> None:
    """Nothing where it is there already."""
    await connection.execute(S["service_insert"], id, name, role, community_id, street_id)


async def street_is_there(connection: Connection, id: str) -> bool:
    return bool(await connection.fetchval(S["street_is_there"], id))


async def services(
    connection: Connection, reach: Reach, *, id: str | None = None, after: tuple[datetime, str] | None, limit: int
) -> list[Row]:
    at, last = after or (None, None)
    rows: list[Row] = await connection.fetch(
        S["service_accounts"], id, reach.community_id, reach.street_id, at, last, limit
    )
    return rows


async def switch_service(connection: Connection, id: str, *, disabled: bool) -> None:
    await connection.execute(S["service_switch"], id, disabled)


async def insert_key(connection: Connection, key: NewKey) -> None:
    await connection.execute(
        S["key_insert"],
        key.id,
        key.user_id,
        key.community_id,
        key.sort,
        key.name,
        key.secret_hash,
        list(key.scopes),
        list(key.addresses),
        key.per_minute,
        key.created_by,
        key.expires_at,
        key.rotated_from,
    )


async def keys(
    connection: Connection,
    reach: Reach,
    *,
    id: str | None = None,
    user_id: str | None = None,
    ended: bool = True,
    after: tuple[datetime, str] | None = None,
    limit: int = 1,
) -> list[Row]:
    at, last = after or (None, None)
    rows: list[Row] = await connection.fetch(
        S["keys"], id, reach.community_id, reach.street_id, user_id, ended, at, last, limit
    )
    return rows


async def lock_key(connection: Connection, id: str) -> Row | None:
    row: Row | None = await connection.fetchrow(S["key_lock"], id)
    return row


async def shorten_key(connection: Connection, id: str, until: datetime) -> None:
    await connection.execute(S["key_shorten"], id, until)


async def revoke_key(connection: Connection, id: str, user_id: str, by: str) -> bool:
    """Whether it was alive until now. Of a client, its sessions end with it."""
    done: str = await connection.execute(S["key_revoke"], id, by)
    await connection.execute(S["client_sessions_end"], id, by, user_id)
    return done.endswith(" 1")


# -- screens --------------------------------------------------------------------------------------------------------


async def open_pairings(connection: Connection, network: str | None) -> tuple[int, int]:
    """Codes that screens show now, of a network and of all. Forgets what is long over."""
    await connection.execute(S["pairing_forget"])
    row = await connection.fetchrow(S["pairings_open"], network)
    return row["of_network"], row["of_all"]


async def insert_pairing(
    connection: Connection, id: UUID, code: str, secret_hash: bytes, address: str | None, lasts: timedelta
) -> datetime | None:
    """Until when it is good; None where the code is taken."""
    until: datetime | None = await connection.fetchval(S["pairing_insert"], id, code, secret_hash, address, lasts)
    return until


async def pairing(connection: Connection, id: UUID) -> Row | None:
    row: Row | None = await connection.fetchrow(S["pairing"], id)
    return row


async def pairing_by_code(connection: Connection, code: str) -> Row | None:
    """One that is not over, locked."""
    row: Row | None = await connection.fetchrow(S["pairing_by_code"], code)
    return row


async def take_pairing(connection: Connection, id: UUID, display_id: UUID) -> None:
    await connection.execute(S["pairing_take"], id, display_id)


async def insert_display(
    connection: Connection, id: UUID, community_id: str, user_id: str, name: str, place: str, by: str, idle: timedelta
) -> None:
    await connection.execute(S["display_insert"], id, community_id, user_id, name, place, by, idle)


async def give_display_secret(connection: Connection, id: UUID, secret_hash: bytes, address: str | None) -> bool:
    """False where it was revoked before it ever came."""
    return await connection.fetchval(S["display_secret"], id, secret_hash, address) is not None


async def displays(
    connection: Connection, community_id: str, *, revoked: bool, after: tuple[datetime, UUID] | None, limit: int
) -> list[Row]:
    at, last = after or (None, None)
    rows: list[Row] = await connection.fetch(S["displays"], community_id, revoked, at, last, limit)
    return rows


async def display(connection: Connection, id: UUID) -> Row | None:
    row: Row | None = await connection.fetchrow(S["display"], id)
    return row


async def rename_display(connection: Connection, id: UUID, name: str, place: str, version: int) -> bool:
    """False where it is at another version by now, or revoked."""
    if await connection.fetchval(S["display_rename"], id, name, place, version) is None:
        return False
    await connection.execute(S["display_account_name"], id, name)
    return True


async def revoke_display(connection: Connection, id: UUID, by: str) -> bool:
    done: str = await connection.execute(S["display_revoke"], id, by)
    return done.endswith(" 1")


async def display_build(
    connection: Connection, id: UUID, build: str, idle: timedelta, address: str | None
) -> datetime | None:
    until: datetime | None = await connection.fetchval(S["display_build"], id, build, idle, address)
    return until


# -- the trail ------------------------------------------------------------------------------------------------------


async def audit_page(
    connection: Connection, reach: Reach, wanted: AuditFilter, *, before: int | None, limit: int
) -> list[Row]:
    rows: list[Row] = await connection.fetch(
        S["audit_page"],
        reach.community_id,
        reach.street_id,
        wanted.actor,
        wanted.action,
        wanted.subject,
        wanted.since,
        wanted.until,
        before,
        limit,
        wanted.by_name,
    )
    return rows
