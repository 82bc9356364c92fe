"""Faults 14 and 16: a line on which one side is no longer heard, and acknowledgements that come after their connection.

Packets are thrown away below TCP (`tests.fault_net`): no reset and no end of stream tells anybody.
"""

from __future__ import annotations

import asyncio
import time
from functools import partial

import httpx
import pytest

from deploy.embedded.service import health
from services.domain.ids import PARTITIONS
from tests.conftest import Mqtt
from tests.fault_kit import Proxy, Stubborn, all_stored, assert_each_once, well
from tests.fault_net import Line, Side
from tests.fault_rows import CAMPAIGN, note, row
from tests.ingest_kit import Database, database, ingest, until

QUICK = {"broker_keepalive_s": 1, "commit_timeout_s": 1, "retry_max_s": 0.5}
HELD_S = 60 if CAMPAIGN else 0.5
"""How long the partition lasts after it was noticed."""


async def why(port: int, what: str) -> str | None:
    said = await asyncio.to_thread(health, port)
    return said if said is not None and what in said else None


@row(14)
@pytest.mark.parametrize("says", ["client", "server"])
async def test_ingest_that_is_not_heard_by_the_broker_or_does_not_hear_it_notices_and_loses_nothing(
    db: Database, database_url: str, mqtt: Mqtt, said: Stubborn, says: Side
) -> None:
    async with Line(mqtt.url).running() as line, ingest(database_url, line.url, **QUICK) as port:
        said.say(200)
        await until(lambda: all_stored(db, said))
        await until(lambda: connected(port, line))
        assert line.lose(says) == 2 * PARTITIONS + 1
        cut = time.monotonic()
        said.say(200)
        words = await until(lambda: why(port, "broker"))
        seen = time.monotonic() - cut
        await asyncio.sleep(HELD_S)
        said.say(200)
        line.heal()
        back = time.monotonic()
        await until(lambda: all_stored(db, said))
        note(lost_words_of=says, seen_s=seen, caught_up_s=time.monotonic() - back, said=str(words))
        note(sent_again=await said.until_acknowledged(), redelivered=(await db.ledger())["duplicate"])
        await assert_each_once(db, said)


@row(14)
@pytest.mark.parametrize("says", ["client", "server"])
async def test_ingest_that_is_cut_off_from_the_database_in_one_direction_loses_and_doubles_nothing(
    db: Database, database_url: str, mqtt: Mqtt, said: Stubborn, says: Side
) -> None:
    async with Line(database_url).running() as line, ingest(line.url, mqtt.url, **QUICK) as port:
        said.say(200)
        await until(lambda: all_stored(db, said))
        assert line.lose(says) > 0
        cut = time.monotonic()
        said.say(200)
        words = await until(lambda: why(port, "database"))
        seen = time.monotonic() - cut
        acknowledged = said.acknowledged()
        assert acknowledged <= set(await db.stored())
        await asyncio.sleep(HELD_S)
        line.heal()
        back = time.monotonic()
        await until(lambda: all_stored(db, said))
        note(lost_words_of=says, seen_s=seen, caught_up_s=time.monotonic() - back, said=str(words))
        note(sent_again=await said.until_acknowledged())
        await until(lambda: well(port))
        await assert_each_once(db, said)


@row(14)
async def test_ingest_goes_on_when_its_old_connections_to_the_database_stay_dead_for_ever(
    db: Database, database_url: str, mqtt: Mqtt, said: Stubborn
) -> None:
    """A firewall that forgot its flows: new connections work, and the server never hears that the old ones ended.

    Their open transactions hold locks that the next attempt must wait for.
    """
    async with Line(database_url).running() as line, ingest(line.url, mqtt.url, **QUICK) as port:
        said.say(200)
        await until(lambda: all_stored(db, said))
        async with database(database_url) as other:
            # Caught in the middle of a transaction: the server waits for the rest of it.
            lock = other.connection.transaction()
            await lock.start()
            await other.connection.execute("LOCK TABLE ingest_ledger IN EXCLUSIVE MODE")
            said.say(200)
            await until(lambda: stuck(db))
            line.lose("client", new_too=False)
            await lock.rollback()
        cut = time.monotonic()
        await until(lambda: all_stored(db, said))
        note(caught_up_s=time.monotonic() - cut, sent_again=await said.until_acknowledged())
        await until(lambda: well(port))
        await assert_each_once(db, said)


@row(16)
async def test_ingest_does_not_acknowledge_on_a_new_connection_what_came_on_an_old_one(
    db: Database, database_url: str, mqtt: Mqtt, said: Stubborn
) -> None:
    """Packet numbers begin anew with each connection: the acknowledgement of an old one would be another's."""
    rounds = 5 if CAMPAIGN else 2
    async with Proxy(mqtt.url).running() as line, ingest(database_url, line.url) as port:
        before = await stale_acks(port)
        for _turn in range(rounds):
            async with database(database_url) as other:
                lock = other.connection.transaction()
                await lock.start()
                await other.connection.execute("LOCK TABLE ingest_ledger IN EXCLUSIVE MODE")
                said.say(100)
                await until(lambda: stuck(db))
                await line.drop()
                await until(partial(all_back, line))
                said.say(100)
                await until(lambda: well(port))
                await lock.rollback()
            await until(lambda: all_stored(db, said))
        stale = await stale_acks(port) - before
        note(rounds=rounds, stale=stale, sent_again=await said.until_acknowledged())
        await assert_each_once(db, said)
        assert stale > 0, "nothing was on its way when the connection broke"
        assert (await db.ledger())["duplicate"] > 0, "what was not acknowledged was not delivered again"


async def connected(port: int, line: Line) -> bool:
    """To the broker, with all its sessions: with a keepalive of a second one may just be on its way back."""
    return await well(port) and len(line._pairs) == 2 * PARTITIONS + 1


async def stuck(db: Database) -> bool:
    """A transaction of ingest waits for the lock."""
    query = (
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'ingest_ledger'::regclass "
        "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    return bool(await db.connection.fetchval(query))


async def all_back(line: Proxy) -> bool:
    """All its sessions have come back."""
    return line.connections == 2 * PARTITIONS + 1


async def stale_acks(port: int) -> int:
    async with httpx.AsyncClient() as client:
        text = (await client.get(f"http://127.0.0.1:{port}/metrics")).text
    return sum(
        int(float(line.split()[-1])) for line in text.splitlines() if line.startswith("linhub_ingest_stale_acks_total")
    )
