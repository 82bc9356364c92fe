"""The contract of services.adapters.mqtt.Subscriber, for each client behind it, on a real broker and on a hostile one.

What only a broker of the test's own can show (frozen, killed, started again) is in test_mqtt_broker_away.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from uuid import uuid4

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from structlog.testing import capture_logs

from services.adapters.mqtt import Address, Inbound, SessionTakenOver, Subscriber, SubscriberOptions
from services.adapters.mqtt_merged import MergedSubscriber
from services.adapters.mqtt_outgoing import MOST_WAITING
from tests.conftest import Mqtt
from tests.ingest_kit import Wire, now_ms
from tests.mqtt_kit import IMPLEMENTATIONS, Factory, eventually, message, scripted, subscribing
from tests.proxy import proxy


@pytest.fixture(params=list(IMPLEMENTATIONS))
def make(request: pytest.FixtureRequest) -> Factory:
    return IMPLEMENTATIONS[request.param]


@pytest.fixture
def home() -> str:
    """The beginning of this test's own topics: the broker is shared."""
    return f"sc/c{uuid4().hex[:10]}"


@pytest.fixture
def wire(mqtt: Mqtt) -> Iterator[Wire]:
    client = Wire(mqtt.url)
    yield client
    client.close()


def numbers(messages: list[Inbound]) -> list[int]:
    return [int(message.payload) for message in messages]


async def say(wire: Wire, topic: str, count: int, first: int = 0) -> None:
    for n in range(first, first + count):
        wire.send(topic, b"%d" % n)
    await wire.sent()


# Receiving


async def test_receive_gives_topic_payload_and_time_in_order(make: Factory, mqtt: Mqtt, wire: Wire, home: str) -> None:
    payloads = [b"", b"{}", bytes(range(256)), "邻枢".encode(), b"x" * 300, b"y" * 70_000, b"z" * 900_000]
    async with subscribing(make, mqtt.url, f"{home}/#") as one:
        await one.ready()
        began = now_ms()
        for n, payload in enumerate(payloads):
            wire.send(f"{home}/设备-{n}/up/telemetry", payload)
        got = await one.collect(len(payloads))
        assert [m.topic for m in got] == [f"{home}/设备-{n}/up/telemetry" for n in range(len(payloads))]
        assert [m.payload for m in got] == payloads
        assert all(type(m) is Inbound and type(m.payload) is bytes for m in got)
        assert all(m.token and not m.retained and began - 1 <= m.received_ms <= now_ms() for m in got)
        assert {m.generation for m in got} == {one.subscriber.generation}
        assert one.subscriber.ack(got) == 0


async def test_receive_takes_at_most_the_limit_and_lingers_for_it(
    make: Factory, mqtt: Mqtt, wire: Wire, home: str
) -> None:
    async with subscribing(make, mqtt.url, f"{home}/#") as one:
        await one.ready()
        await say(wire, f"{home}/d", 5)
        await one.has(5)
        assert numbers(await one.subscriber.receive(3)) == [0, 1, 2]
        assert numbers(await one.subscriber.receive(3)) == [3, 4]
        lingering = asyncio.create_task(one.subscriber.receive(4, linger_s=60))
        await say(wire, f"{home}/d", 4, first=5)
        assert numbers(await asyncio.wait_for(lingering, 60)) == [5, 6, 7, 8]
        await say(wire, f"{home}/d", 1, first=9)
        assert numbers(await asyncio.wait_for(one.subscriber.receive(4, linger_s=0.05), 60)) == [9]
        assert one.subscriber.take(10) == []


async def test_receive_marks_what_was_retained_and_brings_it_once(
    make: Factory, mqtt: Mqtt, wire: Wire, home: str
) -> None:
    wire.send(f"{home}/d/up/status", b"0", retain=True)
    await wire.sent()
    async with proxy(mqtt.host, mqtt.port) as between:
        url = mqtt.url.replace(str(mqtt.port), str(between.port))
        async with subscribing(make, url, f"{home}/#") as one:
            (kept,) = await one.collect(1)
            assert kept.retained and kept.payload == b"0"
            one.subscriber.ack([kept])
            wire.send(f"{home}/d/up/status", b"1", retain=True)
            (live,) = await one.collect(1)
            assert not live.retained and live.payload == b"1"
            one.subscriber.ack([live])
            # The broker takes things in turn: once this is back, it has our acknowledgements.
            one.subscriber.publish(f"{home}/flush", b"2")
            await one.has(1)
            before = one.subscriber.generation
            await between.cut()
            await between.mend()
            await eventually(lambda: one.subscriber.generation != before)
            await one.ready()
            wire.send(f"{home}/d/up/status", b"3")
            assert numbers(await one.collect(2)) == [2, 3]


async def test_receive_takes_messages_with_properties_and_of_qos_0(
    make: Factory, mqtt: Mqtt, wire: Wire, home: str
) -> None:
    properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]
    properties.UserProperty = [("unit", "°C"), ("unit", "K")]
    properties.MessageExpiryInterval = 3600
    properties.ContentType = "application/json"
    properties.CorrelationData = b"\x00\x01"
    properties.ResponseTopic = f"{home}/answers"
    async with subscribing(make, mqtt.url, f"{home}/#") as one:
        await one.ready()
        wire._client.publish(f"{home}/d", b"with", qos=1, properties=properties)
        wire._client.publish(f"{home}/d", b"unsure", qos=0)
        wire._client.publish(f"{home}/d", b"both", qos=0, properties=properties)
        got = await one.collect(3)
        assert {m.payload: bool(m.token) for m in got} == {b"with": True, b"unsure": False, b"both": False}
        assert one.subscriber.ack(got) == 0


# Acknowledging


async def test_window_is_all_the_broker_sends_before_an_ack(make: Factory, mqtt: Mqtt, wire: Wire, home: str) -> None:
    async with (
        subscribing(make, mqtt.url, f"{home}/#", window=10) as narrow,
        subscribing(make, mqtt.url, f"{home}/#") as witness,
    ):
        await narrow.ready()
        await witness.ready()
        await say(wire, f"{home}/d", 35)
        await witness.has(35)
        got = await narrow.collect(10)
        assert narrow.subscriber.waiting == 0
        narrow.subscriber.ack(got[:4])
        got += await narrow.collect(4)
        assert narrow.subscriber.waiting == 0
        narrow.subscriber.ack(got[4:])
        while len(got) < 35:
            more = await narrow.collect(1)
            narrow.subscriber.ack(more)
            got += more
        assert numbers(got) == list(range(35))


@pytest.mark.parametrize("window", [0, 65_536, 100_000])
def test_window_that_mqtt_cannot_express_is_refused(window: int) -> None:
    with pytest.raises(ValueError, match="window"):
        SubscriberOptions(Address.parse("mqtt://127.0.0.1:1"), "t", window)
    with pytest.raises(ValueError, match="keepalive"):
        SubscriberOptions(Address.parse("mqtt://127.0.0.1:1"), "t", 1, keepalive_s=window)


async def test_window_of_65535_is_filled_and_acknowledged_in_one_call(
    make: Factory, mqtt: Mqtt, wire: Wire, home: str
) -> None:
    client_id = f"t-{uuid4().hex[:10]}"
    async with subscribing(make, mqtt.url, f"{home}/#", client_id=client_id, window=65_535) as one:
        await one.ready()
        await say(wire, f"{home}/d", 3_000)
        got = await one.collect(3_000)
        assert one.subscriber.ack(iter(got)) == 0
        one.subscriber.publish(f"{home}/flush", b"3000")
        assert numbers(await one.collect(1)) == [3_000]
    async with subscribing(make, mqtt.url, f"{home}/#", client_id=client_id) as one:
        assert numbers(await one.collect(1)) == [3_000]


async def test_unacknowledged_comes_again_to_the_next_process_and_acknowledged_does_not(
    make: Factory, mqtt: Mqtt, wire: Wire, home: str
) -> None:
    client_id = f"t-{uuid4().hex[:10]}"
    async with subscribing(make, mqtt.url, f"{home}/#", client_id=client_id) as first:
        await first.ready()
        await say(wire, f"{home}/d", 6)
        got = await first.collect(4)
        assert first.subscriber.ack([got[0], got[2]]) == 0
        # The broker answers in turn, so it has our acknowledgements once it has brought this.
        await say(wire, f"{home}/d", 1, first=6)
        await first.has(3)
        first.subscriber.publish(f"{home}/flush", b"7")
        await first.has(4)
    async with subscribing(make, mqtt.url, f"{home}/#", client_id=client_id) as second:
        again = await second.collect(6)
        assert numbers(again) == [1, 3, 4, 5, 6, 7]
        assert second.subscriber.ack(again) == 0 and second.subscriber.waiting == 0


async def test_ack_of_an_older_connection_does_nothing_and_is_counted(
    make: Factory, mqtt: Mqtt, wire: Wire, home: str
) -> None:
    client_id = f"t-{uuid4().hex[:10]}"
    async with proxy(mqtt.host, mqtt.port) as between:
        url = mqtt.url.replace(str(mqtt.port), str(between.port))
        async with subscribing(make, url, f"{home}/#", client_id=client_id) as one:
            await one.ready()
            await say(wire, f"{home}/d", 5)
            await one.has(5)
            old = await one.collect(2)
            await between.cut()
            await one.says()
            assert one.subscriber.ack(old[:1]) == 1
            await between.mend()
            await one.ready()
            await one.has(5)
            assert one.subscriber.ack(old) == 2
            new = await one.collect(5)
            assert numbers(new) == [0, 1, 2, 3, 4] and one.subscriber.waiting == 0
            assert new[0].generation > old[0].generation
            # Mixed with fresh ones the old are still told apart, though their packet ids are the same.
            assert {m.token for m in old} <= {m.token for m in new}
            assert one.subscriber.ack([*old, *new[3:]]) == 2
            one.subscriber.publish(f"{home}/flush", b"5")
            await one.has(1)
    async with subscribing(make, mqtt.url, f"{home}/#", client_id=client_id) as next_one:
        assert numbers(await next_one.collect(4)) == [0, 1, 2, 5]


async def test_ack_a_second_time_does_nothing_and_is_counted(make: Factory) -> None:
    async with scripted() as broker, subscribing(make, broker.url, "sc/#") as one:
        peer = await broker.next()
        await peer.greet()
        await peer.grant()
        peer.send(message(7) + message(8) + message(9))
        got = await one.collect(3)
        assert one.subscriber.ack([got[1], got[0]]) == 0
        assert [await peer.expect(0x40), await peer.expect(0x40)] == [b"\0\x08", b"\0\x07"]
        assert one.subscriber.ack([got[1]]) == 1
        assert one.subscriber.ack([got[0], got[2], got[2]]) == 2
        assert await peer.expect(0x40) == b"\0\x09"
        peer.send(message(8))
        (anew,) = await one.collect(1)
        assert one.subscriber.ack([anew]) == 0
        assert await peer.expect(0x40) == b"\0\x08"


async def test_messages_of_a_session_that_the_broker_lost_are_kept(make: Factory) -> None:
    async with scripted() as broker, subscribing(make, broker.url, "sc/#") as one:
        peer = await broker.next()
        await peer.greet()
        await peer.grant()
        peer.send(message(1, payload=b"1") + message(2, payload=b"2"))
        await one.has(2)
        peer.hang_up()
        peer = await broker.next()
        await peer.greet(session_present=False)
        await peer.grant()
        await one.ready()
        peer.send(message(1, payload=b"3"))
        got = await one.collect(3)
        assert numbers(got) == [1, 2, 3]
        assert one.subscriber.ack(got) == 2
        peer.send(message(2, payload=b"4"))
        await one.has(1)
        peer.hang_up()
        peer = await broker.next()
        await peer.greet(session_present=True)
        await peer.grant()
        await one.ready()
        assert one.subscriber.waiting == 0, "the broker delivers it again"


# Back-pressure


async def test_held_bytes_pause_reading_longer_than_a_keepalive_and_lose_nothing(
    make: Factory, mqtt: Mqtt, wire: Wire, home: str
) -> None:
    limit, size, count = 1024 * 1024, 50_000, 80
    async with subscribing(make, mqtt.url, f"{home}/#", window=1000, held_bytes=limit, keepalive_s=2) as one:
        await one.ready()
        generation = one.subscriber.generation
        with capture_logs() as logs:
            for n in range(count):
                wire.send(f"{home}/d", b"%d" % n + b" " * size)
            await eventually(lambda: any(line["event"] == "broker_reading_paused" for line in logs))
        paused_at, held = asyncio.get_running_loop().time(), one.subscriber.waiting
        assert limit < held * size < limit + 512 * 1024
        await wire.sent()
        # More than twice the keepalive without reading: neither side gives the other up.
        await eventually(lambda: asyncio.get_running_loop().time() - paused_at > 4.5)
        assert one.subscriber.waiting == held, "nothing is read"
        got: list[Inbound] = []
        while len(got) < count:
            more = await asyncio.wait_for(one.subscriber.receive(5), 60)
            assert one.subscriber.ack(more) == 0
            got += more
        assert numbers(got) == list(range(count))
        assert one.subscriber.generation == generation and one.said == [(True, "")]


# Publishing


async def test_publish_reaches_others_and_close_sends_what_is_left(
    make: Factory, mqtt: Mqtt, wire: Wire, home: str
) -> None:
    async with subscribing(make, mqtt.url) as one, subscribing(make, mqtt.url, f"{home}/#") as other:
        await one.ready()
        await other.ready()
        for n in range(500):
            one.subscriber.publish(f"{home}/设备/down/ack", b"%d" % n)
        await one.subscriber.close()
        assert numbers(await other.collect(500)) == list(range(500))
        assert one.task is not None
        await asyncio.wait_for(one.task, 60)
        assert not one.subscriber.ready


async def test_publish_is_sent_again_after_a_reconnect_until_acknowledged(make: Factory) -> None:
    async with scripted() as broker, subscribing(make, broker.url) as one:
        one.subscriber.publish("sc/c/d/down/ack", b"early")
        peer = await broker.next()
        await peer.greet()
        first = await peer.expect(0x32)
        assert first.endswith(b"\0early")
        one.subscriber.publish("sc/c/d/down/ack", b"second")
        second = await peer.expect(0x32)
        peer.send(b"\x40\x02" + first[17:19])
        one.subscriber.publish("sc/c/d/down/ack", b"third")
        await peer.expect(0x32)
        peer.hang_up()
        peer = await broker.next()
        await peer.greet(session_present=True)
        assert await peer.expect(0x3A) == second, "the same packet, marked as sent before"
        assert (await peer.expect(0x3A)).endswith(b"third")


async def test_publish_drops_the_newest_when_too_many_wait_and_says_so(make: Factory, mqtt: Mqtt, home: str) -> None:
    async with (
        subscribing(make, mqtt.url, f"{home}/#", window=MOST_WAITING + 1) as witness,
        subscribing(make, mqtt.url, started=False) as one,
    ):
        await witness.ready()
        with capture_logs() as logs:
            for n in range(MOST_WAITING + 5):
                one.subscriber.publish(f"{home}/d", b"%d" % n)
        assert [line["event"] for line in logs] == ["broker_publish_dropped"]
        one.start()
        assert numbers(await witness.collect(MOST_WAITING)) == list(range(MOST_WAITING))
        one.subscriber.publish(f"{home}/d", b"-1")
        assert numbers(await witness.collect(1)) == [-1]


# Filters


async def test_filters_are_exactly_the_wanted_ones(make: Factory, mqtt: Mqtt, wire: Wire, home: str) -> None:
    client_id = f"t-{uuid4().hex[:10]}"
    async with subscribing(make, mqtt.url, f"{home}/a", f"{home}/b", client_id=client_id) as one:
        await one.ready()
        one.subscriber.set_filters([f"{home}/b", f"{home}/c"])
        assert not one.subscriber.ready
        await one.ready()
        for n, name in enumerate("abc"):
            wire.send(f"{home}/{name}", b"%d" % n)
        got = await one.collect(2)
        assert numbers(got) == [1, 2]
        one.subscriber.ack(got)
        one.subscriber.set_filters([f"{home}/c"], unwanted=[f"{home}/b", f"{home}/never"])
        assert one.subscriber.ready
        await one.subscriber.close()
    # A later life knows what the session may still hold, and gives it back.
    async with subscribing(make, mqtt.url, f"{home}/a", client_id=client_id, started=False) as later:
        later.subscriber.set_filters([f"{home}/a"], unwanted=[f"{home}/b", f"{home}/c"])
        later.start()
        await later.ready()
        later.subscriber.publish(f"{home}/c", b"9")
        later.subscriber.publish(f"{home}/a", b"0")
        assert numbers(await later.collect(1)) == [0]
        assert later.subscriber.waiting == 0


async def test_filters_by_the_thousand_are_all_granted(make: Factory, mqtt: Mqtt, wire: Wire, home: str) -> None:
    filters = [f"{home}-{n}/+/up/telemetry/#" for n in range(1000)]
    async with subscribing(make, mqtt.url, *filters) as one:
        await one.ready()
        for n in range(0, 1000, 37):
            wire.send(f"{home}-{n}/d/up/telemetry", b"%d" % n)
        assert numbers(await one.collect(28)) == list(range(0, 1000, 37))


async def test_filter_refused_is_said_and_asked_for_again_while_the_others_work(make: Factory) -> None:
    # So long between two attempts that no slow machine asks again before the message is acknowledged.
    async with scripted() as broker, subscribing(make, broker.url, "sc/a/#", "sc/b/#", retry_max_s=5) as one:
        peer = await broker.next()
        await peer.greet()
        asked = await peer.grant(1, 0x87)
        assert b"sc/a/#" in asked and b"sc/b/#" in asked
        await one.says("refused a subscription", "sc/b/#", "not authorized")
        assert not one.subscriber.ready
        peer.send(message(1, "sc/a/d/up/event", b"1"))
        got = await one.collect(1)
        assert numbers(got) == [1] and one.subscriber.ack(got) == 0
        await peer.expect(0x40)
        again = await peer.grant()
        assert b"sc/b/#" in again and b"sc/a/#" not in again
        await one.ready()
        assert one.said[-1] == (True, "") and one.subscriber.generation == got[0].generation


# The connection


async def test_connect_asks_for_a_lasting_session_with_our_window_and_no_aliases(make: Factory) -> None:
    async with scripted() as broker, subscribing(make, broker.url, "sc/#", window=4321, keepalive_s=9) as one:
        peer = await broker.next()
        body = await peer.greet()
        assert body[:7] == b"\0\x04MQTT\x05" and body[7] & 0x02 == 0, "no clean start"
        assert int.from_bytes(body[8:10], "big") == 9
        length = body[10]
        properties = body[11 : 11 + length]
        assert b"\x11\xff\xff\xff\xff" in properties and b"\x21" + (4321).to_bytes(2, "big") in properties
        assert length == 8, "neither topic aliases nor a packet size past which the broker drops silently"
        subscribed = await peer.grant()
        assert subscribed[-1] == 0x11, "QoS 1; retained only for a new subscription"
        await one.ready()


async def test_close_says_goodbye_and_keeps_the_session(make: Factory, mqtt: Mqtt, wire: Wire, home: str) -> None:
    client_id = f"t-{uuid4().hex[:10]}"
    async with subscribing(make, mqtt.url, f"{home}/#", client_id=client_id) as one:
        await one.ready()
        await one.subscriber.close()
        assert one.task is not None
        await asyncio.wait_for(one.task, 60)
        assert one.said == [(True, "")]
    await say(wire, f"{home}/d", 3)
    async with subscribing(make, mqtt.url, f"{home}/#", client_id=client_id) as two:
        assert numbers(await two.collect(3)) == [0, 1, 2]
    async with scripted() as broker, subscribing(make, broker.url) as three:
        peer = await broker.next()
        await peer.greet()
        await three.ready()
        await three.subscriber.close()
        assert (await peer.closed()).removesuffix(b"\0") in (b"\xe0", b"\xe0\x02\0")


async def test_session_taken_over_ends_the_run(make: Factory, mqtt: Mqtt, home: str) -> None:
    client_id = f"t-{uuid4().hex[:10]}"
    async with subscribing(make, mqtt.url, f"{home}/#", client_id=client_id) as one:
        await one.ready()
        assert one.task is not None
        async with subscribing(make, mqtt.url, f"{home}/#", client_id=client_id) as two:
            await two.ready()
            with pytest.raises(SessionTakenOver, match=client_id):
                await asyncio.wait_for(asyncio.shield(one.task), 60)
            one.task = None
            assert not one.subscriber.ready


async def test_wrong_password_is_said_once_and_tried_again(make: Factory, mqtt: Mqtt) -> None:
    url = mqtt.url.replace(mqtt.password, "wrong")
    async with subscribing(make, url, "sc/#") as one:
        await one.says("refused", "not authorized")
        assert not one.subscriber.ready
    async with scripted() as broker, subscribing(make, broker.url) as two:
        for _ in range(3):
            await (await broker.next()).greet(reason=0x86)
        await (await broker.next()).greet()
        await two.ready()
        assert [connected for connected, _ in two.said] == [False, True]
        assert "bad user name or password" in two.said[0][1].lower()


async def test_broker_that_is_away_or_mute_is_said_and_tried_again(make: Factory) -> None:
    async with scripted() as broker:
        url = broker.url
    async with subscribing(make, url, connect_timeout_s=0.3) as one:
        await one.says("does not answer")
    async with scripted() as broker, subscribing(make, broker.url, connect_timeout_s=3) as two:
        await broker.next()
        await two.says("did not answer")
        peer = await broker.next()
        await peer.greet()
        await two.ready()
        peer.send(b"\xe0\x01\x8b")
        await two.says("shutting down")


async def test_generation_is_never_used_twice_in_a_process(make: Factory, mqtt: Mqtt) -> None:
    seen: set[int] = set()
    async with (
        proxy(mqtt.host, mqtt.port) as between,
        subscribing(make, mqtt.url.replace(str(mqtt.port), str(between.port))) as one,
        subscribing(IMPLEMENTATIONS["direct"], mqtt.url) as two,
        subscribing(IMPLEMENTATIONS["paho"], mqtt.url) as three,
    ):
        for running in (one, two, three):
            await running.ready()
            seen.add(running.subscriber.generation)
        assert len(seen) == 3
        await between.cut()
        await between.mend()
        await eventually(lambda: one.subscriber.generation not in seen)
        assert one.subscriber.generation > max(seen)


HOSTILE = {
    "a length of five bytes": b"\x30\xff\xff\xff\xff\x01",
    "a packet of no kind": b"\x00\x00",
    "what only clients send": b"\x82\x05\x00\x01\x00\x00\x00",
    "flags that are reserved": b"\x41\x02\x00\x01",
    "a message that ends early": b"\x32\x06\x00\xffabcd",
    "a message without a topic": b"\x32\x06\x00\x00\x00\x01\x00x",
    "a message with packet id 0": b"\x32\x07\x00\x01a\x00\x00\x00x",
    "a message of QoS 3": b"\x36\x07\x00\x01a\x00\x01\x00x",
    "a message of QoS 2": b"\x34\x07\x00\x01a\x00\x01\x00x",
    "a topic alias": b"\x32\x0a\x00\x01a\x00\x01\x03\x23\x00\x01x",
    "only a topic alias": b"\x32\x09\x00\x00\x00\x01\x03\x23\x00\x01x",
    "properties that never end": b"\x32\x08\x00\x01a\x00\x01\x7f\x26x",
    "a property of no kind": b"\x32\x09\x00\x01a\x00\x01\x02\x7a\x01x",
    "an answer that nobody asked for": b"\x90\x04\xff\x00\x00\x01",
    "the same packet id twice": message(5) + message(5),
    "a second greeting": b"\x20\x03\x00\x00\x00",
    "random bytes": bytes(range(255, 0, -3)),
}


@pytest.mark.parametrize("what", list(HOSTILE))
async def test_broker_that_breaks_the_protocol_is_left_and_tried_again(make: Factory, what: str) -> None:
    async with scripted() as broker, subscribing(make, broker.url, "sc/#") as one:
        peer = await broker.next()
        await peer.greet()
        await peer.grant()
        await one.ready()
        peer.send(HOSTILE[what])
        peer.send(message(11, payload=b"after"))
        await peer.closed()
        await one.says()
        one.subscriber.take(10)
        peer = await broker.next()
        await peer.greet()
        await peer.grant()
        await one.ready()
        peer.send(message(1, payload=b"fine"))
        assert [m.payload for m in await one.collect(1)] == [b"fine"]


async def test_broker_that_sends_more_than_the_window_or_before_its_greeting_is_left(make: Factory) -> None:
    async with scripted() as broker, subscribing(make, broker.url, "sc/#", window=3) as one:
        peer = await broker.next()
        await peer.expect(0x10)
        peer.send(message(1))
        await peer.closed()
        peer = await broker.next()
        await peer.greet()
        await peer.grant()
        peer.send(b"".join(message(n) for n in range(1, 5)))
        await peer.closed()
        await one.says("more messages than we allowed")


async def test_topic_that_is_not_utf8_is_delivered_to_be_refused(make: Factory) -> None:
    async with scripted() as broker, subscribing(make, broker.url, "sc/#") as one:
        peer = await broker.next()
        await peer.greet()
        await peer.grant()
        peer.send(b"\x32\x0a\x00\x05sc/\xff\xfe\x00\x01\x00")
        (odd,) = await one.collect(1)
        assert odd.topic == "sc/\ufffd\ufffd" and one.subscriber.ack([odd]) == 0
        assert await peer.expect(0x40) == b"\0\x01"


# Several behind one


async def test_merged_sessions_move_between_owners_and_strand_nothing(
    make: Factory, mqtt: Mqtt, wire: Wire, home: str
) -> None:
    ids = [f"t-{uuid4().hex[:8]}-{n}" for n in range(3)]

    def session(n: int) -> Subscriber:
        made = make(SubscriberOptions(Address.parse(mqtt.url), ids[n], 1000), lambda connected, why: None)
        made.set_filters([f"{home}/{n}"])
        return made

    async def receive(port: MergedSubscriber, count: int) -> list[Inbound]:
        got: list[Inbound] = []
        async with asyncio.timeout(90):
            while len(got) < count:
                got += await port.receive(count - len(got))
        return got

    one, two = MergedSubscriber(), MergedSubscriber()
    running = [asyncio.create_task(port.run()) for port in (one, two)]
    try:
        for n in range(3):
            one.add(str(n), session(n))
        await eventually(lambda: one.ready)
        for n in range(30):
            wire.send(f"{home}/{n % 3}", b"%d" % n)
        kept = await receive(one, 24)
        early = [m for m in kept if int(m.payload) < 12]
        assert one.ack(early) == 0
        await eventually(lambda: one.waiting == 6)
        await one.remove("1")
        two.add("1", session(1))
        await eventually(lambda: two.ready)
        late = [m for m in kept if int(m.payload) >= 12]
        moved = [m for m in late if m.topic.endswith("/1")]
        assert one.ack(late) == len(moved) > 0
        rest = await receive(one, one.waiting)
        assert one.ack(rest) == 0
        stranded = set(range(1, 30, 3)) - set(numbers(early))
        again = await receive(two, len(stranded))
        assert set(numbers(again)) == stranded
        assert two.ack(again) == 0
        one_has = {int(m.payload) for m in (*kept, *rest)}
        assert one_has | set(numbers(again)) == set(range(30))
        two.publish(f"{home}/0", b"99")
        assert numbers(await receive(one, 1)) == [99]
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
