"""Takes over the order histories of an old system: all of them, or those that are good, and each one once."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from services.adapters.orders.classes import terms_for
from services.adapters.orders.rows import Q as ORDERS
from services.adapters.orders.rows import record_of
from services.adapters.queries import Queries
from services.domain.ids import CommunityId
from services.domain.orders import Actor, Draft, Entry, Order, Terms
from services.domain.orders.imported import (
    ImportFault,
    Known,
    OrderLine,
    draft_of,
    history_of,
    read_line,
    stand_in,
)
from services.domain.vocabulary import TEAM_LABELS, Role, Team

Q = Queries.beside(__file__)
BATCH = 500


class NoSuchCommunity(Exception):
    """There is no such community."""


@dataclass(frozen=True, slots=True)
class Fault:
    """`line` as an editor counts them."""

    line: int
    what: str


@dataclass(frozen=True, slots=True)
class Ready:
    """A record as a history that can be written."""

    line: int
    order: Order
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Written:
    new: int
    known: int


async def known_of(connection: asyncpg.Connection[Any], community_id: str, *, forgive_people: bool) -> Known:
    """Raises NoSuchCommunity."""
    row = await connection.fetchrow(Q["community"], community_id)
    if row is None:
        raise NoSuchCommunity(community_id)
    people: dict[str, Actor] = {}
    for one in await connection.fetch(Q["people"], community_id):
        actor = Actor(
            one["id"],
            Role(one["role"]),
            Team(one["team"]) if one["team"] else None,
            CommunityId(one["community_id"]) if one["community_id"] else None,
            one["grid_id"],
            leads=True,  # who had which order was the old system's business; team and role are checked
        )
        people[one["id"]] = people[one["username"]] = actor
    return Known(
        community_id=CommunityId(community_id),
        timezone=row["timezone"],
        buildings={one["id"]: one["grid_id"] for one in await connection.fetch(Q["buildings"], community_id)},
        grids=frozenset(one["id"] for one in await connection.fetch(Q["grids"], community_id)),
        devices={
            one["id"]: (one["device_no"], one["building_id"], one["grid_id"])
            for one in await connection.fetch(Q["devices"], community_id)
        },
        people=people,
        forgive_people=forgive_people,
    )


async def prepare(
    connection: asyncpg.Connection[Any],
    known: Known,
    rows: Iterable[tuple[int, Mapping[str, Any] | ImportFault]],
    now: datetime,
) -> AsyncIterator[Ready | Fault]:
    """Every record of a file as a history, or its fault. Nothing is written."""
    seen: dict[UUID, int] = {}
    terms: dict[tuple[Any, ...], Terms] = {}
    for number, raw in rows:
        try:
            if isinstance(raw, ImportFault):
                raise raw
            line = read_line(raw)
            its_terms = await _terms(connection, terms, line, known)
            order, entries = history_of(line, known, now, lambda _draft, found=its_terms: found)  # type: ignore[misc]
            if order.id in seen:
                first = seen[order.id]
                raise ImportFault(f"external_id: 与第 {first} 行重复 · the same as in line {first}")
        except ImportFault as fault:
            yield Fault(number, str(fault))
            continue
        seen[order.id] = number
        yield Ready(number, order, entries)


async def _terms(
    connection: asyncpg.Connection[Any], asked: dict[tuple[Any, ...], Terms], line: OrderLine, known: Known
) -> Terms:
    draft: Draft = draft_of(line, known)
    key = (draft.source, draft.kind, draft.category, draft.severity, draft.team, draft.device_no)
    if key not in asked:
        asked[key] = await terms_for(connection, draft)
    return asked[key]


async def compare(connection: asyncpg.Connection[Any], ready: Sequence[Ready]) -> tuple[list[Ready], int, list[Fault]]:
    """Those not yet here, how many are, and those that are here with another history.

    An order that went on here after it was imported is the same order.
    """
    fresh: list[Ready] = []
    faults: list[Fault] = []
    there = 0
    for start in range(0, len(ready), BATCH):
        batch = ready[start : start + BATCH]
        stored: dict[UUID, list[tuple[int, str, datetime]]] = {}
        for row in await connection.fetch(Q["stored"], [one.order.id for one in batch]):
            stored.setdefault(row["order_id"], []).append((row["version"], row["move"], row["at"]))
        for one in batch:
            said = stored.get(one.order.id)
            if said is None:
                fresh.append(one)
            elif said[: len(one.entries)] == [(entry.version, entry.move.value, entry.at) for entry in one.entries]:
                there += 1
            else:
                what = "已导入且历史不同 · it is here already with another history"
                faults.append(Fault(one.line, f"external_id {one.order.external_id}: {what}"))
    return fresh, there, faults


async def missing_targets(connection: asyncpg.Connection[Any], fresh: Sequence[Ready]) -> list[Fault]:
    """Orders merged into one that is neither in the file nor here."""
    own = {one.order.id for one in fresh}
    faults = []
    for one in fresh:
        into = one.order.merged_into
        if into is not None and into not in own and not await connection.fetchval(Q["there"], [into]):
            faults.append(Fault(one.line, "merge_into: 找不到并入的工单 · the order it was merged into is not there"))
    return faults


async def write(
    connection: asyncpg.Connection[Any],
    known: Known,
    fresh: Sequence[Ready],
    actor: str,
    told: Callable[[int], None] = lambda _: None,
) -> None:
    """In the caller's transaction: rows from their folds, histories, one line of audit. Nobody is notified: it is past.

    What is still open is then looked at by the alert engine like any open order.
    """
    await _put_stand_ins(connection, known, fresh)
    # An order that others were merged into goes before them.
    ordered = sorted(fresh, key=lambda one: one.order.merged_into is not None)
    for start in range(0, len(ordered), BATCH):
        batch = ordered[start : start + BATCH]
        await connection.executemany(ORDERS["insert_order"], [(record_of(one.order),) for one in batch])
        await connection.executemany(
            ORDERS["insert_history"], [_history(one.order, entry) for one in batch for entry in one.entries]
        )
        told(len(batch))
    await connection.execute(
        ORDERS["audit"],
        actor,
        "system",
        known.community_id,
        "orders.import",
        known.community_id,
        json.dumps({"orders": len(fresh)}),
    )


def _history(order: Order, entry: Entry) -> tuple[Any, ...]:
    return (
        order.id,
        entry.version,
        entry.move.value,
        entry.from_state.value if entry.from_state else None,
        entry.to_state.value,
        entry.at,
        entry.actor_id,
        entry.actor_role,
        entry.reason,
        json.dumps(dict(entry.detail), ensure_ascii=False),
        entry.idempotency_key,
    )


async def _put_stand_ins(connection: asyncpg.Connection[Any], known: Known, fresh: Sequence[Ready]) -> None:
    """Accounts that nobody can log in with, for work whose people are not named."""
    used = {one.order.assignee_id for one in fresh}
    used |= {entry.actor_id for one in fresh for entry in one.entries}
    for team in Team:
        name = stand_in(known.community_id, team)
        if name in used:
            role = Role.GRID if team is Team.GRID else Role.DESK if team is Team.DESK else Role.STAFF
            label = f"原系统 {TEAM_LABELS[team].zh}"
            await connection.execute(Q["put_stand_in"], name, label, role.value, team.value, known.community_id)
