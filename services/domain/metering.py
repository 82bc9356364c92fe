"""Metering: from the readings of a register to what was consumed, in the order of event time and in any portions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

HOUR_MS = 3_600_000


@dataclass(frozen=True, slots=True)
class Register:
    """How a counter can move. Rates are in the metric's unit an hour.

    `max_per_h` is what the largest device of the kind lets through, `household_per_h` what one at a household does;
    a device's own rating wins over both. `slack_h`: so much longer than the time between two readings may what
    passed between them have taken, because a register counts in ticks and a value may be older than its message.
    `modulus`: where the register starts again from zero, if it does within a life. `retentive`: it keeps its count
    without power, so one that falls and comes back has not fallen.
    """

    max_per_h: float
    household_per_h: float | None = None
    modulus: float | None = None
    retentive: bool = True
    slack_h: float = 0.25

    def bound(self, gap_ms: int) -> float:
        """The most that can pass in so much time."""
        return self.max_per_h * (gap_ms / HOUR_MS + self.slack_h)


@dataclass(frozen=True, slots=True)
class Swap:
    """A meter was replaced: what the old one showed last and what the new one showed first."""

    at_ms: int
    final_old: float
    initial_new: float


@dataclass(frozen=True, slots=True, order=True)
class Point:
    """One reading of a register."""

    ts_ms: int
    value: float


@dataclass(frozen=True, slots=True)
class Meter:
    """A register with its history: all that is needed to judge its readings."""

    register: Register
    swaps: tuple[Swap, ...] = ()

    def moved(self, a: Point, b: Point) -> float:
        """How far the count moved from `a` to `b`, the steps of swaps taken out; negative where it fell."""
        return (b.value - a.value) + (self._offset(b.ts_ms) - self._offset(a.ts_ms))

    def onward(self, a: Point, b: Point) -> float | None:
        """What was used where the register simply went on, over its end and a swap if need be; None where not."""
        moved, bound = self.moved(a, b), self.register.bound(b.ts_ms - a.ts_ms)
        if 0 <= moved <= bound:
            return moved
        if moved < 0 and self.register.modulus is not None and 0 <= moved + self.register.modulus <= bound:
            return moved + self.register.modulus
        return None

    def restarted(self, a: Point, b: Point) -> float | None:
        """What was used where the register began again from zero in between; None where that cannot be."""
        fell = self.moved(a, b) < 0 and b.value <= self.register.bound(b.ts_ms - a.ts_ms)
        return b.value if fell else None

    def gain(self, two: Point | None, one: Point | None, now: Point) -> float | None:
        """What the reading `now` adds to the consumption, after the two readings before it.

        None: a break. The register jumped as it cannot have; it adds nothing and is counted as a break. If only
        `one` was wild, `now` is measured from `two`: a single wild reading costs nothing. Looks at three readings
        and never ahead, so what is known of any stretch is its sum and its two readings at each end.
        """
        if one is None:
            return 0.0
        plain = self.onward(one, now)
        if two is not None and self.onward(two, one) is None:
            across = self.onward(two, now)
            # Two readings in a row that agree are believed, except where a register that keeps its count fell.
            if across is not None and (plain is None or (self.register.retentive and self.moved(two, one) < 0)):
                return max(across - (self.restarted(two, one) or 0.0), 0.0)
        return self.restarted(one, now) if plain is None else plain

    def _offset(self, ts_ms: int) -> float:
        return sum(swap.final_old - swap.initial_new for swap in self.swaps if swap.at_ms <= ts_ms)


@dataclass(frozen=True, slots=True)
class Summary:
    """What is known of a stretch of readings: enough to join it to its neighbours exactly.

    `head` and `tail`: its first two and last two readings in order (fewer where it has fewer, overlapping where it
    has less than four). `used` and `breaks` count from its third reading on: what the first two add depends on what
    came before.
    """

    count: int = 0
    low: float = 0.0
    high: float = 0.0
    total: float = 0.0
    head: tuple[Point, ...] = ()
    tail: tuple[Point, ...] = ()
    used: float = 0.0
    breaks: int = 0

    @property
    def mean(self) -> float | None:
        return self.total / self.count if self.count else None

    @property
    def last(self) -> Point | None:
        return self.tail[-1] if self.tail else None


EMPTY = Summary()


def summary_of(point: Point) -> Summary:
    return Summary(1, point.value, point.value, point.value, (point,), (point,))


def gains(meter: Meter, before: Sequence[Point], head: Sequence[Point]) -> list[float | None]:
    """What each reading of `head` adds, after `before` (the last two readings before it, or fewer)."""
    known: list[Point | None] = [None, None, *before[-2:], *head]
    first = len(known) - len(head)
    return [meter.gain(known[at - 2], known[at - 1], head[at - first]) for at in range(first, len(known))]


def merge(meter: Meter, a: Summary, b: Summary) -> Summary:
    """The summary of both stretches, `a` wholly before `b`. Associative, with EMPTY as its neutral element."""
    if not a.count:
        return b
    if not b.count:
        return a
    joint = gains(meter, a.tail, b.head)
    if a.count == 1:
        # b's first reading is now the second of all: what it adds depends on what comes before.
        del joint[0]
    return Summary(
        a.count + b.count,
        min(a.low, b.low),
        max(a.high, b.high),
        a.total + b.total,
        (*a.head, *b.head)[:2],
        (*a.tail, *b.tail)[-2:],
        a.used + b.used + sum(gain or 0.0 for gain in joint),
        a.breaks + b.breaks + joint.count(None),
    )


def summarize(meter: Meter, points: Iterable[Point]) -> Summary:
    """Of readings in any order. One time has one value: the first that is given."""
    first: dict[int, Point] = {}
    for point in points:
        first.setdefault(point.ts_ms, point)
    whole = EMPTY
    for ts_ms in sorted(first):
        whole = merge(meter, whole, summary_of(first[ts_ms]))
    return whole


def consumption(meter: Meter, summaries: Sequence[Summary], before: Sequence[Point] = ()) -> list[tuple[float, int]]:
    """(used, breaks) of each of these neighbouring stretches, in order; `before`: the last two readings before them."""
    found = []
    known = tuple(before)
    for summary in summaries:
        joint = gains(meter, known, summary.head)
        found.append((summary.used + sum(gain or 0.0 for gain in joint), summary.breaks + joint.count(None)))
        known = (*known, *summary.tail)[-2:]
    return found
