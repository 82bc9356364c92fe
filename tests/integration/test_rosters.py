"""Rosters on a real database: gaps a day ahead, told once and again, shifts that end with orders nobody took."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from services.adapters.postgres import open_pool
from services.adapters.rosters import (
    RosterConflict,
    RosterRefused,
    changes,
    horizon,
    make_shifts,
    patterns,
    put_pattern,
    watch,
)
from services.alerts.rosters import watch_rosters
from services.domain.ids import PARTITIONS
from services.domain.orders import Mode, Rung
from services.domain.registry import Account
from services.domain.rosters import Pattern
from services.domain.vocabulary import Role, Team
from tests.integration.roster_support import (
    HOME,
    HOUR,
    NOON,
    draft,
    keep_rota,
    moves,
    names,
    opened,
    settle,
    staff,
    stand,
)

ALL = range(PARTITIONS)
ZONE = ZoneInfo("Asia/Shanghai")


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[asyncpg.Pool[Any]]:
    await settle(
        database_url,
        staff("patrol2", leads=True),
        staff("patrol3"),
        Account("desk2", "desk2", Role.DESK, Team.DESK),
    )
    opened_pool = await open_pool(database_url, name="test-rosters", max_size=4)
    yield opened_pool
    await opened_pool.close()


async def look(pool: asyncpg.Pool[Any], now: datetime) -> int:
    return await watch_rosters(pool, list(ALL), now, timedelta(hours=26), timedelta(hours=2))


async def told(pool: asyncpg.Pool[Any], type: str = "roster.gap") -> list[dict[str, Any]]:
    return [row["data"] for row in await pool.fetch("SELECT data FROM outbox WHERE type = $1 ORDER BY seq", type)]


async def test_gap_is_told_a_day_ahead_once_and_again_two_hours_before(pool: asyncpg.Pool[Any]) -> None:
    async with pool.acquire() as connection:
        await keep_rota(connection, ["patrol1", "patrol3"])
        row = await connection.fetchrow(
            "SELECT id, starts_at FROM duty_shift WHERE starts_at > $1 ORDER BY starts_at OFFSET 2 LIMIT 1", NOON
        )
        await connection.execute("UPDATE duty_shift SET cancelled_at = now() WHERE id = $1", row["id"])
    begins, looks = row["starts_at"], 0
    first = begins - timedelta(hours=30)
    for quarter in range(31 * 4):
        await look(pool, first + quarter * HOUR / 4)
        looks += len(await told(pool)) == 0
    assert 14 <= looks <= 17, "silent until the gap is within 26 hours"
    assert begins - (first + looks * HOUR / 4) >= timedelta(hours=25, minutes=45), "seen a day ahead"
    gaps = await told(pool)
    assert [one["soon"] for one in gaps] == [False, True], "once, and once more"
    assert {one["from"] for one in gaps} == {begins.isoformat()} and {one["team"] for one in gaps} == {"patrol"}
    assert gaps[1]["to"] == (begins + 24 * HOUR).isoformat(), "its end is known by then"
    assert await look(pool, begins + HOUR) == 1
    async with pool.acquire() as connection:
        await stand(connection, "patrol2", begins + HOUR, begins + 24 * HOUR)
    assert await look(pool, begins + 2 * HOUR) == 0
    assert len(await told(pool)) == 2
    assert await pool.fetchval("SELECT over_at FROM roster_gap") == begins + 2 * HOUR


async def test_gaps_agree_with_the_minutes_of_the_database(pool: asyncpg.Pool[Any]) -> None:
    async with pool.acquire() as connection:
        await keep_rota(connection, ["patrol1", "patrol3"])
        await keep_rota(connection, ["maintenance1"], Team.MAINTENANCE, days="workday")
        await connection.execute("UPDATE duty_shift SET cancelled_at = now() WHERE extract(day FROM starts_at) = 27")
        end = NOON + timedelta(days=7)
        found = await watch.gaps_ahead(connection, HOME, ZONE, NOON, end)
        bare = await connection.fetch(
            "SELECT m FROM generate_series($1::timestamptz, $2::timestamptz - interval '1 minute', '1 minute') m"
            " WHERE NOT EXISTS (SELECT FROM duty_shift s WHERE s.team = 'patrol' AND s.cancelled_at IS NULL"
            " AND s.starts_at <= m AND s.ends_at > m) ORDER BY m",
            NOON,
            end,
        )
    minutes = sum(((one.ends_at - one.starts_at) for one in found[Team.PATROL]), timedelta()) / timedelta(minutes=1)
    assert minutes == len(bare) == 24 * 60
    assert found[Team.PATROL][0].starts_at == bare[0]["m"]
    assert len(found[Team.MAINTENANCE]) == 1, "its own hours only: the working day that was cancelled"


async def test_order_nobody_took_goes_to_the_next_shift(pool: asyncpg.Pool[Any]) -> None:
    async with pool.acquire() as connection:
        await stand(connection, "patrol1", NOON - HOUR, NOON + HOUR)
        await stand(connection, "patrol3", NOON + HOUR, NOON + 2 * HOUR)
        kept = [await opened(connection, draft(mode=mode)) for mode in (Mode.TEAM, Mode.ASSIGN)]
        assert [names(order.offered) for order in kept] == [["patrol1"], ["patrol1"]]
        await look(pool, NOON)
        await look(pool, NOON + HOUR)
        for order in kept:
            last = (await moves(connection, order))[-1]
            assert last[0] == "assign" and last[1]["people"] == ["user-patrol3"]
        rows = await connection.fetch("SELECT offered, assignee_id, mode FROM work_order ORDER BY number")
        assert [list(row["offered"]) for row in rows] == [["user-patrol3"]] * 2
        assert [row["assignee_id"] for row in rows] == [None, "user-patrol3"]
        assert [row["mode"] for row in rows] == ["team", "assign"]
        await look(pool, NOON + HOUR)
        assert len(await moves(connection, kept[0])) == 3, "told once"
        changed = [one for one in await told(pool, "roster.changed") if one["why"] == "shift"]
        assert changed == [
            {
                "team": "patrol",
                "why": "shift",
                "at": (NOON + HOUR).isoformat(),
                "comes": ["user-patrol3"],
                "goes": ["user-patrol1"],
            }
        ]


async def test_shift_that_ends_without_a_next_one_climbs(pool: asyncpg.Pool[Any]) -> None:
    async with pool.acquire() as connection:
        await keep_rota(connection, ["patrol1"], make=False)
        await connection.execute("INSERT INTO duty_horizon VALUES ('test', 'rota-patrol', 1, 'infinity')")
        await stand(connection, "patrol1", NOON - HOUR, NOON + HOUR)
        order = await opened(connection, draft())
        await look(pool, NOON)
        await look(pool, NOON + HOUR)
        last = (await moves(connection, order))[-1]
        assert last[0] == "escalate" and last[1]["people"] == ["user-patrol2"] and last[1]["rung"] == Rung.LEADER
        await stand(connection, "patrol3", NOON + 2 * HOUR, NOON + 3 * HOUR)
        await look(pool, NOON + 2 * HOUR)
        assert (await moves(connection, order))[-1][1]["people"] == ["user-patrol3"], "whoever comes on duty has it"


async def test_two_engines_tell_everything_once(pool: asyncpg.Pool[Any]) -> None:
    async with pool.acquire() as connection:
        await keep_rota(connection, ["patrol1", "patrol3"])
        await connection.execute("UPDATE duty_shift SET cancelled_at = now() WHERE starts_at > $1", NOON)
        await opened(connection, draft())
    await look(pool, NOON)
    later = NOON + 20 * HOUR + timedelta(minutes=1)
    await asyncio.gather(*(look(pool, later) for _ in range(3)))
    assert [one["soon"] for one in await told(pool)] == [False, True]
    assert len([one for one in await told(pool, "roster.changed") if one["why"] == "shift"]) == 1
    assert await pool.fetchval("SELECT count(*) FROM work_order_history WHERE move IN ('assign', 'escalate')") == 1


async def test_rota_is_made_on_ahead_by_itself(pool: asyncpg.Pool[Any]) -> None:
    async with pool.acquire() as connection:
        await keep_rota(connection, ["patrol1", "patrol3"])
        for day in range(0, 60, 3):
            await look(pool, NOON + timedelta(days=day))
        last = NOON + timedelta(days=60)
        assert await watch.gaps_ahead(connection, HOME, ZONE, NOON, last) == {Team.PATROL: []}
        twice = await connection.fetchval(
            "SELECT count(*) FROM (SELECT starts_at FROM duty_shift GROUP BY starts_at HAVING count(*) > 1) x"
        )
        assert twice == 0
    assert [one for one in await told(pool) if one["soon"]] == []


async def test_new_version_replaces_what_has_not_begun_and_withdrawing_frees_the_team(pool: asyncpg.Pool[Any]) -> None:
    async with pool.acquire() as connection:
        await keep_rota(connection, ["patrol1", "patrol3"])
        stored = (await patterns(connection, HOME))[0]
        assert stored.pattern is not None
        other = Pattern.parse(stored.pattern.as_document() | {"people": [["user-patrol2"]]})
        async with connection.transaction():
            with pytest.raises(RosterConflict):
                await put_pattern(connection, HOME, stored.id, other, 0, "test", NOON)
            await put_pattern(connection, HOME, stored.id, other, 1, "test", NOON)
            made = await make_shifts(connection, HOME, stored.id, horizon(NOON), "test", NOON, strict=True)
        assert made.cancelled == 14 and made.added >= 13
        rows = await connection.fetch(
            "SELECT user_id, starts_at > $1 AS ahead FROM duty_shift WHERE cancelled_at IS NULL", NOON
        )
        assert {row["user_id"] for row in rows if row["ahead"]} == {"user-patrol2"}
        async with connection.transaction():
            await put_pattern(connection, HOME, stored.id, None, 2, "test", NOON)
            await make_shifts(connection, HOME, stored.id, horizon(NOON), "test", NOON, strict=True)
        later = NOON + 30 * HOUR
        assert len((await opened(connection, draft(), later)).offered) == 3, "no rota: the whole team counts"


async def test_nobody_can_be_put_on_duty_twice_even_in_a_race(pool: asyncpg.Pool[Any]) -> None:
    async def stand_once(team: Team) -> bool:
        try:
            async with pool.acquire() as connection, connection.transaction():
                await stand(connection, "patrol1", NOON, NOON + HOUR, team)
        except RosterRefused:
            return False
        return True

    teams = [Team.PATROL, Team.DESK, Team.PATROL, Team.GENERAL]
    assert sorted(await asyncio.gather(*(stand_once(team) for team in teams))) == [False, False, False, True]


async def test_of_two_who_wait_for_each_other_with_the_same_people_one_is_refused(pool: asyncpg.Pool[Any]) -> None:
    """Each has put one of them on duty and wants the other: the database ends the one, and says so as a refusal."""
    both_began = asyncio.Barrier(2)

    async def put(first: str, second: str) -> None:
        async with pool.acquire() as connection, connection.transaction():
            await stand(connection, first, NOON, NOON + HOUR)
            await both_began.wait()
            await stand(connection, second, NOON, NOON + HOUR)

    ends = await asyncio.gather(put("patrol2", "patrol3"), put("patrol3", "patrol2"), return_exceptions=True)
    assert [type(end) for end in ends if end is not None] == [RosterRefused]
    people = await pool.fetch("SELECT user_id FROM duty_shift WHERE starts_at = $1 ORDER BY user_id", NOON)
    assert names([row["user_id"] for row in people]) == ["patrol2", "patrol3"]


async def test_stranger_in_a_rota_is_refused(pool: asyncpg.Pool[Any]) -> None:
    async with pool.acquire() as connection:
        for name in ("maintenance1", "nobody", "resident1"):
            with pytest.raises(RosterRefused, match=f"user-{name}"):
                await keep_rota(connection, ["patrol1", name])
        assert await patterns(connection, HOME) == []


async def test_position_is_forgotten_when_the_shift_ends_and_after_hours(pool: asyncpg.Pool[Any]) -> None:
    async with pool.acquire() as connection:
        await stand(connection, "patrol1", NOON - HOUR, NOON + HOUR)
        for name, at in (("patrol1", NOON + HOUR / 2), ("patrol2", NOON + HOUR), ("patrol3", NOON - 2 * HOUR)):
            await connection.execute("INSERT INTO staff_position VALUES ($1, 1, 1, 5, $2)", f"user-{name}", at)
    await look(pool, NOON)
    await look(pool, NOON + HOUR)
    left = [row["user_id"] for row in await pool.fetch("SELECT user_id FROM staff_position")]
    assert left == ["user-patrol2"]


async def test_cancelled_shift_is_not_revived_by_making_again(pool: asyncpg.Pool[Any]) -> None:
    async with pool.acquire() as connection:
        await keep_rota(connection, ["patrol1", "patrol3"])
        row = await connection.fetchrow("SELECT * FROM duty_shift WHERE starts_at > $1 ORDER BY starts_at", NOON)
        async with connection.transaction():
            assert await changes.cancel(connection, row, "desk", NOON, "病假")
            made = await make_shifts(connection, HOME, "rota-patrol", horizon(NOON), "test", NOON, strict=True)
        assert (made.added, made.cancelled) == (0, 0)
