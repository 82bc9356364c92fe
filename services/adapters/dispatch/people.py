"""Reads who is on duty and asks the domain whom an order goes to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import asyncpg
import structlog

from services.adapters.dispatch import metrics
from services.adapters.queries import Queries
from services.domain import dispatch as domain
from services.domain.dispatch import Candidate, Member, Reached
from services.domain.orders.order import Order
from services.domain.orders.terms import Mode, Rung
from services.domain.vocabulary import Role, Team

log = structlog.get_logger(__name__)
Q = Queries.beside(__file__)

POSITION_FRESH = timedelta(minutes=15)
"""An older position says nothing of where somebody is now: in that time one crosses any community on foot."""
PATIENCE_S = 2.0
"""How long choosing may take before the whole team is told instead."""
_WEIGHS = frozenset({Mode.ASSIGN, Mode.ROTATE, Mode.FIRST})
"""Modes that look at what each person has in hand."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Whom an order is dispatched to: account ids, best first. Nobody named: the whole team, and nobody of it is known
    to be on duty."""

    mode: Mode
    offered: tuple[str, ...] = ()
    assignee_id: str | None = None
    why: str | None = None


async def choose(connection: asyncpg.Connection[Any], order: Order, now: datetime) -> Choice:
    """For an order about to be dispatched to its team, by the mode of its terms; once returned, by force.

    Never raises for want of people, nor because the roster cannot be read: then the whole team is told.
    """
    try:
        async with connection.transaction():
            candidates = await _candidates(connection, order, now)
            chosen = domain.choose(order, candidates)
            return Choice(chosen.mode, chosen.offered, chosen.assignee_id, chosen.why)
    except Exception as error:
        if connection.is_closed():
            raise
        metrics.UNCHOSEN.inc()
        log.error("choosing_failed", correlation=order.correlation, order=str(order.id), why=str(error), exc_info=error)
        return Choice(Mode.TEAM)


async def people_at(connection: asyncpg.Connection[Any], order: Order, rung: Rung, now: datetime) -> Reached:
    """Who is asked when the order climbs to this rung: whoever stands there, else on the next one that is not empty.

    When the roster cannot be read, the rung is climbed all the same, with nobody named: its whole team is told.
    """
    try:
        async with connection.transaction():
            return await _reach(connection, order, rung, now)
    except Exception as error:
        if connection.is_closed():
            raise
        metrics.UNCHOSEN.inc()
        log.error("rung_unread", correlation=order.correlation, order=str(order.id), why=str(error), exc_info=error)
        return Reached(rung, ())


async def _candidates(connection: asyncpg.Connection[Any], order: Order, now: datetime) -> Sequence[Candidate]:
    weighs = order.forced or order.terms.mode in _WEIGHS
    rows = await connection.fetch(
        Q["candidates"],
        order.community_id,
        order.team.value,
        now,
        weighs,
        POSITION_FRESH,
        order.id,
        timeout=PATIENCE_S,
    )
    return [
        Candidate(
            id=row["id"],
            role=Role(row["role"]),
            team=order.team,
            leads=row["leads"],
            grid_id=row["grid_id"],
            post=row["post"],
            rostered=row["rostered"],
            skills=frozenset(row["skills"]),
            x=row["x"],
            y=row["y"],
            in_hand=_counts(row["in_hand"]),
            given_at=row["given_at"],
            returned=row["returned"],
        )
        for row in rows
    ]


def _counts(found: Mapping[str, int] | str | None) -> Mapping[str, int]:
    """As a service's connection gives JSON, or as a bare one does."""
    return (json.loads(found) if isinstance(found, str) else found) or {}


async def _reach(connection: asyncpg.Connection[Any], order: Order, rung: Rung, now: datetime) -> Reached:
    rows = await connection.fetch(Q["standing"], order.community_id, order.team.value, now, timeout=PATIENCE_S)
    members = [
        Member(
            id=row["id"],
            role=Role(row["role"]),
            team=Team(row["team"]) if row["team"] else None,
            leads=row["leads"],
            grid_id=row["grid_id"],
            post=row["post"],
            rostered=row["rostered"],
        )
        for row in rows
    ]
    reached = domain.reach(order, rung, members, rows[0]["hour"] if rows else 0.0)
    _say(order, reached)
    return reached


def _say(order: Order, reached: Reached) -> None:
    """A rung without anybody is told aloud, whoever stands on the next one."""
    for rung in reached.skipped:
        metrics.SKIPPED.labels(rung.name.lower()).inc()
    if not reached.people:
        metrics.UNREACHED.inc()
        log.critical("nobody_can_act", correlation=order.correlation, order=str(order.id), team=order.team.value)
    elif reached.alone:
        metrics.ALONE.inc()
        log.critical("nobody_on_duty", correlation=order.correlation, order=str(order.id), asked=len(reached.people))
    elif reached.skipped:
        log.warning(
            "rungs_skipped",
            correlation=order.correlation,
            order=str(order.id),
            skipped=[rung.name.lower() for rung in reached.skipped],
            rung=reached.rung.name.lower(),
        )
