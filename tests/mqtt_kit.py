"""What tests of the MQTT port need: a subscriber that runs, and a broker that says what it is told to say."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from services.adapters import mqtt_packets as packets
from services.adapters.mqtt import Address, Inbound, StatusCallback, Subscriber, SubscriberOptions
from services.adapters.mqtt_direct import DirectSubscriber
from services.adapters.mqtt_paho import PahoSubscriber
from tests.ingest_kit import until

Factory = Callable[[SubscriberOptions, StatusCallback], Subscriber]
IMPLEMENTATIONS: dict[str, Factory] = {"direct": DirectSubscriber, "paho": PahoSubscriber}


@dataclass
class Running:
    """A subscriber whose `run` runs. `said` is each change of its status."""

    subscriber: Subscriber
    said: list[tuple[bool, str]] = field(default_factory=list)
    task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self.task = asyncio.create_task(self.subscriber.run())

    async def ready(self, within_s: float = 90.0) -> None:
        async def answer() -> bool:
            assert self.task is not None
            if self.task.done():
                self.task.result()
            return self.subscriber.ready

        try:
            await until(answer, within_s)
        except AssertionError:
            raise AssertionError(f"not ready: {self.said}") from None

    async def has(self, count: int, within_s: float = 90.0) -> None:
        async def answer() -> bool:
            return self.subscriber.waiting >= count

        try:
            await until(answer, within_s)
        except AssertionError:
            raise AssertionError(f"{self.subscriber.waiting} of {count} have arrived: {self.said}") from None

    async def collect(self, count: int, within_s: float = 90.0) -> list[Inbound]:
        """The next `count`, not acknowledged."""
        got: list[Inbound] = []
        async with asyncio.timeout(within_s):
            while len(got) < count:
                got += await self.subscriber.receive(count - len(got))
        return got

    async def says(self, *words: str, within_s: float = 90.0) -> str:
        """The first reason, since the start, that has these words."""

        async def answer() -> str | None:
            whys = (why for connected, why in self.said if not connected)
            return next((why for why in whys if all(word in why.lower() for word in words)), None)

        try:
            return str(await until(answer, within_s))
        except AssertionError:
            raise AssertionError(f"never said {words}: {self.said}") from None

    async def drop(self) -> None:
        """As if the process died: no goodbye."""
        if self.task is not None:
            self.task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self.task


@asynccontextmanager
async def subscribing(
    make: Factory, url: str, *filters: str, client_id: str | None = None, started: bool = True, **options: Any
) -> AsyncIterator[Running]:
    """Dropped at the end, not closed."""
    said: list[tuple[bool, str]] = []
    given = {"window": 1000, "retry_max_s": 0.2, **options}
    made = make(
        SubscriberOptions(Address.parse(url), client_id or f"t-{uuid4().hex[:10]}", **given),
        lambda connected, why: said.append((connected, why)),
    )
    made.set_filters(filters)
    running = Running(made, said)
    if started:
        running.start()
    try:
        yield running
    finally:
        await running.drop()


class Peer:
    """One connection to the scripted broker."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    async def packet(self) -> tuple[int, bytes]:
        """(first byte, body) of what the client says next."""
        async with asyncio.timeout(90):
            head = (await self._reader.readexactly(1))[0]
            length = shift = 0
            while True:
                digit = (await self._reader.readexactly(1))[0]
                length |= (digit & 0x7F) << shift
                shift += 7
                if digit < 128:
                    return head, await self._reader.readexactly(length)

    async def expect(self, head: int) -> bytes:
        """The next packet of this kind, pings aside."""
        while True:
            found, body = await self.packet()
            if found == 0xC0 and head != 0xC0:
                self.send(b"\xd0\x00")
                continue
            assert found == head, f"expected 0x{head:02x}, got 0x{found:02x} {body!r}"
            return body

    def send(self, data: bytes) -> None:
        self.writer.write(data)

    async def greet(self, session_present: bool = False, reason: int = 0, properties: bytes = b"") -> bytes:
        """Takes CONNECT and answers; its body."""
        body = await self.expect(0x10)
        self.send(packets.packet(0x20, bytes((session_present, reason)) + packets.number(len(properties)) + properties))
        return body

    async def grant(self, *codes: int) -> bytes:
        """Takes SUBSCRIBE and answers with `codes`, else grants all; its body."""
        body = await self.expect(0x82)
        count, at = 0, 3
        while at < len(body):
            at += 2 + int.from_bytes(body[at : at + 2], "big") + 1
            count += 1
        self.send(packets.packet(0x90, body[:2] + b"\0" + bytes(codes or [1] * count)))
        return body

    async def closed(self) -> bytes:
        """What the client still says before it hangs up."""
        async with asyncio.timeout(90):
            return await self._reader.read()

    def hang_up(self) -> None:
        self.writer.close()


class ScriptedBroker:
    """Takes connections; `next` gives them one after the other."""

    def __init__(self) -> None:
        self._peers: asyncio.Queue[Peer] = asyncio.Queue()
        self._all: list[Peer] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"mqtt://127.0.0.1:{self.port}"

    async def next(self) -> Peer:
        async with asyncio.timeout(90):
            return await self._peers.get()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = Peer(reader, writer)
        self._all.append(peer)
        await self._peers.put(peer)

    @asynccontextmanager
    async def running(self, listener: socket.socket | None = None) -> AsyncIterator[ScriptedBroker]:
        if listener is None:
            listener = socket.create_server(("127.0.0.1", 0))
        server = await asyncio.start_server(self._serve, sock=listener)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for peer in self._all:
                peer.writer.transport.abort()
            for peer in self._all:
                with contextlib.suppress(OSError):
                    await peer.writer.wait_closed()


def scripted() -> contextlib.AbstractAsyncContextManager[ScriptedBroker]:
    return ScriptedBroker().running()


def message(packet_id: int, topic: str = "sc/c/d/up/telemetry", payload: bytes = b"{}") -> bytes:
    return packets.publish(packet_id, topic, payload)


def deaf_listener() -> socket.socket:
    """Takes little before its window is shut, for a peer that never reads."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    return listener


async def eventually(question: Callable[[], bool], within_s: float = 90.0) -> None:
    async def answer() -> bool:
        return question()

    await until(answer, within_s)
