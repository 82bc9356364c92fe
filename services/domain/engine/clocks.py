"""When each rule wants to be asked again: the dues of one partition, soonest first."""

from __future__ import annotations

import heapq
from itertools import count

from services.domain.engine.subjects import NEVER, Compiled, Subject
from services.domain.ids import RuleId

AT_ONCE = 0
"""A due that is not a time: as soon as anybody looks."""

Ring = tuple[int, Subject, Compiled]


class Clocks:
    """At most one due a (rule, subject). A due that was moved leaves its old entry behind, which means nothing."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, str, int, Subject, Compiled]] = []
        self._count = count()

    def set(self, subject: Subject, one: Compiled, due_ms: int) -> None:
        before = subject.dues.get(one.rule.id)
        if before == due_ms:
            return
        subject.dues[one.rule.id] = due_ms
        self._push(due_ms, subject, one)
        if one.judged_late:
            return
        if due_ms < subject.soonest_ms:
            subject.soonest_ms = due_ms
        elif before == subject.soonest_ms:
            _sooner(subject)

    def stop(self, subject: Subject, one: Compiled) -> None:
        if subject.dues.pop(one.rule.id, None) == subject.soonest_ms:
            _sooner(subject)

    def soonest(self) -> int | None:
        self._skip()
        return self._heap[0][0] if self._heap else None

    def take(self, now_ms: int) -> Ring | None:
        """The next that is due by now, in the order of the dues, of two of one moment the graver rule first."""
        self._skip()
        if not self._heap or self._heap[0][0] > now_ms:
            return None
        due_ms, *_, subject, one = heapq.heappop(self._heap)
        return due_ms, subject, one

    def due(self, now_ms: int) -> list[Ring]:
        """Everything due by now, left where it is."""
        found: dict[tuple[str, RuleId], Ring] = {}
        while self._heap and self._heap[0][0] <= now_ms:
            due_ms, *_, subject, one = heapq.heappop(self._heap)
            if subject.dues.get(one.rule.id) == due_ms:
                found[subject.key, one.rule.id] = due_ms, subject, one
        for due_ms, subject, one in found.values():
            self._push(due_ms, subject, one)
        return list(found.values())

    def _push(self, due_ms: int, subject: Subject, one: Compiled) -> None:
        heapq.heappush(self._heap, (due_ms, one.order, subject.key, next(self._count), subject, one))

    def _skip(self) -> None:
        while self._heap:
            due_ms, *_, subject, one = self._heap[0]
            if subject.dues.get(one.rule.id) == due_ms:
                return
            heapq.heappop(self._heap)


def next_before(subject: Subject, telemetry: bool, until_ms: int) -> tuple[int, Compiled] | None:
    """The soonest due of the subject that comes before its next item: of all its rules if that is a reading, of those
    that read no telemetry if it is not. Events may be read ahead of telemetry, never behind it."""
    best: tuple[int, Compiled] | None = None
    by_id = subject.rules.by_id
    for rule_id, due_ms in subject.dues.items():
        if due_ms > until_ms:
            continue
        one = by_id[rule_id]
        if one.judged_late or (one.telemetry and not telemetry):
            continue
        if best is None or (due_ms, one.order) < (best[0], best[1].order):
            best = due_ms, one
    return best


def _sooner(subject: Subject) -> None:
    by_id = subject.rules.by_id
    dues = (due_ms for rule_id, due_ms in subject.dues.items() if not by_id[rule_id].judged_late)
    subject.soonest_ms = min(dues, default=NEVER)
