"""Faults 6 and 7: the database killed or frozen under ingest and alert engine in mid-stream.

Both say so and recover by themselves; nothing is acknowledged that is not committed; each alarm gets one order.
LINHUB_FAULT_KILLS and LINHUB_FAULT_SEED as in `tests.fault_kit`; LINHUB_FAULT_FREEZE_S is how long a freeze lasts.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from deploy.embedded.postgres import DATABASE, Postgres
from deploy.embedded.service import Service
from tests.api_server import KEY
from tests.conftest import Servers, with_database
from tests.fault_kit import (
    FREEZE_S,
    KILLS,
    SEED,
    IngestProcess,
    ServiceProcess,
    Stubborn,
    all_acknowledged,
    all_stored,
    assert_each_once,
    assert_one_order_each,
    many_buttons,
    quit_at_once,
    revive,
    tell,
)
from tests.fault_rows import note, row
from tests.ingest_kit import Wire, database, until

BUTTONS = 40
"""Pressed in each round, each once."""


@dataclass
class Scene:
    """Ingest and alert engine at work on servers that may be broken, and devices that speak to them."""

    url: str
    postgres: Postgres
    ingest: IngestProcess
    alerts: ServiceProcess
    said: Stubborn
    buttons: list[str]

    async def ready(self) -> None:
        await asyncio.gather(self.ingest.ready(), self.alerts.ready())

    async def waits(self) -> tuple[str, float]:
        """What both say of the database, and after how many seconds the later one said it."""
        began = time.monotonic()
        words = await asyncio.gather(self.ingest.waits_for("database"), self.alerts.waits_for("database"))
        return " | ".join(words), time.monotonic() - began

    async def stream(self, seconds: float, turn: int) -> None:
        waiting = self.buttons[turn * BUTTONS : (turn + 1) * BUTTONS]
        await self.said.keep_saying(seconds, lambda: self.said.press(waiting.pop()) if waiting else None)
        for button in waiting:
            self.said.press(button)

    async def assert_whole(self) -> None:
        """Everything is stored without any device having sent twice: the broker kept what had no commit."""
        async with database(self.url) as db:
            await until(lambda: all_stored(db, self.said))
            await assert_each_once(db, self.said)
            await assert_one_order_each(db, self.buttons)
        await until(lambda: all_acknowledged(self.said))


@asynccontextmanager
async def scene(servers: Servers, rounds: int) -> AsyncIterator[Scene]:
    assert servers.stack is not None
    url = with_database(servers.database_url, DATABASE)
    buttons = await many_buttons(url, "home", rounds * BUTTONS)
    mqtt_url = servers.mqtt.account_url("svc-ingest")
    quick = {"commit_timeout_s": 1, "retry_max_s": 0.5}
    ingest = IngestProcess(url, mqtt_url, "t-home", **quick)
    alerts = ServiceProcess("alerts", url, alerts_lease_s=1, alerts_poll_s=0.2)
    wire = Wire(servers.mqtt.url)
    try:
        async with ingest.running(), alerts.running():
            said = Stubborn(wire, "home", ["home-environment-1"], "home-sos_button-1")
            yield Scene(url, servers.stack.postgres, ingest, alerts, said, buttons)
    finally:
        wire.close()


@row(6)
async def test_database_killed_in_mid_stream_loses_and_doubles_nothing(breakable: Servers) -> None:
    """While it is away ingest is killed too in the last round: only the broker remembers what was not committed."""
    chance = random.Random(SEED)
    async with scene(breakable, KILLS) as s:
        for turn in range(KILLS):
            await s.ready()
            await s.stream(chance.uniform(0.05, 0.8), turn)
            if turn % 2:
                await quit_at_once(s.postgres)
            else:
                s.postgres.kill()
            words, seen = await s.waits()
            s.said.say(100)
            s.ingest.freeze()
            acknowledged = s.said.acknowledged()
            await revive(s.postgres)
            async with database(s.url) as db:
                assert acknowledged <= set(await db.stored()), "acknowledged and not committed"
            if turn == KILLS - 1:
                await s.ingest.kill()
                await s.ingest.start()
            back = time.monotonic()
            s.ingest.thaw()
            await s.ready()
            note(kills=1, seen_s=seen, ready_s=time.monotonic() - back, said=words)
        assert s.alerts.alive
        faults = [*s.alerts.said("partition_failed"), *s.alerts.said("loop_failed")]
        assert not faults, "a database that is away is no fault of the engine"
        await s.assert_whole()


@row(7)
async def test_database_frozen_in_mid_stream_loses_and_doubles_nothing(breakable: Servers) -> None:
    async with scene(breakable, 2) as s:
        for turn in range(2):
            await s.ready()
            frozen = asyncio.create_task(asyncio.sleep(FREEZE_S))
            streaming = asyncio.create_task(s.stream(1, turn))
            await asyncio.sleep(random.Random(SEED).uniform(0.05, 0.5))
            s.postgres.freeze()
            words, seen = await s.waits()
            await asyncio.gather(frozen, streaming)
            s.postgres.thaw()
            back = time.monotonic()
            await s.ready()
            note(frozen_s=FREEZE_S, seen_s=seen, ready_s=time.monotonic() - back, said=words)
        assert s.ingest.alive and s.alerts.alive
        await s.assert_whole()


async def test_services_stop_in_time_while_the_database_is_frozen(breakable: Servers) -> None:
    assert breakable.stack is not None
    url = with_database(breakable.database_url, DATABASE)
    services = [
        IngestProcess(url, breakable.mqtt.account_url("svc-ingest"), "t-home", drain_s=1),
        ServiceProcess("alerts", url),
        ServiceProcess("api", url, secret_key=KEY),
    ]
    async with AsyncExitStack() as stack:
        for service in services:
            await stack.enter_async_context(service.running())
        await asyncio.gather(*(service.ready() for service in services))
        breakable.stack.postgres.freeze()
        # Each asks the database at least once a second: now all are in the middle of a question.
        await asyncio.sleep(1.5)
        took = await asyncio.gather(*(stopping_s(service) for service in services))
    breakable.stack.postgres.thaw()
    tell(f"ingest, alerts, api stopped in {took}")
    assert max(took) < Service.stop_timeout_s, "the launcher would have killed it"


async def stopping_s(service: ServiceProcess) -> float:
    began = time.monotonic()
    try:
        assert await service.stop() == 0
    except TimeoutError:
        await service.kill()
    return round(time.monotonic() - began, 1)
