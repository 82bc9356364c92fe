"""The broker through paho-mqtt: MQTT 5, manual acknowledgement, driven by the asyncio loop with no thread."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import time
from collections.abc import Callable, Collection, Iterable
from typing import Any

import structlog
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from services.adapters.mqtt import Inbound, SessionTakenOver, StatusCallback, SubscriberOptions
from services.adapters.mqtt_inbox import Inbox

log = structlog.get_logger(__name__)

_PACKETS_A_TURN = 128
"""After so many packets the event loop gets its turn: about 3 ms."""
_FILTERS_A_PACKET = 100
_OUTGOING_QUEUE = 20_000
_TAKEN_OVER = 142
_RETAINED_IF_NEW = 1


class _Wire:
    """A socket that reads in large pieces and writes once a turn.

    paho reads a packet with three calls of `recv` and writes each acknowledgement with one of `send`; on a loopback
    of small messages those calls cost more than the rest of paho.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._in = b""
        self._at = 0
        self._out = bytearray()

    @property
    def pending(self) -> bool:
        return self._at < len(self._in)

    def fileno(self) -> int:
        return self._socket.fileno()

    def setblocking(self, blocking: bool) -> None:
        self._socket.setblocking(blocking)

    def recv(self, size: int) -> bytes:
        at = self._at
        if at >= len(self._in):
            self._in, at = self._socket.recv(1 << 18), 0
        taken = self._in[at : at + size]
        self._at = at + len(taken)
        return taken

    def send(self, data: bytes | bytearray) -> int:
        self._out += data
        return len(data)

    def flush(self) -> bool:
        """True when everything is out."""
        while self._out:
            try:
                sent = self._socket.send(self._out)
            except BlockingIOError:
                return False
            del self._out[:sent]
        return True

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.flush()
        self._socket.close()


class _Client(Client):
    """paho, told which socket to use (it would block the event loop while it connects), with a short cut for what

    nearly every message is: QoS 0 or 1 without properties. paho builds a properties object of 30 attributes for each
    packet, two thirds of its time. Anything else, and anything odd, takes paho's own way.
    """

    wire: _Wire | None = None
    deliver: Callable[[bytes, bytes, int, bool], None]
    """(topic, payload, packet id, retained)"""

    def _handle_publish(self) -> MQTTErrorCode:
        command, packet = self._in_packet["command"], self._in_packet["packet"]
        if command & 0x06 <= 0x02 and len(packet) > 5:
            end = 2 + (packet[0] << 8 | packet[1])
            body, mid = end, 0
            if command & 0x02:
                body += 2
                mid = int.from_bytes(packet[end:body], "big")
            if body < len(packet) and packet[body] == 0:
                self.deliver(bytes(packet[2:end]), bytes(packet[body + 1 :]), mid, bool(command & 1))
                return MQTTErrorCode.MQTT_ERR_SUCCESS
        return super()._handle_publish()

    def _create_socket(self) -> Any:
        if self.wire is None:
            raise ConnectionError("no connection was prepared")
        return self.wire


class PahoSubscriber:
    """As services.adapters.mqtt.Subscriber."""

    def __init__(self, options: SubscriberOptions, on_status: StatusCallback = lambda connected, why: None) -> None:
        self._options = options
        self._on_status = on_status
        self._inbox = Inbox()
        self._filters: frozenset[str] = frozenset()
        self._given_back: frozenset[str] = frozenset()
        self._asked: set[int] = set()
        self._granted = False
        self._connected = False
        self._closing = False
        self._taken_over = False
        self._lost: asyncio.Future[str] | None = None
        self._wire: _Wire | None = None
        self._reading = False
        self._writing = False
        self._client = self._make_client()

    def _make_client(self) -> _Client:
        options = self._options
        client = _Client(
            CallbackAPIVersion.VERSION2,
            client_id=options.client_id,
            protocol=MQTTProtocolVersion.MQTTv5,
            manual_ack=True,
            reconnect_on_failure=False,
        )
        if options.address.username is not None:
            client.username_pw_set(options.address.username, options.address.password)
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = options.session_expiry_s
        properties.ReceiveMaximum = options.window
        client.max_queued_messages_set(_OUTGOING_QUEUE)
        client.max_inflight_messages_set(1000)
        client.connect_async(
            options.address.host,
            options.address.port,
            options.keepalive_s,
            clean_start=False,
            properties=properties,
        )
        client.on_connect = self._handle_connect
        client.on_disconnect = self._handle_disconnect
        client.on_subscribe = self._handle_subscribe
        client.on_message = self._handle_message
        client.deliver = self._deliver
        client.on_socket_close = self._handle_socket_close
        client.on_socket_register_write = lambda *_: self._schedule_write()
        return client

    # The port

    @property
    def ready(self) -> bool:
        return self._connected and self._granted

    @property
    def waiting(self) -> int:
        return len(self._inbox)

    @property
    def generation(self) -> int:
        return self._inbox.generation

    def on_arrival(self, told: Callable[[], None]) -> None:
        self._inbox.on_arrival(told)

    async def run(self) -> None:
        failures = 0
        said = ""
        while not self._closing:
            why = await self._connection()
            failures = 0 if self._granted else failures + 1
            was_ready, self._granted, self._connected = self._granted, False, False
            if self._taken_over:
                raise SessionTakenOver(f"another client connected as {self._options.client_id}")
            if self._closing:
                return
            if was_ready or why != said:
                log.warning("broker_connection_lost", why=why, client_id=self._options.client_id)
                self._on_status(False, why)
                said = why
            longest = min(self._options.retry_max_s, 0.1 * 2 ** min(failures, 10))
            await asyncio.sleep(longest * random.uniform(0.5, 1.0))  # noqa: S311

    async def receive(self, limit: int, linger_s: float = 0.0) -> list[Inbound]:
        return await self._inbox.receive(limit, linger_s)

    def take(self, limit: int) -> list[Inbound]:
        return self._inbox.take(limit)

    def ack(self, messages: Iterable[Inbound]) -> int:
        tokens, stale = self._inbox.settle(messages)
        for token in tokens:
            self._client.ack(token, 1)
        if not self._reading and self._inbox.held <= self._options.held_bytes // 2:
            self._resume_reading()
        return stale

    def publish(self, topic: str, payload: bytes) -> None:
        info = self._client.publish(topic, payload, qos=1)
        if info.rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:
            log.warning("broker_publish_dropped", topic=topic)

    def set_filters(self, wanted: Collection[str], unwanted: Collection[str] = ()) -> None:
        new = frozenset(wanted)
        given_back = (self._filters | frozenset(unwanted)) - new
        added, self._filters = new - self._filters, new
        if self._connected:
            self._subscribe(added)
            self._unsubscribe(given_back)
        self._given_back = given_back

    async def close(self) -> None:
        self._closing = True
        if self._connected:
            self._client.disconnect()
            self._write()

    # One connection, from its start to its end

    async def _connection(self) -> str:
        """Why it ended, or could not begin."""
        loop = asyncio.get_running_loop()
        address = self._options.address
        self._lost = loop.create_future()
        try:
            async with asyncio.timeout(self._options.connect_timeout_s):
                connection = await _connect(address.host, address.port)
        except (OSError, TimeoutError) as error:
            return f"broker {address.host}:{address.port} does not answer: {error or type(error).__name__}"
        self._wire = self._client.wire = _Wire(connection)
        self._client.reconnect()
        self._resume_reading()
        housekeeping = asyncio.create_task(self._housekeeping())
        try:
            return await self._lost
        finally:
            housekeeping.cancel()
            self._hang_up()

    async def _housekeeping(self) -> None:
        started = time.monotonic()
        while True:
            await asyncio.sleep(1)
            self._client.loop_misc()
            if not self._connected and time.monotonic() - started > self._options.connect_timeout_s:
                self._lose("the broker took the connection but did not answer")

    def _lose(self, why: str) -> None:
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(why)

    def _hang_up(self) -> None:
        self._stop_reading()
        wire, self._wire = self._wire, None
        if wire is not None:
            if wire.fileno() >= 0:
                asyncio.get_running_loop().remove_writer(wire.fileno())
            wire.close()
        self._connected = False
        self._inbox.end()

    # Reading and writing

    def _resume_reading(self) -> None:
        if self._wire is not None and self._wire.fileno() >= 0 and not self._reading:
            self._reading = True
            asyncio.get_running_loop().add_reader(self._wire.fileno(), self._read)
            if self._wire.pending:
                asyncio.get_running_loop().call_soon(self._read)

    def _stop_reading(self) -> None:
        if self._wire is not None and self._reading and self._wire.fileno() >= 0:
            asyncio.get_running_loop().remove_reader(self._wire.fileno())
        self._reading = False

    def _read(self) -> None:
        wire = self._wire
        if wire is None or not self._reading:
            return
        loop_read = self._client.loop_read
        for _ in range(_PACKETS_A_TURN):
            if loop_read() != MQTTErrorCode.MQTT_ERR_SUCCESS:
                self._lose("the connection broke")
                return
            if self._inbox.held > self._options.held_bytes:
                log.warning("broker_reading_paused", held_bytes=self._inbox.held)
                self._stop_reading()
                return
            if not wire.pending:
                return
        asyncio.get_running_loop().call_soon(self._read)

    def _schedule_write(self) -> None:
        if not self._writing:
            self._writing = True
            asyncio.get_running_loop().call_soon(self._write)

    def _write(self) -> None:
        self._writing = False
        wire = self._wire
        if wire is None or wire.fileno() < 0:
            return
        loop = asyncio.get_running_loop()
        self._client.loop_write()
        try:
            done = wire.fileno() < 0 or wire.flush()
        except OSError as error:
            self._lose(f"the connection broke: {error}")
            return
        if wire.fileno() < 0:
            return
        if done:
            loop.remove_writer(wire.fileno())
        else:
            loop.add_writer(wire.fileno(), self._write)

    # What paho tells us

    def _handle_connect(self, _: Client, __: Any, flags: Any, reason: ReasonCode, ___: Properties | None) -> None:
        if reason.is_failure:
            self._lose(f"the broker refused {self._options.client_id}: {reason}")
            return
        if self._inbox.generation and not flags.session_present:
            log.warning("broker_session_lost", client_id=self._options.client_id)
        self._inbox.begin(flags.session_present)
        self._asked.clear()
        self._connected = True
        self._subscribe(self._filters)
        self._unsubscribe(self._given_back)
        log.info("broker_connected", client_id=self._options.client_id, session_present=flags.session_present)

    def _handle_disconnect(self, _: Client, __: Any, ___: Any, reason: ReasonCode, ____: Properties | None) -> None:
        self._taken_over = self._taken_over or reason.value == _TAKEN_OVER
        self._lose(f"disconnected: {reason}")

    def _handle_socket_close(self, *_: Any) -> None:
        self._stop_reading()
        if self._wire is not None and self._wire.fileno() >= 0:
            asyncio.get_running_loop().remove_writer(self._wire.fileno())

    def _subscribe(self, filters: Collection[str]) -> None:
        options = SubscribeOptions(qos=1, retainHandling=_RETAINED_IF_NEW)
        for some in _parts(sorted(filters)):
            _, mid = self._client.subscribe([(name, options) for name in some])
            if mid is not None:
                self._asked.add(mid)
                self._granted = False
        if not filters and not self._asked:
            self._granted = True

    def _unsubscribe(self, filters: Collection[str]) -> None:
        for some in _parts(sorted(filters)):
            self._client.unsubscribe(some)

    def _handle_subscribe(self, _: Client, __: Any, mid: int, reasons: list[ReasonCode], ___: Any) -> None:
        self._asked.discard(mid)
        if any(reason.is_failure for reason in reasons):
            self._lose(f"the broker refused a subscription: {', '.join(str(r) for r in reasons if r.is_failure)}")
        elif not self._asked:
            self._granted = True
            self._on_status(True, "")

    def _handle_message(self, _: Client, __: Any, message: MQTTMessage) -> None:
        self._deliver(message._topic, bytes(message.payload), message.mid, message.retain)

    def _deliver(self, topic: bytes, payload: bytes, mid: int, retained: bool) -> None:
        name, now_ms = topic.decode("utf-8", "replace"), time.time_ns() // 1_000_000
        try:
            self._inbox.put([Inbound(name, payload, self._inbox.generation, mid, retained, now_ms)])
        except ValueError as error:
            self._lose(str(error))


def _parts(filters: list[str]) -> list[list[str]]:
    return [filters[start : start + _FILTERS_A_PACKET] for start in range(0, len(filters), _FILTERS_A_PACKET)]


async def _connect(host: str, port: int) -> socket.socket:
    """A connected, non-blocking socket of the host's first address that answers."""
    loop = asyncio.get_running_loop()
    error: OSError = OSError("no address")
    for family, kind, protocol, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        connection = socket.socket(family, kind, protocol)
        connection.setblocking(False)
        try:
            await loop.sock_connect(connection, address)
        except OSError as failed:
            connection.close()
            error = failed
            continue
        except BaseException:
            connection.close()
            raise
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection
    raise error
