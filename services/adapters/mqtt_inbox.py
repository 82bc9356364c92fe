"""What connections brought and nobody has received or acknowledged yet."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterable

from services.adapters.mqtt import Inbound, next_generation


class Arrivals:
    """Lets one caller wait until enough messages wait for it."""

    def __init__(self, waiting: Callable[[], int]) -> None:
        self._waiting = waiting
        self._waiter: tuple[int, asyncio.Future[None]] | None = None

    def told(self) -> None:
        """To be called whenever there are more than before."""
        waiter = self._waiter
        if waiter is not None and self._waiting() >= waiter[0]:
            self._waiter = None
            if not waiter[1].done():
                waiter[1].set_result(None)

    async def until(self, wanted: int) -> None:
        if self._waiting() >= wanted:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiter = (wanted, future)
        try:
            await future
        finally:
            self._waiter = None

    async def batch(self, take: Callable[[int], list[Inbound]], limit: int, linger_s: float) -> list[Inbound]:
        """As Receiver.receive. Not empty, though a reconnect may drop messages between the first and the last."""
        while True:
            await self.until(1)
            if linger_s > 0 and self._waiting() < limit:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(linger_s):
                        await self.until(limit)
            if taken := take(limit):
                return taken


class Inbox:
    """Of one subscriber, over all its connections. `held` is the unacknowledged payload, in bytes."""

    def __init__(self) -> None:
        self._queue: deque[Inbound] = deque()
        self._unacknowledged: set[int] = set()
        self._listeners: list[Callable[[], None]] = []
        self._arrivals = Arrivals(self._queue.__len__)
        self.generation = 0
        self.open = False
        self.held = 0

    def __len__(self) -> int:
        return len(self._queue)

    def on_arrival(self, told: Callable[[], None]) -> None:
        self._listeners.append(told)

    def begin(self, session_present: bool) -> None:
        """A connection stands. What waited is dropped where the broker delivers it again: it would be kept twice."""
        if session_present:
            self._queue.clear()
        self.generation = next_generation()
        self._unacknowledged.clear()
        self.held = 0
        self.open = True

    def end(self) -> None:
        """The connection is gone: what it brought can be received, but not acknowledged any more."""
        self.open = False

    def put(self, messages: list[Inbound]) -> None:
        """Raises ValueError when a packet id is used twice: acknowledging one would acknowledge the other unseen."""
        tokens = [message.token for message in messages if message.token]
        before = len(self._unacknowledged)
        self._unacknowledged.update(tokens)
        if len(self._unacknowledged) - before != len(tokens):
            raise ValueError("the broker used a packet id again that is not acknowledged yet")
        self._queue.extend(messages)
        self.held += sum([len(message.payload) for message in messages])
        self._arrivals.told()
        for told in self._listeners:
            told()

    @property
    def unacknowledged(self) -> int:
        return len(self._unacknowledged)

    def take(self, limit: int) -> list[Inbound]:
        queue = self._queue
        if len(queue) <= limit:
            taken = list(queue)
            queue.clear()
            return taken
        return [queue.popleft() for _ in range(limit)]

    async def receive(self, limit: int, linger_s: float) -> list[Inbound]:
        return await self._arrivals.batch(self.take, limit, linger_s)

    def settle(self, messages: Iterable[Inbound]) -> tuple[list[int], int]:
        """(packet ids to acknowledge, in the order given; how many messages were too old or already acknowledged)."""
        given = messages if isinstance(messages, list) else list(messages)
        if not self.open:
            return [], len(given)
        generation, known = self.generation, self._unacknowledged
        mine = [message for message in given if message.generation == generation]
        tokens = [message.token for message in mine]
        # Whole sets at once: this runs for every message there is.
        if known.issuperset(tokens):
            before = len(known)
            known.difference_update(tokens)
            if before - len(known) == len(tokens):
                self.held -= sum([len(message.payload) for message in mine])
                return tokens, len(given) - len(mine)
            known.update(tokens)
        return self._settle_each(mine, len(given))

    def _settle_each(self, mine: list[Inbound], given: int) -> tuple[list[int], int]:
        """Where some are of QoS 0 or acknowledged twice."""
        known, tokens, settled = self._unacknowledged, [], 0
        for message in mine:
            if message.token:
                if message.token not in known:
                    continue
                known.discard(message.token)
                tokens.append(message.token)
            settled += 1
            self.held -= len(message.payload)
        return tokens, given - settled
