"""Faults 3, 15 and kin: ingest killed or cut off at any moment loses nothing and doubles nothing.

LINHUB_FAULT_KILLS sets the kill points (default 3; campaigns use 20 and more), LINHUB_FAULT_SEED repeats a run.
"""

from __future__ import annotations

import asyncio
import random

import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from deploy.embedded.ports import answers
from services.adapters.mqtt import NEVER_EXPIRES, Address
from services.domain.ids import CommunityId, partition_of
from services.ingest.main import Superseded
from tests.conftest import Mqtt
from tests.fault_kit import KILLS, SEED, IngestProcess, Proxy, Stubborn, assert_each_once, well
from tests.fault_rows import note, row
from tests.ingest_kit import Database, Wire, client_prefix, database, ingest, now_ms, until


def devices(wire: Wire, home: str) -> Stubborn:
    return Stubborn(wire, home, [f"{home}-environment-1"], f"{home}-sos_button-1")


@row(3)
async def test_ingest_killed_at_random_moments_loses_and_doubles_nothing(
    db: Database, database_url: str, mqtt: Mqtt, wire: Wire, home: str
) -> None:
    chance = random.Random(SEED)
    said = devices(wire, home)
    process = IngestProcess(database_url, mqtt.url, f"t-{home}")
    await process.start()
    try:
        for _ in range(KILLS):
            await process.ready()
            await said.keep_saying(chance.uniform(0.02, 0.8))
            await process.kill()
            said.say(40)
            await process.start()
        await process.ready()
        again = await said.until_acknowledged()
        note(kills=KILLS, sent_again=again)
    finally:
        await process.stop()
    await assert_each_once(db, said)


async def none_waiting(said: Stubborn) -> bool:
    return said.forget_acknowledged() == 0


@row(15)
async def test_ingest_counts_once_when_the_reply_to_a_commit_is_lost(
    db: Database, database_url: str, mqtt: Mqtt, wire: Wire, home: str
) -> None:
    said = devices(wire, home)
    async with Proxy(database_url).running() as proxy, ingest(proxy.url, mqtt.url):
        for _ in range(5):
            before = proxy.done
            proxy.cut = 2
            said.say(60)
            await until(lambda: none_waiting(said))
            assert proxy.done > before
        proxy.cut = 0
    await assert_each_once(db, said)
    assert (await db.ledger())["duplicate"] == 0


async def test_ingest_keeps_everything_while_the_broker_connection_breaks(
    db: Database, database_url: str, mqtt: Mqtt, wire: Wire, home: str
) -> None:
    said = devices(wire, home)
    async with Proxy(mqtt.url).running() as proxy, ingest(database_url, proxy.url) as port:
        for _ in range(5):
            said.say(150)
            await asyncio.sleep(0.02)
            assert await proxy.drop() == 33, "two sessions a partition and the strays'"
            said.say(50)
            await until(lambda: all_back(proxy, port))
        # No device sends again: what the broker had and was not told of, it delivers again.
        await until(lambda: none_stored_missing(db, said))
    await assert_each_once(db, said)


async def all_back(proxy: Proxy, port: int) -> bool:
    """Readiness does not wait for the strays' session at once.

    Counted first: who has come anew knows of the cut, so that the readiness asked for then is of after it.
    """
    return proxy.connections == 33 and await well(port)


async def gone(port: int) -> bool:
    """Its port is closed."""
    return await asyncio.to_thread(lambda: not answers(port))


async def none_stored_missing(db: Database, said: Stubborn) -> bool:
    return (await db.ledger())["stored"] == len(said.sent)


async def test_ingest_keeps_everything_while_the_database_drops_its_connections(
    db: Database, database_url: str, mqtt: Mqtt, wire: Wire, home: str
) -> None:
    said, worker = devices(wire, home), f"t-{home}"
    async with ingest(database_url, mqtt.url, worker=worker):
        for _ in range(8):
            said.say(100)
            await db.connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE $1",
                f"linhub-{worker}/%",
            )
            await asyncio.sleep(0.05)
        await until(lambda: none_waiting(said))
    await assert_each_once(db, said)


async def test_ingest_lets_events_pass_while_the_telemetry_is_stuck(
    db: Database, database_url: str, mqtt: Mqtt, wire: Wire, home: str
) -> None:
    device, sos = f"{home}-environment-1", f"{home}-sos_button-1"
    async with ingest(database_url, mqtt.url), database(database_url) as other:
        lock = other.connection.transaction()
        await lock.start()
        await other.connection.execute("LOCK TABLE reading IN ACCESS EXCLUSIVE MODE")
        wire.send(f"sc/{home}/{device}/up/telemetry", {"id": "t", "ts": now_ms(), "values": {"temperature": 20}})
        wire.send(f"sc/{home}/{sos}/up/telemetry", {"id": "b", "ts": now_ms(), "values": {"battery": 3}})
        await asyncio.sleep(0.3)
        for n in range(20):
            # The same device speaks on both lanes: its row of state must not hold the event up either.
            wire.send(f"sc/{home}/{sos}/up/event", {"id": f"e{n}", "ts": now_ms() + n, "event": "pressed"})
        await until(lambda: acknowledged(wire, home, sos, 20))
        assert await db.count("device_event") == 20
        assert wire.acked(home, device) == set()
        await lock.rollback()
        await until(lambda: acknowledged(wire, home, device, 1))


async def acknowledged(wire: Wire, home: str, device: str, count: int) -> bool:
    return len(wire.acked(home, device)) >= count


async def test_ingest_isolates_a_message_that_the_database_refuses(
    db: Database, database_url: str, mqtt: Mqtt, wire: Wire, home: str
) -> None:
    await db.connection.execute("ALTER TABLE device_event ADD CONSTRAINT odd CHECK (message_id <> 'm40')")
    said = devices(wire, home)
    async with ingest(database_url, mqtt.url):
        said.say(100)
        await db.received(100)
    ledger = await db.ledger()
    assert ledger == {"received": 100, "stored": 99, "duplicate": 0, "rejected": 1}
    assert await db.quarantine() == [("message", "malformed", f"{home}-sos_button-1")]
    await until(lambda: acknowledged(wire, home, f"{home}-sos_button-1", 4))
    assert len(wire.acked(home, f"{home}-sos_button-1")) == 4


async def test_ingest_looks_again_when_somebody_else_wrote_its_log_and_goes_on_after_it(
    db: Database, database_url: str, mqtt: Mqtt, wire: Wire, home: str
) -> None:
    device, ts = f"{home}-environment-1", now_ms() - 1000
    topic = f"sc/{home}/{device}/up/telemetry"
    async with ingest(database_url, mqtt.url), database(database_url) as other:
        wire.send(topic, {"ts": ts, "values": {"temperature": 1}})
        await db.received(1)
        # What an owner does that does not know of the lease, told apart only by the name it writes.
        await other.connection.execute(
            "INSERT INTO ingest_log (partition, lane, seq, worker) SELECT partition, lane, seq + 1, 'other' "
            "FROM ingest_log WHERE lane = 1"
        )
        wire.send(topic, {"ts": ts + 1, "values": {"temperature": 2}})
        await db.received(2)
    assert list(await db.readings(device)) == [ts, ts + 1]
    assert [numbers for (_, lane), numbers in (await db.log_numbers()).items() if lane == 1] == [[1, 2, 3]]


async def test_ingest_takes_its_sessions_back_from_somebody_who_owns_nothing(
    db: Database, database_url: str, mqtt: Mqtt, wire: Wire, home: str
) -> None:
    said = devices(wire, home)
    async with ingest(database_url, mqtt.url) as port:
        thief = Client(
            CallbackAPIVersion.VERSION2,
            f"{client_prefix(database_url)}-p{partition_of(CommunityId(home))}-event",
            protocol=MQTTProtocolVersion.MQTTv5,
            reconnect_on_failure=False,
        )
        address = Address.parse(mqtt.url)
        thief.username_pw_set(address.username, address.password)
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = NEVER_EXPIRES
        thief.connect(address.host, address.port, clean_start=False, properties=properties)
        thief.loop_start()
        await until(lambda: well(port))
        thief.loop_stop()
        said.say(100)
        await until(lambda: none_waiting(said))
    await assert_each_once(db, said)


async def test_ingest_whose_name_another_process_took_ends_and_says_so(
    db: Database, database_url: str, mqtt: Mqtt, home: str
) -> None:
    with pytest.raises(Superseded, match="another process is called"):
        async with ingest(database_url, mqtt.url, worker="t-same") as port:
            # As after a long freeze: dismissed by somebody, and its name given to a process that came after it.
            async with db.connection.transaction():
                await db.connection.execute("UPDATE worker_lease SET owner = '' WHERE consumer = 'ingest'")
                await db.connection.execute("UPDATE ingest_worker SET instance = 'somebody else'")
            await until(lambda: gone(port))


async def test_ingest_waits_while_a_living_process_has_its_name(db: Database, database_url: str, mqtt: Mqtt) -> None:
    second = IngestProcess(database_url, mqtt.url, "t-same")
    async with ingest(database_url, mqtt.url, worker="t-same"), second.running():
        assert "another process is called t-same" in await second.waits_for("another process")
    # The first is gone: whoever waits is the worker now.
    async with second.running():
        await second.ready()
