"""Whom an order goes to and who is asked on each rung, on a real database: never nobody."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from services.adapters.dispatch import choose, metrics, people_at
from services.adapters.orders import apply_move
from services.domain.ids import CommunityId, OrderId
from services.domain.orders import Actor, Mode, Move, MoveRequest, OrderState, Rung
from services.domain.registry import Account
from services.domain.vocabulary import Role, Severity, Team
from tests.api_server import connect
from tests.integration.roster_support import (
    HOUR,
    NOON,
    draft,
    keep_rota,
    moves,
    names,
    opened,
    settle,
    staff,
    stand,
)


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Any]:
    await settle(
        database_url,
        staff("patrol2", Team.PATROL, "gas", leads=True),
        staff("patrol3"),
        Account("desk2", "desk2", Role.DESK, Team.DESK),
        Account("street2", "street2", Role.STREET, Team.STREET),
        Account("dep", "dep", Role.STREET, Team.DEPARTMENT),
        Account("grid2", "grid2", Role.GRID, Team.GRID, grid_id="test-grid-2"),
    )
    connection = await connect(database_url)
    yield connection
    await connection.close()


async def hold(db: Any, name: str, **values: Any) -> None:
    """An order that this person has accepted."""
    order = await opened(db, draft(), NOON - timedelta(hours=values.pop("hours_ago", 5)))
    actor = Actor(f"user-{name}", Role.STAFF, Team.PATROL, CommunityId("test"))
    async with db.transaction():
        await apply_move(db, order.id, MoveRequest(Move.ACCEPT, order.version), actor, order.created_at)


async def position(db: Any, name: str, x: float, y: float, minutes_ago: float = 1) -> None:
    await db.execute(
        "INSERT INTO staff_position (user_id, x, y, accuracy_m, at) VALUES ($1, $2, $3, 5, $4)",
        f"user-{name}",
        x,
        y,
        NOON - timedelta(minutes=minutes_ago),
    )


async def test_team_without_a_roster_is_on_duty_whole(db: Any) -> None:
    order = await opened(db, draft())
    assert names(order.offered) == ["patrol1", "patrol2", "patrol3"]
    assert (order.mode, order.assignee_id, order.rung) == (Mode.TEAM, None, 0)


async def test_only_who_is_on_duty_is_told(db: Any) -> None:
    await stand(db, "patrol3", NOON - HOUR, NOON + HOUR)
    await stand(db, "patrol2", NOON, NOON + HOUR)
    await stand(db, "patrol1", NOON - 2 * HOUR, NOON)
    assert names((await opened(db, draft())).offered) == ["patrol2", "patrol3"], "from, inclusive, to, exclusive"


async def test_assign_goes_by_skill_then_way_then_load_then_turn(db: Any) -> None:
    plain = draft(mode=Mode.ASSIGN, kind="bin", x=0.0, y=0.0)
    order = await opened(db, replace(plain, kind="gas_alarm"))
    assert order.assignee_id == "user-patrol2" and order.offered == ("user-patrol2",), "who knows gas"
    detail = (await moves(db, order))[1][1]
    assert "技能：燃气" in detail["note"] and "skill: gas" in detail["note"]
    order = await opened(db, replace(plain, id=draft().id))
    assert order.assignee_id == "user-patrol1", (
        "patrol2 has one in hand; of the others by name"
    )
    await position(db, "patrol1", 900.0, 0.0)
    await position(db, "patrol3", 90.0, 0.0)
    order = await opened(db, replace(plain, id=draft().id))
    assert order.assignee_id == "user-patrol3", "the nearest"
    assert "90 米" in (await moves(db, order))[1][1]["note"]


async def test_position_that_is_old_or_of_nobody_on_duty_counts_for_nothing(db: Any) -> None:
    await position(db, "patrol3", 0.0, 0.0, minutes_ago=16)
    await position(db, "patrol2", 400.0, 0.0)
    order = await opened(db, draft(mode=Mode.ASSIGN, kind="bin", x=0.0, y=0.0))
    assert order.assignee_id == "user-patrol1", "an old position is none: all are as far away as is usual"


async def test_rotate_gives_each_their_turn(db: Any) -> None:
    taken = [(await opened(db, draft(mode=Mode.ROTATE), NOON + n * timedelta(minutes=1))).assignee_id for n in range(6)]
    assert names([one or "" for one in taken]) == ["patrol1", "patrol2", "patrol3"] * 2


async def test_first_offers_to_several_at_once_and_grab_to_all(db: Any) -> None:
    order = await opened(db, draft(mode=Mode.FIRST, offer=2))
    assert names(order.offered)[0] == "patrol2" and len(order.offered) == 2 and order.assignee_id is None
    order = await opened(db, draft(mode=Mode.GRAB))
    assert sorted(names(order.offered)) == ["patrol1", "patrol2", "patrol3"] and order.mode is Mode.GRAB


async def test_order_in_a_grid_goes_to_its_own_member_else_to_any(db: Any) -> None:
    order = await opened(db, draft(Team.GRID, grid_id="test-grid-2"))
    assert names(order.offered) == ["grid2"]
    await stand(db, "grid1", NOON - HOUR, NOON + HOUR, Team.GRID)
    order = await opened(db, draft(Team.GRID, grid_id="test-grid-2"))
    assert names(order.offered) == ["grid1"], "its own is not on duty"


async def test_returned_order_is_forced_on_somebody_else(db: Any) -> None:
    order = await opened(db, draft(mode=Mode.ASSIGN))
    assert order.assignee_id == "user-patrol2"
    actor = Actor("user-patrol2", Role.STAFF, Team.PATROL, CommunityId("test"))
    async with db.transaction():
        back = MoveRequest(Move.RETURN, order.version, reason="够不着", idempotency_key="k1")
        order = await apply_move(db, order.id, back, actor, NOON + timedelta(seconds=20))
    assert (order.state, order.forced, order.mode) == (OrderState.DISPATCHED, True, Mode.ASSIGN)
    assert order.assignee_id in ("user-patrol1", "user-patrol3")
    assert "强制派单" in (await moves(db, order))[-1][1]["note"]


async def test_returned_order_comes_back_to_whoever_is_alone(db: Any) -> None:
    await stand(db, "patrol2", NOON - HOUR, NOON + HOUR)
    order = await opened(db, draft(mode=Mode.ASSIGN))
    actor = Actor("user-patrol2", Role.STAFF, Team.PATROL, CommunityId("test"))
    async with db.transaction():
        back = MoveRequest(Move.RETURN, order.version, reason="够不着", idempotency_key="k1")
        order = await apply_move(db, order.id, back, actor, NOON + timedelta(seconds=20))
    assert order.assignee_id == "user-patrol2" and order.forced


async def test_nobody_of_the_team_on_duty_climbs_at_once_in_the_same_transaction(db: Any) -> None:
    await keep_rota(db, ["patrol1"], make=False)
    order = await opened(db, draft())
    history = await moves(db, order)
    assert [move for move, _ in history] == ["create", "dispatch", "escalate"]
    assert order.rung == Rung.LEADER and history[2][1]["people"] == ["user-patrol2"], "its leader, off duty or not"
    assert order.dispatched_at == order.created_at


async def test_ladder_asks_whoever_is_there_and_never_nobody(db: Any) -> None:
    order = await opened(db, draft())

    async def at(rung: Rung) -> tuple[Rung, list[str], tuple[Rung, ...], bool]:
        found = await people_at(db, order.order, rung, NOON)
        return found.rung, names(found.people), found.skipped, found.alone

    assert await at(Rung.LEADER) == (Rung.LEADER, ["patrol2"], (), False)
    assert await at(Rung.DESK) == (Rung.DESK, ["desk", "desk2"], (), False)
    assert await at(Rung.STREET) == (Rung.STREET, ["street", "street2"], (), False)
    assert await at(Rung.DEPARTMENT) == (Rung.DEPARTMENT, ["dep"], (), False)
    await keep_rota(db, ["patrol1"], make=False)
    await keep_rota(db, ["desk"], Team.DESK, make=False)
    await db.execute("UPDATE app_user SET leads = false")
    assert await at(Rung.TEAM) == (Rung.STREET, ["street", "street2"], (Rung.TEAM, Rung.LEADER, Rung.DESK), False)
    await stand(db, "desk2", NOON - HOUR, NOON + HOUR, Team.DESK)
    assert await at(Rung.LEADER) == (Rung.DESK, ["desk2"], (Rung.LEADER,), False)
    await db.execute("UPDATE duty_shift SET cancelled_at = now()")
    await db.execute("UPDATE app_user SET disabled_at = now() WHERE role = 'street'")
    alone = (Rung.DESK, ["admin", "desk", "desk2"], tuple(Rung), True)
    assert await at(Rung.TEAM) == alone, "everybody of the desk and the administrators, on duty or not"
    await db.execute("UPDATE app_user SET disabled_at = now() WHERE role IN ('desk', 'admin')")
    assert (await at(Rung.DEPARTMENT))[1] == ["patrol1", "patrol2", "patrol3"], "whoever could act at all"
    before = metrics.UNREACHED._value.get()
    await db.execute("UPDATE app_user SET disabled_at = now()")
    assert await at(Rung.TEAM) == (Rung.DESK, [], tuple(Rung), True)
    assert metrics.UNREACHED._value.get() == before + 1


async def test_leader_off_duty_is_woken_for_what_cannot_wait_alone(db: Any) -> None:
    await keep_rota(db, ["patrol1"], make=False)
    night = NOON + 14 * HOUR
    minor = await opened(db, draft(severity=Severity.MINOR), NOON)
    grave = await opened(db, draft(severity=Severity.MAJOR), NOON)
    assert (await people_at(db, minor.order, Rung.LEADER, night)).rung is Rung.DESK
    assert (await people_at(db, grave.order, Rung.LEADER, night)).people == ("user-patrol2",)
    assert (await people_at(db, minor.order, Rung.LEADER, NOON)).people == ("user-patrol2",)


async def test_order_stands_whatever_becomes_of_the_roster(db: Any) -> None:
    """An SOS must never fail because the roster cannot be read."""
    before = metrics.UNCHOSEN._value.get()
    await db.execute("ALTER TABLE duty_shift RENAME TO gone")
    order = await opened(db, draft(mode=Mode.ASSIGN))
    assert (order.state, order.mode, order.offered, order.assignee_id) == (OrderState.DISPATCHED, Mode.TEAM, (), None)
    assert metrics.UNCHOSEN._value.get() > before
    assert await db.fetchval("SELECT count(*) FROM work_order") == 1


async def test_disabled_and_foreign_people_are_never_chosen(db: Any) -> None:
    await db.execute("UPDATE app_user SET disabled_at = now() WHERE id = 'user-patrol2'")
    order = await opened(db, draft(mode=Mode.ASSIGN, kind="gas_alarm"))
    assert order.assignee_id == "user-patrol1"
    elsewhere = replace(order.order, community_id=CommunityId("nowhere"), id=OrderId(uuid4()))
    assert (await choose(db, elsewhere, NOON)).offered == ()
