"""Which filters a subscriber wants, which the broker granted, refused or may still remember; no IO."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from services.adapters.mqtt_packets import FAILURE, reason_text

FILTERS_A_PACKET = 100


class FilterBook:
    """Of one subscriber, over all its connections."""

    def __init__(self) -> None:
        self._wanted: frozenset[str] = frozenset()
        self._unwanted: set[str] = set()
        self._given_back: set[str] = set()
        """On this connection."""
        self._asked: dict[int, Sequence[str]] = {}
        self._refused: dict[str, int] = {}

    @property
    def granted(self) -> bool:
        return not self._asked and not self._refused

    def refusal(self) -> str:
        """In words; empty while none is refused."""
        if not self._refused:
            return ""
        name, code = next(iter(self._refused.items()))
        more = f" and {len(self._refused) - 1} more" if len(self._refused) > 1 else ""
        return f"the broker refused a subscription: {name}{more}: {reason_text(code)}"

    def want(self, wanted: Collection[str], unwanted: Collection[str]) -> tuple[list[str], list[str]]:
        """(to subscribe, to give back) on the connection that stands."""
        new = frozenset(wanted)
        added = new - self._wanted
        self._unwanted = (self._unwanted | self._wanted | set(unwanted)) - new
        self._wanted = new
        self._given_back -= new
        self._refused = {name: code for name, code in self._refused.items() if name in new}
        return sorted(added), self._to_give_back()

    def connected(self, session_present: bool) -> tuple[list[str], list[str]]:
        """(to subscribe, to give back): everything anew, for the broker may have lost what it had granted."""
        self._asked.clear()
        self._refused.clear()
        self._given_back.clear()
        if not session_present:
            self._given_back |= self._unwanted
        return sorted(self._wanted), self._to_give_back()

    def _to_give_back(self) -> list[str]:
        now = self._unwanted - self._given_back
        self._given_back |= now
        return sorted(now)

    def asked(self, packet_id: int, filters: Sequence[str]) -> None:
        self._asked[packet_id] = filters

    def answered(self, packet_id: int, codes: Sequence[int]) -> None:
        """Raises ValueError where the answer does not fit what was asked."""
        filters = self._asked.pop(packet_id, None)
        if filters is None or len(filters) != len(codes):
            raise ValueError("an answer to a subscription that was not asked for")
        for name, code in zip(filters, codes, strict=True):
            if name in self._wanted and code >= FAILURE:
                self._refused[name] = code
            else:
                self._refused.pop(name, None)

    def again(self) -> list[str]:
        """What was refused and nobody waits for: to be asked once more."""
        asked = {name for names in self._asked.values() for name in names}
        return sorted(self._refused.keys() - asked)


def portions(filters: Sequence[str]) -> Iterator[Sequence[str]]:
    """As many as go into a packet at a time."""
    for start in range(0, len(filters), FILTERS_A_PACKET):
        yield filters[start : start + FILTERS_A_PACKET]
