"""Keys, screens and sessions for tests: made as people make them, through the API."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from tests.api_server import client

WATCHING = ("community", "cockpit", "devices", "alerts", "orders")


async def service(admin: httpx.AsyncClient, role: str = "platform", **more: Any) -> str:
    made = await admin.post("/service-accounts", json={"name": "平台", "role": role, **more})
    assert made.status_code == 201, made.text
    return str(made.json()["id"])


async def key(admin: httpx.AsyncClient, account: str, **more: Any) -> dict[str, Any]:
    """The answer with the secret."""
    body = {"name": "对接", "scopes": list(WATCHING), **more}
    made = await admin.post(f"/service-accounts/{account}/keys", json=body)
    assert made.status_code == 201, made.text
    answer: dict[str, Any] = made.json()
    return answer


@asynccontextmanager
async def with_key(url: str, secret: str) -> AsyncIterator[httpx.AsyncClient]:
    async with client(url) as http:
        http.headers["Authorization"] = f"Bearer {secret}"
        yield http


async def pair(screen: httpx.AsyncClient, desk: httpx.AsyncClient, community: str = "test", name: str = "大屏") -> str:
    """The id of the display; `screen` has its cookie afterwards."""
    asked = (await screen.post("/displays/pairings")).json()
    made = await desk.post(f"/communities/{community}/displays", json={"code": asked["code"], "name": name})
    assert made.status_code == 201, made.text
    claimed = await screen.post(f"/displays/pairings/{asked['id']}/claim", json={"secret": asked["secret"]})
    assert claimed.json()["state"] == "paired", claimed.text
    return str(made.json()["id"])
