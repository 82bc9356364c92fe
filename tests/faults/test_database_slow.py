"""Fault 8, and what comes after every outage: the backlog. Memory stays bounded and events are drained first."""

from __future__ import annotations

import asyncio
import time

import psutil

from deploy.embedded.postgres import DATABASE
from tests.conftest import Mqtt, Servers, with_database
from tests.factory import put_community, small_community
from tests.fault_kit import IngestProcess, Stubborn, all_stored, assert_each_once, revive
from tests.fault_net import Line
from tests.fault_rows import CAMPAIGN, note, row
from tests.ingest_kit import Database, Wire, database, now_ms, until

SLOW_S = 60 if CAMPAIGN else 2
OUTAGE_S = 30 if CAMPAIGN else 2
HELD_BYTES = 1024 * 1024
BOUND_BYTES = 160 * 1024 * 1024
"""What a backlog may add to the process, whatever its size: the held payloads and their objects."""


class Memory:
    """The most a process held while it was watched."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self.first = self.peak = self._process.memory_info().rss

    async def watch(self) -> None:
        while True:
            self.peak = max(self.peak, self._process.memory_info().rss)
            await asyncio.sleep(0.05)


@row(8)
async def test_ingest_behind_a_database_slow_by_500_ms_loses_nothing_and_catches_up_in_bounded_memory(
    db: Database, database_url: str, mqtt: Mqtt, said: Stubborn, home: str
) -> None:
    async with Line(database_url).running() as line:
        process = IngestProcess(line.url, mqtt.url, f"t-{home}", held_bytes=HELD_BYTES, telemetry_window=5000)
        async with process.running():
            await process.ready()
            memory = Memory(process.pid)
            watching = asyncio.create_task(memory.watch())
            line.delay_s = 0.25
            await said.keep_saying(SLOW_S)
            behind = len(said.sent) - (await db.ledger())["stored"]
            line.delay_s = 0.0
            healed = time.monotonic()
            await until(lambda: all_stored(db, said))
            caught_up = time.monotonic() - healed
            watching.cancel()
            again = await said.until_acknowledged()
            await assert_each_once(db, said)
            note(behind=behind, caught_up_s=caught_up, sent_again=again)
            note(rss_start_mb=memory.first // 2**20, rss_peak_mb=memory.peak // 2**20)
            assert memory.peak - memory.first < BOUND_BYTES


@row(40)
async def test_after_an_outage_every_waiting_event_is_committed_before_the_last_telemetry(breakable: Servers) -> None:
    assert breakable.stack is not None
    url, postgres = with_database(breakable.database_url, DATABASE), breakable.stack.postgres
    await put_community(url, small_community("home"))
    wire = Wire(breakable.mqtt.url)
    said = Stubborn(wire, "home", ["home-environment-1"], "home-sos_button-1")
    quick = {"commit_timeout_s": 2, "retry_max_s": 0.2, "batch_messages": 20}
    process = IngestProcess(url, breakable.mqtt.account_url("svc-ingest"), "t-home", **quick)
    try:
        async with process.running() as ingest:
            await ingest.ready()
            memory = Memory(ingest.pid)
            watching = asyncio.create_task(memory.watch())
            postgres.kill()
            began = now_ms()
            end = asyncio.create_task(asyncio.sleep(OUTAGE_S))
            while not end.done():
                said.say(50)
                await asyncio.sleep(0.05)
            await wire.sent()
            waited = said.forget_acknowledged()
            assert waited == len(said.sent), "acknowledged without a database"
            await revive(postgres)
            back = time.monotonic()
            async with database(url) as db:
                await until(lambda: all_stored(db, said))
                drained = time.monotonic() - back
                watching.cancel()
                last = await last_commits(db)
                note(outage_s=(now_ms() - began) / 1000, waited=waited, drained_s=drained)
                note(events_first_by_ms=round((last[1] - last[0]) * 1000))
                note(rss_start_mb=memory.first // 2**20, rss_peak_mb=memory.peak // 2**20)
                again = await said.until_acknowledged()
                note(sent_again=again)
                await assert_each_once(db, said)
                assert last[0] < last[1], "an event was committed after the last of the telemetry"
                assert memory.peak - memory.first < BOUND_BYTES
    finally:
        wire.close()


async def last_commits(db: Database) -> dict[int, float]:
    """lane → when its last batch was committed, seconds."""
    rows = await db.connection.fetch(
        "SELECT lane, extract(epoch FROM max(committed_at)) AS at FROM ingest_log GROUP BY 1"
    )
    return {row["lane"]: float(row["at"]) for row in rows}
