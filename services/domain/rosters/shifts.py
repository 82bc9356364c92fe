"""Shifts as they stand: who is on duty at an instant, stand-ins (替班), swaps (换班), and nobody twice at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from uuid import UUID, uuid5

from services.domain.ids import CommunityId
from services.domain.rosters.pattern import Post
from services.domain.vocabulary import Label, Team

LONGEST_SHIFT = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Shift:
    """One person on duty from `starts_at`, inclusive, to `ends_at`, exclusive. `stands_in_for`: whose shift it was."""

    id: UUID
    community_id: CommunityId
    team: Team
    user_id: str
    starts_at: datetime
    ends_at: datetime
    post: Post = Post.MEMBER
    name: str = ""
    pattern_id: str | None = None
    version: int | None = None
    stands_in_for: str | None = None
    replaces: UUID | None = None

    def overlaps(self, other: Shift) -> bool:
        return self.starts_at < other.ends_at and other.starts_at < self.ends_at


@dataclass(frozen=True, slots=True)
class Clash:
    """A person would stand two shifts at once."""

    wanted: Shift
    standing: Shift

    @property
    def words(self) -> Label:
        at = max(self.wanted.starts_at, self.standing.starts_at).isoformat(timespec="minutes")
        return Label(
            f"{self.wanted.user_id} 在 {at} 已有{self.standing.team.value}的班，不能同时值{self.wanted.team.value}的班",
            f"{self.wanted.user_id} already stands a {self.standing.team.value} shift at {at} and cannot stand one of "
            f"{self.wanted.team.value} at the same time",
        )


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of the roster: shifts that fall away, and shifts that stand instead."""

    cancelled: tuple[Shift, ...]
    added: tuple[Shift, ...]


def on_duty(shifts: Iterable[Shift], at: datetime) -> frozenset[str]:
    return frozenset(shift.user_id for shift in shifts if shift.starts_at <= at < shift.ends_at)


def clashes(wanted: Sequence[Shift], standing: Iterable[Shift]) -> list[Clash]:
    """Where one of `wanted` overlaps another of them, or one that stands, of the same person in whatever team."""
    found: list[Clash] = []
    by_person: dict[str, list[Shift]] = {}
    for shift in standing:
        by_person.setdefault(shift.user_id, []).append(shift)
    for shift in wanted:
        others = by_person.setdefault(shift.user_id, [])
        found.extend(Clash(shift, other) for other in others if other.id != shift.id and shift.overlaps(other))
        others.append(shift)
    return found


def fitted(wanted: Sequence[Shift], standing: Sequence[Shift]) -> tuple[list[Shift], list[Clash]]:
    """What a rota adds to what stands, and where it clashes with it.

    Left out is what the rota has given the person already, and the time for which somebody stands in for them:
    whoever asked for that stays away, whatever the rota becomes.
    """
    added: list[Shift] = []
    clashing: list[Clash] = []
    of_person: dict[str, list[Shift]] = {}
    instead_of: dict[str, list[Shift]] = {}
    for shift in standing:
        of_person.setdefault(shift.user_id, []).append(shift)
        if shift.stands_in_for is not None:
            instead_of.setdefault(shift.stands_in_for, []).append(shift)
    for shift in wanted:
        own = of_person.setdefault(shift.user_id, [])
        known = [other for other in own if other.pattern_id == shift.pattern_id and other.stands_in_for is None]
        away = [other for other in instead_of.get(shift.user_id, ()) if other.team is shift.team]
        for piece in cut(shift, [*known, *away]):
            found = [Clash(piece, other) for other in own if piece.overlaps(other)]
            clashing.extend(found)
            if not found:
                added.append(piece)
                own.append(piece)
    return added, clashing


def cut(shift: Shift, others: Iterable[Shift]) -> list[Shift]:
    """What is left of the shift outside the time of the others."""
    pieces = [shift]
    for other in others:
        pieces = [left for piece in pieces for left in _cut_once(piece, other.starts_at, other.ends_at)]
    return pieces


def _cut_once(shift: Shift, starts_at: datetime, ends_at: datetime) -> list[Shift]:
    if ends_at <= shift.starts_at or starts_at >= shift.ends_at:
        return [shift]
    pieces = []
    if starts_at > shift.starts_at:
        pieces.append(replace(shift, id=_piece(shift, shift.starts_at, starts_at), ends_at=starts_at))
    if ends_at < shift.ends_at:
        pieces.append(replace(shift, id=_piece(shift, ends_at, shift.ends_at), starts_at=ends_at))
    return pieces


def _piece(shift: Shift, starts_at: datetime, ends_at: datetime) -> UUID:
    return uuid5(shift.id, f"{starts_at.isoformat()}|{ends_at.isoformat()}")


def stand_in(
    shifts: Sequence[Shift], standing: Sequence[Shift], person: str, start: datetime, end: datetime
) -> Change | Clash:
    """`person` stands in these shifts from `start` to `end`; what lies outside stays with whoever has it.

    `standing` are the shifts of `person`. Only the time within start to end changes hands.
    """
    cancelled: list[Shift] = []
    added: list[Shift] = []
    for shift in shifts:
        starts, ends = max(shift.starts_at, start), min(shift.ends_at, end)
        if starts >= ends:
            continue
        owner = shift.stands_in_for or shift.user_id
        taken = replace(
            shift,
            id=uuid5(shift.id, f"{person}|{starts.isoformat()}|{ends.isoformat()}"),
            user_id=person,
            starts_at=starts,
            ends_at=ends,
            stands_in_for=None if owner == person else owner,
            replaces=shift.id,
        )
        cancelled.append(shift)
        added.append(taken)
        added.extend(replace(left, replaces=shift.id) for left in _cut_once(shift, starts, ends))
    gone = {shift.id for shift in cancelled}
    found = clashes(added, [shift for shift in standing if shift.id not in gone])
    return found[0] if found else Change(tuple(cancelled), tuple(added))


def swapped(one: Shift, other: Shift, standing: Sequence[Shift]) -> Change | Clash:
    """Each stands the other's shift. `standing`: the shifts of both around that time, these two may be among them."""
    added = tuple(
        replace(
            shift,
            id=uuid5(shift.id, f"{person}|swap|{one.id}|{other.id}"),
            user_id=person,
            stands_in_for=None if (owner := shift.stands_in_for or shift.user_id) == person else owner,
            replaces=shift.id,
        )
        for shift, person in ((one, other.user_id), (other, one.user_id))
    )
    found = clashes(added, [shift for shift in standing if shift.id not in (one.id, other.id)])
    return found[0] if found else Change((one, other), added)
