"""Whose names figures carry: those who lead see them, and a key only where it was given them."""

from __future__ import annotations

import pytest

from services.api.kpis.figures import sees_people
from services.domain.access import Permission, Principal
from services.domain.vocabulary import Role


@pytest.mark.parametrize(
    ("role", "limits", "seen"),
    [
        (Role.DESK, None, True),
        (Role.STREET, None, True),
        (Role.ADMIN, None, True),
        (Role.STAFF, None, False),
        (Role.DISPLAY, None, False),
        (Role.DESK, frozenset({Permission.KPIS}), False),
        (Role.ADMIN, frozenset({Permission.KPIS, Permission.ORDERS}), False),
        (Role.DESK, frozenset({Permission.KPIS, Permission.ROSTERS}), True),
        (Role.STAFF, frozenset({Permission.KPIS, Permission.ROSTERS}), False),
    ],
)
def test_names_of_staff_are_shown_to_people_who_lead_and_to_keys_that_were_given_them(
    role: Role, limits: frozenset[Permission] | None, seen: bool
) -> None:
    assert sees_people(Principal("x", "x", "x", role, None, "test", limits=limits)) is seen
