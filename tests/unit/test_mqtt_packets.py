"""The MQTT 5 codec: any cut of the bytes gives the same packets, and no bytes do more harm than a protocol error."""

from __future__ import annotations

import os
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.adapters import mqtt_packets as packets
from services.adapters.mqtt import Inbound
from services.adapters.mqtt_decoder import LARGEST, Decoder
from services.adapters.mqtt_packets import (
    ConnAck,
    Control,
    Disconnect,
    PingResp,
    ProtocolError,
    PubAck,
    SubAck,
    UnsubAck,
)

EXAMPLES = int(os.environ.get("LINHUB_FUZZ_EXAMPLES", "200"))
"""A property; campaigns use 20,000 and more."""

GENERATION, NOW = 7, 1_700_000_000_000

topics = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40)
payloads = st.one_of(st.binary(max_size=40), st.binary(min_size=100, max_size=400))
ids = st.integers(1, 65_535)


def text(value: bytes) -> bytes:
    return len(value).to_bytes(2, "big") + value


properties = st.lists(
    st.one_of(
        st.tuples(st.just(b"\x26"), st.binary(max_size=9).map(text), st.binary(max_size=9).map(text)).map(b"".join),
        st.binary(min_size=4, max_size=4).map(lambda raw: b"\x02" + raw),
        st.integers(0, 0x0FFF_FFFF).map(lambda value: b"\x0b" + packets.number(value)),
        st.binary(max_size=30).map(lambda raw: b"\x09" + text(raw)),
        st.sampled_from([b"\x01\x01", b"\x03\x00\x01j"]),
    ),
    max_size=3,
).map(b"".join)


@st.composite
def publishes(draw: st.DrawFn) -> tuple[bytes, Inbound]:
    topic, payload, retained = draw(topics), draw(payloads), draw(st.booleans())
    packet_id = draw(st.one_of(st.just(0), ids))
    extra = draw(st.one_of(st.just(b""), properties))
    head = 0x30 | retained | (0x02 if packet_id else 0) | (0x08 if packet_id and draw(st.booleans()) else 0)
    body = text(topic.encode()) + (packet_id.to_bytes(2, "big") if packet_id else b"")
    body += packets.number(len(extra)) + extra + payload
    return packets.packet(head, body), Inbound(topic, payload, GENERATION, packet_id, retained, NOW)


controls: st.SearchStrategy[tuple[bytes, Control]] = st.one_of(
    st.just((b"\xd0\x00", PingResp())),
    ids.map(lambda n: (b"\x40\x02" + n.to_bytes(2, "big"), PubAck(n, 0))),
    st.tuples(ids, st.integers(0, 255)).map(
        lambda both: (b"\x40\x04" + both[0].to_bytes(2, "big") + bytes((both[1], 0)), PubAck(*both))
    ),
    st.tuples(ids, st.binary(min_size=1, max_size=9)).map(
        lambda both: (packets.packet(0x90, both[0].to_bytes(2, "big") + b"\0" + both[1]), SubAck(*both))
    ),
    st.tuples(ids, st.binary(min_size=1, max_size=9)).map(
        lambda both: (packets.packet(0xB0, both[0].to_bytes(2, "big") + b"\0" + both[1]), UnsubAck(*both))
    ),
    st.just((b"\x20\x09\x01\x00\x06\x13\x00\x1e\x21\x00\x64", ConnAck(True, 0, {0x13: 30, 0x21: 100}))),
    st.just((b"\xe0\x00", Disconnect(0, ""))),
    st.just((b"\xe0\x07\x8e\x05\x1f\x00\x02hi", Disconnect(0x8E, "hi"))),
)
streams = st.lists(st.one_of(publishes(), controls), max_size=12)


def fed(parts: list[bytes]) -> tuple[list[Inbound], list[Control]]:
    decoder = Decoder(GENERATION)
    messages: list[Inbound] = []
    control: list[Control] = []
    for part in parts:
        more, others = decoder.feed(part, NOW)
        messages += more
        control += others
    return messages, control


@settings(max_examples=EXAMPLES, deadline=None)
@given(streams, st.data())
def test_any_cut_of_the_stream_gives_the_same_packets(
    stream: list[tuple[bytes, Inbound | Control]], data: st.DataObject
) -> None:
    whole = b"".join(raw for raw, _ in stream)
    cuts = data.draw(st.lists(st.integers(0, len(whole)), max_size=20))
    parts = [whole[a:b] for a, b in pairwise(sorted({0, len(whole), *cuts}))]
    wanted = (
        [packet for _, packet in stream if isinstance(packet, Inbound)],
        [packet for _, packet in stream if not isinstance(packet, Inbound)],
    )
    assert fed(parts) == wanted
    assert fed([whole[n : n + 1] for n in range(len(whole))]) == wanted


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=6))
def test_random_bytes_end_in_packets_or_a_protocol_error(parts: list[bytes]) -> None:
    try:
        found, control = fed(parts)
    except ProtocolError as error:
        assert str(error) and 0x80 <= error.code <= 0xA2
    else:
        assert all(type(message) is Inbound and message.topic for message in found)
        assert all(isinstance(packet, tuple) for packet in control)


@settings(max_examples=EXAMPLES, deadline=None)
@given(streams, st.data())
def test_damaged_packets_end_in_packets_or_a_protocol_error(
    stream: list[tuple[bytes, object]], data: st.DataObject
) -> None:
    whole = bytearray(b"".join(raw for raw, _ in stream) or b"\x30\x00")
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        found, _ = fed([bytes(whole)])
    except ProtocolError as error:
        assert str(error)
    else:
        assert all(0 <= message.token < 65_536 for message in found)


@given(topics, payloads, ids, st.booleans())
def test_publish_is_read_back(topic: str, payload: bytes, packet_id: int, again: bool) -> None:
    found, control = fed([packets.publish(packet_id, topic, payload, again)])
    assert found == [Inbound(topic, payload, GENERATION, packet_id, False, NOW)] and control == []


@given(st.integers(0, 268_435_455))
def test_number_is_as_short_as_it_can_be(value: int) -> None:
    raw = packets.number(value)
    assert len(raw) == 1 + (value > 127) + (value > 16_383) + (value > 2_097_151)
    assert sum((digit & 0x7F) << 7 * n for n, digit in enumerate(raw)) == value


@given(st.lists(ids, max_size=300))
def test_pubacks_are_one_packet_each_in_the_order_given(numbers: list[int]) -> None:
    assert packets.pubacks(numbers) == b"".join(b"\x40\x02" + n.to_bytes(2, "big") for n in numbers)


def test_connect_with_and_without_a_login() -> None:
    # Section 3.1: name, version 5, flags, keep alive 60, properties (17, 33), client id, user name, password.
    named = packets.connect("id", "u", "pw", 60, 0xFFFFFFFF, 20_000)
    assert named == (
        b"\x10\x20\x00\x04MQTT\x05\xc0\x00\x3c\x08\x11\xff\xff\xff\xff\x21\x4e\x20\x00\x02id\x00\x01u\x00\x02pw"
    ).replace(b"\x10\x20", b"\x10" + bytes((len(named) - 2,)))
    assert packets.connect("id", None, None, 1, 0, 1)[9] == 0
    assert packets.connect("id", "u", None, 1, 0, 1)[9] == 0x80
    with pytest.raises(ValueError, match="longer"):
        packets.connect("x" * 65_536, None, None, 1, 0, 1)


def test_subscribe_and_unsubscribe_name_each_filter() -> None:
    assert packets.subscribe(258, ["a/#", "é"]) == b"\x82\x0e\x01\x02\x00\x00\x03a/#\x11\x00\x02\xc3\xa9\x11"
    assert packets.unsubscribe(1, ["a"]) == b"\xa2\x06\x00\x01\x00\x00\x01a"
    assert packets.disconnect(0) == b"\xe0\x00" and packets.disconnect(0x93) == b"\xe0\x01\x93"


@pytest.mark.parametrize("step", [1 << 16, 100_003])
def test_message_too_large_to_keep_is_delivered_by_its_beginning(step: int) -> None:
    payload = bytes(range(256)) * (3 * LARGEST // 256)
    stream = packets.publish(9, "sc/c/d", payload) + packets.publish(10, "sc/c/d", b"next") + b"\xd0\x00"
    decoder = Decoder(GENERATION)
    found: list[Inbound] = []
    for at in range(0, len(stream), step):
        more, _ = decoder.feed(stream[at : at + step], NOW)
        found += more
        assert len(decoder._rest) <= LARGEST
    big, small = found
    assert (big.token, small.token, small.payload) == (9, 10, b"next")
    assert LARGEST - 100 < len(big.payload) < LARGEST and payload.startswith(big.payload)


def test_large_packet_of_another_kind_is_refused_before_it_is_kept() -> None:
    with pytest.raises(ProtocolError, match="no message") as refused:
        Decoder(GENERATION).feed(b"\x90" + packets.number(LARGEST + 1) + b"xx", NOW)
    assert refused.value.code == packets.TOO_LARGE


def test_reason_is_named_or_numbered() -> None:
    assert packets.reason_text(0x86) == "bad user name or password"
    assert packets.reason_text(0xF0) == "reason code 0xf0"
