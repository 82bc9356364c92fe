"""Plans while engines die: two engines side by side, the one at work killed at random moments of every run.

LINHUB_FAULT_KILLS and LINHUB_FAULT_SEED as in `tests.fault_kit`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

import asyncpg
import pytest

from services.adapters.postgres import open_pool
from tests.fault_kit import KILLS, SEED, ServiceProcess, tell
from tests.fault_rows import note, take
from tests.integration.alerts_support import PARTITION, World, until
from tests.integration.plans_support import put_plan

ALERTS = 8
"""Chargers that overheat in each round."""
PLAN = """
id: faulty
title: {zh: 试, en: Trial}
trigger: {alerts: [charger.hot]}
steps:
  - id: stop
    command: {name: stop, kinds: [charger], within: trigger}
    timeout: 1s
    on_timeout: escalate
  - {id: pause, needs: [stop], wait: 1s}
  - id: tell
    needs: [pause]
    notice: {roles: [desk], text: {zh: "{device}", en: "{device}"}}
  - id: early
    after: 1s
    order: {team: maintenance, severity: critical}
"""
ENDED = "SELECT count(*) FROM plan_run WHERE state <> 'running'"


@pytest.fixture(autouse=True)
def whole_ledger(request: pytest.FixtureRequest) -> Iterator[None]:
    """Nothing comes through ingest here: the log is written by hand, and the ledger knows nothing of it."""
    take()
    yield
    request.node.user_properties += [("seed", SEED), *take().items()]


async def _owner(pool: asyncpg.Pool[Any], engines: Sequence[ServiceProcess]) -> ServiceProcess | None:
    """The engine that lives and has the partition; None while its lease is still that of one that was killed."""
    owner = await pool.fetchval(
        "SELECT owner FROM worker_lease WHERE consumer = 'alerts' AND partition = $1", PARTITION
    )
    if owner is None:
        return None
    return next((engine for engine in engines if engine.pid == int(owner.split(":")[1])), None)


@pytest.mark.fault(row=28)
async def test_engines_killed_at_random_moments_double_and_lose_no_step_of_a_plan(database_url: str) -> None:
    chance = random.Random(SEED)
    pool = await open_pool(database_url, name="test", max_size=4)
    world = World(database_url, pool)
    await world.prepare()
    names = [f"hot-{number}" for number in range(KILLS * ALERTS)]
    for name in names:
        number = await pool.fetchval(
            "INSERT INTO device (id, community_id, kind, name, interval_s, place) "
            "VALUES ($1, 'test', 'charger', $1, 60, '车位') RETURNING device_no",
            f"test-{name}",
        )
        world.numbers[f"test-{name}"] = number
    await put_plan(pool, PLAN, "faulty")
    async with AsyncExitStack() as stack:
        engines = [ServiceProcess("alerts", database_url, alerts_lease_s=1, alerts_settling_s=0) for _ in range(2)]
        for engine in engines:
            await stack.enter_async_context(engine.running())
        for turn in range(KILLS):
            await asyncio.gather(*(engine.ready() for engine in engines))
            for name in names[turn * ALERTS : (turn + 1) * ALERTS]:
                await world.event(name, "overheat")
            await asyncio.sleep(chance.uniform(0.0, 2.6))
            victim = await until(lambda: _owner(pool, engines))
            await victim.kill()
            await victim.start()

        async def all_ended() -> bool:
            return bool(await pool.fetchval(ENDED) == len(names))

        await until(all_ended)
    counts = {
        "runs": await pool.fetchval("SELECT count(*) FROM plan_run"),
        "commands": await pool.fetchval("SELECT count(*) FROM command"),
        "orders": await pool.fetchval("SELECT count(*) FROM work_order"),
    }
    assert counts == dict.fromkeys(counts, len(names))
    for kind, per_run in (("plan.started", 1), ("plan.ended", 1), ("command.requested", 1)):
        found = await pool.fetch("SELECT subject, count(*) AS n FROM outbox WHERE type = $1 GROUP BY 1", kind)
        assert len(found) == len(names) and {row["n"] for row in found} == {per_run}, kind
    notices = await pool.fetch(
        "SELECT subject, data->>'step' AS step, count(*) AS n FROM outbox WHERE type = 'notice.requested' GROUP BY 1, 2"
    )
    assert len(notices) == 2 * len(names) and {row["n"] for row in notices} == {1}
    steps = {row["state"] for row in await pool.fetch("SELECT state FROM plan_step WHERE step <> 'stop'")}
    assert steps == {"done"}
    stops = {row["state"] for row in await pool.fetch("SELECT state FROM plan_step WHERE step = 'stop'")}
    assert stops == {"timed_out"}
    assert await pool.fetchval("SELECT count(*) FROM command WHERE state <> 'expired'") == 0
    moves = await pool.fetch(
        "SELECT order_id, count(*) AS n FROM work_order_history WHERE move = 'transfer' GROUP BY 1"
    )
    assert len(moves) == len(names) and {row["n"] for row in moves} == {1}
    tell(f"plans: {KILLS} kills, {len(names)} runs, missed 0, doubled 0, seed {SEED}")
    note(kills=KILLS)
    await pool.close()
