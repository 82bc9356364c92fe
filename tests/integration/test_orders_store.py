"""Work orders in the real store: two connections race, replies get lost, and the row stays the fold of its history."""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import asyncpg
import pytest

from services.adapters.orders import (
    MoveRefused,
    OrderNotFound,
    OrderRow,
    VersionConflict,
    append_moves,
    apply_move,
    fetch_history,
    fetch_order,
    insert_order,
    open_order,
)
from services.adapters.outbox import append
from services.domain.ids import CommunityId, OrderId
from services.domain.orders import (
    ENDED,
    Actor,
    Move,
    MoveRequest,
    OrderState,
    Source,
    allowed_moves,
    fold,
    overdue,
)
from services.domain.vocabulary import Role, Severity, Team
from tests.api_data import raise_alert
from tests.api_server import connect
from tests.factory import put_community, small_community
from tests.proxy import Proxy, proxy
from tests.unit.orders_support import draft, full, terms

HOME = CommunityId("test")
TURNS = int(os.environ.get("LINHUB_HYPOTHESIS_EXAMPLES", "25")) * 2
PEOPLE = [
    Actor("user-patrol1", Role.STAFF, Team.PATROL, HOME),
    Actor("user-leader", Role.STAFF, Team.PATROL, HOME, leads=True),
    Actor("user-desk", Role.DESK, Team.DESK, HOME),
    Actor("user-admin", Role.ADMIN, None, HOME),
    Actor("user-grid1", Role.GRID, Team.GRID, HOME, "test-grid-1"),
    Actor("user-resident1", Role.RESIDENT, None, HOME, reporter=True),
]
PATROL, LEADER, DESK, ADMIN = PEOPLE[:4]


@pytest.fixture
async def home(database_url: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    await connection.execute(
        "INSERT INTO app_user (id, username, password_hash, display_name, role, team, community_id) "
        "VALUES ('user-leader', 'leader', '', 'leader', 'staff', 'patrol', 'test')"
    )
    yield connection
    await connection.close()


async def new_order(connection: asyncpg.Connection[Any], now: datetime, **more: Any) -> OrderRow:
    given = {
        "id": OrderId(uuid4()),
        "community_id": HOME,
        "source": Source.PATROL,
        "grid_id": "test-grid-1",
        "terms": terms(),
        **more,
    }
    async with connection.transaction():
        return await open_order(connection, draft(**given), now)


async def moved(
    connection: asyncpg.Connection[Any], id: UUID, move: Move, who: Actor, now: datetime | None = None, **more: Any
) -> OrderRow:
    async with connection.transaction():
        order = await fetch_order(connection, id)
        request = MoveRequest(move, order.version, **more)
        return await apply_move(connection, id, request, who, now or datetime.now(UTC))


async def whole(connection: asyncpg.Connection[Any], id: UUID) -> OrderRow:
    """The order, once its row was compared with the fold of its history."""
    order = await fetch_order(connection, id)
    history = await fetch_history(connection, id)
    assert fold(history) == order.order
    assert [entry.version for entry in history] == list(range(1, len(history) + 1))
    keys = [entry.idempotency_key for entry in history if entry.idempotency_key]
    assert len(set(keys)) == len(keys)
    return order


async def test_orders_race_with_cut_replies_and_stay_the_fold_of_their_history(
    home: asyncpg.Connection[Any], database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two phones move a few orders; some replies are lost after the commit, and some requests before it. Each request
    is sent until it is answered. Goes on until each rare thing has happened."""
    seed = int(os.environ.get("LINHUB_ORDERS_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)
    chance, seen = random.Random(seed), Counter[str]()
    now = datetime.now(UTC)
    orders = [(await new_order(home, now, severity=severity)).id for severity in (Severity.MAJOR, Severity.MINOR)]
    sent: list[tuple[UUID, MoveRequest, Actor]] = []
    wanted = {"conflict", "lost reply", "lost request", "again", "return", "merge", "resume", "refused", "key"}
    target = urlsplit(database_url)
    async with proxy(str(target.hostname), int(target.port or 5432)) as between:
        url = target._replace(netloc=target.netloc.replace(f":{target.port}", f":{between.port}")).geturl()
        turn = 0
        while turn < TURNS or not wanted <= set(seen):
            turn += 1
            assert turn < 40 * TURNS, (seed, wanted - set(seen))
            now += timedelta(seconds=chance.choice((1, 5, 400, 3000)))
            id = chance.choice(orders)
            both = [await _ask(home, id, orders, chance, now) for _ in range(2)]
            sent += both
            cut = chance.random() < 0.25
            answers = await asyncio.gather(
                *(
                    _until_answered(url, between, request, cut and number == 0, chance.random(), seen, now)
                    for number, request in enumerate(both)
                )
            )
            seen.update(answers)
            if chance.random() < 0.3:
                old_id, old, who = chance.choice(sent)
                keys = {entry.idempotency_key for entry in await fetch_history(home, old_id)}
                if old.idempotency_key in keys:
                    before = (await fetch_order(home, old_id)).version
                    assert await _once(home, (old_id, old, who), now) == "again"
                    other = replace(old, note="something else", move=Move.NOTE)
                    assert await _once(home, (old_id, other, who), now) == "key"
                    assert (await fetch_order(home, old_id)).version == before
                    seen.update(("again", "key"))
            await _engine(home, orders, now)
            for one in orders:
                order = await whole(home, one)
                seen[order.state.value] += 1
                assert order.state is not OrderState.RETURNED
                if order.state in ENDED and chance.random() < 0.3:
                    orders[orders.index(one)] = (await new_order(home, now)).id
            for entry in await fetch_history(home, id):
                seen[entry.move.value] += 1
    lines = await home.fetchval("SELECT count(*) FROM work_order_history")
    told = await home.fetchval("SELECT count(*) FROM outbox WHERE type LIKE 'order.%'")
    audited = await home.fetchval("SELECT count(*) FROM audit WHERE action LIKE 'order.%'")
    by_people = await home.fetchval("SELECT count(*) FROM work_order_history WHERE actor_role <> 'system'")
    with capsys.disabled():
        rare = {name: seen[name] for name in sorted(wanted)}
        print(f"\norders: seed {seed}, {turn} turns of two, {lines} lines of history; {rare}")  # noqa: T201
    assert lines == told, "every line is told of once"
    assert audited == by_people, "everything that people did stands in the audit"


async def _ask(
    connection: asyncpg.Connection[Any], id: UUID, orders: list[OrderId], chance: random.Random, now: datetime
) -> tuple[UUID, MoveRequest, Actor]:
    order, who = await fetch_order(connection, id), chance.choice(PEOPLE)
    may = allowed_moves(order.order, who, now)
    move = chance.choice(may) if may and chance.random() < 0.9 else chance.choice(list(Move))
    into = chance.choice(orders)
    request = full(
        move,
        order.version,
        assignee_id=chance.choice(("user-patrol1", "user-leader")),
        merge_into=into,
        team=Team.PATROL,
        rating=chance.randrange(1, 6),
        idempotency_key=f"{who.id}:{uuid4()}",
    )
    return id, request, who


async def _once(connection: asyncpg.Connection[Any], one: tuple[UUID, MoveRequest, Actor], now: datetime) -> str:
    """made, again, conflict, refused or key."""
    id, request, who = one
    try:
        async with connection.transaction():
            before = await connection.fetchval("SELECT version FROM work_order WHERE id = $1 FOR UPDATE", id)
            after = await apply_move(connection, id, request, who, now)
            return "again" if after.version == before else "made"
    except VersionConflict as conflict:
        assert conflict.current.version != request.version
        return "conflict"
    except MoveRefused as refused:
        return "key" if refused.refused.code == "key" else "refused"


async def _until_answered(
    url: str,
    between: Proxy,
    one: tuple[UUID, MoveRequest, Actor],
    cut: bool,
    late: float,
    seen: Counter[str],
    now: datetime,
) -> str:
    """Sends the request as a phone does: again until there is an answer. `cut`: the first answer, or the first
    request, is lost; the other phone may lose its connection with it."""
    cut_now = cut
    while True:
        try:
            connection = await asyncpg.connect(url)
        except (OSError, asyncpg.PostgresError):
            await asyncio.sleep(0.01)
            continue
        try:
            if not cut_now:
                return await _once(connection, one, now)
            cut_now = False
            transaction = connection.transaction()
            await transaction.start()
            try:
                await apply_move(connection, one[0], one[1], one[2], now)
            except (MoveRefused, VersionConflict):
                seen["cut of a refusal"] += 1
            if late < 0.6:
                # The commit arrives, its answer does not.
                committing = asyncio.ensure_future(transaction.commit())
                await asyncio.sleep(0.02 * late)
                seen["lost reply"] += 1
                await between.cut()
                await asyncio.gather(committing, return_exceptions=True)
            else:
                seen["lost request"] += 1
                await between.cut()
            await between.mend()
        except (OSError, asyncpg.InterfaceError, asyncpg.PostgresConnectionError):
            await asyncio.sleep(0.01)
        except asyncpg.DeadlockDetectedError:
            seen["deadlock"] += 1
        finally:
            connection.terminate()


async def _engine(connection: asyncpg.Connection[Any], orders: list[OrderId], now: datetime) -> None:
    """What time has made due, as the engine does it."""
    for id in orders:
        async with connection.transaction():
            order = await fetch_order(connection, id, lock=True)
            requests = [
                MoveRequest(Move(one.what), 0, clock=one.clock, rung=one.rung, idempotency_key=one.key)
                for one in overdue(order.order, now)
            ]
            _, outgoing = await append_moves(connection, id, requests, now)
            await append(connection, outgoing)


async def test_orders_come_back_and_go_out_again_in_one_transaction(home: asyncpg.Connection[Any]) -> None:
    order = await new_order(home, datetime.now(UTC))
    back = await moved(home, order.id, Move.RETURN, PATROL, reason="not ours")
    assert (back.state, back.forced, back.returns, back.version) == (OrderState.DISPATCHED, True, 1, 4)
    history = await fetch_history(home, order.id)
    assert [(entry.move.value, entry.actor_role) for entry in history[2:]] == [
        ("return", "staff"),
        ("dispatch", "system"),
    ]
    assert history[-1].detail["forced"] is True
    assert back.assignee_id != PATROL.id
    with pytest.raises(MoveRefused, match="forced"):
        await moved(home, order.id, Move.RETURN, LEADER, reason="again")


async def test_orders_merge_with_their_alerts_and_what_they_bring(home: asyncpg.Connection[Any]) -> None:
    alert, part_id = await raise_alert(home, "test-gas_alarm-1")
    assert part_id is not None
    now = datetime.now(UTC)
    into = await new_order(home, now, severity=Severity.MINOR)
    await moved(home, part_id, Move.EVIDENCE, PATROL, evidence_id="e1", sort="photo", phase="before")
    part = await moved(home, part_id, Move.MERGE, DESK, merge_into=into.id, idempotency_key="user-desk:m")
    assert (part.state, part.merged_into) == (OrderState.MERGED, into.id)
    assert await home.fetchval("SELECT order_id FROM alert WHERE id = $1", alert) == into.id
    grown = await whole(home, into.id)
    assert grown.severity is Severity.CRITICAL
    assert grown.terms == part.terms
    assert grown.photos_before == 1
    last = (await fetch_history(home, into.id))[-1]
    assert (last.move, last.detail["merged"]["photos_before"]) == (Move.REPEAT, 1)
    again = await moved(home, part_id, Move.MERGE, DESK, merge_into=into.id, idempotency_key="user-desk:m")
    assert again.version == part.version
    types = [row["type"] for row in await home.fetch("SELECT type FROM outbox ORDER BY seq DESC LIMIT 2")]
    assert types == ["order.repeat", "order.merge"]


async def test_orders_are_not_merged_into_what_is_no_open_order_here(
    home: asyncpg.Connection[Any], database_url: str
) -> None:
    await put_community(database_url, small_community("other", "o-"))
    now = datetime.now(UTC)
    order, over = await new_order(home, now), await new_order(home, now)
    await moved(home, over.id, Move.CANCEL, DESK, reason="done")
    foreign = await new_order(home, now, community_id=CommunityId("other"), grid_id="other-grid-1")
    for into, words in ((over.id, "has ended"), (foreign.id, "community"), (order.id, "itself"), (uuid4(), "no such")):
        with pytest.raises(MoveRefused, match=words):
            await moved(home, order.id, Move.MERGE, DESK, merge_into=OrderId(into))
    with pytest.raises(OrderNotFound):
        async with home.transaction():
            request = MoveRequest(Move.MERGE, 1, merge_into=OrderId(order.id))
            await apply_move(home, uuid4(), request, DESK, now)
    assert (await whole(home, order.id)).state is OrderState.DISPATCHED


async def test_orders_whose_work_lies_ahead_are_not_merged_into_one_that_is_done_or_waits(
    home: asyncpg.Connection[Any],
) -> None:
    now = datetime.now(UTC)
    order, done = await new_order(home, now), await new_order(home, now)
    for move, who in ((Move.ACCEPT, PATROL), (Move.ARRIVE, PATROL), (Move.RESOLVE, PATROL)):
        await moved(home, done.id, move, who, note="done")
    waiting = draft(id=OrderId(uuid4()), community_id=HOME, source=Source.STAFF, grid_id="test-grid-1", terms=terms())
    async with home.transaction():
        await insert_order(home, waiting, now, dispatch=False)
    for into, words in ((done.id, "done already"), (waiting.id, "not dispatched")):
        with pytest.raises(MoveRefused, match=words):
            await moved(home, order.id, Move.MERGE, DESK, merge_into=into)
    assert (await whole(home, order.id)).state is OrderState.DISPATCHED


async def test_orders_held_by_a_mover_may_be_referred_to(home: asyncpg.Connection[Any], database_url: str) -> None:
    """Notices, evidence and reports refer to an order by a foreign key: waiting there with locks of their own is how
    whoever climbs the ladder and whoever tells people would wait for each other."""
    order, second = await new_order(home, datetime.now(UTC)), await connect(database_url)
    async with home.transaction():
        await fetch_order(home, order.id, lock=True)
        async with asyncio.timeout(90):
            await second.fetchval("SELECT id FROM work_order WHERE id = $1 FOR KEY SHARE", order.id)
            with pytest.raises(asyncpg.LockNotAvailableError):
                await second.fetchval("SELECT id FROM work_order WHERE id = $1 FOR NO KEY UPDATE NOWAIT", order.id)
    await second.close()


async def test_orders_that_merge_crosswise_do_not_wait_for_each_other(
    home: asyncpg.Connection[Any], database_url: str
) -> None:
    now = datetime.now(UTC)
    second = await connect(database_url)
    for _ in range(5):
        one, two = await new_order(home, now), await new_order(home, now)
        async with asyncio.timeout(90):
            came = await asyncio.gather(
                moved(home, one.id, Move.MERGE, DESK, merge_into=two.id),
                moved(second, two.id, Move.MERGE, ADMIN, merge_into=one.id),
                return_exceptions=True,
            )
        refusals = [one for one in came if isinstance(one, Exception)]
        assert len(refusals) == 1
        assert isinstance(refusals[0], MoveRefused | VersionConflict), refusals
    await second.close()


async def test_orders_opened_by_people_name_them_and_may_wait_to_be_filed(home: asyncpg.Connection[Any]) -> None:
    now = datetime.now(UTC)
    wanted = draft(id=OrderId(uuid4()), community_id=HOME, source=Source.STAFF, grid_id="test-grid-1", terms=terms())
    async with home.transaction():
        row, outgoing = await insert_order(home, wanted, now, actor=PATROL, dispatch=False, note="seen", asked="d")
        await append(home, outgoing)
    assert (row.state, row.version, [one.type for one in outgoing]) == (OrderState.CREATED, 1, ["order.create"])
    assert "file" not in terms().clocks
    assert row.file_due is not None and await home.fetchval("SELECT attention_at FROM work_order WHERE id = $1", row.id)
    first = (await fetch_history(home, row.id))[0]
    assert (first.actor_id, first.actor_role, first.detail["note"]) == ("user-patrol1", "staff", "seen")
    assert await home.fetchval("SELECT action FROM audit ORDER BY id DESC LIMIT 1") == "order.create"
    filed = await moved(home, row.id, Move.DISPATCH, DESK)
    assert (filed.state, filed.forced, filed.filed_at) == (OrderState.DISPATCHED, False, filed.dispatched_at)
    await whole(home, row.id)


async def test_orders_keep_one_key_for_one_request(home: asyncpg.Connection[Any]) -> None:
    order = await new_order(home, datetime.now(UTC))
    first = await moved(home, order.id, Move.NOTE, PATROL, note="on my way", idempotency_key="user-patrol1:k")
    again = await moved(home, order.id, Move.NOTE, PATROL, note="on my way", idempotency_key="user-patrol1:k")
    assert again.version == first.version == 3
    for move, note in ((Move.NOTE, "stuck"), (Move.ACCEPT, None)):
        with pytest.raises(MoveRefused) as caught:
            await moved(home, order.id, move, PATROL, idempotency_key="user-patrol1:k", note=note)
        assert caught.value.refused.code == "key"
        assert "Idempotency-Key" in caught.value.reason.zh


async def test_orders_escalated_by_hand_go_up_one_rung(home: asyncpg.Connection[Any]) -> None:
    order = await new_order(home, datetime.now(UTC))
    up = await moved(home, order.id, Move.ESCALATE, LEADER)
    assert up.rung >= 1
    top = await moved(home, order.id, Move.ESCALATE, DESK)
    assert top.rung > up.rung
