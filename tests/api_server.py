"""The real API on a free port for tests, and ways to talk to it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from services.api.main import run
from services.api.settings import ApiSettings
from tests.factory import PASSWORD

KEY = "test-key-test-key-test-key-test-key"


@asynccontextmanager
async def api_server(database_url: str, **settings: Any) -> AsyncIterator[str]:
    """Runs the service itself; yields its base URL."""
    stop = asyncio.Event()
    ready: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    settings.setdefault("cockpit_dir", Path("not-built"))
    cheap: dict[str, Any] = {"password_memory_kib": 1024, "password_passes": 1, "secret_key": KEY}
    chosen = ApiSettings(database_url=database_url, http_port=0, **(cheap | settings))
    service = asyncio.create_task(run(chosen, stop, ready.set_result))
    try:
        async with asyncio.timeout(60):
            waiting: set[asyncio.Future[Any]] = {service, ready}
            await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if service.done():
            service.result()
        yield f"http://127.0.0.1:{ready.result()}"
    finally:
        stop.set()
        await service


@asynccontextmanager
async def client(url: str, username: str | None = None, password: str = PASSWORD) -> AsyncIterator[httpx.AsyncClient]:
    """With `username`, logged in by bearer token."""
    async with httpx.AsyncClient(base_url=f"{url}/api/v1", trust_env=False, timeout=90) as http:
        if username is not None:
            answer = await http.post("/auth/login", json={"username": username, "password": password})
            assert answer.status_code == 200, answer.text
            http.cookies.clear()
            http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        yield http


@dataclass(frozen=True, slots=True)
class Event:
    """One server-sent event as a browser would hand it over."""

    name: str
    data: Any
    id: int | None


class Stream:
    """An open event stream, read event by event."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def next(self) -> Event | None:
        """None at the end of the stream."""
        name, data, cursor = "message", "", None
        async for line in self._lines:
            field, _, value = line.partition(": ")
            if field == "event":
                name = value
            elif field == "data":
                data = value
            elif field == "id":
                cursor = int(value)
            elif not line:
                return Event(name, json.loads(data), cursor)
        return None

    async def until(self, wanted: Callable[[Event], bool], within_s: float = 90) -> list[Event]:
        """Every event up to and with the first wanted one."""
        seen: list[Event] = []
        async with asyncio.timeout(within_s):
            while True:
                event = await self.next()
                assert event is not None, f"the stream ended after {[e.name for e in seen]}"
                seen.append(event)
                if wanted(event):
                    return seen

    async def named(self, name: str, within_s: float = 90) -> Event:
        return (await self.until(lambda event: event.name == name, within_s))[-1]


@asynccontextmanager
async def stream(
    http: httpx.AsyncClient, community: str, cursor: int | None = None, last_event_id: int | None = None
) -> AsyncIterator[Stream]:
    params: dict[str, int] = {} if cursor is None else {"cursor": cursor}
    headers = {} if last_event_id is None else {"Last-Event-ID": str(last_event_id)}
    async with http.stream(
        "GET", f"/communities/{community}/stream", params=params, headers=headers, timeout=90
    ) as response:
        assert response.status_code == 200, await response.aread()
        yield Stream(response)


async def connect(database_url: str) -> Any:
    """A connection as the services have it: jsonb as Python values."""
    connection = await asyncpg.connect(database_url)
    await connection.set_type_codec("jsonb", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
    return connection
