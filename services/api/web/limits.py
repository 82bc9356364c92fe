"""How often somebody may fail to log in, and how much may be reported: by address, by account, by community."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict, deque
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Rate:
    """So many at once, and so many an hour in the long run."""

    burst: int
    per_hour: float

    @classmethod
    def of(cls, per_hour: float) -> Rate:
        """Half an hour's worth at once."""
        return cls(max(1, round(per_hour / 2)), per_hour)


class Buckets:
    """Token buckets by key. Times are seconds of any monotonic clock; memory is bounded: whoever was not heard of
    longest is forgotten first, which gives them a full bucket again."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, key: str, now: float) -> float:
        """Seconds until there is a token; 0 where there is one. Takes nothing."""
        left = self._level(key, now)
        return 0.0 if left >= 1 else (1 - left) * 3600 / self._rate.per_hour

    def take(self, key: str, now: float) -> None:
        self._left[key] = (self._level(key, now) - 1, now)
        self._left.move_to_end(key)
        while len(self._left) > _KEPT:
            self._left.popitem(last=False)

    def _level(self, key: str, now: float) -> float:
        left, at = self._left.get(key, (float(self._rate.burst), now))
        return min(float(self._rate.burst), left + max(0.0, now - at) * self._rate.per_hour / 3600)


class ReportLimit:
    """How much may be reported. Without a login: by address and by community; with one: by account.

    What lives may hang on has buckets of its own, so that no flood of rubbish keeps a fire from being told; and a
    community that strangers have filled up still hears everybody who is logged in.
    """

    def __init__(self, account: Rate, address: Rate, community: Rate) -> None:
        self._account = {grave: Buckets(account) for grave in (False, True)}
        self._address = {grave: Buckets(address) for grave in (False, True)}
        self._community = {grave: Buckets(community) for grave in (False, True)}

    def wait_s(self, *, account: str | None, address: str, community: str, now: float) -> float:
        """Seconds until anything at all would be heard; takes nothing. For before it is known what is reported."""
        return min(self._wait(account, address, community, grave, now) for grave in (False, True))

    def admit(self, *, account: str | None, address: str, community: str, grave: bool, now: float) -> float:
        """0, and one token is taken of each bucket; or the seconds to wait, and none is."""
        wait_s = self._wait(account, address, community, grave, now)
        if wait_s > 0:
            return wait_s
        for buckets, key in self._asked(account, address, community, grave):
            buckets.take(key, now)
        return 0.0

    def _wait(self, account: str | None, address: str, community: str, grave: bool, now: float) -> float:
        asked = self._asked(account, address, community, grave)
        return max(buckets.wait_s(key, now) for buckets, key in asked)

    def _asked(self, account: str | None, address: str, community: str, grave: bool) -> list[tuple[Buckets, str]]:
        if account is not None:
            return [(self._account[grave], account)]
        return [(self._address[grave], network_of(address)), (self._community[grave], community)]


def network_of(address: str) -> str:
    """Whom an address stands for: one IPv4 address, or the /64 that an IPv6 subscriber has to itself."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.IPv6Network((found, 64), strict=False))
    return str(found)
