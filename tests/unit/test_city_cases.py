"""Cases from above: the table of states both ways, how a case went, and what a platform may do to its order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from services.adapters.orders.store import outgoing_of
from services.domain.city.cases import (
    ACTS,
    BY_STATE,
    TABLE,
    Act,
    CaseState,
    System,
    case_id,
    orders_in,
    result,
    state_of,
    steps,
)
from services.domain.ids import CommunityId
from services.domain.orders import (
    SYSTEM,
    Actor,
    Draft,
    Entry,
    Move,
    MoveRequest,
    OrderState,
    Refused,
    Source,
    created,
    decide,
    fold,
)
from services.domain.vocabulary import Label, Role, Severity, Team

T = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
HERE = CommunityId("test")
PLATFORM = Actor("service-1", Role.PLATFORM, reporter=True)
DESK = Actor("desk", Role.DESK, None, HERE)
WORKER = Actor("w", Role.STAFF, Team.GENERAL, HERE)


def at(minutes: int) -> datetime:
    return T + timedelta(minutes=minutes)


def opened(source: Source = Source.PLATFORM) -> list[Entry]:
    draft = Draft(
        id=case_id("service-1", "JJ-1"), community_id=HERE, source=source, kind="other", severity=Severity.MINOR,
        title=Label("路灯不亮", "Lamp out"), team=Team.GENERAL, correlation="case@1",
    )  # fmt: skip
    return [created(draft, T, PLATFORM.id, PLATFORM.role_name)]


def moved(history: list[Entry], minutes: int, move: Move, actor: Actor, **more: Any) -> None:
    order = fold(history)
    entry = decide(order, MoveRequest(move, order.version, **more), actor, at(minutes))
    assert isinstance(entry, Entry), entry
    history.append(entry)


def test_every_state_of_an_order_is_one_state_above_and_back() -> None:
    for state in OrderState:
        above = state_of(state)
        assert state in orders_in(above)
        for system in System:
            words = BY_STATE[above].words(system)
            assert words.zh and words.en
    assert state_of(OrderState.CANCELLED) is CaseState.RETURNED
    assert state_of(OrderState.CANCELLED, withdrawn=True) is CaseState.WITHDRAWN
    assert [row.state for row in TABLE] == list(CaseState)
    assert {row.state for row in TABLE if row.over} == {
        CaseState.CLOSED, CaseState.RETURNED, CaseState.UNFOUNDED, CaseState.WITHDRAWN,
    }  # fmt: skip


def test_every_state_above_is_told_from_every_other_by_its_words() -> None:
    for system in System:
        assert len({row.words(system).zh for row in TABLE}) == len(TABLE)


def test_id_is_the_accounts_own() -> None:
    assert case_id("a", "1") == case_id("a", "1")
    assert len({case_id("a", "1"), case_id("b", "1"), case_id("a", "2"), case_id("a\n1", ""), case_id("a", "\n1")}) >= 4


def test_platform_acts_on_its_own_case_by_legal_moves_alone() -> None:
    order = fold(opened())
    asked = {
        Act.URGE: MoveRequest(Move.URGE, 1, reason="x"),
        Act.ADD: MoveRequest(Move.NOTE, 1, note="x"),
        Act.HAND_OVER: MoveRequest(Move.EVIDENCE, 1, evidence_id=str(uuid4()), sort="photo", phase="other"),
        Act.WITHDRAW: MoveRequest(Move.CANCEL, 1, reason="x"),
    }
    assert set(asked) | {Act.OPEN} == set(ACTS) == set(Act)
    for act, request in asked.items():
        assert request.move is ACTS[act][0]
        assert isinstance(decide(order, request, PLATFORM, T), Entry), act
    for move in (Move.DISPATCH, Move.ACCEPT, Move.CLOSE, Move.VERIFY, Move.REOPEN, Move.ESCALATE, Move.FALSE_ALARM):
        refused = decide(order, MoveRequest(move, 1, reason="x"), PLATFORM, T)
        assert isinstance(refused, Refused), move


@pytest.mark.parametrize("move", [Move.EVIDENCE, Move.CANCEL])
def test_platform_may_not_touch_what_it_did_not_open(move: Move) -> None:
    other = Actor("service-1", Role.PLATFORM)
    request = MoveRequest(move, 1, reason="x", evidence_id=str(uuid4()))
    refused = decide(fold(opened()), request, other, T)
    assert isinstance(refused, Refused) and refused.code == "who"


def test_steps_tell_how_a_case_went() -> None:
    history = opened()
    moved(history, 1, Move.DISPATCH, DESK)
    moved(history, 2, Move.ACCEPT, WORKER)
    moved(history, 3, Move.ARRIVE, WORKER)
    moved(history, 4, Move.RESOLVE, WORKER, note="已换灯管")
    assert result(history) is not None and result(history).note == "已换灯管"  # type: ignore[union-attr]
    moved(history, 5, Move.REOPEN, DESK, reason="仍不亮")
    assert result(history) is None, "what was sent back has no result"
    moved(history, 6, Move.ACCEPT, WORKER)
    moved(history, 7, Move.ARRIVE, WORKER)
    moved(history, 8, Move.RESOLVE, WORKER, note="已换整灯")
    moved(history, 9, Move.VERIFY, DESK)
    moved(history, 10, Move.CLOSE, DESK)
    told = steps(history)
    assert [(one.state.value, one.at) for one in told] == [
        ("received", T), ("assigned", at(1)), ("handling", at(2)), ("handled", at(4)), ("assigned", at(5)),
        ("handling", at(6)), ("handled", at(8)), ("checked", at(9)), ("closed", at(10)),
    ]  # fmt: skip
    assert all(one.reason is None for one in told), "why it was done again is the community's business"
    assert result(history).note == "已换整灯"  # type: ignore[union-attr]


def test_returned_by_the_community_has_its_reason_and_withdrawn_is_another_thing() -> None:
    returned = opened()
    moved(returned, 1, Move.CANCEL, DESK, reason="不属本社区管辖")
    assert steps(returned)[-1].state is CaseState.RETURNED
    assert steps(returned)[-1].reason == "不属本社区管辖"
    withdrawn = opened()
    moved(withdrawn, 1, Move.CANCEL, PLATFORM, reason="市民撤诉")
    for told in (steps(withdrawn), steps(withdrawn, (), at(1))):
        assert [one.state for one in told] == [CaseState.RECEIVED, CaseState.WITHDRAWN]


def test_withdrawn_while_the_work_goes_on_ends_the_case_there() -> None:
    history = opened()
    moved(history, 1, Move.DISPATCH, DESK)
    moved(history, 2, Move.ACCEPT, WORKER)
    moved(history, 5, Move.ARRIVE, WORKER)
    moved(history, 6, Move.RESOLVE, WORKER, note="x")
    told = steps(history, (), at(4))
    assert [(one.state.value, one.at) for one in told][-2:] == [("handling", at(2)), ("withdrawn", at(4))]


def test_of_an_order_it_joined_only_states_are_told_from_then_on() -> None:
    other = opened(Source.ALERT)
    moved(other, 1, Move.DISPATCH, SYSTEM)
    own = opened()
    moved(own, 3, Move.MERGE, DESK, merge_into=uuid4())
    assert [(one.state.value, one.at) for one in steps(own, other)] == [
        ("received", T), ("joined", at(3)), ("assigned", at(3)),
    ]  # fmt: skip
    moved(other, 4, Move.CANCEL, DESK, reason="张三家的事")
    told = steps(own, other)
    assert [(one.state.value, one.at) for one in told][-2:] == [("assigned", at(3)), ("returned", at(4))]
    assert told[-1].reason is None


def test_pause_is_told_with_its_reason_in_words() -> None:
    history = opened()
    moved(history, 1, Move.DISPATCH, DESK)
    moved(history, 2, Move.ACCEPT, WORKER)
    order = fold(history)
    name = order.terms.pause_reasons[0] if order.terms.pause_reasons else "weather"
    history.append(
        Entry(
            order.version + 1, Move.PAUSE, order.state, OrderState.PAUSED, at(3), "w", "staff", None,
            {"pause_reason": name},
        )
    )  # fmt: skip
    assert steps(history)[-1].state is CaseState.SUSPENDED
    assert steps(history)[-1].reason and "·" in str(steps(history)[-1].reason)


def test_events_of_a_platforms_order_carry_its_word_and_others_none() -> None:
    history = opened()
    assert outgoing_of(fold(history), history[-1]).data["case_state"] == "received"
    moved(history, 1, Move.CANCEL, PLATFORM, reason="x")
    assert outgoing_of(fold(history), history[-1]).data["case_state"] == "withdrawn"
    history = opened()
    moved(history, 1, Move.CANCEL, DESK, reason="x")
    assert outgoing_of(fold(history), history[-1]).data["case_state"] == "returned"
    assert "case_state" not in outgoing_of(fold(opened(Source.STAFF)), opened(Source.STAFF)[0]).data
