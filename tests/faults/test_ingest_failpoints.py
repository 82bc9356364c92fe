"""Faults 3, 4, 5 and 19: ingest dies, freezes or fails at a named place of a batch's life.

LINHUB_FAULT_KILLS and LINHUB_FAULT_SEED as in `tests.fault_kit`; LINHUB_FAULT_FREEZE_S is how long a freeze lasts.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Sequence

import psutil
import pytest

from tests.conftest import Mqtt
from tests.fault_kit import (
    FREEZE_S,
    KILLS,
    SEED,
    IngestProcess,
    Stubborn,
    all_acknowledged,
    all_stored,
    assert_each_once,
    well,
)
from tests.fault_rows import note, row
from tests.ingest_kit import Database, ingest, until

BEFORE_COMMIT = ("received", "store", "before_commit")
AFTER_COMMIT = ("after_commit", "ack", "before_puback", "after_puback")


async def dies_at(points: Sequence[str], url: str, mqtt: Mqtt, home: str, said: Stubborn) -> None:
    """So many lives, each ended by itself in the middle of a stream; then one that may finish the work."""
    chance = random.Random(SEED)
    for turn in range(KILLS):
        failpoint = f"{points[turn % len(points)]}:kill:{chance.randint(1, 8)}"
        life = IngestProcess(url, mqtt.url, f"t-{home}", failpoint=failpoint)
        await life.start()
        if not turn:
            # The broker keeps nothing for a session that never was.
            await life.ready()
        streaming = asyncio.create_task(said.keep_saying(20))
        try:
            assert await life.exit_code() == -signal.SIGKILL
        finally:
            streaming.cancel()
            await life.kill()
        assert life.said("failpoint_armed")


@row(3)
async def test_ingest_that_dies_before_its_commit_loses_and_doubles_nothing(
    db: Database, database_url: str, mqtt: Mqtt, home: str, said: Stubborn
) -> None:
    await dies_at(BEFORE_COMMIT, database_url, mqtt, home, said)
    async with IngestProcess(database_url, mqtt.url, f"t-{home}").running():
        # No device sends again: the broker still has it all.
        await until(lambda: all_stored(db, said))
        again = await said.until_acknowledged()
        await assert_each_once(db, said)
        note(kills=KILLS, sent_again_by_devices=again)


@row(4)
async def test_ingest_that_dies_between_commit_and_ack_hears_it_again_and_stores_it_once(
    db: Database, database_url: str, mqtt: Mqtt, home: str, said: Stubborn
) -> None:
    await dies_at(AFTER_COMMIT, database_url, mqtt, home, said)
    async with IngestProcess(database_url, mqtt.url, f"t-{home}").running():
        await until(lambda: all_stored(db, said))
        redelivered = (await db.ledger())["duplicate"]
        again = await said.until_acknowledged()
        await assert_each_once(db, said)
    assert redelivered > 0, "it was never killed between commit and acknowledgement"
    note(kills=KILLS, redelivered=redelivered, sent_again_by_devices=again)


@row(5)
@pytest.mark.parametrize("point", ["before_commit", "after_commit"])
async def test_ingest_frozen_in_the_middle_of_a_batch_goes_on_where_it_was(
    db: Database, database_url: str, mqtt: Mqtt, home: str, said: Stubborn, point: str
) -> None:
    """For longer than the broker waits: what it acknowledges after waking belongs to a connection that is gone."""
    process = IngestProcess(database_url, mqtt.url, f"t-{home}", broker_keepalive_s=1, failpoint=f"{point}:freeze:3")
    async with process.running():
        await process.ready()
        streaming = asyncio.create_task(said.keep_saying(60))  # until it has had three batches
        await until(lambda: frozen(process.pid))
        streaming.cancel()
        await asyncio.gather(streaming, return_exceptions=True)
        await asyncio.sleep(FREEZE_S)
        assert psutil.Process(process.pid).status() == psutil.STATUS_STOPPED
        process.thaw()
        await until(lambda: all_stored(db, said))
        redelivered = (await db.ledger())["duplicate"]
        again = await said.until_acknowledged()
        await assert_each_once(db, said)
        lost = process.said("broker_connection_lost")
        note(frozen_s=FREEZE_S, redelivered=redelivered, sent_again_by_devices=again, connections_lost=len(lost))
        assert lost, "it was not frozen for long enough to mean anything"


async def frozen(pid: int) -> bool:
    return psutil.Process(pid).status() == psutil.STATUS_STOPPED


@row(19)
@pytest.mark.parametrize("point", ["decode", "check"])
async def test_ingest_sets_aside_a_message_whose_handler_raises_and_delivers_the_others(
    db: Database, database_url: str, mqtt: Mqtt, said: Stubborn, point: str
) -> None:
    """It is kept in quarantine and not acknowledged, so its device sends it again: what passes costs nothing."""
    async with ingest(database_url, mqtt.url, failpoint=f"{point}:raise:37") as port:
        said.say(400)
        first = await db.received(400)
        found = len(await db.stored())
        again = await said.until_acknowledged()
        await until(lambda: well(port))
    assert first == {"received": 400, "stored": 400 - 400 // 37, "duplicate": 0, "rejected": 400 // 37}
    assert {(scope, reason) for scope, reason, _ in await db.quarantine()} == {("message", "malformed")}
    ledger, stored = await db.ledger(), await db.stored()
    lost = len(set(said.sent.values()) - set(stored))
    note(sent=400, lost=lost, doubled=len(stored) - len(set(stored)), good_at_once=found, sent_again=again, crashes=0)
    assert (ledger["stored"], len(stored), lost) == (400, 400, 0)
    # One that fails again when it is sent again is one row, counted twice.
    assert ledger["rejected"] == await db.connection.fetchval("SELECT sum(times)::integer FROM quarantine")


@row(19)
async def test_ingest_reads_the_long_way_what_the_short_way_stumbles_over(
    db: Database, database_url: str, mqtt: Mqtt, said: Stubborn
) -> None:
    async with ingest(database_url, mqtt.url, failpoint="plain:raise:2") as port:
        for _ in range(8):
            said.say(50)
            await asyncio.sleep(0.03)
        await until(lambda: all_acknowledged(said))
        await until(lambda: well(port))
        await assert_each_once(db, said)
    assert (await db.ledger())["rejected"] == 0
    note(crashes=0)


@row(19)
@pytest.mark.parametrize("point", ["store", "before_commit", "ack"])
async def test_ingest_delivers_everything_when_store_or_ack_raises_now_and_then(
    db: Database, database_url: str, mqtt: Mqtt, said: Stubborn, point: str
) -> None:
    async with ingest(database_url, mqtt.url, failpoint=f"{point}:raise:5") as port:
        for _ in range(8):
            said.say(50)
            await asyncio.sleep(0.03)
        again = await said.until_acknowledged()
        await until(lambda: well(port))
        await assert_each_once(db, said)
        note(sent_again_by_devices=again, crashes=0)


@row(19)
async def test_ingest_quarantines_the_one_message_that_can_never_be_stored(
    db: Database, database_url: str, mqtt: Mqtt, home: str, said: Stubborn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of ours that does not pass by itself costs the message that brings it out, and no other."""
    from services.ingest import store

    whole = store.write

    async def stumbles(connection: object, owner: object, batch: store.Batch, *more: object) -> None:
        if any(b"m140" in message.payload for message in batch.messages) and batch.checked.items():
            raise KeyError("nobody foresaw this")
        await whole(connection, owner, batch, *more)  # type: ignore[arg-type]

    monkeypatch.setattr(store, "write", stumbles)
    async with ingest(database_url, mqtt.url) as port:
        said.say(200)
        ledger = await db.received(200)
        await until(lambda: well(port))
    found = set(await db.stored())
    note(sent=200, lost=len(set(said.sent.values()) - {said.sent["m140"]} - found), doubled=0, crashes=0)
    assert ledger == {"received": 200, "stored": 199, "duplicate": 0, "rejected": 1}
    assert said.sent["m140"] not in found
