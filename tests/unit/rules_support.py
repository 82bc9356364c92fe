"""A rule kind driven as the engine drives it: overtaken and late items told apart, every clock run exactly when due."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from services.domain.engine.core import LATE_MS
from services.domain.ids import DeviceNo
from services.domain.rules import BY_PARAMETERS
from services.domain.rules.evaluation import Event, Facts, Item, Outcome, Reading, Signal, State, Status
from services.domain.rules.parameters import Parameters

T0 = 1_795_305_600_000
"""2026-11-22 00:00 UTC: 08:00 in Shanghai."""
NO = DeviceNo(7)
Said = list[tuple[float, str]]
"""(seconds since T0 by the signal's own time, what)"""


def at(seconds: float) -> int:
    return T0 + round(seconds * 1000)


def read(seconds: float, value: float | None = None, *, delay: float = 0.0, **others: float) -> Reading:
    """`value` is that of the metric `v`."""
    values = {**({} if value is None else {"v": value}), **others}
    positions = {name: place for place, name in enumerate(values)}
    return Reading(NO, at(seconds), at(seconds + delay), list(values.values()), positions)


def event(seconds: float, name: str, *, delay: float = 0.0, device: int = 7) -> Event:
    return Event(DeviceNo(device), at(seconds), at(seconds + delay), name)


def offline(seconds: float) -> Status:
    """The device is known to be offline from here on; `online` brings it back."""
    return Status(NO, at(seconds), at(seconds), False, 1)


def online(seconds: float) -> Status:
    return Status(NO, at(seconds), at(seconds), True, 2)


@dataclass
class Fold:
    """One rule on one subject. `restarts`: the engine dies and comes back after every step."""

    rule: Parameters
    facts: Facts
    restarts: bool = False
    state: State = None
    due: int | None = None
    newest: int = 0
    said: list[Signal] = field(default_factory=list)
    largest: int = 0

    def run(self, items: Iterable[Item], until_s: float) -> list[Signal]:
        kind = BY_PARAMETERS[type(self.rule)]
        self.facts.online = True
        if kind.starts and self.due is None:
            self.tick(T0)
        for item in items:
            self.clocks(item.received_ms)
            self.hear(item)
        self.clocks(at(until_s))
        return self.said

    def hear(self, item: Item) -> None:
        kind = BY_PARAMETERS[type(self.rule)]
        if isinstance(item, Status):
            if item.online and not self.facts.online:
                self.facts.online_since_ms = item.received_ms
            self.facts.online = item.online
        elif self.facts.seen_ms is None or item.received_ms > self.facts.seen_ms:
            if self.facts.seen_ms is None and kind.starts and self.due is None:
                self.due = item.received_ms
            self.facts.seen_ms = self.facts.line.heard_ms = item.received_ms
        if isinstance(item, Reading):
            if item.ts_ms < self.newest:
                return
            self.newest = item.ts_ms
        if isinstance(item, Reading | Event):
            patience = LATE_MS if isinstance(item, Event) else max(LATE_MS, 3 * self.facts.interval_ms)
            item = replace(item, late=item.received_ms - item.ts_ms > patience)
        reads = kind.reads if self.state is None else (*kind.reads, *kind.reads_active)
        if isinstance(item, reads):
            self.take(kind.step(self.rule, self.state, item, self.facts, item.received_ms))

    def clocks(self, until_ms: int) -> None:
        while self.due is not None and self.due <= until_ms:
            self.tick(self.due)

    def tick(self, now_ms: int) -> None:
        kind = BY_PARAMETERS[type(self.rule)]
        self.take(kind.tick(self.rule, self.state, self.facts, now_ms))
        if self.due is not None and self.due <= now_ms:
            self.due = now_ms + 1000

    def take(self, outcome: Outcome) -> None:
        kind = BY_PARAMETERS[type(self.rule)]
        told = json.dumps(outcome.state)
        self.largest = max(self.largest, len(told))
        starts = outcome.state is None and kind.starts and outcome.due_ms is None
        self.state, self.due = outcome.state, self.due if starts else outcome.due_ms
        self.said += outcome.signals
        if self.restarts:
            self.state = json.loads(told)
            if self.state is not None:
                wound = kind.tick(self.rule, self.state, self.facts, 0)
                self.due = wound.due_ms if wound.state == self.state else 0


def spoken(signals: Iterable[Signal]) -> Said:
    return [((signal.ts_ms - T0) / 1000, signal.what.value) for signal in signals]


def fold(rule: Parameters, items: Iterable[Item], until_s: float = 0.0, **facts: Any) -> list[Signal]:
    return Fold(rule, Facts(**{"interval_ms": 60_000, **facts})).run(items, until_s)
