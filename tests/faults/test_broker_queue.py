"""Fault 13: ingest is away and the broker's queue overflows. What it dropped is counted; what has an id comes again."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.embedded import broker as embedded_broker
from tests.conftest import Servers, own_servers, with_database
from tests.factory import put_community, small_community
from tests.fault_disks import start_with
from tests.fault_kit import IngestProcess, Stubborn, assert_each_once
from tests.fault_rows import note, row
from tests.ingest_kit import Wire, database, until

QUEUED = 100


@pytest.fixture
def short_queue(monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    changes = {
        "max_queued_messages 1000000": f"max_queued_messages {QUEUED}",
        "max_inflight_messages 20000": "max_inflight_messages 20",
        "sys_interval 10": "sys_interval 1",
    }
    start_with(monkeypatch, embedded_broker, "render", changes)
    with tempfile.TemporaryDirectory(prefix="linhub-test-") as folder, own_servers(Path(folder)) as own:
        yield own


@row(13)
async def test_messages_the_broker_drops_are_counted_and_those_with_an_id_come_again(short_queue: Servers) -> None:
    from deploy.embedded.postgres import DATABASE
    from services.adapters.migrate import migrate

    url = with_database(short_queue.database_url, DATABASE)
    await migrate(url)
    await put_community(url, small_community("home"))
    wire = Wire(short_queue.mqtt.url)
    said = Stubborn(wire, "home", ["home-environment-1"], "home-sos_button-1")
    process = IngestProcess(url, short_queue.mqtt.account_url("svc-ingest"), "t-home")
    try:
        counter = await asyncio.to_thread(Counter.of, short_queue)
        async with database(url) as db, process.running() as ingest:
            await ingest.ready()
            await ingest.kill()
            before = counter.value
            said.say(700)
            await wire.sent()
            # Events and telemetry have a queue each, so that one cannot push the other out.
            await until(lambda: counted(counter, before + 700 - 2 * (QUEUED + 20)))
            await asyncio.sleep(1.2)
            dropped = counter.value - before
            await ingest.start()
            await ingest.ready()
            first = await db.received(700 - dropped)
            found = len(await db.stored())
            note(dropped=dropped, counted=700 - found, kept=found)
            assert first["stored"] == found == 700 - dropped, "dropped and not counted"
            assert dropped > 0
            note(sent_again=await said.until_acknowledged())
            await assert_each_once(db, said)
    finally:
        wire.close()


class Counter:
    """What the broker says it dropped, as last told."""

    def __init__(self) -> None:
        self.value = 0

    @classmethod
    def of(cls, servers: Servers) -> Counter:
        from paho.mqtt.client import Client, MQTTMessage
        from paho.mqtt.enums import CallbackAPIVersion

        self = cls()

        def heard(_: Client, __: object, message: MQTTMessage) -> None:
            self.value = int(message.payload)

        client = Client(CallbackAPIVersion.VERSION2)
        client.username_pw_set(servers.mqtt.username, servers.mqtt.password)
        client.on_message = heard
        client.connect(servers.mqtt.host, servers.mqtt.port)
        client.subscribe("$SYS/broker/publish/messages/dropped", qos=1)
        client.loop_start()
        return self


async def counted(counter: Counter, least: int) -> bool:
    return counter.value >= least
