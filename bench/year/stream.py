"""A year of items in the order in which the server would receive them, with all that happens to messages on the way."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from bench.year.incident import HOUR, Incident, Told
from bench.year.planning import of_device
from bench.year.town import Town
from services.domain.devices.kind import DeviceKind, MetricType
from services.domain.ids import DeviceNo
from services.domain.registry import GATEWAY_KIND
from services.domain.rules.evaluation import Clock, Event, Flood, Item, Reading, Status

BUFFERED_A_YEAR = 3
"""How often a gateway loses its line for hours and hands in later what it kept."""
STRAY_SHARE = 0.0005
"""Messages that take seconds to minutes instead of a fraction of a second."""


class Stream:
    """`generated`: how many items so far, for the progress."""

    def __init__(self, town: Town, incidents: Sequence[Incident], from_ms: int, to_ms: int, seed: int) -> None:
        self.generated = 0
        self.late = 0
        self._now = from_ms
        self._town, self._from, self._to = town, from_ms, to_ms
        self._rng = random.Random(f"way|{seed}")
        self._due: list[tuple[int, int, Callable[[int], int | None]]] = []
        self._way: list[tuple[int, int, Item]] = []
        self._count = 0
        self._silent: dict[DeviceNo, int] = {}
        """Until when the device says nothing."""
        self._kept = self._outages(to_ms - from_ms)
        self._last: dict[DeviceNo, dict[str, Any]] = {}
        self._dropped: dict[DeviceNo, frozenset[str]] = {}
        for number in town.rows:
            self._begin(number)
        for number, own in of_device(list(incidents)):
            for incident in own:
                self._at(incident.from_ms, self._starts(number, incident))

    def items(self) -> Iterator[Item]:
        """Everything, received up to the end of the year."""
        while self._due:
            at_ms, _, act = heapq.heappop(self._due)
            if at_ms > self._to:
                break
            self._now = at_ms
            while self._way and self._way[0][0] <= at_ms:
                yield heapq.heappop(self._way)[2]
            again = act(at_ms)
            if again is not None:
                self._at(again, act)
        while self._way:
            item = heapq.heappop(self._way)[2]
            if item.received_ms <= self._to:
                yield item

    @property
    def day(self) -> int:
        """How many whole days have been told."""
        return (self._now - self._from) // (24 * HOUR)

    def _at(self, at_ms: int, act: Callable[[int], int | None]) -> None:
        self._count += 1
        heapq.heappush(self._due, (at_ms, self._count, act))

    def _outages(self, length_ms: int) -> dict[DeviceNo, list[tuple[int, int]]]:
        """Gateways' hours without a line, spread over the time."""
        kept: dict[DeviceNo, list[tuple[int, int]]] = {}
        for number in self._town.numbers(GATEWAY_KIND):
            for _ in range(max(1, round(BUFFERED_A_YEAR * length_ms / (365 * 24 * HOUR)))):
                start = self._from + int((0.1 + 0.8 * self._rng.random()) * length_ms)
                kept.setdefault(number, []).append((start, start + int((0.1 + self._rng.random() * 4) * HOUR)))
        return kept

    def outages(self) -> dict[DeviceNo, list[tuple[int, int]]]:
        """Gateway → when its line was down, [from, to) in epoch ms."""
        return self._kept

    def _begin(self, number: DeviceNo) -> None:
        row, life = self._town.rows[number], self._town.lives[number]
        phase = self._rng.randrange(row.interval_s * 1000)
        if row.kind == GATEWAY_KIND or not life.kind.metrics:
            self._at(self._from + phase, self._heartbeat(number))
            return
        self._at(self._from + phase, self._report(number))
        if row.gateway_no is None:
            self._send(Status(number, self._from, self._from + 50, True, 1))

    def _heartbeat(self, number: DeviceNo) -> Callable[[int], int | None]:
        interval_ms = self._town.rows[number].interval_s * 1000

        def beat(at_ms: int) -> int:
            if not self._is_silent(number, at_ms):
                self._send(Status(number, at_ms, self._received(number, at_ms), True, 1))
            return at_ms + interval_ms

        return beat

    def _report(self, number: DeviceNo) -> Callable[[int], int | None]:
        life, subject = self._town.lives[number], self._town.subject(number)
        interval_ms = self._town.rows[number].interval_s * 1000
        step_ms = min(60_000, interval_ms) if life.sends_changes else interval_ms
        last_ms = [0]

        def look(at_ms: int) -> int:
            report = life.look(self._town.surroundings, at_ms)
            silent = self._is_silent(number, at_ms)
            if not silent:
                for event, data in report.events:
                    self._send(Event(number, at_ms, self._received(number, at_ms), event, data))
                if report.events or at_ms - last_ms[0] >= interval_ms:
                    last_ms[0] = at_ms
                    self._last[number] = report.values
                    gone = self._dropped.get(number)
                    told = {k: v for k, v in report.values.items() if k not in gone} if gone else report.values
                    values = _columns(life.kind, told)
                    self._send(Reading(number, at_ms, self._received(number, at_ms), values, subject.positions))
            return at_ms + step_ms

        return look

    def _is_silent(self, number: DeviceNo, at_ms: int) -> bool:
        gateway = self._town.rows[number].gateway_no
        return self._silent.get(number, 0) > at_ms or (gateway is not None and self._silent.get(gateway, 0) > at_ms)

    def _received(self, number: DeviceNo, at_ms: int) -> int:
        """A fraction of a second, seldom minutes; hours where the gateway had no line."""
        delay = self._rng.randrange(40, 400)
        if self._rng.random() < STRAY_SHARE:
            delay = self._rng.randrange(2_000, 180_000)
        gateway = number if self._town.rows[number].kind == GATEWAY_KIND else self._town.rows[number].gateway_no
        for start, end in self._kept.get(gateway, ()) if gateway is not None else ():
            if start <= at_ms < end:
                self.late += 1
                return end + self._rng.randrange(1_000, 30_000)
        return at_ms + delay

    def _send(self, item: Item) -> None:
        self.generated += 1
        self._count += 1
        heapq.heappush(self._way, (item.received_ms, self._count, item))

    def _starts(self, number: DeviceNo, incident: Incident) -> Callable[[int], int | None]:
        life = self._town.lives[number]

        def end(at_ms: int) -> int | None:
            for metric in (*incident.forced, *incident.raised):
                life.forced.pop(metric, None)
            self._dropped.pop(number, None)
            if incident.away:
                self._away(number, None)
            if incident.will:
                self._send(Status(number, at_ms, at_ms + 60, True, at_ms))
            return None

        def start(at_ms: int) -> int | None:
            life.forced.update(incident.forced)
            last = self._last.get(number, {})
            life.forced.update({metric: float(last.get(metric, 0.0)) + by for metric, by in incident.raised.items()})
            if incident.dropped:
                self._dropped[number] = incident.dropped
            for other in incident.silent_too:
                self._silent[other] = incident.to_ms
            if incident.away:
                self._away(number, incident.to_ms)
            if incident.silent:
                self._silent[number] = incident.to_ms
                if incident.will:
                    self._send(Status(number, at_ms, at_ms + 100, False, 1 << 60))
            for told in incident.told:
                self._tell(number, told)
            for other, told in incident.others:
                self._tell(other, told)
            self._at(incident.to_ms, end)
            return None

        return start

    def _away(self, number: DeviceNo, until_ms: int | None) -> None:
        home = self._town.rows[number].household_id
        for other, row in self._town.rows.items():
            if row.household_id == home:
                self._town.subject(other).facts.away_until_ms = until_ms

    def _tell(self, number: DeviceNo, told: Told) -> None:
        received = told.at_ms + (told.delay_ms or self._rng.randrange(40, 400))
        item: Item
        if told.event == "~clock":
            item = Clock(number, told.at_ms + told.number, received, told.number)
        elif told.event == "~flood":
            item = Flood(number, told.at_ms, received, told.number)
        else:
            item = Event(number, told.at_ms, received, told.event)
        self._send(item)


def _columns(kind: DeviceKind, values: dict[str, Any]) -> list[float | None]:
    row: list[float | None] = []
    for metric in kind.metrics:
        value = values.get(metric.name)
        if isinstance(value, str):
            value = metric.options.index(value) if metric.type is MetricType.STATE else None
        row.append(None if value is None else float(value))
    return row
