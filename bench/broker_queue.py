"""What a long outage costs the broker: memory, stalls while it saves, disk, restart, and a complete drain afterwards.

`python -m bench.broker_queue --messages 3000000 --payload 100` queues messages to one stopped session of a private
broker with the shipped configuration, saves while somebody publishes, restarts it, and reads everything back.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import struct
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil
from rich.console import Console

from bench.publish import mqtt_connect, mqtt_packet, mqtt_string
from bench.servers import ROOT
from deploy.embedded.broker import Mosquitto
from deploy.embedded.stack import Stack
from services.adapters import mqtt_packets
from services.adapters.broker_identity import secret_hash
from services.adapters.mqtt import Address

TOPIC = "sc/bench/bench-meter-00001/up/telemetry"
LIVE_TOPIC = "sc/bench/bench-meter-00002/up/status"
SESSION = "linhub-bench-queue"
FOREVER_S = 0xFFFFFFFF
_ACL = """
user svc-bench
topic readwrite sc/#
"""
_BLOCK = 1000
_WINDOW = 20_000
_LIVE_EVERY_S = 0.002


@dataclass(frozen=True, slots=True)
class Figures:
    """`stall_s`: longest time that a live publisher waited for a PUBACK while the broker saved."""

    messages: int
    payload_bytes: int
    queued_per_s: int
    rss_empty_mb: int
    rss_full_mb: int
    rss_bytes_a_message: int
    rss_saving_mb: int
    saves_stall_s: list[float]
    disk_mb: int
    disk_bytes_a_message: int
    stop_s: float
    restart_s: float
    rss_restarted_mb: int
    drained_s: float
    drained: int
    in_order: bool
    rss_drained_mb: int


async def _connect(address: Address, name: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(address.host, address.port, limit=1 << 22)
    writer.write(mqtt_connect(address, name))
    if (await reader.readexactly(4))[3] != 0:
        raise ConnectionError("the broker refuses the login")
    return reader, writer


class _Session:
    """The session that is away: made once, read at the end."""

    def __init__(self, address: Address) -> None:
        self._address = address

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(self._address.host, self._address.port, limit=1 << 22)
        writer.write(
            mqtt_packets.connect(
                SESSION, self._address.username, self._address.password, 600, session_expiry_s=FOREVER_S, window=_WINDOW
            )
        )
        head = await reader.readexactly(2)
        if (await reader.readexactly(head[1]))[1] != 0:
            raise ConnectionError("the broker refuses the session")
        return reader, writer

    async def make(self) -> None:
        reader, writer = await self._open()
        writer.write(mqtt_packets.subscribe(1, [TOPIC]))
        await reader.readexactly(2)
        writer.write(mqtt_packets.disconnect(0))
        await writer.drain()
        writer.close()

    async def drain(self, count: int, payload: int) -> tuple[int, bool]:
        """How many came, and whether in order; ends early when nothing comes for ten seconds."""
        reader, writer = await self._open()
        body = 2 + len(TOPIC) + 2 + 1 + payload
        size = 1 + len(_length(body)) + body
        id_at = size - payload - 3
        buffer, got, in_order = bytearray(), 0, True
        while got < count:
            try:
                async with asyncio.timeout(10):
                    buffer += await reader.read(1 << 20)
            except TimeoutError:
                break
            whole = len(buffer) // size
            acks = bytearray()
            for start in range(0, whole * size, size):
                acks += b"\x40\x02" + buffer[start + id_at : start + id_at + 2]
                in_order &= int(buffer[start + size - payload : start + size - payload + 10]) == got
                got += 1
            del buffer[: whole * size]
            writer.write(bytes(acks))
            await writer.drain()
        writer.write(mqtt_packets.disconnect(0))
        await writer.drain()
        writer.close()
        return got, in_order


def _length(value: int) -> bytes:
    return mqtt_packets.number(value)


async def _publish(address: Address, count: int, payload: int) -> None:
    reader, writer = await _connect(address, "bench-queue-load")
    topic, filler = mqtt_string(TOPIC), b"x" * (payload - 10)
    sent = acknowledged = 0
    while acknowledged < count:
        while sent < count and sent - acknowledged < 4 * _BLOCK:
            block = range(sent, min(sent + _BLOCK, count))
            writer.write(
                b"".join(
                    mqtt_packet(0x32, topic + struct.pack("!H", n % 60000 + 1) + b"%010d" % n + filler) for n in block
                )
            )
            sent = block.stop
        acknowledged += len(await reader.readexactly(4 * min(_BLOCK, count - acknowledged))) // 4
    writer.write(b"\xe0\x00")
    writer.close()


class _Live:
    """Somebody who goes on publishing; `longest` since it was last asked."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self.longest = 0.0
        self.answered = 0

    async def run(self) -> None:
        reader, writer = await _connect(self._address, "bench-queue-live")
        topic = mqtt_string(LIVE_TOPIC)
        number = 0
        while True:
            number = number % 60000 + 1
            began = time.monotonic()
            writer.write(mqtt_packet(0x32, topic + struct.pack("!H", number) + b"{}"))
            await reader.readexactly(4)
            self.longest = max(self.longest, time.monotonic() - began)
            self.answered += 1
            await asyncio.sleep(_LIVE_EVERY_S)


def _rss_mb(broker: Mosquitto) -> int:
    return int(psutil.Process(broker.processes[0].pid).memory_info().rss // 1_000_000)


async def _saves(broker: Mosquitto, address: Address, times: int) -> tuple[list[float], int]:
    """Longest wait of each save, and the most memory seen meanwhile."""
    live = _Live(address)
    task = asyncio.create_task(live.run())
    await asyncio.sleep(0.5)
    stalls, rss = [], _rss_mb(broker)
    saved = broker.folder / "data" / "mosquitto.db"
    for _ in range(times):
        before = saved.stat().st_mtime_ns if saved.exists() else 0
        live.longest = 0.0
        broker.signal(signal.SIGUSR1)
        while not saved.exists() or saved.stat().st_mtime_ns == before:
            rss = max(rss, _rss_mb(broker))
            await asyncio.sleep(0.05)
        # The new file is in place before the broker is back at its connections.
        answered = live.answered
        while live.answered < answered + 2:  # noqa: ASYNC110 - it answers twenty times in such a pause
            await asyncio.sleep(0.05)
        stalls.append(round(live.longest, 2))
    task.cancel()
    return stalls, rss


async def measure(stack: Stack, address: Address, messages: int, payload: int, times: int) -> Figures:
    broker = stack.mosquitto
    session = _Session(address)
    await session.make()
    empty = _rss_mb(broker)
    began = time.monotonic()
    await _publish(address, messages, payload)
    queued_s = time.monotonic() - began
    full = _rss_mb(broker)
    stalls, saving = await _saves(broker, address, times)
    disk = (broker.folder / "data" / "mosquitto.db").stat().st_size
    began = time.monotonic()
    broker.stop()
    stop_s = time.monotonic() - began
    began = time.monotonic()
    broker.start()
    broker.wait_ready(300)
    restart_s = time.monotonic() - began
    restarted = _rss_mb(broker)
    began = time.monotonic()
    drained, in_order = await session.drain(messages, payload)
    drained_s = time.monotonic() - began
    return Figures(
        messages=messages,
        payload_bytes=payload,
        queued_per_s=round(messages / queued_s),
        rss_empty_mb=empty,
        rss_full_mb=full,
        rss_bytes_a_message=round((full - empty) * 1e6 / messages),
        rss_saving_mb=saving,
        saves_stall_s=stalls,
        disk_mb=disk // 1_000_000,
        disk_bytes_a_message=round(disk / messages),
        stop_s=round(stop_s, 1),
        restart_s=round(restart_s, 1),
        rss_restarted_mb=restarted,
        drained_s=round(drained_s, 1),
        drained=drained,
        in_order=in_order,
        rss_drained_mb=_rss_mb(broker),
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.broker_queue", description=__doc__)
    parser.add_argument("--messages", type=int, default=3_000_000)
    parser.add_argument("--payload", type=int, default=100, help="bytes; at least 10")
    parser.add_argument("--saves", type=int, default=3)
    given = parser.parse_args(arguments)
    with (
        tempfile.TemporaryDirectory(prefix="linhub-bench-") as home,
        Stack(Path(home), secret_hash, root=ROOT, extra_acl=_ACL) as stack,
    ):
        stack.ensure_root()
        address = Address.parse(stack.start_servers(with_postgres=False).mqtt_url("svc-bench"))
        figures = asyncio.run(measure(stack, address, given.messages, max(given.payload, 10), given.saves))
    Console().print_json(json.dumps(asdict(figures)))
    return 0 if figures.drained == figures.messages and figures.in_order else 1


if __name__ == "__main__":
    raise SystemExit(main())
