"""The contract of services.adapters.mqtt.Subscriber where the broker is killed, frozen, started again or deaf."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from deploy.embedded.broker import Mosquitto
from deploy.embedded.stack import Stack
from services.adapters.broker_identity import secret_hash
from services.adapters.mqtt_link import Link
from services.adapters.mqtt_socket import connect_socket, user_timeout_ms
from tests.conftest import ROOT, TEST_ACCOUNT, TEST_ACL
from tests.ingest_kit import Wire
from tests.mqtt_kit import IMPLEMENTATIONS, Factory, Peer, ScriptedBroker, deaf_listener, eventually, message
from tests.mqtt_kit import subscribing as running

LATE_S = 10


@pytest.fixture(params=list(IMPLEMENTATIONS))
def make(request: pytest.FixtureRequest) -> Factory:
    return IMPLEMENTATIONS[request.param]


@pytest.fixture(scope="module")
def stack() -> Iterator[tuple[Mosquitto, str]]:
    """A broker of this module's own, and the address of its services' listener."""
    with (
        tempfile.TemporaryDirectory(prefix="linhub-test-") as home,
        Stack(Path(home), secret_hash, root=ROOT, extra_acl=TEST_ACL) as own,
    ):
        own.ensure_root()
        started = own.start_servers(with_postgres=False)
        yield own.mosquitto, started.mqtt_url(TEST_ACCOUNT)


@pytest.fixture
def broker(stack: tuple[Mosquitto, str]) -> Iterator[Mosquitto]:
    yield stack[0]
    stack[0].thaw()


@pytest.fixture
def url(stack: tuple[Mosquitto, str]) -> str:
    return stack[1]


async def test_broker_stopped_and_started_again_brings_what_was_unacknowledged(
    make: Factory, broker: Mosquitto, url: str
) -> None:
    home = f"sc/c{uuid4().hex[:10]}"
    async with running(make, url, f"{home}/#", client_id=f"t-{uuid4().hex[:8]}") as one:
        await one.ready()
        wire = Wire(url)
        for n in range(5):
            wire.send(f"{home}/d", b"%d" % n)
        got = await one.collect(5)
        assert one.subscriber.ack(got[:3]) == 0
        one.subscriber.publish(f"{home}/flush", b"5")
        await one.has(1)
        wire.close()
        broker.stop()
        await one.says()
        assert not one.subscriber.ready
        assert one.subscriber.ack(got[3:]) == 2
        # From this thread: the broker dies with the one that started it.
        broker.start()
        await asyncio.to_thread(broker.wait_ready)
        await one.ready()
        again = await one.collect(3)
        assert [m.payload for m in again] == [b"3", b"4", b"5"]
        assert one.subscriber.ack(again) == 0


async def test_broker_killed_and_started_again_is_found_again(make: Factory, broker: Mosquitto, url: str) -> None:
    home = f"sc/c{uuid4().hex[:10]}"
    async with running(make, url, f"{home}/#") as one:
        await one.ready()
        for _ in range(2):
            broker.kill()
            await eventually(lambda: not one.subscriber.ready)
            broker.start()
            await asyncio.to_thread(broker.wait_ready)
            await one.ready()
            one.subscriber.publish(f"{home}/d", b"back")
            got = await one.collect(1)
            assert got[0].payload == b"back" and one.subscriber.ack(got) == 0


async def test_broker_frozen_is_noticed_within_two_keepalives(make: Factory, broker: Mosquitto, url: str) -> None:
    keepalive = 2
    async with running(make, url, "sc/frozen/#", keepalive_s=keepalive) as one:
        await one.ready()
        clock = asyncio.get_running_loop().time
        # As long as it lives it is not given up, however little there is to say.
        calm = clock()
        await eventually(lambda: clock() - calm > keepalive * 1.6)
        assert one.said == [(True, "")]
        broker.freeze()
        frozen = clock()
        try:
            await eventually(lambda: not one.subscriber.ready)
            noticed = clock() - frozen
        finally:
            broker.thaw()
        # Nothing but the keep-alive tells of it. A slow machine may be late to look; fault row 2 has the figure.
        assert noticed < keepalive * 2 + LATE_S, f"{noticed:.2f} s"
        await one.ready()


async def test_broker_whose_answers_still_arrive_but_hears_nothing_is_noticed(make: Factory) -> None:
    """A path that works in one direction: messages come, our pings are lost."""
    keepalive = 1
    broker = ScriptedBroker()
    async with broker.running(), running(make, broker.url, "sc/#", keepalive_s=keepalive, window=60_000) as one:
        peer = await broker.next()
        await peer.greet()
        await peer.grant()
        await one.ready()
        number = 0

        async def talk() -> None:
            nonlocal number
            while True:
                number += 1
                peer.send(message(number))
                await asyncio.sleep(0.02)

        talking = asyncio.create_task(talk())
        try:
            await eventually(lambda: not one.subscriber.ready)
        finally:
            talking.cancel()
        assert number > 10, "it had not begun to talk"


async def test_peer_that_takes_nothing_is_given_up_even_while_reading_is_paused(make: Factory) -> None:
    """TCP_USER_TIMEOUT: what we sent stays unacknowledged, and no ping can be missed since nothing is read."""
    async with (
        ScriptedBroker().running(deaf_listener()) as broker,
        running(make, broker.url, "sc/#", keepalive_s=1, held_bytes=1000, window=100) as one,
    ):
        peer = await broker.next()
        await peer.greet()
        await peer.grant()
        await one.ready()
        peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
        peer.send(message(1, payload=b"x" * 2000))
        await one.has(1)
        for _ in range(100):
            one.subscriber.publish("sc/c/d/down/ack", b"y" * 100_000)
        began = asyncio.get_running_loop().time()
        await one.says()
        assert asyncio.get_running_loop().time() - began < 6
        assert one.subscriber.ack(await one.collect(1)) == 1


async def test_socket_is_told_how_long_the_other_machine_may_be_silent() -> None:
    async with ScriptedBroker().running() as broker:
        connection = await connect_socket("127.0.0.1", broker.port, 15)
        with contextlib.closing(connection):
            await broker.next()
            assert user_timeout_ms(15) == 22_500
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 22_500
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1


async def test_link_that_overslept_does_not_blame_the_broker() -> None:
    """A process that was frozen finds the answers to its pings unread, and its own clock far ahead."""
    async with ScriptedBroker().running() as broker:
        loop = asyncio.get_running_loop()
        link = Link(0.8, 1, lambda packet: None, lambda messages: None)
        connection = await connect_socket("127.0.0.1", broker.port, 1)
        await loop.create_connection(lambda: link, sock=connection)
        peer = await broker.next()

        async def answer(peer: Peer) -> None:
            while True:
                await peer.expect(0xC0)
                peer.send(b"\xd0\x00")

        answering = asyncio.create_task(answer(peer))
        now = loop.time()
        link._unanswered_since = now - 100
        link._look(now - 100)
        assert not link.lost.done()
        link._unanswered_since = loop.time() - 100
        link._look(loop.time())
        async with asyncio.timeout(60):
            assert await link.lost == "the broker has not answered for 0.8 s"
        answering.cancel()
        await link.gone
