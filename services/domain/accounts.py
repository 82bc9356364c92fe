"""Which scope each role is bound to, and whose accounts somebody may change: never one above their own."""

from __future__ import annotations

from dataclasses import dataclass

from services.domain.access import PERMISSIONS, Principal
from services.domain.vocabulary import Label, Role, Team

_FIELD = frozenset({Team.GENERAL, Team.ENVIRONMENT, Team.PATROL, Team.MAINTENANCE, Team.CLEANING})
_TEAMS: dict[Role, frozenset[Team]] = {
    Role.STAFF: _FIELD,
    Role.GRID: frozenset({Team.GRID}),
    Role.DESK: frozenset({Team.DESK}),
    Role.STREET: frozenset({Team.STREET, Team.DEPARTMENT}),
}
_CITY_WIDE = frozenset({Role.ADMIN, Role.PLATFORM})


@dataclass(frozen=True, slots=True)
class Scope:
    """What an account is bound to."""

    community_id: str | None = None
    street_id: str | None = None
    grid_id: str | None = None
    household_id: str | None = None


def scope_faults(role: Role, team: Team | None, scope: Scope) -> list[tuple[str, Label]]:
    """What does not fit the role, by field; whether the named places exist is the registry's to say."""
    faults: list[tuple[str, Label]] = []

    def refuse(field: str, zh: str, en: str) -> None:
        faults.append((field, Label(zh, en)))

    if role is Role.DISPLAY:
        refuse("role", "大屏账号由配对产生", "accounts of screens are made by pairing")
    if scope.community_id is not None and scope.street_id is not None:
        refuse("street_id", "社区与街道只能选一个", "either a community or a street, not both")
    if role is Role.STREET:
        if scope.street_id is None:
            refuse("street_id", "街道账号须绑定街道", "an account of a street office is bound to its street")
    elif role not in _CITY_WIDE:
        if scope.community_id is None:
            refuse("community_id", "此角色须绑定社区", "this role is bound to a community")
        if scope.street_id is not None:
            refuse("street_id", "此角色不绑定街道", "this role is not bound to a street")
    if role is Role.GRID and scope.grid_id is None:
        refuse("grid_id", "网格员须绑定本社区的网格", "a grid member is bound to a grid of the community")
    if role is not Role.GRID and scope.grid_id is not None:
        refuse("grid_id", "只有网格员绑定网格", "only grid members are bound to a grid")
    if role is Role.RESIDENT and scope.household_id is None:
        refuse("household_id", "居民须绑定住户", "a resident is bound to a household")
    if role not in (Role.RESIDENT, Role.MERCHANT, Role.VISITOR) and scope.household_id is not None:
        refuse("household_id", "此角色不绑定住户", "this role is not bound to a household")
    teams = _TEAMS.get(role, frozenset())
    if teams and team not in teams:
        names = ", ".join(sorted(teams))
        refuse("team", f"此角色的队伍须为 {names} 之一", f"the team of this role is one of {names}")
    if not teams and team is not None:
        refuse("team", "此角色不属于队伍", "this role belongs to no team")
    return faults


def within(who: Principal, community_id: str | None, street_id: str | None, street_of_community: str | None) -> bool:
    """Whether a scope is no wider than the asker's. `street_of_community`: of the community, where one is named."""
    if who.community_id is not None:
        return community_id == who.community_id
    if who.street_id is not None:
        return who.street_id in (street_id, street_of_community)
    return who.role in _CITY_WIDE


def may_grant(who: Principal, role: Role) -> bool:
    """Whether the role can do nothing that the asker's own cannot."""
    return PERMISSIONS[role] <= PERMISSIONS[who.role]


def may_help(who: Principal, role: Role) -> bool:
    """Whether the asker may free such an account and reset its password: one that can do less, or an admin's peers."""
    if who.role is Role.ADMIN:
        return may_grant(who, role)
    return PERMISSIONS[role] < PERMISSIONS[who.role]
