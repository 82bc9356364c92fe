"""What mosquitto tells of itself under $SYS/broker: read once, or followed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from services.adapters.mqtt import Address

HEALTH_ACCOUNT = "svc-health"
"""The account that may read them (deploy/broker/acl)."""

_PREFIX = "$SYS/broker/"
_TOPICS = {
    "uptime_s": "uptime",
    "dropped": "publish/messages/dropped",
    "stored": "store/messages/count",
    "stored_bytes": "store/messages/bytes",
    "retained": "retained messages/count",
    "connected": "clients/connected",
    "disconnected": "clients/disconnected",
    "received": "messages/received",
    "sent": "messages/sent",
    "heap_bytes": "heap/current",
    "received_a_minute": "load/messages/received/1min",
}
_FIELDS = {_PREFIX + topic: field for field, topic in _TOPICS.items()}
_NEEDED = ("uptime_s", "dropped", "stored", "stored_bytes", "retained")
_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Figures:
    """As mosquitto 2.0 counts. `dropped`, `received` and `sent` begin anew with each start of the broker.

    `stored` messages are in memory once, however many sessions they wait for, and include the retained ones.
    None: not told (yet, or by this build).
    """

    uptime_s: int | None = None
    dropped: int | None = None
    stored: int | None = None
    stored_bytes: int | None = None
    retained: int | None = None
    connected: int | None = None
    disconnected: int | None = None
    received: int | None = None
    sent: int | None = None
    heap_bytes: int | None = None
    received_a_minute: int | None = None

    @property
    def whole(self) -> bool:
        """What has to be known to judge a broker is there."""
        return all(getattr(self, field) is not None for field in _NEEDED)

    @property
    def waiting(self) -> int:
        """At most so many messages wait in any one session; mosquitto does not tell the queues apart."""
        return max(0, (self.stored or 0) - (self.retained or 0))


class Reader:
    """A connection that follows the figures; its callbacks run in a thread of the client library."""

    def __init__(self, address: Address, secret: str) -> None:
        self._address = address
        self._values: dict[str, int] = {}
        self.heard_at: float | None = None
        """Of the monotonic clock, at the last sign of life; the broker gives one each `sys_interval`."""
        self.refused: str | None = None
        self._client = Client(
            CallbackAPIVersion.VERSION2, f"linhub-figures-{uuid4().hex[:8]}", protocol=MQTTProtocolVersion.MQTTv5
        )
        self._client.username_pw_set(HEALTH_ACCOUNT, secret)
        self._client.reconnect_delay_set(1, 5)
        self._client.on_connect = self._on_connect
        self._client.on_message = self._on_message

    def start(self) -> None:
        """Returns at once; a broker that is away is tried again."""
        self._client.connect_async(self._address.host, self._address.port, keepalive=20)
        self._client.loop_start()

    def stop(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    @property
    def figures(self) -> Figures:
        return Figures(**self._values.copy())

    def _on_connect(self, client: Client, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        self.refused = None if str(reason) == "Success" else str(reason)
        if self.refused is None:
            # Of another start of the broker, perhaps: what it does not say again must not stay.
            self._values.clear()
            client.subscribe([(topic, 0) for topic in _FIELDS])

    def _on_message(self, client: Client, data: Any, message: MQTTMessage) -> None:
        field = _FIELDS.get(message.topic)
        if field is None:
            return
        # "3 seconds", "12", "184.05"
        with contextlib.suppress(ValueError, IndexError):
            self._values[field] = int(float(message.payload.decode().split()[0]))
            self.heard_at = time.monotonic()


@contextmanager
def following(address: Address, secret: str) -> Iterator[Reader]:
    reader = Reader(address, secret)
    reader.start()
    try:
        yield reader
    finally:
        reader.stop()


def read_once(address: Address, secret: str, timeout_s: float = 3.0) -> Figures | None:
    """None when the broker does not tell them in time. The broker retains them, so they come at once."""
    with following(address, secret) as reader:
        deadline = time.monotonic() + timeout_s
        while not (found := reader.figures).whole:
            if time.monotonic() >= deadline:
                return None
            time.sleep(_POLL_S)
        return found
