"""The receiving end of a small city platform by MQTT: acknowledges what it has kept, and pulls what it sees missing."""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from services.cli.city_sim_above import Above, NotDone
from services.cli.city_sim_book import Book
from services.cli.city_sim_proof import Refused, heard

NEVER_EXPIRES = 0xFFFFFFFF
_WINDOW = 100
"""So many messages may be on their way to us unacknowledged."""
_KEEPALIVE_S = 15


@dataclass(frozen=True, slots=True)
class Broker:
    """`login` is the client id as well: the broker keeps what came while we were away under it."""

    host: str
    port: int
    login: str
    secret: str
    topics: str
    tls: bool = False

    @classmethod
    def of(cls, url: str, secret: str, topics: str) -> Broker:
        """`mqtt://{login}@{host}:{port}` or `mqtts://…`. Raises ValueError."""
        parts = urlsplit(url)
        if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or not parts.username or parts.password:
            raise ValueError(
                "expected mqtt://LOGIN@HOST:PORT, the secret in a file · 格式 mqtt://账号@主机:端口，密钥放文件"
            )
        tls = parts.scheme == "mqtts"
        return cls(parts.hostname, parts.port or (8883 if tls else 1883), parts.username, secret, topics, tls)


class MqttReceiver:
    """Messages are handled in the event loop, one after the other; an event is on disk before it is acknowledged."""

    def __init__(self, book: Book, broker: Broker, *, lie: bool = False) -> None:
        self.book, self._broker, self._lie = book, broker, lie
        self._loop: asyncio.AbstractEventLoop | None = None
        self.gap = asyncio.Event()
        """Something is missing."""
        self.connected = asyncio.Event()
        self.failed: str | None = None

    async def run(self) -> None:
        """Until cancelled; comes back by itself."""
        self._loop = asyncio.get_running_loop()
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=self._broker.login, protocol=mqtt.MQTTv5, manual_ack=True
        )
        if self._broker.tls:
            client.tls_set()
        client.username_pw_set(self._broker.login, self._broker.secret)
        client.reconnect_delay_set(1, 30)
        client.on_connect = self._on_connect
        client.on_subscribe = lambda *_: self._soon(self.connected.set)
        client.on_disconnect = lambda *_: self._soon(self.connected.clear)
        client.on_message = lambda c, _u, message: self._soon(self._take, c, message)
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = NEVER_EXPIRES
        properties.ReceiveMaximum = _WINDOW
        client.connect_async(
            self._broker.host, self._broker.port, keepalive=_KEEPALIVE_S, clean_start=False, properties=properties
        )
        client.loop_start()
        try:
            await asyncio.Event().wait()
        finally:
            client.disconnect()
            await asyncio.shield(asyncio.to_thread(client.loop_stop))

    def _soon(self, work: Any, *args: Any) -> None:
        assert self._loop is not None  # noqa: S101
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(work, *args)

    def _on_connect(self, client: mqtt.Client, _user: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self.failed = str(reason) if reason.is_failure else None
        if not reason.is_failure:
            client.subscribe(self._broker.topics, qos=1)

    def _take(self, client: mqtt.Client, message: mqtt.MQTTMessage) -> None:
        said, now = message.properties, datetime.now(UTC)
        user = dict(getattr(said, "UserProperty", []))
        try:
            event = heard(getattr(said, "ContentType", ""), user, bytes(message.payload))
        except Refused as refused:  # it would come again for ever
            self.book.refuse(str(refused), now)
        else:
            if not self._lie:
                self.book.keep(event, now)
            if (previous := user.get("previous", "")).isdigit():
                self.book.follows(int(previous))
                if self.book.gaps():
                    self.gap.set()
        client.ack(message.mid, message.qos)


async def catch_up(book: Book, above: Above, subscription: str | None) -> int:
    """Pulls from the cursor of the time before, or from the first event that came, and keeps what is not there; how
    many. The cursor it goes on with tells LinHub how far this platform has come. Raises NotDone."""
    found = 0
    async for page in above.pages(book.since if book.cursor is None else book.cursor, subscription):
        for one in page["items"]:
            event = heard("application/cloudevents+json", {}, json.dumps(one).encode())
            if book.lacks([event.id]):
                found += book.keep(event, datetime.now(UTC))
        book.pulled(page["next"])
    return found


async def keep_up(receiver: MqttReceiver, above: Above, subscription: str | None, every_s: float) -> None:
    """Every so often, and at once where a gap shows. Until cancelled."""
    while True:
        receiver.gap.clear()
        with contextlib.suppress(NotDone):  # nobody answers: next time
            await catch_up(receiver.book, above, subscription)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(receiver.gap.wait(), every_s)
