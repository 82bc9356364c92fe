"""How often somebody may fail to log in: counted by name and address, and by address alone."""

from __future__ import annotations

from collections import OrderedDict, deque

WINDOW_S = 60.0
_PER_ADDRESS = 6
"""An address may fail for this many names' worth: a lobby's machine has several users, a guesser thousands."""
_KEPT = 10_000


class FailureLimit:
    """A sliding minute of failures. Times are seconds of any monotonic clock; memory is bounded."""

    def __init__(self, failures: int) -> None:
        self._failures = failures
        self._times: OrderedDict[tuple[str, ...], deque[float]] = OrderedDict()

    def wait_s(self, username: str, address: str, now: float) -> float:
        """Seconds until another attempt is heard; 0 when it is heard now."""
        by_name = self._wait((username.lower(), address), self._failures, now)
        return max(by_name, self._wait((address,), self._failures * _PER_ADDRESS, now))

    def failed(self, username: str, address: str, now: float) -> None:
        for key in ((username.lower(), address), (address,)):
            times = self._times.setdefault(key, deque(maxlen=self._failures * _PER_ADDRESS))
            times.append(now)
            self._times.move_to_end(key)
        while len(self._times) > _KEPT:
            self._times.popitem(last=False)

    def succeeded(self, username: str, address: str) -> None:
        self._times.pop((username.lower(), address), None)

    def _wait(self, key: tuple[str, ...], limit: int, now: float) -> float:
        times = self._times.get(key)
        if times is None:
            return 0.0
        while times and times[0] <= now - WINDOW_S:
            times.popleft()
        if not times:
            del self._times[key]
        if len(times) < limit:
            return 0.0
        return times[-limit] + WINDOW_S - now
