"""Passwords, scopes, lock-outs, lifetimes and tokens; no sockets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import jwt
import pytest

from services.api.identity.lifetimes import lifetimes
from services.api.identity.lockout import Policies, Tally, counted, name_key
from services.api.identity.tokens import Tokens
from services.domain.access import Principal
from services.domain.accounts import Scope, may_grant, may_help, scope_faults, within
from services.domain.passwords import fault
from services.domain.vocabulary import Role, Team

NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)
KEY, OTHER = "k" * 32, "o" * 32


@pytest.mark.parametrize(
    "password",
    ["short", "1234567890", "aaaaaaaaaaaa", "abcabcabcabc", "Password123!", "Admin@123456", "woaini1314520",
     "a1234567890", "5201314520", "zhangwei", "Zhangwei1990", "13812345678", "qq19900101", "x" * 129,
     "desk-one-1", "P@ssw0rd2026"],
)  # fmt: skip
def test_password_that_guessers_try_first_is_refused(password: str) -> None:
    assert fault(password, "desk-one", "张伟") is not None


@pytest.mark.parametrize(
    "password", ["linhub-test-password", "六月的雨下在老城的墙上", "correct horse battery", "k3-Vq8-mm2-Zz"]
)
def test_password_of_some_length_is_taken_without_rules_of_composition(password: str) -> None:
    assert fault(password, "desk-one", "张伟") is None


def who(role: Role, community: str | None = None, street: str | None = None) -> Principal:
    return Principal("u", "u", "u", role, None, community, street)


@pytest.mark.parametrize(
    ("role", "team", "scope", "field"),
    [
        (Role.GRID, Team.GRID, Scope("c"), "grid_id"),
        (Role.RESIDENT, None, Scope("c"), "household_id"),
        (Role.STAFF, None, Scope("c"), "team"),
        (Role.STAFF, Team.DESK, Scope("c"), "team"),
        (Role.STREET, Team.STREET, Scope("c"), "street_id"),
        (Role.DESK, Team.DESK, Scope(), "community_id"),
        (Role.ADMIN, None, Scope("c", "s"), "street_id"),
        (Role.DISPLAY, None, Scope("c"), "role"),
    ],
)
def test_account_is_bound_as_its_role_demands(role: Role, team: Team | None, scope: Scope, field: str) -> None:
    assert field in [name for name, _ in scope_faults(role, team, scope)]


def test_account_that_fits_its_role_has_no_fault() -> None:
    assert scope_faults(Role.GRID, Team.GRID, Scope("c", grid_id="g")) == []
    assert scope_faults(Role.RESIDENT, None, Scope("c", household_id="h")) == []
    assert scope_faults(Role.ADMIN, None, Scope()) == []


def test_scope_is_never_wider_than_the_askers() -> None:
    assert within(who(Role.ADMIN), None, None, None)
    assert within(who(Role.ADMIN, "c"), "c", None, "s")
    assert not within(who(Role.ADMIN, "c"), None, None, None)
    assert not within(who(Role.ADMIN, "c"), "d", None, "s")
    assert not within(who(Role.ADMIN, "c"), None, "s", None)
    assert within(who(Role.ADMIN, street="s"), "c", None, "s")
    assert not within(who(Role.ADMIN, street="s"), "c", None, "t")
    assert not within(who(Role.STAFF), None, None, None)


def test_help_goes_to_those_who_may_do_less() -> None:
    assert may_help(who(Role.DESK), Role.STAFF)
    assert not may_help(who(Role.DESK), Role.DESK)
    assert not may_help(who(Role.DESK), Role.ADMIN)
    assert not may_grant(who(Role.DESK), Role.ADMIN)


def test_wait_grows_with_each_failure_and_is_bounded() -> None:
    policy, tally, waits = Policies.of(5).pair, Tally(), []
    for _ in range(14):
        tally = counted(tally, NOW, policy)
        waits.append((tally.blocked_until - NOW).total_seconds() if tally.blocked_until else 0)
    assert waits == [0, 0, 0, 0, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600, 3600]


def test_failures_close_together_are_counted_whole() -> None:
    policy, tally = Policies.of(5).pair, Tally()
    for second in range(5):
        tally = counted(tally, NOW + timedelta(seconds=second), policy)
    assert tally.blocked_until is not None


def test_failures_are_forgotten_and_credit_is_used_up_first() -> None:
    policy = Policies.of(5).pair
    assert counted(Tally(4.0, NOW - timedelta(hours=3)), NOW, policy).failures == 2
    assert counted(Tally(-50.0, NOW), NOW, policy) == Tally(-49.0, NOW)
    assert name_key(" Desk ") == name_key("desk") != name_key("desks")


def test_lifetimes_are_changed_by_role_and_wrong_ones_named() -> None:
    assert lifetimes("desk=2h/3d")[Role.DESK].most_s == 3 * 86400
    for wrong in ("desk", "king=1h/2h", "desk=3d/2h", "desk=0h/1d"):
        with pytest.raises(ValueError, match=wrong.split("=")[0]):
            lifetimes(wrong)


def test_access_token_of_any_known_key_is_read_and_nothing_else() -> None:
    old, new = Tokens((KEY,), 600), Tokens((OTHER, KEY), 600)
    until = datetime.now(UTC) + timedelta(hours=1)
    token, _ = old.access("u", "s", 1, until)
    assert new.read_access(token) == old.read_access(token)
    assert Tokens((OTHER,), 600).read_access(token) is None
    claims = jwt.decode(token, options={"verify_signature": False})

    def forged(key: str = KEY, algorithm: str = "HS256", typ: str = "at+jwt", **changed: object) -> str:
        return jwt.encode({**claims, **changed}, key, algorithm=algorithm, headers={"typ": typ})

    assert old.read_access(forged()) is not None
    assert old.read_access(forged(exp=datetime.now(UTC) - timedelta(seconds=20))) is not None, "clocks differ a little"
    assert old.read_access(forged(iat=datetime.now(UTC) + timedelta(minutes=5))) is not None, "issued by a fast clock"
    wrong = [
        forged(key="", algorithm="none"), forged(key="w" * 32), forged(typ="oidc-state"), forged(aud="x"),
        forged(iss="x"), forged(sid=5), forged(exp=datetime.now(UTC) - timedelta(seconds=40)), "a.b.c", "",
    ]  # fmt: skip
    assert [old.read_access(one) for one in wrong] == [None] * len(wrong)


def test_refresh_token_that_was_never_given_out_is_known_as_such() -> None:
    tokens = Tokens((KEY,), 600)
    token = tokens.refresh("session")
    assert tokens.read_refresh(token) == "session"
    assert Tokens((OTHER, KEY), 600).read_refresh(token) == "session"
    for wrong in (token[:-1] + ("0" if token[-1] != "0" else "1"), "session.guess." + "0" * 32, "", "é.é.é"):
        assert tokens.read_refresh(wrong) is None
