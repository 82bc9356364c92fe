"""Writes the committed log by hand and runs alert engines against a real database."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

from services.adapters.log_rows import pack
from services.adapters.postgres import open_pool
from services.adapters.steady_clock import SteadyClock
from services.alerts.settings import AlertSettings
from services.alerts.worker import AlertWorker
from services.domain.devices import BY_NAME
from services.domain.ids import CommunityId, partition_of
from tests.factory import put_community, small_community

COMMUNITY = "test"
PARTITION = partition_of(CommunityId(COMMUNITY))


def now_ms() -> int:
    return time.time_ns() // 1_000_000


async def until(found: Callable[[], Awaitable[Any]], within_s: float = 90.0) -> Any:
    """The first truthy answer; asks again every 20 ms."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        value = await found()
        if value:
            return value
        await asyncio.sleep(0.02)
    raise AssertionError(f"nothing within {within_s} s")


async def staffed(pool: asyncpg.Pool[Any]) -> None:
    """Somebody stands on every rung of the ladder."""
    await pool.execute("UPDATE app_user SET leads = true WHERE role IN ('staff', 'grid')")
    await pool.execute(
        "INSERT INTO app_user (id, username, password_hash, display_name, role, team, street_id) "
        "SELECT 'department', 'department', '', '', 'street', 'department', street_id FROM community WHERE id = $1",
        COMMUNITY,
    )


class World:
    """One community in the database, and the hand that writes its log as ingest would."""

    def __init__(self, url: str, pool: asyncpg.Pool[Any]) -> None:
        self.url = url
        self.pool = pool
        self.numbers: dict[str, int] = {}
        self._seq = {0: 0, 1: 0}

    async def prepare(self) -> None:
        await put_community(self.url, small_community(COMMUNITY))
        rows = await self.pool.fetch("SELECT id, device_no FROM device")
        self.numbers = {row["id"]: row["device_no"] for row in rows}

    def number(self, name: str) -> int:
        return self.numbers[f"{COMMUNITY}-{name}"]

    async def events(self, *entries: dict[str, Any]) -> None:
        await self._append(0, body=json.dumps(list(entries)))

    async def event(self, device: str, event: str, ts_ms: int | None = None, **data: Any) -> int:
        """Returns the device's time of the event."""
        at = now_ms() if ts_ms is None else ts_ms
        await self.events(self.entry(device, event, at, **data))
        return at

    def entry(self, device: str, event: str, ts_ms: int, received_ms: int | None = None, **data: Any) -> dict[str, Any]:
        return {
            "type": "event",
            "device_no": self.number(device),
            "ts_ms": ts_ms,
            "received_ms": received_ms or now_ms(),
            "event": event,
            "data": data,
            "id": f"{device}-{event}-{ts_ms}",
        }

    async def status(self, device: str, online: bool, session: int) -> None:
        at = now_ms()
        await self.seen(device, at, online)
        number = self.number(device)
        await self.events(
            {
                "type": "status",
                "device_no": number,
                "ts_ms": at,
                "received_ms": at,
                "online": online,
                "session": session,
            }
        )

    async def seen(self, device: str, at_ms: int, online: bool = True) -> None:
        await self.pool.execute(
            "INSERT INTO device_state (device_no, online, last_seen_at) VALUES ($1, $2, to_timestamp($3 / 1000.0)) "
            "ON CONFLICT (device_no) DO UPDATE SET online = $2, last_seen_at = to_timestamp($3 / 1000.0)",
            self.number(device),
            online,
            float(at_ms),
        )

    async def reading(self, device: str, kind: str, values: dict[str, float], ts_ms: int | None = None) -> int:
        at = now_ms() if ts_ms is None else ts_ms
        row = [values.get(metric.name) for metric in BY_NAME[kind].metrics]
        await self._append(1, numbers=[self.number(device)], ts=[at], rows=[row])
        return at

    async def series(self, device: str, kind: str, points: Sequence[tuple[int, dict[str, float]]]) -> None:
        """Readings as (epoch ms, values), each received when it was taken; committed as one row of the log."""
        names = [metric.name for metric in BY_NAME[kind].metrics]
        times = [at for at, _ in points]
        rows = [[values.get(name) for name in names] for _, values in points]
        await self._append(1, numbers=[self.number(device)] * len(times), ts=times, rows=rows, received=times)

    async def _append(
        self,
        lane: int,
        body: str = "[]",
        numbers: list[int] | None = None,
        ts: list[int] | None = None,
        rows: list[list[float | None]] | None = None,
        torn: bool = False,
        received: list[int] | None = None,
    ) -> None:
        self._seq[lane] += 1
        async with self.pool.acquire() as connection, connection.transaction():
            await connection.execute(
                "INSERT INTO ingest_log "
                "(partition, lane, seq, worker, readings, packed, body) "
                "VALUES ($1, $2, $3, 'hand', $4, $5, $6::text::jsonb)",
                PARTITION,
                lane,
                self._seq[lane],
                len(ts or []),
                pack(numbers or [], ts or [], received or [now_ms() for _ in ts or []], rows or [])[
                    : -3 if torn else None
                ],
                body,
            )
            await connection.execute("SELECT pg_notify('ingest_log', $1)", f"{PARTITION}:{lane}:{self._seq[lane]}")

    async def torn_reading(self, device: str) -> None:
        """A row whose packed part was cut off."""
        await self._append(1, numbers=[self.number(device)], ts=[now_ms()], rows=[[1.0]], torn=True)

    def skip(self, lane: int, entries: int) -> None:
        """As if these had been written and purged."""
        self._seq[lane] += entries

    async def caught_up(self, within_s: float = 90.0) -> None:
        async def there() -> bool:
            rows = await self.pool.fetch("SELECT lane, seq FROM checkpoint WHERE partition = $1", PARTITION)
            read = {row["lane"]: row["seq"] for row in rows}
            return all(read.get(lane, 0) == seq for lane, seq in self._seq.items())

        await until(there, within_s)

    async def alerts(self, where: str = "true") -> list[asyncpg.Record]:
        return list(await self.pool.fetch(f"SELECT * FROM alert WHERE {where} ORDER BY fired_at, id"))

    async def orders(self, where: str = "true") -> list[asyncpg.Record]:
        return list(await self.pool.fetch(f"SELECT * FROM work_order WHERE {where} ORDER BY number"))

    async def history(self, order_id: Any) -> list[str]:
        rows = await self.pool.fetch(
            "SELECT move FROM work_order_history WHERE order_id = $1 ORDER BY version", order_id
        )
        return [row["move"] for row in rows]

    async def outbox(self) -> list[str]:
        return [row["type"] for row in await self.pool.fetch("SELECT type FROM outbox ORDER BY seq")]


def settings(url: str, **more: Any) -> AlertSettings:
    return AlertSettings(
        database_url=url,
        **{
            "alerts_settle_s": 0,
            "alerts_settling_s": 0,
            "alerts_slack_s": 0,
            "alerts_lease_s": 1.0,
            "alerts_tick_s": 0.1,
            "alerts_poll_s": 0.2,
            "log_level": "WARNING",
            "notices_networks": "127.0.0.1/32",
            **more,
        },
    )


@asynccontextmanager
async def engine(
    world: World, name: str = "one", *, clock: SteadyClock | None = None, **more: Any
) -> AsyncIterator[AlertWorker]:
    """An alert engine of its own pool, stopped in order at the end; with `clock`, it lives by that one."""
    config = settings(world.url, **more)
    pool = await open_pool(world.url, name=f"alerts-{name}", max_size=4)
    worker = AlertWorker(pool, config, BY_NAME, name, clock=clock)
    stop = asyncio.Event()
    running = asyncio.create_task(worker.run(stop))
    try:
        yield worker
    finally:
        stop.set()
        await running
        # A connection that was let go of in the middle of an answer may never come back to its pool.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(60):
                await pool.close()
