"""Statements about curves, forecasts, facilities, exports and states of the past."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from services.adapters.queries import Queries
from services.api.store.database import Connection

Q = Queries.beside(__file__)
Row = Mapping[str, Any]
Sums = list[tuple[datetime, float]]


def _sums(rows: Any) -> Sums:
    return [(row[0], row[1]) for row in rows]


async def communities(connection: Connection) -> list[str]:
    return [row[0] for row in await connection.fetch(Q["communities"])]


async def claim(connection: Connection, work: str, community_id: str) -> bool:
    """Until the transaction ends; False: somebody else is at it."""
    mine: bool = await connection.fetchval(Q["claim"], f"{work}:{community_id}")
    return mine


async def closed_to(connection: Connection, community_id: str) -> datetime | None:
    """Hours before it take no more readings without saying so; None: none was ever closed."""
    at: datetime | None = await connection.fetchval(Q["closed_to"], community_id)
    return at


# -- curves -------------------------------------------------------------------------------------------------------


async def gauge(
    connection: Connection, community: str, kind: str, metric: str, start: datetime, end: datetime, bucket: timedelta
) -> Sums:
    return _sums(await connection.fetch(Q["curve_gauge"], community, kind, metric, start, end, bucket))


async def counter(
    connection: Connection, community: str, kind: str, metric: str, start: datetime, end: datetime, bucket: timedelta,
    back: timedelta,
) -> Sums:  # fmt: skip
    return _sums(await connection.fetch(Q["curve_counter"], community, kind, metric, start, end, bucket, back))


async def level(
    connection: Connection, community: str, kind: str, metric: str, start: datetime, end: datetime, bucket: timedelta,
    back: timedelta, without: str,
) -> Sums:  # fmt: skip
    return _sums(await connection.fetch(Q["curve_level"], community, kind, metric, start, end, bucket, back, without))


async def mean_hours(
    connection: Connection, community: str, kind: str, metric: str, start: datetime, end: datetime
) -> Sums:
    return _sums(await connection.fetch(Q["mean_hours"], community, kind, metric, start, end))


async def used_hours(
    connection: Connection, community: str, kind: str, metric: str, start: datetime, end: datetime
) -> Sums:
    return _sums(await connection.fetch(Q["used_hours"], community, kind, metric, start, end))


async def kept_quarters(
    connection: Connection, community: str, curve: str, start: datetime, end: datetime
) -> Sequence[Row]:
    rows: Sequence[Row] = await connection.fetch(Q["kept_quarters"], community, curve, start, end)
    return rows


async def quarters_known(connection: Connection, community: str, curve: str) -> Row:
    """`first`, `known_to` and `final_to`: where the rows begin, end, and end to be changed without a mark."""
    row: Row = await connection.fetchrow(Q["quarters_known"], community, curve)
    return row


async def hours_known(connection: Connection, community: str, curve: str) -> datetime | None:
    """Where the rows end."""
    at: datetime | None = await connection.fetchval(Q["hours_known"], community, curve)
    return at


async def put_quarters(
    connection: Connection, community: str, curve: str, buckets: Sequence[datetime], values: Sequence[float | None],
    final: Sequence[bool],
) -> None:  # fmt: skip
    await connection.execute(Q["put_quarters"], community, curve, buckets, values, final)


async def put_hours(
    connection: Connection, community: str, curve: str, buckets: Sequence[datetime], values: Sequence[float | None]
) -> None:
    await connection.execute(Q["put_hours"], community, curve, buckets, values)


async def drop_quarters(connection: Connection, community: str, before: datetime) -> None:
    await connection.execute(Q["drop_quarters"], community, before)


async def drop_hours(connection: Connection, community: str, before: datetime) -> None:
    await connection.execute(Q["drop_hours"], community, before)


async def stale(connection: Connection, community: str, most: int) -> list[Row]:
    """Marks of the oldest hours; all marks of one hour that are there now."""
    return list(await connection.fetch(Q["stale"], community, most))


async def drop_stale(connection: Connection, ids: Sequence[int]) -> None:
    await connection.execute(Q["drop_stale"], list(ids))


async def curve_hours(
    connection: Connection, community: str, curve: str, start: datetime, end: datetime
) -> list[tuple[datetime, float | None]]:
    return _sums(await connection.fetch(Q["curve_hours"], community, curve, start, end))  # type: ignore[return-value]
