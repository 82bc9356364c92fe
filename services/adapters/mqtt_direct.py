"""The broker spoken to directly: MQTT 5 from whole buffers to messages and back, nothing in between.

Why not a library: docs/decisions/0011.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Callable, Collection, Iterable, Sequence
from itertools import cycle

import structlog

from services.adapters import mqtt_packets as packets
from services.adapters.mqtt import (
    Inbound,
    SessionTakenOver,
    StatusCallback,
    Subscriber,
    SubscriberOptions,
    next_generation,
)
from services.adapters.mqtt_filters import FilterBook, portions
from services.adapters.mqtt_inbox import Inbox
from services.adapters.mqtt_link import Link
from services.adapters.mqtt_outgoing import Outgoing
from services.adapters.mqtt_packets import ConnAck, Control, Disconnect, PubAck, SubAck, reason_text
from services.adapters.mqtt_socket import connect_socket
from services.adapters.steady_clock import wall_ms

log = structlog.get_logger(__name__)

_GOODBYE_S = 1.0
"""How long a close waits for the broker to take what is left, and again for the connection to end."""


class DirectSubscriber(Subscriber):
    """As services.adapters.mqtt.Subscriber. `now_ms`: what messages are stamped by when they are received."""

    def __init__(
        self,
        options: SubscriberOptions,
        on_status: StatusCallback = lambda connected, why: None,
        now_ms: Callable[[], int] = wall_ms,
    ) -> None:
        self._options = options
        self._on_status = on_status
        self._now_ms = now_ms
        self._said = (False, "")
        self._inbox = Inbox()
        self._outgoing = Outgoing()
        self._filters = FilterBook()
        self._ids = cycle(range(60_001, 65_536))
        self._link: Link | None = None
        """The connection that stands: the broker has accepted it and it is not lost."""
        self._closing = asyncio.Event()
        self._drained = asyncio.Event()
        self._taken_over = False
        self._asking_again: asyncio.TimerHandle | None = None

    # The port

    @property
    def ready(self) -> bool:
        return self._link is not None and self._filters.granted

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
            try:
                why = await self._connection()
            finally:
                self._down()
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

    async def receive(self, limit: int, linger_s: float = 0.0) -> list[Inbound]:
        return await self._inbox.receive(limit, linger_s)

    def take(self, limit: int) -> list[Inbound]:
        return self._inbox.take(limit)

    def ack(self, messages: Iterable[Inbound]) -> int:
        tokens, stale = self._inbox.settle(messages)
        if self._link is not None:
            if tokens:
                self._link.send(packets.pubacks(tokens))
            if self._link.paused and self._inbox.held <= self._options.held_bytes // 2:
                self._link.resume()
        return stale

    def publish(self, topic: str, payload: bytes) -> None:
        self._outgoing.add(topic, payload)
        self._send_due()

    def set_filters(self, wanted: Collection[str], unwanted: Collection[str] = ()) -> None:
        added, given_back = self._filters.want(wanted, unwanted)
        if self._link is not None:
            self._ask(self._link, added, given_back)
            self._judge()

    async def close(self) -> None:
        self._closing.set()
        link = self._link
        if link is None:
            return
        if not self._outgoing.empty:
            self._drained.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_GOODBYE_S):
                    await self._drained.wait()
        link.say_goodbye(_GOODBYE_S)
        await asyncio.wait({link.gone}, timeout=2 * _GOODBYE_S)

    # One connection, from its start to its end

    async def _connection(self) -> str:
        """Why it ended, or could not begin."""
        options, address = self._options, self._options.address
        loop = asyncio.get_running_loop()
        generation = next_generation()
        link = Link(
            options.keepalive_s, generation, lambda packet: self._handle(link, packet), self._deliver, self._now_ms
        )
        try:
            async with asyncio.timeout(options.connect_timeout_s):
                connection = await connect_socket(address.host, address.port, options.keepalive_s)
                try:
                    await loop.create_connection(lambda: link, sock=connection)
                except BaseException:
                    connection.close()
                    raise
        except (OSError, TimeoutError) as error:
            return f"broker {address.host}:{address.port} does not answer: {error or type(error).__name__}"
        link.send(
            packets.connect(
                options.client_id,
                address.username,
                address.password,
                options.keepalive_s,
                options.session_expiry_s,
                options.window,
            )
        )
        late = loop.call_later(options.connect_timeout_s, self._too_late, link)
        try:
            return await asyncio.shield(link.lost)
        except asyncio.CancelledError:
            link.abort()
            await asyncio.wait({link.gone}, timeout=_GOODBYE_S)
            raise
        finally:
            late.cancel()

    def _too_late(self, link: Link) -> None:
        if self._link is not link:
            link.end("the broker took the connection but did not answer")

    def _down(self) -> None:
        self._link = None
        self._inbox.end()
        self._drained.set()
        if self._asking_again is not None:
            self._asking_again.cancel()
            self._asking_again = None

    def _tell(self, connected: bool, why: str) -> None:
        """Each change once: a broker that is away is said to be so once, not at every attempt."""
        if self._said == (connected, why):
            return
        self._said = connected, why
        if not connected:
            log.warning("broker_connection_lost", why=why, client_id=self._options.client_id)
        self._on_status(connected, why)

    # What the broker says

    def _handle(self, link: Link, packet: Control) -> None:
        match packet:
            case Disconnect(reason, text):
                self._taken_over = self._taken_over or reason == packets.TAKEN_OVER
                link.end(f"disconnected: {reason_text(reason)}{text and f' ({text})'}")
            case ConnAck():
                self._greeted(link, packet)
            case _ if self._link is None:
                raise packets.ProtocolError("something else before CONNACK", packets.PROTOCOL)
            case PubAck(packet_id, reason):
                self._outgoing.acknowledged(packet_id, reason)
                self._send_due()
                if self._outgoing.empty:
                    self._drained.set()
            case SubAck(packet_id, reasons):
                try:
                    self._filters.answered(packet_id, reasons)
                except ValueError as error:
                    raise packets.ProtocolError(str(error), packets.PROTOCOL) from None
                self._judge()

    def _greeted(self, link: Link, packet: ConnAck) -> None:
        options = self._options
        if packet.reason >= packets.FAILURE:
            link.end(f"the broker refused {options.client_id}: {reason_text(packet.reason)}")
            return
        if self._link is not None:
            raise packets.ProtocolError("a second CONNACK", packets.PROTOCOL)
        told = {name: value for name, value in packet.properties.items() if isinstance(value, int)}
        if told.get(packets.MAXIMUM_QOS, 2) < 1:
            link.end("the broker offers no QoS 1", packets.IMPLEMENTATION)
            return
        if told.get(packets.SESSION_EXPIRY, options.session_expiry_s) < options.session_expiry_s:
            log.warning("broker_session_expires", after_s=told[packets.SESSION_EXPIRY], client_id=options.client_id)
        if self._inbox.generation and not packet.session_present:
            log.warning("broker_session_lost", client_id=options.client_id)
        link.keepalive_s = told.get(packets.SERVER_KEEP_ALIVE, 0) or link.keepalive_s
        self._link = link
        self._inbox.begin(link.generation, packet.session_present)
        self._ask(link, *self._filters.connected(packet.session_present))
        again = self._outgoing.connected(
            packet.session_present,
            told.get(packets.RECEIVE_MAXIMUM, 65_535),
            told.get(packets.MAXIMUM_PACKET_SIZE, 0),
        )
        if again:
            link.send(again)
        self._send_due()
        log.info("broker_connected", client_id=options.client_id, session_present=packet.session_present)
        self._judge()

    def _deliver(self, messages: list[Inbound]) -> None:
        link, inbox = self._link, self._inbox
        if link is None:
            raise packets.ProtocolError("a message before CONNACK", packets.PROTOCOL)
        try:
            inbox.put(messages)
        except ValueError as error:
            raise packets.ProtocolError(str(error), packets.PROTOCOL) from None
        if inbox.unacknowledged > self._options.window:
            raise packets.ProtocolError("more messages than we allowed", packets.WINDOW_EXCEEDED)
        if inbox.held > self._options.held_bytes and not link.paused:
            log.warning("broker_reading_paused", held_bytes=inbox.held, client_id=self._options.client_id)
            link.pause()

    def _send_due(self) -> None:
        if self._link is not None and (due := self._outgoing.due()):
            self._link.send(due)

    # Filters

    def _ask(self, link: Link, added: Sequence[str], given_back: Sequence[str]) -> None:
        for some in portions(added):
            packet_id = next(self._ids)
            self._filters.asked(packet_id, some)
            link.send(packets.subscribe(packet_id, some))
        for some in portions(given_back):
            link.send(packets.unsubscribe(next(self._ids), some))

    def _judge(self) -> None:
        """After an answer: ready, or told why not. What was refused is asked for again."""
        if self.ready:
            self._tell(True, "")
        elif refusal := self._filters.refusal():
            self._tell(False, refusal)
            if self._asking_again is None:
                self._asking_again = asyncio.get_running_loop().call_later(self._options.retry_max_s, self._ask_again)

    def _ask_again(self) -> None:
        self._asking_again = None
        if self._link is not None:
            self._ask(self._link, self._filters.again(), ())
