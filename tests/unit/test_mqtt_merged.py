"""Several subscribers behind one: shares, routes, members that come, go and are taken over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from contextlib import asynccontextmanager, suppress

import pytest

from services.adapters.mqtt import Inbound, SessionTakenOver, Subscriber, next_generation
from services.adapters.mqtt_inbox import Inbox
from services.adapters.mqtt_merged import MergedSubscriber


class Member(Subscriber):
    """A subscriber without a broker."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.inbox = Inbox()
        self.inbox.begin(next_generation(), session_present=False)
        self.connected = True
        self.acked: list[int] = []
        self.published: list[str] = []
        self.ending: asyncio.Future[None] | None = None
        self.closed = False

    @property
    def ready(self) -> bool:
        return self.connected

    @property
    def waiting(self) -> int:
        return len(self.inbox)

    @property
    def generation(self) -> int:
        return self.inbox.generation

    async def run(self) -> None:
        self.ending = asyncio.get_running_loop().create_future()
        await self.ending

    def arrive(self, count: int) -> None:
        first = self.inbox.unacknowledged + 1
        self.inbox.put([Inbound(self.name, b"", self.generation, first + n, False, 0) for n in range(count)])

    async def receive(self, limit: int, linger_s: float = 0.0) -> list[Inbound]:
        return await self.inbox.receive(limit, linger_s)

    def take(self, limit: int) -> list[Inbound]:
        return self.inbox.take(limit)

    def on_arrival(self, told: Callable[[], None]) -> None:
        self.inbox.on_arrival(told)

    def ack(self, messages: Iterable[Inbound]) -> int:
        tokens, stale = self.inbox.settle(messages)
        self.acked += tokens
        return stale

    def publish(self, topic: str, payload: bytes) -> None:
        self.published.append(topic)

    def set_filters(self, wanted: Collection[str], unwanted: Collection[str] = ()) -> None:
        raise AssertionError("nobody sets filters here")

    async def close(self) -> None:
        self.closed = True
        if self.ending is not None and not self.ending.done():
            self.ending.set_result(None)


def merged(*members: Member, taken_over: Callable[[str], None] = lambda name: None) -> MergedSubscriber:
    port = MergedSubscriber(taken_over)
    for member in members:
        port.add(member.name, member)
    return port


@asynccontextmanager
async def running(port: MergedSubscriber) -> AsyncIterator[None]:
    task = asyncio.create_task(port.run())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def counts(messages: list[Inbound]) -> dict[str, int]:
    found: dict[str, int] = {}
    for message in messages:
        found[message.topic] = found.get(message.topic, 0) + 1
    return found


async def test_merged_receive_gives_each_member_a_fair_share() -> None:
    busy, other, quiet = Member("busy"), Member("other"), Member("quiet")
    port = merged(busy, other, quiet)
    busy.arrive(1000)
    other.arrive(1000)
    quiet.arrive(10)
    assert port.waiting == 2010
    assert counts(await port.receive(100)) == {"busy": 45, "other": 45, "quiet": 10}
    assert counts(await port.receive(5000)) == {"busy": 955, "other": 955}


async def test_merged_receive_of_less_than_one_each_serves_all_in_turn() -> None:
    members = [Member(f"m{n}") for n in range(5)]
    port = merged(*members)
    members[0].arrive(1000)
    for member in members[1:]:
        member.arrive(20)
    served = counts([message for _ in range(25) for message in await port.receive(2)])
    assert set(served) == {"m0", "m1", "m2", "m3", "m4"} and min(served.values()) >= 9


async def test_merged_receive_keeps_the_order_of_each_member() -> None:
    one, two = Member("one"), Member("two")
    port = merged(one, two)
    one.arrive(50)
    two.arrive(50)
    seen: list[Inbound] = []
    while len(seen) < 100:
        seen += await port.receive(7)
    for name in ("one", "two"):
        assert [m.token for m in seen if m.topic == name] == list(range(1, 51))


async def test_merged_receive_waits_for_any_member_and_lingers_for_all() -> None:
    one, two = Member("one"), Member("two")
    port = merged(one, two)
    waiting = asyncio.create_task(port.receive(4, linger_s=30))
    await asyncio.sleep(0)
    one.arrive(1)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not waiting.done()
    two.arrive(3)
    assert counts(await asyncio.wait_for(waiting, 60)) == {"one": 1, "two": 3}
    two.arrive(1)
    assert counts(await asyncio.wait_for(port.receive(4, linger_s=0.01), 60)) == {"two": 1}


async def test_merged_ack_goes_to_the_connection_it_came_on() -> None:
    one, two = Member("one"), Member("two")
    port = merged(one, two)
    one.arrive(3)
    two.arrive(2)
    messages = await port.receive(10)
    assert port.ack(messages) == 0
    assert (one.acked, two.acked) == ([1, 2, 3], [1, 2])
    assert port.ack(messages) == 5
    one.arrive(1)
    late = await port.receive(10)
    one.inbox.begin(next_generation(), session_present=True)
    assert port.ack(late) == 1 and one.acked == [1, 2, 3]


async def test_merged_member_removed_takes_its_undelivered_messages_along() -> None:
    leaving, staying = Member("leaving"), Member("staying")
    port = merged(leaving, staying)
    leaving.arrive(3)
    staying.arrive(1)
    async with running(port):
        early = await port.receive(2)
        await port.remove("leaving")
        assert leaving.closed and not staying.closed
        assert counts(await port.receive(10, linger_s=0.01) if port.waiting else []) == {}
        assert port.ack(early) == 1 and leaving.acked == []
        assert staying.acked == [1]
        staying.arrive(1)
        assert counts(await port.receive(10)) == {"staying": 1}
    with pytest.raises(KeyError):
        await port.remove("leaving")


async def test_merged_member_added_while_running_runs_and_wakes_the_receiver() -> None:
    port = merged()
    assert port.ready
    async with running(port):
        waiting = asyncio.create_task(port.receive(10))
        await asyncio.sleep(0)
        late = Member("late")
        late.arrive(2)
        port.add("late", late)
        assert counts(await asyncio.wait_for(waiting, 60)) == {"late": 2}
        assert late.ending is not None and set(port.members) == {"late"}
        with pytest.raises(ValueError, match="already"):
            port.add("late", Member("late"))


async def test_merged_is_ready_when_all_are_and_publishes_through_a_ready_one() -> None:
    down, up = Member("down"), Member("up")
    down.connected = False
    port = merged(down, up)
    assert not port.ready
    port.publish("a", b"")
    up.connected = False
    port.publish("b", b"")
    down.connected = up.connected = True
    assert port.ready
    port.publish("c", b"")
    assert (down.published, up.published) == (["b", "c"], ["a"])
    merged().publish("d", b"")


async def test_merged_names_the_member_that_was_taken_over_and_goes_on() -> None:
    lost: list[str] = []
    one, two = Member("one"), Member("two")
    port = merged(one, two, taken_over=lost.append)
    async with running(port):
        assert one.ending is not None
        one.ending.set_exception(SessionTakenOver("another client connected as one"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert lost == ["one"] and set(port.members) == {"two"} and port.ready
        two.arrive(1)
        assert counts(await port.receive(10)) == {"two": 1}


async def test_merged_close_closes_all_and_a_fault_in_a_member_ends_it() -> None:
    one, two = Member("one"), Member("two")
    port = merged(one, two)
    await port.close()
    assert one.closed and two.closed
    broken = Member("broken")
    port = merged(broken)
    task = asyncio.create_task(port.run())
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert broken.ending is not None
    broken.ending.set_exception(RuntimeError("a fault of ours"))
    with pytest.raises(ExceptionGroup):
        await asyncio.wait_for(task, 60)
