"""The people an order may go to, as they are at this moment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeVar

from services.domain.vocabulary import Role, Team


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """An enabled account that may work on orders of the community. `post` None: stands no shift now; `rostered`: its
    team keeps a roster. `team` None: an administrator, who stands no duty."""

    id: str
    role: Role
    team: Team | None
    leads: bool = False
    grid_id: str | None = None
    post: str | None = None
    rostered: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate(Member):
    """`x`, `y`: where it was a moment ago, metres on the plan, if it shares that. `in_hand`: its open orders by state.
    `given_at`: when it was last given or took one. `returned`: it has returned this very order."""

    skills: frozenset[str] = frozenset()
    x: float | None = None
    y: float | None = None
    in_hand: Mapping[str, int] = field(default_factory=dict)
    given_at: datetime | None = None
    returned: bool = False


M = TypeVar("M", bound=Member)


def team_on_duty(members: Iterable[M], team: Team) -> tuple[M, ...]:
    """Whoever of the team is on duty; of a team without a roster, everybody."""
    own = [one for one in members if one.team is team]
    kept = any(one.rostered or one.post is not None for one in own)
    return tuple(one for one in own if one.post is not None or not kept)


def in_grid(people: Sequence[M], team: Team, grid_id: str | None) -> tuple[M, ...]:
    """Of 网格员 those of the order's own 网格, or all of them where it has nobody; other teams as they are."""
    own = [one for one in people if one.grid_id == grid_id] if team is Team.GRID and grid_id is not None else []
    return tuple(own or people)
