"""Each wire format on the examples of its own documentation; what cannot be used is refused in plain words."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.domain import codecs
from services.domain.codecs import BY_NAME, CODECS, decode
from services.domain.codecs.common import cbor
from services.domain.codecs.common.parts import MAX_PARTS, Bad
from services.domain.messages import AT_ARRIVAL_MS, Reason, Rejected, StatusChange, Telemetry
from tests.codec_kit import Case, golden, look, topic, written

CASES = golden()


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.codec}-{case.name}")
def test_golden_case_decodes_as_written(case: Case) -> None:
    assert case.document["source"]
    assert [written(part) for part in look(case.codec, case.topic, case.payload)] == case.document["parts"]


@pytest.mark.parametrize("case", [c for c in CASES if "reply" in c.document], ids=lambda c: f"{c.codec}-{c.name}")
def test_golden_case_is_answered_as_written(case: Case) -> None:
    reply = BY_NAME[case.codec].reply
    assert reply is not None
    for how, why in (("kept", None), ("refused", "no such device")):
        wanted = case.document["reply"][how]
        body = bytes.fromhex(wanted["hex"]) if "hex" in wanted else wanted["payload"].encode()
        assert reply(case.topic, case.payload, why) == (wanted["tail"], body)


def test_every_codec_is_a_file_in_the_tuple_with_golden_cases() -> None:
    files = {path.stem for path in Path(codecs.__file__).parent.glob("*.py")} - {"__init__", "codec", "topic"}
    assert files == {codec.name for codec in CODECS} == {case.codec for case in CASES}
    for name in files:
        good = [c for c in CASES if c.codec == name and any("rejected" not in part for part in c.document["parts"])]
        assert len(good) >= 2, name


def test_reply_is_kept_to_what_the_sender_asked_for() -> None:
    aliyun = BY_NAME["aliyun"].reply
    assert aliyun is not None
    where = topic(tail="sys/a/b/thing/event/property/post")
    assert aliyun(where, b'{"id":"1","params":{"a":1}}', None) is not None
    assert aliyun(where, b'{"id":"1","sys":{"ack":0},"params":{"a":1}}', None) is None
    assert aliyun(where, b"not json", None) is None
    assert aliyun(topic(), b'{"id":"1","method":"thing.event.property.post"}', None) is None


# CBOR: RFC 8949, appendix A


@pytest.mark.parametrize(
    ("octets", "value"),
    [
        ("00", 0), ("17", 23), ("1818", 24), ("1903e8", 1000), ("1bffffffffffffffff", 2**64 - 1), ("20", -1),
        ("3903e7", -1000), ("f90000", 0.0), ("f93c00", 1.0), ("f97bff", 65504.0), ("fa47c35000", 100000.0),
        ("fb3ff199999999999a", 1.1), ("f4", False), ("f5", True), ("f6", None), ("4401020304", b"\x01\x02\x03\x04"),
        ("6449455446", "IETF"), ("62c3bc", "ü"), ("83010203", [1, 2, 3]), ("a201020304", {1: 2, 3: 4}),
        ("826161a161626163", ["a", {"b": "c"}]), ("9f018202039f0405ffff", [1, [2, 3], [4, 5]]),
        ("bf61610161629f0203ffff", {"a": 1, "b": [2, 3]}), ("7f657374726561646d696e67ff", "streaming"),
        ("c48221196ab3", 273.15),
    ],
)  # fmt: skip
def test_cbor_reads_the_vectors_of_its_standard(octets: str, value: object) -> None:
    assert cbor.loads(bytes.fromhex(octets)) == value


@pytest.mark.parametrize(
    ("octets", "why"),
    [
        ("9bffffffffffffffff00", "longer than the message"), ("bbffffffffffffffff00", "longer than the message"),
        ("5bffffffffffffffff00", "ends too early"), ("81" * 40 + "00", "deeper"), ("9f" * 100_000, "deeper"),
        ("c202", "tag 2"), ("d81c80", "tag 28"), ("c482" + "1b7fffffffffffffff" + "01", "decimal fraction"),
        ("ff", "an end of nothing"), ("", "ends too early"), ("0000", "behind the end"), ("61ff", "UTF-8"),
        ("a18001", "neither number nor text"), ("1c", "does not exist"), ("f8ff", "means nothing"),
        ("5f6161ff", "another kind"), ("1f", "number without end"), ("82ff00", "ends too early"),
    ],
)  # fmt: skip
def test_cbor_refuses_bombs_and_nonsense(octets: str, why: str) -> None:
    with pytest.raises(Bad, match=why):
        cbor.loads(bytes.fromhex(octets))


# What the golden cases cannot show


def test_senml_relative_time_counts_from_arrival() -> None:
    (part,) = decode("senml_json", topic(), b'[{"n":"t","v":1,"t":-90}]')
    assert isinstance(part, Telemetry) and part.ts_ms == AT_ARRIVAL_MS - 90_000
    (part,) = decode("senml_json", topic(), b'[{"n":"t","v":1,"t":90}]')
    assert isinstance(part, Telemetry) and part.ts_ms == AT_ARRIVAL_MS


def test_more_parts_than_anybody_sends_are_cut_with_a_reason() -> None:
    many = b"[" + b",".join(b'{"a":%d}' % n for n in range(MAX_PARTS + 10)) + b"]"
    parts = decode("thingsboard", topic(), many)
    assert len(parts) == MAX_PARTS + 1
    assert isinstance(parts[-1], Rejected) and parts[-1].reason is Reason.TOO_LARGE


def test_a_bad_value_costs_only_itself() -> None:
    parts = decode(
        "thingsboard", topic(), b'{"a": 1, "b": 1e999, "c": "\\u0000", "d": {"e": 123456789012345678901234567890}}'
    )
    assert [written(part) for part in parts] == [
        {"telemetry": {"a": 1}, "device": "d1", "ts": -1},
        {"rejected": "b: this is no finite number", "device": "d1"},
        {"rejected": "c: text with unprintable characters", "device": "d1"},
        {"rejected": "d.e: the number is out of all proportion", "device": "d1"},
    ]


def test_a_damaged_frame_does_not_cost_the_one_before() -> None:
    case = next(c for c in CASES if (c.codec, c.name) == ("dlt645", "energy"))
    damaged = case.payload[:-3] + bytes([case.payload[-3] ^ 1]) + case.payload[-2:]
    parts = decode("dlt645", topic(), case.payload + damaged)
    assert [type(part) for part in parts] == [Rejected, Telemetry]


@pytest.mark.parametrize("word", ["online", "offline"])
def test_zigbee_states_carry_no_session_of_their_own(word: str) -> None:
    (part,) = decode("zigbee2mqtt", topic(tail="a/availability"), word.encode())
    assert isinstance(part, StatusChange) and part.session == -1 and part.online is (word == "online")
