"""Notices to real HTTP channels: who gets them, when, how often, and what happens when they do not arrive."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from services.adapters.postgres import open_pool
from services.domain.vocabulary import Severity, Team
from tests.api_data import raise_alert
from tests.factory import put_community, small_community
from tests.integration.alerts_support import until
from tests.notices_kit import Sink, give_channel, notifier, sink


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[asyncpg.Pool[Any]]:
    await put_community(database_url, small_community())
    opened = await open_pool(database_url, name="test", max_size=4)
    yield opened
    await opened.close()


@pytest.fixture
async def out() -> AsyncIterator[Sink]:
    async with sink() as one:
        yield one


async def raised(pool: asyncpg.Pool[Any], device: str = "test-gas_alarm-1", **more: Any) -> Any:
    async with pool.acquire() as connection:
        _, order = await raise_alert(connection, device, **more)
    return order


async def notices(pool: asyncpg.Pool[Any], where: str = "true") -> list[Any]:
    return list(await pool.fetch(f"SELECT * FROM notice WHERE {where} ORDER BY created_at, id"))


async def test_notice_of_a_new_order_reaches_the_teams_channel(
    database_url: str, pool: asyncpg.Pool[Any], out: Sink
) -> None:
    await give_channel(pool, "patrol1", out.url("patrol1"))
    order = await raised(pool)
    async with notifier(database_url, public_url="https://linhub.example"):
        await until(lambda: _heard(out, "patrol1"))
    (message,) = out.to("patrol1")
    number = await pool.fetchval("SELECT number FROM work_order WHERE id = $1", order)
    assert "燃气泄漏" in message["title"] and f"#{number}" in message["message"]
    assert "https://linhub.example/n/" in message["message"]
    (row,) = await notices(pool)
    assert (row["state"], row["via"], row["template"], row["severity"]) == ("sent", "channel", "dispatch", "critical")


async def second_patrol(pool: asyncpg.Pool[Any]) -> None:
    await pool.execute(
        "INSERT INTO app_user (id, username, password_hash, display_name, role, team, community_id) "
        "SELECT 'u-patrol2', 'patrol2', password_hash, 'patrol2', role, team, community_id "
        "FROM app_user WHERE username = 'patrol1'"
    )


async def _heard(out: Sink, name: str, count: int = 1) -> bool:
    return len(out.to(name)) >= count


async def test_notice_is_tried_again_when_a_channel_was_down_three_times(
    database_url: str, pool: asyncpg.Pool[Any], out: Sink
) -> None:
    channel = await give_channel(pool, "patrol1", out.url("patrol1"))
    out.down["patrol1"] = 3
    await raised(pool)
    async with notifier(database_url):
        await until(lambda: _heard(out, "patrol1"))

        async def recorded() -> bool:
            return bool((await notices(pool))[0]["state"] == "sent")

        await until(recorded)
    attempts = await pool.fetch("SELECT ok, error, sort FROM notice_attempt ORDER BY id")
    assert [row["ok"] for row in attempts] == [False, False, False, True]
    assert all("503" in row["error"] for row in attempts[:3]) and attempts[0]["sort"] == "webhook"
    assert await pool.fetchval("SELECT failing_since FROM contact_channel WHERE id = $1", channel) is None


async def test_order_climbs_when_nobody_can_be_reached_and_the_desk_is_told(
    database_url: str, pool: asyncpg.Pool[Any], out: Sink
) -> None:
    await give_channel(pool, "patrol1", out.url("patrol1"))
    await give_channel(pool, "desk", out.url("desk"))
    out.down["patrol1"] = 1000
    order = await raised(pool)
    async with notifier(database_url):
        await until(lambda: _heard(out, "desk"), 15)
    moves = await pool.fetch(
        "SELECT move, reason FROM work_order_history WHERE order_id = $1 AND move = 'escalate' ORDER BY version", order
    )
    assert moves and all("通知未送达" in row["reason"] for row in moves)
    (first,) = await notices(pool, "template = 'dispatch'")
    assert (first["state"], first["escalated"], first["attempts"]) == ("failed", True, 4)


async def test_outbox_read_again_from_the_beginning_tells_nobody_twice(
    database_url: str, pool: asyncpg.Pool[Any], out: Sink
) -> None:
    await give_channel(pool, "patrol1", out.url("patrol1"))
    await raised(pool)
    async with notifier(database_url) as one:
        await until(lambda: _heard(out, "patrol1"))
        before = len(await notices(pool))
        await pool.execute("UPDATE outbox_reader SET seq = 0")
        await one.read()
        assert await pool.fetchval("SELECT seq FROM outbox_reader") == await pool.fetchval(
            "SELECT max(seq) FROM outbox"
        )
        assert len(await notices(pool)) == before
    assert len(out.to("patrol1")) == 1


async def test_critical_goes_to_everybody_on_every_channel_at_once_and_others_in_turn(
    database_url: str, pool: asyncpg.Pool[Any], out: Sink
) -> None:
    await second_patrol(pool)
    for name in ("patrol1", "patrol2"):
        await give_channel(pool, name, out.url(f"{name}/a"))
        await give_channel(pool, name, out.url(f"{name}/b"), position=2)
    await raised(pool)
    quiet = await raised(pool, "test-bin-1", rule_id="bin.full", severity=Severity.MINOR, team=Team.PATROL)
    async with notifier(database_url):

        async def four() -> bool:
            return {f"{name}/{way}" for name in ("patrol1", "patrol2") for way in "ab"} <= {who for who, _ in out.heard}

        await until(four)

        async def minor_sent() -> bool:
            return any(row["state"] == "sent" for row in await notices(pool, "severity = 'minor'"))

        await until(minor_sent)
    minor = await notices(pool, f"order_id = '{quiet}' AND template = 'dispatch'")
    assert sorted((row["turn"], row["state"]) for row in minor) == [(0, "sent"), (1, "queued")]
    assert (minor[1]["not_before"] - minor[0]["not_before"]).total_seconds() in (300.0, -300.0)
    assert sum("燃气" in message["title"] for _, message in out.heard) == 5
