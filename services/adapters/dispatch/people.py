"""Reads who is on duty and asks the domain whom an order goes to."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import asyncpg

from services.domain.orders.order import Order
from services.domain.orders.terms import Mode, Rung


@dataclass(frozen=True, slots=True)
class Choice:
    """Whom an order is dispatched to: account ids, best first. Nobody named: the whole team."""

    mode: Mode
    offered: tuple[str, ...] = ()
    assignee_id: str | None = None
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Reached:
    """The rung on which somebody was found, at or above the one asked for, and who. `alone`: nobody on any rung is on
    duty, so everybody of the desk and the administrators are asked; it must be said loudly."""

    rung: Rung
    people: tuple[str, ...]
    skipped: tuple[Rung, ...] = ()
    alone: bool = False


async def choose(connection: asyncpg.Connection[Any], order: Order, now: datetime) -> Choice:
    """For an order about to be dispatched to its team, by the mode of its terms. Never raises for want of people."""
    return Choice(Mode.TEAM)


async def people_at(connection: asyncpg.Connection[Any], order: Order, rung: Rung, now: datetime) -> Reached:
    """Who is asked when the order climbs to this rung."""
    return Reached(rung, ())
