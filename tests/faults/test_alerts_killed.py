"""Faults 28 and 29: alert engines killed while alarms come in; one engine, and two started side by side.

LINHUB_FAULT_KILLS and LINHUB_FAULT_SEED as in `tests.fault_kit`.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from functools import partial
from uuid import uuid4

import pytest

from services.domain.ids import CommunityId, partition_of
from tests.conftest import Mqtt
from tests.fault_kit import (
    KILLS,
    SEED,
    IngestProcess,
    ServiceProcess,
    Stubborn,
    assert_each_once,
    assert_one_order_each,
    many_buttons,
)
from tests.fault_rows import note
from tests.ingest_kit import Database, Wire, database, until

BUTTONS = 60
"""Pressed in each round, each once."""


@pytest.mark.parametrize(
    "count", [pytest.param(1, marks=pytest.mark.fault(row=28)), pytest.param(2, marks=pytest.mark.fault(row=29))]
)
async def test_alert_engines_killed_at_random_moments_miss_and_double_no_order(
    database_url: str, mqtt: Mqtt, count: int
) -> None:
    """Alarms are pressed from before each kill until after it; the victim is the engine that evaluates them."""
    chance = random.Random(SEED)
    home = f"f{uuid4().hex[:10]}"
    buttons = await many_buttons(database_url, home, KILLS * BUTTONS)
    left = list(buttons)
    wire = Wire(mqtt.url)
    said = Stubborn(wire, home, [f"{home}-environment-1"], f"{home}-sos_button-1")
    try:
        async with AsyncExitStack() as stack:
            db = await stack.enter_async_context(database(database_url))
            ingest = await stack.enter_async_context(IngestProcess(database_url, mqtt.url, f"t-{home}").running())
            engines = [ServiceProcess("alerts", database_url, alerts_lease_s=1) for _ in range(count)]
            for engine in engines:
                await stack.enter_async_context(engine.running())
            await ingest.ready()
            for _ in range(KILLS):
                await asyncio.gather(*(engine.ready() for engine in engines))
                orders = await db.count("work_order")
                pressing = asyncio.create_task(press(said, left[-BUTTONS:]))
                del left[-BUTTONS:]
                await until(partial(at_least, db, orders + 1))
                await asyncio.sleep(chance.uniform(0.0, 0.4))
                victim = await until(lambda: owner_of(db, home, engines))
                assert victim is not None
                await victim.kill()
                await victim.start()
                await pressing
            await said.until_acknowledged()
            await assert_each_once(db, said)
            await assert_one_order_each(db, buttons)
            note(kills=KILLS)
    finally:
        wire.close()


async def press(said: Stubborn, buttons: list[str]) -> None:
    """About a hundred a second."""
    for button in buttons:
        said.press(button)
        await asyncio.sleep(0.01)


async def at_least(db: Database, orders: int) -> bool:
    return await db.count("work_order") >= orders


async def owner_of(db: Database, community: str, engines: list[ServiceProcess]) -> ServiceProcess | None:
    """Which of these evaluates the community; None between two of them."""
    partition = partition_of(CommunityId(community))
    owner = await db.connection.fetchval(
        "SELECT owner FROM worker_lease WHERE consumer = 'alerts' AND partition = $1", partition
    )
    if owner is None:
        return None
    return next((engine for engine in engines if engine.alive and engine.pid == int(owner.split(":")[1])), None)
