"""What an MQTT session remembers: unacknowledged messages, filters, messages on their way out."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from services.adapters import mqtt_packets as packets
from services.adapters.mqtt import Inbound
from services.adapters.mqtt_filters import FilterBook, portions
from services.adapters.mqtt_inbox import Inbox
from services.adapters.mqtt_outgoing import MOST_WAITING, Outgoing


def inbound(token: int, generation: int = 1, size: int = 10) -> Inbound:
    return Inbound("t", b"x" * size, generation, token, False, 0)


def opened(generation: int = 1) -> Inbox:
    box = Inbox()
    box.begin(generation, session_present=False)
    return box


def test_inbox_settles_only_what_this_connection_brought_and_once() -> None:
    box = opened()
    box.put([inbound(1), inbound(2), inbound(0), inbound(3)])
    assert (box.held, box.unacknowledged, len(box)) == (40, 3, 4)
    one, two, unsure, three = box.take(10)
    assert box.settle([two, one]) == ([2, 1], 0)
    assert box.settle([two]) == ([], 1)
    assert box.settle([unsure, inbound(3, generation=0)]) == ([], 1)
    assert box.settle(iter([three, three])) == ([3], 1)
    assert (box.held, box.unacknowledged) == (0, 0)


def test_inbox_refuses_a_packet_id_in_use() -> None:
    box = opened()
    box.put([inbound(1)])
    with pytest.raises(ValueError, match="packet id"):
        box.put([inbound(2), inbound(1)])


def test_inbox_forgets_what_comes_again_and_keeps_what_does_not() -> None:
    box = opened()
    box.put([inbound(1), inbound(2)])
    kept = box.take(1)
    box.end()
    assert box.settle(kept) == ([], 1)
    box.begin(2, session_present=False)
    assert (len(box), box.held, box.unacknowledged) == (1, 0, 0)
    assert box.settle([*kept, *box.take(5)]) == ([], 2)
    box.put([inbound(1, generation=2)])
    box.begin(3, session_present=True)
    assert len(box) == 0


async def test_inbox_receive_survives_that_what_it_waited_with_is_dropped() -> None:
    box = opened()
    lingering = asyncio.create_task(box.receive(5, 30))
    box.put([inbound(1)])
    await asyncio.sleep(0)
    box.begin(2, session_present=True)
    box.put([inbound(n, generation=2) for n in range(1, 6)])
    assert [m.generation for m in await asyncio.wait_for(lingering, 60)] == [2] * 5


async def test_inbox_receive_that_is_cancelled_takes_nothing() -> None:
    box = opened()
    waiting = asyncio.create_task(box.receive(5, 30))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting})
    box.put([inbound(1)])
    assert len(await box.receive(5, 0)) == 1


def test_filters_are_asked_for_given_back_and_asked_for_again() -> None:
    book = FilterBook()
    assert book.want(["b", "a"], ["old"]) == (["a", "b"], ["old"])
    assert book.connected(session_present=True) == (["a", "b"], ["old"])
    book.asked(1, ["a", "b"])
    assert not book.granted
    book.answered(1, [1, 0x8F])
    assert not book.granted and book.again() == ["b"]
    assert book.refusal() == "the broker refused a subscription: b: topic filter invalid"
    book.asked(2, ["b"])
    assert book.again() == []
    book.answered(2, [0])
    assert book.granted and book.refusal() == ""
    # What was given back on this connection is not given back again, until it was wanted meanwhile.
    assert book.want(["a", "c"], ["old"]) == (["c"], ["b"])
    assert book.want(["a", "c", "old"], ["b"]) == (["old"], [])
    assert book.want(["a"], []) == ([], ["c", "old"])
    assert book.connected(session_present=False) == (["a"], [])
    assert book.connected(session_present=True) == (["a"], ["b", "c", "old"])


def test_filters_refused_are_forgotten_when_not_wanted_any_more() -> None:
    book = FilterBook()
    book.want(["a", "b"], [])
    book.asked(1, ["a", "b"])
    book.answered(1, [0x87, 0x87])
    assert "and 1 more" in book.refusal()
    book.want(["a"], [])
    assert "more" not in book.refusal()
    book.want([], [])
    assert book.granted


@pytest.mark.parametrize(("packet_id", "codes"), [(2, [1]), (1, []), (1, [1, 1])])
def test_filters_answer_that_does_not_fit_is_refused(packet_id: int, codes: list[int]) -> None:
    book = FilterBook()
    book.want(["a"], [])
    book.asked(1, ["a"])
    with pytest.raises(ValueError, match="not asked for"):
        book.answered(packet_id, codes)


def test_filters_go_a_hundred_a_packet() -> None:
    assert [len(part) for part in portions([str(n) for n in range(250)])] == [100, 100, 50]


def test_outgoing_sends_no_more_than_the_broker_takes() -> None:
    out = Outgoing()
    out.connected(session_present=False, receive_maximum=2, largest=0)
    for n in range(3):
        out.add("t", b"%d" % n)
    assert out.due() == packets.publish(1, "t", b"0") + packets.publish(2, "t", b"1")
    assert out.due() == b""
    out.acknowledged(1, 0)
    out.acknowledged(99, 0)
    assert out.due() == packets.publish(3, "t", b"2")
    for packet_id in (2, 3):
        assert not out.empty
        out.acknowledged(packet_id, 0)
    assert out.empty


def test_outgoing_sends_again_in_order_marked_where_the_broker_may_know_it() -> None:
    out = Outgoing()
    out.connected(session_present=False, receive_maximum=65_535, largest=0)
    for n in range(3):
        out.add("t", b"%d" % n)
    out.due()
    out.acknowledged(2, 0)
    again = packets.publish(1, "t", b"0", again=True) + packets.publish(3, "t", b"2", again=True)
    assert out.connected(session_present=True, receive_maximum=65_535, largest=0) == again
    # A broker that takes one at a time now gets the other as soon as it can be.
    assert out.connected(session_present=False, receive_maximum=1, largest=0) == packets.publish(1, "t", b"0")
    out.acknowledged(1, 0)
    assert out.due() == packets.publish(4, "t", b"2")


def test_outgoing_passes_over_packet_ids_in_use() -> None:
    out = Outgoing()
    out.connected(session_present=False, receive_maximum=65_535, largest=0)
    out.add("t", b"first")
    out.due()
    for _ in range(60_000):
        out.add("t", b"")
        out.due()
        out.acknowledged(out._last, 0)
    assert out._last == 2 and list(out._in_flight) == [1]


def test_outgoing_drops_and_says_what_is_too_much_too_long_or_refused_but_seldom() -> None:
    out = Outgoing()
    with capture_logs() as logs:
        for _ in range(MOST_WAITING + 50):
            out.add("t", b"")
        out.connected(session_present=False, receive_maximum=65_535, largest=20)
        assert out.due().count(b"\0\x01t") == 1_000
        out.acknowledged(1, 0x87)
        out.acknowledged(2, 0x87)
    assert [(line["event"], line["count"]) for line in logs] == [
        ("broker_publish_dropped", 1),
        ("broker_publish_refused", 1),
    ]
    small = Outgoing()
    small.connected(session_present=False, receive_maximum=9, largest=20)
    with capture_logs() as logs:
        small.add("t", b"x" * 30)
        assert small.due() == b"" and small.empty
    assert logs[0]["why"] == "longer than 20 bytes"
