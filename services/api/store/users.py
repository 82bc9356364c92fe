"""Accounts as the API needs them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from services.api.store import Q
from services.api.store.database import Connection
from services.domain.access import Principal
from services.domain.vocabulary import Role, Team


@dataclass(frozen=True, slots=True)
class Account:
    principal: Principal
    password_hash: str
    disabled: bool
    must_change: bool = False
    """Has a one-time password: may do nothing but choose one of their own."""
    password_until: datetime | None = None
    """When a one-time password ends."""


_SECRETS: dict[str, Any] = {"password_hash": "", "must_change": False, "password_until": None}
"""What a tenant is not shown of an account."""


def account_of(row: Mapping[str, Any]) -> Account:
    return Account(
        principal=Principal(
            id=row["id"],
            username=row["username"],
            display_name=row["display_name"],
            role=Role(row["role"]),
            team=Team(row["team"]) if row["team"] else None,
            community_id=row["community_id"],
            street_id=row["street_id"],
            grid_id=row["grid_id"],
            household_id=row["household_id"],
            leads=row["leads"],
        ),
        password_hash=row["password_hash"],
        disabled=row["disabled"],
        must_change=row["must_change"],
        password_until=row["password_until"],
    )


async def by_username(connection: Connection, username: str) -> Account | None:
    row = await connection.fetchrow(Q["user_by_username"], username)
    return account_of(row) if row else None


async def by_ids(connection: Connection, ids: Sequence[str]) -> dict[str, Account]:
    return {row["id"]: account_of(row) for row in await connection.fetch(Q["users_by_ids"], list(ids))}


async def enabled(connection: Connection, user_id: str) -> Principal | None:
    """Who may be given work; asked within a tenant's scope, which shows no password's hash."""
    row = await connection.fetchrow(Q["workers_by_ids"], [user_id])
    return None if row is None or row["disabled"] else account_of({**row, **_SECRETS}).principal
