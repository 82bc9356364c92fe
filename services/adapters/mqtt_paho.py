"""The broker through paho-mqtt: MQTT 5, manual acknowledgement, driven by the asyncio loop with no thread."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import structlog
from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from services.adapters.mqtt import Inbound, SessionTakenOver, StatusCallback, SubscriberOptions, next_generation
from services.adapters.mqtt_filters import FilterBook, portions
from services.adapters.mqtt_inbox import Inbox
from services.adapters.mqtt_outgoing import MOST_WAITING, Seldom
from services.adapters.mqtt_paho_client import ShortCutClient, Wire
from services.adapters.mqtt_socket import connect_socket

log = structlog.get_logger(__name__)

_PACKETS_A_TURN = 128
"""After so many packets the event loop gets its turn: about 3 ms."""
_TAKEN_OVER = 142
_GOODBYE_S = 1.0
_RETAINED_IF_NEW = 1


class PahoSubscriber:
    """As services.adapters.mqtt.Subscriber."""

    def __init__(self, options: SubscriberOptions, on_status: StatusCallback = lambda connected, why: None) -> None:
        self._options = options
        self._on_status = on_status
        self._inbox = Inbox()
        self._said = (False, "")
        self._filters = FilterBook()
        self._seldom = Seldom()
        self._connected = False
        self._closing = asyncio.Event()
        self._taken_over = False
        self._lost: asyncio.Future[str] | None = None
        self._wire: Wire | None = None
        self._reading = False
        self._writing = False
        self._client = self._make_client()

    def _make_client(self) -> ShortCutClient:
        options = self._options
        client = ShortCutClient(
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
        client.max_queued_messages_set(MOST_WAITING)
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
        return self._connected and self._filters.granted

    @property
    def waiting(self) -> int:
        return len(self._inbox)

    @property
    def generation(self) -> int:
        return self._inbox.generation

    def on_arrival(self, told: Callable[[], None]) -> None:
        self._inbox.on_arrival(told)

    async def run(self) -> None:
        options, loop, failures = self._options, asyncio.get_running_loop(), 0
        while not self._closing.is_set():
            began = loop.time()
            why = await self._connection()
            failures = 0 if loop.time() - began > options.retry_max_s else failures + 1
            if self._taken_over:
                raise SessionTakenOver(f"another client connected as {options.client_id}")
            if self._closing.is_set():
                return
            self._tell(False, why)
            longest = min(options.retry_max_s, 0.05 * 2 ** min(failures, 10))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(longest * random.uniform(0.5, 1.0)):  # noqa: S311
                    await self._closing.wait()

    def _tell(self, connected: bool, why: str) -> None:
        if self._said == (connected, why):
            return
        self._said = connected, why
        if not connected:
            log.warning("broker_connection_lost", why=why, client_id=self._options.client_id)
        self._on_status(connected, why)

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
            self._seldom.warn("broker_publish_dropped", topic=topic, why="too many wait for the broker")

    def set_filters(self, wanted: Collection[str], unwanted: Collection[str] = ()) -> None:
        added, given_back = self._filters.want(wanted, unwanted)
        if self._connected:
            self._ask(added, given_back)
            self._judge()

    async def close(self) -> None:
        self._closing.set()
        wire, lost = self._wire, self._lost
        if self._connected and wire is not None and lost is not None:
            self._write()
            # Closing over what is still to be read would reset the connection, and the broker would throw away the
            # acknowledgements it has not read yet: say goodbye, and let it hang up.
            wire.say_goodbye()
            await asyncio.wait({lost}, timeout=_GOODBYE_S)
            self._lose("closed")

    # One connection, from its start to its end

    async def _connection(self) -> str:
        """Why it ended, or could not begin."""
        loop = asyncio.get_running_loop()
        address = self._options.address
        self._lost = loop.create_future()
        try:
            async with asyncio.timeout(self._options.connect_timeout_s):
                connection = await connect_socket(address.host, address.port, self._options.keepalive_s)
        except (OSError, TimeoutError) as error:
            return f"broker {address.host}:{address.port} does not answer: {error or type(error).__name__}"
        self._wire = self._client.wire = Wire(connection)
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
        asked_again = started
        while True:
            await asyncio.sleep(self._options.keepalive_s / 15)
            self._client.ping(self._reading)
            now = time.monotonic()
            if self._connected and now - asked_again > self._options.retry_max_s:
                asked_again = now
                self._ask(self._filters.again(), ())
            if not self._connected and now - started > self._options.connect_timeout_s:
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
            code = loop_read()
            if code == MQTTErrorCode.MQTT_ERR_PROTOCOL:
                self._lose("the broker broke the protocol")
            elif code != MQTTErrorCode.MQTT_ERR_SUCCESS:
                self._lose("the connection broke")
            if self._lost is None or self._lost.done():
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
        if self._connected:
            self._lose("the broker broke the protocol: a second CONNACK")
            return
        if reason.is_failure:
            self._lose(f"the broker refused {self._options.client_id}: {reason}")
            return
        if self._inbox.generation and not flags.session_present:
            log.warning("broker_session_lost", client_id=self._options.client_id)
        self._inbox.begin(next_generation(), flags.session_present)
        self._connected = True
        self._ask(*self._filters.connected(flags.session_present))
        log.info("broker_connected", client_id=self._options.client_id, session_present=flags.session_present)
        self._judge()

    def _handle_disconnect(self, _: Client, __: Any, ___: Any, reason: ReasonCode, ____: Properties | None) -> None:
        self._taken_over = self._taken_over or reason.value == _TAKEN_OVER
        self._lose(f"disconnected: {reason}")

    def _handle_socket_close(self, *_: Any) -> None:
        self._stop_reading()
        if self._wire is not None and self._wire.fileno() >= 0:
            asyncio.get_running_loop().remove_writer(self._wire.fileno())

    def _ask(self, added: Sequence[str], given_back: Sequence[str]) -> None:
        options = SubscribeOptions(qos=1, retainHandling=_RETAINED_IF_NEW)
        for some in portions(added):
            _, mid = self._client.subscribe([(name, options) for name in some])
            if mid is not None:
                self._filters.asked(mid, some)
        for some in portions(given_back):
            self._client.unsubscribe(list(some))

    def _handle_subscribe(self, _: Client, __: Any, mid: int, reasons: list[ReasonCode], ___: Any) -> None:
        try:
            self._filters.answered(mid, [reason.value for reason in reasons])
        except ValueError as error:
            self._lose(str(error))
        else:
            self._judge()

    def _judge(self) -> None:
        if self.ready:
            self._tell(True, "")
        elif refusal := self._filters.refusal():
            self._tell(False, refusal)

    def _handle_message(self, _: Client, __: Any, message: MQTTMessage) -> None:
        if not message._topic or hasattr(message.properties, "TopicAlias"):
            self._lose("the broker broke the protocol: a topic alias, which was not allowed")
        else:
            self._deliver(message._topic, bytes(message.payload), message.mid, message.retain)

    def _deliver(self, topic: bytes, payload: bytes, mid: int, retained: bool) -> None:
        if not self._connected:
            self._lose("the broker broke the protocol: a message before CONNACK")
            return
        name, now_ms = topic.decode("utf-8", "replace"), time.time_ns() // 1_000_000
        try:
            self._inbox.put([Inbound(name, payload, self._inbox.generation, mid, retained, now_ms)])
        except ValueError as error:
            self._lose(f"the broker broke the protocol: {error}")
        if self._inbox.unacknowledged > self._options.window:
            self._lose("the broker broke the protocol: more messages than we allowed")
