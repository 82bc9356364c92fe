"""City events put to the broker under `city/{subscription}/…`: one event of a subscription under way, until the PUBACK.

A PUBACK says that the broker has it, in memory. What is done about the rest: 0x10 (nobody has subscribed) counts as not
taken; a mark that the broker retains tells after a crash from which line of the delivery log on it has forgotten, and
that is sent again before anything new; who confirms nothing by pulling is sent only so much; and each message names the
one before it, so that a receiver sees whatever else was lost (docs/decisions/0037).
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import Any, Protocol
from uuid import uuid4

import paho.mqtt.client as mqtt
import structlog
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from services.adapters.city import store
from services.adapters.city.reading import Wanted
from services.adapters.mqtt import Address
from services.adapters.postgres import RETRYABLE
from services.alerts.city import metrics
from services.alerts.city.sender import Sending, Sent
from services.alerts.settings import AlertSettings
from services.domain.city import CityEvent
from services.domain.city.delivery import Attempt
from services.domain.city.mqtt import Published, published

log = structlog.get_logger(__name__)

MARK = "linhub/city/mark"
MOST_BYTES = 900_000
"""The broker ends the connection of whoever sends a packet of a mebibyte, and with it everybody's."""
UNKNOWN = timedelta(hours=1)
"""A broker that shows no mark has forgotten everything: so much of what it took is sent again."""
_KEEPALIVE_S = 10
_RETRY_S = 1.0
_IN_FLIGHT = 256
_NOBODY = 0x10
_TOO_LARGE = 0x95
_SILENT = "no answer in time; does the broker's access list let the account read and write linhub/city/#?"


class Connections(Protocol):
    def acquire(self) -> AbstractAsyncContextManager[Any]: ...


class MqttSender:
    """One connection of this engine; paho runs in a thread of its own and calls back into the loop."""

    def __init__(
        self, settings: AlertSettings, pool: Connections, now: Callable[[], datetime], ready: Callable[[], None]
    ) -> None:
        assert settings.mqtt_url is not None  # noqa: S101
        self._address = Address.parse(settings.mqtt_url)
        self._kept = settings.kept.outbox
        self._patience_s, self._mark_s = settings.city_timeout_s, settings.city_mqtt_mark_s
        self._most_ahead = settings.city_mqtt_ahead
        self._pool, self._now, self._ready = pool, now, ready
        self._name = f"linhub-city-{uuid4().hex[:12]}"
        self._client: mqtt.Client | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._number = 0
        self._link: int | None = None
        self._opened: asyncio.Future[None] | None = None
        self._marked: asyncio.Future[bytes | None] | None = None
        self._waiting: dict[int, asyncio.Future[int]] = {}
        """Message number → the reason code of its PUBACK."""
        self._gone = asyncio.Event()
        self._unmarked = False
        self._said = ("", "")

    @property
    def link(self) -> int | None:
        return self._link

    # ── a connection, and what the broker still knows ──

    async def run(self) -> None:
        """Until cancelled. The broker or the database away: said once, and tried again."""
        self._loop = asyncio.get_running_loop()
        while True:
            self._gone.clear()
            client = self._client = self._open()
            try:
                await self._settle(client)
                await self._stay()
            except (*RETRYABLE, ConnectionError, TimeoutError) as error:
                self._say("city_broker_waits", str(error) or _SILENT)
            finally:
                self._lose("the connection to the broker was given up")
                self._client = None
                client.disconnect()
                await asyncio.shield(asyncio.to_thread(client.loop_stop))
            await asyncio.sleep(_RETRY_S)

    def _open(self) -> mqtt.Client:
        assert self._loop is not None  # noqa: S101
        self._opened, self._marked = self._loop.create_future(), self._loop.create_future()
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=self._name, protocol=mqtt.MQTTv5, reconnect_on_failure=False
        )
        if self._address.username is not None:
            client.username_pw_set(self._address.username, self._address.password)
        client.max_inflight_messages_set(_IN_FLIGHT)
        client.on_connect = lambda c, _u, _f, reason, _p: self._soon(self._on_connect, c, reason)
        client.on_disconnect = lambda c, _u, _f, reason, _p: self._soon(self._on_disconnect, c, reason)
        client.on_publish = lambda c, _u, mid, reason, _p: self._soon(self._on_publish, c, mid, reason.value)
        client.on_message = lambda c, _u, message: self._soon(self._on_message, c, message)
        client.connect_async(self._address.host, self._address.port, keepalive=_KEEPALIVE_S, clean_start=True)
        client.loop_start()
        return client

    async def _settle(self, client: mqtt.Client) -> None:
        """Until the broker has shown its mark and what it has forgotten is to be sent again."""
        assert self._opened is not None and self._marked is not None  # noqa: S101
        async with asyncio.timeout(self._patience_s):
            await self._opened
            # What is retained comes before what is published behind the subscription.
            client.subscribe([(MARK, 1), (f"{MARK}/{self._name}", 1)])
            client.publish(f"{MARK}/{self._name}", b"", qos=1)
            said = await self._marked
        async with self._pool.acquire() as connection:
            line, head = _line(said), await store.last_attempt(connection)
            if line is not None and line > head:
                line = None  # the mark of another database, or of a time after this one was restored to
            now = self._now()
            again = await store.forgotten(connection, line, now, now - UNKNOWN)
        if again:
            metrics.FORGOTTEN.inc(again)
            log.warning("city_broker_forgot", subscriptions=again, behind=line)
        self._number += 1
        self._link, self._unmarked = self._number, line is None or line < head
        self._say("city_broker_connected", "")
        self._ready()

    async def _stay(self) -> None:
        while not self._gone.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._mark_s):
                    await self._gone.wait()
                    return
            if self._unmarked:
                await self._mark()

    async def _mark(self) -> None:
        """Everything up to this line of the log is at the broker before the mark is; whatever it forgets by a crash,
        the mark it still shows is older than that."""
        self._unmarked = False
        async with self._pool.acquire() as connection:
            line = await store.last_attempt(connection)
        await self._put(MARK, str(line).encode(), None, retain=True)

    # ── one event ──

    async def send(self, to: Wanted, event: CityEvent, sending: Sending) -> Sent:
        if sending.ahead >= self._most_ahead:
            why = f"{sending.ahead} events and no word of how far it has come: pull with its cursor (/city/events)"
            return Sent(Attempt(None, why), 0)
        message = published(str(to.id), event, to.format, sending.previous, sending.now, self._kept)
        if len(message.payload) > MOST_BYTES:
            return Sent(Attempt(_TOO_LARGE, "the event is too large for the broker"), 0)
        if self._link != sending.link:
            return Sent(Attempt(None, "the connection to the broker was renewed"), 0)
        began = time.monotonic()
        try:
            reason = await self._put(message.topic, message.payload, properties_of(message))
        except (ConnectionError, TimeoutError) as error:
            return Sent(Attempt(None, str(error) or "the broker did not answer"), _ms(began))
        self._unmarked = True
        if reason == _NOBODY:
            return Sent(Attempt(reason, "nobody has subscribed (0x10)"), _ms(began))
        return Sent(Attempt(reason, None if reason == 0 else f"the broker refused it (0x{reason:02x})"), _ms(began))

    async def _put(self, topic: str, payload: bytes, properties: Properties | None, retain: bool = False) -> int:
        """The reason code of the PUBACK. Raises ConnectionError, TimeoutError."""
        client, loop = self._client, asyncio.get_running_loop()
        if client is None:
            raise ConnectionError("no connection to the broker")
        info = client.publish(topic, payload, qos=1, retain=retain, properties=properties)
        if info.rc != mqtt.MQTT_ERR_SUCCESS:
            raise ConnectionError("no connection to the broker")
        answer: asyncio.Future[int] = loop.create_future()
        self._waiting[info.mid] = answer
        try:
            async with asyncio.timeout(self._patience_s):
                return await answer
        finally:
            self._waiting.pop(info.mid, None)

    async def close(self) -> None:
        """Before `run` is ended: with a mark behind the last event nothing is sent again by whoever comes next."""
        if self._link is not None and self._unmarked:
            with contextlib.suppress(ConnectionError, TimeoutError, *RETRYABLE):
                await self._mark()

    # ── what paho's thread tells ──

    def _soon(self, work: Callable[..., None], *args: Any) -> None:
        assert self._loop is not None  # noqa: S101
        with contextlib.suppress(RuntimeError):  # the loop is gone: so is whoever would want to know
            self._loop.call_soon_threadsafe(work, *args)

    def _on_connect(self, client: mqtt.Client, reason: Any) -> None:
        if client is not self._client or self._opened is None or self._opened.done():
            return
        if reason.is_failure:
            self._opened.set_exception(ConnectionError(f"the broker refuses the login: {reason}"))
        else:
            self._opened.set_result(None)

    def _on_message(self, client: mqtt.Client, message: mqtt.MQTTMessage) -> None:
        if client is not self._client or self._marked is None or self._marked.done():
            return
        self._marked.set_result(bytes(message.payload) if message.topic == MARK else None)

    def _on_publish(self, client: mqtt.Client, mid: int, reason: int) -> None:
        if client is self._client and (answer := self._waiting.get(mid)) is not None and not answer.done():
            answer.set_result(reason)

    def _on_disconnect(self, client: mqtt.Client, reason: Any) -> None:
        if client is self._client:
            self._say("city_broker_lost", str(reason))
            self._lose("the connection was lost before the broker answered")
            self._gone.set()

    def _lose(self, why: str) -> None:
        self._link = None
        for answer in (*self._waiting.values(), self._opened, self._marked):
            if answer is not None and not answer.done():
                answer.set_exception(ConnectionError(why))
                answer.exception()  # where nobody waits for it, nobody need be told
        self._waiting.clear()

    def _say(self, what: str, why: str) -> None:
        if self._said == (what, why):
            return
        self._said = (what, why)
        if why:
            log.warning(what, why=why)
        else:
            log.info(what)


def properties_of(message: Published) -> Properties:
    """MQTT 5, 3.3.2.3. Text: the payload is UTF-8, as the format indicator says."""
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.PayloadFormatIndicator = 1
    properties.ContentType = message.content_type
    properties.MessageExpiryInterval = message.expires_s
    if message.user:
        properties.UserProperty = list(message.user)
    return properties


def _line(said: bytes | None) -> int | None:
    return int(said) if said is not None and said.isdigit() and len(said) < 19 else None


def _ms(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
