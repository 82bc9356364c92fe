"""The permission matrix and scopes, cell by cell."""

from __future__ import annotations

from dataclasses import replace

import pytest

from services.domain.access import (
    PERMISSIONS,
    Permission,
    Principal,
    allowed,
    reaches_community,
    reaches_grid,
    reaches_household,
    reader_class,
)
from services.domain.vocabulary import Role, Team

P = Permission
PUBLIC = {P.SELF, P.CATALOGUE, P.COMMUNITY, P.PUBLIC_VALUES}
WATCH = PUBLIC | {P.COCKPIT, P.DEVICES, P.READINGS, P.SERIES, P.ALERTS, P.ORDERS, P.KPIS, P.RULES, P.PLANS}
WATCH |= {P.FACILITIES, P.FORECASTS}
REPORTS = {P.REPORT, P.EVIDENCE, P.EVIDENCE_ADD}
WORK = WATCH | REPORTS | {P.ORDER_MOVES, P.ORDER_OPEN, P.ROSTERS}
KEEP = WORK | {
    P.HEALTH,
    P.QUARANTINE,
    P.LEDGER,
    P.SILENCES,
    P.HOUSEHOLD,
    P.ROSTER_EDIT,
    P.NOTICES,
    P.REPORT_DESK,
    P.EVIDENCE_REMOVE,
    P.PLACE_CODES,
    P.DISPLAYS,
    P.USERS_HELP,
    P.REGISTRY,
    P.PEOPLE,
    P.EXPORT,
    P.REPLAY,
    P.COMMANDS,
    P.COMMAND_ASK,
    P.COMMAND_APPROVE,
    P.COMMAND_SCHEDULE,
    P.CITY_ANSWER,
}
EXPECTED = {
    Role.RESIDENT: PUBLIC | REPORTS | {P.HOUSEHOLD},
    Role.MERCHANT: PUBLIC | REPORTS,
    Role.VISITOR: PUBLIC | REPORTS,
    Role.STAFF: WORK,
    Role.GRID: WORK | {P.HEALTH, P.HOUSEHOLD, P.PEOPLE, P.COMMANDS, P.COMMAND_ASK},
    Role.DESK: KEEP | {P.RULE_EDIT, P.PLAN_EDIT, P.PEOPLE_EDIT},
    Role.STREET: WORK | {P.REPLAY, P.COMMANDS, P.COMMAND_APPROVE, P.CITY_EVENTS},
    Role.PLATFORM: WATCH | {P.CITY_EVENTS, P.CITY_CASES},
    Role.ADMIN: KEEP
    | {P.RULE_EDIT, P.RULE_SAFETY, P.PLAN_EDIT, P.ORDER_CLASS_EDIT, P.GATEWAYS, P.USERS, P.KEYS}
    | {P.REGISTRY_EDIT, P.PEOPLE_EDIT, P.PRIVACY, P.AUDIT, P.CITY_EVENTS, P.CITY_CASES, P.CITY_EDIT},
    Role.DISPLAY: WATCH - {P.READINGS, P.RULES, P.PLANS},
}


def who(role: Role, **scope: str) -> Principal:
    team = Team.PATROL if role is Role.STAFF else None
    return replace(Principal("u1", "somebody", "Somebody", role, team), **scope)  # type: ignore[arg-type]


@pytest.mark.parametrize("role", list(Role))
@pytest.mark.parametrize("permission", list(Permission))
def test_access_matrix_gives_exactly_what_the_domain_says(role: Role, permission: Permission) -> None:
    assert allowed(role, permission) == (permission is P.ANYONE or permission in EXPECTED[role])


def test_access_denies_a_role_that_is_not_in_the_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(PERMISSIONS, Role.STAFF)
    assert not any(allowed(Role.STAFF, permission) for permission in Permission if permission is not P.ANYONE)


@pytest.mark.parametrize("role", list(Role))
def test_access_of_a_community_account_ends_at_its_community(role: Role) -> None:
    assert reaches_community(who(role, community_id="a"), "a", "s")
    assert not reaches_community(who(role, community_id="a"), "b", "s")
    assert not reaches_community(who(role, community_id="a", street_id="s"), "b", "s")


def test_access_of_a_street_reaches_all_its_communities_and_no_others() -> None:
    street = who(Role.STREET, street_id="s1")
    assert reaches_community(street, "a", "s1")
    assert reaches_community(street, "b", "s1")
    assert not reaches_community(street, "c", "s2")


@pytest.mark.parametrize("role", list(Role))
def test_access_bound_to_nothing_reaches_everything_only_for_city_wide_roles(role: Role) -> None:
    assert reaches_community(who(role), "a", "s") == (role in (Role.ADMIN, Role.PLATFORM))


def test_access_of_a_grid_member_ends_at_the_grid() -> None:
    member = who(Role.GRID, community_id="a", grid_id="g1")
    assert reaches_grid(member, "g1")
    assert not reaches_grid(member, "g2")
    assert not reaches_grid(member, None)
    assert not reaches_grid(who(Role.GRID, community_id="a"), None)
    assert reaches_grid(who(Role.DESK, community_id="a"), "g2")


def test_access_of_residents_ends_at_their_household() -> None:
    resident = who(Role.RESIDENT, community_id="a", household_id="h1")
    assert reaches_household(resident, "h1")
    assert not reaches_household(resident, "h2")
    assert not reaches_household(who(Role.VISITOR, community_id="a"), None)
    assert reaches_household(who(Role.DESK, community_id="a"), "h2")


@pytest.mark.parametrize("role", list(Role))
def test_access_to_health_is_for_grid_members_of_the_place_the_desk_and_administrators(role: Role) -> None:
    reader = reader_class(who(role, community_id="a", grid_id="g1"))
    assert reader.sees_health("g1") == (role in (Role.GRID, Role.DESK, Role.ADMIN))
    assert reader.sees_health("g2") == (role in (Role.DESK, Role.ADMIN))
    assert reader.sees_health(None) == (role in (Role.DESK, Role.ADMIN))


def test_access_classes_are_shared_by_all_of_a_role_and_team() -> None:
    one, two = (Principal(id, id, id, Role.STAFF, Team.PATROL, "a") for id in ("u1", "u2"))
    assert reader_class(one) == reader_class(two)
    other = Principal("u3", "u3", "u3", Role.STAFF, Team.CLEANING, "a")
    assert reader_class(one) != reader_class(other)
