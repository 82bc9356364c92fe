"""Answers that cost much and may be a little old: computed once for all who ask meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable

_KEPT = 512
_AHEAD = 0.8
"""Of the time an answer may be old."""


class Cache:
    """Bytes by key, `ttl_s` old at most. A failed computation is not kept, and fails everybody who waited for it.

    What is asked for shortly before it is too old is computed anew beside: as long as somebody asks, nobody waits.
    """

    def __init__(self, ttl_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._ttl_s = ttl_s
        self._clock = clock
        self._kept: OrderedDict[Hashable, tuple[float, asyncio.Task[bytes]]] = OrderedDict()
        self._next: dict[Hashable, tuple[float, asyncio.Task[bytes]]] = {}

    async def get(self, key: Hashable, compute: Callable[[], Awaitable[bytes]]) -> bytes:
        known = self._kept.get(key)
        if known is None or self._old(known):
            known = self._next.pop(key, None)  # perhaps it is being computed already
            if known is None or self._old(known):
                known = self._clock(), asyncio.ensure_future(_run(compute))
            self._keep(key, known)
        elif self._clock() - known[0] >= _AHEAD * self._ttl_s and key not in self._next:
            self._ahead(key, compute)
        return await asyncio.shield(known[1])

    def _old(self, known: tuple[float, asyncio.Task[bytes]]) -> bool:
        began, task = known
        failed = task.done() and (task.cancelled() or task.exception() is not None)
        return failed or self._clock() - began >= self._ttl_s

    def _ahead(self, key: Hashable, compute: Callable[[], Awaitable[bytes]]) -> None:
        made = self._next[key] = self._clock(), asyncio.ensure_future(_run(compute))

        def done(_: asyncio.Task[bytes]) -> None:
            # One that failed stays where it is, so that it is tried again when the answer is too old, not before.
            if not self._old(made) and self._next.get(key) is made:
                del self._next[key]
                self._keep(key, made)

        made[1].add_done_callback(done)

    def _keep(self, key: Hashable, known: tuple[float, asyncio.Task[bytes]]) -> None:
        self._kept[key] = known
        self._kept.move_to_end(key)
        while len(self._kept) > _KEPT:
            self._next.pop(self._kept.popitem(last=False)[0], None)

    def forget(self, key: Hashable) -> None:
        """What is being computed from before this is handed to those who wait for it, and to nobody after them."""
        self._kept.pop(key, None)
        self._next.pop(key, None)


async def _run(compute: Callable[[], Awaitable[bytes]]) -> bytes:
    return await compute()
