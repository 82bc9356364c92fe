"""Fault 1: the broker killed in mid-stream. What has its application ack is stored, once; ingest finds back by itself.

LINHUB_FAULT_KILLS and LINHUB_FAULT_SEED as in `tests.fault_kit`.
"""

from __future__ import annotations

import random
import time
from collections import Counter

from deploy.embedded.postgres import DATABASE
from tests.conftest import Servers, with_database
from tests.factory import put_community, small_community
from tests.fault_kit import KILLS, SEED, IngestProcess, Stubborn, assert_each_once, revive, stored, tell
from tests.ingest_kit import Wire, database


async def test_broker_killed_in_mid_stream_loses_and_doubles_nothing(breakable: Servers) -> None:
    assert breakable.stack is not None
    tell(f"seed {SEED}, kills {KILLS}")
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
                assert said.acknowledged() <= set(await stored(db))
                await revive(broker)
                back = time.monotonic()
                await ingest.ready()
                tell(f"{why!r} after {seen:.2f} s, ready {time.monotonic() - back:.2f} s after the broker")
            tell(f"sent again {await said.until_acknowledged()}")
            await assert_each_once(db, said)
        told = Counter((line["client_id"], line["why"]) for line in ingest.said("broker_connection_lost"))
        assert len({client for client, _ in told}) == 2
        assert max(told.values()) <= KILLS, f"one line a state: {told}"
    finally:
        wire.close()
