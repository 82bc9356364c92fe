"""Work orders under everything at once: two phones, retries, clocks, pauses, merges; what must always hold, holds.

`LINHUB_HYPOTHESIS_EXAMPLES` makes a campaign of it: so many lives of a few orders each.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any, ClassVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from services.domain.ids import OrderId
from services.domain.orders import (
    ENDED,
    SYSTEM,
    Actor,
    Entry,
    Mode,
    Move,
    MoveRequest,
    Order,
    OrderState,
    Refused,
    Rung,
    allowed_moves,
    attention_at,
    created,
    decide,
    digest,
    fold,
    overdue,
    unmergeable,
)
from services.domain.orders.clocks import pause_ends_at
from services.domain.orders.folding import apply
from services.domain.vocabulary import Severity
from tests.unit.orders_support import NOW, PEOPLE, draft, full

EXAMPLES = int(os.environ.get("LINHUB_HYPOTHESIS_EXAMPLES", "25"))
STEPS = 50
ROUNDS = 60
PERSONS = sorted(PEOPLE)
FORWARD = (Move.ACCEPT, Move.ARRIVE, Move.RESOLVE, Move.VERIFY, Move.CLOSE, Move.RESUME, Move.RATE)
ASIDE = (Move.PAUSE, Move.REOPEN, Move.RETURN)
RESTARTS = frozenset({Move.DISPATCH, Move.TRANSFER, Move.REOPEN})
WANTED = frozenset(
    {
        "stale", "retried", "key reused", "merged", "reopened", "forced", "taken over", "resumed by hand",
        "street asked", "department asked", "breach", "warn", "rated", "reworked",
        "own work not verified", "worse", "verified", "closed", "cancelled", "false alarm",
    }
)  # fmt: skip
"""What a run must have lived through before it counts. A second return and a pause that ends by itself are too rare for
any number of lives to be sure of them: they have tests of their own (test_orders_moves)."""


@dataclass
class Store:
    """Orders with their histories, as a database would keep them: one move at a time, each key once."""

    now: datetime = NOW
    orders: dict[UUID, Order] = field(default_factory=dict)
    histories: dict[UUID, list[Entry]] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)

    def open(self, severity: Severity) -> Order:
        id = OrderId(UUID(int=len(self.orders) + 1))
        first = created(draft(id=id, severity=severity), self.now, "system", "system")
        self.orders[id], self.histories[id] = fold([first]), [first]
        return self.system(id, MoveRequest(Move.DISPATCH, 1, mode=Mode.ASSIGN, assignee_id="u-assignee"))

    def system(self, id: UUID, request: MoveRequest) -> Order:
        if not self._knows(id, request):
            found = decide(self.orders[id], request, SYSTEM, self.now)
            if isinstance(found, Entry):
                self._keep(id, found)
        return self.orders[id]

    def ask(self, id: UUID, request: MoveRequest, actor: Actor) -> str:
        """made, again, conflict, or the code of a refusal."""
        known = self._knows(id, request)
        if known:
            return "again" if known.detail["digest"] == digest(request) and known.move is request.move else "key"
        order = self.orders[id]
        if request.version != order.version:
            return "conflict"
        found = decide(order, request, actor, self.now)
        if isinstance(found, Refused):
            return found.code
        into = self.orders.get(request.merge_into) if request.move is Move.MERGE and request.merge_into else None
        if request.move is Move.MERGE and (into is None or unmergeable(order, into) is not None):
            return "value"
        self._keep(id, found)
        if found.move is Move.RETURN:
            self.system(id, MoveRequest(Move.DISPATCH, order.version + 1, forced=True, mode=Mode.ASSIGN))
        if into is not None:
            self.system(into.id, MoveRequest(Move.REPEAT, into.version, merged={"order_id": str(id)}))
        return "made"

    def _knows(self, id: UUID, request: MoveRequest) -> Entry | None:
        key = request.idempotency_key
        return next((one for one in self.histories[id] if key and one.idempotency_key == key), None)

    def _keep(self, id: UUID, found: Entry) -> None:
        before = self.orders[id]
        # Through JSON, as a database keeps it.
        stored = replace(found, detail=json.loads(json.dumps(dict(found.detail))))
        after = apply(before, found)
        self.histories[id].append(stored)
        self.orders[id] = after
        holds_over_a_move(before, found, after)
        notice(self.seen, before, found, after)


def holds_over_a_move(before: Order, entry: Entry, after: Order) -> None:
    assert after.version == before.version + 1
    assert entry.at >= before.created_at
    if before.state in ENDED and entry.move is not Move.REOPEN:
        assert after.state is before.state, "what has ended stays ended"
    if entry.move not in RESTARTS:
        assert after.rung >= before.rung, "nobody climbs down within a dispatch"
    if entry.move is Move.RETURN:
        assert before.returns == 0
        assert not before.forced
    if entry.move is Move.VERIFY:
        assert entry.actor_id != before.resolved_by
        assert entry.actor_id not in before.workers
    assert after.returns <= 1
    assert len(set(after.taken)) == len(after.taken)


def notice(seen: Counter[str], before: Order, entry: Entry, after: Order) -> None:
    names = {
        Move.MERGE: "merged", Move.REOPEN: "reopened", Move.RATE: "rated", Move.BREACH: "breach", Move.WARN: "warn",
        Move.VERIFY: "verified", Move.CLOSE: "closed", Move.CANCEL: "cancelled", Move.FALSE_ALARM: "false alarm",
    }  # fmt: skip
    seen[names.get(entry.move, "")] += 1
    by_system = entry.actor_role == "system"
    marks = {
        "forced": after.forced,
        "taken over": entry.move is Move.ACCEPT and before.state is OrderState.ACCEPTED,
        "pause over": entry.move is Move.RESUME and by_system,
        "resumed by hand": entry.move is Move.RESUME and not by_system,
        "street asked": after.rung >= Rung.STREET > before.rung,
        "department asked": after.rung >= Rung.DEPARTMENT > before.rung,
        "reworked": after.reworks > before.reworks,
        "worse": after.severity.rank > before.severity.rank,
    }
    seen.update(name for name, happened in marks.items() if happened)


class Orders(RuleBasedStateMachine):
    lived: ClassVar[Counter[str]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.store = Store()
        self.looked: dict[tuple[int, UUID], int] = {}
        self.asked: list[tuple[UUID, MoveRequest, Actor]] = []
        self.folded: dict[UUID, int] = {}

    def teardown(self) -> None:
        Orders.lived.update(self.store.seen)
        Orders.lived["lives"] += 1

    @initialize(severity=st.sampled_from(list(Severity)))
    def first(self, severity: Severity) -> None:
        self.store.open(severity)

    @rule(severity=st.sampled_from(list(Severity)))
    def another(self, severity: Severity) -> None:
        if len(self.store.orders) < 3:
            self.store.open(severity)

    @rule(seconds=st.sampled_from((0, 1, 59, 600, 1800, 7200)), engine=st.booleans())
    def time_passes(self, seconds: int, engine: bool) -> None:
        self.store.now += timedelta(seconds=seconds)
        if engine:
            self.engine()

    @rule()
    def engine(self) -> None:
        """What time has made due, twice: the second time there is nothing left to do."""
        for id in self.store.orders:
            for owed in overdue(self.store.orders[id], self.store.now):
                request = MoveRequest(Move(owed.what), 0, clock=owed.clock, rung=owed.rung, idempotency_key=owed.key)
                self.store.system(id, request)
        lengths = {id: len(history) for id, history in self.store.histories.items()}
        for id in self.store.orders:
            for owed in overdue(self.store.orders[id], self.store.now):
                self.store.system(id, MoveRequest(Move(owed.what), 0, rung=owed.rung, idempotency_key=owed.key))
        after = {id: len(history) for id, history in self.store.histories.items()}
        grown = {id for id in after if after[id] > lengths[id]}
        for id in grown:  # a pause that ended has set its clocks going again: that alone may owe more at once
            assert any(entry.move is Move.RESUME for entry in self.store.histories[id][-20:])

    @rule(phone=st.integers(0, 1), pick=st.integers(0, 2))
    def look(self, phone: int, pick: int) -> None:
        id = self._id(pick)
        self.looked[phone, id] = self.store.orders[id].version

    @rule(
        phone=st.integers(0, 1),
        pick=st.integers(0, 2),
        person=st.sampled_from(PERSONS),
        choice=st.integers(0, 1000),
        fresh=st.integers(0, 3),
        legal=st.integers(0, 4),
        rating=st.integers(1, 5),
    )
    def phone(self, phone: int, pick: int, person: str, choice: int, fresh: int, legal: int, rating: int) -> None:
        """Somebody moves an order, seen as it was when their phone last looked."""
        id, actor = self._id(pick), PEOPLE[person]
        if actor.role is None:
            return
        order = self.store.orders[id]
        if fresh:
            self.looked[phone, id] = order.version
        may = allowed_moves(order, actor, self.store.now)
        move = may[choice % len(may)] if may and legal else list(Move)[choice % len(Move)]
        version = self.looked.get((phone, id), order.version)
        into = self._id(choice)
        rung = None if move is Move.ESCALATE else Rung.STREET
        request = full(
            move, version, merge_into=into, rating=rating, rung=rung, idempotency_key=f"{actor.id}:{len(self.asked)}"
        )
        before = self.store.histories[id][:]
        came = self.store.ask(id, request, actor)
        self.asked.append((id, request, actor))
        if came == "conflict":
            self.store.seen["stale"] += 1
        if came == "barred" and move is Move.RETURN and order.returns:
            self.store.seen["second return refused"] += 1
        if came == "barred" and move is Move.VERIFY:
            self.store.seen["own work not verified"] += 1
        if came != "made":
            assert self.store.histories[id] == before, "what is refused leaves nothing behind"
        elif version == order.version:
            assert move in may

    @rule(pick=st.integers(0, 2), choice=st.integers(0, 10_000), often=st.integers(1, 4), rating=st.integers(1, 5))
    def work(self, pick: int, choice: int, often: int, rating: int) -> None:
        """Whoever may take it on does, a few steps in a row: else few orders would come to their end."""
        id = self._id(pick)
        for turn in range(often):
            order = self.store.orders[id]
            may = [
                (move, who)
                for who in PERSONS
                for move in allowed_moves(order, PEOPLE[who], self.store.now)
                if PEOPLE[who].role is not None
                for _ in range(4 if move in FORWARD else 2 if move in ASIDE else 0)
            ]
            if not may:
                return
            move, who = may[(choice + 7 * turn) % len(may)]
            key = f"{PEOPLE[who].id}:{len(self.asked)}"
            request = full(move, order.version, rating=rating, idempotency_key=key)
            assert self.store.ask(id, request, PEOPLE[who]) == "made"
            self.asked.append((id, request, PEOPLE[who]))
            self.store.now += timedelta(seconds=choice % 90)

    @rule(
        pick=st.integers(0, 2),
        other=st.integers(0, 2),
        move=st.sampled_from((Move.MERGE, Move.CANCEL, Move.FALSE_ALARM)),
    )
    def given_up(self, pick: int, other: int, move: Move) -> None:
        id = self._id(pick)
        version = self.store.orders[id].version
        self.store.ask(id, full(move, version, merge_into=self._id(other)), PEOPLE["admin"])

    @rule()
    def own_work(self) -> None:
        """Whoever worked on it tries to check it, and whoever it came to after a return to return it again."""
        for order in self.store.orders.values():
            if order.state is OrderState.RESOLVED:
                for worker in order.workers:
                    actor = replace(PEOPLE["desk"], id=worker)
                    assert isinstance(decide(order, full(Move.VERIFY, order.version), actor, self.store.now), Refused)
                    self.store.seen["own work not verified"] += 1
            if order.returns and order.state in (OrderState.DISPATCHED, OrderState.ACCEPTED):
                for actor in (PEOPLE["leader"], replace(PEOPLE["mate"], id=order.assignee_id or "u-mate")):
                    assert isinstance(decide(order, full(Move.RETURN, order.version), actor, self.store.now), Refused)
                    self.store.seen["second return refused"] += 1

    @rule(pick=st.integers(0, 2), person=st.sampled_from(("desk", "leader", "mate")))
    def two_at_once(self, pick: int, person: str) -> None:
        """Both phones show the same version; one is faster."""
        id = self._id(pick)
        order = self.store.orders[id]
        for turn, who in enumerate((person, "admin")):
            key = f"{PEOPLE[who].id}:{len(self.asked)}"
            request = full(Move.NOTE, order.version, idempotency_key=key)
            came = self.store.ask(id, request, PEOPLE[who])
            self.asked.append((id, request, PEOPLE[who]))
            if turn and self.store.orders[id].version > order.version:
                assert came in ("conflict", "made")
                assert self.store.orders[id].version == order.version + 1
                self.store.seen["stale"] += came == "conflict"

    @rule()
    def pause_runs_out(self) -> None:
        paused = [one for one in self.store.orders.values() if one.state is OrderState.PAUSED]
        if paused:
            ends = [at for one in paused if (at := pause_ends_at(one)) is not None]
            self.store.now = max([self.store.now, *ends])
            self.engine()
            assert all(self.store.orders[one.id].state is not OrderState.PAUSED for one in paused)

    @rule(pick=st.integers(0, 10_000))
    def retry(self, pick: int) -> None:
        """The answer was lost: the same request again, once more or never made before."""
        if not self.asked:
            return
        id, request, actor = self.asked[pick % len(self.asked)]
        known = any(entry.idempotency_key == request.idempotency_key for entry in self.store.histories[id])
        before = self.store.histories[id][:]
        came = self.store.ask(id, request, actor)
        if known:
            self.store.seen["retried"] += 1
            assert came == "again"
            assert self.store.histories[id] == before

    @rule(pick=st.integers(0, 10_000), move=st.sampled_from(list(Move)))
    def reuse_key(self, pick: int, move: Move) -> None:
        made = [one for one in self.asked if self.store._knows(one[0], one[1])]
        if not made:
            return
        id, request, actor = made[pick % len(made)]
        before = self.store.histories[id][:]
        assert self.store.ask(id, replace(request, move=move, note="something else"), actor) == "key"
        assert self.store.histories[id] == before
        self.store.seen["key reused"] += 1

    @rule(pick=st.integers(0, 2), severity=st.sampled_from(list(Severity)))
    def alert_again(self, pick: int, severity: Severity) -> None:
        id = self._id(pick)
        self.store.system(id, MoveRequest(Move.REPEAT, 0, severity=severity.value))

    @rule(pick=st.integers(0, 2))
    def dissatisfied(self, pick: int) -> None:
        """A rating of one or two opens it again: the caller's second move."""
        id = self._id(pick)
        order = self.store.orders[id]
        if order.rating is not None and order.rating <= 2:
            self.store.system(id, MoveRequest(Move.REOPEN, 0, reason="not satisfied"))

    @invariant()
    def the_order_is_the_fold_of_its_history(self) -> None:
        for id, order in self.store.orders.items():
            history = self.store.histories[id]
            if self.folded.get(id) == len(history):
                continue
            self.folded[id] = len(history)
            assert fold(history) == order
            assert [entry.version for entry in history] == list(range(1, len(history) + 1))
            times = [entry.at for entry in history]
            assert times == sorted(times)
            keys = [entry.idempotency_key for entry in history if entry.idempotency_key]
            assert len(set(keys)) == len(keys), "a key makes one move"

    @invariant()
    def nobody_is_left_waiting(self) -> None:
        for order in self.store.orders.values():
            if order.ended:
                assert attention_at(order) is None
                assert order.closed_at is not None
                continue
            assert order.state is not OrderState.RETURNED, "what comes back goes out in the same breath"
            # The community can always take it on; and time comes round to it unless it runs out of rungs.
            assert any(
                move in allowed_moves(order, PEOPLE[who], self.store.now)
                for who in ("desk", "admin", "grid")
                for move in (Move.ACCEPT, Move.ARRIVE, Move.RESOLVE, Move.RESUME, Move.VERIFY, Move.CLOSE)
            ), order
            if order.state is OrderState.DISPATCHED:
                assert (
                    order.assignee_id
                    or order.offered
                    or Move.ACCEPT in allowed_moves(order, PEOPLE["mate"])
                    or (order.team.value != "patrol")
                )

    @invariant()
    def steps_follow_one_another(self) -> None:
        for order in self.store.orders.values():
            steps = (order.dispatched_at, order.accepted_at, order.arrived_at, order.resolved_at, order.verified_at)
            taken = [at for at in steps if at is not None]
            assert taken == sorted(taken)
            assert all(later is None for before, later in pairwise(steps) if before is None)
            assert order.verified_at is None or order.resolved_by is not None
            assert order.paused_at is None or order.state is OrderState.PAUSED or order.ended

    def _id(self, pick: int) -> Any:
        return list(self.store.orders)[pick % len(self.store.orders)]


def test_machine_holds_through_everything_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Goes on until each rare thing has happened, whatever the seed."""
    Orders.lived = Counter()
    rounds = 0
    while rounds < ROUNDS and (rounds == 0 or not set(Orders.lived) >= WANTED):
        rounds += 1
        run_state_machine_as_test(
            Orders,
            settings=settings(
                max_examples=EXAMPLES,
                stateful_step_count=STEPS,
                deadline=None,
                suppress_health_check=list(HealthCheck),
                database=None,
                # Also where CI asks for the same examples each time: another round must be another one.
                derandomize=False,
            ),
        )
    moves = {name: count for name, count in sorted(Orders.lived.items()) if name in WANTED}
    with capsys.disabled():
        print(f"\norders: {Orders.lived['lives']} lives of up to {STEPS} steps in {rounds} seeds; {moves}")  # noqa: T201
    assert set(Orders.lived) >= WANTED, WANTED - set(Orders.lived)
