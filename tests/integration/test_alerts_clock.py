"""What the alert engine does when the database's clock was put back, and when hundreds of orders lie unattended."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from services.adapters.orders import OrderRow, apply_move, fetch_history, fetch_order, open_order
from services.adapters.orders.rows import Q
from services.adapters.postgres import open_pool
from services.alerts import escalation, metrics
from services.alerts.escalation import escalate_due
from services.alerts.lease import hold
from services.domain.ids import CommunityId, OrderId
from services.domain.orders import Actor, Draft, Entry, Move, MoveRequest, Source, fold
from services.domain.vocabulary import Label, Role, Severity, Team
from tests.integration.alerts_support import COMMUNITY, PARTITION, World, staffed

AT_ONCE = 10
NOW = datetime(2026, 11, 22, 8, 0, tzinfo=UTC)
ORDERS = int(os.environ.get("LINHUB_PLAN_ORDERS", "20000"))
UNATTENDED = 2 * AT_ONCE + 1
"""More than one look at the database takes."""


@pytest.fixture
async def world(database_url: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    monkeypatch.setattr(escalation, "AT_ONCE", AT_ONCE)
    pool = await open_pool(database_url, name="test", max_size=4)
    one = World(database_url, pool)
    await one.prepare()
    yield one
    await pool.close()


async def test_lease_of_a_clock_that_was_put_back_is_taken_over_when_its_owner_is_gone(world: World) -> None:
    async with world.pool.acquire() as connection:
        first = await hold(connection, "alerts", "gone", [PARTITION], 1.0)
        await connection.execute("UPDATE worker_lease SET expires_at = expires_at + interval '1 hour'")
        second = await hold(connection, "alerts", "next", [PARTITION], 60.0)
        assert second[PARTITION].epoch == first[PARTITION].epoch + 1
        # One that a living owner has just renewed lasts no longer than any.
        assert await hold(connection, "alerts", "third", [PARTITION], 60.0) == {}


def draft(number: int, severity: Severity = Severity.CRITICAL, kind: str = "sos_button") -> Draft:
    return Draft(
        id=OrderId(UUID(int=number)),
        community_id=CommunityId(COMMUNITY),
        source=Source.ALERT,
        kind=kind,
        severity=severity,
        title=Label("求助", "Call for help"),
        team=Team.PATROL,
        correlation=f"d@{number}",
    )


async def opened(world: World, *drafts: Draft, at: datetime = NOW) -> list[OrderRow]:
    async with world.pool.acquire() as connection, connection.transaction():
        return [await open_order(connection, one, at) for one in drafts]


async def attention(world: World, order: OrderRow) -> datetime | None:
    found: datetime | None = await world.pool.fetchval("SELECT attention_at FROM work_order WHERE id = $1", order.id)
    return found


async def moves(world: World, order: OrderRow) -> list[Entry]:
    async with world.pool.acquire() as connection:
        return await fetch_history(connection, order.id)


async def test_orders_with_nothing_left_to_take_do_not_stand_before_those_that_wait(world: World) -> None:
    await staffed(world.pool)
    await opened(world, *(draft(n) for n in range(1, UNATTENDED + 1)), at=NOW - timedelta(days=2))
    (order,) = await opened(world, draft(1000))
    now = NOW + timedelta(seconds=119)
    taken = [await escalate_due(world.pool, [PARTITION], now) for _ in range(3)]
    assert taken == [5 * UNATTENDED + 1, 0, 0]
    assert (await world.orders(f"id = '{order.id}'"))[0]["rung"] == 1
    assert await escalate_due(world.pool, [PARTITION], now + timedelta(seconds=1)) == 1
    left = await world.pool.fetchval("SELECT count(*) FROM work_order WHERE attention_at <= $1", now)
    assert left == 0, "orders that nothing is owed on come up again for ever"


async def test_order_that_nobody_accepts_rings_again_on_top_of_the_ladder(world: World) -> None:
    """Each time it is told anew, to whoever stands there, and never twice for one time."""
    await staffed(world.pool)
    (order,) = await opened(world, draft(1))
    await escalate_due(world.pool, [PARTITION], NOW + timedelta(minutes=5))
    before = [one.move for one in await moves(world, order)].count(Move.ESCALATE)
    for minutes in (10, 10, 15, 15):
        await escalate_due(world.pool, [PARTITION], NOW + timedelta(minutes=minutes))
    again = [one for one in await moves(world, order) if (one.idempotency_key or "").startswith("again:accept:")]
    assert [one.detail["rung"] for one in again] == [4, 4]
    assert all(one.detail["people"] for one in again)
    steps = [one.move for one in await moves(world, order)].count(Move.ESCALATE)
    assert steps == before + 2
    assert (await world.outbox()).count("order.escalate") == steps


async def test_critical_orders_never_wait_behind_a_backlog_of_others(world: World) -> None:
    """More than a batch of others are late for longer, some of them unreadable; each call takes all critical ones."""
    await staffed(world.pool)
    backlog = await opened(
        world, *(draft(n, Severity.MAJOR) for n in range(1, AT_ONCE + 10)), at=NOW - timedelta(minutes=20)
    )
    await world.pool.execute(
        """UPDATE work_order SET terms = '{"class_id": "torn"}' WHERE id = ANY ($1)""", [one.id for one in backlog[:5]]
    )
    (order,) = await opened(world, draft(1000))
    now = NOW + timedelta(seconds=60)
    await escalate_due(world.pool, [PARTITION], now)
    assert (await world.orders(f"id = '{order.id}'"))[0]["rung"] == 1
    await escalate_due(world.pool, [PARTITION], now)
    left = await world.pool.fetch("SELECT id FROM work_order WHERE attention_at <= $1", now)
    assert {row["id"] for row in left} == {one.id for one in backlog[:5]}


async def test_orders_are_held_to_the_terms_of_their_class(world: World) -> None:
    critical, minor, care = await opened(
        world, draft(1), draft(2, Severity.MINOR, "bin"), draft(3, Severity.MINOR, "door_magnet")
    )
    assert [one.terms.class_id for one in (critical, minor, care)] == ["emergency", "routine", "care"]
    assert critical.accept_due == NOW + timedelta(minutes=1)
    # 22 November 2026, 08:00 in UTC, is 16:00 in Shanghai: 4 of the 24 hours are left of this day, 12 of the next.
    assert minor.resolve_due == NOW + timedelta(hours=4, days=1) + timedelta(hours=12 + 8)
    assert care.arrive_due == NOW + timedelta(minutes=30)
    assert await attention(world, minor) == NOW + timedelta(seconds=450)


async def test_rung_on_which_nobody_is_on_duty_is_passed_at_once_and_says_so(world: World) -> None:
    """The community has no leader; the desk is there."""
    (order,) = await opened(world, draft(1))
    assert await escalate_due(world.pool, [PARTITION], NOW + timedelta(seconds=60)) == 1
    step = (await moves(world, order))[-1]
    assert step.move is Move.ESCALATE and step.detail["rung"] == 2 and step.detail["people"]
    assert step.reason is not None and "队长无人值班" in step.reason and "nobody on duty: leader" in step.reason
    assert await escalate_due(world.pool, [PARTITION], NOW + timedelta(seconds=150)) == 0
    assert await escalate_due(world.pool, [PARTITION], NOW + timedelta(seconds=180)) == 1


async def test_order_that_cannot_be_read_keeps_no_other_waiting(world: World) -> None:
    await staffed(world.pool)
    bad, good = await opened(world, draft(1), draft(2))
    await world.pool.execute("""UPDATE work_order SET terms = '{"class_id": "torn"}' WHERE id = $1""", bad.id)
    before = metrics.CLOCK_FAULTS._value.get()
    assert await escalate_due(world.pool, [PARTITION], NOW + timedelta(seconds=60)) == 1
    assert (await world.orders(f"id = '{good.id}'"))[0]["rung"] == 1
    assert metrics.CLOCK_FAULTS._value.get() - before == 1


async def test_stale_attention_is_written_anew_and_nothing_is_done_twice(world: World) -> None:
    (order,) = await opened(world, draft(1))
    await world.pool.execute("UPDATE work_order SET attention_at = $2 WHERE id = $1", order.id, NOW - timedelta(days=1))
    assert await escalate_due(world.pool, [PARTITION], NOW) == 0
    assert await attention(world, order) == NOW + timedelta(seconds=45)
    assert len(await moves(world, order)) == 2


async def test_pause_ends_by_itself_and_what_was_left_is_left(world: World) -> None:
    (order,) = await opened(world, draft(1, Severity.MAJOR, "manhole"))
    steps = (
        MoveRequest(Move.ACCEPT, 2),
        MoveRequest(Move.PAUSE, 3, reason="雨", pause_reason="weather", pause_until=NOW + timedelta(hours=5)),
    )
    patrol = Actor(
        await world.pool.fetchval("SELECT id FROM app_user WHERE team = 'patrol' LIMIT 1"),
        Role.STAFF,
        Team.PATROL,
        CommunityId(COMMUNITY),
    )
    async with world.pool.acquire() as connection:
        for hours, request in enumerate(steps):
            order = await apply_move(connection, order.id, request, patrol, NOW + timedelta(hours=hours))
    assert await attention(world, order) == NOW + timedelta(hours=5)
    await escalate_due(world.pool, [PARTITION], NOW + timedelta(hours=4, minutes=59))
    assert (await world.orders())[0]["state"] == "paused"
    await escalate_due(world.pool, [PARTITION], NOW + timedelta(hours=5))
    row = (await world.orders())[0]
    assert (row["state"], row["arrive_due"]) == ("accepted", NOW + timedelta(hours=6))
    assert (await moves(world, order))[-1].actor_role == "system"
    assert "order.resume" in await world.outbox()


async def test_row_equals_the_fold_whatever_time_has_done(world: World) -> None:
    (order,) = await opened(world, draft(1))
    for seconds in (44, 45, 60, 61, 130, 7200):
        await escalate_due(world.pool, [PARTITION], NOW + timedelta(seconds=seconds))
        async with world.pool.acquire() as connection:
            assert (await fetch_order(connection, order.id)).order == fold(await fetch_history(connection, order.id))


async def test_due_orders_are_found_by_their_index(world: World) -> None:
    """Among many that time does nothing to; LINHUB_PLAN_ORDERS says how many."""
    await opened(world, *(draft(n) for n in range(1, 31)))
    columns = await world.pool.fetchval(
        "SELECT string_agg(column_name, ', ') FROM information_schema.columns WHERE table_name = 'work_order' "
        "AND is_generated = 'NEVER' AND is_identity = 'NO' AND column_name <> ALL ($1::text[])",
        ["id", "number", "attention_at", "state"],
    )
    await world.pool.execute(
        f"INSERT INTO work_order (id, state, attention_at, {columns}) "
        "SELECT gen_random_uuid(), CASE WHEN n % 20 = 0 THEN 'dispatched' ELSE 'closed' END, "
        f"CASE WHEN n % 20 = 0 THEN now() + interval '1 year' * n / $1 END, {columns} "
        "FROM work_order, generate_series(1, $1::integer) AS n WHERE id = $2",
        ORDERS,
        UUID(int=1),
    )
    await world.pool.execute("ANALYZE work_order")
    plan = "\n".join(
        row[0]
        for row in await world.pool.fetch(
            "EXPLAIN (ANALYZE, BUFFERS) " + Q["due_orders"],
            list(range(16)),
            NOW + timedelta(hours=1),
            None,
            None,
            True,
            200,
        )
    )
    print(f"\n{ORDERS} orders\n{plan}")  # noqa: T201
    assert "work_order_attention" in plan and "Seq Scan on work_order" not in plan
