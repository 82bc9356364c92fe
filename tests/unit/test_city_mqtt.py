"""City events as MQTT messages, what a reason code comes to, and how the small platform reads them."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta

import pytest

from services.adapters.broker_identity import CITY_PREFIX, PasswordFile, new_login
from services.cli.city_sim_book import Book
from services.cli.city_sim_mqtt import Broker
from services.cli.city_sim_proof import Refused, heard
from services.domain.city import BY_TYPE, Format, OutboxRow, make, test_event
from services.domain.city.delivery import Again, Attempt, GivenUp, Head, Taken, judge
from services.domain.city.mqtt import PREVIOUS, published, topic_of
from services.domain.ids import ID_PATTERN
from tests.city_kit import order_data

AT = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
KEPT = timedelta(days=30)
EVENT = make(OutboxRow(4711, AT, "order.close", "yl", "5f", order_data()), [])


def test_topic_names_subscriber_community_family_and_what() -> None:
    assert topic_of("s1", EVENT) == "city/s1/yl/order/close"
    assert topic_of("s1", test_event("test-1", "s1", "", AT)).startswith("city/s1/-/")


@pytest.mark.parametrize("type", sorted(BY_TYPE))
def test_every_type_has_a_topic_without_wildcards(type: str) -> None:
    levels = ["city", "s1", "yl", *type.split(".", 1)]
    assert len(levels) == 5 and not any(one in "#+" or "/" in one or not one for one in levels)


def test_structured_and_binary_say_the_same() -> None:
    structured = published("s1", EVENT, Format.STRUCTURED, 4700, AT, KEPT)
    binary = published("s1", EVENT, Format.BINARY, 4700, AT, KEPT)
    assert structured.content_type.startswith("application/cloudevents+json")
    assert dict(structured.user) == {PREVIOUS: "4700".zfill(20)}
    attributes = dict(binary.user)
    assert attributes.pop(PREVIOUS) == "4700".zfill(20) and binary.content_type == "application/json"
    whole = json.loads(structured.payload)
    assert whole == attributes | {"datacontenttype": "application/json", "data": json.loads(binary.payload)}
    for message in (structured, binary):
        event = heard(message.content_type, dict(message.user), message.payload)
        assert (event.id, event.sequence, event.type, event.whole) == ("4711", 4711, "cn.linhub.order.close.v1", False)


def test_binary_attributes_are_as_they_are() -> None:
    """3.1.3: user properties are UTF-8; nothing is percent-encoded as in HTTP."""
    event = make(OutboxRow(1, AT, "order.close", "yl", "井盖 %", order_data()), [])
    assert dict(published("s1", event, Format.BINARY, None, AT, KEPT).user)["subject"] == "order/井盖 %"


@pytest.mark.parametrize(
    ("late", "left"),
    [
        (timedelta(), 30 * 86_400),
        (timedelta(days=29), 86_400),
        (timedelta(days=31), 1),
        (timedelta(days=-60_000), None),
    ],
)
def test_message_lives_as_long_as_its_row(late: timedelta, left: int | None) -> None:
    assert published("s", EVENT, Format.STRUCTURED, None, AT + late, KEPT).expires_s == (left or 0xFFFF_FFFE)


def test_first_event_and_tests_name_none_before_them() -> None:
    assert published("s", EVENT, Format.STRUCTURED, None, AT, KEPT).user == ()
    assert published("s", test_event("test-1", "s", "yl", AT), Format.STRUCTURED, 5, AT, KEPT).user == ()


@pytest.mark.parametrize(
    ("status", "outcome"), [(0, Taken), (0x10, Again), (0x80, Again), (0x87, Again), (0x97, Again), (None, Again)]
)
def test_only_reason_code_zero_is_taken(status: int | None, outcome: type[object]) -> None:
    assert isinstance(judge(Attempt(status, "x"), Head(0, 0, AT, None), AT, 0.5), outcome)


def test_what_the_broker_never_takes_is_given_up() -> None:
    head = Head(20, 7, AT, AT)
    assert isinstance(judge(Attempt(0x95), head, AT + timedelta(hours=2), 0.5), GivenUp)


def test_no_device_can_have_the_name_of_a_platforms_login() -> None:
    name = new_login()
    assert name.startswith(CITY_PREFIX) and re.fullmatch(r"city\.[a-z2-7]{16}", name)
    assert not re.match(ID_PATTERN, name) and new_login() != name


def test_who_is_shut_out_is_a_device_or_a_platform() -> None:
    before = b"svc-api:1\ncity.a:1\ncity.b:1\ndevice-1:1\ndevice-2:1\n"
    after = PasswordFile(b"svc-api:2\n", b"city.b:1\n", b"device-2:1\n")
    assert after.shut_out(before) == ["device-1"] and after.platforms_out(before) == ["city.a"]
    assert after.content == b"svc-api:2\ncity.b:1\ndevice-2:1\n" and after.accounts == 3


def test_gap_shows_until_what_is_missing_comes() -> None:
    book = Book(":memory:")
    first, second, third = (
        heard("application/cloudevents+json", {}, json.dumps(one.document()).encode())
        for one in (make(OutboxRow(seq, AT, "order.close", "yl", "5f", order_data()), []) for seq in (5, 8, 9))
    )
    book.follows(2)  # before the first that came: another's
    book.keep(first, AT)
    assert book.gaps() == 0
    book.follows(8)
    book.keep(third, AT)
    assert book.gaps() == book.figures().gaps == 1
    book.keep(second, AT)
    assert book.gaps() == 0
    book.close()


@pytest.mark.parametrize("url", ["http://x@h", "mqtt://h:1", "mqtt://x:secret@h", "mqtt://", "x"])
def test_address_of_a_broker_that_makes_no_sense_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="LOGIN"):
        Broker.of(url, "s", "city/x/#")


def test_address_of_a_broker_says_host_port_login_and_tls() -> None:
    assert Broker.of("mqtts://city.a@mqtt.example.cn", "s", "city/x/#").port == 8883
    plain = Broker.of("mqtt://city.a@127.0.0.1:11883", "s", "city/x/#")
    assert (plain.host, plain.port, plain.login, plain.tls) == ("127.0.0.1", 11883, "city.a", False)


def test_message_that_is_no_event_is_refused() -> None:
    with pytest.raises(Refused):
        heard("application/json", {}, b"{}")
