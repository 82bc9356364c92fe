"""Stretches of time in which somebody of a team should be on duty and nobody is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from services.domain.rosters.pattern import Cover, Pattern
from services.domain.rosters.rota import rota_days, stretch_of
from services.domain.rosters.shifts import Shift


@dataclass(frozen=True, slots=True, order=True)
class Stretch:
    """From `starts_at`, inclusive, to `ends_at`, exclusive."""

    starts_at: datetime
    ends_at: datetime


def merged(stretches: Iterable[Stretch]) -> list[Stretch]:
    """The same time in stretches that neither touch nor overlap, in order; empty ones are left out."""
    found: list[Stretch] = []
    for one in sorted(one for one in stretches if one.starts_at < one.ends_at):
        if found and one.starts_at <= found[-1].ends_at:
            found[-1] = Stretch(found[-1].starts_at, max(found[-1].ends_at, one.ends_at))
        else:
            found.append(one)
    return found


def without(stretches: Iterable[Stretch], taken: Iterable[Stretch]) -> list[Stretch]:
    """What is left of `stretches` when the time of `taken` is cut out of them."""
    left: list[Stretch] = []
    cuts = merged(taken)
    for one in merged(stretches):
        start = one.starts_at
        for cut in cuts:
            if cut.ends_at <= start:
                continue
            if cut.starts_at >= one.ends_at:
                break
            if cut.starts_at > start:
                left.append(Stretch(start, cut.starts_at))
            start = max(start, cut.ends_at)
        if start < one.ends_at:
            left.append(Stretch(start, one.ends_at))
    return left


def required(patterns: Sequence[Pattern], zone: ZoneInfo, start: datetime, end: datetime) -> list[Stretch]:
    """When somebody of the team these rotas are of has to be on duty, within start to end."""
    wanted: list[Stretch] = []
    window = Stretch(start, end)
    first, last = start.astimezone(zone).date() - timedelta(days=1), end.astimezone(zone).date()
    for pattern in patterns:
        if pattern.required_cover is Cover.ALWAYS:
            begins = datetime.combine(pattern.from_day, datetime.min.time(), zone).astimezone(UTC)
            ends = (
                end
                if pattern.until_day is None
                else datetime.combine(pattern.until_day + timedelta(days=1), datetime.min.time(), zone).astimezone(UTC)
            )
            wanted.append(_within(Stretch(begins, ends), window))
            continue
        for _, day in rota_days(pattern, first, last):
            wanted.extend(_within(Stretch(*stretch_of(shift, day, zone)), window) for shift in pattern.shifts)
    return merged(wanted)


def gaps(wanted: Iterable[Stretch], shifts: Iterable[Shift]) -> list[Stretch]:
    """Where cover is wanted and no shift stands."""
    return without(wanted, (Stretch(shift.starts_at, shift.ends_at) for shift in shifts))


def _within(one: Stretch, window: Stretch) -> Stretch:
    return Stretch(max(one.starts_at, window.starts_at), min(one.ends_at, window.ends_at))
