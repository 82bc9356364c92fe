"""Linkage plans in the running engine: with the alert, once, to their end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.adapters.postgres import open_pool
from tests.integration.alerts_support import World, engine, until
from tests.integration.plans_support import handed_out, put_default, put_plan, reads, reply, steps


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    pool = await open_pool(database_url, name="test", max_size=4)
    found = World(database_url, pool)
    await found.prepare()
    yield found
    await pool.close()


async def ran(world: World, **where: Any) -> Any:
    return await until(lambda: world.pool.fetchrow("SELECT * FROM plan_run ORDER BY started_at LIMIT 1"))


async def test_gas_alarm_writes_order_commands_notices_and_broadcast_with_the_alert(world: World) -> None:
    await put_default(world.pool, "gas_leak")
    async with engine(world):
        await world.event("gas_alarm-1", "alarm", lel=20.0)
        run = await ran(world)
        await world.caught_up()
    (alert,) = await world.alerts()
    assert run["alert_id"] == alert["id"] and run["approved_by"] == "approver"
    assert len(await world.orders()) == 1
    rows = await world.pool.fetch(
        "SELECT d.id, c.name, c.dangerous, c.approved_by FROM command c JOIN device d USING (device_no) ORDER BY 1, 2"
    )
    told = {(row["id"], row["name"]) for row in rows}
    assert {("test-gas_meter-1", "valve_close"), ("test-gas_alarm-1", "valve_close")} <= told
    assert ("test-siren-1", "siren_on") in told and ("test-loudspeaker-1", "speak") in told
    assert all(row["approved_by"] == "approver" for row in rows if row["dangerous"])
    types = await world.outbox()
    assert types.count("plan.started") == 1 and types.count("broadcast.requested") == 1
    assert types.count("command.requested") == len(rows)
    assert types.count("notice.requested") >= 3
    # What the plan wrote stands in a savepoint of its own, hence under another number; both are one each.
    for tables in (
        "alert_occurrence UNION ALL SELECT xmin::text FROM outbox",
        "plan_run UNION ALL SELECT xmin::text FROM command",
    ):
        query = f"SELECT count(DISTINCT xmin) FROM (SELECT xmin::text FROM {tables}) x"
        assert await world.pool.fetchval(query) == 1, "everything that went out at once was committed with the alert"


async def test_replies_close_commands_and_the_run_ends(world: World) -> None:
    await put_default(world.pool, "charger_hot")
    async with engine(world):
        await world.event("charger-1", "overheat")
        await ran(world)
        command = await until(lambda: world.pool.fetchval("SELECT id FROM command"))
        await handed_out(world, command)
        await reply(world, "charger-1", command, done=False, detail="at work")
        await until(lambda: world.pool.fetchval("SELECT true FROM command WHERE state = 'acknowledged'"))
        await reply(world, "charger-1", command, detail="switched off")
        await until(lambda: world.pool.fetchval("SELECT true FROM command WHERE state = 'executed'"))
        assert (await steps(world.pool))["stop"] == "requested", "its readings do not show it yet"
        await reads(world, "charger-1", "charger", power=0.0)
        await until(lambda: world.pool.fetchval("SELECT true FROM plan_step WHERE step = 'stop' AND state = 'done'"))
    row = await world.pool.fetchrow("SELECT state, result, send_at, sent_at, first_put_at FROM command")
    assert row["state"] == "confirmed" and row["result"]["detail"] == "switched off" and row["send_at"] is None
    assert row["sent_at"] == row["first_put_at"] is not None, (
        "answered before it was written down that the broker has it"
    )
    assert {"command.acknowledged", "command.executed", "command.confirmed"} <= set(await world.outbox())
    assert (await steps(world.pool))["told"] == "due"


async def test_answer_of_another_device_closes_nothing(world: World) -> None:
    await put_default(world.pool, "charger_hot")
    async with engine(world):
        await world.event("charger-1", "overheat")
        command = await until(lambda: world.pool.fetchval("SELECT id FROM command"))
        await reply(world, "charger-1", command)
        await world.caught_up()
        await handed_out(world, command)
        await reply(world, "siren-1", command)
        await world.caught_up()  # another partition's: the next ones would not wait for it
        await reply(world, "charger-1", "0198c0de-0000-7000-8000-000000000000")
        await reply(world, "charger-1", "no id of ours")
        await world.caught_up()
    assert await world.pool.fetchval("SELECT state FROM command") == "queued"
    strays = await world.pool.fetch("SELECT reason, times FROM command_stray ORDER BY id")
    assert [row["reason"] for row in strays] == ["unsent", "foreign", "unknown", "unknown"]


async def test_gateway_answers_for_the_meter_behind_it(world: World) -> None:
    await put_default(world.pool, "gas_leak")
    async with engine(world):
        await world.event("gas_alarm-1", "alarm")
        query = "SELECT c.id FROM command c JOIN device d USING (device_no) WHERE d.kind = 'gas_meter'"
        command = await until(lambda: world.pool.fetchval(query))
        await handed_out(world, command)
        await reply(world, "gateway-1", command)
        await until(
            lambda: world.pool.fetchval("SELECT true FROM command WHERE id = $1 AND state = 'executed'", command)
        )


async def test_step_that_no_device_answers_times_out_and_the_desk_is_told(world: World) -> None:
    await put_plan(
        world.pool,
        """
id: short
title: {zh: 短, en: Short}
trigger: {alerts: [charger.hot]}
steps:
  - id: stop
    command: {name: stop, kinds: [charger], within: trigger}
    timeout: 1s
    on_timeout: escalate
  - id: after
    needs: [stop]
    if: alert.open
    notice: {roles: [desk], text: {zh: "{place}仍过热", en: "{place} still hot"}}
""",
        "short",
    )
    async with engine(world):
        await world.event("charger-1", "overheat")
        await until(lambda: world.pool.fetchval("SELECT true FROM plan_run WHERE state <> 'running'"))
    assert await steps(world.pool) == {"stop": "timed_out", "after": "done"}
    run = await world.pool.fetchrow("SELECT state, why FROM plan_run")
    assert (run["state"], run["why"]) == ("failed", "stop")
    assert await world.pool.fetchval("SELECT state FROM command") == "expired"
    notices = [
        json.loads(row["data"]) if isinstance(row["data"], str) else row["data"]
        for row in await world.pool.fetch("SELECT data FROM outbox WHERE type = 'notice.requested' ORDER BY seq")
    ]
    assert [one["escalation"] for one in notices] == [True, False]


async def test_device_shown_to_have_done_it_after_the_step_was_over_is_said_to_have(world: World) -> None:
    """Whoever was told that it is not confirmed is told that it is."""
    await put_default(world.pool, "charger_hot")
    async with engine(world):
        await world.event("charger-1", "overheat")
        await ran(world)
        command = await until(lambda: world.pool.fetchval("SELECT id FROM command"))
        await handed_out(world, command)
        await reply(world, "charger-1", command)
        await until(lambda: world.pool.fetchval("SELECT true FROM command WHERE state = 'executed'"))
        await world.pool.execute("UPDATE plan_step SET expires_at = now() WHERE step = 'stop'")
        await world.pool.execute("UPDATE plan_run SET next_at = now()")
        await until(lambda: world.pool.fetchval("SELECT true FROM plan_step WHERE state = 'timed_out'"))
        await reads(world, "charger-1", "charger", power=0.0)
        await until(lambda: world.pool.fetchval("SELECT true FROM command WHERE state = 'confirmed'"))
    assert (await steps(world.pool))["stop"] == "timed_out", "what was over stays over"
    notes = await world.pool.fetch(
        "SELECT detail->>'note' AS note, detail->>'outcome' AS outcome FROM work_order_history WHERE move = 'note' "
        "ORDER BY version"
    )
    assert [row["outcome"] for row in notes] == [None, "confirmed"]
    assert "未证实（test-charger-1" in notes[0]["note"] and "现已证实（test-charger-1）" in notes[1]["note"]


async def test_plan_that_nobody_approved_does_nothing_and_an_edit_needs_it_anew(world: World) -> None:
    text = "id: p\ntitle: {zh: 甲, en: %s}\ntrigger: {alerts: [charger.hot]}\nsteps:\n  - id: w\n    wait: 60s\n"
    await put_plan(world.pool, text % "one", "p", approved=False)
    async with engine(world):
        await world.event("charger-1", "overheat")
        await until(lambda: world.alerts())
        assert await world.pool.fetchval("SELECT count(*) FROM plan_run") == 0
        await put_plan(world.pool, text % "two", "p")
        await put_plan(world.pool, text % "three", "p", approved=False)
        await world.event("charger-2", "overheat") if "test-charger-2" in world.numbers else await asyncio.sleep(0)
    assert await world.pool.fetchval("SELECT count(*) FROM plan_run WHERE version <> 2") == 0


async def test_author_cannot_approve_his_own_plan_even_in_the_database(world: World) -> None:
    await put_plan(world.pool, "x", "p", approved=False)
    with pytest.raises(Exception, match="another than its author"):
        await world.pool.execute(
            "INSERT INTO plan_approval (community_id, plan_id, version, approved_by) VALUES ('test', 'p', 1, 'author')"
        )


async def test_two_engines_and_a_repeat_start_one_run(world: World) -> None:
    await put_default(world.pool, "gas_leak")
    async with engine(world, "one"), engine(world, "two"):
        await world.event("gas_alarm-1", "alarm")
        await world.event("gas_alarm-1", "alarm")
        await ran(world)
        await world.caught_up()
    assert await world.pool.fetchval("SELECT count(*) FROM plan_run") == 1
    doubled = "SELECT count(*) FROM (SELECT 1 FROM command GROUP BY device_no, name, step HAVING count(*) > 1) x"
    assert await world.pool.fetchval(doubled) == 0


async def test_plan_that_cannot_be_read_leaves_the_alert_and_the_other_plans(world: World) -> None:
    await put_plan(world.pool, "id: bad\nsteps: []\n", "bad")
    await put_default(world.pool, "charger_hot")
    async with engine(world):
        await world.event("charger-1", "overheat")
        run = await ran(world)
    assert run["plan_id"] == "charger_hot"
    assert len(await world.alerts()) == 1 and len(await world.orders()) == 1


async def test_commands_of_an_engine_that_stood_still_expire_unsent(world: World) -> None:
    """Time went on while nobody stood by: nothing of it is caught up with."""
    await put_default(world.pool, "fire")
    async with engine(world):
        await world.event("smoke_detector-1", "alarm")
        await world.event("smoke_detector-2", "alarm")
        await ran(world)
        await world.caught_up()
    past = datetime.now(UTC) - timedelta(hours=1)
    await world.pool.execute(
        "UPDATE command SET requested_at = $1::timestamptz, expires_at = $1::timestamptz + interval '30 s'", past
    )
    await world.pool.execute(
        "UPDATE plan_step SET due_at = due_at - interval '1 h', requested_at = requested_at - interval '1 h',"
        " expires_at = expires_at - interval '1 h', ended_at = ended_at - interval '1 h'"
    )
    await world.pool.execute("UPDATE plan_run SET next_at = $1, started_at = started_at - interval '1 h'", past)
    before = await world.pool.fetchval("SELECT count(*) FROM command")
    async with engine(world):
        await until(lambda: world.pool.fetchval("SELECT true FROM plan_run WHERE state <> 'running'"))
    assert await world.pool.fetchval("SELECT count(*) FROM command") == before
    assert await world.pool.fetchval("SELECT count(*) FROM command WHERE state <> 'expired'") == 0
    assert (await steps(world.pool))["again"] == "timed_out"
