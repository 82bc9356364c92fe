"""One device's MQTT connection on the event loop: last will, QoS 1, and resending until the application ack."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from device_sim.spool import Entry, Spool

log = logging.getLogger(__name__)

KEEPALIVE_S = 60
SESSION_EXPIRY_S = 3600
WILL_DELAY_S = 1
"""A blink of the network shorter than this is nobody's business; the broker keeps the will back."""
CONNECT_TIMEOUT_S = 10.0
BACKOFF_FIRST_S = 1.0
BACKOFF_MOST_S = 60.0
MAX_UNSENT = 200
"""Messages handed to the socket and not yet acknowledged by the broker; the rest waits in the spool."""
_TAKEN_OVER = 0x8E


@dataclass(slots=True)
class Traffic:
    """What went over the wire, summed over the connections that share it."""

    connected: int = 0
    connects: int = 0
    published: int = 0
    resent: int = 0
    acknowledged: int = 0
    rejected: int = 0
    commands: int = 0
    refused: str = ""
    """Why the broker last refused somebody."""


@dataclass(frozen=True, slots=True)
class Broker:
    host: str
    port: int
    threads: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(8, "connect"))
    """TCP connects block; a few threads do them for everybody. Nothing else runs there."""


Command = dict[str, Any]


class Uplink:
    """The connection of one device. `client_id` is its id: the broker lets nobody else in under it.

    Everything with an `id` stays in the spool until it stands in a `down/ack`.
    """

    def __init__(
        self,
        broker: Broker,
        community: str,
        device: str,
        secret: str | None,
        *,
        traffic: Traffic | None = None,
        spool: Spool | None = None,
        on_command: Callable[[Command], tuple[bool, str]] | None = None,
        held: Callable[[str], bool] = lambda _: False,
        with_status: bool = True,
    ) -> None:
        self.device = device
        self.spool = spool or Spool()
        self.traffic = traffic or Traffic()
        self.session = 0
        self.rejections: dict[str, str] = {}
        self._broker, self._secret = broker, secret
        self._up, self._down = f"sc/{community}/{device}/up/", f"sc/{community}/{device}/down/"
        self._on_command, self._held, self._with_status = on_command, held, with_status
        self._client: mqtt.Client | None = None
        self._loop = asyncio.get_running_loop()
        self._ready = asyncio.Event()
        self._closed = asyncio.Event()
        self._reason = ""
        self._taken_over = False
        self._acks: dict[str, asyncio.Future[bool]] = {}
        self._replied: dict[str, tuple[bool, str]] = {}
        self._sequence = 0

    @property
    def connected(self) -> bool:
        return self._ready.is_set()

    # ── what the device says ──

    def next_id(self, ts_ms: int) -> str:
        self._sequence += 1
        return f"{ts_ms:x}-{self.session % 1_000_000:x}-{self._sequence:x}"

    def send(self, channel: str, body: dict[str, Any] | list[dict[str, Any]], *, urgent: bool = False) -> str:
        """Spools a message (a list is one gateway batch under one id) and sends it now if it can; the id."""
        first = body[0] if isinstance(body, list) else body
        message_id = self.next_id(int(first["ts"]))
        for item in body if isinstance(body, list) else [body]:
            item["id"] = message_id
        entry = Entry(message_id, channel, json.dumps(body, separators=(",", ":")).encode(), urgent)
        self.spool.add(entry)
        if self.connected:
            self._transmit(entry)
        return message_id

    def refresh_status(self, ts_ms: int) -> None:
        """Says again that it is there: the heartbeat of a device without metrics."""
        if self.connected and self._client:
            self._client.publish(f"{self._up}status", self._status(ts_ms, True), qos=1, retain=True)
            self.traffic.published += 1

    async def stored(self, message_id: str, timeout_s: float) -> bool:
        """Waits for the application ack: True stored (or a duplicate), False rejected. Raises TimeoutError."""
        future = self._acks.setdefault(message_id, self._loop.create_future())
        if message_id not in self.spool and not future.done():
            future.set_result(message_id not in self.rejections)
        try:
            return await asyncio.wait_for(asyncio.shield(future), timeout_s)
        finally:
            self._acks.pop(message_id, None)

    def resend_due(self) -> None:
        """Sends again what has waited long enough; call about once a second."""
        if not self.connected:
            return
        for entry in self.spool.due(time.monotonic()):
            if entry.attempts:
                self.traffic.resent += 1
            self._transmit(entry)

    def _transmit(self, entry: Entry) -> None:
        client = self._client
        if client is None or len(client._out_messages) >= MAX_UNSENT:
            return
        self.spool.sent(entry, time.monotonic())
        client.publish(self._up + entry.channel, entry.payload, qos=1)
        self.traffic.published += 1

    def _status(self, ts_ms: int, online: bool) -> bytes:
        return json.dumps({"ts": ts_ms, "online": online, "session": self.session}).encode()

    # ── the connection ──

    async def run(self, stop: asyncio.Event, gate: asyncio.Semaphore | None = None) -> None:
        """Keeps the connection until `stop`; waits longer after each failure, never in step with its neighbours."""
        failures = 0
        while not stop.is_set():
            try:
                async with gate or contextlib.nullcontext():
                    await self.connect()
                failures = 0
                await _first(self._closed.wait(), stop.wait())
            except (OSError, TimeoutError, ConnectionError) as error:
                self._drop()
                failures += 1
                log.debug("%s cannot connect: %s", self.device, error)
            if stop.is_set():
                break
            while self._held(self.device) and not stop.is_set():
                await _first(asyncio.sleep(1.0), stop.wait())
            most = min(BACKOFF_MOST_S, BACKOFF_FIRST_S * 2**failures)
            pause = random.uniform(most / 2, most) + (5.0 if self._taken_over else 0.0)
            await _first(asyncio.sleep(pause), stop.wait())
        await self.close()

    async def connect(self) -> None:
        """Connects once. Raises OSError, TimeoutError, or ConnectionRefusedError with the broker's words."""
        self.session = max(self.session + 1, int(time.time() * 1000))
        self._ready.clear()
        self._closed.clear()
        self._taken_over, self._reason = False, ""
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=self.device, protocol=mqtt.MQTTv5)
        self._client = client
        if self._secret is not None:
            client.username_pw_set(self.device, self._secret)
        client.max_queued_messages_set(0)
        client.max_inflight_messages_set(MAX_UNSENT)
        client.connect_timeout = CONNECT_TIMEOUT_S / 2
        client.suppress_exceptions = False
        self._bind(client)
        if self._with_status:
            delay = Properties(PacketTypes.WILLMESSAGE)
            delay.WillDelayInterval = WILL_DELAY_S
            offline = self._status(int(time.time() * 1000), False)
            client.will_set(f"{self._up}status", offline, qos=1, retain=True, properties=delay)
        keep = Properties(PacketTypes.CONNECT)
        keep.SessionExpiryInterval = SESSION_EXPIRY_S
        client.connect_async(
            self._broker.host, self._broker.port, keepalive=KEEPALIVE_S, clean_start=False, properties=keep
        )
        await self._loop.run_in_executor(self._broker.threads, client.reconnect)
        async with asyncio.timeout(CONNECT_TIMEOUT_S):
            await _first(self._ready.wait(), self._closed.wait())
        if not self._ready.is_set():
            self.traffic.refused = f"{self.device}: {self._reason or 'connection closed'}"
            raise ConnectionRefusedError(self._reason or "connection closed")

    async def close(self) -> None:
        """Takes leave: the broker publishes no last will, so the device says itself that it goes."""
        client = self._client
        if client is None or not self.connected:
            return
        if self._with_status:
            client.publish(f"{self._up}status", self._status(int(time.time() * 1000), False), qos=1, retain=True)
        await self._drain(client)

    async def leave(self) -> None:
        """Hangs up without a word about being online or not."""
        if self._client is not None and self.connected:
            await self._drain(self._client)

    async def _drain(self, client: mqtt.Client) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(3):
                while client._out_messages and not self._closed.is_set():
                    await asyncio.sleep(0.02)
        client.disconnect()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closed.wait(), 2)
        self._drop()

    def cut(self) -> None:
        """The power fails: the socket is gone without DISCONNECT, and the broker speaks the last will."""
        self._drop()

    def _drop(self) -> None:
        client, self._client = self._client, None
        if self._ready.is_set():
            self._ready.clear()
            self.traffic.connected -= 1
        if client is not None and client.socket() is not None:
            sock = client.socket()
            self._loop.remove_reader(sock)
            self._loop.remove_writer(sock)
            with contextlib.suppress(OSError):
                sock.close()  # type: ignore[union-attr]
        self._closed.set()

    def misc(self) -> None:
        """Keep-alive; call about once a second."""
        if self._client is not None and self.connected:
            self._client.loop_misc()

    # ── paho's callbacks ──

    def _bind(self, client: mqtt.Client) -> None:
        """paho tells which socket wants what; the event loop does the waiting. Connect runs in a thread, hence safe."""
        loop = self._loop

        def soon(work: Callable[..., Any], *args: Any) -> None:
            if threading_is_ours(loop):
                work(*args)
            else:
                loop.call_soon_threadsafe(work, *args)

        def on_open(c: mqtt.Client, _: Any, sock: Any) -> None:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            soon(add_reader, c, sock)

        def add_reader(c: mqtt.Client, sock: Any) -> None:
            if sock.fileno() >= 0:
                loop.add_reader(sock, c.loop_read)

        def add_writer(c: mqtt.Client, sock: Any) -> None:
            if sock.fileno() >= 0:
                loop.add_writer(sock, c.loop_write)

        def remove_writer(sock: Any) -> None:
            if sock.fileno() >= 0:
                loop.remove_writer(sock)

        def on_close(_: mqtt.Client, __: Any, sock: Any) -> None:
            if threading_is_ours(loop) and sock.fileno() >= 0:
                loop.remove_reader(sock)
                loop.remove_writer(sock)

        client.on_socket_open = on_open
        client.on_socket_close = on_close
        client.on_socket_register_write = lambda c, _, sock: soon(add_writer, c, sock)
        client.on_socket_unregister_write = lambda _c, _u, sock: soon(remove_writer, sock)
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_message = self._message

    def _connected(self, client: mqtt.Client, _: Any, __: Any, reason: ReasonCode, ___: Any) -> None:
        if client is not self._client:
            return
        if reason.is_failure:
            self._reason = str(reason)
            self._closed.set()
            return
        client.subscribe(f"{self._down}#", qos=1)
        self.traffic.connected += 1
        self.traffic.connects += 1
        self._ready.set()
        if self._with_status:
            self.refresh_status(int(time.time() * 1000))
        self.spool.reconnected()
        self.resend_due()

    def _disconnected(self, client: mqtt.Client, _: Any, __: Any, reason: ReasonCode, ___: Any) -> None:
        if client is not self._client:
            return
        self._reason = self._reason or str(reason)
        self._taken_over = reason.value == _TAKEN_OVER
        if self._ready.is_set():
            self._ready.clear()
            self.traffic.connected -= 1
        self._closed.set()

    def _message(self, client: mqtt.Client, _: Any, message: mqtt.MQTTMessage) -> None:
        try:
            body = json.loads(message.payload)
            if message.topic.endswith("/ack"):
                self._acknowledged(body)
            elif message.topic.endswith("/command"):
                self._commanded(client, body)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("%s was sent what it cannot read on %s: %s", self.device, message.topic, error)

    def _acknowledged(self, body: dict[str, Any]) -> None:
        for message_id in body.get("ids", ()):
            if self.spool.acknowledge(message_id):
                self.traffic.acknowledged += 1
            self._resolve(message_id, True)
        for item in body.get("rejected", ()):
            message_id = item.get("id")
            if message_id is None:
                continue
            if self.spool.acknowledge(message_id):
                self.traffic.rejected += 1
                log.warning("%s: %s was rejected: %s %s", self.device, message_id, item["reason"], item.get("detail"))
            self.rejections[message_id] = f"{item['reason']}: {item.get('detail', '')}"
            if len(self.rejections) > 50:
                del self.rejections[next(iter(self.rejections))]
            self._resolve(message_id, False)
        if self.spool:
            self.resend_unsent()

    def resend_unsent(self) -> None:
        """Room came free: what never left goes out."""
        for entry in list(self.spool.due(time.monotonic())):
            if entry.attempts == 0:
                self._transmit(entry)

    def _resolve(self, message_id: str, stored: bool) -> None:
        future = self._acks.get(message_id)
        if future is not None and not future.done():
            future.set_result(stored)

    def _commanded(self, client: mqtt.Client, body: Command) -> None:
        """Carries a command out once, however often it comes, and answers each time."""
        command_id, now = str(body["id"]), int(time.time() * 1000)
        if command_id not in self._replied:
            self.traffic.commands += 1
            if int(body.get("expires", now)) < now:
                self._replied[command_id] = (False, "expired")
            elif self._on_command is None:
                self._replied[command_id] = (False, "unknown command")
            else:
                self._replied[command_id] = self._on_command(body)
            if len(self._replied) > 100:
                del self._replied[next(iter(self._replied))]
        ok, detail = self._replied[command_id]
        reply = {"id": command_id, "ts": now, "ok": ok, "detail": detail}
        client.publish(f"{self._up}reply", json.dumps(reply), qos=1)


def threading_is_ours(loop: asyncio.AbstractEventLoop) -> bool:
    """Whether the caller runs on this loop's thread."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


async def _first(*waits: Any) -> None:
    """Returns when the first is done; the others are cancelled."""
    tasks = [asyncio.ensure_future(wait) for wait in waits]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
