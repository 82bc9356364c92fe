"""Runs an engine over recorded items: time is theirs, and every clock runs out exactly when it is due."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from services.domain.engine.core import Engine
from services.domain.engine.decisions import Decided
from services.domain.engine.subjects import Subject
from services.domain.rules.evaluation import Item

Heard = Callable[[Subject, int, bool], int | None]
"""(subject, now, gone) → when it was last heard up to now, where more is known than its items; None: of them alone.

Of one that is taken for `gone` only what is certain may be told, of another the latest that it can have been."""


def _by_items(_subject: Subject, _now_ms: int, _gone: bool) -> int | None:
    return None


def replay(
    engine: Engine, items: Iterable[Item], until_ms: int, slack_ms: int = 0, heard: Heard = _by_items
) -> Iterator[Decided]:
    """What the engine decides, item by item and clock by clock; items in the order in which the server received them.

    This is the canonical order: a clock that is due at the very moment of an item runs before it. `slack_ms`: how long
    a clock waits for what is still on its way to the log, as the live engine does; it moves offline alone.
    `heard` is asked before a device is taken for dead, as the database is live.
    Nothing is yielded where nothing was decided and no state moved. A history in pieces is given piece by piece, each
    but the last with an `until_ms` before the first item of the next.
    """
    for item in items:
        yield from _clocks(engine, item.received_ms - slack_ms, heard)
        engine.apply(item)
        decided = engine.take()
        if decided.decisions or decided.states:
            yield decided
    yield from _clocks(engine, until_ms, heard)


def _clocks(engine: Engine, now_ms: int, heard: Heard) -> Iterator[Decided]:
    while (due_ms := engine.next_due()) is not None and due_ms <= now_ms:
        at_ms = due_ms or now_ms
        for device_no in engine.suspects(at_ms):
            subject = engine.roster.devices[device_no]
            if (seen_ms := heard(subject, at_ms, _gone(subject))) is not None:
                engine.heard(device_no, seen_ms)
        engine.tick(at_ms)
        decided = engine.take()
        if decided.decisions or decided.states:
            yield decided


def _gone(subject: Subject) -> bool:
    """Whether an offline rule stands, or waits after a last will."""
    return any(one.judged_late and one.rule.id in subject.states for one in subject.rules.starts)
