"""How often an account may do something: a sliding minute, of bounded memory."""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable
from math import ceil

WINDOW_S = 60.0
_KEPT = 10_000


class Rate:
    """At most `most` times a minute each."""

    def __init__(self, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._most = most
        self._clock = clock
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def would_wait_s(self, who: str) -> int:
        """As `wait_s`, counting nothing."""
        times = self._times.get(who, deque())
        now = self._clock()
        heard = [at for at in times if at > now - WINDOW_S]
        return max(1, ceil(heard[0] + WINDOW_S - now)) if len(heard) >= self._most else 0

    def wait_s(self, who: str) -> int:
        """Counts this time and returns 0, or does not and returns the whole seconds until the next is heard."""
        now = self._clock()
        times = self._times.setdefault(who, deque())
        self._times.move_to_end(who)
        while times and times[0] <= now - WINDOW_S:
            times.popleft()
        if len(times) >= self._most:
            return max(1, ceil(times[0] + WINDOW_S - now))
        times.append(now)
        while len(self._times) > _KEPT:
            self._times.popitem(last=False)
        return 0
