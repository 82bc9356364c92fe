"""MQTT 5 from bytes, however they are cut, to messages and packets; no IO, no clock.

Source: MQTT Version 5.0, OASIS Standard, 7 March 2019; section numbers in brackets.
"""

from __future__ import annotations

from services.adapters.mqtt import Inbound
from services.adapters.mqtt_packets import (
    ALIAS_INVALID,
    PROTOCOL,
    REASON_STRING,
    TOO_LARGE,
    TOPIC_ALIAS,
    ConnAck,
    Control,
    Disconnect,
    PingResp,
    ProtocolError,
    PubAck,
    SubAck,
    UnsubAck,
    packet,
)

LARGEST = 2 * 1024 * 1024
"""Bytes of a packet that are kept. Of a longer message the beginning is delivered: far more than ingest takes, so it is
refused as too large; to end the connection over it would bring it back for ever."""


class Decoder:
    """Of one connection. `generation` is what its messages are marked with."""

    def __init__(self, generation: int) -> None:
        self._generation = generation
        self._rest = bytearray()
        """The beginning of a packet that is not whole yet, at most LARGEST bytes of it."""
        self._need = 0
        """Bytes of that packet before it is worth looking again; its whole length once that is known."""
        self._seen = 0

    def feed(self, data: bytes, now_ms: int) -> tuple[list[Inbound], list[Control]]:
        """What is complete with `data`: the messages, and everything else.

        Raises ProtocolError; nothing may be fed after that.
        """
        if self._rest:
            whole = self._collect(data)
            if whole is None:
                return [], []
            data = whole
        messages: list[Inbound] = []
        control: list[Control] = []
        append, new, generation = messages.append, tuple.__new__, self._generation
        at, size, need = 0, len(data), 2
        # Nearly every packet is a PUBLISH of QoS 1 without properties: taken apart here, calling only the decoding.
        while size - at >= 2:
            head, length, body = data[at], data[at + 1], at + 2
            if length > 127:
                if body < size and data[body] < 128:
                    length += (data[body] << 7) - 128
                    body += 1
                else:
                    length, body = _length(data, at + 1)
                    if not body:
                        need = size - at + 1
                        break
            end = body + length
            if end > size:
                need = end - at
                break
            if head & 0xF6 == 0x32 and length > 5:
                cut = body + 2 + (data[body] << 8 | data[body + 1])
                properties = cut + 2
                if body + 2 < cut and properties < end and data[properties] == 0:
                    packet_id = data[cut] << 8 | data[cut + 1]
                    if packet_id:
                        try:
                            topic = data[body + 2 : cut].decode()
                        except UnicodeDecodeError:
                            topic = data[body + 2 : cut].decode(errors="replace")
                        payload = data[properties + 1 : end]
                        append(new(Inbound, (topic, payload, generation, packet_id, head & 1 == 1, now_ms)))
                        at = end
                        continue
            if head & 0xF0 == 0x30:
                append(_message(head, data[body:end], generation, now_ms))
            else:
                control.append(_control(head, data[body:end]))
            at = end
        if at < size:
            self._keep(data, at, need)
        return messages, control

    def _keep(self, data: bytes, at: int, need: int) -> None:
        if need > LARGEST and data[at] & 0xF0 != 0x30:
            raise ProtocolError(f"a packet of {need} bytes that is no message", TOO_LARGE)
        self._rest += data[at : at + LARGEST]
        self._need, self._seen = need, len(data) - at

    def _collect(self, data: bytes) -> bytes | None:
        """The packet in waiting with what follows it; None while it is not whole."""
        rest = self._rest
        rest += data
        self._seen += len(data)
        if self._need > LARGEST:
            del rest[LARGEST:]
        if self._seen < self._need:
            return None
        if self._need > LARGEST:
            _, body = _length(rest, 1)
            whole = packet(rest[0], bytes(rest[body:])) + data[len(data) - (self._seen - self._need) :]
        else:
            whole = bytes(rest)
        rest.clear()
        return whole


def _length(data: bytes | bytearray, at: int) -> tuple[int, int]:
    """(remaining length, where the body begins) [2.1.4]; the second is 0 when it is not all there."""
    value = 0
    for position in range(4):
        if at + position >= len(data):
            return 0, 0
        digit = data[at + position]
        value |= (digit & 0x7F) << (7 * position)
        if digit < 128:
            return value, at + position + 1
    raise ProtocolError("a length of more than four bytes")


def _message(head: int, body: bytes, generation: int, now_ms: int) -> Inbound:
    """[3.3] Any PUBLISH that may come to a subscriber at QoS 1."""
    qos = head >> 1 & 3
    if qos > 1:
        raise ProtocolError(f"a message of QoS {qos}, which was not asked for", PROTOCOL)
    reader = _Reader(body)
    topic = reader.binary()
    packet_id = reader.number(2) if qos else 0
    if qos and not packet_id:
        raise ProtocolError("a message with packet id 0", PROTOCOL)
    if TOPIC_ALIAS in reader.properties():
        raise ProtocolError("a topic alias, which was not allowed", ALIAS_INVALID)
    if not topic:
        raise ProtocolError("a message without a topic", PROTOCOL)
    # A topic that is not UTF-8 is refused where payloads are; ending the connection would bring it back for ever.
    return Inbound(topic.decode(errors="replace"), reader.rest(), generation, packet_id, head & 1 == 1, now_ms)


def _control(head: int, body: bytes) -> Control:
    reader = _Reader(body)
    match head:
        case 0x20:
            flags = reader.number(1)
            if flags > 1:
                raise ProtocolError("reserved flags are set in CONNACK")
            return ConnAck(flags == 1, reader.number(1), reader.properties())
        case 0x40:
            return PubAck(reader.number(2), reader.number(1) if reader.left else 0)
        case 0x90 | 0xB0:
            packet_id = reader.number(2)
            reader.properties()
            kind = SubAck if head == 0x90 else UnsubAck
            return kind(packet_id, reader.rest())
        case 0xD0:
            return PingResp()
        case 0xE0:
            reason = reader.number(1) if reader.left else 0
            text = reader.properties().get(REASON_STRING, b"") if reader.left else b""
            return Disconnect(reason, text.decode(errors="replace") if isinstance(text, bytes) else "")
    raise ProtocolError(f"a packet that no server sends: 0x{head:02x}", PROTOCOL)


_SIZES = dict.fromkeys((0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2A), 1)
_SIZES |= dict.fromkeys((0x13, 0x21, 0x22, 0x23), 2)
_SIZES |= dict.fromkeys((0x02, 0x11, 0x18, 0x27), 4)
_BINARY = frozenset((0x03, 0x08, 0x09, 0x12, 0x15, 0x16, 0x1A, 0x1C, 0x1F))
_SUBSCRIPTION, _USER = 0x0B, 0x26


class _Reader:
    """The body of one packet, from its beginning to its end. All raise ProtocolError where it is too short."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def _take(self, size: int) -> bytes:
        if size > self.left:
            raise ProtocolError("a packet shorter than it says")
        self._at += size
        return self._data[self._at - size : self._at]

    def number(self, size: int) -> int:
        return int.from_bytes(self._take(size), "big")

    def length(self) -> int:
        value, after = _length(self._data, self._at)
        if not after:
            raise ProtocolError("a packet shorter than it says")
        self._at = after
        return value

    def binary(self) -> bytes:
        return self._take(self.number(2))

    def rest(self) -> bytes:
        return self._take(self.left)

    def properties(self) -> dict[int, int | bytes]:
        """[2.2.2] By identifier; of a repeated one the last."""
        inner = _Reader(self._take(self.length()))
        found: dict[int, int | bytes] = {}
        while inner.left:
            name = inner.length()
            if name in _SIZES:
                found[name] = inner.number(_SIZES[name])
            elif name in _BINARY:
                found[name] = inner.binary()
            elif name == _SUBSCRIPTION:
                found[name] = inner.length()
            elif name == _USER:
                found[name] = inner.binary() + b"=" + inner.binary()
            else:
                raise ProtocolError(f"an unknown property 0x{name:02x}")
        return found
