"""Faults 10 and 11: the disk of the database, then of the broker, is full. Loud, nothing acknowledged is lost, and

everything recovers by itself when there is room again.
"""

from __future__ import annotations

import asyncio
import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import httpx
import pytest

from deploy.embedded import broker as embedded_broker
from deploy.embedded.broker import Mosquitto
from services.adapters.migrate import migrate
from services.cli.checks import judge_saved
from tests.conftest import Servers, own_servers, with_database
from tests.factory import put_community, small_community
from tests.fault_disks import Disk, small_disk, start_with
from tests.fault_kit import IngestProcess, Stubborn, Watched, all_acknowledged, all_stored, assert_each_once, revive
from tests.fault_rows import CAMPAIGN, note, row
from tests.ingest_kit import Wire, database, until

SAVE_S = 2
FULL_S = 30 if CAMPAIGN else 1
DATABASE_DISK, BROKER_DISK = "/linhub/small", "/mosquitto/data"


@pytest.fixture
def small_database_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    small_disk(monkeypatch, "postgres", DATABASE_DISK)
    with tempfile.TemporaryDirectory(prefix="linhub-test-") as folder, own_servers(Path(folder)) as own:
        yield own


@pytest.fixture
def small_broker_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Servers]:
    small_disk(monkeypatch, "mosquitto", BROKER_DISK)
    start_with(monkeypatch, embedded_broker, "render", {"autosave_interval 120": f"autosave_interval {SAVE_S}"})
    with tempfile.TemporaryDirectory(prefix="linhub-test-") as folder, own_servers(Path(folder)) as own:
        yield own


async def on_small_disk(servers: Servers) -> str:
    """A migrated database whose tables lie on the small disk; the server's own and its WAL do not."""
    connection = await asyncpg.connect(servers.database_url)
    try:
        await connection.execute(f"CREATE TABLESPACE small LOCATION '{DATABASE_DISK}'")
        await connection.execute("CREATE DATABASE small TABLESPACE small TEMPLATE template0")
    finally:
        await connection.close()
    url = with_database(servers.database_url, "small")
    await migrate(url)
    await put_community(url, small_community("home"))
    return url


async def retries(port: int) -> float:
    async with httpx.AsyncClient() as client:
        lines = (await client.get(f"http://127.0.0.1:{port}/metrics")).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("linhub_ingest_database_retries_total{"))


@row(10)
async def test_database_on_a_full_disk_is_said_loudly_and_costs_nothing(small_database_disk: Servers) -> None:
    servers = small_database_disk
    assert servers.stack is not None
    url = await on_small_disk(servers)
    disk = Disk(servers.stack.postgres, DATABASE_DISK)
    wire = Wire(servers.mqtt.url)
    said = Stubborn(wire, "home", ["home-environment-1"], "home-sos_button-1")
    process = IngestProcess(url, servers.mqtt.account_url("svc-ingest"), "t-home", retry_max_s=0.5)
    try:
        async with database(url) as db, process.running() as ingest:
            await ingest.ready()
            said.say(200)
            await until(lambda: all_stored(db, said))
            disk.fill()
            full = time.monotonic()

            async def refused() -> str | None:
                said.say(500)
                why = await ingest.why()
                return why if why is not None and "no space" in why.lower() else None

            why = str(await until(refused))
            seen = time.monotonic() - full
            await asyncio.sleep(FULL_S)
            said.say(100)
            assert ingest.alive
            assert said.acknowledged() <= set(await db.stored()), "acknowledged and not committed"
            assert await retries(ingest.port) > 0
            waiting = said.forget_acknowledged()
            disk.relieve()
            room = time.monotonic()
            await until(lambda: all_stored(db, said))
            await ingest.ready()
            note(seen_s=seen, waited=waiting, caught_up_s=time.monotonic() - room, said=why)
            note(sent_again=await said.until_acknowledged())
            await assert_each_once(db, said)
            assert [line for line in ingest.said("database_trouble") if "space" in line["why"]]
    finally:
        wire.close()


@row(11)
async def test_broker_on_a_full_disk_is_said_loudly_and_costs_nothing_even_when_it_is_killed(
    small_broker_disk: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its folder is lost with it here, the worst there is: only what devices send again is left."""
    servers = small_broker_disk
    assert servers.stack is not None
    broker = servers.stack.mosquitto
    url = with_database(servers.database_url, "linhub")
    await migrate(url)
    await put_community(url, small_community("home"))
    wire = Wire(servers.mqtt.url)
    said = Stubborn(wire, "home", ["home-environment-1"], "home-sos_button-1")
    process = IngestProcess(url, servers.mqtt.account_url("svc-ingest"), "t-home")
    said_aloud: list[str] = []
    monkeypatch.setattr(servers.stack, "say", said_aloud.append)
    watched = Watched(servers, Disk(broker, BROKER_DISK).path)
    watching = asyncio.create_task(watched.watch.run())
    try:
        async with database(url) as db, process.running() as ingest, supervised(servers):
            await ingest.ready()
            disk = Disk(broker, BROKER_DISK)
            said.say(200)
            await until(lambda: all_stored(db, said))
            disk.fill()
            monkeypatch.setattr(broker, "folder", disk.path.parent)
            why = str(await until(lambda: says(broker, "disk is full")))
            # mosquitto says nothing: it replaces what it saved by an empty file.
            saved = disk.path / "mosquitto.db"
            broker.signal(signal.SIGUSR1)
            await until(lambda: is_empty(saved))
            # Others do: the watch beside it, the supervision, the doctor.
            await until(lambda: tells(watched, "disk is full"))
            assert watched.metric("trouble", kind="disk") == 1
            await until(lambda: heard(said_aloud, "disk is full"))
            assert judge_saved(disk.path).level == "broken"
            # It goes on delivering from memory.
            await said.keep_saying(FULL_S)
            await until(lambda: all_stored(db, said))
            await until(lambda: all_acknowledged(said))
            # Frozen, so that its next save waits until everybody has seen the empty file.
            await until(lambda: freezes_empty(broker, disk))
            disk.relieve()
            await until(lambda: tells(watched, "empty file"))
            await until(lambda: heard(said_aloud, "empty file"))
            assert "empty file" in judge_saved(disk.path).found
            broker.thaw()
            await until(lambda: says(broker, None))
            # Nobody has to ask for it: the next save of its own puts a whole file there.
            await until(lambda: has_bytes(saved))
            await until(lambda: tells(watched, None))
            assert watched.metric("trouble", kind="disk") == 0
            await until(lambda: heard(said_aloud, "well again"))
            assert judge_saved(disk.path).level == "ok"
            disk.fill()
            await ingest.kill()
            said.say(300)
            await asyncio.sleep(0.3)
            broker.kill()
            monkeypatch.undo()
            await revive(broker)
            await ingest.start()
            await ingest.ready()
            note(kills=1, said=why, sent_again=await said.until_acknowledged())
            await assert_each_once(db, said)
    finally:
        watching.cancel()
        wire.close()


@asynccontextmanager
async def supervised(servers: Servers) -> AsyncIterator[None]:
    """Told of trouble as `linhub up` tells it. The test itself starts what it killed."""
    assert servers.stack is not None
    stack = servers.stack

    async def look() -> None:
        while True:
            if stack.mosquitto.alive:
                stack._watch(stack.mosquitto, stack._watches["mosquitto"])
            await asyncio.sleep(0.05)

    looking = asyncio.create_task(look())
    try:
        yield
    finally:
        looking.cancel()


async def says(broker: Mosquitto, words: str | None) -> str | None:
    """What the broker waits for, once it is about `words`; "nothing" for None."""
    why = await asyncio.to_thread(broker.waiting_for)
    if words is None:
        return "nothing" if why is None else None
    return why if words in (why or "") else None


async def freezes_empty(broker: Mosquitto, disk: Disk) -> bool:
    """The broker stands still and what it saved is an empty file.

    An empty file in place of a whole one makes room for the next save to be whole: that room is taken as well.
    """
    disk.fill()
    broker.freeze()
    if size(disk.path / "mosquitto.db") == 0:
        return True
    broker.thaw()
    return False


async def tells(watched: Watched, words: str | None) -> bool:
    why = watched.watch.why()
    return why is None if words is None else words in (why or "")


async def heard(said: list[str], words: str) -> bool:
    return words in " ".join(said[-1:])


async def is_empty(path: Path) -> bool:
    return size(path) == 0


async def has_bytes(path: Path) -> bool:
    return size(path) > 0


def size(path: Path) -> int:
    """-1: there is no such file."""
    return path.stat().st_size if path.exists() else -1


@row(11)
async def test_broker_whose_saved_sessions_a_full_disk_emptied_starts_again_and_costs_nothing(
    breakable: Servers,
) -> None:
    assert breakable.stack is not None
    broker = breakable.stack.mosquitto
    url = with_database(breakable.database_url, "linhub")
    await put_community(url, small_community("home"))
    wire = Wire(breakable.mqtt.url)
    said = Stubborn(wire, "home", ["home-environment-1"], "home-sos_button-1")
    process = IngestProcess(url, breakable.mqtt.account_url("svc-ingest"), "t-home")
    try:
        async with database(url) as db, process.running() as ingest:
            await ingest.ready()
            said.say(200)
            await until(lambda: all_stored(db, said))
            await ingest.kill()
            said.say(200)
            await asyncio.sleep(0.2)
            broker.kill()
            (broker.folder / "data" / "mosquitto.db").write_bytes(b"")
            await revive(broker)
            await ingest.start()
            await ingest.ready()
            note(sent_again=await said.until_acknowledged())
            await assert_each_once(db, said)
    finally:
        wire.close()
