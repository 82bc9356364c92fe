"""What simulator tests share: somebody at the broker who hears everything and may acknowledge."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

from device_sim.broker import Broker
from device_sim.uplink import Uplink
from tests.conftest import Mqtt

DEADLINE_S = 90.0


@dataclass(slots=True)
class Heard:
    channel: str
    device: str
    body: Any
    retained: bool


@dataclass(slots=True)
class Ingest:
    """Hears `sc/{community}/#`. Says no word by itself; `acknowledge` is the application ack."""

    client: paho.Client
    community: str
    heard: list[Heard] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)

    def hear(self, heard: Heard) -> None:
        self.heard.append(heard)
        self.changed.set()

    def of(self, channel: str, device: str | None = None) -> list[Any]:
        return [h.body for h in self.heard if h.channel == channel and device in (None, h.device)]

    def acknowledge(self, device: str, *ids: str, rejected: tuple[dict[str, str], ...] = ()) -> None:
        body = json.dumps({"ids": list(ids), "rejected": list(rejected)})
        self.client.publish(f"sc/{self.community}/{device}/down/ack", body, qos=1)

    def command(self, device: str, body: dict[str, Any]) -> None:
        self.client.publish(f"sc/{self.community}/{device}/down/command", json.dumps(body), qos=1)

    async def until(self, holds: Callable[[], bool], deadline_s: float = DEADLINE_S) -> None:
        async with asyncio.timeout(deadline_s):
            while not holds():
                self.changed.clear()
                await self.changed.wait()


@asynccontextmanager
async def ingest(mqtt: Mqtt, community: str) -> AsyncIterator[Ingest]:
    loop = asyncio.get_running_loop()
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=paho.MQTTv5)
    client.username_pw_set(mqtt.username, mqtt.password)
    witness, subscribed = Ingest(client, community), asyncio.Event()

    def on_message(_: paho.Client, __: Any, message: paho.MQTTMessage) -> None:
        device, channel = message.topic.split("/")[2], message.topic.split("/")[4]
        heard = Heard(channel, device, json.loads(message.payload), message.retain)
        loop.call_soon_threadsafe(witness.hear, heard)

    def on_subscribe(*_: Any) -> None:
        loop.call_soon_threadsafe(subscribed.set)

    client.on_message = on_message
    client.on_subscribe = on_subscribe
    client.connect(mqtt.host, mqtt.port)
    client.loop_start()
    try:
        client.subscribe(f"sc/{community}/+/up/#", qos=1)
        await asyncio.wait_for(subscribed.wait(), DEADLINE_S)
        yield witness
    finally:
        client.disconnect()
        await asyncio.to_thread(client.loop_stop)


@asynccontextmanager
async def running(uplink: Uplink) -> AsyncIterator[Uplink]:
    """The uplink kept connected, with its every-second work, as a fleet does it."""
    stop = asyncio.Event()

    async def tick() -> None:
        while not stop.is_set():
            uplink.misc()
            uplink.resend_due()
            await asyncio.sleep(0.05)

    tasks = [asyncio.create_task(uplink.run(stop)), asyncio.create_task(tick())]
    try:
        async with asyncio.timeout(DEADLINE_S):
            while not uplink.connected:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        yield uplink
    finally:
        stop.set()
        await asyncio.gather(*tasks)


def broker_of(mqtt: Mqtt) -> Broker:
    return Broker(mqtt.host, mqtt.device_port)
