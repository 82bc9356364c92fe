"""Runs an engine over recorded items: time is theirs, and every clock runs out exactly when it is due."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from services.domain.engine.core import Engine
from services.domain.engine.decisions import Decided
from services.domain.ids import DeviceNo
from services.domain.rules.evaluation import Item

Heard = Callable[[DeviceNo, int], int | None]
"""When a device was last heard up to a moment, where that is known of more than its items; None: of them alone."""


def replay(
    engine: Engine, items: Iterable[Item], until_ms: int, heard: Heard = lambda _device_no, _now_ms: None
) -> Iterator[Decided]:
    """What the engine decides, item by item and clock by clock; items in the order in which the server received them.

    `heard` is asked before a device is taken for dead, as the database is live.
    A clock that is due at the very moment of an item runs after it, as it does live: the log is read first.
    Nothing is yielded where nothing was decided and no state moved.
    """
    now_ms = 0
    for item in items:
        yield from _clocks(engine, now_ms, item.received_ms, heard)
        now_ms = max(now_ms, item.received_ms)
        engine.apply(item)
        decided = engine.take()
        if decided.decisions or decided.states:
            yield decided
    yield from _clocks(engine, now_ms, until_ms + 1, heard)


def _clocks(engine: Engine, now_ms: int, before_ms: int, heard: Heard) -> Iterator[Decided]:
    while (due_ms := engine.next_due()) is not None and due_ms < before_ms:
        # A device that speaks for the first time has its clocks wound for "at once".
        due_ms = max(due_ms, now_ms)
        for device_no in engine.suspects(due_ms):
            if (seen_ms := heard(device_no, due_ms)) is not None:
                engine.heard(device_no, seen_ms)
        engine.tick(due_ms)
        decided = engine.take()
        if decided.decisions or decided.states:
            yield decided
