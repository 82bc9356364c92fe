"""Rosters against an oracle that asks each minute by itself."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from device_sim.presets import BY_NAME
from device_sim.presets.generate import generate
from device_sim.presets.rosters import rotas
from services.domain.calendar import is_among, is_workday
from services.domain.ids import CommunityId
from services.domain.rosters import (
    Change,
    Clash,
    Cover,
    Pattern,
    PatternError,
    Post,
    Shift,
    ShiftTime,
    Stretch,
    Turn,
    clashes,
    fitted,
    gaps,
    on_duty,
    planned,
    required,
    stand_in,
    swapped,
)
from services.domain.vocabulary import Team

ZONE = ZoneInfo("Asia/Shanghai")
MINUTE = timedelta(minutes=1)
HOME = CommunityId("test")
START = datetime(2026, 9, 25, 16, tzinfo=UTC)
"""Midnight of 26 September 2026 in Shanghai: a make-up day, then the holidays of the National Day."""
END = START + timedelta(days=9)
PEOPLE = [f"p{n}" for n in range(8)]


def local(day: date, at: time) -> datetime:
    return datetime.combine(day, at, ZONE).astimezone(UTC)


def pattern(**values: Any) -> Pattern:
    given: dict[str, Any] = {
        "team": "patrol",
        "shifts": [
            {"name": "早", "from": "08:00", "to": "16:00"},
            {"name": "中", "from": "16:00", "to": "00:00"},
            {"name": "晚", "from": "00:00", "to": "08:00"},
        ],
        "people": [["a"], ["b"], ["c"], ["d"]],
        "from": "2026-09-01",
    }
    return Pattern.parse(given | values)


def made(one: Pattern, start: datetime = START, days: int = 10, name: str = "rota", version: int = 1) -> list[Shift]:
    return planned(one, name, version, HOME, ZONE, start, start + timedelta(days=days))


@st.composite
def some_rota(draw: st.DrawFn) -> Pattern:
    """Shifts that follow one another through the day, with holes, some past midnight."""
    cuts = sorted(draw(st.sets(st.integers(0, 47), min_size=2, max_size=6)))
    stretches = [(a, b) for a, b in zip(cuts, [*cuts[1:], cuts[0] + 48], strict=True)]
    kept = [one for one in stretches if draw(st.integers(0, 3))] or stretches[:1]
    shifts = tuple(
        ShiftTime(name=f"s{n}", from_=time(a // 2 % 24, a % 2 * 30), to=time(b // 2 % 24, b % 2 * 30))
        for n, (a, b) in enumerate(kept)
    )
    turn = draw(st.sampled_from(Turn))
    crews = len(shifts) if turn is Turn.FIXED else draw(st.integers(1, 6))
    return Pattern(
        team=draw(st.sampled_from([Team.PATROL, Team.MAINTENANCE])),
        shifts=shifts,
        days=draw(st.sampled_from(["all", "workday", "restday", "weekday", "mon,wed,sun"])),
        people=tuple((f"p{n}",) for n in range(crews)),
        turn=turn,
        step_days=draw(st.integers(1, 4)),
        from_day=date(2026, 9, 20) + timedelta(days=draw(st.integers(0, 10))),
        until_day=draw(st.sampled_from([None, date(2026, 10, 1)])),
        cover=draw(st.sampled_from([None, Cover.ALWAYS, Cover.HOURS])),
    )


def standing_at(one: Pattern, at: datetime) -> set[str]:
    """Who the rota says stands at this minute, worked out from the words alone: day by day, shift by shift."""
    found: set[str] = set()
    here = at.astimezone(ZONE)
    for back in (0, 1):
        day = here.date() - timedelta(days=back)
        if not is_among(one.days, day) or day < one.from_day or (one.until_day is not None and day > one.until_day):
            continue
        turn = sum(is_among(one.days, one.from_day + timedelta(days=n)) for n in range((day - one.from_day).days))
        for place, shift in enumerate(one.shifts):
            begins = datetime.combine(day, shift.from_, ZONE)
            ends = datetime.combine(day, shift.to, ZONE)
            if ends <= begins:
                ends += timedelta(days=1)
            if begins <= here < ends:
                rounds = 0 if one.turn is Turn.FIXED else turn // one.step_days
                # Whoever stood the shift before this one in the round before has gone on to this one.
                found.update(one.people[(place - rounds) % len(one.people)])
    return found


@settings(max_examples=60)
@given(some_rota(), st.integers(0, 6 * 1440))
def test_rota_agrees_with_the_oracle_minute_by_minute(one: Pattern, offset: int) -> None:
    shifts = made(one, START - timedelta(days=2), 9)
    for step in range(0, 1440, 10):
        at = START + (offset + step) * MINUTE
        if at >= START + timedelta(days=6):
            break
        assert on_duty(shifts, at) == standing_at(one, at), at


@settings(max_examples=60)
@given(some_rota(), st.randoms(use_true_random=False))
def test_gaps_agree_with_the_oracle_minute_by_minute(one: Pattern, rng: random.Random) -> None:
    shifts = [shift for shift in made(one, START - timedelta(days=2), 6) if rng.random() < 0.6]
    end = START + timedelta(days=2)
    found = gaps(required([one], ZONE, START, end), shifts)
    assert all(a.ends_at < b.starts_at for a, b in pairwise(found)), "they neither touch nor overlap"
    for step in range(0, 2 * 1440, 15):
        at = START + step * MINUTE
        day = at.astimezone(ZONE).date()
        kept = day >= one.from_day and (one.until_day is None or day <= one.until_day)
        wanted = kept if one.required_cover is Cover.ALWAYS else bool(standing_at(one, at))
        bare = wanted and not on_duty(shifts, at)
        assert any(gap.starts_at <= at < gap.ends_at for gap in found) is bare, at


@settings(max_examples=60)
@given(some_rota(), st.integers(0, 3 * 1440), st.integers(1, 2 * 1440), st.sampled_from([*PEOPLE, "free"]))
@example(pattern(), 0, 1440, "free")
def test_stand_in_moves_exactly_the_minutes_asked_for(one: Pattern, offset: int, minutes: int, person: str) -> None:
    shifts = made(one, START - timedelta(days=2), 7)
    absent = one.people[0][0]
    start = START + offset * MINUTE
    end = start + minutes * MINUTE
    theirs = [shift for shift in shifts if shift.user_id == absent]
    change = stand_in(theirs, [shift for shift in shifts if shift.user_id == person], person, start, end)
    if isinstance(change, Clash):
        assert person != "free"
        both = [shift for shift in shifts if shift.user_id in (absent, person)]
        assert (
            any(
                on_duty([a], at) and on_duty([b], at)
                for a in both
                for b in both
                if a.user_id == absent and b.user_id == person
                for at in (start + step * MINUTE for step in range(0, minutes, 5))
            )
            or person == absent
        )
        return
    gone = {shift.id for shift in change.cancelled}
    after = [shift for shift in shifts if shift.id not in gone] + list(change.added)
    assert not clashes(after, [])
    for step in range(-60, minutes + 60, 10):
        at = start + step * MINUTE
        before = on_duty(shifts, at)
        wanted = (before - {absent}) | {person} if absent in before and start <= at < end else before
        assert on_duty(after, at) == wanted, at


def test_rota_of_three_shifts_and_four_crews_rests_each_in_turn() -> None:
    day = [on_duty(made(pattern()), local(date(2026, 9, 27 + n), time(9))) for n in range(4)]
    night = [on_duty(made(pattern()), local(date(2026, 9, 27 + n), time(1))) for n in range(4)]
    assert len(set(day)) == len(set(night)) == 4
    assert all(len(people) == 1 for people in (*day, *night))


def test_rota_of_working_days_knows_the_chinese_calendar() -> None:
    one = pattern(
        team="maintenance", shifts=[{"name": "日", "from": "08:30", "to": "17:30"}], people=[["a"]], days="workday"
    )
    days = {shift.starts_at.astimezone(ZONE).date() for shift in made(one, START - timedelta(days=12), 40)}
    stretch = {START.astimezone(ZONE).date() + timedelta(days=n) for n in range(-12, 28)}
    assert days == {day for day in stretch if is_workday(day)}
    assert date(2026, 10, 1) not in days and date(2026, 10, 10) in days, "a holiday, and the Saturday that makes up"


def test_cover_is_around_the_clock_for_emergency_teams_and_else_of_the_shifts() -> None:
    hours = {"shifts": [{"name": "日", "from": "08:00", "to": "18:00"}], "people": [["a"]]}
    end = START + timedelta(days=1)
    assert required([pattern(**hours)], ZONE, START, end) == [Stretch(START, end)]
    day = Stretch(START + timedelta(hours=8), START + timedelta(hours=18))
    assert required([pattern(**hours, team="cleaning")], ZONE, START, end) == [day]
    assert required([pattern(**hours, cover="hours")], ZONE, START, end) == [day]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"people": [["a"], ["a"]]}, "one crew only"),
        ({"people": [[]]}, "every crew needs somebody"),
        ({"leaders": ["z"]}, "one of the people"),
        ({"turn": "fixed"}, "as many crews as shifts"),
        ({"days": "someday"}, "unknown day"),
        ({"until": "2026-08-01"}, "before it begins"),
        ({"team": "nobody"}, "team"),
        ({"shifts": []}, "shifts"),
        ({"typo": 1}, "typo"),
        (
            {
                "people": [["a"]],
                "shifts": [
                    {"name": "x", "from": "08:00", "to": "17:00"},
                    {"name": "y", "from": "16:00", "to": "20:00"},
                ],
            },
            "too few crews",
        ),
        (
            {
                "people": [["a"]],
                "shifts": [
                    {"name": "x", "from": "20:00", "to": "09:00"},
                    {"name": "y", "from": "08:00", "to": "12:00"},
                ],
            },
            "too few crews",
        ),
    ],
)
def test_rota_that_cannot_be_is_refused_with_the_reason(values: dict[str, Any], words: str) -> None:
    with pytest.raises(PatternError, match=words):
        pattern(**values)


def test_rota_survives_its_document() -> None:
    one = pattern(leaders=["b"], until="2027-01-01", cover="hours", step_days=3)
    assert Pattern.parse(one.as_document()) == one


def test_making_again_adds_nothing_and_a_change_of_rota_leaves_stand_ins_alone() -> None:
    first = made(pattern())
    assert fitted(made(pattern()), first) == ([], [])
    mine = next(shift for shift in first if shift.user_id == "a")
    change = stand_in([mine], [], "z", mine.starts_at, mine.ends_at)
    assert isinstance(change, Change)
    standing = [shift for shift in first if shift.id != mine.id] + list(change.added)
    again, clashing = fitted(made(pattern()), standing)
    assert (again, clashing) == ([], []), "whoever is stood in for stays away"
    # A new version in which `a` would stand around the clock: only the time that z stands for them is left out.
    whole = pattern(shifts=[{"name": "全", "from": "00:00", "to": "00:00"}], people=[["a"]])
    added, clashing = fitted(made(whole, version=2), list(change.added))
    assert clashing == []
    left = sum(((shift.ends_at - shift.starts_at) for shift in added), timedelta())
    assert left == timedelta(days=10) - (mine.ends_at - mine.starts_at)


def test_nobody_stands_twice_at_once_in_whatever_team() -> None:
    patrol = made(pattern())
    desk = made(pattern(team="desk", people=[["a"], ["x"], ["y"], ["z"]]), name="desk")
    added, clashing = fitted(desk, patrol)
    assert clashing and {one.wanted.user_id for one in clashing} == {"a"}
    assert "a" in clashing[0].words.en and "patrol" in clashing[0].words.en and "desk" in clashing[0].words.zh
    assert not clashes(added, patrol)


def test_swap_changes_both_and_never_puts_anybody_twice() -> None:
    shifts = made(pattern())
    one = next(shift for shift in shifts if shift.user_id == "a")
    other = next(shift for shift in shifts if shift.user_id == "b" and shift.starts_at > one.ends_at)
    change = swapped(one, other, shifts)
    if isinstance(change, Change):
        assert {(shift.user_id, shift.starts_at) for shift in change.added} == {
            ("b", one.starts_at),
            ("a", other.starts_at),
        }
        assert {shift.stands_in_for for shift in change.added} == {"a", "b"}
    busy = replace(other, user_id="a", starts_at=other.starts_at + MINUTE, id=one.replaces or one.id.__class__(int=7))
    assert isinstance(swapped(one, other, [*shifts, busy]), Clash)


def test_returned_shift_is_its_owners_own_again() -> None:
    mine = next(shift for shift in made(pattern()) if shift.user_id == "a")
    there = stand_in([mine], [], "z", mine.starts_at, mine.ends_at)
    assert isinstance(there, Change)
    further = stand_in(there.added, [], "y", mine.starts_at, mine.ends_at)
    assert isinstance(further, Change) and further.added[0].stands_in_for == "a", (
        "whose shift it was, not who had it last"
    )
    back = stand_in(further.added, [], "a", mine.starts_at, mine.ends_at)
    assert isinstance(back, Change)
    assert (back.added[0].user_id, back.added[0].stands_in_for) == ("a", None)


def test_leaders_of_a_rota_stand_as_leaders() -> None:
    posts = {shift.user_id: shift.post for shift in made(pattern(leaders=["b"]))}
    assert posts == {"a": Post.MEMBER, "b": Post.LEADER, "c": Post.MEMBER, "d": Post.MEMBER}


def test_day_of_summer_time_keeps_the_clock_on_the_wall() -> None:
    berlin = ZoneInfo("Europe/Berlin")
    one = pattern(**{"from": "2026-10-20"})
    start = datetime(2026, 10, 24, 22, tzinfo=UTC)
    shifts = planned(one, "r", 1, HOME, berlin, start, start + timedelta(hours=25))
    assert gaps(required([one], berlin, start, start + timedelta(hours=25)), shifts) == []
    lengths = sorted((shift.ends_at - shift.starts_at) / timedelta(hours=1) for shift in shifts)
    assert lengths == [8, 8, 9]


def test_demo_communities_always_have_somebody_on_duty() -> None:
    """Whoever plays a story is on duty at any time; patrol, grid and desk have somebody besides."""
    accounts = generate(BY_NAME["gongyuan"], 0.05).accounts
    rounds = rotas(accounts, date(2026, 9, 25))
    shifts = [shift for name, one in rounds.items() for shift in planned(one, name, 1, HOME, ZONE, START, END)]
    assert not clashes(shifts, [])
    for hour in range(24, 24 * 9):
        present = on_duty(shifts, START + timedelta(hours=hour, minutes=1))
        for username in ("patrol1", "maintenance1", "cleaning1", "environment1", "general1", "desk", "grid1", "grid2"):
            assert f"user-{username}" in present, (username, hour)
        for team in ("patrol", "desk", "grid"):
            relief = {person for crew in rounds[team].people for person in crew}
            assert len(relief & present) == 1, (team, hour)
    for team in (Team.PATROL, Team.MAINTENANCE, Team.CLEANING, Team.ENVIRONMENT, Team.GENERAL, Team.GRID, Team.DESK):
        of_team = [one for one in accounts if one.team is team]
        assert any(one.leads for one in of_team) and len(of_team) >= 2, team
        wanted = required([one for one in rounds.values() if one.team is team], ZONE, START + timedelta(days=1), END)
        assert gaps(wanted, [shift for shift in shifts if shift.team is team]) == []
