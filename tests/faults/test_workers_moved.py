"""Workers killed, added, removed and frozen under load: nothing stranded, nothing lost, each partition one owner.

LINHUB_FAULT_KILLS sets the moves (default 3; campaigns use 20 and more), LINHUB_FAULT_SEED repeats a run.
"""

from __future__ import annotations

import asyncio
import random
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from uuid import uuid4

import asyncpg
import pytest
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from deploy.embedded.postgres import DATABASE
from services.adapters.mqtt import NEVER_EXPIRES, Address
from tests.conftest import Mqtt, Servers, with_database
from tests.factory import put_community, small_community
from tests.fault_kit import KILLS, SEED, IngestProcess, Stubborn, assert_each_once, revive, tell
from tests.ingest_kit import Database, Wire, database, ingest, until

TTL_S = 2.0
SLOTS = 17


@pytest.fixture
def wire(mqtt: Mqtt) -> Iterator[Wire]:
    client = Wire(mqtt.url)
    yield client
    client.close()


class Town:
    """Communities in many partitions, each with devices that keep what is not acknowledged, and workers for them."""

    def __init__(self, database_url: str, mqtt_url: str, wire: Wire, db: Database, homes: list[str]) -> None:
        self._urls = database_url, mqtt_url
        self.db = db
        self.said = [Stubborn(wire, home, [f"{home}-environment-1"], f"{home}-sos_button-1") for home in homes]
        self.workers: dict[str, IngestProcess] = {}

    async def add(self, name: str) -> IngestProcess:
        process = IngestProcess(*self._urls, name, worker_ttl_s=TTL_S)
        await process.start()
        self.workers[name] = process
        return process

    async def owners(self) -> dict[int, str]:
        """slot → worker, of those slots that a living worker owns."""
        rows = await self.db.connection.fetch(
            "SELECT l.partition, w.worker FROM worker_lease l JOIN ingest_worker w ON w.instance = l.owner "
            "WHERE l.consumer = 'ingest'"
        )
        return {row["partition"]: row["worker"] for row in rows}

    async def all_registered(self) -> bool:
        found = await self.db.connection.fetch("SELECT worker FROM ingest_worker")
        return {row["worker"] for row in found} >= {name for name, worker in self.workers.items() if worker.alive}

    async def settled(self, among: set[str], within_s: float = 120.0) -> float:
        """Until these share everything evenly and are ready; how long it took."""
        began = time.monotonic()

        async def shared() -> bool:
            owners = list((await self.owners()).values())
            counts = [owners.count(name) for name in among]
            if sum(counts) != SLOTS or max(counts) - min(counts) > 1:
                return False
            return all([await self.workers[name].why() is None for name in among])

        await until(shared, within_s)
        return time.monotonic() - began

    @asynccontextmanager
    async def talking(self) -> AsyncIterator[None]:
        """All communities, all the time: about 1,000 messages a second together."""

        async def talk() -> None:
            while True:
                for said in self.said:
                    said.say(2)
                await asyncio.sleep(0.016)

        task = asyncio.create_task(talk())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def drained(self) -> None:
        """Everything acknowledged, stored once, in one log each, and each row of it by its owner."""
        again = sum(await asyncio.gather(*(said.until_acknowledged() for said in self.said)))
        tell(f"sent again {again}")
        together = self.said[0]
        for other in self.said[1:]:
            together.sent |= {f"{id(other)}{key}": value for key, value in other.sent.items()}
        await assert_each_once(self.db, together)
        await assert_owners_alone_wrote(self.db)


HISTORY = """
CREATE TABLE lease_history (partition smallint, owner text, since timestamptz DEFAULT clock_timestamp());
CREATE FUNCTION keep_lease() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.owner <> OLD.owner THEN
        INSERT INTO lease_history (partition, owner) VALUES (NEW.partition, NEW.owner);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER keep_lease AFTER UPDATE ON worker_lease FOR EACH ROW EXECUTE FUNCTION keep_lease();
"""
"""Who owned which partition from when on: what the log is held against."""


WRITTEN_BY_OTHERS = """
WITH held AS (
    SELECT partition, owner, tstzrange(since, lead(since) OVER (PARTITION BY partition ORDER BY since)) AS span
    FROM lease_history
), said AS (
    SELECT g.worker, EXISTS (
        SELECT FROM held h
        WHERE h.partition = g.partition AND h.owner NOT IN ('', g.worker) AND h.span @> g.committed_at
    ) AS wrong
    FROM ingest_log g
)
SELECT count(*) AS rows, count(*) FILTER (WHERE wrong) AS wrong, count(DISTINCT worker) AS owners,
       (SELECT count(*) FROM held WHERE owner <> '') AS claims
FROM said
"""


async def assert_owners_alone_wrote(db: Database) -> None:
    """No row of the log was written while its partition belonged to anybody but its writer."""
    row = await db.connection.fetchrow(WRITTEN_BY_OTHERS)
    tell(f"log rows {row['rows']} of {row['owners']} owners, claims {row['claims']}, written by others {row['wrong']}")
    assert row["rows"] and row["claims"] and not row["wrong"]


@asynccontextmanager
async def town(database_url: str, mqtt_url: str, wire: Wire, size: int = 8) -> AsyncIterator[Town]:
    mark = uuid4().hex[:8]
    homes = [f"w{mark}{n}" for n in range(size)]
    for home in homes:
        await put_community(database_url, small_community(home, prefix=f"{home}-"))
    async with AsyncExitStack() as stack:
        made = Town(database_url, mqtt_url, wire, await stack.enter_async_context(database(database_url)), homes)
        await made.db.connection.execute(HISTORY)
        try:
            yield made
        finally:
            await asyncio.gather(*(worker.kill() for worker in made.workers.values() if worker.alive))


async def test_workers_share_evenly_and_lose_nothing_when_killed_added_and_removed(
    database_url: str, mqtt: Mqtt, wire: Wire
) -> None:
    tell(f"seed {SEED}, moves {KILLS}")
    chance = random.Random(SEED)
    after: dict[str, list[float]] = {"kill": [], "add": [], "remove": []}
    async with town(database_url, mqtt.url, wire) as there:
        names = ["a", "b", "c"]
        for name in names:
            await there.add(name)
        await there.settled(set(names))
        async with there.talking():
            for turn in range(KILLS):
                what = ("kill", "remove", "add")[turn % 3] if KILLS < 6 else chance.choice(list(after))
                if len(names) in (1, 5):
                    what = "add" if len(names) == 1 else "remove"
                if what == "add":
                    names.append(f"n{turn}")
                    await there.add(names[-1])
                    # Starting an interpreter on a busy machine is no part of what is measured.
                    await until(there.all_registered)
                else:
                    gone = names.pop(chance.randrange(len(names)))
                    await asyncio.sleep(chance.uniform(0, 0.5))
                    await (there.workers[gone].kill() if what == "kill" else there.workers[gone].stop())
                after[what].append(await there.settled(set(names)))
                tell(f"turn {turn} {what} {names}: {after[what][-1]:.2f} s")
                await asyncio.sleep(chance.uniform(0, 0.5))
        for what, took in after.items():
            if took:
                tell(f"after {what}: everything owned and ready in {max(took):.2f} s at most, n {len(took)}")
        await there.drained()


async def test_workers_answer_an_alarm_soon_after_one_of_them_is_killed(
    database_url: str, mqtt: Mqtt, wire: Wire
) -> None:
    """The gap an alarm sees: from the kill to the application ack of everything said after it, in all partitions."""
    gaps: dict[str, list[float]] = {"kill": [], "stop": []}
    async with town(database_url, mqtt.url, wire) as there:
        await there.add("a")
        await there.add("b")
        await there.settled({"a", "b"})
        for turn in range(max(4, KILLS)):
            kind = "kill" if turn % 2 else "stop"
            victim = await there.db.connection.fetchval(
                "SELECT w.worker FROM community c JOIN worker_lease l ON l.consumer = 'ingest' "
                "AND l.partition = c.partition JOIN ingest_worker w ON w.instance = l.owner LIMIT 1"
            )
            began = time.monotonic()
            there.workers[victim].signal(signal.SIGKILL if kind == "kill" else signal.SIGTERM)
            for said in there.said:
                said.say(21)
            await asyncio.gather(*(until(partial(_heard, said)) for said in there.said))
            gaps[kind].append(time.monotonic() - began)
            await there.workers[victim].exit_code()
            await there.add(victim)
            await there.settled({"a", "b"})
        for kind, took in gaps.items():
            took.sort()
            tell(f"alarm gap after {kind}: p50 {took[len(took) // 2]:.2f} s, max {took[-1]:.2f} s, n {len(took)}")
        await there.drained()


async def _heard(said: Stubborn) -> bool:
    return said.forget_acknowledged() == 0


async def test_workers_fence_one_that_was_frozen_past_its_time(database_url: str, mqtt: Mqtt, wire: Wire) -> None:
    tell(f"seed {SEED}")
    chance = random.Random(SEED)
    async with town(database_url, mqtt.url, wire) as there:
        for name in ("a", "b"):
            await there.add(name)
        await there.settled({"a", "b"})
        async with there.talking():
            for _ in range(max(1, KILLS // 3)):
                await asyncio.sleep(chance.uniform(0.1, 0.5))
                frozen = chance.choice(["a", "b"])
                there.workers[frozen].freeze()
                took = await there.settled({"a", "b"} - {frozen})
                await asyncio.sleep(chance.uniform(0, 1))
                there.workers[frozen].thaw()
                tell(f"frozen worker replaced in {took:.2f} s, back after {await there.settled({'a', 'b'}):.2f} s")
        assert all(worker.alive for worker in there.workers.values())
        assert there.workers["a"].said("worker_was_dismissed") or there.workers["b"].said("worker_was_dismissed")
        await there.drained()


async def test_workers_share_a_name_only_one_after_the_other(database_url: str, mqtt: Mqtt, wire: Wire) -> None:
    async with town(database_url, mqtt.url, wire) as there:
        first = await there.add("same")
        await there.settled({"same"})
        second = await there.add("same")
        async with there.talking():
            await second.waits_for("another process is called same")
            await asyncio.sleep(0.5)
            await first.kill()
            await there.settled({"same"})
        await there.drained()
        ledgers = await there.db.connection.fetch("SELECT DISTINCT worker FROM ingest_ledger")
        assert {row["worker"] for row in ledgers} <= {"same", "same-stray"}


async def test_workers_rebalance_through_a_database_restart(breakable: Servers) -> None:
    stack = breakable.stack
    assert stack is not None
    url, wire = with_database(breakable.database_url, DATABASE), Wire(breakable.mqtt.url)
    try:
        async with AsyncExitStack() as stack_of, town(url, breakable.mqtt.url, wire) as there:
            for name in ("a", "b"):
                await there.add(name)
            await there.settled({"a", "b"})
            async with there.talking():
                await there.add("c")
                await asyncio.sleep(0.6)
                stack.postgres.kill()
                await asyncio.sleep(0.5)
                await revive(stack.postgres)
                await there.db.connection.close()
                there.db.connection = await stack_of.enter_async_context(connection(url))
                tell(f"shared {await there.settled({'a', 'b', 'c'}):.2f} s after the restart")
            await there.drained()
    finally:
        wire.close()


async def test_workers_empty_and_remove_the_sessions_of_earlier_versions(
    database_url: str, mqtt: Mqtt, wire: Wire
) -> None:
    """An earlier version was stopped with messages queued; they are stored, and its sessions are gone."""
    name = f"old-{uuid4().hex[:6]}"
    roles = ("event", "telemetry")
    async with town(database_url, mqtt.url, wire, 4) as there:
        for role in roles:
            session(mqtt.url, f"linhub-{name}-{role}", [f"sc/+/+/up/{role}", "sc/+/+/up/status"])
            await there.db.connection.execute(
                "INSERT INTO former_session VALUES ($1, $2)", f"linhub-{name}-{role}", role
            )
        for said in there.said:
            said.say(100)
        async with ingest(database_url, mqtt.url, worker="a", worker_beat_s=0.1):
            # No device sends again: only the old sessions have these.
            await asyncio.gather(*(until(partial(_heard, said)) for said in there.said))
            await until(lambda: _none(there.db.connection))
        for role in roles:
            assert not session(mqtt.url, f"linhub-{name}-{role}", []), f"the {role} session is still there"
        await there.drained()


@asynccontextmanager
async def connection(url: str) -> AsyncIterator[asyncpg.Connection]:
    made = await asyncpg.connect(url)
    try:
        yield made
    finally:
        await made.close()


async def _none(connection: asyncpg.Connection) -> bool:
    return int(await connection.fetchval("SELECT count(*) FROM former_session")) == 0


def session(url: str, client_id: str, filters: list[str]) -> bool:
    """Connects, subscribes and goes, and leaves its session; whether there was one before."""
    address, present, subscribed = Address.parse(url), list[bool](), list[bool]()
    client = Client(CallbackAPIVersion.VERSION2, client_id, protocol=MQTTProtocolVersion.MQTTv5)
    client.username_pw_set(address.username, address.password)
    client.on_connect = lambda _c, _u, flags, _r, _p: present.append(flags.session_present)
    client.on_subscribe = lambda *_: subscribed.append(True)
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = NEVER_EXPIRES if filters else 0
    client.connect(address.host, address.port, clean_start=False, properties=properties)
    while not present:
        client.loop(0.1)
    for name in filters:
        client.subscribe(name, qos=1)
    while len(subscribed) < len(filters):
        client.loop(0.1)
    client.disconnect()
    client.loop(0.1)
    return present[0]
