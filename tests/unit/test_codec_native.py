"""The native format: what is understood, what is refused and in which words; whatever the bytes, it never raises."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.domain import codecs
from services.domain.codecs import decode
from services.domain.codecs.topic import CHANNELS, parse_topic
from services.domain.ids import CommunityId, DeviceId
from services.domain.messages import (
    MAX_PAYLOAD_BYTES,
    DeviceEvent,
    Reason,
    Rejected,
    Reply,
    StatusChange,
    Telemetry,
    Topic,
)

DEVICE = DeviceId("d1")


def said(channel: str, document: Any) -> list[Any]:
    payload = document if isinstance(document, bytes) else json.dumps(document).encode()
    return decode("native", Topic(CommunityId("c1"), DEVICE, channel), payload)


GOLDEN: list[tuple[str, Any, list[Any]]] = [
    ("telemetry", {"ts": 1000, "values": {"a": 1}}, [Telemetry(DEVICE, 1000, {"a": 1})]),
    ("telemetry", {"id": "m", "ts": 1000.0, "values": {"a": True}}, [Telemetry(DEVICE, 1000, {"a": True}, "m")]),
    (
        "telemetry",
        [{"device": "m-1", "ts": 1, "values": {"a": 1}}, {"device": "m-2", "ts": 2, "values": {"b": "on"}}],
        [Telemetry(DeviceId("m-1"), 1, {"a": 1}), Telemetry(DeviceId("m-2"), 2, {"b": "on"})],
    ),
    ("event", {"id": "e", "ts": 5, "event": "sos"}, [DeviceEvent(DEVICE, 5, "sos", {}, "e")]),
    (
        "event",
        [{"id": "e", "device": "x", "ts": 5, "event": "leak", "data": {"zone": [1, 2.5]}}],
        [DeviceEvent(DeviceId("x"), 5, "leak", {"zone": [1, 2.5]}, "e")],
    ),
    ("status", {"ts": 7, "online": False, "session": 3}, [StatusChange(DEVICE, 7, False, 3)]),
    ("reply", {"id": "c", "ts": 9, "ok": True, "detail": "shut\n"}, [Reply(DEVICE, 9, "c", True, "shut ")]),
]


@pytest.mark.parametrize(("channel", "document", "messages"), GOLDEN)
def test_native_reads_what_the_wire_describes(channel: str, document: Any, messages: list[Any]) -> None:
    assert said(channel, document) == messages


REFUSED: list[tuple[str, Any, str]] = [
    ("telemetry", b"", "not JSON"),
    ("telemetry", b"\xff\xfe", "not JSON"),
    ("telemetry", b'{"ts": 1, "values": {"a": NaN}}', "not JSON"),
    ("telemetry", b'{"ts": 1, "values": {"a": Infinity}}', "not JSON"),
    ("telemetry", b"[" * 5000, "not JSON"),
    ("telemetry", "text", "expected an object or a list"),
    ("telemetry", [], "the list is empty"),
    ("telemetry", {"values": {"a": 1}}, "ts must be epoch milliseconds, got nothing"),
    ("telemetry", {"ts": True, "values": {"a": 1}}, "ts must be epoch milliseconds"),
    ("telemetry", {"ts": "2026-01-01", "values": {"a": 1}}, "ts must be epoch milliseconds, got text"),
    ("telemetry", {"ts": 10**18, "values": {"a": 1}}, "ts is no time"),
    ("telemetry", {"ts": -1, "values": {"a": 1}}, "ts is no time"),
    ("telemetry", {"ts": 1, "values": {}}, "values is empty"),
    ("telemetry", {"ts": 1, "values": [1]}, "values must be an object"),
    ("telemetry", {"ts": 1}, "values must be an object"),
    ("telemetry", {"id": 7, "ts": 1, "values": {"a": 1}}, "id must be text"),
    ("telemetry", {"id": "a\x00", "ts": 1, "values": {"a": 1}}, "id must be text"),
    ("telemetry", {"device": "../x", "ts": 1, "values": {"a": 1}}, "device must be a device id"),
    ("event", {"ts": 1, "event": "sos"}, "an event needs an id"),
    ("event", {"id": "e", "ts": 1}, "event must be text"),
    ("event", {"id": "e", "ts": 1, "event": "sos", "data": [1]}, "data must be an object"),
    ("event", {"id": "e", "ts": 1, "event": "sos", "data": {"a": "\x00"}}, "NUL"),
    ("event", b'{"id": "e", "ts": 1, "event": "sos", "data": {"a": 1e999}}', "out of all proportion"),
    ("event", {"id": "e", "ts": 1, "event": "sos", "data": {"a": 1 << 70}}, "out of all proportion"),
    ("event", b'{"id":"e","ts":1,"event":"s","data":{"a":' + b"[" * 20 + b"]" * 20 + b"}}", "deeper"),
    ("status", {"ts": 1, "online": 1, "session": 1}, "online must be true or false"),
    ("status", {"ts": 1, "online": True}, "session must be a whole number"),
    ("status", [{"ts": 1, "online": True, "session": 1}], "takes one object"),
    ("reply", {"ts": 1, "ok": True}, "needs the id"),
]


@pytest.mark.parametrize(("channel", "document", "why"), REFUSED)
def test_native_says_why_it_refuses(channel: str, document: Any, why: str) -> None:
    (part,) = said(channel, document)
    assert isinstance(part, Rejected) and part.reason is Reason.MALFORMED
    assert why in part.detail


def test_native_keeps_the_good_parts_of_a_bad_list() -> None:
    good = {"device": "m-1", "ts": 1, "values": {"a": 1}}
    parts = said("telemetry", [good, 5, {**good, "id": "x", "ts": None}, good])
    assert [type(part) for part in parts] == [Telemetry, Rejected, Rejected, Telemetry]
    assert (parts[2].device, parts[2].message_id) == ("m-1", "x")


def test_decode_refuses_what_is_too_large_before_reading_it() -> None:
    (part,) = said("telemetry", b"[" * (MAX_PAYLOAD_BYTES + 1))
    assert isinstance(part, Rejected) and part.reason is Reason.TOO_LARGE


def test_decode_refuses_a_format_it_does_not_have() -> None:
    (part,) = decode("morse", Topic(CommunityId("c"), DEVICE, "telemetry"), b"...---...")
    assert isinstance(part, Rejected) and "morse" in part.detail


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
KEYS = st.sampled_from(["id", "ts", "values", "device", "event", "data", "online", "session", "ok", "detail", "x"])
SHAPED = st.dictionaries(KEYS, ANYTHING | st.integers(0, 2**45), max_size=8)


@given(st.sampled_from(CHANNELS), st.binary(max_size=300) | (SHAPED | st.lists(SHAPED, max_size=3) | ANYTHING).map(
    lambda document: json.dumps(document).encode()
))  # fmt: skip
@example("event", b'{"id":"e","ts":1,"event":"\\ud800"}')
def test_native_never_raises_and_never_answers_with_nothing(channel: str, payload: bytes) -> None:
    parts = said(channel, payload)
    assert parts
    for part in parts:
        assert isinstance(part, Telemetry | DeviceEvent | StatusChange | Reply | Rejected)
        if isinstance(part, Rejected):
            assert part.detail


def test_every_codec_file_stands_in_the_tuple() -> None:
    from pathlib import Path

    helpers = {"__init__", "codec", "topic"}
    files = {path.stem for path in Path(codecs.__file__).parent.glob("*.py")} - helpers
    assert files == {codec.name for codec in codecs.CODECS} == set(codecs.BY_NAME)


@pytest.mark.parametrize(
    "topic",
    ["", "sc", "sc/c/d/up/telemetry/", "sc/c/d/up/other", "sc/C/d/up/event", "sc/c//up/event", "sc/c/d/up/event\n",
     "xx/c/d/up/event", "sc/c/d/down/ack", "sc/-c/d/up/event", f"sc/c/{'d' * 65}/up/event"],
)  # fmt: skip
def test_topic_refuses_what_is_not_ours(topic: str) -> None:
    parsed = parse_topic(topic)
    assert isinstance(parsed, Rejected) and parsed.reason is Reason.BAD_TOPIC


def test_topic_reads_community_device_and_channel() -> None:
    assert parse_topic("sc/gong-yuan/gas_1/up/event") == Topic(CommunityId("gong-yuan"), DeviceId("gas_1"), "event")


@given(st.text(max_size=80))
def test_topic_never_raises(topic: str) -> None:
    assert isinstance(parse_topic(topic), Topic | Rejected)
