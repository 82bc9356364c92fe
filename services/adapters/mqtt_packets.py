"""The packets of MQTT 5 that a subscriber at QoS 1 sends and gets, and the bytes of those it sends; no IO, no clock.

Source: MQTT Version 5.0, OASIS Standard, 7 March 2019; section numbers in brackets.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Sequence
from typing import NamedTuple

PING = b"\xc0\x00"

SERVER_KEEP_ALIVE, RECEIVE_MAXIMUM, TOPIC_ALIAS, REASON_STRING = 0x13, 0x21, 0x23, 0x1F
SESSION_EXPIRY, MAXIMUM_QOS, MAXIMUM_PACKET_SIZE = 0x11, 0x24, 0x27

MALFORMED, PROTOCOL, IMPLEMENTATION, KEEP_ALIVE_TIMEOUT, TAKEN_OVER = 0x81, 0x82, 0x83, 0x8D, 0x8E
WINDOW_EXCEEDED, ALIAS_INVALID, TOO_LARGE = 0x93, 0x94, 0x95
FAILURE = 0x80
"""Reason codes from here on are failures."""

_REASONS = {
    0x80: "unspecified error",
    0x81: "malformed packet",
    0x82: "protocol error",
    0x83: "implementation specific error",
    0x84: "unsupported protocol version",
    0x85: "client identifier not valid",
    0x86: "bad user name or password",
    0x87: "not authorized",
    0x88: "server unavailable",
    0x89: "server busy",
    0x8A: "banned",
    0x8B: "server shutting down",
    0x8C: "bad authentication method",
    0x8D: "keep alive timeout",
    0x8E: "session taken over",
    0x8F: "topic filter invalid",
    0x90: "topic name invalid",
    0x91: "packet identifier in use",
    0x92: "packet identifier not found",
    0x93: "receive maximum exceeded",
    0x94: "topic alias invalid",
    0x95: "packet too large",
    0x96: "message rate too high",
    0x97: "quota exceeded",
    0x98: "administrative action",
    0x99: "payload format invalid",
    0x9B: "QoS not supported",
    0x9C: "use another server",
    0x9D: "server moved",
    0x9E: "shared subscriptions not supported",
    0x9F: "connection rate exceeded",
    0xA1: "subscription identifiers not supported",
    0xA2: "wildcard subscriptions not supported",
}


def reason_text(code: int) -> str:
    """As section 2.4 names it."""
    return _REASONS.get(code, f"reason code 0x{code:02x}")


class ProtocolError(Exception):
    """The other side does not speak MQTT as agreed. `code`: the reason to disconnect with."""

    def __init__(self, what: str, code: int = MALFORMED) -> None:
        super().__init__(what)
        self.code = code


class ConnAck(NamedTuple):
    session_present: bool
    reason: int
    properties: dict[int, int | bytes]


class PubAck(NamedTuple):
    packet_id: int
    reason: int


class SubAck(NamedTuple):
    packet_id: int
    reasons: bytes


class UnsubAck(NamedTuple):
    packet_id: int
    reasons: bytes


class PingResp(NamedTuple):
    pass


class Disconnect(NamedTuple):
    reason: int
    text: str


Control = ConnAck | PubAck | SubAck | UnsubAck | PingResp | Disconnect


# To bytes


def number(value: int) -> bytes:
    """Variable byte integer [1.5.5]."""
    if value < 128:
        return bytes((value,))
    digits = bytearray()
    while True:
        value, digit = divmod(value, 128)
        digits.append(digit | (0x80 if value else 0))
        if not value:
            return bytes(digits)


def _text(value: str) -> bytes:
    raw = value.encode()
    if len(raw) > 65_535:
        raise ValueError("longer than MQTT can say")
    return len(raw).to_bytes(2, "big") + raw


def packet(head: int, body: bytes) -> bytes:
    return bytes((head,)) + number(len(body)) + body


def connect(
    client_id: str, username: str | None, password: str | None, keepalive_s: int, session_expiry_s: int, window: int
) -> bytes:
    """[3.1], without clean start. No maximum packet size: the broker would drop what is larger and tell nobody."""
    properties = struct.pack("!BIBH", SESSION_EXPIRY, session_expiry_s, RECEIVE_MAXIMUM, window)
    flags, tail = 0, _text(client_id)
    if username is not None:
        flags |= 0x80
        tail += _text(username)
        if password is not None:
            flags |= 0x40
            tail += _text(password)
    head = _text("MQTT") + struct.pack("!BBH", 5, flags, keepalive_s)
    return packet(0x10, head + number(len(properties)) + properties + tail)


def subscribe(packet_id: int, filters: Collection[str]) -> bytes:
    """[3.8] At QoS 1; what is retained is wanted only where the subscription is new."""
    new_only = 0x10 | 1
    asked = b"".join([_text(name) + bytes((new_only,)) for name in filters])
    return packet(0x82, packet_id.to_bytes(2, "big") + b"\0" + asked)


def unsubscribe(packet_id: int, filters: Collection[str]) -> bytes:
    """[3.10]"""
    return packet(0xA2, packet_id.to_bytes(2, "big") + b"\0" + b"".join([_text(name) for name in filters]))


def publish(packet_id: int, topic: str, payload: bytes, again: bool = False) -> bytes:
    """[3.3] At QoS 1; `again`: the broker may have it already."""
    head = _text(topic) + packet_id.to_bytes(2, "big") + b"\0"
    return bytes((0x3A if again else 0x32,)) + number(len(head) + len(payload)) + head + payload


def disconnect(reason: int) -> bytes:
    """[3.14]"""
    return b"\xe0\x00" if reason == 0 else bytes((0xE0, 1, reason))


def pubacks(packet_ids: Sequence[int]) -> bytes:
    """[3.4] One after the other, all successful: four bytes each."""
    raw = struct.pack(f"!{len(packet_ids)}H", *packet_ids)
    out = bytearray(b"\x40\x02\0\0" * len(packet_ids))
    out[2::4], out[3::4] = raw[0::2], raw[1::2]
    return bytes(out)
