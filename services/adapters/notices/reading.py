"""Turns new rows of the outbox into notices, and moves the reader's cursor, in one transaction."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
import structlog

from services.adapters.dispatch import people_at
from services.adapters.orders import OrderRow, order_row
from services.adapters.queries import Queries
from services.adapters.rules.privacy import about_health
from services.domain.notices import (
    Account,
    AlertFacts,
    Draft,
    Event,
    Follower,
    OrderFacts,
    audience,
    said_of,
    templates_ended_by,
)
from services.domain.orders import Entry, Move, OrderState, Rung
from services.domain.vocabulary import Label, Role, Severity, Team

log = structlog.get_logger(__name__)
Q = Queries.beside(__file__)
Connection: TypeAlias = "asyncpg.Connection[Any]"

_ALERTS = frozenset({"alert.ask", "notice.requested"})
_REPORTS = frozenset({"report.unsatisfied", "report.urged", "report.joined"})
_ASKS_WHO = frozenset({"dispatch", "transfer", "reopen", "warn", "urge", "breach"})
"""Moves of which somebody is told even where their line of the history names nobody."""


@dataclass(slots=True)
class Known:
    """What a batch of events refers to, as it stands."""

    orders: dict[UUID, tuple[OrderRow, bool]] = field(default_factory=dict)
    entries: dict[tuple[UUID, int], Entry] = field(default_factory=dict)
    alerts: dict[UUID, AlertFacts] = field(default_factory=dict)
    accounts: dict[str, list[Account]] = field(default_factory=dict)
    reporters: dict[UUID, tuple[Follower, ...]] = field(default_factory=dict)
    zones: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Read:
    """What one transaction did. `more`: the outbox was not read to its end."""

    events: int
    notices: int
    more: bool
    unreadable: int = 0


_NONSENSE = (
    KeyError, ValueError, TypeError, AttributeError, asyncpg.DataError, asyncpg.IntegrityConstraintViolationError,
)  # fmt: skip
"""What a row that makes no sense ends in, wherever it is looked at: it would again, however often it is read."""


async def read_outbox(connection: Connection, now: datetime, limit: int = 500) -> Read | None:
    """One batch. None: another engine is at it. Reading a row again makes no notice twice: its id says so.

    A row that makes no sense is told of and passed over: it must not keep all that follow it from being told.
    """
    try:
        return await _read(connection, now, limit)
    except _NONSENSE as error:
        log.error("notice_batch_unreadable", why=repr(error))
    events = notices = 0
    while events < limit:
        try:
            one = await _read(connection, now, 1)
        except _NONSENSE as error:
            return Read(events + 1, notices, True, 1) if await _passed(connection, error) else None
        if one is None or not one.events:
            return one and Read(events, notices, False)
        events, notices = events + one.events, notices + one.notices
    return Read(events, notices, True)


async def _passed(connection: Connection, error: Exception) -> bool:
    async with connection.transaction():
        cursor = await connection.fetchval(Q["lock_reader"])
        row = await connection.fetchrow(Q["outbox_rows"], cursor, 1) if cursor is not None else None
        if row is None:
            return False
        await connection.execute(Q["move_reader"], row["seq"])
    log.error("notice_event_unreadable", seq=row["seq"], type=row["type"], why=repr(error))
    return True


async def _read(connection: Connection, now: datetime, limit: int) -> Read | None:
    async with connection.transaction():
        cursor = await connection.fetchval(Q["lock_reader"])
        if cursor is None:
            return None
        rows = await connection.fetch(Q["outbox_rows"], cursor, limit)
        if not rows:
            return Read(0, 0, more=False)
        events = [Event(**row) for row in rows]
        known = await load(connection, events)
        drafts: list[tuple[Draft, bool]] = []
        ends: list[tuple[UUID, str, int]] = []
        waits: list[tuple[UUID, int]] = []
        unreadable = 0
        for event in events:
            try:
                drafts = _ended(drafts, event, ends, waits)
                drafts.extend((one, False) for one in await _drafts_of(connection, event, known, now))
            except (KeyError, ValueError, TypeError, AttributeError) as error:
                # One event that makes no sense must not keep all others from being told.
                unreadable += 1
                log.error("notice_event_unreadable", seq=event.seq, type=event.type, why=repr(error))
        if ends:
            await connection.execute(Q["end_notices"], *_columns(ends, 3))
        if waits:
            await connection.execute(Q["end_waits"], *_columns(waits, 2))
        made = await insert(connection, drafts, now)
        await connection.execute(Q["move_reader"], events[-1].seq)
    return Read(len(events), made, len(events) == limit, unreadable)


def _ended(
    drafts: list[tuple[Draft, bool]],
    event: Event,
    ends: list[tuple[UUID, str, int]],
    waits: list[tuple[UUID, int]],
) -> list[tuple[Draft, bool]]:
    """What this move of an order makes needless: of earlier batches by `ends` and `waits`, of this one at once."""
    family, _, move = event.type.partition(".")
    if family != "order":
        return drafts
    order_id = UUID(event.data["order_id"])
    if move == "escalate":
        waits.append((order_id, event.seq))
    over = templates_ended_by(move)
    if not over:
        return drafts
    ends.extend((order_id, template, event.seq) for template in over)
    return [(one, done or (one.order_id == order_id and one.template in over)) for one, done in drafts]


async def load(connection: Connection, events: Sequence[Event]) -> Known:
    """Everything the events refer to, in a fixed number of statements."""
    known = Known()
    orders = [one for one in events if one.type.startswith("order.")]
    reports = [one for one in events if one.type in _REPORTS]
    alerts = [UUID(one.data["id" if one.type == "alert.ask" else "alert_id"]) for one in events if _about_alert(one)]
    if not orders and not reports and not alerts and not any(_names_roles(one) for one in events):
        return known
    await load_accounts(connection, known, {one.community_id for one in events})
    if orders or reports:
        ids = sorted({UUID(one.data["order_id"]) for one in (*orders, *reports)})
        await load_orders(connection, known, ids)
        for row in await connection.fetch(Q["reporters"], ids):
            known.reporters[row["order_id"]] = (
                *known.reporters.get(row["order_id"], ()),
                Follower(row["report_id"], row["number"], row["recipient"], row["since"]),
            )
        pairs = [(UUID(one.data["order_id"]), int(one.data["version"])) for one in orders]
        for row in await connection.fetch(Q["entries"], *_columns(pairs, 2)):
            known.entries[row["order_id"], row["version"]] = _entry(row)
    if alerts:
        await load_alerts(connection, known, alerts)
    return known


def _names_roles(event: Event) -> bool:
    return event.type == "roster.gap" or said_of(event.type, event.data) is not None


def _about_alert(event: Event) -> bool:
    return event.type in _ALERTS and bool(event.data.get("id" if event.type == "alert.ask" else "alert_id"))


async def load_accounts(connection: Connection, known: Known, communities: Iterable[str]) -> None:
    found: dict[str, list[Account]] = defaultdict(list)
    for row in await connection.fetch(Q["accounts"], sorted(communities)):
        team = Team(row["team"]) if row["team"] else None
        known.zones[row["community"]] = row["timezone"]
        found[row["community"]].append(Account(row["id"], Role(row["role"]), team, row["grid_id"], row["household_id"]))
    known.accounts.update(found)


async def load_orders(connection: Connection, known: Known, ids: Sequence[UUID]) -> None:
    for row in await connection.fetch(Q["orders"], list(ids)):
        known.orders[row["id"]] = order_row(row), _private(row)


async def load_alerts(connection: Connection, known: Known, ids: Sequence[UUID]) -> None:
    rows = await connection.fetch(Q["alerts"], list(ids))
    homes = sorted({row["household_id"] for row in rows if row["household_id"]})
    people: dict[str, list[str]] = defaultdict(list)
    if homes:
        for row in await connection.fetch(Q["people_of_homes"], homes):
            people[row["household_id"]].append(row["recipient"])
    for row in rows:
        known.alerts[row["id"]] = AlertFacts(
            row["id"],
            Severity(row["severity"]),
            Label(row["title_zh"], row["title_en"]),
            row["place"],
            _private(row),
            row["household_id"],
            tuple(people.get(row["household_id"] or "", ())),
        )


def _private(row: Mapping[str, Any]) -> bool:
    """Whether the alert (of the order) is about somebody's health."""
    return row["rule_id"] is not None and any(about_health(one) for one in (row["rule_id"], *row["active_rules"]))


def _entry(row: Mapping[str, Any]) -> Entry:
    detail = row["detail"]
    return Entry(
        row["version"],
        Move(row["move"]),
        OrderState(row["from_state"]) if row["from_state"] else None,
        OrderState(row["to_state"]),
        row["at"],
        row["actor_id"],
        row["actor_role"],
        row["reason"],
        detail if isinstance(detail, dict) else json.loads(detail),
    )


async def _drafts_of(connection: Connection, event: Event, known: Known, now: datetime) -> list[Draft]:
    accounts = known.accounts.get(event.community_id, [])
    if event.type.startswith("order."):
        order_id, version = UUID(event.data["order_id"]), int(event.data["version"])
        if order_id not in known.orders or (order_id, version) not in known.entries:
            return []
        row, private = known.orders[order_id]
        entry = known.entries[order_id, version]
        reached = await _reached(connection, row, entry, now)
        told = OrderFacts(row, row.number, entry, private, reached, known.reporters.get(order_id, ()))
        return audience(event, accounts, order=told)
    if event.type in _REPORTS:
        if (found := known.orders.get(UUID(event.data["order_id"]))) is None:
            return []
        row, private = found
        line = Entry(row.version, Move.NOTE, row.state, row.state, now, "system", "system")
        told = OrderFacts(row, row.number, line, private, reporters=known.reporters.get(row.id, ()))
        return audience(event, accounts, order=told)
    alert_id = event.data.get("id" if event.type == "alert.ask" else "alert_id") if _about_alert(event) else None
    alert = known.alerts.get(UUID(alert_id)) if alert_id else None
    return audience(event, accounts, alert=alert, timezone=known.zones.get(event.community_id, "Asia/Shanghai"))


async def _reached(connection: Connection, order: OrderRow, entry: Entry, now: datetime) -> tuple[str, ...]:
    """Who is on duty for a line that names nobody; asked only where it will be used."""
    if order.ended or entry.detail.get("people") or entry.detail.get("assignee_id"):
        return ()
    if entry.move.value in _ASKS_WHO and order.assignee_id is None and not order.offered:
        return (await people_at(connection, order, Rung.TEAM, now)).people
    if entry.move is Move.ESCALATE:
        return (await people_at(connection, order, Rung(entry.detail.get("rung") or order.rung), now)).people
    return ()


async def insert(connection: Connection, drafts: Sequence[tuple[Draft, bool]], now: datetime) -> int:
    """Writes them, each with whether it is over already; returns how many are new and will be sent."""
    if not drafts:
        return 0
    rows = [
        (
            one.id,
            one.event.seq,
            one.event.community_id,
            one.order_id,
            one.alert_id,
            one.recipient,
            one.template,
            one.severity.value,
            json.dumps(dict(one.params), ensure_ascii=False),
            one.turn,
            one.event.correlation,
            one.not_before(now),
            now + timedelta(seconds=one.expires_s),
            over,
        )
        for one, over in drafts
    ]
    made = await connection.fetch(Q["insert_notices"], now, *_columns(rows, 14))
    return sum(row["state"] == "queued" for row in made)


def _columns(rows: Sequence[tuple[Any, ...]], width: int) -> list[list[Any]]:
    return [[row[place] for row in rows] for place in range(width)]
