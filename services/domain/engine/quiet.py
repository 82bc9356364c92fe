"""Readings that set nothing off, at the least cost: nearly all of them.

A rule kind that says when a reading can not matter to a subject at rest (`RuleKind.rests`) is compiled to an interval
of one metric. While a device is online, none of its rules remembers anything and every value lies within its interval,
applying the reading item by item would move four times and nothing else; that is done here. Everything else goes to
`Engine.apply`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING

from services.domain.engine.device_clock import SLOW_MS
from services.domain.rules.evaluation import Reading

if TYPE_CHECKING:
    from services.domain.engine.core import Engine
    from services.domain.engine.entries import LogRow
    from services.domain.engine.subjects import Compiled


@dataclass(frozen=True, slots=True)
class Quiet:
    """`within`: (position, low, high); values strictly between set off none of `rules` rules that read.

    `sent`: positions that must carry a value for that."""

    within: tuple[tuple[int, float, float], ...]
    rules: int
    sent: tuple[int, ...] = ()


def compile_quiet(reads: Sequence[Compiled], positions: Mapping[str, int]) -> Quiet | None:
    """None where a rule wants to see every reading (a counter's), or the device's rules cannot be judged so."""
    within: dict[int, tuple[float, float]] = {}
    sent: set[int] = set()
    for one in reads:
        if one.kind.rests is None or one.place is not None:
            return None
        metric, low, high = one.kind.rests(one.rule.parameters)
        position = positions.get(metric)
        if position is not None:
            before = within.get(position, (-inf, inf))
            within[position] = max(low, before[0]), min(high, before[1])
            if one.kind.rests_only_if_sent:
                sent.add(position)
    limits = tuple((position, low, high) for position, (low, high) in sorted(within.items()))
    return Quiet(limits, len(reads), tuple(sorted(sent)))


def apply_readings(engine: Engine, row: LogRow) -> int:
    """All readings of a row that `items_of` would take, in order. How many were of devices that nobody knows."""
    devices, vals, start, unknown, evaluated = engine.roster.devices, row.vals, 0, 0, 0
    columns = zip(row.device_nos, row.ts_ms, row.received_ms, row.widths, strict=True)
    for device_no, ts_ms, received_ms, width in columns:
        first, start = start, start + width
        subject = devices.get(device_no)  # type: ignore[call-overload]
        if subject is None:
            unknown += 1
            continue
        facts, gateway, quiet = subject.facts, subject.gateway, subject.rules.quiet
        if (
            quiet is not None
            and not subject.states
            and received_ms < subject.soonest_ms
            and ts_ms >= facts.made_ms
            and received_ms - ts_ms <= SLOW_MS
            and subject.drift is None
            and facts.online
            and facts.seen_ms is not None
            and (gateway is None or (not gateway.states and gateway.facts.online))
            and not (quiet.sent and _lacks(quiet.sent, vals, first, width))
        ):
            for position, low, high in quiet.within:
                if position < width:
                    value = vals[first + position]
                    if value is not None and not low < value < high:
                        break
            else:
                facts.made_ms = ts_ms
                if received_ms > facts.seen_ms:
                    facts.seen_ms = received_ms
                if received_ms > facts.line.heard_ms:
                    facts.line.heard_ms = received_ms
                if gateway is not None and received_ms > (gateway.facts.seen_ms or 0):
                    gateway.facts.seen_ms = received_ms
                evaluated += quiet.rules
                continue
        engine.apply(Reading(device_no, ts_ms, received_ms, vals[first:start], subject.positions))  # type: ignore[arg-type]
    engine.evaluations += evaluated
    return unknown


def _lacks(sent: tuple[int, ...], vals: Sequence[float | None], first: int, width: int) -> bool:
    return any(position >= width or vals[first + position] is None for position in sent)
