"""Reads reports: one, somebody's own, a community's, an order's; and to whom an order's news go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from services.adapters.queries import Queries

Q = Queries.beside(__file__)
Row = Mapping[str, Any]
After = tuple[datetime, UUID]


class ReportNotFound(Exception):
    """There is no such report."""


async def fetch_report(connection: asyncpg.Connection[Any], report_id: UUID, *, lock: bool = False) -> Row:
    """With `worked_on_id`, the order that it is worked on in by now. Raises ReportNotFound.

    Where the order is locked too, it is locked first.
    """
    row: Row | None = await connection.fetchrow(Q["lock_report" if lock else "report"], report_id)
    if row is None:
        raise ReportNotFound(str(report_id))
    return row


async def reports_by(
    connection: asyncpg.Connection[Any], reporter_id: str, *, after: After | None, limit: int
) -> list[Row]:
    """Somebody's own, newest first."""
    at, last = after or (None, None)
    rows: list[Row] = await connection.fetch(Q["mine"], reporter_id, at, last, limit)
    return rows


async def reports_in(
    connection: asyncpg.Connection[Any],
    community_id: str,
    *,
    which: str,
    category: str | None,
    building_id: str | None,
    after: After | None,
    limit: int,
) -> list[Row]:
    """Newest first. `which`: open, unfiled, unsatisfied or all."""
    at, last = after or (None, None)
    rows: list[Row] = await connection.fetch(
        Q["of_community"], community_id, category, which, building_id, at, last, limit
    )
    return rows


async def reports_of_order(connection: asyncpg.Connection[Any], order_id: UUID) -> list[Row]:
    """Of the order and of all that were merged into it, oldest first."""
    rows: list[Row] = await connection.fetch(Q["of_order"], order_id)
    return rows


async def notes_of(connection: asyncpg.Connection[Any], report_ids: Sequence[UUID]) -> list[Row]:
    rows: list[Row] = await connection.fetch(Q["notes"], list(report_ids))
    return rows


async def photos_for(
    connection: asyncpg.Connection[Any], report_ids: Sequence[UUID], order_id: UUID | None
) -> list[Row]:
    """Pictures sent with these reports, and those of the finished work of the order; oldest first."""
    rows: list[Row] = await connection.fetch(Q["photos"], list(report_ids), order_id)
    return rows


async def awaiting_call_back(
    connection: asyncpg.Connection[Any], community_id: str, *, after: After | None, limit: int
) -> list[Row]:
    """Orders whose work is done and whose reporters can be asked and were not, or complained since; oldest first."""
    at, last = after or (None, None)
    rows: list[Row] = await connection.fetch(Q["awaiting_call_back"], community_id, at, last, limit)
    return rows


@dataclass(frozen=True, slots=True)
class Reporter:
    """Somebody who wants to know how an order goes: an account, or only a telephone number, or nobody to be told."""

    report_id: UUID
    number: int
    reporter_id: str | None
    contact_name: str | None
    contact_phone: str | None
    language: str
    category: str
    created_at: datetime


async def reporters_of(connection: asyncpg.Connection[Any], order_id: UUID) -> list[Reporter]:
    """Everybody whose report is worked on in this order, those of orders merged into it among them; oldest first.

    What to tell them of a move: `domain.reports.words.step_of` and `said`.
    """
    return [Reporter(**row) for row in await connection.fetch(Q["reporters_of"], order_id)]


async def erase_contacts(
    connection: asyncpg.Connection[Any], closed_before: datetime, now: datetime, at_most: int = 500
) -> int:
    """Forgets names and telephone numbers of reports whose order ended before then; how many of them."""
    return len(await connection.fetch(Q["erase_contacts"], closed_before, at_most, now))


async def rule_statistics(
    connection: asyncpg.Connection[Any], community_id: str, rule_id: str, since: datetime, devices: int
) -> list[Row]:
    """Alerts of a rule and how their orders ended: the whole first, then each device, the worst first."""
    rows: list[Row] = await connection.fetch(Q["rule_statistics"], community_id, rule_id, since, devices + 1)
    return rows


async def false_alarm_shares(connection: asyncpg.Connection[Any], community_id: str, since: datetime) -> dict[str, Row]:
    """Of each rule with orders: how many of them ended, and how many as false alarms."""
    rows = await connection.fetch(Q["false_alarm_shares"], community_id, since)
    return {row["rule_id"]: row for row in rows}
