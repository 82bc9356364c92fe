"""From a published event to a committed work order to an open cockpit: how long the whole loop takes."""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import paho.mqtt.client as paho
import typer
from paho.mqtt.enums import CallbackAPIVersion

from device_sim.bearer import Bearer

_EVENT = "alarm"
_WAIT_S = 15.0
_GAP_S = 0.05
_ENDED = frozenset({"closed", "cancelled", "false_alarm", "merged"})


@dataclass(frozen=True, slots=True)
class LoopFigures:
    """Milliseconds from the publish; `committed` by the database's clock, its offset measured. `lost`: not seen."""

    events: int
    seen: int
    lost: int
    committed_p50_ms: float
    committed_p99_ms: float
    seen_p50_ms: float
    seen_p99_ms: float
    fanout_p50_ms: float
    """From the outbox row to the event in the reader's hands: what the live hub adds."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Seen:
    order_id: UUID
    version: int
    at: float
    """By this process's monotonic clock, seconds."""


async def measure(
    database_url: str,
    api_url: str,
    username: str,
    password: str,
    mqtt_host: str,
    mqtt_port: int,
    device_id: str,
    device_secret: str,
    community: str,
    events: int,
) -> LoopFigures:
    """Publishes one gas alarm after the other as the device; each order is ended as a false alarm before the next.

    The account must be the community's desk. The device should be one that nothing else is connected as: the broker
    lets one connection in per device. Raises TimeoutError when nothing of the loop answers.
    """
    connection = await asyncpg.connect(database_url)
    base = f"{api_url}/api/v1"
    login = Bearer(f"{base}/auth/token", username, password)
    async with httpx.AsyncClient(base_url=base, auth=login, trust_env=False, timeout=10) as http:
        await _end_open_orders(http, community, device_id)
        try:
            async with (
                _device(mqtt_host, mqtt_port, device_id, device_secret) as client,
                _orders(http, community, device_id) as orders,
            ):
                return await _rounds(connection, http, client, orders, community, device_id, events)
        finally:
            await connection.close()


async def _rounds(
    connection: Any,
    http: httpx.AsyncClient,
    client: paho.Client,
    orders: asyncio.Queue[_Seen],
    community: str,
    device_id: str,
    events: int,
) -> LoopFigures:
    offset_s = await _clock_offset_s(connection)
    committed: list[float] = []
    seen: list[float] = []
    for _ in range(events):
        wall, start = time.time(), time.perf_counter()
        body = {"id": str(uuid4()), "ts": int(wall * 1000), "event": _EVENT, "data": {}}
        client.publish(f"sc/{community}/{device_id}/up/event", json.dumps(body), qos=1)
        try:
            async with asyncio.timeout(_WAIT_S):
                order = await orders.get()
        except TimeoutError:
            continue
        at = await connection.fetchval(
            "SELECT extract(epoch FROM min(at))::float8 FROM outbox WHERE subject = $1", str(order.order_id)
        )
        committed.append((at - offset_s - wall) * 1000)
        seen.append((order.at - start) * 1000)
        await _end(http, order.order_id, order.version)
        await asyncio.sleep(_GAP_S)
    if not seen:
        raise TimeoutError(f"none of {events} alarms of {device_id} became an order on the stream within {_WAIT_S} s")
    return LoopFigures(
        events=events,
        seen=len(seen),
        lost=events - len(seen),
        committed_p50_ms=_percentile(committed, 50),
        committed_p99_ms=_percentile(committed, 99),
        seen_p50_ms=_percentile(seen, 50),
        seen_p99_ms=_percentile(seen, 99),
        fanout_p50_ms=_percentile([b - a for a, b in zip(committed, seen, strict=True)], 50),
    )


def _percentile(values: Sequence[float], percent: int) -> float:
    if len(values) == 1:
        return round(values[0], 1)
    return round(statistics.quantiles(values, n=100, method="inclusive")[percent - 1], 1)


async def _clock_offset_s(connection: Any) -> float:
    """How far the database's clock is ahead of ours, by the fastest of several round trips."""
    best = (float("inf"), 0.0)
    for _ in range(9):
        before = time.time()
        theirs = await connection.fetchval("SELECT extract(epoch FROM clock_timestamp())::float8")
        after = time.time()
        best = min(best, (after - before, theirs - (before + after) / 2))
    return best[1]


@asynccontextmanager
async def _device(host: str, port: int, device_id: str, secret: str) -> AsyncIterator[paho.Client]:
    loop = asyncio.get_running_loop()
    connected: asyncio.Future[None] = loop.create_future()
    client = paho.Client(CallbackAPIVersion.VERSION2, client_id=device_id, protocol=paho.MQTTv5)
    client.username_pw_set(device_id, secret)

    def on_connect(_client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        def tell() -> None:
            if connected.done():
                return
            if reason.is_failure:
                connected.set_exception(ConnectionError(f"the broker refused {device_id}: {reason}"))
            else:
                connected.set_result(None)

        loop.call_soon_threadsafe(tell)

    client.on_connect = on_connect
    client.connect_async(host, port)
    client.loop_start()
    try:
        async with asyncio.timeout(_WAIT_S):
            await connected
        yield client
    finally:
        client.disconnect()
        await asyncio.to_thread(client.loop_stop)


@asynccontextmanager
async def _orders(http: httpx.AsyncClient, community: str, device_id: str) -> AsyncIterator[asyncio.Queue[_Seen]]:
    """New orders of the device as the live stream tells them."""
    queue: asyncio.Queue[_Seen] = asyncio.Queue()
    opened = asyncio.Event()
    reading = asyncio.create_task(_read(http, community, device_id, queue, opened))
    waiting = asyncio.create_task(opened.wait())
    try:
        await asyncio.wait({reading, waiting}, timeout=_WAIT_S, return_when=asyncio.FIRST_COMPLETED)
        if reading.done():
            reading.result()
        yield queue
    finally:
        waiting.cancel()
        reading.cancel()
        await asyncio.gather(reading, waiting, return_exceptions=True)


async def _read(
    http: httpx.AsyncClient, community: str, device_id: str, queue: asyncio.Queue[_Seen], opened: asyncio.Event
) -> None:
    known: set[str] = set()
    name = ""
    async with http.stream("GET", f"/communities/{community}/stream", timeout=None) as response:
        response.raise_for_status()
        async for line in response.aiter_lines():
            at = time.perf_counter()
            field, _, value = line.partition(": ")
            if field == "event":
                name = value
            elif field == "data" and name == "hello":
                opened.set()
            elif field == "data" and name == "order":
                order = json.loads(value)
                if order["device_id"] == device_id and order["id"] not in known and order["state"] not in _ENDED:
                    known.add(order["id"])
                    queue.put_nowait(_Seen(UUID(order["id"]), order["version"], at))


async def _end(http: httpx.AsyncClient, order_id: UUID | str, version: int) -> None:
    """As the desk does; an order that has moved on since it was seen is ended as it is now."""
    for _ in range(5):
        body = {"move": "false_alarm", "version": version, "reason": "loop measurement"}
        answer = await http.post(f"/orders/{order_id}/moves", json=body, headers={"Idempotency-Key": str(uuid4())})
        if answer.status_code != httpx.codes.CONFLICT:
            break
        version = (await http.get(f"/orders/{order_id}")).raise_for_status().json()["version"]
    answer.raise_for_status()


async def _end_open_orders(http: httpx.AsyncClient, community: str, device_id: str) -> None:
    answer = await http.get(f"/communities/{community}/orders", params={"limit": 500})
    answer.raise_for_status()
    for order in answer.json()["items"]:
        if order["device_id"] == device_id:
            await _end(http, order["id"], order["version"])


def render(figures: LoopFigures) -> str:
    """A few lines for a person."""
    lines = [f"loop: {figures.seen} of {figures.events} alarms seen as orders, {figures.lost} lost"]
    for words, p50, p99 in (
        ("publish → order committed", figures.committed_p50_ms, figures.committed_p99_ms),
        ("publish → seen on stream", figures.seen_p50_ms, figures.seen_p99_ms),
    ):
        lines.append(f"  {words:<28} p50 {p50:8.1f} ms   p99 {p99:8.1f} ms")
    lines.append(f"  {'committed → seen':<28} p50 {figures.fanout_p50_ms:8.1f} ms")
    return "\n".join(lines)


def main_command(arguments: Sequence[str] | None = None) -> int:
    """`python -m bench.loop …`; exits 1 when an event was lost. Secrets come in files, not on the command line."""
    parser = argparse.ArgumentParser(prog="bench.loop", description=__doc__)
    parser.add_argument("--database-url", required=True)
    parser.add_argument("--api-url", required=True)
    parser.add_argument("--username", default="desk")
    parser.add_argument("--password-file", type=Path, required=True)
    parser.add_argument("--mqtt-host", default="127.0.0.1")
    parser.add_argument("--mqtt-port", type=int, default=1883)
    parser.add_argument("--device", required=True, help="a gas alarm that nothing else is connected as")
    parser.add_argument("--secret-file", type=Path, required=True)
    parser.add_argument("--community", required=True)
    parser.add_argument("--events", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args(arguments)
    figures = asyncio.run(
        measure(
            chosen.database_url,
            chosen.api_url,
            chosen.username,
            chosen.password_file.read_text().strip(),
            chosen.mqtt_host,
            chosen.mqtt_port,
            chosen.device,
            chosen.secret_file.read_text().strip(),
            chosen.community,
            chosen.events,
        )
    )
    print(json.dumps(figures.as_dict()) if chosen.json else render(figures))
    return 1 if figures.lost else 0


def register(app: typer.Typer) -> None:
    """`linhub bench loop`: the same on servers and services of its own."""

    @app.command("loop")
    def command(
        events: Annotated[int, typer.Option(min=1, help="报警次数 · Alarms to publish")] = 100,
        as_json: Annotated[bool, typer.Option("--json", help="输出 JSON · Print JSON")] = False,
    ) -> None:
        """事件到工单到驾驶舱 · From a published alarm to the committed order and the open cockpit."""
        from bench.run import measure_alarms

        found = measure_alarms(events)
        typer.echo(json.dumps(found) if as_json else render(LoopFigures(**found)))
        if found["lost"]:
            raise typer.Exit(1)


if __name__ == "__main__":
    sys.exit(main_command())
