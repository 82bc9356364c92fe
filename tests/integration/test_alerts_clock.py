"""What the alert engine does when the database's clock was put back, and when hundreds of orders lie unattended."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from services.adapters.postgres import open_pool
from services.alerts.escalation import escalate_due
from services.alerts.lease import hold
from tests.integration.alerts_support import PARTITION, World, engine, until

UNATTENDED = 201
"""More than one look at the database takes."""


@pytest.fixture
async def world(database_url: str) -> AsyncIterator[World]:
    pool = await open_pool(database_url, name="test", max_size=4)
    one = World(database_url, pool)
    await one.prepare()
    yield one
    await pool.close()


async def test_lease_of_a_clock_that_was_put_back_is_taken_over_when_its_owner_is_gone(world: World) -> None:
    async with world.pool.acquire() as connection:
        first = await hold(connection, "alerts", "gone", [PARTITION], 1.0)
        await connection.execute("UPDATE worker_lease SET expires_at = expires_at + interval '1 hour'")
        second = await hold(connection, "alerts", "next", [PARTITION], 1.0)
        assert second[PARTITION].epoch == first[PARTITION].epoch + 1
        # One that a living owner has just renewed lasts no longer than any.
        assert await hold(connection, "alerts", "third", [PARTITION], 1.0) == {}


async def test_orders_with_nothing_left_to_take_do_not_stand_before_those_that_wait(world: World) -> None:
    async with engine(world):
        await world.event("sos_button-1", "pressed")
        order = (await until(world.orders))[0]
    await world.pool.execute(
        "INSERT INTO work_order OVERRIDING SYSTEM VALUE SELECT (jsonb_populate_record(o, jsonb_build_object("
        "'id', gen_random_uuid(), 'number', 1000 + n, 'alert_id', NULL, "
        "'accept_due', o.accept_due - interval '1 day'))).* "
        "FROM work_order o, generate_series(1, $1) AS n",
        UNATTENDED,
    )
    now = order["dispatched_at"] + timedelta(seconds=119)
    taken = [await escalate_due(world.pool, [PARTITION], now) for _ in range(4)]
    assert (await world.orders(f"id = '{order['id']}'"))[0]["rung"] == 1
    assert taken == [4 * UNATTENDED + 1, 0, 0, 0]
    assert await escalate_due(world.pool, [PARTITION], now + timedelta(seconds=1)) == 1
