"""Runs an engine over recorded items: time is theirs, and every clock runs out exactly when it is due."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from services.domain.engine.core import Engine
from services.domain.engine.decisions import Decided
from services.domain.rules.evaluation import Item


def replay(engine: Engine, items: Iterable[Item], until_ms: int) -> Iterator[Decided]:
    """What the engine decides, item by item and clock by clock; items in the order in which the server received them.

    A clock that is due at the very moment of an item runs after it, as it does live: the log is read first.
    Nothing is yielded where nothing was decided and no state moved.
    """
    for item in items:
        yield from _clocks(engine, item.received_ms)
        engine.apply(item)
        decided = engine.take()
        if decided.decisions or decided.states:
            yield decided
    yield from _clocks(engine, until_ms + 1)


def _clocks(engine: Engine, before_ms: int) -> Iterator[Decided]:
    while (due_ms := engine.next_due()) is not None and due_ms < before_ms:
        engine.tick(due_ms)
        decided = engine.take()
        if decided.decisions or decided.states:
            yield decided
