"""For tests of city events: rows of the outbox, subscriptions, and a receiver that can misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid4

import httpx

from services.adapters import outbox
from services.adapters.city.signing import new_key
from services.adapters.outbox import Outgoing
from services.alerts.city.loop import CityDelivery
from services.alerts.city.ngsi import NgsiDelivery
from services.domain.city import EventMark
from tests.access_kit import service


def alert_data(community: str = "test", **more: Any) -> dict[str, Any]:
    """As `alert_json` of the engine writes it."""
    id = more.pop("id", str(uuid4()))
    at = "2026-11-22T08:00:00+00:00"
    return {
        "id": id, "community_id": community, "rule_id": "gas_alarm.leak", "kind": "gas_alarm", "severity": "critical",
        "team": "maintenance", "life_safety": True, "state": "firing", "title": {"zh": "燃气泄漏", "en": "Gas leak"},
        "why": {"zh": "浓度 12 %LEL", "en": "12 %LEL"}, "place": "3 号楼 2 单元 501", "device_id": f"{community}-gas-1",
        "building_id": f"{community}-b1", "onset_at": at, "fired_at": at, "last_at": at, "cleared_at": None,
        "occurrences": 1, "held": [], "suppressed": [], "group_key": None, "trigger": {}, "correlation": "x@1",
        "health": False, **more,
    }  # fmt: skip


def order_data(**more: Any) -> dict[str, Any]:
    return {
        "order_id": str(uuid4()), "alert_id": None, "state": "dispatched", "version": 2, "kind": "gas_alarm",
        "severity": "critical", "team": "maintenance", "source": "alert", **more,
    }  # fmt: skip


async def append(
    connection: Any, type: str, data: dict[str, Any], community: str = "test", mark: EventMark = EventMark.ACTUAL
) -> int:
    """Its number."""
    subject = str(data.get("id") or data.get("order_id") or data.get("device_id") or "x")
    async with connection.transaction():
        await outbox.append(connection, [Outgoing(type, community, subject, "", data, mark)])
        head: int = await connection.fetchval("SELECT max(seq) FROM outbox")
    return head


async def many(connection: Any, count: int, type: str = "order.note", community: str = "test") -> tuple[int, int]:
    """Appends so many alike in one statement; first and last number."""
    data = json.dumps(order_data())
    first, last = await connection.fetchrow(
        "WITH new AS (INSERT INTO outbox (seq, type, community_id, subject, data) "
        "SELECT nextval('outbox_seq'), $1, $2, 'x', $4::text::jsonb FROM generate_series(1, $3) RETURNING seq) "
        "SELECT min(seq), max(seq) FROM new",
        type, community, count, data,
    )  # fmt: skip
    await connection.execute("SELECT pg_notify('outbox', $1)", str(last))
    return first, last


async def subscribe(
    admin: httpx.AsyncClient, account: str | None = None, key: str | None = None, **more: Any
) -> dict[str, Any]:
    """The answer: `subscription` and `secret`."""
    account = account or await service(admin, community_id="test")
    body = {"account_id": account, "name": "城运中心", "way": "pull", **more}
    made = await admin.post("/city/subscriptions", json=body, headers={"Idempotency-Key": key or uuid4().hex})
    assert made.status_code == 201, made.text
    answer: dict[str, Any] = made.json()
    return answer


async def put_subscription(
    connection: Any, url: str, *, types: tuple[str, ...] = ("*",), format: str = "structured", community: str = "test"
) -> tuple[UUID, str]:
    """A webhook of a new account of the community, from here on; its id and the secret it is signed by."""
    id, key, account = uuid4(), new_key("hmac"), f"service-{uuid4().hex[:12]}"
    await connection.execute(
        "INSERT INTO app_user (id, username, password_hash, display_name, role, community_id) "
        "VALUES ($1, $1, '', '平台', 'platform', $2)",
        account, community,
    )  # fmt: skip
    await connection.execute(
        "INSERT INTO city_subscription (id, account_id, community_id, name, way, url, format, types, created_by, "
        "idempotency_key) VALUES ($1, $2, $3, '城运中心', 'webhook', $4, $5, $6, 'test', $2)",
        id, account, community, url, format, list(types),
    )  # fmt: skip
    await connection.execute(
        "INSERT INTO city_delivery (subscription_id, seq) VALUES ($1, (SELECT coalesce(max(seq), 0) FROM outbox))", id
    )
    await connection.execute(
        "INSERT INTO city_signing_key (id, subscription_id, sort, secret, created_by) "
        "VALUES ($1, $2, 'hmac', $3, 'test')",
        uuid4(), id, key.secret,
    )  # fmt: skip
    return id, key.secret


class Clock:
    """The time of day, moved on by whoever tests: nobody has an hour."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@asynccontextmanager
async def running(one: CityDelivery | NgsiDelivery) -> AsyncIterator[None]:
    """The loop of a delivery, until it is told to stop."""
    task = asyncio.create_task(one.run())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


@dataclass(frozen=True, slots=True)
class Request:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def seq(self) -> int:
        return int(self.headers["webhook-id"])


Answering = Callable[["Request", asyncio.StreamWriter], Awaitable[None]]


def status(code: int, *headers: str, body: bytes = b"") -> Answering:
    async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
        lines = "".join(f"{line}\r\n" for line in headers)
        head = f"HTTP/1.1 {code} Said\r\nContent-Length: {len(body)}\r\n{lines}\r\n"
        writer.write(head.encode() + body)

    return answer


@dataclass(slots=True)
class Receiver:
    """`answering` is asked for each request, after it was written down."""

    url: str = ""
    port: int = 0
    answering: Answering = field(default_factory=lambda: status(204))
    heard: list[Request] = field(default_factory=list)
    connections: int = 0
    came: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def until(self, done: Callable[[list[Request]], bool], within_s: float = 90) -> list[Request]:
        async with asyncio.timeout(within_s), self.came:
            await self.came.wait_for(lambda: done(self.heard))
        return self.heard

    serving: set[asyncio.Task[None]] = field(default_factory=set)

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.create_task(self._serve(reader, writer))
        self.serving.add(task)
        task.add_done_callback(self.serving.discard)
        # One that is cancelled before its first step closes nothing by itself.
        task.add_done_callback(lambda _: writer.transport.abort())

    async def close(self) -> None:
        for _ in range(5):  # a connection that came as the door was shut is served a few turns of the loop later
            await asyncio.sleep(0)
        for task in self.serving:
            task.cancel()
        await asyncio.gather(*self.serving, return_exceptions=True)
        await asyncio.sleep(0)  # an aborted connection is closed in the loop's next turn

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while not writer.is_closing():
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
                headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:-2])}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                request = Request(head[0].split(" ")[1], headers, body)
                async with self.came:
                    self.heard.append(request)
                    self.came.notify_all()
                await self.answering(request, writer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            pass
        finally:
            writer.transport.abort()
            with contextlib.suppress(Exception):
                await writer.wait_closed()


R = TypeVar("R", bound=Receiver)


@asynccontextmanager
async def listening(one: R, tls: ssl.SSLContext | None = None) -> AsyncIterator[R]:
    server = await asyncio.start_server(one.accept, "127.0.0.1", 0, ssl=tls)
    one.port = server.sockets[0].getsockname()[1]
    one.url = f"http{'s' if tls else ''}://127.0.0.1:{one.port}/hook"
    try:
        yield one
    finally:
        server.close()
        await one.close()


@asynccontextmanager
async def receiver(tls: ssl.SSLContext | None = None, answering: Answering | None = None) -> AsyncIterator[Receiver]:
    async with listening(Receiver(answering=answering or status(204)), tls) as one:
        yield one
