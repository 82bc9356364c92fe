"""The clocks of an order against an oracle that walks its history minute by minute with a calendar of its own."""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import UUID

import pytest

from services.domain.ids import CommunityId, OrderId
from services.domain.orders import (
    ENDED,
    Draft,
    Entry,
    Move,
    Order,
    OrderState,
    Source,
    attention_at,
    created,
    fold,
    overdue,
)
from services.domain.orders.clocks import pause_ends_at, running, schedule
from services.domain.orders.folding import apply
from services.domain.orders.terms import CLOCKS, Clock, ClockTerm, Rung, Span, Step, Terms, plain_terms
from services.domain.vocabulary import Label, Severity, Team
from tests.clock_oracle import Table, utc

ZONE = "Asia/Shanghai"
MINUTE = timedelta(minutes=1)
SPANS: dict[str, tuple[Span, ...]] = {
    "always": (),
    "property": (Span("all", 8, 20),),
    "office": (Span("workday", 8.5, 12), Span("workday", 13.5, 17.5)),
    "shift": (Span("workday", 20, 4), Span("restday", 9, 11)),
}
NIGHTS = Span("all", 22, 6)
STEPS: tuple[Clock, ...] = ("accept", "arrive", "resolve", "verify")
CAMPAIGN = os.environ.get("LINHUB_CLOCK_HISTORIES")
ENOUGH = int(CAMPAIGN or "40")
WANTED = frozenset(
    {
        "pause", "resume", "transfer", "reopen", "return", "worse", "worse while paused", "night ladder", "cancel",
        "warned", "escalated", "rung again", "pause over by itself",
    }
)  # fmt: skip
"""What has to happen among the histories; they go on until it has."""


@cache
def table(name: str) -> Table:
    return Table(SPANS[name], ZONE, utc(2025, 9, 1), utc(2026, 3, 20))


def calendar_of(terms: Terms) -> Table:
    return table(next(name for name, spans in SPANS.items() if spans == terms.spans))


def made_up(chance: random.Random, calendar: str, class_id: str) -> Terms:
    """Terms in whole minutes."""

    def ladder(of: tuple[Rung, ...]) -> tuple[Step, ...]:
        after, steps = 0, []
        for rung in of:
            steps.append(Step(after * 60, rung))
            after += chance.randint(0, 90)
        return tuple(steps)

    clocks: dict[Clock, ClockTerm] = {}
    for name in CLOCKS:
        due = chance.choice((1, 10, 45, 120, 480, 720, 1440))
        steps = ladder(tuple(rung for rung in list(Rung)[1:] if chance.random() < 0.7))
        nights = ladder((Rung.DESK, Rung.STREET)) if chance.random() < 0.5 else ()
        again = chance.choice((0, 5, 90)) * 60.0 if name == "accept" else 0.0
        clocks[name] = ClockTerm(due * 60, chance.choice((0, due * 15)), steps, nights, again)
    return Terms(class_id, 1, clocks, ZONE, SPANS[calendar], nights=NIGHTS, pause_longest_s=chance.choice((0, 86400)))


@dataclass
class Oracle:
    """Said once more, in other words: deadlines as moments, the stopwatch a minute at a time."""

    terms: Terms
    file_due: datetime
    dues: dict[str, datetime] = field(default_factory=dict)
    left: dict[str, float] = field(default_factory=dict)
    """While paused: what was left of each clock that had not run out …"""
    paused_at: datetime | None = None
    """… at this time; of an order that ends so, as well."""
    ran: float = 0.0
    before: float = 0.0
    going: bool = False
    rung: set[tuple[int, datetime]] = field(default_factory=set)
    """For which deadline of accepting it has rung again, and how often."""
    took: dict[str, float | None] = field(default_factory=lambda: dict.fromkeys(STEPS))

    def pass_time(self, start: datetime, end: datetime) -> None:
        if not self.going:
            return
        flags, first = calendar_of(self.terms).flags, calendar_of(self.terms).first
        for number in range((start - first) // MINUTE, (end - first) // MINUTE):
            self.ran += 60.0 * flags[number]

    def dispatch(self, at: datetime) -> None:
        self.before, self.going, self.left, self.paused_at = self.ran, True, {}, None
        self.took["resolve"] = self.took["verify"] = None
        self.dues = {name: calendar_of(self.terms).add(at, self.terms.clocks[name].due_s) for name in STEPS}

    def pause(self, at: datetime) -> None:
        self.going, self.paused_at = False, at
        here = calendar_of(self.terms)
        self.left = {name: here.between(at, due) for name, due in self.dues.items() if due > at}

    def resume(self, at: datetime) -> None:
        self.going = True
        for name, left in self.left.items():
            self.dues[name] = calendar_of(self.terms).add(at, left)
        self.left, self.paused_at = {}, None

    def worsen(self, terms: Terms, at: datetime) -> None:
        self.terms = terms
        here = calendar_of(terms)
        if not self.dues:
            self.file_due = min(self.file_due, here.add(at, terms.clocks["file"].due_s))
        for name in self.dues:
            term = terms.clocks[name]  # type: ignore[index]
            if self.paused_at is None:
                self.dues[name] = min(self.dues[name], here.add(at, term.due_s))
            elif name in self.left:
                self.left[name] = min(self.left[name], term.due_s)
                self.dues[name] = here.add(self.paused_at, self.left[name])
                if self.left[name] == 0:
                    # Its moment lay in hours of the former calendar that are none of the new one: it has run out.
                    del self.left[name]

    def rings(self, order: Order, until: datetime | None = None) -> tuple[datetime, int] | None:
        """When it rings again on top of the ladder, and for the how manieth time: the next one after those that were
        taken, or the last by `until` where several were missed."""
        due, term = self.dues.get("accept"), self.terms.clocks["accept"]
        if due is None or order.accepted_at is not None or not term.again_s:
            return None
        hour = (due.hour + 8) % 24
        steps = term.night_steps if term.night_steps and (hour >= 22 or hour < 6) else term.steps
        at_s, here = max((one.after_s for one in steps), default=0.0), calendar_of(self.terms)
        rang = max((turn for turn, of in self.rung if of == due), default=0)
        found: tuple[datetime, int] | None = None
        for turn in range(1, 10_000):
            at_s += term.again_s if turn <= 12 else 12 * term.again_s
            at = here.add(due, at_s)
            if found is not None and (until is None or at > until):
                return found
            if turn > rang:
                found = (at, turn)
        raise AssertionError("it rings for ever")

    def owed(self, order: Order) -> set[tuple[str, str | None, datetime, int | None]]:
        """(what, clock, when, rung) of all that time will make due."""
        if order.state in ENDED:
            return set()
        if order.state is OrderState.PAUSED:
            assert order.paused_at is not None
            if order.severity is Severity.CRITICAL and order.arrived_at is None:
                return {("resume", None, order.paused_at, None)}
            ends = [order.pause_until, order.paused_at + timedelta(seconds=self.terms.pause_longest_s)]
            known = [one for one in ends if one is not None and one > order.paused_at]
            return {("resume", None, min(known), None)} if known else set()
        done = {"accept": order.accepted_at, "arrive": order.arrived_at}
        done |= {"resolve": order.resolved_at, "verify": None}
        open_ones = {name: due for name, due in self.dues.items() if done[name] is None} or {}
        if not self.dues:
            open_ones = {"file": self.file_due}
        found: set[tuple[str, str | None, datetime, int | None]] = set()
        here = calendar_of(self.terms)
        for name, due in open_ones.items():
            term = self.terms.clocks[name]  # type: ignore[index]
            found.add(("breach", name, due, None))
            if term.warn_s:
                found.add(("warn", name, here.before(due, term.warn_s), None))
            hour = (due.hour + 8) % 24
            steps = term.night_steps if term.night_steps and (hour >= 22 or hour < 6) else term.steps
            for step in steps:
                if step.rung > order.rung:
                    found.add(("escalate", name, here.add(due, step.after_s), int(step.rung)))
            if name == "accept" and (again := self.rings(order)) is not None:
                top = max((int(one.rung) for one in steps), default=1)
                found.add(("escalate", name, again[0], max(top, order.rung)))
        return found


NEXT: dict[OrderState, tuple[Move, ...]] = {
    OrderState.CREATED: (Move.DISPATCH, Move.REPEAT, Move.CANCEL),
    OrderState.DISPATCHED: (Move.ACCEPT, Move.ACCEPT, Move.RETURN, Move.TRANSFER, Move.REPEAT, Move.CANCEL),
    OrderState.RETURNED: (Move.DISPATCH, Move.REPEAT),
    OrderState.ACCEPTED: (Move.ARRIVE, Move.PAUSE, Move.PAUSE, Move.TRANSFER, Move.REPEAT, Move.RETURN),
    OrderState.ARRIVED: (Move.RESOLVE, Move.PAUSE, Move.PAUSE, Move.TRANSFER, Move.FALSE_ALARM),
    OrderState.PAUSED: (Move.RESUME, Move.RESUME, Move.TRANSFER, Move.REPEAT, Move.CANCEL),
    OrderState.RESOLVED: (Move.VERIFY, Move.REOPEN, Move.REPEAT),
    OrderState.VERIFIED: (Move.CLOSE, Move.REOPEN),
    OrderState.CLOSED: (Move.REOPEN,),
    OrderState.CANCELLED: (Move.REOPEN,),
    OrderState.FALSE_ALARM: (Move.REOPEN,),
    OrderState.MERGED: (),
}
TO = {
    Move.DISPATCH: OrderState.DISPATCHED, Move.TRANSFER: OrderState.DISPATCHED, Move.REOPEN: OrderState.DISPATCHED,
    Move.ACCEPT: OrderState.ACCEPTED, Move.ARRIVE: OrderState.ARRIVED, Move.RESOLVE: OrderState.RESOLVED,
    Move.VERIFY: OrderState.VERIFIED, Move.CLOSE: OrderState.CLOSED, Move.RETURN: OrderState.RETURNED,
    Move.PAUSE: OrderState.PAUSED, Move.CANCEL: OrderState.CANCELLED, Move.FALSE_ALARM: OrderState.FALSE_ALARM,
}  # fmt: skip


@dataclass
class Life:
    """One order's random life, the product's fold beside the oracle."""

    chance: random.Random
    seen: Counter[str]
    now: datetime = field(init=False)
    order: Order = field(init=False)
    oracle: Oracle = field(init=False)
    history: list[Entry] = field(default_factory=list)

    def __post_init__(self) -> None:
        # Two weeks about National Day 2025 and about the turn of the year lie within reach.
        self.now = utc(2025, 9, 12) + self.chance.randint(0, 110 * 1440) * MINUTE
        terms = made_up(self.chance, self.chance.choice(list(SPANS)), "first")
        draft = Draft(
            OrderId(UUID(int=1)), CommunityId("c"), Source.ALERT, "bin", Severity.MINOR, Label("满", "Full"),
            Team.CLEANING, "d@1", terms=terms,
        )  # fmt: skip
        first = created(draft, self.now, "system", "system")
        self.order, self.history = fold([first]), [first]
        self.oracle = Oracle(terms, calendar_of(terms).add(self.now, terms.clocks["file"].due_s))

    def say(self, move: Move, to: OrderState, key: str | None = None, **detail: Any) -> None:
        entry = Entry(
            self.order.version + 1, move, self.order.state, to, self.now, "u", "staff", None,
            json.loads(json.dumps(detail)), key,
        )  # fmt: skip
        self.order = apply(self.order, entry)
        self.history.append(entry)

    def wait(self) -> None:
        minutes = self.chance.choice((0, 1, 7, 60, 300, 900, 2000)) + self.chance.randint(0, 30)
        self.oracle.pass_time(self.now, self.now + minutes * MINUTE)
        self.now += minutes * MINUTE

    def step(self) -> bool:
        moves = NEXT[self.order.state]
        if not moves:
            return False
        move = self.chance.choice(moves)
        self.seen[move.value] += 1
        to = TO.get(move, self.order.before_pause if move is Move.RESUME else self.order.state)
        match move:
            case Move.DISPATCH | Move.TRANSFER | Move.REOPEN:
                self.say(move, to, team="patrol")
                self.oracle.dispatch(self.now)
            case Move.PAUSE:
                until = self.now + self.chance.randint(1, 3000) * MINUTE if self.chance.random() < 0.5 else None
                self.say(move, to, pause_reason="weather", pause_until=until.isoformat() if until else None)
                self.oracle.pause(self.now)
            case Move.RESUME:
                self.say(move, to)
                self.oracle.resume(self.now)
            case Move.REPEAT:
                self.worsen(to)
            case Move.ACCEPT | Move.ARRIVE | Move.RESOLVE | Move.VERIFY:
                self.say(move, to)
                took = self.oracle.ran - (self.oracle.before if move in (Move.RESOLVE, Move.VERIFY) else 0)
                name = move.value
                if move in (Move.RESOLVE, Move.VERIFY) or self.oracle.took[name] is None:
                    self.oracle.took[name] = took
            case _:
                self.say(move, to)
                if to in ENDED:
                    self.oracle.going = False
        return True

    def worsen(self, to: OrderState) -> None:
        worse = {Severity.MINOR: Severity.MAJOR, Severity.MAJOR: Severity.CRITICAL}.get(self.order.severity)
        if worse is None:
            return self.say(Move.REPEAT, to)
        terms = made_up(self.chance, self.chance.choice(list(SPANS)), worse.value)
        paused_at = self.order.paused_at
        self.seen["worse while paused" if paused_at else "worse"] += 1
        self.say(Move.REPEAT, to, severity=worse.value, terms=terms.as_detail())
        return self.oracle.worsen(terms, self.now)

    def take(self) -> None:
        """What the engine does by now: some of it, at times."""
        for one in overdue(self.order, self.now)[: self.chance.randint(0, 4)]:
            if one.key in self.order.taken or (one.rung is not None and one.rung <= self.order.rung and not one.turn):
                continue
            if one.what == "resume":
                self.seen["pause over by itself"] += 1
                self.say(Move.RESUME, self.order.before_pause, one.key)
                self.oracle.resume(self.now)
                return
            if one.turn:
                due = self.oracle.dues["accept"]
                assert (one.at, one.turn) == self.oracle.rings(self.order, self.now)
                self.oracle.rung.add((one.turn, due))
                self.seen["rung again"] += 1
            self.seen["warned" if one.what == "warn" else "escalated" if one.rung else one.what] += 1
            self.say(Move(one.what), self.order.state, one.key, **({"rung": int(one.rung)} if one.rung else {}))

    def check(self) -> int:
        order, oracle = self.order, self.oracle
        assert fold(self.history) == order
        assert order.file_due == oracle.file_due
        for name in STEPS:
            assert getattr(order, f"{name}_due") == oracle.dues.get(name), name
        assert [order.accept_s, order.arrive_s, order.resolve_s, order.verify_s] == [oracle.took[n] for n in STEPS]
        owed = schedule(order)
        expected = oracle.owed(order)
        assert {(one.what, one.clock, one.at, one.rung and int(one.rung)) for one in owed} == expected
        assert [one.at for one in owed] == sorted(one.at for one in owed)
        untaken = [one.at for one in owed if one.key not in order.taken]
        assert attention_at(order) == min(untaken, default=None)
        late = {one.key for one in overdue(order, self.now)}
        asked = {one.key for one in owed if one.at <= self.now and one.key not in order.taken}
        if any(one.turn and one.at <= self.now for one in owed):
            last = oracle.rings(order, self.now)
            assert last is not None
            due_ms = int(oracle.dues["accept"].timestamp() * 1000)
            asked = {key for key in asked if not key.startswith("again:")} | {f"again:accept:{last[1]}:{due_ms}"}
        assert late == asked
        for clock, due in running(order):
            if order.terms.clocks[clock].night_steps and ((due.hour + 8) % 24 >= 22 or (due.hour + 8) % 24 < 6):
                self.seen["night ladder"] += 1
        return 13 + len(expected)


def live(chance: random.Random, seen: Counter[str]) -> int:
    life, compared = Life(chance, seen), 0
    for _ in range(14):
        compared += life.check()
        life.wait()
        life.take()
        compared += life.check()
        if not life.step():
            break
    return compared + life.check()


def test_clocks_of_random_histories_are_those_of_the_oracle() -> None:
    """Until there were enough, and each rare thing has happened; a campaign draws others than every run."""
    seed = random.SystemRandom().getrandbits(64) if CAMPAIGN else 1
    chance, seen, compared, histories = random.Random(seed), Counter[str](), 0, 0
    try:
        while histories < ENOUGH or not all(seen[what] for what in WANTED):
            histories += 1
            compared += live(chance, seen)
            assert histories < 100 * ENOUGH, "the rare cases do not happen"
    except AssertionError as error:
        error.add_note(f"seed {seed}, history {histories}")
        raise
    print(f"\n{histories} histories, {compared} figures compared; {dict(seen)}")  # noqa: T201


# -- single cases, in words


def opened(terms: Terms, at: datetime) -> Order:
    draft = Draft(
        OrderId(UUID(int=1)), CommunityId("c"), Source.ALERT, "bin", Severity.MINOR, Label("满", "Full"), Team.CLEANING,
        "d@1", terms=terms,
    )  # fmt: skip
    order = fold([created(draft, at, "system", "system")])
    return say(order, Move.DISPATCH, OrderState.DISPATCHED, at)


def say(order: Order, move: Move, to: OrderState, at: datetime, key: str | None = None, **detail: Any) -> Order:
    return apply(order, Entry(order.version + 1, move, order.state, to, at, "u", "staff", None, detail, key))


def test_clocks_are_counted_from_dispatch() -> None:
    at = utc(2026, 11, 22)
    urgent, other = opened(plain_terms(Severity.CRITICAL), at), opened(plain_terms(Severity.MINOR), at)

    def seconds(order: Order) -> list[float]:
        return [(due - at).total_seconds() for _, due in running(order)]

    assert seconds(urgent) == [60, 600, 4 * 3600, 24 * 3600]
    assert seconds(other) == [600, 7200, 24 * 3600, 48 * 3600]


@pytest.mark.parametrize(
    ("after_s", "rungs"), [(59, []), (60, [1]), (119, [1]), (120, [1, 2]), (180, [1, 2, 3]), (240, [1, 2, 3, 4])]
)
def test_clocks_ladder_follows_from_the_deadline(after_s: int, rungs: list[int]) -> None:
    at = utc(2026, 11, 22)
    order = opened(plain_terms(Severity.CRITICAL), at)
    owed = overdue(order, at + timedelta(seconds=after_s))
    assert [int(one.rung) for one in owed if one.rung is not None] == rungs
    assert ("warn" in {one.what for one in owed}) == (after_s >= 45)
    assert len({one.key for one in owed}) == len(owed)


def test_clocks_ring_again_on_top_of_the_ladder_until_somebody_accepts() -> None:
    """Five minutes after the last rung, every five minutes for an hour, then once an hour; what was missed, once."""
    at = utc(2026, 11, 22)
    order = opened(plain_terms(Severity.CRITICAL), at)
    for one in overdue(order, at + timedelta(minutes=5)):
        order = say(order, Move(one.what), order.state, one.at, one.key, rung=one.rung and int(one.rung))
    assert order.rung == Rung.DEPARTMENT
    rang: list[float] = []
    while len(rang) < 15:
        next_at = attention_at(order)
        assert next_at is not None
        for one in overdue(order, next_at):
            order = say(order, Move(one.what), order.state, next_at, one.key, rung=one.rung and int(one.rung))
            if one.turn:
                assert (one.what, one.rung, one.at) == ("escalate", Rung.DEPARTMENT, next_at)
                rang.append((next_at - at) / timedelta(minutes=1))
    assert rang == [4 + 5 * number for number in range(1, 13)] + [64 + 60 * number for number in range(1, 4)]
    (late,) = (one for one in overdue(order, at + timedelta(days=1)) if one.turn)
    assert late.turn == 12 + 22
    accepted = say(order, Move.ACCEPT, OrderState.ACCEPTED, at + timedelta(days=1))
    assert not [one for one in schedule(accepted) if one.turn]


def test_clocks_of_a_verified_order_run_until_it_is_closed() -> None:
    at = utc(2026, 11, 22)
    order = say(opened(plain_terms(Severity.MINOR), at), Move.ACCEPT, OrderState.ACCEPTED, at)
    for move, to in ((Move.ARRIVE, OrderState.ARRIVED), (Move.RESOLVE, OrderState.RESOLVED)):
        order = say(order, move, to, at)
    verified = say(order, Move.VERIFY, OrderState.VERIFIED, at)
    assert running(verified) == (("verify", at + timedelta(hours=48)),)
    assert running(say(verified, Move.CLOSE, OrderState.CLOSED, at)) == ()


def test_clocks_of_a_paused_order_stand_still_and_it_goes_on_by_itself() -> None:
    at = utc(2026, 11, 22)
    terms = replace(plain_terms(Severity.MINOR), pause_longest_s=7200.0)
    order = say(opened(terms, at), Move.ACCEPT, OrderState.ACCEPTED, at)
    paused = say(order, Move.PAUSE, OrderState.PAUSED, at + timedelta(hours=1), pause_reason="weather")
    assert [one.what for one in schedule(paused)] == ["resume"]
    assert attention_at(paused) == pause_ends_at(paused) == at + timedelta(hours=3)
    assert [one.what for one in overdue(paused, at + timedelta(days=3))] == ["resume"]
    resumed = say(paused, Move.RESUME, OrderState.ACCEPTED, at + timedelta(hours=3))
    assert resumed.arrive_due == at + timedelta(hours=4)
    assert resumed.accept_due == at + timedelta(minutes=10) + timedelta(hours=2) - timedelta(hours=2)


def test_clocks_of_later_steps_run_though_nobody_took_the_first() -> None:
    """Nobody accepts, and the accept clock has no ladder: the arrive clock still fetches somebody."""
    at = utc(2026, 11, 22)
    plain = plain_terms(Severity.CRITICAL)
    terms = replace(plain, clocks={**plain.clocks, "accept": ClockTerm(60, 0, ())})
    owed = overdue(opened(terms, at), at + timedelta(minutes=10))
    assert [(one.what, one.clock) for one in owed if one.what != "warn"] == [
        ("breach", "accept"), ("breach", "arrive"), ("escalate", "arrive")
    ]  # fmt: skip


def test_clocks_terms_survive_their_history() -> None:
    chance = random.Random(5)
    for _ in range(50):
        terms = made_up(chance, chance.choice(list(SPANS)), "x").scaled(chance.choice((1, 0.05, 0.01)))
        assert Terms.from_detail(json.loads(json.dumps(terms.as_detail()))) == terms


def test_clocks_scaled_for_a_drill_run_so_much_faster() -> None:
    fast = plain_terms(Severity.CRITICAL).scaled(0.05)
    accept = fast.clocks["accept"]
    assert (accept.due_s, accept.warn_s) == (3.0, 0.75)
    assert [step.after_s for step in accept.steps] == [0, 3, 6, 9]
