"""Faults 1 and 2: the broker killed or frozen in mid-stream.

What has its application ack is stored, once; ingest finds back by itself.

LINHUB_FAULT_KILLS and LINHUB_FAULT_SEED as in `tests.fault_kit`.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter

from deploy.embedded.postgres import DATABASE
from services.domain.ids import PARTITIONS
from tests.conftest import Servers, with_database
from tests.factory import put_community, small_community
from tests.fault_kit import FREEZE_S, KILLS, SEED, IngestProcess, Stubborn, all_stored, assert_each_once, revive
from tests.fault_rows import CAMPAIGN, note, row
from tests.ingest_kit import Database, Wire, database, until


@row(1)
async def test_broker_killed_in_mid_stream_loses_and_doubles_nothing(breakable: Servers) -> None:
    assert breakable.stack is not None
    chance = random.Random(SEED)
    url, broker = with_database(breakable.database_url, DATABASE), breakable.stack.mosquitto
    await put_community(url, small_community("home"))
    wire = Wire(breakable.mqtt.url)
    said = Stubborn(wire, "home", ["home-environment-1"], "home-sos_button-1")
    process = IngestProcess(url, breakable.mqtt.account_url("svc-ingest"), "t-home")
    try:
        async with database(url) as db, process.running() as ingest:
            for _ in range(KILLS):
                await ingest.ready()
                await said.keep_saying(chance.uniform(0.05, 0.8))
                broker.kill()
                killed = time.monotonic()
                why = await ingest.waits_for("broker")
                seen = time.monotonic() - killed
                said.say(100)
                assert said.acknowledged() <= set(await db.stored())
                await revive(broker)
                back = time.monotonic()
                await ingest.ready()
                note(kills=1, seen_s=seen, ready_s=time.monotonic() - back, said=why)
            forgotten = len(said.sent) - len(await settled(db))
            note(lost_without_application_ack=forgotten, sent_again=await said.until_acknowledged())
            await assert_each_once(db, said)
        told = Counter((line["client_id"], line["why"]) for line in ingest.said("broker_connection_lost"))
        assert len({client for client, _ in told}) == 2 * PARTITIONS + 1, "two lanes a partition, and the strays"
        assert max(told.values()) <= KILLS, f"one line a state: {told}"
    finally:
        wire.close()


async def settled(db: Database) -> list[tuple[str, int]]:
    """What is stored once nothing more comes: the broker has given out all that it still had."""
    before: list[tuple[str, int]] = []
    while len(now := await db.stored()) != len(before) or not now:
        before = now
        await asyncio.sleep(0.7)
    return now


@row(2)
async def test_broker_frozen_in_mid_stream_is_noticed_and_loses_and_doubles_nothing(breakable: Servers) -> None:
    """It neither answers nor closes a connection: only the keep-alive tells."""
    assert breakable.stack is not None
    url, broker = with_database(breakable.database_url, DATABASE), breakable.stack.mosquitto
    await put_community(url, small_community("home"))
    wire = Wire(breakable.mqtt.url)
    said = Stubborn(wire, "home", ["home-environment-1"], "home-sos_button-1")
    keepalive_s = 15 if CAMPAIGN else 1
    process = IngestProcess(
        url, breakable.mqtt.account_url("svc-ingest"), "t-home", broker_keepalive_s=keepalive_s, retry_max_s=0.5
    )
    try:
        async with database(url) as db, process.running() as ingest:
            await ingest.ready()
            await said.keep_saying(random.Random(SEED).uniform(0.2, 0.8))
            thaw = asyncio.create_task(asyncio.sleep(FREEZE_S))
            broker.freeze()
            frozen = time.monotonic()
            said.say(200)
            why = await ingest.waits_for("broker")
            seen = time.monotonic() - frozen
            assert said.acknowledged() <= set(await db.stored())
            await thaw
            broker.thaw()
            back = time.monotonic()
            await ingest.ready()
            note(frozen_s=time.monotonic() - frozen, seen_s=seen, ready_s=time.monotonic() - back, said=why)
            await until(lambda: all_stored(db, said))
            note(lost_without_application_ack=0, sent_again=await said.until_acknowledged())
            await assert_each_once(db, said)
    finally:
        wire.close()
