"""Work orders: every state × move × person, the clocks, and the fold against what was decided."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from itertools import product
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.domain.ids import CommunityId, OrderId
from services.domain.orders import (
    ENDED,
    SYSTEM,
    TABLE,
    TOP_RUNG,
    Actor,
    Draft,
    Entry,
    Move,
    MoveRequest,
    Order,
    OrderState,
    Refused,
    Source,
    allowed_moves,
    created,
    decide,
    fold,
    overdue,
)
from services.domain.orders.moves import sorts_of
from services.domain.orders.order import apply
from services.domain.vocabulary import Label, Role, Severity, Team

NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
HOME, ELSEWHERE = CommunityId("home"), CommunityId("elsewhere")
ACTORS = {
    "patrol": Actor("u1", Role.STAFF, Team.PATROL, HOME),
    "cleaner": Actor("u2", Role.STAFF, Team.CLEANING, HOME),
    "foreign patrol": Actor("u3", Role.STAFF, Team.PATROL, ELSEWHERE),
    "grid": Actor("u4", Role.GRID, Team.GRID, HOME, "g1"),
    "other grid": Actor("u5", Role.GRID, Team.GRID, HOME, "g2"),
    "desk": Actor("u6", Role.DESK, Team.DESK, HOME),
    "foreign desk": Actor("u7", Role.DESK, Team.DESK, ELSEWHERE),
    "admin": Actor("u8", Role.ADMIN, None, HOME),
    "street": Actor("u9", Role.STREET, Team.STREET),
    "resident": Actor("u10", Role.RESIDENT, None, HOME),
    "merchant": Actor("u11", Role.MERCHANT, None, HOME),
    "visitor": Actor("u12", Role.VISITOR, None, HOME),
    "platform": Actor("u13", Role.PLATFORM),
    "system": SYSTEM,
}
OUTSIDERS = ("foreign patrol", "foreign desk", "resident", "merchant", "visitor", "platform", "cleaner", "other grid")
FULL = {"reason": "because", "team": Team.MAINTENANCE, "merge_into": OrderId(UUID(int=9))}


def draft(team: Team = Team.PATROL, severity: Severity = Severity.CRITICAL) -> Draft:
    return Draft(
        OrderId(UUID(int=1)), HOME, Source.ALERT, "gas_alarm", severity, Label("燃气", "Gas"), team, "d@1", grid_id="g1"
    )


def entry(order: Order, move: Move, to: OrderState, **detail: str) -> Entry:
    return Entry(order.version + 1, move, order.state, to, NOW, "u0", "staff", detail=detail)


def order_in(state: OrderState, team: Team = Team.PATROL) -> Order:
    """By the shortest legal way there."""
    S, M = OrderState, Move
    ways: dict[OrderState, list[tuple[Move, OrderState]]] = {
        S.CREATED: [],
        S.DISPATCHED: [(M.DISPATCH, S.DISPATCHED)],
        S.RETURNED: [(M.DISPATCH, S.DISPATCHED), (M.RETURN, S.RETURNED)],
        S.CANCELLED: [(M.CANCEL, S.CANCELLED)],
        S.FALSE_ALARM: [(M.FALSE_ALARM, S.FALSE_ALARM)],
        S.MERGED: [(M.MERGE, S.MERGED)],
    }
    work = [(M.DISPATCH, S.DISPATCHED), (M.ACCEPT, S.ACCEPTED), (M.ARRIVE, S.ARRIVED)]
    work += [(M.RESOLVE, S.RESOLVED), (M.VERIFY, S.VERIFIED), (M.CLOSE, S.CLOSED)]
    for length in range(2, 7):
        ways[work[length - 1][1]] = work[:length]
    ways[S.PAUSED] = [*work[:2], (M.PAUSE, S.PAUSED)]
    order = apply(None, created(draft(team), NOW, "system", "system"))
    for move, to in ways[state]:
        order = apply(order, entry(order, move, to))
    assert order.state is state
    return order


def test_orders_every_cell_of_the_table_agrees_with_decide() -> None:
    """`allowed_moves` and `decide` never disagree, for each state, move and sort of person."""
    cells = 0
    for state, move, (name, actor) in product(OrderState, Move, ACTORS.items()):
        order = order_in(state)
        offered = move in allowed_moves(order, actor)
        decided = decide(order, MoveRequest(move, order.version, **FULL), actor, NOW)  # type: ignore[arg-type]
        assert isinstance(decided, Entry) == offered, (state, move, name)
        if isinstance(decided, Entry):
            assert apply(order, decided).state is decided.to_state
        cells += 1
    assert cells == len(OrderState) * len(Move) * len(ACTORS) == 2856


EXPECTED = {
    ("patrol", OrderState.DISPATCHED): {Move.ACCEPT, Move.RETURN},
    ("patrol", OrderState.ACCEPTED): {Move.ARRIVE, Move.RETURN, Move.PAUSE},
    ("patrol", OrderState.ARRIVED): {Move.RESOLVE, Move.PAUSE, Move.FALSE_ALARM},
    ("patrol", OrderState.PAUSED): {Move.RESUME},
    ("patrol", OrderState.RESOLVED): set(),
    ("patrol", OrderState.VERIFIED): set(),
    ("patrol", OrderState.CLOSED): set(),
    ("grid", OrderState.DISPATCHED): set(),
    ("grid", OrderState.RESOLVED): {Move.VERIFY, Move.REOPEN},
    ("desk", OrderState.CREATED): {Move.DISPATCH, Move.CANCEL, Move.FALSE_ALARM, Move.ESCALATE},
    ("desk", OrderState.DISPATCHED): {Move.ACCEPT, Move.TRANSFER, Move.CANCEL, Move.FALSE_ALARM, Move.ESCALATE},
    ("desk", OrderState.RESOLVED): {Move.VERIFY, Move.REOPEN},
    ("desk", OrderState.VERIFIED): {Move.CLOSE, Move.REOPEN},
    ("desk", OrderState.CLOSED): {Move.REOPEN},
    ("desk", OrderState.MERGED): set(),
    ("street", OrderState.DISPATCHED): set(),
}


@pytest.mark.parametrize(("who", "state"), list(EXPECTED))
def test_orders_people_may_do_what_is_theirs_and_no_more(who: str, state: OrderState) -> None:
    assert set(allowed_moves(order_in(state), ACTORS[who])) == EXPECTED[who, state]


@pytest.mark.parametrize("state", list(OrderState))
@pytest.mark.parametrize("who", OUTSIDERS)
def test_orders_are_closed_to_whoever_they_do_not_concern(who: str, state: OrderState) -> None:
    assert allowed_moves(order_in(state), ACTORS[who]) == ()


def test_orders_of_the_grid_belong_to_the_members_of_that_grid() -> None:
    order = order_in(OrderState.DISPATCHED, Team.GRID)
    assert Move.ACCEPT in allowed_moves(order, ACTORS["grid"])
    assert allowed_moves(order, ACTORS["other grid"]) == ()
    assert allowed_moves(order, ACTORS["patrol"]) == ()


def test_orders_reach_the_street_only_on_the_top_rung() -> None:
    order = order_in(OrderState.DISPATCHED)
    for _ in range(TOP_RUNG):
        assert allowed_moves(order, ACTORS["street"]) == ()
        order = apply(order, entry(order, Move.ESCALATE, order.state))
    assert Move.TRANSFER in allowed_moves(order, ACTORS["street"])
    assert Move.ESCALATE not in allowed_moves(order, ACTORS["desk"])


def test_orders_are_verified_by_somebody_else() -> None:
    arrived = order_in(OrderState.ARRIVED)
    decided = decide(arrived, MoveRequest(Move.RESOLVE, arrived.version), ACTORS["desk"], NOW)
    assert isinstance(decided, Entry)
    resolved = apply(arrived, decided)
    refused = decide(resolved, MoveRequest(Move.VERIFY, resolved.version), ACTORS["desk"], NOW)
    assert isinstance(refused, Refused)
    assert "someone other" in refused.reason.en
    assert Move.VERIFY in allowed_moves(resolved, ACTORS["admin"])


def test_orders_are_returned_once_then_forced() -> None:
    order = order_in(OrderState.RETURNED)
    order = apply(order, entry(order, Move.DISPATCH, OrderState.DISPATCHED))
    refused = decide(order, MoveRequest(Move.RETURN, order.version, reason="again"), ACTORS["patrol"], NOW)
    assert isinstance(refused, Refused)
    assert "退回一次" in refused.reason.zh


@pytest.mark.parametrize(
    ("state", "move", "who", "words"),
    [
        (OrderState.DISPATCHED, Move.RETURN, "patrol", "reason"),
        (OrderState.ACCEPTED, Move.PAUSE, "patrol", "reason"),
        (OrderState.CLOSED, Move.REOPEN, "desk", "reason"),
        (OrderState.DISPATCHED, Move.CANCEL, "desk", "reason"),
        (OrderState.ARRIVED, Move.FALSE_ALARM, "patrol", "reason"),
        (OrderState.DISPATCHED, Move.TRANSFER, "desk", "team"),
        (OrderState.DISPATCHED, Move.MERGE, "system", "merged into"),
        (OrderState.CLOSED, Move.ACCEPT, "desk", "closed cannot accept"),
        (OrderState.DISPATCHED, Move.ACCEPT, "cleaner", "who may: desk, team"),
    ],
)
def test_orders_refusals_say_what_is_missing(state: OrderState, move: Move, who: str, words: str) -> None:
    order = order_in(state)
    refused = decide(order, MoveRequest(move, order.version, reason="  "), ACTORS[who], NOW)
    assert isinstance(refused, Refused)
    assert words in refused.reason.en
    assert refused.reason.zh


def test_orders_pause_moves_every_deadline_by_its_length() -> None:
    order = order_in(OrderState.PAUSED)
    resumed = apply(
        order,
        Entry(order.version + 1, Move.RESUME, order.state, OrderState.ACCEPTED, NOW + timedelta(hours=1), "u", "staff"),
    )
    assert order.arrive_due and resumed.arrive_due
    assert resumed.arrive_due - order.arrive_due == timedelta(hours=1)
    assert overdue(order, NOW + timedelta(days=1)) == ()  # plain terms let a pause last


def test_orders_repeat_that_is_worse_tightens_the_clocks_and_never_loosens_them() -> None:
    order = apply(None, created(draft(severity=Severity.MINOR), NOW, "system", "system"))
    order = apply(order, entry(order, Move.DISPATCH, OrderState.DISPATCHED))
    worse = apply(order, entry(order, Move.REPEAT, order.state, severity="critical"))
    assert (worse.severity, worse.accept_due) == (Severity.CRITICAL, NOW + timedelta(seconds=60))
    milder = apply(worse, entry(worse, Move.REPEAT, worse.state, severity="minor"))
    assert (milder.severity, milder.accept_due) == (worse.severity, worse.accept_due)


def test_orders_damaged_history_is_refused() -> None:
    first = created(draft(), NOW, "system", "system")
    with pytest.raises(ValueError, match="follows"):
        fold([first, Entry(3, Move.DISPATCH, OrderState.CREATED, OrderState.DISPATCHED, NOW, "u", "desk")])
    with pytest.raises(ValueError, match="follows"):
        fold([first, Entry(2, Move.ACCEPT, OrderState.DISPATCHED, OrderState.ACCEPTED, NOW, "u", "staff")])
    with pytest.raises(ValueError, match="begins with create"):
        fold([Entry(1, Move.DISPATCH, None, OrderState.DISPATCHED, NOW, "u", "desk")])
    with pytest.raises(ValueError, match="without history"):
        fold([])


@given(
    st.lists(
        st.tuples(
            st.sampled_from(list(Move)),
            st.sampled_from(list(ACTORS)),
            st.integers(0, 9000),
            st.sampled_from(list(Severity)),
        ),
        max_size=40,
    )
)
def test_orders_row_by_row_equals_the_fold_of_the_history(steps: list[tuple[Move, str, int, Severity]]) -> None:
    """Whatever people try, in whatever order: the history, through JSON, makes the same order, and sense."""
    history = [created(draft(), NOW, "system", "system")]
    order, at = fold(history), NOW
    for move, who, seconds, severity in steps:
        at += timedelta(seconds=seconds)
        request = MoveRequest(move, order.version, severity=severity.value, **FULL)  # type: ignore[arg-type]
        decided = decide(order, request, ACTORS[who], at)
        if isinstance(decided, Refused):
            continue
        stored = json.loads(json.dumps(dict(decided.detail)))
        history.append(
            Entry(
                decided.version,
                decided.move,
                decided.from_state,
                decided.to_state,
                decided.at,
                decided.actor_id,
                decided.actor_role,
                decided.reason,
                stored,
            )
        )
        order = apply(order, decided)
        assert order == fold(history)
        assert order.version == len(history)
        assert order.returns <= 1
        assert 0 <= order.rung <= TOP_RUNG
        assert order.verified_at is None or order.resolved_at is not None
        if order.state in ENDED:
            assert order.closed_at == at or move in (Move.REPEAT, Move.ESCALATE)


def test_orders_table_names_each_move_but_create() -> None:
    assert {row.move for row in TABLE} == set(Move) - {Move.CREATE}
    assert sorts_of(order_in(OrderState.CREATED), SYSTEM) == {"system"}
