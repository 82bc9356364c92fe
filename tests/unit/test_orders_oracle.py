"""The oracle of the day of orders is not blind: what is missed, late, early or never due is seen."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from services.domain.ids import CommunityId, OrderId
from services.domain.orders import SYSTEM, Draft, Entry, Move, MoveRequest, OrderState, Source, created, decide, fold
from services.domain.orders.clocks import schedule
from services.domain.orders.terms import plain_terms
from services.domain.vocabulary import Label, Severity, Team
from tests.orders_kit import Outage, Verdict, clocks_of, up_s

T0 = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)
WITHIN_S = 5.0


def history(late_s: dict[str, float], skip: str = "") -> list[Entry]:
    """Of a critical order that nobody accepts for two minutes: what time makes due, each so late."""
    draft = Draft(
        id=OrderId(uuid4()),
        community_id=CommunityId("test"),
        source=Source.STAFF,
        kind="gas_alarm",
        severity=Severity.CRITICAL,
        title=Label("燃气泄漏", "Gas leak"),
        team=Team.PATROL,
        correlation="c",
        terms=plain_terms(Severity.CRITICAL),
    )
    entries = [created(draft, T0, SYSTEM.id, SYSTEM.role_name)]
    moves = [(T0, MoveRequest(Move.DISPATCH, 1, team=Team.PATROL))]
    for at, request in moves:
        entry = decide(fold(entries), request, SYSTEM, at)
        assert isinstance(entry, Entry)
        entries.append(entry)
    for owed in schedule(fold(entries)):
        if owed.at > T0 + timedelta(seconds=125) or owed.what == skip:
            continue
        asked = MoveRequest(Move(owed.what), 1, clock=owed.clock, rung=owed.rung, idempotency_key=owed.key)
        entry = decide(fold(entries), asked, SYSTEM, owed.at + timedelta(seconds=late_s.get(owed.what, 0.5)))
        assert isinstance(entry, Entry)
        entries.append(entry)
    return entries


def judged(entries: list[Entry], *outages: Outage) -> Verdict:
    verdict = Verdict()
    clocks_of(verdict, 1, entries, T0 + timedelta(seconds=130), outages, WITHIN_S)
    return verdict


def test_oracle_finds_nothing_where_everything_was_done_in_time() -> None:
    verdict = judged(history({}))
    assert verdict.wrong_clocks == 0
    assert verdict.by_time >= 4
    assert verdict.latest_s == 0.5


@pytest.mark.parametrize("what", ["warn", "breach", "escalate"])
def test_oracle_sees_what_was_never_done(what: str) -> None:
    assert judged(history({}, skip=what)).missed


def test_oracle_sees_what_came_late_unless_it_was_away() -> None:
    entries = history({"breach": 9.0, "escalate": 9.0})
    assert judged(entries).late
    due = T0 + timedelta(seconds=60)
    away = [Outage(due + timedelta(seconds=begin), due + timedelta(seconds=begin + 8)) for begin in (-1, 59)]
    forgiven = judged(entries, *away)
    assert not forgiven.late
    assert 0.0 < forgiven.latest_after_restart_s <= 2.0


def test_oracle_sees_what_came_early_twice_or_was_never_due() -> None:
    entries = history({})
    assert judged([*entries[:-1], replace(entries[-1], at=entries[-1].at - timedelta(seconds=30))]).early
    again = replace(entries[-1], version=entries[-1].version + 1, from_state=entries[-1].to_state)
    assert judged([*entries, again]).unasked
    assert judged([*entries[:-1], replace(entries[-1], idempotency_key="escalate:accept:4:1")]).unasked


def test_up_time_leaves_outages_out_however_they_overlap() -> None:
    def second(n: float) -> datetime:
        return T0 + timedelta(seconds=n)

    away = [Outage(second(2), second(5)), Outage(second(4), second(6)), Outage(second(8), second(20))]
    assert up_s(second(0), second(10), away) == 4.0
    assert up_s(second(3), second(4), away) == 0.0
    assert up_s(second(6), second(8), away) == 2.0
    assert up_s(second(9), second(1), away) == 0.0


def test_oracle_counts_a_deadline_that_a_move_brought_from_that_move_on() -> None:
    """Paused while a clock is amber: resumed, it is amber with a new deadline, and warned of again, a moment after."""
    entries = history({})[:2]

    def add(move: Move, to: OrderState, at: datetime, key: str | None = None) -> datetime:
        order = fold(entries)
        role = "staff" if key is None else SYSTEM.role_name
        entries.append(Entry(order.version + 1, move, order.state, to, at, "x", role, idempotency_key=key))
        return at

    def warned(not_before: datetime) -> datetime:
        owed = next(one for one in schedule(fold(entries)) if (one.what, one.clock) == ("warn", "resolve"))
        return add(Move.WARN, OrderState.ARRIVED, max(owed.at, not_before) + timedelta(seconds=1), owed.key)

    add(Move.ACCEPT, OrderState.ACCEPTED, T0 + timedelta(seconds=5))
    amber = warned(add(Move.ARRIVE, OrderState.ARRIVED, T0 + timedelta(seconds=9)))
    paused = add(Move.PAUSE, OrderState.PAUSED, amber + timedelta(minutes=10))
    last = warned(add(Move.RESUME, OrderState.ARRIVED, paused + timedelta(minutes=30)))
    verdict = Verdict()
    clocks_of(verdict, 1, entries, last + timedelta(seconds=1), [], WITHIN_S)
    assert verdict.by_time == 2 and verdict.wrong_clocks == 0 and verdict.latest_s == 1.0
