"""Rows that were read a moment ago, by name, so that who asks often is not looked up at each request."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
_KEPT = 20_000


@dataclass(frozen=True, slots=True)
class Reading:
    """Since when rows are being read, and what had been dropped by then."""

    began: float
    drops: int


class Recent(Generic[T]):
    """Each row for `lasts_s` at most; None is that there is none.

    What is read while anything is dropped is not kept: it may be what stood there before the change.
    """

    def __init__(self, lasts_s: float, clock: Callable[[], float]) -> None:
        self._lasts_s = lasts_s
        self._clock = clock
        self._rows: OrderedDict[str, tuple[float, T | None]] = OrderedDict()
        self._drops = 0

    async def get(self, name: str, read: Callable[[], Awaitable[T | None]]) -> T | None:
        known = self._rows.get(name)
        if known is not None and self._clock() - known[0] < self._lasts_s:
            return known[1]
        reading = self.begin()
        row = await read()
        self.keep({name: row}, reading)
        return row

    def begin(self) -> Reading:
        """Before the rows of a later `keep` are read."""
        return Reading(self._clock(), self._drops)

    def keep(self, rows: Mapping[str, T | None], reading: Reading) -> None:
        if reading.drops != self._drops:
            return
        for name, row in rows.items():
            self._rows[name] = reading.began, row
            self._rows.move_to_end(name)
        while len(self._rows) > _KEPT:
            self._rows.popitem(last=False)

    def drop(self, name: str) -> None:
        self._drops += 1
        self._rows.pop(name, None)

    def drop_where(self, of: Callable[[T | None], bool]) -> None:
        self._drops += 1
        for name in [name for name, (_, row) in self._rows.items() if of(row)]:
            del self._rows[name]
