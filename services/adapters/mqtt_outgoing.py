"""Messages on their way to the broker at QoS 1: those that wait, those it has not acknowledged; no IO."""

from __future__ import annotations

import time
from collections import deque

import structlog

from services.adapters import mqtt_packets as packets
from services.adapters.mqtt_packets import reason_text

log = structlog.get_logger(__name__)

MOST_WAITING = 20_000
_MOST_IN_FLIGHT = 1_000
_LAST_ID = 60_000
"""Packet ids above are for subscriptions."""
_SAY_EVERY_S = 10.0


class Seldom:
    """Says a warning of a kind at most every ten seconds, with how many times it was due meanwhile."""

    def __init__(self) -> None:
        self._due: dict[str, int] = {}
        self._said_at: dict[str, float] = {}

    def warn(self, event: str, **facts: object) -> None:
        self._due[event] = self._due.get(event, 0) + 1
        now = time.monotonic()
        if now - self._said_at.get(event, -_SAY_EVERY_S) >= _SAY_EVERY_S:
            self._said_at[event] = now
            log.warning(event, count=self._due.pop(event), **facts)


class Outgoing:
    """Of one subscriber, over all its connections."""

    def __init__(self) -> None:
        self._waiting: deque[tuple[str, bytes]] = deque()
        self._in_flight: dict[int, tuple[str, bytes]] = {}
        self._most = _MOST_IN_FLIGHT
        self._largest = 0
        self._last = 0
        self._seldom = Seldom()

    @property
    def empty(self) -> bool:
        return not self._waiting and not self._in_flight

    def add(self, topic: str, payload: bytes) -> None:
        """Dropped, and said, when too many wait already."""
        if len(self._waiting) >= MOST_WAITING:
            self._seldom.warn("broker_publish_dropped", topic=topic, why="too many wait for the broker")
        else:
            self._waiting.append((topic, payload))

    def connected(self, session_present: bool, receive_maximum: int, largest: int) -> bytes:
        """What to send first: all that the last connection did not get acknowledged. `largest` 0: no limit."""
        self._most = min(_MOST_IN_FLIGHT, receive_maximum)
        self._largest = largest
        before, self._in_flight = self._in_flight, {}
        sent = []
        for packet_id, (topic, payload) in before.items():
            if len(self._in_flight) < self._most:
                self._in_flight[packet_id] = topic, payload
                sent.append(packets.publish(packet_id, topic, payload, again=session_present))
        late = list(before.values())[len(self._in_flight) :]
        self._waiting.extendleft(reversed(late))
        return b"".join(sent)

    def due(self) -> bytes:
        """As many of the waiting as the broker takes now."""
        sent = []
        while self._waiting and len(self._in_flight) < self._most:
            topic, payload = self._waiting.popleft()
            packet_id = self._free_id()
            packet = packets.publish(packet_id, topic, payload)
            if self._largest and len(packet) > self._largest:
                self._seldom.warn("broker_publish_dropped", topic=topic, why=f"longer than {self._largest} bytes")
                continue
            self._in_flight[packet_id] = topic, payload
            sent.append(packet)
        return b"".join(sent)

    def acknowledged(self, packet_id: int, reason: int) -> None:
        message = self._in_flight.pop(packet_id, None)
        if message is not None and reason >= packets.FAILURE:
            self._seldom.warn("broker_publish_refused", topic=message[0], why=reason_text(reason))

    def _free_id(self) -> int:
        while True:
            self._last = self._last % _LAST_ID + 1
            if self._last not in self._in_flight:
                return self._last
