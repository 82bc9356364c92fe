"""Runs an engine over recorded items: time is theirs, and every clock runs out exactly when it is due."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from services.domain.engine.core import Engine
from services.domain.engine.decisions import Decided
from services.domain.rules.evaluation import Item


def replay(engine: Engine, items: Iterable[Item], until_ms: int, slack_ms: int = 0) -> Iterator[Decided]:
    """What the engine decides, item by item and clock by clock; items in the order in which the server received them.

    This is the canonical order: a clock that is due at the very moment of an item runs before it. `slack_ms`: how long
    a clock waits for what is still on its way to the log, as the live engine does; it moves offline alone.
    Nothing is yielded where nothing was decided and no state moved.
    """
    for item in items:
        yield from _clocks(engine, item.received_ms - slack_ms)
        engine.apply(item)
        decided = engine.take()
        if decided.decisions or decided.states:
            yield decided
    yield from _clocks(engine, until_ms)


def _clocks(engine: Engine, now_ms: int) -> Iterator[Decided]:
    while (due_ms := engine.next_due()) is not None and due_ms <= now_ms:
        engine.tick(due_ms or now_ms)
        decided = engine.take()
        if decided.decisions or decided.states:
            yield decided
