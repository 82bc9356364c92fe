"""What tests of reports share: people who report, and an order taken through its moves."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import Any
from uuid import uuid4

import httpx


def key() -> dict[str, str]:
    return {"Idempotency-Key": str(uuid4())}


async def send(http: httpx.AsyncClient, category: str = "rubbish", community: str = "test", **more: Any) -> Any:
    """Reports it; the answer's body. `key`: the Idempotency-Key."""
    headers = {"Idempotency-Key": more.pop("key", None) or str(uuid4())}
    body = {"category": category, "place": "3号楼东侧", **more}
    if "building_id" in body or "x" in body:
        body.pop("place") if "place" not in more else None
    answer = await http.post(f"/communities/{community}/reports", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def post(http: httpx.AsyncClient, path: str, token: str | None = None, **body: Any) -> httpx.Response:
    headers = {**key(), **({"X-Report-Token": token} if token else {})}
    return await http.post(path, json=body, headers=headers)


async def order_of(connection: Any, report: str) -> Any:
    """The order that a report is worked on in, as its row."""
    return await connection.fetchrow(
        "SELECT o.* FROM work_order o WHERE o.id = "
        "(SELECT order_worked_on(order_id) FROM resident_report WHERE id = $1)",
        report,
    )


async def move(http: httpx.AsyncClient, connection: Any, order: Any, name: str, **more: Any) -> Any:
    version = await connection.fetchval("SELECT version FROM work_order WHERE id = $1", order)
    answer = await http.post(f"/orders/{order}/moves", json={"move": name, "version": version, **more}, headers=key())
    assert answer.status_code == 200, answer.text
    return answer.json()


async def work_through(http: httpx.AsyncClient, connection: Any, order: Any, *moves: str) -> None:
    for name in moves:
        await move(http, connection, order, name, note="已处理", place="3号楼")


@asynccontextmanager
async def stranger(url: str, address: str = "127.0.0.1") -> Any:
    """Somebody without a login, from an address of their own."""
    transport = httpx.AsyncHTTPTransport(local_address=address)
    async with httpx.AsyncClient(
        base_url=f"{url}/api/v1", transport=transport, trust_env=False, timeout=90
    ) as http:  # fmt: skip
        yield http
