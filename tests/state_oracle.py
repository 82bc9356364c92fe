"""Readings that come apart, in disorder and again, and what a device's state must be after them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from services.domain.ids import DeviceNo

NO = DeviceNo(1)
FIRST_MS = 1_790_000_000_000


@dataclass(frozen=True, slots=True)
class Said:
    """A part of a reading. Of one time and metric there is one value: the store lets no second one in."""

    ts_ms: int
    vals: tuple[float | None, ...]


def split(chance: random.Random) -> list[Said]:
    """Readings of one device, each metric of each time in one part of it; some metrics may never come."""
    width = chance.randrange(1, 5)
    said: list[Said] = []
    together = chance.random()
    for turn in range(chance.randrange(1, 9)):
        ts_ms = FIRST_MS + turn * chance.choice((1, 1000))
        parts: dict[int, list[float | None]] = {}
        for metric in range(width):
            if chance.random() < 0.15:
                continue
            part = 0 if chance.random() < together else chance.randrange(3)
            parts.setdefault(part, [None] * width)[metric] = float(chance.randrange(-9, 10))
        if ts_ms not in {one.ts_ms for one in said}:
            said += [Said(ts_ms, tuple(vals)) for vals in parts.values()]
    return said or [Said(FIRST_MS, (1.0,) * width)]


def heard(said: Sequence[Said], chance: random.Random) -> list[Said]:
    """In any order, some of it twice; a gateway's backlog may come newest first."""
    order = [*said, *chance.sample(said, chance.randrange(len(said) + 1))]
    way = chance.randrange(3)
    if way == 0:
        chance.shuffle(order)
    else:
        order.sort(key=lambda one: one.ts_ms, reverse=way == 1)
    return order


def newest(said: Sequence[Said]) -> tuple[int, list[float | None], list[int]]:
    """The newest time, and of each metric the value and its time (0: never said)."""
    width = max(len(one.vals) for one in said)
    vals: list[float | None] = [None] * width
    at = [0] * width
    for one in sorted(said, key=lambda one: one.ts_ms):
        for metric, value in enumerate(one.vals):
            if value is not None:
                vals[metric], at[metric] = value, one.ts_ms
    return max(one.ts_ms for one in said), vals, at
