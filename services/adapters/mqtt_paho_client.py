"""paho-mqtt made quick enough for small messages: a socket read in large pieces, and a short cut for plain messages."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Callable
from typing import Any

from paho.mqtt.client import Client
from paho.mqtt.enums import MQTTErrorCode

from services.adapters.mqtt_packets import disconnect

_FROM_SERVERS = frozenset((0x20, 0x40, 0x90, 0xB0, 0xD0, 0xE0))
"""First bytes of what a server may send, messages aside."""


class Wire:
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

    def say_goodbye(self) -> None:
        with contextlib.suppress(OSError):
            self.send(disconnect(0))
            self.flush()
            self._socket.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.flush()
        self._socket.close()


class ShortCutClient(Client):
    """paho, told which socket to use (it would block the event loop while it connects), with a short cut for what

    nearly every message is: QoS 0 or 1 without properties. paho builds a properties object of 30 attributes for each
    packet, two thirds of its time. Anything else, and anything odd, takes paho's own way.
    """

    wire: Wire | None = None
    _pinged_at = 0.0
    deliver: Callable[[bytes, bytes, int, bool], None]
    """(topic, payload, packet id, retained)"""

    def _handle_publish(self) -> MQTTErrorCode:
        command, packet = self._in_packet["command"], self._in_packet["packet"]
        if command & 0x06 > 0x02:
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        if len(packet) > 5:
            end = 2 + (packet[0] << 8 | packet[1])
            body, mid = end, 0
            if command & 0x02:
                body += 2
                mid = int.from_bytes(packet[end:body], "big")
                if not mid:
                    return MQTTErrorCode.MQTT_ERR_PROTOCOL
            if end > 2 and body < len(packet) and packet[body] == 0:
                self.deliver(bytes(packet[2:end]), bytes(packet[body + 1 :]), mid, bool(command & 1))
                return MQTTErrorCode.MQTT_ERR_SUCCESS
        return super()._handle_publish()

    def _packet_handle(self) -> MQTTErrorCode:
        command = self._in_packet["command"]
        if command & 0xF0 != 0x30 and command not in _FROM_SERVERS:
            return MQTTErrorCode.MQTT_ERR_PROTOCOL
        return super()._packet_handle()

    def ping(self, reading: bool) -> None:
        """Asks the broker twice a keepalive whether it hears us; one that does not answer for a keepalive is given up.

        While nothing is read its answer cannot be seen, so none is missed.
        """
        now = time.monotonic()
        if not reading:
            self._ping_t = now if self._ping_t else 0
            with self._msgtime_mutex:
                self._last_bytes_received = now
        if self.is_connected() and now - self._pinged_at >= self._keepalive / 2 and (not self._ping_t or not reading):
            self._pinged_at = now
            self._send_pingreq()
        self.loop_misc()

    def _create_socket(self) -> Any:
        if self.wire is None:
            raise ConnectionError("no connection was prepared")
        return self.wire
