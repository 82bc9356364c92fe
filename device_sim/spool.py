"""What a device has said and not yet been told is stored: kept in order, resent, never more than it has room for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

RESEND_FIRST_S = 5.0
RESEND_MOST_S = 60.0


@dataclass(slots=True)
class Entry:
    """One message. `due` is when it is sent again unless acknowledged, on the caller's clock."""

    id: str
    channel: str
    payload: bytes
    urgent: bool
    """An event: never given up for telemetry."""
    attempts: int = 0
    due: float = 0.0


class Spool:
    """Bounded; when full, the oldest telemetry goes first, an event only when there is nothing but events."""

    def __init__(self, capacity: int = 500) -> None:
        self._entries: OrderedDict[str, Entry] = OrderedDict()
        self._capacity = capacity
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, message_id: str) -> bool:
        return message_id in self._entries

    def add(self, entry: Entry) -> None:
        """Keeps the message; the same id again replaces it."""
        self._entries[entry.id] = entry
        if len(self._entries) > self._capacity:
            victim = next((e.id for e in self._entries.values() if not e.urgent), next(iter(self._entries)))
            del self._entries[victim]
            self.dropped += 1

    def acknowledge(self, message_id: str) -> bool:
        """Forgets the message; False where it was not (or no longer) here."""
        return self._entries.pop(message_id, None) is not None

    def sent(self, entry: Entry, now: float) -> None:
        """Notes one attempt: the wait doubles up to RESEND_MOST_S."""
        entry.due = now + min(RESEND_MOST_S, RESEND_FIRST_S * 2**entry.attempts)
        entry.attempts += 1

    def due(self, now: float) -> Iterator[Entry]:
        """Messages to send now, events first, oldest first."""
        waiting = [entry for entry in self._entries.values() if entry.due <= now]
        yield from (entry for entry in waiting if entry.urgent)
        yield from (entry for entry in waiting if not entry.urgent)

    def reconnected(self) -> None:
        """A new connection: whatever is unacknowledged is due at once."""
        for entry in self._entries.values():
            entry.due = 0.0
            entry.attempts = 0
