"""The service that sends notices killed before and after each single statement: nobody is left untold.

A channel is somebody else's server, so a message can have left while nobody could write that down any more: then it is
sent again. That is the only duplicate there is, and it is counted.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import asyncpg

from services.adapters.notices.reading import read_outbox
from services.adapters.postgres import open_pool
from services.domain.vocabulary import Severity
from tests.api_data import raise_alert
from tests.factory import put_community, small_community
from tests.fault_rows import CAMPAIGN, note
from tests.integration.alerts_support import until
from tests.notices_kit import give_channel, notifier, sink

DEVICES = ("bin-1", "gate-1", "manhole-1", "environment-1", "charger-1", "lamp_post-1")


class Zygote:
    """Answers with how each of its children ended."""

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self._process = process
        self._url = url

    async def child(
        self, die_at: int = 0, *, after: bool = False, for_s: float = 60.0, enough: bool = False
    ) -> dict[str, Any]:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None and stdout is not None
        order = {"url": self._url, "die_at": die_at, "after": after, "for_s": for_s, "lease_s": 60.0}
        order["enough"] = enough
        stdin.write(json.dumps(order).encode() + b"\n")
        async with asyncio.timeout(120):
            return dict(json.loads(await stdout.readline()))


@asynccontextmanager
async def zygote(url: str) -> AsyncIterator[Zygote]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.notices_process",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield Zygote(process, url)
    finally:
        process.kill()
        await process.wait()


async def _order(pool: asyncpg.Pool[Any], number: int) -> int:
    """A new order for patrol1; the number people call it by."""
    async with pool.acquire() as connection:
        device = f"test-{DEVICES[number % len(DEVICES)]}"
        _, order = await raise_alert(connection, device, severity=Severity.CRITICAL, family=f"f{number}")
        return int(await connection.fetchval("SELECT number FROM work_order WHERE id = $1", order))


async def test_notices_killed_at_each_statement_of_reader_and_sender_lose_nobody(
    database_url: str,
) -> None:
    await put_community(database_url, small_community())
    pool = await open_pool(database_url, name="test", max_size=2)
    async with sink() as out, zygote(database_url) as born:
        await give_channel(pool, "patrol1", out.url("patrol1"))
        await _order(pool, 0)
        whole = (await born.child(enough=True))["seen"]
        assert len(out.heard) == 1
        # Until everything of one notice is written there are so many statements; after that it only looks again.
        statements = (
            max(place for place, one in enumerate(whole, 1) if one.startswith("INSERT INTO notice_attempt")) + 3
        )
        kills = duplicates = 0
        # Dead after a statement is dead before the next one of its task: the short run kills on one side of each.
        points = [
            (at, after) for at in range(1, statements + 1) for after in (False, True) if CAMPAIGN or after == at % 2
        ]
        for number, (die_at, after) in enumerate(points):
            wanted = await _order(pool, number + 1)
            ended = await born.child(die_at, after=after)
            kills += ended["killed"]
            for turn in range(30):
                # Nobody lives: as when the lease of who died is over.
                await pool.execute("UPDATE notice SET next_at = now() WHERE state = 'sending'")
                await born.child(for_s=0.4 * (turn + 1), enough=True)
                rows = await pool.fetch("SELECT n.state FROM notice n JOIN work_order o ON o.id = n.order_id "
                                        "WHERE o.number = $1 AND n.template = 'dispatch'", wanted)  # fmt: skip
                if [row["state"] for row in rows] == ["sent"]:
                    break
            where = whole[die_at - 1] if die_at <= len(whole) else "?"
            assert [row["state"] for row in rows] == ["sent"], (where, after)
            told = sum(f"#{wanted} " in message["message"] for message in out.to("patrol1"))
            assert 1 <= told <= 2, (where, after, told)
            duplicates += told - 1
    twice = await pool.fetchval("SELECT count(*) - count(DISTINCT (seq, recipient, template)) FROM notice")
    moves = Counter(row["move"] for row in await pool.fetch("SELECT move FROM work_order_history"))
    await pool.close()
    assert kills >= len(points) - 4, "most children must have died where they were told to"
    assert twice == 0 and moves["escalate"] == 0
    assert 1 <= duplicates <= kills // 2, "only what left and was not written down comes twice"
    note(kills=kills, lost=0, doubled_notices=int(twice), messages_sent_again=duplicates)


async def test_notices_of_several_engines_at_once_are_sent_once(database_url: str) -> None:
    await put_community(database_url, small_community())
    pool = await open_pool(database_url, name="test", max_size=2)
    async with sink() as out:
        await give_channel(pool, "patrol1", out.url("patrol1"))
        async with notifier(database_url), notifier(database_url), notifier(database_url):
            numbers = [await _order(pool, number) for number in range(30)]

            async def all_told() -> bool:
                return len({message["message"].split(" ")[1] for message in out.to("patrol1")}) == len(numbers)

            await until(all_told)
        told = Counter(message["message"].split(" ")[1] for message in out.to("patrol1"))
    await pool.close()
    assert told == {f"#{number}": 1 for number in numbers}


async def test_notices_of_ten_thousand_events_that_waited_are_caught_up_with(database_url: str) -> None:
    await put_community(database_url, small_community())
    pool = await open_pool(database_url, name="test", max_size=2)
    for number in range(20):
        await _order(pool, number)
    await pool.execute(
        "INSERT INTO outbox (seq, type, community_id, subject, correlation, data) "
        "SELECT nextval('outbox_seq'), o.type, o.community_id, o.subject, o.correlation, o.data "
        "FROM outbox o, generate_series(1, 500) WHERE o.type = 'order.dispatch'"
    )
    events = made = 0
    began = time.monotonic()
    async with pool.acquire() as connection:
        while (done := await read_outbox(connection, datetime.now(UTC))) is not None and done.events:
            events, made = events + done.events, made + done.notices
    rate = events / (time.monotonic() - began)
    await pool.close()
    assert events >= 10_000 and made >= 10_000
    note(events=events, events_a_second=rate)
