"""Leases of ingest workers in the real database: one owner at a time, and nobody else writes the log."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from services.adapters.queries import Queries
from services.ingest.ownership import membership
from services.ingest.ownership.balance import SLOTS
from services.ingest.ownership.membership import NameTaken

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
