"""What tests of ingest need: the service in this process, devices on the wire, and questions to the database."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit
from uuid import uuid4

import asyncpg
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from services.adapters.mqtt import Address
from services.ingest.batch import Owner
from services.ingest.main import run
from services.ingest.settings import IngestSettings

T = TypeVar("T")


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def until(question: Callable[[], Awaitable[T]], deadline_s: float = 90.0) -> T:
    """The first true answer. Fails with the last answer when none comes in time."""
    end = time.monotonic() + deadline_s
    while True:
        answer = await question()
        if answer:
            return answer
        if time.monotonic() > end:
            raise AssertionError(f"still {answer!r} after {deadline_s:g} s")
        await asyncio.sleep(0.02)


class Wire:
    """A client on the broker that publishes as any device and hears every application ack."""

    def __init__(self, url: str) -> None:
        address = Address.parse(url)
        self.acks: dict[str, list[dict[str, Any]]] = {}
        self._lock = threading.Lock()
        self._connected = threading.Event()
        self._client = Client(
            CallbackAPIVersion.VERSION2, f"test-{uuid4().hex[:8]}", protocol=MQTTProtocolVersion.MQTTv5
        )
        if address.username:
            self._client.username_pw_set(address.username, address.password)
        self._client.on_connect = lambda client, *_: client.subscribe("sc/+/+/down/ack", qos=1)
        self._client.on_subscribe = lambda *_: self._connected.set()
        self._client.on_message = self._heard
        self._client.reconnect_delay_set(1, 1)
        self._client.max_queued_messages_set(0)
        self._client.max_inflight_messages_set(1000)
        self._client.connect(address.host, address.port)
        self._client.loop_start()
        assert self._connected.wait(60)

    def _heard(self, _: Client, __: Any, message: MQTTMessage) -> None:
        with self._lock:
            self.acks.setdefault(message.topic, []).append(json.loads(message.payload))

    def send(self, topic: str, payload: Any, *, retain: bool = False) -> None:
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        info = self._client.publish(topic, body, qos=1, retain=retain)
        self._last = info

    async def sent(self) -> None:
        """Until the broker has taken everything."""
        await asyncio.to_thread(self._last.wait_for_publish, 90)

    def acked(self, community: str, device: str) -> set[str]:
        with self._lock:
            return {id for ack in self.acks.get(f"sc/{community}/{device}/down/ack", []) for id in ack["ids"]}

    def refused(self, community: str, device: str) -> dict[str, str]:
        with self._lock:
            acks = self.acks.get(f"sc/{community}/{device}/down/ack", [])
            return {refusal["id"]: refusal["reason"] for ack in acks for refusal in ack["rejected"]}

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


async def lease(connection: asyncpg.Connection[Any], owner: Owner) -> None:
    """Gives a writer without a worker around it the partitions of its owner, whoever has them now."""
    await connection.execute(
        "INSERT INTO worker_lease (consumer, partition, owner, expires_at) "
        "SELECT 'ingest', partition, $1, now() + interval '1 hour' FROM unnest($2::smallint[]) AS partition "
        "ON CONFLICT (consumer, partition) DO UPDATE SET owner = excluded.owner, epoch = worker_lease.epoch + 1",
        owner.instance,
        list(owner.partitions),
    )


def client_prefix(database_url: str) -> str:
    """Of the test's own: the broker is shared, and sessions outlive those who used them."""
    return "t-" + urlsplit(database_url).path.strip("/").replace("_", "-")[-32:]


@asynccontextmanager
async def ingest(database_url: str, mqtt_url: str, **settings: Any) -> AsyncIterator[int]:
    """The service, ready; yields its health port and stops it in order at the end."""
    given = {
        "worker": f"t-{uuid4().hex[:8]}",
        "mqtt_client_prefix": client_prefix(database_url),
        "state_wait_s": 0.02,
        "retry_max_s": 0.2,
        # One device says here what a thousand would; that floods are refused is tested for itself.
        "flood_rate": 100_000,
        "flood_burst": 1_000_000,
        "flood_event_rate": 100_000,
        "flood_event_burst": 1_000_000,
        **settings,
    }
    stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    task = asyncio.create_task(
        run(IngestSettings(database_url=database_url, mqtt_url=mqtt_url, **given), stop, ready.set_result)
    )
    try:
        await asyncio.wait({task, ready}, timeout=90, return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            await task
        yield ready.result()
    finally:
        stop.set()
        await asyncio.wait_for(task, 90)


@dataclass
class Database:
    """Questions a test asks of what was stored."""

    connection: asyncpg.Connection[Any]
    numbers: dict[str, int] = field(default_factory=dict)

    async def no(self, device: str) -> int:
        return int(await self.connection.fetchval("SELECT device_no FROM device WHERE id = $1", device))

    async def readings(self, device: str) -> dict[int, list[float | None]]:
        rows = await self.connection.fetch(
            "SELECT (extract(epoch FROM ts) * 1000)::bigint AS ts, vals FROM reading WHERE device_no = $1 ORDER BY ts",
            await self.no(device),
        )
        return {row["ts"]: row["vals"] for row in rows}

    async def count(self, table: str) -> int:
        return int(await self.connection.fetchval(f"SELECT count(*) FROM {table}"))

    async def ledger(self) -> Mapping[str, int]:
        """Summed over workers, partitions and lanes."""
        row = await self.connection.fetchrow(
            "SELECT coalesce(sum(received), 0)::int AS received, coalesce(sum(stored), 0)::int AS stored, "
            "coalesce(sum(duplicate), 0)::int AS duplicate, coalesce(sum(rejected), 0)::int AS rejected "
            "FROM ingest_ledger"
        )
        return dict(row)

    async def received(self, count: int, deadline_s: float = 90.0) -> Mapping[str, int]:
        """The ledger once at least `count` messages came to their end."""

        async def enough() -> Mapping[str, int] | None:
            ledger = await self.ledger()
            return ledger if ledger["received"] >= count else None

        ledger = await until(enough, deadline_s)
        assert ledger is not None
        return ledger

    async def stored(self) -> list[tuple[str, int]]:
        """(device, ts) of each reading and each event."""
        rows = await self.connection.fetch(
            "SELECT d.id, (extract(epoch FROM ts) * 1000)::bigint AS ts "
            "FROM (SELECT device_no, ts FROM reading UNION ALL SELECT device_no, ts FROM device_event) AS said "
            "JOIN device d USING (device_no)"
        )
        return [(row["id"], row["ts"]) for row in rows]

    async def quarantine(self) -> list[tuple[str, str, str | None]]:
        """(scope, reason, device), in order."""
        rows = await self.connection.fetch("SELECT scope, reason, device_id FROM quarantine ORDER BY id")
        return [(row["scope"], row["reason"], row["device_id"]) for row in rows]

    async def log_numbers(self) -> dict[tuple[int, int], list[int]]:
        rows = await self.connection.fetch(
            "SELECT partition, lane, array_agg(seq ORDER BY seq) AS seqs FROM ingest_log GROUP BY 1, 2"
        )
        return {(row["partition"], row["lane"]): row["seqs"] for row in rows}

    async def log_readings(self) -> list[tuple[int, int]]:
        """(device number, ts) of each reading the log names, in log order."""
        rows = await self.connection.fetch(
            "SELECT device_no, ts_ms FROM ingest_log_reading WHERE lane = 1 ORDER BY partition, seq, place"
        )
        return [(row["device_no"], row["ts_ms"]) for row in rows]

    async def log_bodies(self) -> list[dict[str, Any]]:
        rows = await self.connection.fetch("SELECT body FROM ingest_log WHERE lane = 0 ORDER BY partition, seq")
        return [item for row in rows for item in json.loads(row["body"])]

    async def state(self, device: str) -> Any:
        return await self.connection.fetchrow("SELECT * FROM device_state WHERE device_no = $1", await self.no(device))


@asynccontextmanager
async def database(url: str) -> AsyncIterator[Database]:
    connection = await asyncpg.connect(url)
    try:
        yield Database(connection)
    finally:
        await connection.close()
