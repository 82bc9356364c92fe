"""From a rota to shifts: who stands when, day by day, by the clock on the community's wall."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

from services.domain.calendar import is_among
from services.domain.ids import CommunityId
from services.domain.rosters.pattern import Pattern, Post, ShiftTime, Turn
from services.domain.rosters.shifts import LONGEST_SHIFT, Shift

_NAMESPACE = UUID("9d3a4f0e-6a55-5a0e-8a54-64757479a001")
_DAY = timedelta(days=1)


def stretch_of(shift: ShiftTime, day: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """From and to in UTC; where a change of summer time makes it longer than a day, it ends after a day."""
    starts = datetime.combine(day, shift.from_, zone)
    ends = datetime.combine(day if shift.to > shift.from_ else day + _DAY, shift.to, zone)
    starts, ends = starts.astimezone(UTC), ends.astimezone(UTC)
    return starts, min(max(ends, starts + timedelta(minutes=1)), starts + LONGEST_SHIFT)


def rota_days(pattern: Pattern, first: date, last: date) -> Iterator[tuple[int, date]]:
    """The days of the rota from `first` to `last`, inclusive, each with how many of them lie before it."""
    day, count = pattern.from_day, 0
    end = last if pattern.until_day is None else min(last, pattern.until_day)
    if pattern.days == "all" and first > day:
        count, day = (first - day).days, first
    while day <= end:
        if is_among(pattern.days, day):
            if day >= first:
                yield count, day
            count += 1
        day += _DAY


def crews_of_day(pattern: Pattern, count: int) -> list[tuple[ShiftTime, tuple[str, ...]]]:
    """Which crew stands which shift on the rota's day number `count`; a crew may rest, or stand several."""
    crews = pattern.people
    if pattern.turn is Turn.FIXED:
        return list(zip(pattern.shifts, crews, strict=True))
    block = count // pattern.step_days
    return [(shift, crews[(place - block) % len(crews)]) for place, shift in enumerate(pattern.shifts)]


def shifts_of_day(
    pattern: Pattern, pattern_id: str, version: int, community: CommunityId, zone: ZoneInfo, count: int, day: date
) -> list[Shift]:
    found: list[Shift] = []
    for shift, crew in crews_of_day(pattern, count):
        starts, ends = stretch_of(shift, day, zone)
        found += [
            Shift(
                id=shift_id(community, pattern_id, version, person, starts),
                community_id=community,
                team=pattern.team,
                user_id=person,
                starts_at=starts,
                ends_at=ends,
                post=Post.LEADER if person in pattern.leaders else Post.MEMBER,
                name=shift.name,
                pattern_id=pattern_id,
                version=version,
            )
            for person in crew
        ]
    return found


def shift_id(community: CommunityId, pattern_id: str, version: int, person: str, starts_at: datetime) -> UUID:
    """Derived, not drawn: making the shifts of a stretch again makes none twice, and revives none cancelled."""
    return uuid5(_NAMESPACE, f"{community}|{pattern_id}|{version}|{person}|{starts_at.astimezone(UTC).isoformat()}")


def planned(
    pattern: Pattern,
    pattern_id: str,
    version: int,
    community: CommunityId,
    zone: ZoneInfo,
    start: datetime,
    end: datetime,
) -> list[Shift]:
    """The rota's shifts that begin at `start` or later and before `end`, in order."""
    first, last = start.astimezone(zone).date() - _DAY, end.astimezone(zone).date()
    found = [
        shift
        for count, day in rota_days(pattern, first, last)
        for shift in shifts_of_day(pattern, pattern_id, version, community, zone, count, day)
        if start <= shift.starts_at < end
    ]
    return sorted(found, key=lambda shift: (shift.starts_at, shift.user_id))
