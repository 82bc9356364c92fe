"""Receivers of city events that are away for an hour, slow, lying or inside: what others notice, and what is lost."""

from __future__ import annotations

import asyncio
import contextlib
import statistics
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, cast
from uuid import UUID

import pytest

from services.adapters.postgres import open_pool
from services.adapters.steady_clock import SteadyClock
from services.alerts.city.loop import CityDelivery
from services.alerts.settings import AlertSettings
from tests.api_server import connect
from tests.city_kit import (
    Clock,
    Receiver,
    Request,
    append,
    listening,
    order_data,
    put_subscription,
    receiver,
    running,
    status,
)
from tests.factory import put_community, small_community
from tests.fault_rows import CAMPAIGN, note, row

EVENTS = 2000 if CAMPAIGN else 200
"""In each of the two spans that are compared."""
GAP_S = 0.05
"""A hundred deliveries a second to the others: well below what a busy machine can do, or the queue is measured."""
OTHERS = 5


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Any]:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    yield connection
    await connection.close()


@contextlib.asynccontextmanager
async def delivering(database_url: str, clock: Clock) -> AsyncIterator[None]:
    """The deliveries of one engine, woken by the outbox as the engine wakes them."""
    pool = await open_pool(database_url, name="city", max_size=4)
    settings = AlertSettings(
        database_url=database_url, city_networks="127.0.0.0/8", city_connect_s=1, city_timeout_s=3, alerts_poll_s=0.2
    )
    one = CityDelivery(pool, settings, cast(SteadyClock, clock))
    ear = await connect(database_url)
    await ear.add_listener("outbox", lambda *_: one.wake())
    try:
        async with running(one):
            yield
    finally:
        await ear.close()
        pool.terminate()


class Heard(Receiver):
    """Remembers when each event came first."""

    def __init__(self) -> None:
        super().__init__()
        self.at: dict[int, float] = {}
        self.answering = self._note

    async def _note(self, request: Request, writer: asyncio.StreamWriter) -> None:
        self.at.setdefault(request.seq, time.monotonic())
        await status(204)(request, writer)


async def _load(db: Any) -> dict[int, float]:
    """Appends events, each at its time; number to when it was committed."""
    sent = {}
    for _ in range(EVENTS):
        seq = await append(db, "order.note", order_data())
        sent[seq] = time.monotonic()
        await asyncio.sleep(GAP_S)
    return sent


async def _reached(db: Any, ids: list[UUID], seq: int) -> None:
    async with asyncio.timeout(600):
        while True:
            least = await db.fetchval("SELECT min(seq) FROM city_delivery WHERE subscription_id = ANY ($1)", ids)
            if least >= seq:
                return
            await asyncio.sleep(0.05)


async def _written_down(db: Any, id: UUID, attempts: int) -> None:
    """What came of the last attempt, so that the next is due by its own wait."""
    async with asyncio.timeout(60):
        while True:
            done = await db.fetchval("SELECT attempts FROM city_delivery WHERE subscription_id = $1", id)
            if done >= attempts:
                return
            await asyncio.sleep(0.02)


def _delays(sent: dict[int, float], others: list[Heard]) -> list[float]:
    return sorted((one.at[seq] - at) * 1000 for one in others for seq, at in sent.items())


def _p(delays: list[float], share: float) -> float:
    return delays[min(len(delays) - 1, round(len(delays) * share))]


@row(32)
async def test_receiver_that_is_away_for_an_hour_gets_everything_in_order_and_delays_nobody(
    database_url: str, db: Any
) -> None:
    clock = Clock()
    async with contextlib.AsyncExitStack() as stack:
        others = [await stack.enter_async_context(listening(Heard())) for _ in range(OTHERS)]
        away = await stack.enter_async_context(receiver(answering=status(503)))
        ids = [(await put_subscription(db, one.url))[0] for one in others]
        await stack.enter_async_context(delivering(database_url, clock))
        calm = await _load(db)
        await _reached(db, ids, max(calm))
        failing, _ = await put_subscription(db, away.url)
        during = await _load(db)
        await _reached(db, ids, max(during))
        for hour in range(1, 3):  # the longest wait there is, and another: tried again, and still away
            seen = len(away.heard)
            clock.ahead = timedelta(hours=hour)
            await away.until(lambda heard, seen=seen: len(heard) > seen)  # type: ignore[misc]
            await _written_down(db, failing, seen + 1)
        tried = len(away.heard)
        away.answering = status(204)
        clock.ahead = timedelta(hours=3)
        began = time.monotonic()
        await _reached(db, [failing], max(during))
        caught_up_s = time.monotonic() - began
    taken = [one.seq for one in away.heard[tried:]]
    lost = set(during) - set(taken)
    before, meanwhile = _delays(calm, others), _delays(during, others)
    note(
        sent=len(during),
        lost=len(lost),
        doubled=len(taken) - len(set(taken)),
        kills=1,
        attempts_while_away=tried,
        caught_up_s=caught_up_s,
        others_p50_ms_before=statistics.median(before),
        others_p50_ms_meanwhile=statistics.median(meanwhile),
        others_p99_ms_before=_p(before, 0.99),
        others_p99_ms_meanwhile=_p(meanwhile, 0.99),
    )
    assert tried >= 3 and not lost
    assert taken == sorted(taken)
    for other in others:
        assert list(other.at) == sorted([*calm, *during]), "in order, each of them"


@row(33)
async def test_receivers_that_mean_harm_reach_nothing_inside_and_delay_nobody(database_url: str, db: Any) -> None:
    """Slow, without end, redirecting inwards, hanging up, and names and addresses of the inside."""
    clock = Clock()
    stalled = asyncio.Event()

    async def stall(request: Request, writer: asyncio.StreamWriter) -> None:
        await stalled.wait()

    async def endless(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 500 No\r\nContent-Length: 10000000000\r\n\r\n")
        while True:
            writer.write(b"x" * 65_536)
            await writer.drain()

    async def hang_up(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async with contextlib.AsyncExitStack() as stack:
        others = [await stack.enter_async_context(listening(Heard())) for _ in range(OTHERS)]
        inner = await stack.enter_async_context(receiver())
        bad = [
            await stack.enter_async_context(receiver(answering=answering))
            for answering in (stall, endless, hang_up, status(302, f"Location: {inner.url}"))
        ]
        ids = [(await put_subscription(db, one.url))[0] for one in others]
        await stack.enter_async_context(delivering(database_url, clock))
        calm = await _load(db)
        await _reached(db, ids, max(calm))
        for one in bad:
            await put_subscription(db, one.url)
        inside = [
            (await put_subscription(db, url))[0]
            for url in (
                f"http://[::1]:{inner.port}/", "http://169.254.169.254/latest/meta-data", "https://10.0.0.1/",
                "https://192.168.1.1:8443/", f"http://[::ffff:10.0.0.1]:{inner.port}/",
            )
        ]  # fmt: skip
        during = await _load(db)
        await _reached(db, ids, max(during))
        refused = await db.fetch("SELECT last_error FROM city_delivery WHERE subscription_id = ANY ($1)", inside)
        hits = inner.connections
        stalled.set()
    lost = sum(seq not in one.at for one in others for seq in during)
    before, meanwhile = _delays(calm, others), _delays(during, others)
    note(
        sent=len(during) * OTHERS,
        lost=lost,
        doubled=0,
        kills=len(bad) + len(inside),
        internal_hits=hits,
        others_p99_ms_before=_p(before, 0.99),
        others_p99_ms_meanwhile=_p(meanwhile, 0.99),
    )
    assert hits == 0 and lost == 0
    assert all(str(one["last_error"]).startswith("address refused: ") for one in refused)
