"""A real HTTP sink for notices, people with channels to it, and the sending half of the alerts service."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import time
from typing import Any
from uuid import uuid4

import asyncpg
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from services.adapters.observe import serve
from services.adapters.postgres import open_pool
from services.adapters.steady_clock import SteadyClock
from services.alerts.notify import Notifier
from tests.integration.alerts_support import settings


@dataclass
class Sink:
    """Keeps what it is sent, by the name at the end of the path. `down`: so many more of a name are refused."""

    port: int = 0
    heard: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    down: dict[str, int] = field(default_factory=dict)
    came: list[str] = field(default_factory=list)
    """Names of all requests, answered or not."""
    gates: dict[str, asyncio.Event] = field(default_factory=dict)
    """Requests of a name are answered once its gate is open."""

    def to(self, name: str) -> list[dict[str, Any]]:
        return [message for who, message in self.heard if who == name]

    def url(self, name: str) -> str:
        return f"json://127.0.0.1:{self.port}/{name}"

    async def take(self, request: Request) -> Response:
        name = request.path_params["name"]
        message = json.loads(await request.body())
        self.came.append(name)
        if (gate := self.gates.get(name)) is not None:
            await gate.wait()
        if self.down.get(name, 0) > 0:
            self.down[name] -= 1
            self.refused.append(name)
            return Response(status_code=503)
        self.heard.append((name, message))
        return Response(status_code=200)


@asynccontextmanager
async def sink() -> AsyncIterator[Sink]:
    found = Sink()
    app = Starlette(routes=[Route("/{name:path}", found.take, methods=["POST"])])
    async with serve(app, "127.0.0.1", 0) as port:
        found.port = port
        yield found


async def give_channel(
    pool: asyncpg.Pool[Any],
    account: str,
    address: str,
    *,
    sort: str = "webhook",
    position: int = 1,
    quiet: tuple[time, time] | None = None,
    min_severity: str = "info",
    language: str = "zh",
) -> Any:
    """A verified channel of the account with this user name; the channel's id."""
    start, end = quiet or (None, None)
    return await pool.fetchval(
        "INSERT INTO contact_channel (id, account_id, sort, address, shown, position, min_severity, quiet_from, "
        "quiet_to, language, verified_at) SELECT $1, id, $2, $3, '***', $4, $5, $6, $7, $8, now() FROM app_user "
        "WHERE username = $9 RETURNING id",
        uuid4(), sort, address, position, min_severity, start, end, language, account,
    )  # fmt: skip


async def account_id(pool: asyncpg.Pool[Any], username: str) -> str:
    found: str = await pool.fetchval("SELECT id FROM app_user WHERE username = $1", username)
    return found


@asynccontextmanager
async def notifier(url: str, *, carrier: Any = None, **more: Any) -> AsyncIterator[Notifier]:
    """The loops alone, on a pool of their own."""
    pool = await open_pool(url, name="notify", max_size=6)
    chosen = {"notices_pace": 0.02, "notices_timeout_s": 60, "notices_lease_s": 240, "alerts_poll_s": 0.05, **more}
    one = Notifier(pool, settings(url, **chosen), SteadyClock(600, None), carrier)
    running = asyncio.create_task(one.run())
    try:
        yield one
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await pool.close()
