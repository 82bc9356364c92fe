"""The broker as ingest needs it: what arrives, acknowledged by hand and only to the connection it came on."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple, Protocol
from urllib.parse import unquote, urlsplit


class Inbound(NamedTuple):
    """One message as it came off the wire. `token` is 0 where the broker wants no acknowledgement."""

    topic: str
    payload: bytes
    generation: int
    """Which connection it came on, of all that this process ever had; a token means nothing on another."""
    token: int
    retained: bool
    received_ms: int


_generations = count(1)


def next_generation() -> int:
    """Never the same twice in a process, so that several subscribers can stand behind one."""
    return next(_generations)


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
    `keepalive_s`: a broker that does not answer is given up after one and a half to two times this.
    Raises ValueError for a window that MQTT cannot express.
    """

    address: Address
    client_id: str
    window: int
    held_bytes: int = 64 * 1024 * 1024
    keepalive_s: int = 15
    session_expiry_s: int = NEVER_EXPIRES
    connect_timeout_s: float = 5.0
    retry_max_s: float = 2.0

    def __post_init__(self) -> None:
        if not 1 <= self.window <= 65_535:
            raise ValueError(f"window is {self.window}; MQTT takes 1 to 65535")
        if not 1 <= self.keepalive_s <= 65_535:
            raise ValueError(f"keepalive_s is {self.keepalive_s}; 1 to 65535 are taken")


class Receiver(Protocol):
    """Where messages come from and acknowledgements go to: one connection, or several behind one.

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
        """Acknowledges to the broker; how many were too old to mean anything (it will deliver those again).

        A message is acknowledged once: a second time counts among those.
        """

    def publish(self, topic: str, payload: bytes) -> None:
        """QoS 1, sent again after a reconnect. While too many wait for the broker the new one is dropped."""

    async def close(self) -> None:
        """Sends what is left and disconnects; the session stays at the broker."""


class Subscriber(Receiver, Protocol):
    """One connection with a session that outlives it: QoS 1, acknowledged by hand, reconnecting for ever."""

    @property
    def generation(self) -> int:
        """Of the connection that stands now, or of the last one; 0 before the first."""

    def take(self, limit: int) -> list[Inbound]:
        """At most `limit` of those that wait, perhaps none, at once."""

    def on_arrival(self, told: Callable[[], None]) -> None:
        """`told` is called whenever messages have arrived: once for a reading, not once for a message."""

    def set_filters(self, wanted: Collection[str], unwanted: Collection[str] = ()) -> None:
        """Subscribes to exactly `wanted`, now and after each reconnect, and gives back `unwanted`.

        A session remembers filters of earlier lives: name in `unwanted` what those may have held. While one is
        refused the subscriber is not ready, says so and asks again; the granted ones work meanwhile.
        """


StatusCallback = Callable[[bool, str], None]
"""(connected, why): called at each change."""
