"""A crowd of connections whose power is cut and comes back at once, in a process of its own.

Each member says that it is there, reports for itself and for the devices behind it, leaves a last will, and when it is
back sends what it had kept meanwhile.
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

from bench.publish import Metric, mqtt_packet, mqtt_string
from services.adapters.mqtt import Address
from services.domain.registry import Community

CONNECT, CONNECTED, CUT, GONE, RETURN, BACK = range(6)
"""The phases: those that are asked for, and those that answer them."""
BACKLOG = 3
"""Readings of each device that wait for the power."""
_AT_ONCE = 200
"""Connections being opened at a time; a broker's queue for new ones is about that long."""


@dataclass(frozen=True, slots=True)
class Member:
    """A connection: who it is, and which devices it speaks for (itself, where none is behind it)."""

    community: str
    name: str
    devices: tuple[str, ...]
    gateway: bool


@dataclass(frozen=True, slots=True)
class Plan:
    url: str
    members: tuple[Member, ...]
    metrics: tuple[Metric, ...]
    seed: int = 1

    @property
    def messages(self) -> int:
        """That come in when the power is back: states and backlog."""
        return len(self.members) * (1 + BACKLOG)


def plan(url: str, name: str, homes: tuple[Community, ...], metrics: tuple[Metric, ...]) -> Plan:
    """Gateways with what is behind them, and devices with a connection of their own."""
    members: list[Member] = []
    for home in homes:
        behind: dict[str, list[str]] = {}
        for device in home.devices:
            if device.gateway_id is not None:
                behind.setdefault(device.gateway_id, []).append(device.id)
        for device in home.devices:
            if device.gateway_id is None:
                under = tuple(behind.get(device.id, ()))
                members.append(Member(home.id, device.id, under or (device.id,), bool(under)))
    return Plan(url, tuple(members), metrics)


def run(plan: Plan, phase: Synchronized[int]) -> None:
    """Until ended. `phase` is set by the caller to CUT and RETURN, and by us to CONNECTED, GONE and BACK."""
    uvloop.run(_run(plan, phase))


async def _run(plan: Plan, phase: Synchronized[int]) -> None:
    chance = random.Random(plan.seed)
    writers = await _all(plan, chance, session=1, backlog=1)
    phase.value = CONNECTED
    await _until(phase, CUT)
    for writer in writers:
        # No goodbye: the broker speaks each one's last will.
        writer.transport.abort()
    phase.value = GONE
    await _until(phase, RETURN)
    writers = await _all(plan, chance, session=2, backlog=BACKLOG)
    phase.value = BACK
    await asyncio.Event().wait()


async def _until(phase: Synchronized[int], wanted: int) -> None:
    while phase.value != wanted:  # noqa: ASYNC110 - another process says
        await asyncio.sleep(0.005)


async def _all(plan: Plan, chance: random.Random, session: int, backlog: int) -> list[asyncio.StreamWriter]:
    few = asyncio.Semaphore(_AT_ONCE)

    async def one(member: Member) -> asyncio.StreamWriter:
        async with few:
            return await _connect(plan, member, chance, session, backlog)

    return list(await asyncio.gather(*(one(member) for member in plan.members)))


async def _connect(
    plan: Plan, member: Member, chance: random.Random, session: int, backlog: int
) -> asyncio.StreamWriter:
    address = Address.parse(plan.url)
    reader, writer = await asyncio.open_connection(address.host, address.port)
    now = time.time_ns() // 1_000_000
    status = f"sc/{member.community}/{member.name}/up/status"
    will = json.dumps({"ts": now, "online": False, "session": session})
    writer.write(connect(address, member.name, status, will.encode()))
    await reader.readexactly(4)
    alive = json.dumps({"ts": now, "online": True, "session": session})
    writer.write(mqtt_packet(0x33, mqtt_string(status) + struct.pack("!H", 1) + alive.encode()))
    topic = mqtt_string(f"sc/{member.community}/{member.name}/up/telemetry")
    for n in range(backlog):
        body = _telemetry(plan, member, chance, now - (backlog - 1 - n) * 60_000)
        writer.write(mqtt_packet(0x32, topic + struct.pack("!H", n + 2) + body))
    await writer.drain()
    await reader.readexactly(4 * (1 + backlog))
    return writer


def _telemetry(plan: Plan, member: Member, chance: random.Random, ts_ms: int) -> bytes:
    def values() -> dict[str, float]:
        return {metric.name: round(chance.uniform(metric.low, metric.high), 2) for metric in plan.metrics}

    if not member.gateway:
        return json.dumps({"ts": ts_ms, "values": values()}).encode()
    return json.dumps([{"device": device, "ts": ts_ms, "values": values()} for device in member.devices]).encode()


def connect(address: Address, client_id: str, will_topic: str, will: bytes) -> bytes:
    """CONNECT of MQTT 3.1.1 with a retained last will at QoS 1."""
    flags, tail = 0x02 | 0x04 | 0x08 | 0x20, mqtt_string(client_id) + mqtt_string(will_topic)
    tail += struct.pack("!H", len(will)) + will
    if address.username is not None:
        flags |= 0xC0
        tail += mqtt_string(address.username) + mqtt_string(address.password or "")
    return mqtt_packet(0x10, mqtt_string("MQTT") + bytes([4, flags]) + struct.pack("!H", 60) + tail)
