"""The short way for plain telemetry comes to what the long way comes to, to the bit, or leaves the message alone."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from services.adapters.log_rows import device_numbers, pack, unpack
from services.adapters.mqtt import Inbound
from services.domain.codecs import decode
from services.domain.codecs.topic import parse_topic
from services.domain.devices import CATALOGUE
from services.domain.devices.kind import MetricType
from services.domain.ids import CommunityId, DeviceId, DeviceNo, Partition
from services.domain.messages import MAX_PAYLOAD_BYTES, Topic
from services.ingest.checked import Checked
from services.ingest.core import check
from services.ingest.plain import PlainReader, reader_for
from services.ingest.registry import KnownDevice, Registry, kind_spec

NOW = 1_800_000_000_000
HOME = CommunityId("home")


def known(no: int, id: str, kind: str, gateway: int | None = None, **more: Any) -> KnownDevice:
    spec = kind_spec(next(one for one in CATALOGUE if one.name == kind))
    gateway_no = None if gateway is None else DeviceNo(gateway)
    given = {"codec": "native", "community": HOME, "partition": Partition(3), **more}
    return KnownDevice(no=DeviceNo(no), id=DeviceId(id), kind=spec, gateway_no=gateway_no, **given)


KINDS = [kind.name for kind in CATALOGUE]
KNOWN = (
    known(1, "gw", "gateway", address="m-0"),
    *(known(10 + n, kind.replace("_", "-"), kind) for n, kind in enumerate(KINDS)),
    *(known(100 + n, f"m-{n}", kind, gateway=1) for n, kind in enumerate(KINDS)),
    known(200, "foreign", "lamp_post", codec="morse"),
    known(201, "mapped", "lamp_post", profile="acme"),
    known(202, "m-mapped", "lamp_post", gateway=1, profile="acme"),
    known(203, "m-away", "lamp_post", gateway=1, community=CommunityId("away")),
    known(204, "m-other", "lamp_post", gateway=2),
)
REGISTRY = Registry({one.id: one for one in KNOWN}, {HOME: Partition(3), CommunityId("away"): Partition(5)})
READER = PlainReader()


def message(device: str, payload: bytes, community: str = "home", tail: str = "") -> Inbound:
    return Inbound(f"sc/{community}/{device}/up/telemetry{tail}", payload, 1, 1, False, NOW)


def long_way(said: Inbound) -> Checked:
    into, topic = Checked(), parse_topic(said.topic)
    assert isinstance(topic, Topic)
    publisher = REGISTRY.devices.get(topic.device)
    for part in decode("native" if publisher is None else publisher.codec, topic, said.payload):
        check(into, 0, said.received_ms, topic, part, REGISTRY)
    return into


def short_way(said: Inbound) -> Checked | None:
    """None: it was left alone."""
    into = Checked()
    if READER.read(into, [said], 0, 1, REGISTRY):
        assert into == Checked()
        return None
    into.unfold()
    return into


def same(said: Inbound) -> bool:
    """Whether the short way took it; if so it must have come to the same, signs of zero and all."""
    short = short_way(said)
    if short is None:
        return False
    for reading in short.readings:
        reading.vals = list(reading.vals)
        assert all(value is None or type(value) is float for value in reading.vals)
    assert repr(short) == repr(long_way(said))
    return True


def in_range(kind: str) -> dict[str, Any]:
    spec = next(one for one in CATALOGUE if one.name == kind)
    return {m.name: next(iter(m.options), m.low if math.isfinite(m.low) else 0) for m in spec.metrics}


@pytest.mark.parametrize("kind", [kind for kind in KINDS if in_range(kind)])
def test_plain_takes_what_every_kind_usually_says(kind: str) -> None:
    device = kind.replace("_", "-")
    whole = {"ts": NOW, "values": in_range(kind)}
    assert same(message(device, json.dumps(whole).encode()))
    assert same(message(device, json.dumps({"id": "m-1", **whole}).encode()))
    meter = f"m-{KINDS.index(kind)}"
    if meter != "m-0":
        assert same(message("gw", json.dumps([{"device": meter, "id": "x", **whole}]).encode()))


@pytest.mark.parametrize(
    "said",
    [
        message("lamp-post", b'{"ts":1800000000000,"values":{"on":true},"more":1}'),
        message("lamp-post", b'{"ts":1800000000000,"values":{"on":true}}', community="away"),
        message("lamp-post", b'{"ts":1800000000000,"values":{"on":true}}', tail="/x"),
        message("foreign", b'{"ts":1800000000000,"values":{"on":true}}'),
        message("mapped", b'{"ts":1800000000000,"values":{"on":true}}'),
        message("nobody", b'{"ts":1800000000000,"values":{"on":true}}'),
        message("lamp-post", b'{"ts":1800000000000,"values":{"on":2}}'),
        message("lamp-post", b'{"ts":1800000000000,"values":{}}'),
        message("lamp-post", b'{"ts":1800000000000,"values":{"on":true},"id":""}'),
        message("lamp-post", b'{"ts":1800000000000,"values":{"on":true},"id":"' + b"x" * 129 + b'"}'),
        message("lamp-post", b'{"ts":1800000300001,"values":{"on":true}}'),
        message("lamp-post", b'{"ts":1799395199999,"values":{"on":true}}'),
        message("lamp-post", b'{"ts":1800000000000,"values":{"on":true}}' + b" " * MAX_PAYLOAD_BYTES),
        message("gw", b'[{"device":"m-mapped","ts":1800000000000,"values":{"on":true}}]'),
        message("gw", b'[{"device":"m-away","ts":1800000000000,"values":{"on":true}}]'),
        message("gw", b'[{"device":"m-other","ts":1800000000000,"values":{"on":true}}]'),
        message("gw", b'[{"device":"m-0","ts":1800000000000,"values":{"on":true}}]'),
        message("gw", b"[]"),
    ],
)
def test_plain_leaves_alone_what_is_not(said: Inbound) -> None:
    assert short_way(said) is None


def test_plain_forgets_what_a_topic_meant_when_the_registry_changes() -> None:
    said, reader = message("lamp-post", b'{"ts":1800000000000,"values":{"on":true}}'), PlainReader()
    assert reader.read(Checked(), [said], 0, 1, REGISTRY) == []
    assert reader.read(Checked(), [said], 0, 1, Registry({}, REGISTRY.communities)) == [0]


def test_plain_takes_no_kind_whose_limits_are_beyond_exact_numbers() -> None:
    spec = kind_spec(next(kind for kind in CATALOGUE if kind.name == "lamp_post"))
    assert reader_for(spec) is not None
    (name, metric), *_ = spec.metrics.items()
    wide = type(metric)(metric.position, metric.low, 2.0**60, metric.type, metric.options)
    assert reader_for(type(spec)(spec.name, spec.width, {**spec.metrics, name: wide}, spec.events)) is None


NUMBERS = st.one_of(
    st.integers(-5, 5),
    st.integers(),
    st.floats(allow_nan=False),
    st.sampled_from([0.0, -0.0, 1e308, 5e-324, 2**53, 2**53 + 1, 10**25]),
    st.booleans(),
    st.none(),
    st.text(max_size=3),
)
OPTIONS = st.sampled_from([option for kind in CATALOGUE for metric in kind.metrics for option in metric.options])
TIMES = st.one_of(st.integers(NOW - 604_800_002, NOW + 300_002), st.integers(), st.floats(0, 2e12), NUMBERS)
IDS = st.none() | st.text(max_size=5) | st.text("ab-\x7fé", max_size=130) | NUMBERS
SPELLED = [
    "-0", "1e400", "1E2", "0.1e-400", "1.0", "-0.0", "01", "+1", ".5", "NaN", "1" * 5000, "0." + "0" * 400 + "1",
    '"\\u0061"', '"\\ud800"', "[]", "{}", "true", "1e-5000", "9007199254740993", "4.35", "0.3000000000000000166",
]  # fmt: skip


def usual(metric: Any) -> st.SearchStrategy[Any]:
    if metric.options:
        return st.sampled_from([*metric.options, *range(len(metric.options))])
    low, high = max(metric.low, -1e6), min(metric.high, 1e6)
    if metric.type is MetricType.SWITCH:
        return st.sampled_from([True, False, 0, 1, 1.0])
    return st.floats(low, high) | st.integers(math.ceil(low), math.floor(high)) | st.sampled_from([low, high])


def rarely(draw: st.DrawFn, times: int = 8) -> bool:
    return draw(st.integers(1, times)) == 1


@st.composite
def bodies(draw: st.DrawFn, kind: str) -> dict[str, Any]:
    metrics = next(one for one in CATALOGUE if one.name == kind).metrics
    values = {metric.name: draw(usual(metric)) for metric in metrics if not rarely(draw, 4)}
    if rarely(draw):
        name = draw(st.sampled_from([*(metric.name for metric in metrics), "x", "é"]))
        values[name] = draw(NUMBERS | OPTIONS)
    body: dict[str, Any] = {"ts": draw(TIMES) if rarely(draw) else NOW, "values": values}
    if draw(st.booleans()):
        body["id"] = draw(IDS) if rarely(draw) else "m-17"
    if rarely(draw, 20):
        body[draw(st.sampled_from(["device", "more", "values"]))] = draw(NUMBERS)
    return body


@st.composite
def payloads(draw: st.DrawFn) -> Inbound:
    kind = draw(st.sampled_from(KINDS))
    document: dict[str, Any] | list[dict[str, Any]]
    if draw(st.booleans()):
        device, document = kind.replace("_", "-"), draw(bodies(kind))
    else:
        device, names = "gw", st.sampled_from([one.id for one in KNOWN] + ["nobody", "", "M"])
        document = [draw(bodies(kind)) | {"device": draw(names) if rarely(draw) else f"m-{KINDS.index(kind)}"}
                    for kind in draw(st.lists(st.sampled_from(KINDS), max_size=3))]  # fmt: skip
    text = json.dumps(document, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    change = draw(st.integers(0, 11))
    if change == 1:
        # Other spellings of numbers, and what is no number.
        text = text.replace(str(NOW).encode(), draw(st.sampled_from([str(NOW), *SPELLED])).encode(), 1)
    elif change == 2:
        for number in (b": 0", b": 1", b": true"):
            text = text.replace(number, b": " + draw(st.sampled_from(SPELLED)).encode(), 1)
    elif change == 3:
        at = draw(st.integers(0, len(text)))
        text = text[:at] + draw(st.binary(max_size=2)) + text[at + draw(st.integers(0, 2)) :]
    elif change == 4 and isinstance(document, dict):
        # The same key twice: the last stands.
        text = text[:-1] + b',"values":' + json.dumps(draw(bodies(kind))["values"]).encode() + b"}"
    return message(device, text)


@given(payloads())
@example(message("lamp-post", b'{"ts":1800000000000,"values":{"on":-0}}'))
@example(message("manhole", b'{"ts":1800000000000,"values":{"tilt":-0,"tilt":-0.0}}'))
@example(message("manhole", b'{"ts":-0,"values":{"tilt":1}}'))
@example(message("manhole", b'\xef\xbb\xbf{"ts":1800000000000,"values":{"tilt":1}}'))
@example(message("manhole", b'{"ts":1800000000000,"values":{"tilt":1}}\x00'))
@example(message("manhole", b'{"ts":1800000000000,"values":{"tilt":1,"\\u0074ilt":2},"id":"\xff"}'))
def test_plain_comes_to_what_the_long_way_comes_to(said: Inbound) -> None:
    same(said)


HOLES = st.none() | st.floats(allow_nan=False, allow_infinity=False)
ROWS = st.lists(
    st.tuples(st.integers(1, 2**31 - 1), st.integers(0, 2**53), st.integers(0, 2**53), st.lists(HOLES, max_size=6)),
    max_size=20,
)


@given(ROWS)
def test_log_readings_come_back_as_they_went(rows: list[Any]) -> None:
    packed = pack(*([row[column] for row in rows] for column in range(4)))
    back = unpack(len(rows), packed)
    assert back.device_nos == [row[0] for row in rows] and back.ts_ms == [row[1] for row in rows]
    assert back.received_ms == [row[2] for row in rows] and back.widths == [len(row[3]) for row in rows]
    assert repr(back.vals) == repr([value for row in rows for value in row[3]])
    assert device_numbers(packed[: 4 * len(rows)]) == set(back.device_nos)
    assert device_numbers(packed[: max(0, 4 * len(rows) - 1)]) == set(back.device_nos[:-1]), "cut short on the disk"


WHOLE = pack([1, 2], [3, 4], [5, 6], [[1.0], [2.0, None]])


@pytest.mark.parametrize(
    ("count", "packed"),
    [(2, WHOLE[:-1]), (2, WHOLE + b"\0"), (3, WHOLE), (1, WHOLE), (0, WHOLE), (2, b""), (-1, b"")],
)
def test_log_readings_that_are_torn_are_not_guessed(count: int, packed: bytes) -> None:
    with pytest.raises(ValueError, match=r"readings|values"):
        unpack(count, packed)
