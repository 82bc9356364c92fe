"""The rotas of a demo community: early, late and night for patrol, grid and desk, day hours for the others."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, time

from services.domain.registry import Account
from services.domain.rosters import EMERGENCY_TEAMS, Cover, Pattern, ShiftTime, Turn
from services.domain.vocabulary import Role, Team

_THREE = (
    ShiftTime(name="早班", from_=time(8), to=time(16)),
    ShiftTime(name="中班", from_=time(16), to=time(0)),
    ShiftTime(name="晚班", from_=time(0), to=time(8)),
)
_DAY = (ShiftTime(name="日班", from_=time(8), to=time(18)),)
_ALWAYS = (ShiftTime(name="全天", from_=time(0), to=time(0)),)
_TEAM_OF_ROLE = {Role.GRID: Team.GRID, Role.DESK: Team.DESK}


def rotas(accounts: Sequence[Account], from_day: date) -> dict[str, Pattern]:
    """By id; people are named by the ids that the registry gives their accounts (`user-{username}`).

    Of each team one stands all day every day (of the grid one a 网格), so that whoever plays a story is on duty
    whenever it is played. The street office keeps no roster: all of it counts as on duty.
    """
    found: dict[str, Pattern] = {}
    for team in Team:
        people = [one for one in accounts if (_TEAM_OF_ROLE.get(one.role) or one.team) is team]
        if not people or people[0].role is Role.STREET:
            continue
        standing = _standing(people)
        relief = [one for one in people if one not in standing]
        found[f"{team.value}-standing"] = Pattern(
            team=team,
            name="常备",
            shifts=_ALWAYS,
            people=(tuple(_id(one) for one in standing),),
            turn=Turn.FIXED,
            from_day=from_day,
            cover=Cover.HOURS,
        )
        if not relief:
            continue
        emergency = team in EMERGENCY_TEAMS
        found[team.value] = Pattern(
            team=team,
            name="早中晚轮班" if emergency else "日班",
            shifts=_THREE if emergency else _DAY,
            days="all" if emergency else "workday",
            people=tuple((_id(one),) for one in relief) if emergency else (tuple(_id(one) for one in relief),),
            leaders=frozenset(_id(one) for one in relief if one.leads),
            step_days=7 if emergency else 1,
            from_day=from_day,
        )
    return found


def _standing(people: Sequence[Account]) -> list[Account]:
    """The first one; of 网格员 the first of each 网格."""
    grids: dict[str | None, Account] = {}
    for one in people:
        grids.setdefault(one.grid_id if one.role is Role.GRID else None, one)
    return list(grids.values())


def _id(account: Account) -> str:
    return f"user-{account.username}"
