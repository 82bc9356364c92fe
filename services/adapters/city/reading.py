"""Reads a subscription's events from the outbox: from any point, a window of numbers at a time, memory flat."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
import structlog
from pydantic import ValidationError

from services.adapters.city.municipal import cases
from services.adapters.queries import Queries
from services.domain.access import PERMISSIONS, Permission, city_wide
from services.domain.city import (
    CityEvent,
    DataClass,
    EventMark,
    Filter,
    Format,
    OutboxRow,
    SubscriptionState,
    Way,
    make,
)
from services.domain.city.envelope import about_health
from services.domain.people.privacy import Purpose, Shown
from services.domain.vocabulary import Role

log = structlog.get_logger(__name__)
Q = Queries.beside(__file__)
Connection: TypeAlias = "asyncpg.Connection[Any]"

WINDOW = 5_000
"""Numbers of the outbox that one statement looks at; what a read costs hangs on this, not on how far back it is."""
WINDOWS = 10
"""So many of them one read goes through where nothing fits."""
CITY_WIDE = [role.value for role in Role if city_wide(role)]
LISTENERS = [role.value for role in Role if Permission.CITY_EVENTS in PERMISSIONS.get(role, frozenset())]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a subscription is sent, as its account is at this moment. `communities`: none where it reaches none.

    `heard`: the account is not shut and its role may listen; where it may not, nothing is to be passed over either.
    """

    id: UUID
    account_id: str
    name: str
    way: Way
    url: str | None
    format: Format
    state: SubscriptionState
    mark: EventMark
    granted: frozenset[DataClass]
    filter: Filter
    communities: tuple[str, ...]
    heard: bool = True
    role: str = Role.PLATFORM.value

    @property
    def types(self) -> list[str]:
        return self.filter.types_for(self.granted)


@dataclass(frozen=True, slots=True)
class Page:
    """`cursor`: up to where everything was looked at. `more`: there is something behind it already.

    `lost`: numbers that were let go of before they were asked for, if the reader began before them.
    """

    rows: list[OutboxRow]
    cursor: int
    more: bool
    lost: tuple[int, int] | None = None


class AheadOfOutbox(Exception):
    """The cursor is one of another database, or of a time after this one was restored to. `head`: its newest row."""

    def __init__(self, head: int) -> None:
        super().__init__(f"the newest event is {head}")
        self.head = head


async def wanted(connection: Connection, subscription_id: UUID) -> Wanted | None:
    """None: there is no such subscription. An account that is shut, or may not listen, reaches nothing."""
    row = await connection.fetchrow(Q["reach"], subscription_id, CITY_WIDE)
    if row is None:
        return None
    heard = not row["disabled"] and row["role"] in LISTENERS
    return Wanted(
        id=row["id"],
        account_id=row["account_id"],
        name=row["name"],
        way=Way(row["way"]),
        url=row["url"],
        format=Format(row["format"]),
        state=SubscriptionState(row["state"]),
        mark=EventMark(row["mark"]),
        granted=frozenset(DataClass(one) for one in row["classes"]),
        filter=Filter(tuple(row["types"]), (), tuple(row["severities"]), tuple(row["kinds"])),
        communities=tuple(row["communities"]) if heard else (),
        heard=heard,
        role=row["role"],
    )


async def page(connection: Connection, asked: Wanted, after: int, limit: int, upto: int | None = None) -> Page:
    """The next events after a number, `upto` at most. Raises AheadOfOutbox."""
    bounds = await connection.fetchrow(Q["bounds"])
    head: int = bounds["head"]
    if after > head:
        raise AheadOfOutbox(head)
    oldest: int = bounds["oldest"] if bounds["oldest"] is not None else head + 1
    end = head if upto is None else min(upto, head)
    lost = (after + 1, min(oldest - 1, end)) if after + 1 < oldest and after < end else None
    cursor = min(max(after, oldest - 1), end) if after < end else after
    types, found = asked.types, list[OutboxRow]()
    if not types or not asked.communities:
        return Page([], max(cursor, end), False, lost)
    for _ in range(WINDOWS):
        if cursor >= end or len(found) >= limit:
            break
        until = min(cursor + WINDOW, end)
        most = limit - len(found)
        rows = await connection.fetch(Q["rows"], cursor, until, list(asked.communities), types, most)
        cursor = rows[-1]["seq"] if len(rows) == most else until
        found += [row for row in map(_row, rows) if asked.filter.takes(row.data)]
    return Page(found, cursor, cursor < end, lost)


def _row(row: Mapping[str, Any]) -> OutboxRow:
    data = row["data"]
    return OutboxRow(
        row["seq"],
        row["at"],
        row["type"],
        row["community_id"],
        row["subject"],
        data if isinstance(data, dict) else json.loads(data),
    )


async def made(
    connection: Connection, asked: Wanted, rows: Sequence[OutboxRow], base: str
) -> list[tuple[OutboxRow, CityEvent | None]]:
    """The rows as events; None for one that makes no sense, which is told of in the log and must hold nobody up.

    What an alert says of somebody's health is shown only where health is granted and its wearer consents now; that it
    was shown is in the audit when this returns, so call it outside of transactions that take other locks.
    """
    private = [row for row in rows if row.type.startswith("alert.") and about_health(row.data)]
    consenting: set[str] = set()
    if private and DataClass.HEALTH in asked.granted:
        consenting = await _consenting(connection, asked, private)
    return [(row, _made(row, asked, base, row.subject in consenting)) for row in rows]


async def _consenting(connection: Connection, asked: Wanted, rows: Sequence[OutboxRow]) -> set[str]:
    """The alerts that may be shown; a row of the audit for each of their devices, with whose it is."""
    ids = sorted({UUID(row.subject) for row in rows})
    found = await connection.fetch(Q["consenting"], ids, int(Shown.VITALS))
    by: dict[str, list[Mapping[str, Any]]] = {}
    for row in found:
        by.setdefault(row["device_id"], []).append(row)
    for device_id, alerts in sorted(by.items()):
        detail: dict[str, Any] = {"purpose": Purpose.CITY.value, "subscription": str(asked.id)}
        detail["alerts"] = sorted(row["id"] for row in alerts)
        if alerts[0]["person_id"] is not None:
            detail["person"] = alerts[0]["person_id"]
        await connection.execute(
            Q["audit"], asked.account_id, asked.role, alerts[0]["community_id"], "health.read",
            f"device:{device_id}", json.dumps(detail),
        )  # fmt: skip
    return {row["id"] for row in found}


def _made(row: OutboxRow, asked: Wanted, base: str, health_shown: bool) -> CityEvent | None:
    try:
        return make(row, asked.granted, base=base, mark=asked.mark, health_shown=health_shown, cases=cases())
    except (ValidationError, KeyError, ValueError, TypeError) as error:
        log.error("city_event_unreadable", seq=row.seq, type=row.type, why=type(error).__name__)
        return None
