"""Work orders: what moves need, what they leave behind, and what refusals say."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from uuid import UUID

import pytest

from services.domain.ids import OrderId
from services.domain.orders import (
    SYSTEM,
    TOP_RUNG,
    Entry,
    Mode,
    Move,
    MoveRequest,
    Need,
    Order,
    OrderState,
    Refused,
    Rung,
    Who,
    allowed_moves,
    attention_at,
    created,
    decide,
    digest,
    fold,
    needs_of,
    overdue,
    unmergeable,
    with_filing,
)
from services.domain.orders.folding import apply
from services.domain.orders.pauses import REASONS, named
from services.domain.orders.people import WHO_LABELS, Actor, sorts_of
from services.domain.orders.states import MOVE_LABELS, STATE_LABELS
from services.domain.vocabulary import Role, Severity, Team
from tests.unit.orders_support import AWAY, HOME, NOW, PEOPLE, draft, entry, full, order_in, terms

S, M = OrderState, Move


def made(order: Order, request: MoveRequest, who: str = "desk") -> Entry:
    found = decide(order, request, PEOPLE[who], NOW)
    assert isinstance(found, Entry), found
    return found


def refused(order: Order, request: MoveRequest, who: str = "desk") -> Refused:
    found = decide(order, request, PEOPLE[who], NOW)
    assert isinstance(found, Refused), found
    return found


def test_orders_are_verified_by_somebody_who_did_not_work_on_it() -> None:
    order = order_in(S.DISPATCHED)
    for move, who in ((M.ACCEPT, "second desk"), (M.ARRIVE, "desk"), (M.RESOLVE, "leader")):
        order = apply(order, made(order, MoveRequest(move, order.version), who))
    assert order.workers == ("u-desk-2", "u-desk", "u-leader")
    assert order.resolved_by == "u-leader"
    for who in ("desk", "second desk"):
        said = refused(order, MoveRequest(M.VERIFY, order.version), who)
        assert said.code == "barred"
        assert "someone other" in said.reason.en
        assert Who.GRID in said.who
    assert M.VERIFY in allowed_moves(order, PEOPLE["admin"])
    again = apply(order, made(order, MoveRequest(M.REOPEN, order.version, reason="leaks again"), "desk"))
    assert (again.workers, again.reworks) == ((), 1)


def test_orders_are_returned_once_then_forced() -> None:
    order = order_in(S.RETURNED)
    sent = made(order, MoveRequest(M.DISPATCH, order.version), "system")
    assert sent.detail["forced"] is True
    order = apply(order, sent)
    assert order.forced
    said = refused(order, MoveRequest(M.RETURN, order.version, reason="again"), "assignee")
    assert "退回一次" in said.reason.zh
    moved = apply(order, made(order, full(M.TRANSFER, order.version)))
    assert M.RETURN not in allowed_moves(moved, PEOPLE["maintenance"])


def test_orders_taken_over_go_on_where_they_were() -> None:
    order = order_in(S.ACCEPTED)
    over = apply(
        order, replace(made(order, MoveRequest(M.ACCEPT, order.version), "leader"), at=NOW + timedelta(hours=1))
    )
    assert (over.assignee_id, over.accepted_at, over.accept_s) == ("u-leader", order.accepted_at, order.accept_s)
    assert "You have it already" in refused(over, MoveRequest(M.ACCEPT, over.version), "leader").reason.en
    assert M.ARRIVE not in allowed_moves(over, PEOPLE["assignee"])
    given = apply(over, made(over, MoveRequest(M.ASSIGN, over.version, assignee_id="u-mate"), "leader"))
    assert (given.assignee_id, given.offered, given.state) == ("u-mate", ("u-mate",), S.ACCEPTED)
    assert M.ARRIVE in allowed_moves(given, PEOPLE["mate"])


def test_orders_named_for_one_are_his_until_help_is_needed() -> None:
    order = order_in(S.DISPATCHED)
    given = apply(order, made(order, MoveRequest(M.ASSIGN, order.version, assignee_id="u-cleaner")))
    assert given.mode is Mode.ASSIGN
    assert M.ACCEPT in allowed_moves(given, PEOPLE["cleaner"])
    assert M.ACCEPT not in allowed_moves(given, PEOPLE["mate"], NOW)
    assert given.accept_due is not None
    assert M.ACCEPT in allowed_moves(given, PEOPLE["mate"], given.accept_due)
    assert M.ACCEPT in allowed_moves(apply(given, entry(given, M.ESCALATE, rung=1)), PEOPLE["mate"])


@pytest.mark.parametrize(
    ("state", "move", "who", "words"),
    [
        (S.DISPATCHED, M.RETURN, "assignee", "reason"),
        (S.ACCEPTED, M.PAUSE, "assignee", "waiting for parts"),
        (S.CLOSED, M.REOPEN, "desk", "reason"),
        (S.DISPATCHED, M.CANCEL, "desk", "reason"),
        (S.ARRIVED, M.FALSE_ALARM, "assignee", "reason"),
        (S.DISPATCHED, M.TRANSFER, "desk", "team"),
        (S.DISPATCHED, M.ASSIGN, "desk", "person"),
        (S.DISPATCHED, M.MERGE, "desk", "merged into"),
        (S.DISPATCHED, M.NOTE, "desk", "note"),
        (S.RESOLVED, M.CALL_BACK, "desk", "satisfied"),
        (S.RESOLVED, M.RATE, "reporter", "1 to 5"),
        (S.ACCEPTED, M.EVIDENCE, "assignee", "Evidence"),
        (S.CLOSED, M.ACCEPT, "desk", "closed cannot accept"),
        (S.DISPATCHED, M.ACCEPT, "cleaner", "who may: whoever has it"),
    ],
)
def test_orders_refusals_say_what_is_missing(state: OrderState, move: Move, who: str, words: str) -> None:
    order = order_in(state)
    said = refused(order, MoveRequest(move, order.version, reason="  "), who)
    assert words in said.reason.en
    assert said.reason.zh
    assert (said.state, said.move) == (state, move)


@pytest.mark.parametrize(("outcome", "rating"), [("delighted", 6), ("", 0), (None, -1)])
def test_orders_take_no_answer_that_is_none(outcome: str | None, rating: int) -> None:
    order = order_in(S.CLOSED)
    assert refused(order, MoveRequest(M.CALL_BACK, order.version, outcome=outcome)).needs == (Need.OUTCOME,)
    assert refused(order, MoveRequest(M.RATE, order.version, rating=rating), "reporter").needs == (Need.RATING,)


def test_orders_class_needs_are_asked_of_people_and_named_all_at_once() -> None:
    asked = {
        "arrive": ("on_site", "place"),
        "resolve": ("note", "photo_before", "photo_after", "signature", "never heard of"),
        "close": ("other_person",),
    }
    opened = draft(terms=terms(needs=asked), place="")
    order = order_in(S.ACCEPTED, opened=opened)
    assert needs_of(order, PEOPLE["assignee"])[M.ARRIVE] == (Need.PLACE, Need.ON_SITE)
    assert refused(order, MoveRequest(M.ARRIVE, order.version, place="door"), "assignee").needs == (Need.ON_SITE,)
    there = MoveRequest(M.ARRIVE, order.version, place="door", on_site={"by": "code"})
    order = apply(order, made(order, there, "assignee"))
    assert order.on_site == "code"
    said = refused(order, MoveRequest(M.RESOLVE, order.version), "assignee")
    assert said.needs == (Need.NOTE, Need.PHOTO_BEFORE, Need.PHOTO_AFTER, Need.SIGNATURE)
    assert all(words in said.reason.zh for words in ("处置说明", "处置前照片", "处置后照片", "签名"))
    for sort, phase in (("photo", "before"), ("photo", "after"), ("signature", None)):
        order = apply(order, entry(order, M.EVIDENCE, sort=sort, phase=phase))
    order = apply(order, made(order, MoveRequest(M.RESOLVE, order.version, note="done"), "assignee"))
    order = apply(order, entry(order, M.VERIFY, S.VERIFIED, by="u-admin"))
    assert M.CLOSE not in allowed_moves(order, replace(PEOPLE["desk"], id="u-assignee"))
    assert M.CLOSE in allowed_moves(order, PEOPLE["desk"])


def test_orders_class_needs_do_not_stop_the_system() -> None:
    order = order_in(S.CREATED, opened=draft(terms=terms(needs={"dispatch": ("note", "signature")})))
    assert isinstance(decide(order, MoveRequest(M.DISPATCH, order.version), SYSTEM, NOW), Entry)
    assert refused(order, MoveRequest(M.DISPATCH, order.version)).needs == (Need.NOTE, Need.SIGNATURE)


def test_orders_pause_ends_as_said_and_within_what_the_class_allows() -> None:
    order = order_in(S.ARRIVED)

    def until(**more: object) -> object:
        request = MoveRequest(M.PAUSE, order.version, pause_reason="weather", **more)  # type: ignore[arg-type]
        return apply(order, made(order, request, "assignee")).pause_until

    assert until() == NOW + timedelta(hours=2)
    assert until(pause_until=NOW + timedelta(hours=1)) == NOW + timedelta(hours=1)
    assert until(pause_until=NOW + timedelta(days=9)) == NOW + timedelta(hours=2)
    over = full(M.PAUSE, order.version, pause_until=NOW)
    assert refused(order, over, "assignee").code == "value"
    assert refused(order, full(M.PAUSE, order.version, pause_reason="tired"), "assignee").needs == (Need.PAUSE_REASON,)


def test_orders_pause_is_ended_by_the_system_when_it_is_over_and_not_before() -> None:
    order = order_in(S.PAUSED)
    assert order.pause_until is not None
    request = MoveRequest(M.RESUME, order.version)
    early = decide(order, request, SYSTEM, order.pause_until - timedelta(seconds=1))
    assert isinstance(early, Refused)
    found = decide(order, request, SYSTEM, order.pause_until)
    assert isinstance(found, Entry)
    assert apply(order, found).state is S.ACCEPTED
    endless = replace(order, pause_until=None, terms=terms(pause_longest_s=0))
    assert isinstance(decide(endless, request, SYSTEM, NOW + timedelta(days=99)), Refused)


def test_orders_pause_is_ended_by_the_system_when_the_alert_calls_again() -> None:
    order = order_in(S.PAUSED)
    called = MoveRequest(M.RESUME, order.version, alert_id="a1", reason="again")
    found = decide(order, called, SYSTEM, NOW + timedelta(minutes=1))
    assert isinstance(found, Entry)
    resumed = apply(order, found)
    assert (resumed.state, resumed.paused_at) == (S.ACCEPTED, None)


def test_orders_of_a_grid_are_for_every_grid_member_who_is_told_of_them() -> None:
    """Named in time they are the named one's and their 网格's; once it has climbed, or nobody was named, anybody's."""
    accept = MoveRequest(M.ACCEPT, 2)
    for order, may in (
        (order_in(S.DISPATCHED, opened=draft(team=Team.GRID), mode=Mode.ASSIGN), False),
        (order_in(S.DISPATCHED, opened=draft(team=Team.GRID), mode=Mode.ASSIGN, rung=Rung.LEADER), True),
        (order_in(S.DISPATCHED, opened=draft(team=Team.GRID), named=False), True),
    ):
        found = decide(order, replace(accept, version=order.version), PEOPLE["other grid"], NOW)
        assert isinstance(found, Entry) is may
        assert isinstance(decide(order, replace(accept, version=order.version), PEOPLE["foreign grid"], NOW), Refused)


def test_orders_top_rung_is_asked_again_by_the_system_alone() -> None:
    order = order_in(S.DISPATCHED, rung=TOP_RUNG)
    again = MoveRequest(M.ESCALATE, order.version, clock="accept", rung=TOP_RUNG)
    assert isinstance(decide(order, again, SYSTEM, NOW), Entry)
    assert isinstance(decide(order, again, PEOPLE["desk"], NOW), Refused)


def test_orders_pause_moves_every_deadline_by_its_length() -> None:
    order = order_in(S.PAUSED)
    resumed = apply(order, entry(order, M.RESUME, S.ACCEPTED, at=NOW + timedelta(hours=1)))
    assert order.arrive_due and resumed.arrive_due
    assert resumed.arrive_due - order.arrive_due == timedelta(hours=1)
    assert [one.what for one in overdue(order, NOW + timedelta(days=1))] == ["resume"]


def test_orders_escalate_one_step_or_as_far_as_is_said() -> None:
    order = order_in(S.DISPATCHED)
    assert apply(order, made(order, MoveRequest(M.ESCALATE, order.version))).rung == Rung.LEADER
    order = apply(order, made(order, MoveRequest(M.ESCALATE, order.version, rung=Rung.STREET)))
    assert order.rung == Rung.STREET
    assert refused(order, MoveRequest(M.ESCALATE, order.version, rung=Rung.DESK)).code == "value"
    # Two clocks of the system may run out for one rung: the second is kept, and nothing falls.
    again = apply(order, made(order, MoveRequest(M.ESCALATE, order.version, rung=Rung.LEADER), "system"))
    assert again.rung == Rung.STREET
    top = apply(order, made(order, MoveRequest(M.ESCALATE, order.version), "street"))
    assert top.rung == TOP_RUNG
    assert "top rung" in refused(top, MoveRequest(M.ESCALATE, top.version)).reason.en


def test_orders_merge_into_an_open_order_of_the_same_community() -> None:
    order, other = order_in(S.DISPATCHED), replace(order_in(S.DISPATCHED), id=OrderId(UUID(int=2)))
    assert unmergeable(order, other) is None
    for wrong in (order, replace(other, community_id=AWAY), replace(other, state=S.CLOSED)):
        why = unmergeable(order, wrong)
        assert why is not None
        assert why.zh
    assert refused(order, MoveRequest(M.MERGE, order.version, merge_into=order.id)).code == "value"
    merged = apply(order, made(order, MoveRequest(M.MERGE, order.version, merge_into=other.id)))
    assert (merged.state, merged.merged_into) == (S.MERGED, other.id)


def test_orders_known_under_one_key_are_told_from_others() -> None:
    first = MoveRequest(M.RESOLVE, 4, note="valve shut", idempotency_key="k")
    assert digest(first) == digest(replace(first, version=9, people=("u1",), on_site={"by": "code"}))
    for other in (replace(first, note="valve open"), replace(first, move=M.NOTE), replace(first, team=Team.PATROL)):
        assert digest(first) != digest(other)
    order = order_in(S.ARRIVED)
    assert made(order, replace(first, version=order.version), "assignee").detail["digest"] == digest(first)
    assert (
        "digest" not in made(order, MoveRequest(M.NOTE, order.version, note="x", idempotency_key="k"), "system").detail
    )


def test_orders_dispatched_by_hand_tell_whom() -> None:
    order = order_in(S.CREATED)
    found = made(order, MoveRequest(M.DISPATCH, order.version, assignee_id="u-mate"))
    assert (found.detail["people"], found.detail["mode"]) == (["u-mate"], "assign")


def test_orders_of_a_street_are_worked_on_by_the_street_alone() -> None:
    order = order_in(S.DISPATCHED, opened=draft(team=Team.STREET))
    accepted = apply(order, made(order, MoveRequest(M.ACCEPT, order.version), "street"))
    assert {M.ARRIVE, M.RETURN, M.PAUSE} <= set(allowed_moves(accepted, PEOPLE["street"]))
    colleague = replace(PEOPLE["street"], id="u-street-2")
    assert not {M.ARRIVE, M.RETURN, M.PAUSE} & set(allowed_moves(accepted, colleague))


def test_orders_nobody_in_particular_may_be_whoever_it_was_given_to() -> None:
    """A stream is written once for all patrols: what only one of them may do is shown, and refused when asked."""
    order = order_in(S.ACCEPTED)
    assert M.ARRIVE in allowed_moves(order, Actor("", Role.STAFF, Team.PATROL, HOME))
    assert allowed_moves(order, Actor("", Role.STAFF, Team.CLEANING, HOME)) == ()
    assert Who.ASSIGNEE not in sorts_of(order, Actor("", Role.DESK, Team.DESK, HOME))
    unnamed = replace(order, assignee_id=None)
    assert Who.ASSIGNEE not in sorts_of(unnamed, PEOPLE["mate"])


def test_orders_reopen_ends_with_the_time_to_do_so() -> None:
    order = order_in(S.CLOSED)
    request = full(M.REOPEN, order.version)
    assert isinstance(decide(order, request, PEOPLE["desk"], NOW + timedelta(days=15)), Entry)
    late = decide(order, request, PEOPLE["desk"], NOW + timedelta(days=15, seconds=1))
    assert isinstance(late, Refused)
    assert "open a new order" in late.reason.en
    again = apply(order, made(order, request, "system"))
    assert (again.state, again.reworks, again.closed_at) == (S.DISPATCHED, 1, None)


def test_orders_repeat_that_is_worse_tightens_the_clocks_and_never_loosens_them() -> None:
    order = apply(None, created(draft(severity=Severity.MINOR, terms=None), NOW, "system", "system"))
    order = apply(order, entry(order, M.DISPATCH, S.DISPATCHED))
    worse = apply(order, entry(order, M.REPEAT, order.state, severity="critical"))
    assert (worse.severity, worse.accept_due) == (Severity.CRITICAL, NOW + timedelta(seconds=60))
    milder = apply(worse, entry(worse, M.REPEAT, worse.state, severity="minor"))
    assert (milder.severity, milder.accept_due) == (worse.severity, worse.accept_due)


def test_orders_damaged_history_is_refused() -> None:
    first = created(draft(), NOW, "system", "system")
    with pytest.raises(ValueError, match="follows"):
        fold([first, Entry(3, M.DISPATCH, S.CREATED, S.DISPATCHED, NOW, "u", "desk")])
    with pytest.raises(ValueError, match="follows"):
        fold([first, Entry(2, M.ACCEPT, S.DISPATCHED, S.ACCEPTED, NOW, "u", "staff")])
    with pytest.raises(ValueError, match="begins with create"):
        fold([Entry(1, M.DISPATCH, None, S.DISPATCHED, NOW, "u", "desk")])
    with pytest.raises(ValueError, match="without history"):
        fold([])


def test_orders_have_words_for_everything() -> None:
    assert set(STATE_LABELS) == set(OrderState)
    assert set(MOVE_LABELS) == set(Move)
    assert set(WHO_LABELS) == set(Who)
    assert named(("weather", "unheard")).zh == f"{REASONS['weather'].zh}、unheard"


def test_order_that_waits_to_be_filed_keeps_its_clock_when_it_becomes_worse() -> None:
    """The worse class may file nothing; what waits for the desk waits for it still."""
    waiting = order_in(S.CREATED, opened=draft(severity=Severity.MINOR, terms=with_filing(terms())))
    worse = apply(waiting, entry(waiting, Move.REPEAT, severity="critical", terms=terms().as_detail()))
    assert worse.severity is Severity.CRITICAL and worse.file_due == waiting.file_due
    assert worse.file_due is not None
    assert attention_at(worse) is not None
    assert [one.what for one in overdue(worse, worse.file_due)] == ["warn", "breach", "escalate"]
