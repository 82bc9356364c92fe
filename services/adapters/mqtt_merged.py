"""Several subscribers behind one: a worker's sessions, one a partition, received from and acknowledged to as one."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from operator import attrgetter

import structlog

from services.adapters.mqtt import Inbound, Receiver, SessionTakenOver, Subscriber
from services.adapters.mqtt_inbox import Arrivals

log = structlog.get_logger(__name__)

_GOODBYE_S = 2.0
"""How long a member that is removed may take to send what is left."""


class MergedSubscriber(Receiver):
    """As services.adapters.mqtt.Receiver; which topics a member listens to is said to the member.

    `on_taken_over` gets the name of a member whose session another client took, after it was removed here; the others
    go on. Without members it is ready and waits.
    """

    def __init__(self, on_taken_over: Callable[[str], None] = lambda name: None) -> None:
        self._on_taken_over = on_taken_over
        self._members: dict[str, Subscriber] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._tasks: asyncio.TaskGroup | None = None
        self._first = 0
        self._arrivals = Arrivals(lambda: self.waiting)

    # Members

    @property
    def members(self) -> Mapping[str, Subscriber]:
        return self._members

    def add(self, name: str, subscriber: Subscriber) -> None:
        """It must not be running: it runs with this one. Raises ValueError when there is one of that name."""
        if name in self._members:
            raise ValueError(f"there is a member {name} already")
        self._members[name] = subscriber
        subscriber.on_arrival(self._arrivals.told)
        if self._tasks is not None:
            self._start(self._tasks, name)
        self._arrivals.told()

    async def remove(self, name: str) -> None:
        """Disconnects it; its session stays, and what was not acknowledged goes to whoever connects to it next.

        Messages of it that were received before can still be stored, but acknowledging them means nothing any more.
        Raises KeyError when there is none of that name.
        """
        subscriber = self._members.pop(name)
        task = self._running.pop(name, None)
        await subscriber.close()
        if task is not None:
            await asyncio.wait({task}, timeout=_GOODBYE_S)
            task.cancel()
            await asyncio.wait({task})

    def _start(self, tasks: asyncio.TaskGroup, name: str) -> None:
        self._running[name] = tasks.create_task(self._run_member(name, self._members[name]))

    async def _run_member(self, name: str, subscriber: Subscriber) -> None:
        try:
            await subscriber.run()
        except SessionTakenOver as error:
            if self._members.get(name) is subscriber:
                del self._members[name], self._running[name]
                log.warning("broker_session_taken_over", member=name, why=str(error))
                self._on_taken_over(name)

    # The port

    @property
    def ready(self) -> bool:
        return all(member.ready for member in self._members.values())

    @property
    def waiting(self) -> int:
        return sum([member.waiting for member in self._members.values()])

    async def run(self) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                self._tasks = tasks
                for name in self._members:
                    self._start(tasks, name)
                await asyncio.get_running_loop().create_future()
        finally:
            self._tasks = None
            self._running.clear()

    async def receive(self, limit: int, linger_s: float = 0.0) -> list[Inbound]:
        return await self._arrivals.batch(self._take, limit, linger_s)

    def _take(self, limit: int) -> list[Inbound]:
        """A fair share of each: a member with much to say leaves room for one with little. Begins at another each time.

        Messages of one member stay in their order.
        """
        members = list(self._members.values())
        start = self._first % len(members) if members else 0
        self._first += 1
        asked = [member for member in members[start:] + members[:start] if member.waiting]
        share = limit // max(1, len(asked)) + 1
        asked.sort(key=lambda member: min(member.waiting, share))
        taken: list[Inbound] = []
        for position, member in enumerate(asked):
            left = limit - len(taken)
            if not left:
                break
            taken += member.take(max(1, left // (len(asked) - position)))
        return taken

    def ack(self, messages: Iterable[Inbound]) -> int:
        member_of = {member.generation: member for member in self._members.values()}
        stale = 0
        for generation, run in groupby(messages, key=attrgetter("generation")):
            member, some = member_of.get(generation), list(run)
            stale += len(some) if member is None else member.ack(some)
        return stale

    def publish(self, topic: str, payload: bytes) -> None:
        """Through the first that is ready; while none is, the first keeps it until it is."""
        members = self._members.values()
        member = next((one for one in members if one.ready), next(iter(members), None))
        if member is None:
            log.warning("broker_publish_dropped", topic=topic, why="no session is held")
        else:
            member.publish(topic, payload)

    async def close(self) -> None:
        await asyncio.gather(*(member.close() for member in self._members.values()))
