"""What is watched of rosters: where nobody will be on duty, and who came and went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

from services.adapters.rosters.common import Connection, Q, Row, shift_of
from services.adapters.rosters.patterns import patterns
from services.domain.rosters import Pattern, Stretch, gaps, required
from services.domain.vocabulary import Team


@dataclass(frozen=True, slots=True)
class Gap:
    """`id` None: not kept in the database."""

    team: Team
    stretch: Stretch
    id: int | None = None


async def gaps_ahead(
    connection: Connection, community_id: str, zone: ZoneInfo, start: datetime, end: datetime
) -> dict[Team, list[Stretch]]:
    """Of every team with a roster: where between start and end it has to be covered and nobody is on duty."""
    by_team: dict[Team, list[Pattern]] = {}
    for one in await patterns(connection, community_id):
        if one.pattern is not None:
            by_team.setdefault(one.team, []).append(one.pattern)
    if not by_team:
        return {}
    shifts = [shift_of(row) for row in await connection.fetch(Q["cover"], community_id, start, end)]
    return {
        team: gaps(required(found, zone, start, end), [shift for shift in shifts if shift.team is team])
        for team, found in sorted(by_team.items())
    }


@dataclass(frozen=True, slots=True)
class Told:
    """What to say of gaps: those seen for the first time, and those about to begin."""

    seen: tuple[Gap, ...]
    soon: tuple[Gap, ...]
    ended: int


async def keep_gaps(
    connection: Connection,
    community_id: str,
    found: Mapping[Team, Sequence[Stretch]],
    now: datetime,
    soon: datetime,
) -> Told:
    """Brings `roster_gap` up to what was found ahead of now; each is told once, and once more before it begins.

    A gap goes on being the same one while it shares a moment with what it was.
    """
    rows = await connection.fetch(Q["open_gaps"], community_id)
    seen: list[Gap] = []
    again: list[Gap] = []
    kept: set[int] = set()
    for team, stretches in found.items():
        for stretch in stretches:
            row = _same(rows, team, stretch, kept)
            if row is None:
                number = await connection.fetchval(
                    Q["insert_gap"], community_id, team.value, stretch.starts_at, stretch.ends_at, now
                )
                gap = Gap(team, stretch, number)
                seen.append(gap)
                if stretch.starts_at <= soon:
                    # Seen and about to begin are one thing to say.
                    await connection.execute(Q["gap_told_again"], number, now)
                continue
            kept.add(row["id"])
            # One that has begun keeps its beginning, however far the look ahead has moved on.
            whole = Stretch(row["starts_at"] if row["starts_at"] <= now else stretch.starts_at, stretch.ends_at)
            if whole != Stretch(row["starts_at"], row["ends_at"]):
                await connection.execute(Q["move_gap"], row["id"], whole.starts_at, whole.ends_at)
            if row["soon_at"] is None and whole.starts_at <= soon:
                await connection.execute(Q["gap_told_again"], row["id"], now)
                again.append(Gap(team, whole, row["id"]))
    over = [row["id"] for row in rows if row["id"] not in kept]
    if over:
        await connection.execute(Q["end_gaps"], over, now)
    return Told(tuple(seen), tuple(again), len(over))


def _same(rows: Sequence[Row], team: Team, stretch: Stretch, kept: set[int]) -> Row | None:
    for row in rows:
        if (
            row["team"] == team.value
            and row["id"] not in kept
            and row["starts_at"] < stretch.ends_at
            and stretch.starts_at < row["ends_at"]
        ):
            return row
    return None


async def rostered(connection: Connection, partitions: Sequence[int], now: datetime) -> list[Any]:
    """Communities of these partitions that keep a roster, with the time up to which changes were told."""
    rows: list[Any] = await connection.fetch(Q["rostered_communities"], list(partitions), now)
    return rows


async def looked(connection: Connection, community_id: str, now: datetime) -> bool:
    """Claims the time up to now: False where another engine has told of it."""
    return bool(await connection.fetchval(Q["looked"], community_id, now))


async def changes(connection: Connection, community_id: str, after: datetime, upto: datetime) -> list[Any]:
    """Shifts that began or ended after `after`, up to and with `upto`."""
    rows: list[Any] = await connection.fetch(Q["changes_between"], community_id, after, upto)
    return rows


async def short_horizons(connection: Connection, partitions: Sequence[int], before: datetime) -> list[Any]:
    """Rotas whose shifts are made for less far ahead than `before`."""
    rows: list[Any] = await connection.fetch(Q["short_horizons"], list(partitions), before)
    return rows


async def waiting_orders(connection: Connection, community_id: str, teams: Sequence[Team]) -> list[Any]:
    """Ids of orders of these teams that were dispatched and that nobody has accepted, oldest first."""
    rows = await connection.fetch(Q["waiting_orders"], community_id, [team.value for team in teams])
    return [row["id"] for row in rows]


async def open_gap_count(connection: Connection, partitions: Sequence[int]) -> int:
    found: int = await connection.fetchval(Q["open_gap_count"], list(partitions))
    return found


async def forget_positions(connection: Connection, before: datetime) -> None:
    await connection.execute(Q["forget_positions"], before)
