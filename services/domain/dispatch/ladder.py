"""The ladder: who stands on each rung at this moment, and the rung on which somebody is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from services.domain.dispatch.people import Member, in_grid, team_on_duty
from services.domain.orders.order import Order
from services.domain.orders.terms import Rung
from services.domain.vocabulary import Role, Severity, Team

NIGHT_FROM, NIGHT_TO = 22, 6
"""In these hours a leader who is not on duty is asked only for what cannot wait
(GB 12348-2008: night is 22:00 to 6:00)."""


@dataclass(frozen=True, slots=True)
class Reached:
    """The rung on which somebody was found, at or above the one asked for, and who. `alone`: nobody on any rung is on
    duty, so everybody of the desk and the administrators are asked; it must be said loudly. Nobody at all in `people`:
    no enabled account could act on it."""

    rung: Rung
    people: tuple[str, ...]
    skipped: tuple[Rung, ...] = ()
    alone: bool = False


def reach(order: Order, rung: Rung, members: Sequence[Member], hour: float) -> Reached:
    """`hour` is of the community's clock, 0 ≤ hour < 24."""
    skipped: list[Rung] = []
    for step in Rung:
        if step < rung:
            continue
        people = standing_on(order, step, members, hour)
        if people:
            return Reached(step, people, tuple(skipped))
        skipped.append(step)
    return Reached(max(rung, Rung.DESK), _anybody(order, members), tuple(skipped), alone=True)


def standing_on(order: Order, rung: Rung, members: Sequence[Member], hour: float) -> tuple[str, ...]:
    """The account ids of this rung, by id; empty where nobody stands on it now."""
    match rung:
        case Rung.TEAM:
            people = in_grid(team_on_duty(members, order.team), order.team, order.grid_id)
        case Rung.LEADER:
            people = _leaders(order, members, hour)
        case Rung.DESK:
            people = team_on_duty(members, Team.DESK)
        case Rung.STREET:
            people = team_on_duty(members, Team.STREET)
        case Rung.DEPARTMENT:
            people = team_on_duty(members, Team.DEPARTMENT)
    return tuple(sorted(one.id for one in people))


def _leaders(order: Order, members: Sequence[Member], hour: float) -> tuple[Member, ...]:
    """Leaders on duty, else every leader of the team, wherever they are."""
    team = [one for one in members if one.team is order.team]
    present = tuple(one for one in team_on_duty(team, order.team) if one.post == "leader" or one.leads)
    if present or (_is_night(hour) and not wakes(order)):
        return present
    return tuple(one for one in team if one.leads)


def _is_night(hour: float) -> bool:
    return hour >= NIGHT_FROM or hour < NIGHT_TO


def wakes(order: Order) -> bool:
    """Whether it is grave enough to ask somebody at night who is not on duty: its class runs around the clock, and it
    is major or critical."""
    return not order.terms.spans and order.severity.rank >= Severity.MAJOR.rank


def _anybody(order: Order, members: Sequence[Member]) -> tuple[str, ...]:
    """Everybody of the desk and the administrators, on duty or not; else of the team; else whoever there is."""
    sorts = (
        [one for one in members if one.role in (Role.DESK, Role.ADMIN)],
        [one for one in members if one.team is order.team],
        list(members),
    )
    return next((tuple(sorted(one.id for one in sort)) for sort in sorts if sort), ())
