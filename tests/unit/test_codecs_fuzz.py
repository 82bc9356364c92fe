"""Whatever the bytes: every format answers, with reasons, in bounded time; LINHUB_FUZZ_EXAMPLES makes it longer."""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.domain.codecs import CODECS, decode, reply
from services.domain.codecs.topic import CHANNELS
from services.domain.messages import MAX_PAYLOAD_BYTES, Reason, Rejected
from tests.codec_kit import CRASHES, golden, look, payload_of, topic
from tests.fuzz_codecs import SLOW_S, mutate

EXAMPLES = int(os.environ.get("LINHUB_FUZZ_EXAMPLES", "100"))
LENGTHS = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
NAMES = [codec.name for codec in CODECS]
CASES = golden()
CORPUS = sorted(CRASHES.glob("*.json"))

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)


@pytest.mark.parametrize("name", NAMES)
@LENGTHS
@given(seed=st.integers(0, 2**64 - 1))
def test_mutated_golden_cases_are_answered(name: str, seed: int) -> None:
    rng = random.Random(seed)
    case = rng.choice([case for case in CASES if case.codec == name])
    where, payload = mutate(rng, case, CASES)
    look(name, where, payload)


@pytest.mark.parametrize("name", NAMES)
@settings(LENGTHS, max_examples=max(20, EXAMPLES // 5))
@given(
    channel=st.sampled_from(CHANNELS),
    tail=st.text(max_size=30) | st.sampled_from([case.topic.tail for case in CASES]),
    payload=st.binary(max_size=200) | VALUES.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass")),
)
def test_anything_at_all_is_answered(name: str, channel: str, tail: str, payload: bytes) -> None:
    look(name, topic(channel, tail), payload)


@pytest.mark.parametrize("path", CORPUS, ids=lambda path: path.stem)
def test_what_once_crashed_is_answered(path: Path) -> None:
    document = json.loads(path.read_text())
    look(document["codec"], topic(document["channel"], document["tail"]), payload_of(document))


@pytest.mark.parametrize("name", NAMES)
def test_ten_megabytes_are_refused_before_they_are_read(name: str) -> None:
    huge = b'{"id":"1","method":"report","clientToken":"1","a":[' + b"1," * (5 * 1024 * 1024) + b"1]}"
    where = topic(tail="$thing/up/property/p/post")
    began = time.process_time()
    (part,) = decode(name, where, huge)
    assert isinstance(part, Rejected) and part.reason is Reason.TOO_LARGE
    assert reply(name, where, huge, part.detail) is None
    assert time.process_time() - began < 0.1


FULL = MAX_PAYLOAD_BYTES - 64
LARGEST = {
    "digits": b"1" * FULL,
    "brackets": b"[" * FULL,
    "objects": b'{"a":' * (FULL // 5),
    "quotes": b'"' * FULL,
    "empty objects": b"[" + b"{}," * (FULL // 3 - 1) + b"{}]",
    "values": b"[" + b'{"a":1},' * (FULL // 8 - 1) + b'{"a":1}]',
    "names": b"{" + b",".join(b'"k%d":1' % n for n in range(20_000)) + b"}",
    "spaces": b" " * FULL,
    "zeros": b"\0" * FULL,
    "frame starts": b"\x68" * FULL,
    "preambles": b"\xfe" * FULL,
    "fire starts": b"\x40" * FULL,
    "hex text": b"68 " * (FULL // 3),
    "nested cbor": b"\x9f" * FULL,
    "senml": b"[" + b'{"n":"a","v":1,"t":1},' * (FULL // 22 - 1) + b'{"n":"b","v":2}]',
    "services": b'{"services":[' + b'{"service_id":"a","properties":{}},' * (FULL // 40) + b"{}]}",
    "one name long": b'{"' + b"n" * (FULL - 8) + b'":1}',
    "one text long": b'{"n":"' + b"x" * (FULL - 10) + b'"}',
}


@pytest.mark.parametrize("what", LARGEST)
def test_the_largest_messages_take_bounded_time(what: str) -> None:
    def cpu_s(name: str) -> float:
        began = time.process_time()
        look(name, topic(), LARGEST[what])
        return time.process_time() - began

    for name in NAMES:
        # Again where it took longer: a collection of all that the tests have made may have come in between.
        assert any(cpu_s(name) < SLOW_S for _ in range(5)), name
