"""Whom an order goes to: never nobody while somebody is there, and the same people for the same facts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.adapters.reports import load_categories
from services.domain.devices import BY_NAME
from services.domain.dispatch import SKILLS, Candidate, Member, choose, reach, skills_for, team_on_duty
from services.domain.dispatch.skills import WANTED
from services.domain.ids import CommunityId, OrderId
from services.domain.orders import SYSTEM, Draft, Mode, Order, Rung, Source, created, fold, plain_terms
from services.domain.vocabulary import Label, Role, Severity, Team

NOW = datetime(2026, 11, 23, 4, tzinfo=UTC)


def order(mode: Mode = Mode.ASSIGN, team: Team = Team.PATROL, **values: object) -> Order:
    draft = Draft(
        id=OrderId(UUID(int=1)),
        community_id=CommunityId("test"),
        source=Source.STAFF,
        kind="gas_alarm",
        severity=Severity.CRITICAL,
        title=Label("试", "test"),
        team=team,
        correlation="",
        terms=replace(plain_terms(Severity.CRITICAL), mode=mode),
        x=0.0,
        y=0.0,
    )
    return replace(fold([created(draft, NOW, SYSTEM.id, SYSTEM.role_name)]), **values)  # type: ignore[arg-type]


@st.composite
def candidates(draw: st.DrawFn) -> list[Candidate]:
    rostered = draw(st.booleans())
    return [
        Candidate(
            id=f"p{n}",
            role=Role.STAFF,
            team=Team.PATROL,
            post=draw(st.sampled_from([None, "member", "leader"])),
            rostered=rostered,
            skills=frozenset(draw(st.sets(st.sampled_from(["gas", "fire", "lift"])))),
            x=draw(st.sampled_from([None, 0.0, 100.0, 900.0])),
            y=0.0,
            in_hand=draw(st.dictionaries(st.sampled_from(["dispatched", "accepted", "paused"]), st.integers(1, 3))),
            given_at=draw(st.sampled_from([None, NOW, NOW - timedelta(hours=1)])),
            returned=draw(st.booleans()),
        )
        for n in range(draw(st.integers(0, 6)))
    ]


@given(candidates(), st.sampled_from(Mode), st.booleans(), st.randoms(use_true_random=False))
def test_choice_is_of_people_on_duty_and_of_nobody_only_where_there_is_none(
    people: list[Candidate], mode: Mode, forced: bool, rng: object
) -> None:
    on_duty = {one.id for one in team_on_duty(people, Team.PATROL)}
    found = choose(order(mode, forced=forced), people)
    assert bool(found.offered) == bool(on_duty)
    assert set(found.offered) <= on_duty and len(set(found.offered)) == len(found.offered)
    shuffled = list(people)
    rng.shuffle(shuffled)  # type: ignore[attr-defined]
    assert choose(order(mode, forced=forced), shuffled) == found, "by facts, not by the order of rows"
    if not on_duty:
        return
    assert found.why is not None and " · " in found.why
    match Mode.ASSIGN if forced else mode:
        case Mode.ASSIGN | Mode.ROTATE:
            assert found.offered == (found.assignee_id,)
        case Mode.FIRST:
            assert len(found.offered) == min(3, len(on_duty)) and found.assignee_id is None
        case _:
            assert set(found.offered) == on_duty and found.assignee_id is None
    if forced:
        others = {one.id for one in people if one.id in on_duty and not one.returned}
        assert not others or found.assignee_id in others


@given(candidates())
def test_assigned_is_better_than_none_of_the_others_in_every_respect(people: list[Candidate]) -> None:
    present = team_on_duty(people, Team.PATROL)
    found = choose(order(), people)
    best = next((one for one in present if one.id == found.assignee_id), None)
    if best is None:
        return
    for other in present:
        nearer = other.x is not None and best.x is not None and other.x < best.x
        freer = sum(other.in_hand.values()) == 0 and sum(best.in_hand.values()) > 0
        assert not ("gas" in other.skills and not {"gas", "fire"} & best.skills), "a skill before all else"
        if bool({"gas", "fire"} & other.skills) >= bool({"gas", "fire"} & best.skills):
            assert not (nearer and freer)


@given(
    st.lists(
        st.builds(
            Member,
            id=st.uuids().map(str),
            role=st.sampled_from([Role.STAFF, Role.DESK, Role.STREET, Role.ADMIN]),
            team=st.sampled_from([Team.PATROL, Team.DESK, Team.STREET, Team.DEPARTMENT]),
            leads=st.booleans(),
            post=st.sampled_from([None, "member"]),
            rostered=st.booleans(),
        ),
        max_size=6,
    ),
    st.sampled_from(Rung),
    st.integers(0, 23),
)
def test_ladder_never_reaches_nobody_while_anybody_is_there(members: list[Member], rung: Rung, hour: int) -> None:
    found = reach(order(), rung, members, hour)
    assert bool(found.people) == bool(members)
    assert found.rung >= rung, "the ladder is never climbed down"
    assert set(found.people) <= {one.id for one in members}
    if not found.alone:
        assert found.skipped == tuple(step for step in Rung if rung <= step < found.rung)


def test_unknown_position_is_neither_an_advantage_nor_a_disadvantage() -> None:
    def person(name: str, x: float | None) -> Candidate:
        return Candidate(id=name, role=Role.STAFF, team=Team.PATROL, skills=frozenset({"gas"}), x=x, y=0.0)

    people = [person("a", 300.0), person("b", 100.0), person("c", None)]
    assert choose(order(Mode.FIRST), people).offered == ("b", "c", "a")


@pytest.mark.parametrize("name", sorted(BY_NAME))
def test_skills_wanted_are_skills_that_exist(name: str) -> None:
    assert skills_for(name, None) <= set(SKILLS)


def test_category_says_more_than_the_kind() -> None:
    assert skills_for("bin", "water_leak") == {"plumbing"}
    assert skills_for("gas_alarm", "no such category") == skills_for("gas_alarm", None) == {"gas", "fire"}
    assert {skill for wanted in WANTED.values() for skill in wanted} <= set(SKILLS)
    categories = load_categories()
    assert set(WANTED) <= set(BY_NAME) | set(categories), "it names what nobody reports"
    for one in categories.values():
        if one.severity.rank >= Severity.MAJOR.rank and one.id != "high_throw":
            assert skills_for("resident_report", one.id), f"whoever goes for {one.id} is not chosen by what they know"
