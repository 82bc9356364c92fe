"""When devices were silent: what stands in for the heartbeats that leave nothing else behind."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from services.domain.engine.subjects import Subject
from services.domain.ids import DeviceNo

OPEN = 1 << 62
NOTED_INTERVALS = 2
"""How many intervals a silence must last to be noted; services.ingest.state_store notes them."""


class Silences:
    """(device, from, to in epoch ms; to None: it lasts). Between two silences a device was heard all the time.

    Every silence of more than two intervals is known, so a device outside of any was heard within the last two of them.
    """

    def __init__(self, known: Iterable[tuple[DeviceNo, int, int | None]]) -> None:
        self._of: dict[DeviceNo, tuple[list[int], list[int]]] = {}
        for device_no, from_ms, to_ms in known:
            began, ended = self._of.setdefault(device_no, ([], []))
            began.append(from_ms)
            ended.append(OPEN if to_ms is None else to_ms)

    def heard(self, subject: Subject, now_ms: int, gone: bool) -> int | None:
        """As `Heard`: exactly, where it was silent then; of one that is taken for gone the end of its last silence.

        A device that was not silent although its items are older than a silence would have to be has sent heartbeats:
        of these nothing is known but that there were some, so that it counts as heard this moment.
        """
        assert subject.device is not None  # noqa: S101 - asked of devices alone
        began, ended = self._of.get(subject.device.device_no, ((), ()))
        place = bisect_right(began, now_ms) - 1
        if place >= 0 and now_ms <= ended[place]:
            return began[place]
        if gone:
            return ended[place] if place >= 0 else None
        silent_ms = now_ms - (subject.facts.seen_ms or 0)
        return now_ms if silent_ms > NOTED_INTERVALS * subject.facts.interval_ms else None
