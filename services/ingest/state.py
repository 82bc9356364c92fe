"""The latest of each device, folded from what was committed: small enough to be written apart from the batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.domain.ids import DeviceNo
from services.ingest.values import Row

CLOCK_LIMIT_MS = 2**31 - 1
"""About 24 days; a clock further off than that is shown as this far off."""


@dataclass(slots=True)
class Latest:
    """What is new about one device since the last write. Times in ms; 0 or None: nothing new.

    A device that reports its sessions is online or not as the newest session says, in the order of the sessions:
    within one session the last will comes last. A message made after the will arrived proves it alive again.
    A device that reports none is online from its first message.
    """

    seen_ms: int = 0
    first_ms: int = 0
    """When the first of it was received: a silence ends here."""
    made_ms: int = 0
    """The newest time the device itself put on anything but a status."""
    vals_ms: int = 0
    """Of the newest reading."""
    vals: Row = ()
    vals_at: list[int] | None = None
    """The time of each of `vals`, 0 for a hole; None: all are of `vals_ms`."""
    event: str | None = None
    event_ms: int = 0
    session: int = -1
    online: bool = False
    status_ms: int = 0
    clock_off_ms: int | None = None


class StateFold:
    """Takes what was committed, in any order; `pending` is what the table does not know yet."""

    def __init__(self) -> None:
        self.pending: dict[DeviceNo, Latest] = {}
        self.positions: dict[tuple[int, int], int] = {}
        """(partition, lane) → the last log number that is folded in."""

    def take(self) -> tuple[dict[DeviceNo, Latest], dict[tuple[int, int], int]]:
        """What to write now; later arrivals go to the next write."""
        taken = self.pending, dict(self.positions)
        self.pending = {}
        return taken

    def _of(self, no: DeviceNo, received_ms: int) -> Latest:
        latest = self.pending.get(no)
        if latest is None:
            latest = self.pending[no] = Latest(received_ms, received_ms)
        elif received_ms > latest.seen_ms:
            latest.seen_ms = received_ms
        elif received_ms < latest.first_ms:
            latest.first_ms = received_ms
        return latest

    def seen(self, no: DeviceNo, received_ms: int, made_ms: int = 0) -> None:
        latest = self._of(no, received_ms)
        latest.made_ms = max(latest.made_ms, made_ms)

    def reading(self, no: DeviceNo, ts_ms: int, received_ms: int, vals: Row) -> None:
        latest = self._of(no, received_ms)
        latest.clock_off_ms = None
        if ts_ms > latest.made_ms:
            latest.made_ms = ts_ms
        if ts_ms > latest.vals_ms and len(vals) >= len(latest.vals) and (None not in vals or not latest.vals):
            latest.vals, latest.vals_ms, latest.vals_at = vals, ts_ms, None
        else:
            _merge(latest, ts_ms, vals)

    def readings(
        self, nos: Sequence[DeviceNo], ts_ms: Sequence[int], received_ms: Sequence[int], rows: Sequence[Row]
    ) -> None:
        """Many at once. The usual one is newer than what is known of its device and has all its metrics."""
        pending = self.pending
        for no, ts, received, vals in zip(nos, ts_ms, received_ms, rows, strict=True):
            latest = pending.get(no)
            if latest is None or ts <= latest.vals_ms or ts < latest.made_ms or None in vals:
                self.reading(no, ts, received, vals)
                continue
            latest.vals, latest.vals_ms, latest.vals_at, latest.made_ms, latest.clock_off_ms = vals, ts, None, ts, None
            if received > latest.seen_ms:
                latest.seen_ms = received

    def event(self, no: DeviceNo, ts_ms: int, received_ms: int, event: str) -> None:
        latest = self._of(no, received_ms)
        latest.made_ms = max(latest.made_ms, ts_ms)
        if ts_ms >= latest.event_ms:
            latest.event, latest.event_ms = event, ts_ms

    def status(self, no: DeviceNo, received_ms: int, online: bool, session: int) -> None:
        latest = self._of(no, received_ms)
        if (session, not online) >= (latest.session, not latest.online):
            latest.session, latest.online, latest.status_ms = session, online, received_ms

    def clock(self, no: DeviceNo, received_ms: int, offset_ms: int) -> None:
        self._of(no, received_ms).clock_off_ms = max(-CLOCK_LIMIT_MS, min(CLOCK_LIMIT_MS, offset_ms))


def _merge(latest: Latest, ts_ms: int, vals: Row) -> None:
    """Of each metric the newer value; of one time, the one that was there."""
    width = max(len(vals), len(latest.vals))
    now = [*latest.vals, *[None] * (width - len(latest.vals))]
    if latest.vals_at is None:
        at = [0 if value is None else latest.vals_ms for value in now]
    else:
        at = [*latest.vals_at, *[0] * (width - len(latest.vals))]
    for position, value in enumerate(vals):
        if value is not None and ts_ms > at[position]:
            now[position], at[position] = value, ts_ms
    newest = latest.vals_ms = max(latest.vals_ms, ts_ms)
    latest.vals, latest.vals_at = now, None if all(ms in (0, newest) for ms in at) else at
