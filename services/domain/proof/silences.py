"""When devices were silent: what stands in for the heartbeats that leave nothing else behind."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

from services.domain.ids import DeviceNo

OPEN = 1 << 62


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

    def heard(self, device_no: DeviceNo, now_ms: int, gone: bool) -> int | None:
        """As `Heard`: exactly, where it was silent then; else the end of its last silence, or the moment itself."""
        began, ended = self._of.get(device_no, ((), ()))
        place = bisect_right(began, now_ms) - 1
        if place >= 0 and now_ms <= ended[place]:
            return began[place]
        if gone:
            return ended[place] if place >= 0 else None
        return now_ms
