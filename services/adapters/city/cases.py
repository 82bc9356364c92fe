"""Cases of city platforms as rows: whose each is, in which order it is worked on, which photos it was given."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias
from uuid import UUID

from services.adapters.city.reading import Connection
from services.adapters.queries import Queries
from services.domain.city.cases import ENDS, CaseState, System, orders_in

Q = Queries(Path(__file__).with_name("cases.sql"))
Row: TypeAlias = Mapping[str, Any]
_ENDS = sorted(state.value for state in ENDS)


@dataclass(frozen=True, slots=True)
class NewCase:
    order_id: UUID
    community_id: str
    account_id: str
    external_id: str
    system: System
    digest: str
    opened_at: datetime
    due_at: datetime | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which cases; what is None holds nothing back. `late_at`: those that are late at this moment, or ended late."""

    id: UUID | None = None
    account_id: str | None = None
    external_id: str | None = None
    state: CaseState | None = None
    community_id: str | None = None
    over: bool | None = None
    late_at: datetime | None = None


async def insert(connection: Connection, new: NewCase) -> None:
    """After its order. Raises UniqueViolationError where the account has a case of that id."""
    await connection.execute(
        Q["insert"], new.order_id, new.community_id, new.account_id, new.external_id, new.system.value, new.digest,
        new.opened_at, new.due_at,
    )  # fmt: skip


async def find(
    connection: Connection, by: Wanted, after: tuple[datetime, UUID] | None = None, limit: int = 1
) -> list[Row]:
    """Newest first. Withdrawn and joined ones are found under those words, whatever became of their orders."""
    states: list[str] | None = None
    withdrawn: bool | None = None
    joined: bool | None = None
    match by.state:
        case None:
            pass
        case CaseState.WITHDRAWN:
            withdrawn = True
        case CaseState.JOINED:
            withdrawn, joined = False, True
        case state:
            states, withdrawn = sorted(one.value for one in orders_in(state)), False
    at, last = after or (None, None)
    rows: list[Row] = await connection.fetch(
        Q["cases"], by.id, by.account_id, by.external_id, states, withdrawn, joined, at, last, limit,
        by.community_id, by.over, _ENDS, by.late_at,
    )  # fmt: skip
    return rows


async def worked_on_in(connection: Connection, order_id: UUID) -> list[UUID]:
    """Ids of the cases that are worked on in an order."""
    return [row["id"] for row in await connection.fetch(Q["worked_on_in"], order_id)]


async def standing_in(connection: Connection, order_id: UUID) -> Sequence[Row]:
    """What whoever works on the order has to know of the cases in it: whose they are, and their time limit."""
    rows: Sequence[Row] = await connection.fetch(Q["standing_in"], order_id)
    return rows


async def alone(connection: Connection, case_id: UUID) -> bool:
    """Whether its order would be nobody's if the case were not."""
    return bool(await connection.fetchval(Q["alone"], case_id))


async def withdraw(connection: Connection, case_id: UUID, at: datetime) -> None:
    await connection.execute(Q["withdraw"], case_id, at)


async def photos(connection: Connection, case_id: UUID, evidence_id: UUID | None = None) -> Sequence[Row]:
    """Rows of evidence that the case was given."""
    rows: list[Row] = await connection.fetch(Q["photos"], case_id, evidence_id)
    return rows


async def photo_of(connection: Connection, case_id: UUID, evidence_id: UUID) -> Row | None:
    row: Row | None = await connection.fetchrow(Q["photo_of"], case_id, evidence_id)
    return row


async def grant_photo(connection: Connection, case_id: UUID, evidence_id: UUID, at: datetime, by: str) -> bool:
    """Whether it is new."""
    return bool(await connection.execute(Q["grant_photo"], case_id, evidence_id, at, by) == "INSERT 0 1")


async def take_photo(connection: Connection, case_id: UUID, evidence_id: UUID) -> bool:
    """Whether it had been given."""
    return bool(await connection.execute(Q["take_photo"], case_id, evidence_id) == "DELETE 1")
