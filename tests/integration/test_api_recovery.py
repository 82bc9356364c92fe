"""The database goes away, freezes, comes late: the API says so and recovers by itself."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from urllib.parse import urlsplit, urlunsplit

import httpx

from services.api.main import run
from services.api.settings import ApiSettings
from tests.api_data import raise_alert
from tests.api_server import KEY, api_server, client, connect, stream
from tests.factory import put_community, small_community
from tests.fault_kit import free_port
from tests.proxy import Proxy, proxy


@asynccontextmanager
async def between(database_url: str) -> AsyncIterator[tuple[Proxy, str]]:
    """A proxy before the database, and the URL that goes through it."""
    parts = urlsplit(database_url)
    async with proxy(parts.hostname or "127.0.0.1", parts.port or 5432) as line:
        user = f"{parts.username}:{parts.password}@" if parts.password else f"{parts.username}@"
        yield line, urlunsplit(parts._replace(netloc=f"{user}127.0.0.1:{line.port}"))


async def answers(http: httpx.AsyncClient, path: str, status: int, within_s: float = 90) -> httpx.Response:
    """Asks until the answer has this status."""
    started = time.monotonic()
    while True:
        answer = await http.get(path)
        if answer.status_code == status:
            return answer
        assert time.monotonic() - started < within_s, answer.text
        await asyncio.sleep(0.1)


async def test_recovery_from_a_database_that_went_away(database_url: str) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    async with (
        between(database_url) as (line, url_between),
        api_server(url_between, heartbeat_s=0.5) as url,
        client(url, "desk") as http,
        stream(http, "test", 0) as live,
    ):
        await live.named("hb")
        await line.cut()
        refused = await answers(http, "/communities/test/orders", 503)
        assert refused.headers["content-type"] == "application/problem+json"
        assert int(refused.headers["retry-after"]) > 0
        assert (await http.post("/auth/login", json={"username": "desk", "password": "x"})).status_code == 503
        assert (await answers(http, f"{url}/health/ready", 503)).json()["status"] == "waiting"
        assert (await http.get(f"{url}/health/live")).status_code == 200
        known = datetime.now(UTC)
        _, order = await raise_alert(connection, "test-gas_alarm-1")
        await asyncio.sleep(1.5)  # three heartbeats, were there any
        await line.mend()
        events = await live.until(lambda event: event.name == "order")
        assert events[-1].data["id"] == str(order), "raised during the outage, seen after it on the same stream"
        beats = [datetime.fromisoformat(event.data["at"]) for event in events if event.name == "hb"]
        assert not [at for at in beats if at > known], "a heartbeat while what is shown cannot be known to be true"
        await live.named("hb")
        await answers(http, "/communities/test/orders", 200)
        await answers(http, f"{url}/health/ready", 200)
    await connection.close()


async def test_recovery_from_a_database_that_froze(database_url: str) -> None:
    await put_community(database_url, small_community())
    async with (
        between(database_url) as (line, url_between),
        api_server(url_between, query_timeout_s=5) as url,
        client(url, "desk") as http,
    ):
        await answers(http, "/communities/test/orders", 200)
        line.freeze()
        # It answers, and does so long before the database does: that one is thawed after it.
        assert (await http.get("/communities/test/orders")).status_code == 503
        line.thaw()
        await answers(http, "/communities/test/orders", 200)


async def test_recovery_from_a_start_without_a_database(database_url: str) -> None:
    await put_community(database_url, small_community())
    async with between(database_url) as (line, url_between):
        await line.cut()
        stop, ready = asyncio.Event(), asyncio.Event()
        settings = ApiSettings(database_url=url_between, http_port=free_port(), secret_key=KEY)
        service = asyncio.create_task(run(settings, stop, lambda _: ready.set()))
        url = f"http://127.0.0.1:{settings.http_port}"
        async with httpx.AsyncClient(trust_env=False, timeout=90) as http:
            async with asyncio.timeout(90):
                while True:
                    try:
                        waiting = await http.get(f"{url}/health/ready")
                        break
                    except httpx.ConnectError:
                        await asyncio.sleep(0.05)
            assert (waiting.status_code, "database" in waiting.json()["why"]) == (503, True)
            body = {"username": "desk", "password": "x"}
            assert (await http.post(f"{url}/api/v1/auth/login", json=body)).status_code == 503
            assert not ready.is_set()
            await line.mend()
            async with asyncio.timeout(90):
                await ready.wait()
            assert (await http.get(f"{url}/health/ready")).status_code == 200
        stop.set()
        await service
