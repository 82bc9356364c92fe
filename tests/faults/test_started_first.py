"""Services started before their servers exist: they wait, say for what, and become ready by themselves."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import asyncpg

from bench.system import drop_database
from deploy.embedded.postgres import DATABASE
from services.adapters.migrate import migrate
from services.domain.ids import PARTITIONS
from tests.api_server import KEY
from tests.conftest import Servers, with_database
from tests.fault_kit import IngestProcess, ServiceProcess, Stubborn, assert_one_order_each, many_buttons, revive, tell
from tests.ingest_kit import Wire, database, until


async def run_sql(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def waits(service: ServiceProcess) -> list[str]:
    return [str(line["why"]) for line in service.said("waiting_for_database")]


async def all_say(services: list[ServiceProcess], words: str) -> None:
    """In the log of each; none is ready and none has ended."""

    async def said() -> bool:
        assert all(service.alive for service in services)
        return all(words in wait for service in services for wait in waits(service)[-1:]) and all(map(waits, services))

    await until(said)
    assert all(await asyncio.gather(*(service.why() for service in services)))


async def test_services_started_before_their_servers_say_what_they_wait_for_and_get_ready(breakable: Servers) -> None:
    assert breakable.stack is not None
    postgres, broker = breakable.stack.postgres, breakable.stack.mosquitto
    url = with_database(breakable.database_url, DATABASE)
    await drop_database(breakable.database_url, DATABASE)
    postgres.kill()
    broker.kill()
    ingest = IngestProcess(url, breakable.mqtt.account_url("svc-ingest"), "t-home")
    alerts, api = ServiceProcess("alerts", url), ServiceProcess("api", url, secret_key=KEY)
    services: list[ServiceProcess] = [ingest, alerts, api]
    async with AsyncExitStack() as stack:
        for service in services:
            await stack.enter_async_context(service.running())
        for service in services:
            await service.waits_for("database")
        await all_say(services, "database does not answer")

        await revive(postgres)
        await all_say(services, f'database "{DATABASE}" does not exist')

        await run_sql(breakable.database_url, f'CREATE DATABASE "{DATABASE}" TEMPLATE template0')
        await all_say(services, "linhub migrate")

        await migrate(url)
        await asyncio.gather(alerts.ready(), api.ready())
        assert (await ingest.waits_for("broker")).startswith("broker: ")

        await revive(broker)
        await ingest.ready()
        for service in services:
            said = waits(service)
            tell("\n  ".join([type(service).__name__, *said]))
            assert len(said) == len(set(said)), "one line a state"
        assert len({line["client_id"] for line in ingest.said("broker_connection_lost")}) == 2 * PARTITIONS + 1
        assert len(ingest.said("broker_connection_lost")) == 2 * PARTITIONS + 1
        await works(url, breakable)


async def works(url: str, servers: Servers) -> None:
    """A device registered since then calls for help and gets an order."""
    (button,) = await many_buttons(url, "home", 1)
    wire = Wire(servers.mqtt.url)
    try:
        said = Stubborn(wire, "home", ["home-environment-1"], "home-sos_button-1")
        said.press(button)
        await said.until_acknowledged()
        async with database(url) as db:
            await assert_one_order_each(db, [button])
    finally:
        wire.close()
