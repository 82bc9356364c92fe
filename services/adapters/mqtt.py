"""The broker as ingest needs it: what arrives, acknowledged by hand and only to the connection it came on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import NamedTuple, Protocol
from urllib.parse import unquote, urlsplit


class Inbound(NamedTuple):
    """One message as it came off the wire. `token` is 0 where the broker wants no acknowledgement."""

    topic: str
    payload: bytes
    generation: int
    """Which connection it came on; a token means nothing on another."""
    token: int
    retained: bool
    received_ms: int


class SessionTakenOver(Exception):
    """Another client connected under our id: someone else does our work now."""


@dataclass(frozen=True, slots=True)
class Address:
    host: str
    port: int
    username: str | None
    password: str | None

    @classmethod
    def parse(cls, url: str) -> Address:
        """`mqtt://user:password@host:port`. Raises ValueError for anything else."""
        parts = urlsplit(url)
        if parts.scheme != "mqtt" or not parts.hostname:
            raise ValueError("expected mqtt://user:password@host:port")
        return cls(
            parts.hostname,
            parts.port or 1883,
            unquote(parts.username) if parts.username else None,
            unquote(parts.password) if parts.password else None,
        )


NEVER_EXPIRES = 0xFFFFFFFF
"""Session expiry interval of MQTT 5. mosquitto 2.0 can crash over sessions that do expire (docs/decisions/0004)."""


@dataclass(frozen=True, slots=True)
class SubscriberOptions:
    """`window`: how many messages the broker may have unacknowledged; past it the broker waits: the back-pressure.

    `held_bytes`: past this much unacknowledged payload nothing more is read, whatever the window says.
    """

    address: Address
    client_id: str
    window: int
    held_bytes: int = 64 * 1024 * 1024
    keepalive_s: int = 15
    session_expiry_s: int = NEVER_EXPIRES
    connect_timeout_s: float = 5.0
    retry_max_s: float = 10.0


class Subscriber(Protocol):
    """One connection with a session that outlives it: QoS 1, acknowledged by hand, reconnecting for ever.

    All methods belong to one event loop.
    """

    @property
    def ready(self) -> bool:
        """Connected, and every filter granted."""

    @property
    def waiting(self) -> int:
        """How many messages have arrived and were not yet received by the caller."""

    async def run(self) -> None:
        """Keeps the connection until cancelled. Raises SessionTakenOver when another client took the id."""

    async def receive(self, limit: int, linger_s: float = 0.0) -> list[Inbound]:
        """At least one message; waits up to `linger_s` after the first for `limit` of them."""

    def ack(self, messages: Iterable[Inbound]) -> int:
        """Acknowledges to the broker; how many were too old to mean anything (it will deliver those again)."""

    def publish(self, topic: str, payload: bytes) -> None:
        """QoS 1, sent again after a reconnect. While too many wait for the broker the new one is dropped."""

    def set_filters(self, wanted: Collection[str], unwanted: Collection[str] = ()) -> None:
        """Subscribes to exactly `wanted`, now and after each reconnect, and gives back `unwanted`.

        A session remembers filters of earlier lives: name in `unwanted` what those may have held.
        """

    async def close(self) -> None:
        """Sends what is left and disconnects; the session stays at the broker."""


StatusCallback = Callable[[bool, str], None]
"""(connected, why): called at each change."""
