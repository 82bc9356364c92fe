"""What P6 and P7 measure: a whole community in a database of its own, and the API's real process before it."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import asyncpg
import httpx
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from bench import loop_watch
from bench.servers import BenchServers
from bench.system import Service, database, free_port, service
from device_sim.presets import BY_NAME
from device_sim.presets.generate import DEFAULT_SEED, generate
from services.adapters.registry import import_community
from services.domain.registry import Community

PRESET, SCALE, DEVICES = "shinan", 0.35, 2_000
"""A share of a preset in which there are a few more than the devices wanted; the rest of them is left out."""


@dataclass(slots=True)
class CockpitSystem:
    connection: asyncpg.Connection[Any]
    url: str
    api: Service
    port: int
    token: str
    community: Community
    loop: Path | None
    """What `bench.loop_watch` writes of the API's event loop, where it is watched."""


def estate() -> Community:
    """The preset with `DEVICES` devices of all its kinds."""
    whole = generate(BY_NAME[PRESET], SCALE, DEFAULT_SEED)
    gateways = {d.gateway_id for d in whole.devices if d.gateway_id is not None}
    first = [d for d in whole.devices if d.id in gateways]
    rest = [d for d in whole.devices if d.id not in gateways]
    step = max(1.0, len(rest) / max(1, DEVICES - len(first)))
    kept = [rest[int(n * step)] for n in range(min(len(rest), DEVICES - len(first)))]
    return replace(whole, devices=(*first, *kept))


@asynccontextmanager
async def prepared(servers: BenchServers) -> AsyncIterator[tuple[asyncpg.Connection[Any], str, Community, str]]:
    """The database with the community in it, and a password of its desk; nothing runs yet."""
    name = f"p6{secrets.token_hex(4)}"
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(database(servers.database_url, name))
        connection = await asyncpg.connect(url)
        stack.push_async_callback(connection.close)
        home, password = await asyncio.to_thread(estate), secrets.token_urlsafe(16)
        hashed = PasswordHash((Argon2Hasher(),)).hash(password)
        await import_community(
            connection, home, secret_hashes={}, password_hashes={one.username: hashed for one in home.accounts}
        )
        yield connection, url, home, password


@asynccontextmanager
async def running(
    connection: asyncpg.Connection[Any],
    url: str,
    home: Community,
    password: str,
    settings: Mapping[str, str] | None = None,
    *,
    watched: bool = False,
) -> AsyncIterator[CockpitSystem]:
    """The API on that database, its desk logged in; `watched`: its event loop says how long it was kept."""
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="linhub-bench-") as folder:
        loop = Path(folder) / "loop"
        environment = {
            "LINHUB_DATABASE_URL": url,
            "LINHUB_HTTP_PORT": str(port),
            "LINHUB_SECRET_KEY": secrets.token_hex(32),
            loop_watch.FILE: str(loop),
            **(settings or {}),
        }
        async with _started(environment, port, password, watched) as (api, token):
            yield CockpitSystem(connection, url, api, port, token, home, loop if watched else None)


@asynccontextmanager
async def _started(
    environment: dict[str, str], port: int, password: str, watched: bool
) -> AsyncIterator[tuple[Service, str]]:
    with service("api", environment, loop_watch.__name__ if watched else None) as api:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}/api/v1", trust_env=False, timeout=30) as http:
            for _ in range(1200):
                api.check()
                try:
                    answer = await http.post("/auth/login", json={"username": "desk", "password": password})
                    if answer.status_code == 200:
                        break
                except httpx.TransportError:
                    pass
                await asyncio.sleep(0.05)
            else:
                raise RuntimeError(f"the API did not let the desk in:\n{api.log()}")
        yield api, answer.json()["access_token"]
