"""Notices to real HTTP channels: who gets them, when, how often, and what happens when they do not arrive."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import asyncpg
import pytest

from services.adapters import outbox
from services.adapters.orders import append_moves
from services.adapters.outbox import Outgoing
from services.adapters.postgres import open_pool
from services.adapters.rules.privacy import HEALTH_RULES
from services.domain.orders import Move, MoveRequest
from services.domain.vocabulary import Severity, Team
from tests.api_data import raise_alert
from tests.factory import put_community, small_community
from tests.integration.alerts_support import until
from tests.notices_kit import Sink, account_id, give_channel, notifier, sink
from tests.said import lasting


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
        await until(lambda: _sent(pool))
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
        await until(lambda: _heard(out, "desk"))
    moves = await pool.fetch(
        "SELECT move, reason FROM work_order_history WHERE order_id = $1 AND move = 'escalate' ORDER BY version", order
    )
    assert moves and all("通知未送达" in row["reason"] for row in moves)
    (first,) = await notices(pool, "template = 'dispatch'")
    assert (first["state"], first["escalated"], first["attempts"]) == ("failed", True, 4)


async def test_row_of_the_outbox_that_makes_no_sense_keeps_no_other_from_being_told(
    database_url: str, pool: asyncpg.Pool[Any], out: Sink
) -> None:
    await give_channel(pool, "patrol1", out.url("patrol1"))
    async with pool.acquire() as connection, connection.transaction():
        await outbox.append(
            connection,
            [
                Outgoing("order.dispatch", "test", "nothing", "", {}),
                # To an account, in a community, that are not there.
                Outgoing("notice.requested", "nowhere", "x", "", {"recipients": [{"id": "nobody", "user": True}]}),
            ],
        )
    await raised(pool)
    async with notifier(database_url):
        await until(lambda: _heard(out, "patrol1"))
    assert not await notices(pool, "community_id = 'nowhere'")


async def test_outbox_read_again_from_the_beginning_tells_nobody_twice(
    database_url: str, pool: asyncpg.Pool[Any], out: Sink
) -> None:
    await give_channel(pool, "patrol1", out.url("patrol1"))
    await raised(pool)
    # At its own pace: nobody is told further while the outbox is read again.
    async with notifier(database_url, notices_pace=1) as one:
        await until(lambda: _heard(out, "patrol1"))
        before = len(await notices(pool))
        await pool.execute("UPDATE outbox_reader SET seq = 0")

        async def at_the_end() -> bool:
            await one.read()
            return bool(await pool.fetchval("SELECT r.seq = (SELECT max(seq) FROM outbox) FROM outbox_reader r"))

        await until(at_the_end)
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


async def test_quiet_hours_hold_back_what_is_not_critical_until_they_end(
    database_url: str, pool: asyncpg.Pool[Any], out: Sink
) -> None:
    here = datetime.now(ZoneInfo("Asia/Shanghai"))
    quiet = (
        (here - timedelta(hours=1)).time().replace(microsecond=0),
        (here + timedelta(hours=1)).time().replace(microsecond=0),
    )
    await give_channel(pool, "patrol1", out.url("patrol1"), quiet=quiet)
    await raised(pool, "test-bin-1", rule_id="bin.full", severity=Severity.MINOR)
    async with notifier(database_url):

        async def put_off() -> Any:
            return [row for row in await notices(pool) if row["state"] == "queued" and row["attempts"] == 0]

        await until(put_off)
        (row,) = await until(lambda: _waits_past(pool, datetime.now(UTC) + timedelta(minutes=50)))
        assert abs((row["next_at"] - datetime.now(UTC)).total_seconds() - 3600) < 30
        await raised(pool)
        await until(lambda: _heard(out, "patrol1"))
    assert ["燃气" in message["title"] for message in out.to("patrol1")] == [True]


async def _waits_past(pool: asyncpg.Pool[Any], at: datetime) -> list[Any]:
    return [row for row in await notices(pool) if row["next_at"] is not None and row["next_at"] > at]


async def test_a_storm_of_minor_notices_to_one_person_becomes_one_message(
    database_url: str, pool: asyncpg.Pool[Any], out: Sink
) -> None:
    await give_channel(pool, "patrol1", out.url("patrol1"))
    for number in range(12):
        kind = ("bin", "gate", "manhole", "environment")[number % 4]
        await raised(pool, f"test-{kind}-1", rule_id=f"{kind}.x{number}", severity=Severity.MINOR, family=f"f{number}")
    async with notifier(database_url):

        async def all_sent() -> bool:
            rows = await notices(pool, "template = 'dispatch'")
            return len(rows) == 12 and all(row["state"] == "sent" for row in rows)

        await until(all_sent)
    (message,) = out.to("patrol1")
    assert message["title"] == "您有 12 条通知" and "另有 2 条" in message["message"]
    rows = await notices(pool)
    assert sum(row["digest_of"] is None for row in rows) == 1
    assert await pool.fetchval("SELECT count(*) FROM notice_attempt") == 1


async def test_moved_on_order_ends_what_waits_to_be_told(database_url: str, pool: asyncpg.Pool[Any], out: Sink) -> None:
    await second_patrol(pool)
    for name in ("patrol1", "patrol2"):
        await give_channel(pool, name, out.url(name))
    order = await raised(pool, "test-bin-1", rule_id="bin.full", severity=Severity.MAJOR)
    async with notifier(database_url):
        await until(lambda: _sent(pool))
        # Accepting needs somebody of the team; the table of moves is not what is tested here.
        async with pool.acquire() as connection, connection.transaction():
            told = {"order_id": str(order), "alert_id": None, "state": "accepted", "version": 99}
            await outbox.append(connection, [Outgoing("order.accept", "test", str(order), "", told)])

        async def ended() -> bool:
            states = [row["state"] for row in await notices(pool, "template = 'dispatch'")]
            return sorted(states) == ["cancelled", "sent"]

        await until(ended)
    assert len(out.heard) == 1


async def _sent(pool: asyncpg.Pool[Any]) -> bool:
    return bool(await notices(pool, "state = 'sent'"))


async def test_next_channel_is_taken_when_the_first_fails(
    database_url: str, pool: asyncpg.Pool[Any], out: Sink
) -> None:
    await give_channel(pool, "patrol1", "json://127.0.0.1:9/nobody")
    await give_channel(pool, "patrol1", out.url("second"), position=2, language="en")
    await raised(pool, "test-bin-1", rule_id="bin.full", severity=Severity.MAJOR)
    async with notifier(database_url):
        await until(lambda: _heard(out, "second"))
        await until(lambda: _sent(pool))
    assert "New order" in out.to("second")[0]["title"]
    tried = await pool.fetch("SELECT ok FROM notice_attempt ORDER BY id")
    assert [row["ok"] for row in tried] == [False, True]


async def test_where_nobody_has_a_channel_notices_stand_in_the_app_and_no_order_climbs(
    database_url: str, pool: asyncpg.Pool[Any]
) -> None:
    order = await raised(pool)
    async with notifier(database_url):
        await until(lambda: _sent(pool))
    (row,) = await notices(pool)
    assert (row["state"], row["via"], row["next_at"]) == ("sent", "app", None)
    assert await pool.fetchval("SELECT count(*) FROM work_order_history WHERE order_id = $1", order) == 2


async def test_critical_to_somebody_without_a_channel_counts_as_undelivered_where_others_have_them(
    database_url: str, pool: asyncpg.Pool[Any], out: Sink
) -> None:
    await give_channel(pool, "desk", out.url("desk"))
    await raised(pool)
    async with notifier(database_url):
        await until(lambda: _heard(out, "desk"))
    assert any("升级" in message["title"] for message in out.to("desk"))


async def test_nobody_acknowledging_a_critical_plan_notice_is_told_to_the_desk(
    database_url: str, pool: asyncpg.Pool[Any], out: Sink
) -> None:
    await give_channel(pool, "desk", out.url("desk"))
    await give_channel(pool, "resident1", out.url("family"))
    async with pool.acquire() as connection:
        alert, _ = await raise_alert(connection, "test-sos_button-1", rule_id="sos_button.pressed", opens_order=False)
        data = {
            "alert_id": str(alert),
            "step": "tell_family",
            "text": {"zh": "家人求助", "en": "Help is wanted"},
            "recipients": [{"id": await account_id(pool, "resident1"), "user": True}],
        }
        async with connection.transaction():
            await outbox.append(connection, [Outgoing("notice.requested", "test", "run", "c", data)])
    async with notifier(database_url, notices_pace=0.005):
        await until(lambda: _heard(out, "desk"))
    assert "家人求助" in out.to("family")[0]["message"]
    assert "通知未送达" in out.to("desk")[0]["title"]


async def test_emergency_contact_is_told_by_the_communitys_gateway(
    database_url: str, pool: asyncpg.Pool[Any], out: Sink
) -> None:
    await pool.execute(
        "INSERT INTO community_gateway (community_id, sort, template, changed_by) VALUES ('test', 'sms', $1, 'admin')",
        f"json://127.0.0.1:{out.port}/sms/{{to}}",
    )
    contact: UUID = await pool.fetchval(
        "INSERT INTO person_contact (id, community_id, person_id, name, relation, created_by) "
        "VALUES (gen_random_uuid(), 'test', 'test-p1', '李娜', '女儿', 'desk') RETURNING id"
    )
    await pool.execute(
        "INSERT INTO contact_channel (id, contact_id, sort, address, shown) "
        "VALUES (gen_random_uuid(), $1, 'sms', '+8613800138000', '***')",
        contact,
    )
    async with pool.acquire() as connection:
        alert, _ = await raise_alert(connection, "test-wristband-1", rule_id="wristband.heart_rate_high")
        data = {
            "alert_id": str(alert),
            "step": "family",
            "text": {"zh": "燃气泄漏 心率 130", "en": "heart rate 130"},
            "recipients": [{"id": str(contact), "user": False, "contact": True}],
        }
        async with connection.transaction():
            await outbox.append(connection, [Outgoing("notice.requested", "test", "run", "c", data)])
    async with notifier(database_url):
        await until(lambda: _heard(out, "sms/+8613800138000"))
    (message,) = out.to("sms/+8613800138000")
    assert "健康关怀" in message["title"]
    assert not any(word in message["title"] + message["message"] for word in ("心率", "130", "燃气"))


async def test_orders_of_health_rules_tell_nothing_of_health_in_any_template(
    database_url: str, pool: asyncpg.Pool[Any], out: Sink
) -> None:
    """Every move of an order of each health rule, read as an event: no title of the rule, no reason anybody wrote."""
    await give_channel(pool, "patrol1", out.url("patrol1"))
    secret = "血压 180 heart"
    for rule in sorted(HEALTH_RULES):
        async with pool.acquire() as connection:
            _, order = await raise_alert(
                connection, "test-wristband-1", rule_id=rule, family=rule, severity=Severity.MAJOR
            )
            assert order is not None
            await connection.execute("UPDATE work_order SET title_zh = $2, title_en = $2 WHERE id = $1", order, secret)
            requests = [
                MoveRequest(
                    move, 0, reason=secret, note=secret, clock="accept", people=(await account_id(pool, "desk"),)
                )
                for move in (Move.WARN, Move.BREACH, Move.ESCALATE, Move.URGE)
            ]
            async with connection.transaction():
                _, outgoing = await append_moves(connection, order, requests, datetime.now(UTC))
                await outbox.append(connection, outgoing)
    async with notifier(database_url):

        async def read() -> bool:
            return bool(
                await pool.fetchval(
                    "SELECT seq >= (SELECT max(seq) FROM outbox) FROM outbox_reader WHERE name = 'notices'"
                )
            )

        await until(read)
        await until(lambda: _heard(out, "patrol1"))
    rows = await notices(pool)
    assert {"dispatch", "warn", "breach", "escalate", "urge"} <= {row["template"] for row in rows}
    said = [lasting(str(one)) for one in (*(row["params"] for row in rows), *(message for _, message in out.heard))]
    assert not [text for text in said if "血压" in text or "heart" in text or "180" in text]
    assert all(row["params"]["title"]["zh"] == "健康关怀" for row in rows)


async def test_channel_that_does_not_answer_holds_up_nobody_else(
    database_url: str, pool: asyncpg.Pool[Any], out: Sink
) -> None:
    async with sink() as slow:
        gate = slow.gates["patrol1"] = asyncio.Event()
        await second_patrol(pool)
        await give_channel(pool, "patrol1", slow.url("patrol1"))
        await give_channel(pool, "patrol2", out.url("patrol2"))
        failed = "SELECT error FROM notice_attempt WHERE NOT ok"
        try:
            async with notifier(database_url, notices_timeout_s=60):
                await raised(pool, "test-gas_alarm-1")
                await until(lambda: asyncio.sleep(0, slow.came))
                for number in (2, 3, 4):
                    await raised(pool, f"test-gas_alarm-{number}")
                    await until(partial(_heard, out, "patrol2", number))
                assert not slow.heard and not await pool.fetch(failed), "the others waited until it was given up"
            await pool.execute("UPDATE notice SET next_at = now() WHERE state = 'sending'")
            async with notifier(database_url, notices_timeout_s=1):
                errors = await until(lambda: pool.fetch(failed))
            assert all(row["error"] for row in errors) and not slow.heard
        finally:
            gate.set()
