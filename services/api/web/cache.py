"""Answers that cost much and may be a little old: computed once for all who ask meanwhile."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Hashable

_KEPT = 512


class Cache:
    """Bytes by key, `ttl_s` old at most. A failed computation is not kept, and fails everybody who waited for it."""

    def __init__(self, ttl_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._ttl_s = ttl_s
        self._clock = clock
        self._kept: OrderedDict[Hashable, tuple[float, asyncio.Task[bytes]]] = OrderedDict()

    async def get(self, key: Hashable, compute: Callable[[], Awaitable[bytes]]) -> bytes:
        known = self._kept.get(key)
        if known is None or self._clock() - known[0] >= self._ttl_s or _failed(known[1]):
            task = asyncio.ensure_future(_run(compute))
            self._kept[key] = (self._clock(), task)
            self._kept.move_to_end(key)
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        else:
            task = known[1]
        return await asyncio.shield(task)

    def forget(self, key: Hashable) -> None:
        self._kept.pop(key, None)


async def _run(compute: Callable[[], Awaitable[bytes]]) -> bytes:
    return await compute()


def _failed(task: asyncio.Task[bytes]) -> bool:
    return task.done() and (task.cancelled() or task.exception() is not None)
