"""Fault 13: ingest is away and the broker's queue overflows. What it dropped is counted; what has an id comes again."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from deploy.embedded import broker as embedded_broker
from deploy.embedded.postgres import DATABASE
from services.adapters.broker_figures import read_once
from services.adapters.migrate import migrate
from services.adapters.mqtt import Address
from tests.conftest import Servers, own_servers, with_database
from tests.factory import put_community, small_community
from tests.fault_disks import start_with
from tests.fault_kit import IngestProcess, Stubborn, Watched, assert_each_once
from tests.fault_rows import note, row
from tests.ingest_kit import Wire, client_prefix, database, until

QUEUED = 100


@pytest.fixture
def short_queue(monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    changes = {
        "max_queued_messages 3500000": f"max_queued_messages {QUEUED}",
        "max_inflight_messages 20000": "max_inflight_messages 20",
        "sys_interval 10": "sys_interval 1",
    }
    start_with(monkeypatch, embedded_broker, "render", changes)
    with tempfile.TemporaryDirectory(prefix="linhub-test-") as folder, own_servers(Path(folder)) as own:
        yield own


@row(13)
async def test_messages_the_broker_drops_are_counted_and_those_with_an_id_come_again(short_queue: Servers) -> None:
    url = with_database(short_queue.database_url, DATABASE)
    await migrate(url)
    await put_community(url, small_community("home"))
    wire = Wire(short_queue.mqtt.url)
    said = Stubborn(wire, "home", ["home-environment-1"], "home-sos_button-1")
    process = IngestProcess(url, short_queue.mqtt.account_url("svc-ingest"), "t-home")
    watched = Watched(short_queue, queue_messages=QUEUED)
    watching = asyncio.create_task(watched.watch.run())
    try:
        async with database(url) as db, process.running() as ingest:
            await ingest.ready()
            await ingest.kill()
            assert watched.watch.why() is None
            before = watched.dropped
            # The ear for strays hears all of it a second time; what is dropped of that costs nothing, and counts.
            forget(short_queue, f"{client_prefix(url)}-stray")
            said.say(700)
            await wire.sent()
            # Events and telemetry have a queue each, so that one cannot push the other out.
            await until(lambda: watched.has_dropped(before + 700 - 2 * (QUEUED + 20)))
            # What it tells last of itself is from before all of them had come, perhaps; what it tells then is not.
            address = Address(short_queue.mqtt.host, short_queue.mqtt.port, None, None)
            secret = short_queue.mqtt.accounts["svc-health"]
            told = await until(lambda: asyncio.to_thread(read_once, address, secret))
            assert told is not None and told.uptime_s is not None
            later_s = told.uptime_s + 3
            await until(lambda: has_run(watched, later_s))
            dropped = watched.dropped - before
            why = str(watched.watch.why())
            assert f"dropped {dropped:,} messages" in why
            assert "messages wait in one session" in why
            assert (watched.metric("trouble", kind="dropped"), watched.metric("trouble", kind="queue")) == (1, 1)
            once = await until(lambda: asyncio.to_thread(read_once, address, secret))
            assert once is not None and once.dropped == watched.dropped
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
        watching.cancel()
        wire.close()


async def has_run(watched: Watched, seconds: float) -> bool:
    return watched.metric("uptime_seconds") >= seconds


def forget(servers: Servers, session: str) -> None:
    """What a broker does with a session whose owner comes without it."""
    client = paho.Client(CallbackAPIVersion.VERSION2, session, clean_session=True)
    client.username_pw_set("svc-ingest", servers.mqtt.accounts["svc-ingest"])
    client.connect(servers.mqtt.host, servers.mqtt.port)
    while not client.is_connected():
        client.loop(0.1)
    client.disconnect()
    client.loop(0.1)
