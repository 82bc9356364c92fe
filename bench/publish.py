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


@dataclass(frozen=True, slots=True)
class Load:
    """`batch` > 1: so many readings a message, sent by gateways. Values are drawn before the clock starts."""

    url: str
    community: str
    devices: tuple[str, ...]
    gateways: tuple[str, ...]
    metrics: tuple[str, ...]
    messages: int
    batch: int
    ahead: int
    """Most messages that may be on their way (broker, ingest) at a time."""
    connections: int = 4
    seed: int = 1


def generate(load: Load, stored: Synchronized[int], sent: Synchronized[int]) -> None:
    """Runs in its own process. Reads how many messages are stored, tells how many the broker took."""
    uvloop.run(_generate(load, stored, sent))


async def _generate(load: Load, stored: Synchronized[int], sent: Synchronized[int]) -> None:
    shares = [load.messages // load.connections] * load.connections
    shares[0] += load.messages - sum(shares)
    start_ms = time.time_ns() // 1_000_000 - 86_400_000
    await asyncio.gather(
        *(_connection(load, number, share, start_ms, stored, sent) for number, share in enumerate(shares))
    )


def _string(text: str) -> bytes:
    raw = text.encode()
    return struct.pack("!H", len(raw)) + raw


def _packet(head: int, body: bytes) -> bytes:
    length, size = bytearray(), len(body)
    while True:
        size, digit = divmod(size, 128)
        length.append(digit | (0x80 if size else 0))
        if not size:
            return bytes([head]) + bytes(length) + body


def _connect(address: Address, client_id: str) -> bytes:
    flags, tail = 0x02, _string(client_id)
    if address.username is not None:
        flags |= 0xC0
        tail += _string(address.username) + _string(address.password or "")
    return _packet(0x10, _string("MQTT") + bytes([4, flags]) + struct.pack("!H", 60) + tail)


class _Values:
    """Texts of values, drawn once: drawing them while measuring would cost more than sending them."""

    def __init__(self, metrics: tuple[str, ...], chance: random.Random) -> None:
        self.texts = [json.dumps({m: round(chance.uniform(1, 3), 2) for m in metrics}) for _ in range(997)]


async def _connection(
    load: Load, number: int, share: int, start_ms: int, stored: Synchronized[int], sent: Synchronized[int]
) -> None:
    address = Address.parse(load.url)
    reader, writer = await asyncio.open_connection(address.host, address.port)
    writer.write(_connect(address, f"bench-{load.community}-{number}"))
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
    texts = _Values(load.metrics, random.Random(load.seed + number)).texts
    mine = load.devices[number :: load.connections]
    gateways = load.gateways[number :: load.connections]
    prefix = [_string(f"sc/{load.community}/{device}/up/telemetry") for device in mine]
    gateway_prefix = [_string(f"sc/{load.community}/{gateway}/up/telemetry") for gateway in gateways]
    done = 0
    while done < share:
        while done - acknowledged >= WINDOW or sent.value - stored.value > load.ahead:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
        chunk = bytearray()
        for n in range(done, min(done + _CHUNK, share)):
            mid = struct.pack("!H", n % 65535 + 1)
            if load.batch == 1:
                which, turn = n % len(mine), n // len(mine)
                body = f'{{"ts":{start_ms + turn},"values":{texts[n % 997]}}}'.encode()
                chunk += _packet(0x32, prefix[which] + mid + body)
            else:
                first = n * load.batch
                parts = ",".join(
                    f'{{"device":"{mine[i % len(mine)]}","ts":{start_ms + i // len(mine)},"values":{texts[i % 997]}}}'
                    for i in range(first, first + load.batch)
                )
                chunk += _packet(0x32, gateway_prefix[n % len(gateways)] + mid + f"[{parts}]".encode())
        done += min(_CHUNK, share - done)
        writer.write(chunk)
        await writer.drain()
    while acknowledged < share:  # noqa: ASYNC110
        await asyncio.sleep(0.001)
    listening.cancel()
    writer.write(b"\xe0\x00")
    writer.close()
