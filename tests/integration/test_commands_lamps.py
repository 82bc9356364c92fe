"""Lamp schedules in the database: lamps are told once a change of light, and what is so now by whoever was away."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime, time
from typing import Any
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from services.adapters.commands.lamps import Schedule, make_light, put, schedules
from services.adapters.postgres import open_pool
from services.domain.commands.lamps import Lamps
from tests.api_server import api_server, client
from tests.factory import put_community, small_community

PARTITIONS = range(16)
ZONE = ZoneInfo("Asia/Shanghai")
STREETS = Schedule("路灯", "Streets", Lamps(dims=((time(23), 40),)))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=ZONE)


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[asyncpg.Pool[Any]]:
    await put_community(database_url, small_community())
    pool = await open_pool(database_url, name="test", max_size=4)
    yield pool
    await pool.close()


async def look(pool: asyncpg.Pool[Any], when: str) -> int:
    async with pool.acquire() as connection:
        return await make_light(connection, PARTITIONS, at(when))


async def told(pool: asyncpg.Pool[Any]) -> list[tuple[str, Any]]:
    rows = await pool.fetch(
        "SELECT DISTINCT ON (b.requested_at) b.name, b.params FROM command_batch b ORDER BY b.requested_at"
    )
    return [(row["name"], row["params"]) for row in rows]


async def test_lamps_are_told_once_each_change_of_light(pool: asyncpg.Pool[Any]) -> None:
    async with pool.acquire() as connection:
        await put(connection, "test", "streets", STREETS, "user-desk", at("2026-11-22T12:00"))
    lamps = await pool.fetchval("SELECT count(*) FROM device WHERE kind = 'lamp_post' AND retired_at IS NULL")
    looks = [("12:00", 1), ("12:00", 0), ("12:01", 0), ("17:00", 0), ("17:40", 1), ("17:41", 0), ("23:00", 1)]
    for when, batches in looks:
        assert await look(pool, f"2026-11-22T{when}") == batches * lamps, when
    # Nobody looked for the rest of the night and the morning: what is so now is told, and nothing of what was missed.
    assert await look(pool, "2026-11-23T18:30") == lamps
    assert await told(pool) == [("off", {}), ("on", {}), ("dim", {"brightness": 40}), ("on", {})]
    row = await pool.fetchrow("SELECT source, requested_by, state, proof, dangerous FROM command LIMIT 1")
    assert (row["source"], row["requested_by"], row["state"]) == ("schedule:streets", "user-desk", "queued")
    assert row["proof"] is not None and not row["dangerous"]
    assert await pool.fetchval("SELECT count(*) FROM outbox WHERE type = 'command.requested'") == 4 * lamps


async def test_lamps_of_a_changed_schedule_are_told_anew_and_of_one_switched_off_not(pool: asyncpg.Pool[Any]) -> None:
    night = at("2026-11-22T20:00")
    async with pool.acquire() as connection:
        await put(connection, "test", "streets", STREETS, "user-desk", night)
        assert await look(pool, "2026-11-22T20:00") > 0
        darker = Schedule("路灯", "Streets", Lamps(dims=((time(19), 20),)))
        assert await put(connection, "test", "streets", darker, "user-desk", night) == 2
        assert await look(pool, "2026-11-22T20:01") > 0
        off = Schedule("路灯", "Streets", Lamps(), enabled=False)
        await put(connection, "test", "streets", off, "user-desk", night)
        assert await look(pool, "2026-11-23T12:00") == 0
        (row,) = await schedules(connection, "test")
        assert row["version"] == 3 and row["enabled"] is False
    assert [name for name, _ in await told(pool)][-1] == "dim"


async def test_schedules_are_written_through_the_api_by_whoever_has_seen_them(
    pool: asyncpg.Pool[Any], database_url: str
) -> None:
    path = "/communities/test/lamp-schedules/streets"
    body = {"title": {"zh": "路灯", "en": "Streets"}, "dims": [{"at": "23:00", "brightness": 40}]}
    async with api_server(database_url) as url, client(url, "desk") as desk, client(url, "patrol1") as patrol:
        assert (await desk.put(path, json=body)).status_code == 428
        made = await desk.put(path, json=body, headers={"If-None-Match": "*"})
        assert made.status_code == 200 and made.headers["ETag"] == '"1"' and made.json()["next_at"] is not None
        assert (await desk.put(path, json=body, headers={"If-None-Match": "*"})).status_code == 412
        wrong = await desk.put(path, json=body | {"on_deg": 50}, headers={"If-Match": '"1"'})
        assert wrong.status_code == 422 and "on_deg" in wrong.json()["detail"]
        assert (await patrol.put(path, json=body, headers={"If-Match": '"1"'})).status_code == 403
        assert [one["id"] for one in (await desk.get("/communities/test/lamp-schedules")).json()] == ["streets"]
        assert (await desk.delete(path, headers={"If-Match": '"1"'})).status_code == 204
        assert (await desk.get("/communities/test/lamp-schedules")).json() == []
    actions = [
        row["action"] for row in await pool.fetch("SELECT action FROM audit WHERE action LIKE 'lamp%' ORDER BY id")
    ]
    assert actions == ["lamp_schedule.put", "lamp_schedule.remove"]
