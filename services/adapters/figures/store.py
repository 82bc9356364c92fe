"""Counts orders for the key figures, and finds the orders behind each; one definition in the database, `order_fact`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

import asyncpg

from services.adapters.queries import Queries
from services.domain.kpis import COUNTED, FACT_BY_NAME, MEASURED, Figure, Much, Tally

Q = Queries.beside(__file__)


@dataclass(frozen=True, slots=True)
class Private:
    """Rules of these kinds go by the name `health` together, save for those that are `open`."""

    kinds: tuple[str, ...] = ()
    open: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """Which orders: of one community, opened from `start` to before `end`, as they stand at `now`."""

    community_id: str
    timezone: str
    start: datetime
    end: datetime
    now: datetime
    filters: Mapping[str, str] = field(default_factory=dict)
    private: Private = Private()

    @property
    def arguments(self) -> tuple[Any, ...]:
        return self.community_id, self.start, self.end, self.now, self.timezone

    @property
    def limits(self) -> tuple[Any, ...]:
        return json.dumps(dict(self.filters)), list(self.private.kinds), list(self.private.open)


@dataclass(frozen=True, slots=True)
class Behind:
    """One order behind a figure, and what it adds to it."""

    id: UUID
    created_at: datetime
    value: float


async def tally(connection: asyncpg.Connection[Any], asked: Asked) -> Tally:
    return (await tallies(connection, asked, "")).get("", Tally())


async def tallies(connection: asyncpg.Connection[Any], asked: Asked, by: str) -> dict[str, Tally]:
    """By the value of a dimension, '' for orders that have none; groups without orders are not in it."""
    rows = await connection.fetch(Q["tallies"], *asked.arguments, by, *asked.limits)
    return {row["key"]: _tally(row) for row in rows}


def _tally(row: Mapping[str, Any]) -> Tally:
    return Tally(
        {name: row[name] for name in COUNTED},
        {
            name: Much(row[f"{name}_count"], row[f"{name}_sum"], row[f"{name}_p90"] if name.endswith("_s") else None)
            for name in MEASURED
        },
    )


async def cockpit(connection: asyncpg.Connection[Any], community_id: str, start: datetime, now: datetime) -> Tally:
    """The few counts that a cockpit asks for again and again."""
    return Tally(dict(await connection.fetchrow(Q["cockpit"], community_id, start, now)))


async def behind(
    connection: asyncpg.Connection[Any],
    asked: Asked,
    figure: Figure,
    *,
    denominator: bool,
    after: tuple[datetime, UUID] | None,
    limit: int,
) -> list[Behind]:
    """The orders above the line (or below it), newest first; their values add up to that number of the figure.

    Below the line each counts one. A mean and a p90 are over the same orders above and below.
    """
    fact = figure.under if denominator and figure.under is not None else figure.over
    at, last = after or (None, None)
    rows = await connection.fetch(
        Q["rows"], *asked.arguments, *asked.limits, fact, figure.sort == "per" and not denominator, at, last, limit
    )
    plain = denominator or not FACT_BY_NAME[fact].measured
    return [Behind(row["id"], row["created_at"], 1.0 if plain else row["value"]) for row in rows]
