"""A load generator: one process that publishes prepared telemetry at QoS 1 as fast as it is let, and nothing else.

It writes MQTT packets itself: a client library would cost more than everything that is measured.
"""

from __future__ import annotations

import asyncio
import json
import random
import struct
import time
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized

import uvloop

from services.adapters.mqtt import Address

WINDOW = 2_000
"""Unacknowledged messages a connection."""
_CHUNK = 100
_PACED = 5
"""So many at a time where a rate is kept."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric and between what its values are drawn."""

    name: str
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Publisher:
    """Who publishes where. `devices` empty: it speaks for itself; else it is a gateway that lists them in turn."""

    topic: str
    devices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Load:
    """`batch` readings a message (1 for devices that speak for themselves). Values are drawn before the clock starts.

    `numbered`: each message also carries a number of its own, `n`, so that a receiver without keys can be checked.
    """

    url: str
    name: str
    publishers: tuple[Publisher, ...]
    metrics: tuple[Metric, ...]
    messages: int
    batch: int
    ahead: int
    """Most messages that may be on their way (broker, receiver) at a time."""
    connections: int = 4
    seed: int = 1
    numbered: bool = False
    rate: int = 0
    """Messages a second of all connections together; 0: as fast as it is let."""


def generate(load: Load, stored: Synchronized[int], sent: Synchronized[int]) -> None:
    """Runs in its own process. Reads how many messages are stored, tells how many the broker took."""
    uvloop.run(_generate(load, stored, sent))


async def _generate(load: Load, stored: Synchronized[int], sent: Synchronized[int]) -> None:
    shares = [load.messages // load.connections] * load.connections
    shares[0] += load.messages - sum(shares)
    start_ms = time.time_ns() // 1_000_000
    await asyncio.gather(
        *(_connection(load, number, share, start_ms, stored, sent) for number, share in enumerate(shares))
    )


class _Messages:
    """Packets of one connection's publishers, in turn. A device's readings are a millisecond apart."""

    def __init__(self, load: Load, number: int, start_ms: int) -> None:
        chance = random.Random(load.seed + number)
        self._texts = [
            json.dumps({m.name: round(chance.uniform(m.low, m.high), 2) for m in load.metrics}) for _ in range(997)
        ]
        self._load, self._start_ms, self._first = load, start_ms, number * load.messages
        mine = load.publishers[number :: load.connections]
        self._topics = [mqtt_string(publisher.topic) for publisher in mine]
        self._devices = [publisher.devices for publisher in mine]

    def packet(self, n: int) -> bytes:
        which, turn = n % len(self._topics), n // len(self._topics)
        devices = self._devices[which]
        if devices:
            first = turn * self._load.batch
            body = "[" + ",".join(self._part(devices, i) for i in range(first, first + self._load.batch)) + "]"
        else:
            mark = f'"n":{self._first + n},' if self._load.numbered else ""
            body = f'{{{mark}"ts":{self._start_ms + turn},"values":{self._texts[n % 997]}}}'
        return mqtt_packet(0x32, self._topics[which] + struct.pack("!H", n % 65535 + 1) + body.encode())

    def _part(self, devices: tuple[str, ...], i: int) -> str:
        ts = self._start_ms + i // len(devices)
        return f'{{"device":"{devices[i % len(devices)]}","ts":{ts},"values":{self._texts[i % 997]}}}'


async def _connection(
    load: Load, number: int, share: int, start_ms: int, stored: Synchronized[int], sent: Synchronized[int]
) -> None:
    address = Address.parse(load.url)
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(mqtt_connect(address, f"bench-{load.name}-{number}"))
    await reader.readexactly(4)
    acknowledged = 0

    async def acknowledgements() -> None:
        nonlocal acknowledged
        left = b""
        while data := await reader.read(1 << 16):
            left += data
            whole = len(left) // 4
            acknowledged += whole
            with sent.get_lock():
                sent.value += whole
            left = left[whole * 4 :]

    listening = asyncio.create_task(acknowledgements())
    messages = _Messages(load, number, start_ms)
    done, began = 0, time.monotonic()
    while done < share:
        if load.rate and done >= (time.monotonic() - began) * load.rate / load.connections:
            await asyncio.sleep(0.002)
            continue
        while done - acknowledged >= WINDOW or sent.value - stored.value > load.ahead:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        until = min(done + (_PACED if load.rate else _CHUNK), share)
        writer.write(b"".join(messages.packet(n) for n in range(done, until)))
        done = until
        await writer.drain()
    while acknowledged < share:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    listening.cancel()
    writer.write(b"\xe0\x00")
    writer.close()


def mqtt_string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("!H", len(raw)) + raw


def mqtt_packet(head: int, body: bytes) -> bytes:
    length, size = bytearray(), len(body)
    while True:
        size, digit = divmod(size, 128)
        length.append(digit | (0x80 if size else 0))
        if not size:
            return bytes([head]) + bytes(length) + body


def mqtt_connect(address: Address, client_id: str) -> bytes:
    flags, tail = 0x02, mqtt_string(client_id)
    if address.username is not None:
        flags |= 0xC0
        tail += mqtt_string(address.username) + mqtt_string(address.password or "")
    return mqtt_packet(0x10, mqtt_string("MQTT") + bytes([4, flags]) + struct.pack("!H", 60) + tail)
