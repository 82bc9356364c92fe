"""How fast a live stream ends once its session, key or screen may no longer watch: from the order to the last byte."""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial

import httpx
import pytest

from services.api.live.hub import Hub
from tests.access_kit import key, pair, service, with_key
from tests.api_server import Stream, api_server, client, connect, stream
from tests.factory import put_community, small_community
from tests.fault_rows import note, row

RUNS = int(os.environ.get("LINHUB_CUT_RUNS", "6"))
"""Of each sort; 60 for the figures in the documentation."""

Cut = Callable[[], Awaitable[object]]


async def _ended(live: Stream) -> float:
    while await live.next() is not None:
        pass
    return time.perf_counter()


@pytest.fixture(autouse=True)
def nobody_looks_by_the_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """The look at every session every few seconds is off: whatever is cut here was cut by the word of the change."""

    async def nothing(_: Hub) -> None:
        return None

    monkeypatch.setattr(Hub, "_check_sessions", nothing)


async def _measure(stack: AsyncExitStack, http: httpx.AsyncClient, cut: Cut) -> float:
    """Milliseconds from asking for the end to the last byte."""
    live = await stack.enter_async_context(stream(http, "test", 0))
    await live.named("hello")
    ending = asyncio.create_task(_ended(live))
    began = time.perf_counter()
    await cut()
    async with asyncio.timeout(90):
        return (await ending - began) * 1000


def _told(sort: str, took: list[float]) -> None:
    took = sorted(took)
    p99 = took[min(len(took) - 1, round(len(took) * 0.99))]
    note(**{f"{sort}_cut_ms_p50": statistics.median(took), f"{sort}_cut_ms_p99": p99, f"{sort}_runs": len(took)})


@row(35)
async def test_cut_of_sessions_keys_and_screens_comes_with_the_commit(database_url: str) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    slow = {"session_check_s": 10.0, "auth_requests_per_min": 6000}
    async with api_server(database_url, **slow) as url, client(url, "admin") as admin, client(url, "desk") as desk:
        account = await service(admin, community_id="test")
        sessions: list[float] = []
        keys: list[float] = []
        screens: list[float] = []
        for _ in range(RUNS):
            async with AsyncExitStack() as stack:
                http = await stack.enter_async_context(client(url, "patrol1"))
                sessions.append(await _measure(stack, http, partial(http.post, "/auth/logout")))
            async with AsyncExitStack() as stack:
                made = await key(admin, account)
                http = await stack.enter_async_context(with_key(url, made["secret"]))
                path = f"/keys/{made['key']['id']}/revoke"
                keys.append(await _measure(stack, http, partial(admin.post, path)))
            async with AsyncExitStack() as stack:
                await connection.execute("DELETE FROM display_pairing")
                screen = await stack.enter_async_context(client(url))
                screen.headers["X-Forwarded-For"] = f"10.0.0.{len(screens) + 1}"
                path = f"/displays/{await pair(screen, desk)}/revoke"
                screens.append(await _measure(stack, screen, partial(desk.post, path)))
    await connection.close()
    for sort, took in (("session", sessions), ("key", keys), ("screen", screens)):
        _told(sort, took)
    note(sent=3 * RUNS, lost=0, doubled=0)


@row(35)
@pytest.mark.parametrize(
    "change",
    [
        "disabled_at = now()",
        "role = 'staff'",
        "community_id = 'other', grid_id = NULL",
        "password_hash = '$other'",
        "team = 'cleaning'",
    ],
)
async def test_cut_follows_any_change_of_the_account_even_by_hand(database_url: str, change: str) -> None:
    await put_community(database_url, small_community())
    await put_community(database_url, small_community("other", "o-"))
    connection = await connect(database_url)
    async with (
        api_server(database_url, session_check_s=10.0, heartbeat_s=0.2) as url,
        client(url, "desk") as desk,
        client(url, "admin") as other,
        AsyncExitStack() as stack,
    ):
        untouched = await stack.enter_async_context(stream(other, "test", 0))
        await untouched.named("hello")
        statement = f"UPDATE app_user SET {change} WHERE username = 'desk'"
        await _measure(stack, desk, lambda: connection.execute(statement))
        await untouched.named("hb")
    note(sent=1, lost=0, doubled=0)
    await connection.close()


@row(35)
async def test_cut_reaches_a_stream_that_was_just_opening(database_url: str) -> None:
    """The word comes between the check of its session and its place among the readers."""
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    async with api_server(database_url, session_check_s=10.0) as url, client(url, "admin") as admin:
        made = await key(admin, await service(admin, community_id="test"))
        async with with_key(url, made["secret"]) as http:
            assert (await http.get("/communities/test/alerts")).status_code == 200
            for _ in range(5):
                # Revoked and opened at once: whichever is first, no stream lives on.
                opening = asyncio.create_task(_open_and_wait(http))
                await connection.execute("UPDATE api_key SET revoked_at = now()")
                async with asyncio.timeout(90):
                    await opening
                await connection.execute("UPDATE api_key SET revoked_at = NULL")
                await _alive(http)
    note(sent=5, lost=0, doubled=0)
    await connection.close()


async def _alive(http: httpx.AsyncClient) -> None:
    async with asyncio.timeout(90):
        while (await http.get("/communities/test/alerts")).status_code != 200:
            pass


async def _open_and_wait(http: httpx.AsyncClient) -> None:
    async with http.stream("GET", "/communities/test/stream", timeout=90) as response:
        if response.status_code == 200:
            await _ended(Stream(response))
