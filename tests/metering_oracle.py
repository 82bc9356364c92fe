"""What metering must find, said as plainly as can be: all readings sorted, one pass, no portions."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from services.domain.metering import Meter

EXAMPLES = int(os.environ.get("LINHUB_HYPOTHESIS_EXAMPLES", "0"))
"""Random histories a test goes through; 0: a few, for a run of the whole suite."""


@dataclass
class Found:
    """Of one bucket."""

    count: int = 0
    low: float = float("inf")
    high: float = float("-inf")
    total: float = 0.0
    last: float = 0.0
    used: float = 0.0
    breaks: int = 0


@dataclass
class Told:
    """How one reading was judged."""

    used: float
    word: str


@dataclass
class Oracle:
    meter: Meter
    told: dict[int, Told] = field(default_factory=dict)

    def judge(self, readings: Mapping[int, float]) -> dict[int, Told]:
        """time → what that reading adds. Arithmetic in fractions, so that no order of sums can matter."""
        times = sorted(readings)
        self.told = {}
        for at, now in enumerate(times):
            self.told[now] = self._one(times, readings, at)
        return self.told

    def _one(self, times: list[int], readings: Mapping[int, float], at: int) -> Told:
        if at == 0:
            return Told(0.0, "first")
        near = self._pair(times[at - 1], times[at], readings)
        if at >= 2:
            before = self._pair(times[at - 2], times[at - 1], readings)
            over = self._pair(times[at - 2], times[at], readings)
            wild = before[0] in ("break", "reset")
            returned = over[0] in ("on", "rollover")
            fell = before[2]
            agrees = near[0] in ("on", "rollover")
            if wild and returned and (not agrees or (fell and self.meter.register.retentive)):
                return Told(max(float(over[1] - before[1]), 0.0), "bridged")
        return Told(float(near[1]), near[0])

    def _pair(self, a: int, b: int, readings: Mapping[int, float]) -> tuple[str, Fraction, bool]:
        """(how the register came from the one to the other, what was used, whether it stood lower)."""
        register = self.meter.register
        most = register.max_per_h * ((b - a) / 3_600_000 + register.slack_h)
        went = Fraction(readings[b]) - Fraction(readings[a])
        for swap in self.meter.swaps:
            if a < swap.at_ms <= b:
                went += Fraction(swap.final_old) - Fraction(swap.initial_new)
        if went >= 0:
            return ("on", went, False) if went <= most else ("break", Fraction(0), False)
        if register.modulus is not None and 0 <= went + Fraction(register.modulus) <= most:
            return "rollover", went + Fraction(register.modulus), True
        if readings[b] <= most:
            return "reset", Fraction(readings[b]), True
        return "break", Fraction(0), True

    def buckets(self, readings: Mapping[int, float], edges: list[int]) -> list[Found]:
        """Of [edges[0], edges[1]), [edges[1], edges[2]) …"""
        told = self.judge(readings)
        found = []
        for begin, past in itertools.pairwise(edges):
            bucket = Found()
            for ts in sorted(ts for ts in readings if begin <= ts < past):
                value = readings[ts]
                bucket.count += 1
                bucket.low, bucket.high = min(bucket.low, value), max(bucket.high, value)
                bucket.total += value
                bucket.last = value
                bucket.used += told[ts].used
                bucket.breaks += told[ts].word == "break"
            found.append(bucket)
        return found
