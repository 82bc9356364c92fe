"""Who may ask for what, who may approve it, and what is checked again in the moment of sending."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from services.domain.access import Permission, Principal
from services.domain.commands import CommandState
from services.domain.commands.asking import command_of, lives_s, proof_of, wrong_params
from services.domain.commands.rights import (
    Place,
    Wanted,
    may_approve,
    may_ask,
    may_break_glass,
    may_cancel,
    may_review,
    still_stands,
)
from services.domain.devices import CATALOGUE
from services.domain.devices.kind import CommandType, Happens, Shows
from services.domain.vocabulary import Role

HERE = Place("test", "street", "g1", "gas_meter")


def person(role: Role, id: str = "", **more: Any) -> Principal:
    scope: dict[str, Any] = {"community_id": "test", **more}
    return Principal(id or role.value, role.value, role.value, role, None, **scope)


def known(kind: str, name: str) -> CommandType:
    command = command_of(kind, name)
    assert command is not None
    return command


VALVE, SNAPSHOT = known("gas_meter", "valve_close"), known("perimeter_camera", "snapshot")
SIREN = known("siren", "siren_on")
WANTED = Wanted("desk", True, CommandState.AWAITING)


@pytest.mark.parametrize("role", list(Role))
def test_dangerous_is_asked_by_desk_and_admin_alone(role: Role) -> None:
    who = person(role, grid_id="g1")
    assert (may_ask(who, VALVE, HERE) is None) == (role in (Role.DESK, Role.ADMIN))
    assert (may_ask(who, SNAPSHOT, HERE) is None) == (role in (Role.DESK, Role.ADMIN, Role.GRID))


def test_asking_ends_at_ones_community_and_grid() -> None:
    assert may_ask(person(Role.DESK, community_id="other"), VALVE, HERE) is not None
    assert may_ask(person(Role.GRID, grid_id="g2"), SNAPSHOT, HERE) is not None
    assert may_ask(person(Role.GRID), SNAPSHOT, HERE) is not None
    no_health = replace(person(Role.DESK), limits=frozenset({Permission.COMMAND_ASK}))
    assert may_ask(no_health, known("wristband", "locate"), replace(HERE, kind="wristband")) is not None


@pytest.mark.parametrize("role", list(Role))
def test_approval_is_by_another_person_of_desk_admin_or_street(role: Role) -> None:
    may = role in (Role.DESK, Role.ADMIN, Role.STREET)
    other = person(role, "other", street_id="street")
    assert (may_approve(other, WANTED, HERE) is None) == may
    assert (may_review(other, replace(WANTED, emergency=True), HERE) is None) == may


def test_nobody_approves_or_reviews_their_own() -> None:
    desk = person(Role.DESK, "desk")
    assert may_approve(desk, WANTED, HERE) is not None
    assert may_review(desk, replace(WANTED, emergency=True), HERE) is not None
    assert may_review(person(Role.ADMIN), replace(WANTED, emergency=True, reviewed=True), HERE) is not None
    assert may_review(person(Role.ADMIN), WANTED, HERE) is not None


def test_programs_neither_approve_nor_break_glass() -> None:
    key = replace(person(Role.DESK, "key"), limits=frozenset(Permission))
    assert may_approve(key, WANTED, HERE) is not None
    assert may_break_glass(key, SIREN, HERE) is not None
    assert may_ask(key, VALVE, HERE) is None


def test_break_glass_is_for_what_warns_people() -> None:
    desk = person(Role.DESK)
    assert may_break_glass(desk, SIREN, HERE) is None
    assert may_break_glass(desk, known("loudspeaker", "speak"), HERE) is None
    assert may_break_glass(desk, VALVE, HERE) is not None
    assert may_break_glass(desk, known("siren", "siren_off"), HERE) is not None
    assert may_break_glass(person(Role.GRID, grid_id="g1"), SIREN, HERE) is not None


def test_cancelling_ends_when_it_has_left() -> None:
    for state in CommandState:
        may = state in (CommandState.AWAITING, CommandState.QUEUED)
        assert (may_cancel(person(Role.DESK, "desk"), replace(WANTED, state=state), HERE) is None) == may
    assert may_cancel(person(Role.STAFF, "patrol"), WANTED, HERE) is not None


def test_rights_are_asked_again_when_it_is_sent() -> None:
    asker, second = person(Role.DESK, "desk"), person(Role.ADMIN, "boss")
    assert still_stands(asker, second, VALVE, WANTED, HERE) is None
    for gone in (
        still_stands(None, second, VALVE, WANTED, HERE),
        still_stands(asker, None, VALVE, WANTED, HERE),
        still_stands(person(Role.STAFF, "desk"), second, VALVE, WANTED, HERE),
        still_stands(asker, person(Role.STAFF, "boss"), VALVE, WANTED, HERE),
        still_stands(asker, asker, VALVE, WANTED, HERE),
        still_stands(asker, person(Role.ADMIN, "boss", community_id="other"), VALVE, WANTED, HERE),
    ):
        assert gone is not None
    assert still_stands(asker, None, SIREN, replace(WANTED, emergency=True), HERE) is None
    assert still_stands(asker, None, SNAPSHOT, replace(WANTED, dangerous=False), HERE) is None


@pytest.mark.parametrize(
    ("kind", "name", "params", "good"),
    [
        ("siren", "siren_on", {"seconds": 60}, True),
        ("siren", "siren_on", {"seconds": 601}, False),
        ("siren", "siren_on", {"seconds": True}, False),
        ("siren", "siren_on", {"volume": 1}, False),
        ("lamp_post", "dim", {"brightness": 0}, True),
        ("lamp_post", "dim", {}, False),
        ("lamp_post", "dim", {"brightness": "50"}, False),
        ("lamp_post", "dim", {"brightness": float("nan")}, False),
        ("loudspeaker", "speak", {"text": "请撤离"}, True),
        ("loudspeaker", "speak", {"clip": "evacuate", "zone": "b1"}, True),
        ("loudspeaker", "speak", {"zone": "b1"}, False),
        ("loudspeaker", "speak", {"text": " "}, False),
        ("loudspeaker", "speak", {"text": "x" * 501}, False),
        ("gas_meter", "valve_close", {}, True),
        ("gas_meter", "valve_close", {"text": "x"}, False),
    ],
)
def test_parameters_are_those_of_the_kind(kind: str, name: str, params: dict[str, Any], good: bool) -> None:
    assert (wrong_params(known(kind, name), params) is None) == good


def test_every_proof_can_be_looked_for() -> None:
    """A metric or an event that the kind has, and never both ways at once."""
    shown = 0
    for kind in CATALOGUE:
        for command in kind.commands:
            params = {"brightness": 30, "text": "x", "seconds": 5}
            proof = proof_of(kind.name, command.name, params)
            assert (proof is None) == (command.proof is None), f"{kind.name}.{command.name}"
            if isinstance(command.proof, Shows) and proof is not None:
                assert kind.metrics[proof["at"] - 1].name == command.proof.metric
                assert proof["low"] <= proof["high"]
            if isinstance(command.proof, Happens):
                assert command.proof.event in {event.name for event in kind.events}
                fields = next(event.fields for event in kind.events if event.name == command.proof.event)
                assert "command" in fields
            shown += proof is not None
    assert shown >= 12
    assert proof_of("gas_meter", "valve_close", {}) == {"at": 4, "low": 1, "high": 1}
    assert proof_of("lamp_post", "dim", {"brightness": 40}) == {"at": 3, "low": 35.0, "high": 45.0}


def test_life_is_never_longer_than_the_kind_allows() -> None:
    assert lives_s(VALVE, None) == 120 and lives_s(VALVE, 10_000) == 120 and lives_s(VALVE, 1) == 5
    assert all(5 <= one.lives_s <= 3600 for kind in CATALOGUE for one in kind.commands)
    assert not [one.name for kind in CATALOGUE for one in kind.commands if one.calls and not one.dangerous]
