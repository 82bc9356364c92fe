"""What comes after an outage of the database: how fast the backlog drains, events first, and in how much memory.

`python -m bench.catchup --minutes 10 --rate 5000` publishes at that rate while the database is dead, brings it back
while publishing goes on, and prints seconds and ratios. Servers are its own and gone afterwards.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import struct
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import asyncpg
import psutil
from rich.console import Console

from bench.ingest import KIND
from bench.publish import mqtt_connect, mqtt_packet, mqtt_string
from bench.servers import BenchServers, bench_servers
from bench.system import community, put, service
from services.adapters.migrate import migrate
from services.adapters.mqtt import Address
from services.domain.devices import BY_NAME

_EVENT_SHARE = 100
"""One message in so many is an event."""


@dataclass(frozen=True, slots=True)
class Catchup:
    """`drained_s` counts from the moment the database answers until nothing waits; `ratio` is drain over arrival."""

    rate: int
    outage_s: float
    published: int
    backlog: int
    drained_s: float
    events_drained_s: float
    ratio: float
    lost: int
    ingest_rss_before_mb: int
    ingest_rss_peak_mb: int
    cores: int


class _Publisher:
    """One connection that says so many messages a second and counts what the broker took."""

    def __init__(self, url: str, community: str, devices: Sequence[str], rate: int) -> None:
        self._address, self._rate, self._devices = Address.parse(url), rate, devices
        self._topics = [
            {channel: mqtt_string(f"sc/{community}/{device}/up/{channel}") for channel in ("telemetry", "event")}
            for device in devices
        ]
        self._community = community
        metrics = [metric.name for metric in BY_NAME[KIND].metrics[:3]]
        self._values = json.dumps(dict.fromkeys(metrics, 1))
        self._event = BY_NAME[KIND].events[0].name
        self.sent = self.taken = self.events = 0

    async def run(self) -> None:
        reader, writer = await asyncio.open_connection(self._address.host, self._address.port)
        writer.write(mqtt_connect(self._address, f"catchup-{self._community}"))
        await reader.readexactly(4)
        counting = asyncio.create_task(self._count(reader))
        start_ms, began = time.time_ns() // 1_000_000 - 3_600_000, time.monotonic()
        try:
            while True:
                due = int((time.monotonic() - began) * self._rate)
                chunk = bytearray()
                while self.sent < due and self.sent - self.taken < 20_000:
                    chunk += self._message(self.sent, start_ms)
                    self.sent += 1
                writer.write(chunk)
                await writer.drain()
                await asyncio.sleep(0.01)
        finally:
            while self.taken < self.sent:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            counting.cancel()
            writer.close()

    def _message(self, n: int, start_ms: int) -> bytes:
        which, ts = n % len(self._devices), start_ms + n // len(self._devices)
        mid = struct.pack("!H", n % 65535 + 1)
        if n % _EVENT_SHARE == 0:
            self.events += 1
            body = f'{{"id":"e{n}","ts":{ts},"event":"{self._event}"}}'
            return mqtt_packet(0x32, self._topics[which]["event"] + mid + body.encode())
        return mqtt_packet(
            0x32, self._topics[which]["telemetry"] + mid + f'{{"ts":{ts},"values":{self._values}}}'.encode()
        )

    async def _count(self, reader: asyncio.StreamReader) -> None:
        left = 0
        while data := await reader.read(1 << 16):
            left += len(data)
            self.taken, left = self.taken + left // 4, left % 4


async def measure(
    servers: BenchServers, *, rate: int, outage_s: float, say: Callable[[str], None] = lambda text: None
) -> Catchup:
    """Raises ValueError for servers that it may not stop."""
    stack = servers.stack
    if stack is None:
        raise ValueError("the database must be ours to kill: unset LINHUB_DATABASE_URL and LINHUB_MQTT_URL")
    name = f"catchup{os.getpid()}"
    # The server is this run's own, so its database goes with it.
    url = servers.database_url.rpartition("/")[0] + "/linhub"
    await migrate(url)
    connection = await asyncpg.connect(url)
    home = community(name, KIND, 1000, gateways=1)
    await put(connection, (home,))
    await connection.close()
    devices = [device.id for device in home.devices if device.kind == KIND]
    settings = {"LINHUB_DATABASE_URL": url, "LINHUB_MQTT_URL": servers.ingest_url, "LINHUB_WORKER": name}
    with service("ingest", settings) as ingest:
        await ingest.ready()
        process = psutil.Process(ingest.process.pid)
        publisher = _Publisher(servers.load_url, name, devices, rate)
        publishing = asyncio.create_task(publisher.run())
        await asyncio.sleep(2)
        before = peak = process.memory_info().rss
        stack.postgres.kill()
        end = time.monotonic() + outage_s
        while (left := end - time.monotonic()) > 0:
            say(f"the database is away for {left:.0f} s more; {publisher.taken:,} messages sent")
            await asyncio.sleep(0.2)
            peak = max(peak, process.memory_info().rss)
        stack.postgres.start()
        await asyncio.to_thread(stack.postgres.wait_ready)
        back, at_back = time.monotonic(), publisher.taken
        connection = await asyncpg.connect(url)
        try:
            stored_before = await _stored(connection)
            backlog, events_at_back = at_back - sum(stored_before), publisher.events
            events_s = drained_s = 0.0
            drained = 0
            while not drained_s:
                await asyncio.sleep(0.1)
                peak = max(peak, process.memory_info().rss)
                events, telemetry = await _stored(connection)
                say(f"{publisher.taken - events - telemetry:,} messages waiting")
                if not events_s and events >= events_at_back:
                    events_s = time.monotonic() - back
                if events + telemetry >= publisher.taken - rate // 5:
                    drained_s, drained = time.monotonic() - back, events + telemetry - sum(stored_before)
                elif time.monotonic() - back > 20 * outage_s + 60:
                    raise RuntimeError(f"stuck at {events + telemetry} of {publisher.taken}")
            publishing.cancel()
            await asyncio.gather(publishing, return_exceptions=True)
            for _ in range(200):
                if sum(await _stored(connection)) >= publisher.taken:
                    break
                await asyncio.sleep(0.1)
            lost = publisher.taken - sum(await _stored(connection))
        finally:
            await connection.close()
    return Catchup(
        rate, round(back - (end - outage_s), 1), publisher.taken, backlog, round(drained_s, 2), round(events_s, 2),
        round(drained / drained_s / rate, 2), lost, before >> 20, peak >> 20, os.cpu_count() or 0,
    )  # fmt: skip


async def _stored(connection: asyncpg.Connection[Any]) -> tuple[int, int]:
    """Events, telemetry."""
    rows = await connection.fetch("SELECT lane, sum(received)::bigint AS n FROM ingest_ledger GROUP BY 1")
    found = {row["lane"]: int(row["n"]) for row in rows}
    return found.get(0, 0), found.get(1, 0)


def main() -> None:
    parser = argparse.ArgumentParser(prog="catchup", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rate", type=int, default=5000)
    given = parser.parse_args()
    console = Console(stderr=True)
    with bench_servers() as servers, console.status("starting") as status:
        result = asyncio.run(measure(servers, rate=given.rate, outage_s=given.minutes * 60, say=status.update))
    sys.stdout.write(json.dumps(asdict(result), indent=1) + "\n")


if __name__ == "__main__":
    main()
