"""Leases of ingest workers in the real database: one owner at a time, and nobody else writes the log."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Collection, Iterable
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from services.adapters.mqtt import Inbound
from services.adapters.postgres import open_pool
from services.adapters.queries import Queries
from services.domain.devices import CATALOGUE
from services.domain.ids import CommunityId, partition_of
from services.domain.messages import Lane as LaneName
from services.ingest import store
from services.ingest.admission import Admission
from services.ingest.database import Held
from services.ingest.lane import Lane, LaneOptions
from services.ingest.limits import Limiter
from services.ingest.ownership import membership
from services.ingest.ownership.balance import SLOTS
from services.ingest.ownership.membership import NameTaken
from services.ingest.registry import kind_spec
from services.ingest.registry_keeper import RegistryKeeper
from services.ingest.store import Batch, Owner
from tests.factory import put_community, small_community
from tests.ingest_kit import Database

SQL = Queries(Path(__file__).resolve().parents[2] / "services" / "ingest" / "queries.sql")


@pytest.fixture
async def two(database_url: str) -> AsyncIterator[tuple[Any, Any]]:
    """The connections of two workers, `a` and `b`, both on the list of the living."""
    first, second = await asyncpg.connect(database_url), await asyncpg.connect(database_url)
    await membership.register(first, "ingest-0", "a", ())
    await membership.register(second, "ingest-1", "b", ())
    yield first, second
    await first.close()
    await second.close()


async def append(connection: Any, owner: str, seq: int = 1) -> bool:
    """Whether the log took it."""
    told = await connection.execute(SQL["append_log"], 3, 1, seq, owner, 0, b"", "[]")
    return bool(told == "SELECT 1")


async def test_claim_gives_a_slot_to_one_and_again_only_when_it_is_let_go(two: tuple[Any, Any]) -> None:
    first, second = two
    assert (await membership.claim(first, "a", SLOTS)).keys() == set(SLOTS)
    assert await membership.claim(second, "b", SLOTS) == {}
    await membership.release(first, "a", [3, 4])
    assert await membership.claim(second, "b", SLOTS) == {3: 2, 4: 2}
    assert (await membership.look(first)).owned_by("b") == {3, 4}


async def test_claim_takes_over_from_the_dismissed_and_gives_them_nothing(two: tuple[Any, Any]) -> None:
    first, second = two
    await membership.claim(first, "a", [3])
    assert await membership.dismiss(second, ["a"]) == [3]
    assert not await membership.beat(first, "a")
    assert await membership.claim(first, "a", [3]) == {}
    assert await membership.claim(second, "b", [3]) == {3: 2}


async def test_log_takes_no_row_of_one_whose_lease_is_gone_though_nobody_wrote_since(two: tuple[Any, Any]) -> None:
    first, second = two
    await membership.claim(first, "a", [3])
    assert await append(first, "a")
    await membership.dismiss(second, ["a"])
    assert not await append(first, "a", 2)
    await membership.claim(second, "b", [3])
    assert not await append(first, "a", 2)
    assert await append(second, "b", 2)


async def test_claim_waits_for_what_the_former_owner_is_still_writing(two: tuple[Any, Any]) -> None:
    first, second = two
    await membership.claim(first, "a", [3, 4])
    writing = first.transaction()
    await writing.start()
    assert await append(first, "a")
    # The heartbeat of its own process and of others is held up by nothing of this.
    assert await membership.beat(second, "b")
    assert await membership.dismiss(second, ["a"]) == [3, 4]
    assert await membership.claim(second, "b", [3, 4]) == {4: 2}
    await writing.commit()
    assert await membership.claim(second, "b", [3, 4]) == {3: 2}
    assert await second.fetchval("SELECT max(seq) FROM ingest_log WHERE partition = 3") == 1


async def test_peers_show_a_broken_connection_at_once(two: tuple[Any, Any]) -> None:
    first, second = two
    assert [peer.connected for peer in (await membership.look(second)).peers] == [True, True]
    await first.close()
    for _ in range(200):
        peers = (await membership.look(second)).peers
        if not peers[0].connected:
            break
    assert [(peer.worker, peer.connected) for peer in peers] == [("ingest-0", False), ("ingest-1", True)]


async def test_register_refuses_a_name_that_a_living_process_has(two: tuple[Any, Any]) -> None:
    _, second = two
    with pytest.raises(NameTaken, match="another process is called ingest-0"):
        await membership.register(second, "ingest-0", "c", ())
    await membership.register(second, "ingest-0", "c", ["a"])
    assert {peer.instance for peer in (await membership.look(second)).peers} == {"b", "c"}


class Broker:
    """Remembers what it was told."""

    ready, waiting = True, 0

    def __init__(self) -> None:
        self.acked: list[int] = []
        self.answers: list[tuple[str, dict[str, Any]]] = []

    async def receive(self, limit: int, linger_s: float = 0.0) -> list[Inbound]:
        raise AssertionError("messages are handed in by the test")

    async def run(self) -> None:
        raise AssertionError("there is no connection")

    async def close(self) -> None:
        return None

    def ack(self, messages: Iterable[Inbound]) -> int:
        self.acked += [message.token for message in messages]
        return 0

    def publish(self, topic: str, payload: bytes) -> None:
        self.answers.append((topic, json.loads(payload)))

    def ids(self, homes: Collection[str]) -> set[str]:
        return {id for topic, answer in self.answers if topic.split("/")[1] in homes for id in answer["ids"]}


@pytest.mark.parametrize("lost", ["let go", "written by another", "never adopted"])
@pytest.mark.parametrize("name", [LaneName.EVENT, LaneName.TELEMETRY])
async def test_lane_stores_and_acknowledges_the_rest_of_a_batch_when_one_partition_of_it_is_fenced(
    two: tuple[Any, Any], database_url: str, name: LaneName, lost: str
) -> None:
    first, _ = two
    ours, theirs = "home", next(f"far{n}" for n in range(99) if partition_of(CommunityId(f"far{n}")) != _HOME)
    for home in (ours, theirs):
        await put_community(database_url, small_community(home, prefix=f"{home}-"))
    there = partition_of(CommunityId(theirs))
    await membership.claim(first, "a", SLOTS)
    pool = await open_pool(database_url, name="test", max_size=3)
    held = Held(pool, "write", 10, 1)
    try:
        registry = RegistryKeeper(pool, {kind.name: kind_spec(kind) for kind in CATALOGUE}, lambda: None)
        await registry.load()
        owner, broker = Owner("ingest-0", "a", name.number, tuple(slot for slot in SLOTS if slot >= 0)), Broker()
        fenced: list[int] = []
        committed: list[Batch] = []
        options = LaneOptions(name, owner, 100, 0)
        lane = Lane(
            options, broker, held, registry, {}, committed.append, Admission(Limiter()), on_fenced=fenced.append
        )
        numbers = await held.once(lambda c: store.claim(c, owner))
        if lost == "never adopted":
            del numbers[there]
        lane.adopt(numbers)
        if lost == "let go":
            await membership.release(first, "a", [there])
        elif lost == "written by another":
            # The former owner's view of the numbers is behind; its lease was given back to it meanwhile.
            await first.execute(SQL["append_log"], there, name.number, 1, "a", 0, b"", "[]")

        now = time.time_ns() // 1_000_000
        messages = []
        for n in range(8):
            home = (ours, theirs)[n % 2]
            said: dict[str, Any]
            if name is LaneName.EVENT:
                topic, said = f"sc/{home}/{home}-sos_button-1/up/event", {"event": "pressed"}
            else:
                topic, said = f"sc/{home}/{home}-environment-1/up/telemetry", {"values": {"temperature": n}}
            payload = json.dumps({"id": f"m{n}", "ts": now - 1000 + n, **said}).encode()
            messages.append(Inbound(topic, payload, 1, n, False, now))
        await lane._finish(messages)

        db = Database(first)
        assert broker.acked == [0, 2, 4, 6]
        assert broker.ids([ours]) == {"m0", "m2", "m4", "m6"} and not broker.ids([theirs])
        assert sorted(device.split("-")[0] for device, _ in await db.stored()) == [ours] * 4
        ledger = await db.ledger()
        assert ledger == {"received": 4, "stored": 4, "duplicate": 0, "rejected": 0}
        assert await first.fetchval("SELECT count(*) FROM quarantine") == 0
        logged = await first.fetch("SELECT partition FROM ingest_log WHERE readings > 0 OR body <> '[]'")
        assert [row["partition"] for row in logged] == [_HOME]
        assert fenced == [there]
        assert [batch.written.numbers for batch in committed] == [{_HOME: 1}]

        # It goes on with what is ours, and takes up nothing more of what is not.
        await lane._finish([message._replace(token=10 + message.token) for message in messages])
        assert broker.acked == [0, 2, 4, 6, 10, 12, 14, 16]
        assert (await db.ledger())["duplicate"] == 4 and len(await db.stored()) == 4 and fenced == [there]
    finally:
        await held.drop()
        await pool.close()


_HOME = partition_of(CommunityId("home"))
