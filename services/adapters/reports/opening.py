"""A report becomes an order, or joins the one that is open for the same trouble."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg

from services.adapters.orders import OrderRow, append_moves, fetch_order, insert_order
from services.adapters.outbox import Outgoing
from services.adapters.reports.files import family_of
from services.adapters.reports.rows import Q
from services.domain.ids import CommunityId, OrderId
from services.domain.orders import Draft, Move, MoveRequest, OrderState, Source
from services.domain.reports.categories import Category, Filing
from services.domain.reports.duplicates import Spot, Standing, find
from services.domain.vocabulary import Severity

KIND = "resident_report"
"""What an order from residents is about, where orders from alerts name a kind of device."""

AHEAD = frozenset(
    {OrderState.CREATED, OrderState.DISPATCHED, OrderState.ACCEPTED, OrderState.ARRIVED, OrderState.RETURNED}
)
"""Orders whose work lies ahead; what is reported after it was done is news, and opens an order that names the first."""


class KeyReused(Exception):
    """The same Idempotency-Key came with something else."""


@dataclass(frozen=True, slots=True)
class NewReport:
    """What somebody reports. x and y are metres on the plan; `digest` is of all that was sent."""

    id: UUID
    community_id: CommunityId
    category: Category
    idempotency_key: str
    digest: bytes
    text: str = ""
    place: str = ""
    building_id: str | None = None
    unit_id: str | None = None
    household_id: str | None = None
    grid_id: str | None = None
    x: float | None = None
    y: float | None = None
    reporter_id: str | None = None
    token_hash: bytes | None = None
    contact_name: str | None = None
    contact_phone: str | None = None
    language: str = "zh"


@dataclass(frozen=True, slots=True)
class Opened:
    """`again`: the same request came before, nothing was done now. The caller writes `outgoing`, last of all."""

    report: Mapping[str, Any]
    order: OrderRow
    outgoing: list[Outgoing]
    again: bool = False


async def open_report(connection: asyncpg.Connection[Any], new: NewReport, now: datetime) -> Opened:
    """In the caller's transaction. Reports of one community come one after another, so that twins find each other.

    Raises KeyReused.
    """
    await connection.execute(Q["lock_community"], new.community_id)
    before = await connection.fetchrow(Q["by_key"], new.community_id, new.idempotency_key)
    if before is not None:
        if before["digest"] != new.digest:
            raise KeyReused(new.idempotency_key)
        return Opened(before, await fetch_order(connection, before["order_id"]), [], again=True)
    order, earlier = await _standing(connection, new, now)
    joined = order is not None
    outgoing: list[Outgoing] = []
    if order is None:
        order, outgoing = await _fresh(connection, new, earlier, now)
    report = await connection.fetchrow(Q["insert_report"], *_values(new, order.id, now, joined))
    if joined:
        repeat = MoveRequest(Move.REPEAT, order.version, note=f"居民上报 {report['number']} 并入 · report joined")
        order, outgoing = await append_moves(connection, order.id, [repeat], now)
    told = {"report_id": str(new.id), "order_id": str(order.id), "category": new.category.id, "joined": joined}
    outgoing.append(Outgoing("report.created", new.community_id, str(new.id), order.correlation, told))
    return Opened(report, order, outgoing)


def _values(new: NewReport, order_id: UUID, now: datetime, joined: bool) -> tuple[Any, ...]:
    return (
        new.id, new.community_id, order_id, new.category.id, new.text, new.place, new.building_id, new.unit_id,
        new.household_id, new.grid_id, new.x, new.y, new.reporter_id, new.token_hash, new.contact_name,
        new.contact_phone, new.language, now, joined, new.idempotency_key, new.digest,
    )  # fmt: skip


async def near(
    connection: asyncpg.Connection[Any], community_id: str, category: Category, since: datetime
) -> list[tuple[Standing, OrderState, Severity]]:
    """Orders of the category's family that were reported since then, open or closed, one entry a report."""
    rows = await connection.fetch(
        Q["standing"], community_id, list(family_of(category)), list(category.kinds), since
    )  # fmt: skip
    return [
        (
            Standing(
                row["order_id"],
                Spot(row["at"], row["building_id"], row["unit_id"], row["household_id"], row["x"], row["y"]),
            ),
            OrderState(row["state"]),
            Severity(row["severity"]),
        )
        for row in rows
    ]


async def _standing(
    connection: asyncpg.Connection[Any], new: NewReport, now: datetime
) -> tuple[OrderRow | None, UUID | None]:
    """The open order it joins (locked), and else the order before it, done by now, that it follows.

    It never joins what is less grave than itself, nor what waits for the desk while it must not wait: somebody goes.
    """
    category = new.category
    spot = Spot(now, new.building_id, new.unit_id, new.household_id, new.x, new.y)
    known = await near(connection, new.community_id, category, now - timedelta(seconds=category.window_s))
    ahead = [one for one, state, severity in known if _takes(category, state, severity)]
    found = find(category, spot, ahead)
    if found is not None:
        order = await fetch_order(connection, found, lock=True)
        if _takes(category, order.state, order.severity):
            return order, None
        known = [(one, state, severity) for one, state, severity in known if one.order_id != found]
    return None, find(category, spot, [one for one, state, _ in known if state not in AHEAD])


def _takes(category: Category, state: OrderState, severity: Severity) -> bool:
    waits = state is OrderState.CREATED and category.filing is Filing.AT_ONCE
    return state in AHEAD and not waits and severity.rank >= category.severity.rank


async def _fresh(
    connection: asyncpg.Connection[Any], new: NewReport, earlier: UUID | None, now: datetime
) -> tuple[OrderRow, list[Outgoing]]:
    category = new.category
    draft = Draft(
        id=OrderId(new.id),
        community_id=new.community_id,
        source=Source.RESIDENT,
        kind=KIND,
        severity=category.severity,
        title=category.title,
        team=category.team,
        correlation=f"report@{new.id}",
        place=new.place,
        parent_id=OrderId(earlier) if earlier else None,
        building_id=new.building_id,
        grid_id=new.grid_id,
        x=new.x,
        y=new.y,
        category=category.id,
    )
    if category.filing is Filing.AT_ONCE:
        return await insert_order(connection, draft, now)
    return await insert_order(connection, draft, now, dispatch=False)
