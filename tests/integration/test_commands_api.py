"""Commands as people ask for them: two people, retries, emergencies and their review, batches, and rights that end."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx
import pytest

from services.adapters.commands.sending import hand_out, lapse, remind
from services.adapters.postgres import open_pool
from services.domain.commands import CommandMove, CommandState, Entry, fold
from tests.access_kit import key, service, with_key
from tests.api_server import api_server, client
from tests.factory import put_community, small_community

PARTITIONS = range(16)


@dataclass
class Desk:
    url: str
    pool: asyncpg.Pool[Any]
    desk: httpx.AsyncClient
    admin: httpx.AsyncClient

    async def ask(self, http: httpx.AsyncClient, device: str, name: str, **more: Any) -> httpx.Response:
        headers = {"Idempotency-Key": more.pop("key", None) or str(uuid4())}
        body = {"device_id": f"test-{device}", "name": name, "why": "试", **more}
        return await http.post("/communities/test/commands", json=body, headers=headers)

    async def batch(self, http: httpx.AsyncClient, **body: Any) -> httpx.Response:
        headers = {"Idempotency-Key": body.pop("key", None) or str(uuid4())}
        return await http.post("/communities/test/command-batches", json={"why": "试", **body}, headers=headers)

    async def hand_out(self, later_s: float = 0.0) -> list[str]:
        """Which commands the sender would publish now."""
        async with self.pool.acquire() as connection, connection.transaction():
            out = await hand_out(connection, PARTITIONS, datetime.now(UTC) + timedelta(seconds=later_s))
        return [str(row["id"]) for row in out.rows]

    async def state(self, command: str) -> str:
        found: str = await self.pool.fetchval("SELECT state FROM command WHERE id = $1", UUID(command))
        return found

    async def actions(self) -> list[str]:
        rows = await self.pool.fetch("SELECT action FROM audit WHERE action LIKE 'command.%' ORDER BY id")
        return [row["action"] for row in rows]


@pytest.fixture
async def there(database_url: str) -> AsyncIterator[Desk]:
    await put_community(database_url, small_community())
    pool = await open_pool(database_url, name="test", max_size=4)
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(api_server(database_url, auth_requests_per_min=6000))
        desk = await stack.enter_async_context(client(url, "desk"))
        admin = await stack.enter_async_context(client(url, "admin"))
        yield Desk(url, pool, desk, admin)
    await pool.close()


async def folded(pool: asyncpg.Pool[Any]) -> None:
    """Each row is what its own history says."""
    for row in await pool.fetch("SELECT * FROM command"):
        lines = await pool.fetch("SELECT * FROM command_history WHERE command_id = $1 ORDER BY version", row["id"])
        command = fold(
            Entry(
                line["version"],
                CommandMove(line["move"]),
                CommandState(line["from_state"]) if line["from_state"] else None,
                CommandState(line["to_state"]),
                line["at"],
                line["by"],
                line["why"],
            )
            for line in lines
        )
        assert (command.state.value, command.version, command.sends) == (row["state"], row["version"], row["sends"])
        assert (command.approved_by, command.reviewed_by) == (row["approved_by"], row["reviewed_by"])
        assert command.ended == (row["ended_at"] is not None)


async def test_dangerous_command_leaves_when_another_has_approved_it(there: Desk) -> None:
    asked = await there.ask(there.desk, "gas_meter-1", "valve_close")
    assert asked.status_code == 201 and asked.json()["state"] == "awaiting"
    command = asked.json()["id"]
    assert await there.hand_out() == []
    own = await there.desk.post(f"/commands/{command}/approve", json={})
    assert own.status_code == 403 and "自己" in own.json()["detail"]
    approved = await there.admin.post(f"/commands/{command}/approve", json={"note": "核实"})
    assert approved.status_code == 200 and approved.json()["state"] == "queued"
    assert [line["move"] for line in approved.json()["history"]] == ["request", "approve"]
    assert await there.hand_out() == [command]
    again = await there.admin.post(f"/commands/{command}/approve", json={})
    assert again.status_code == 409
    back = await there.desk.post(f"/commands/{command}/cancel", json={"why": "不要了"})
    assert back.status_code == 409, "it was handed out: nobody can say that it did not leave"
    assert await there.actions() == ["command.request", "command.approve"]
    await folded(there.pool)


async def test_retry_asks_for_the_same_command_and_another_body_is_refused(there: Desk) -> None:
    first = await there.ask(there.desk, "charger-1", "stop", key="one")
    again = await there.ask(there.desk, "charger-1", "stop", key="one")
    assert first.json()["id"] == again.json()["id"] and first.json()["state"] == "queued"
    other = await there.ask(there.desk, "lamp_post-1", "on", key="one")
    assert other.status_code == 409
    mine = await there.ask(there.admin, "charger-1", "stop", key="one")
    assert mine.json()["id"] != first.json()["id"], "keys are each person's own"
    nothing = await there.desk.post(
        "/communities/test/commands", json={"device_id": "test-charger-1", "name": "stop", "why": "x"}
    )
    assert nothing.status_code == 400
    assert await there.pool.fetchval("SELECT count(*) FROM command") == 2
    assert await there.pool.fetchval("SELECT count(*) FROM outbox WHERE type = 'command.requested'") == 2


@pytest.mark.parametrize(
    ("device", "name", "params", "status"),
    [
        ("charger-1", "explode", {}, 422),
        ("siren-1", "siren_on", {"seconds": 100000}, 422),
        ("lamp_post-1", "dim", {}, 422),
        ("nothing-9", "on", {}, 404),
        ("door_magnet-1", "open", {}, 422),
    ],
)
async def test_what_cannot_be_asked_is_refused_with_a_reason(
    there: Desk, device: str, name: str, params: dict[str, Any], status: int
) -> None:
    answer = await there.ask(there.desk, device, name, params=params)
    assert answer.status_code == status and " · " in answer.json()["detail"]
    assert await there.pool.fetchval("SELECT count(*) FROM command") == 0


@pytest.mark.parametrize("who", ["user-desk", "user-admin"])
async def test_command_of_a_person_whose_rights_ended_is_not_sent(there: Desk, who: str) -> None:
    command = (await there.ask(there.desk, "gas_meter-1", "valve_close")).json()["id"]
    await there.admin.post(f"/commands/{command}/approve", json={})
    await there.pool.execute("UPDATE app_user SET disabled_at = now() WHERE id = $1", who)
    assert await there.hand_out() == []
    assert await there.state(command) == "refused"
    assert (await there.actions())[-1] == "command.withdraw"
    assert await there.hand_out() == []
    await folded(there.pool)


async def test_command_of_a_person_who_was_made_something_else_is_not_sent(there: Desk) -> None:
    command = (await there.ask(there.desk, "gas_meter-1", "valve_close")).json()["id"]
    await there.admin.post(f"/commands/{command}/approve", json={})
    await there.pool.execute("UPDATE app_user SET role = 'staff', team = 'patrol' WHERE username = 'admin'")
    assert await there.hand_out() == [] and await there.state(command) == "refused"


async def test_approval_after_the_request_ran_out_is_refused(there: Desk) -> None:
    command = (await there.ask(there.desk, "gas_meter-1", "valve_close")).json()["id"]
    await there.pool.execute(
        "UPDATE command SET requested_at = now() - interval '1 h', expires_at = now() - interval '1 s'"
    )
    assert (await there.admin.post(f"/commands/{command}/approve", json={})).status_code == 409
    async with there.pool.acquire() as connection:
        await lapse(connection, PARTITIONS, datetime.now(UTC))
    assert await there.state(command) == "expired"
    assert (await there.admin.post(f"/commands/{command}/approve", json={})).status_code == 409


async def test_rejected_and_called_back_commands_never_leave(there: Desk) -> None:
    one, two = [(await there.ask(there.desk, "gas_meter-1", "valve_close")).json()["id"] for _ in range(2)]
    own = await there.desk.post(f"/commands/{one}/reject", json={"why": "x"})
    assert own.status_code == 403
    assert (await there.admin.post(f"/commands/{one}/reject", json={"why": "未核实"})).json()["state"] == "refused"
    assert (await there.desk.post(f"/commands/{two}/cancel", json={"why": "误点"})).json()["state"] == "cancelled"
    assert await there.hand_out() == []
    await folded(there.pool)


async def test_siren_in_an_emergency_leaves_at_once_and_somebody_else_reviews_it(there: Desk) -> None:
    valve = await there.ask(there.desk, "gas_meter-1", "valve_close", emergency=True)
    assert valve.status_code == 403, "only what warns people"
    asked = await there.ask(there.desk, "siren-1", "siren_on", params={"seconds": 60}, emergency=True)
    command = asked.json()["id"]
    assert asked.json()["state"] == "queued" and asked.json()["emergency"] is True
    assert await there.hand_out() == [command]
    waiting = (await there.admin.get("/communities/test/commands", params={"to_review": True})).json()
    assert [one["id"] for one in waiting["items"]] == [command]
    verdict = {"verdict": "justified", "note": "确有燃气泄漏"}
    assert (await there.desk.post(f"/commands/{command}/review", json=verdict)).status_code == 403
    assert (await there.admin.post(f"/commands/{command}/review", json=verdict)).json()["verdict"] == "justified"
    assert (await there.admin.post(f"/commands/{command}/review", json=verdict)).status_code == 409
    types = [row["type"] for row in await there.pool.fetch("SELECT type FROM outbox ORDER BY seq")]
    assert [one for one in types if one.startswith("command.")] == [
        "command.requested", "command.emergency", "command.reviewed",
    ]  # fmt: skip
    assert await there.actions() == ["command.emergency", "command.review"]
    await folded(there.pool)


async def test_emergency_that_nobody_reviews_is_told_once(there: Desk) -> None:
    await there.ask(there.desk, "siren-1", "siren_on", params={"seconds": 60}, emergency=True)
    speak = {"kind": "loudspeaker", "name": "speak", "params": {"text": "请撤离"}, "everywhere": True}
    await there.batch(there.desk, **speak, emergency=True)
    looks = []
    for hours in (23, 25, 26):
        async with there.pool.acquire() as connection:
            looks.append(await remind(connection, PARTITIONS, datetime.now(UTC) + timedelta(hours=hours)))
    assert looks == [0, 2, 0]
    assert await there.pool.fetchval("SELECT count(*) FROM outbox WHERE type = 'command.review_overdue'") == 2


async def test_program_with_a_key_may_ask_and_neither_approve_nor_break_glass(there: Desk) -> None:
    account = await service(there.admin, "desk", community_id="test")
    made = await key(there.admin, account, scopes=["command_ask", "command_approve", "commands"])
    command = (await there.ask(there.desk, "gas_meter-1", "valve_close")).json()["id"]
    async with with_key(there.url, made["secret"]) as program:
        assert (await there.ask(program, "charger-1", "stop")).status_code == 201
        assert (await program.post(f"/commands/{command}/approve", json={})).status_code == 403
        siren = await there.ask(program, "siren-1", "siren_on", params={"seconds": 5}, emergency=True)
        assert siren.status_code == 403


async def test_batch_is_approved_as_one_paced_and_stopped_half_way(there: Desk) -> None:
    many = {"kind": "gas_meter", "name": "valve_close", "everywhere": True, "per_second": 0.1}
    made = await there.batch(there.desk, **many, key="b")
    batch = made.json()
    assert made.status_code == 201 and batch["counts"] == {"awaiting": batch["total"]} and batch["total"] >= 2
    assert (await there.batch(there.desk, **many, key="b")).json()["id"] == batch["id"]
    assert (await there.batch(there.desk, **(many | {"name": "test"}), key="b")).status_code == 409
    assert (await there.desk.post(f"/command-batches/{batch['id']}/approve", json={})).status_code == 403
    assert (await there.admin.post(f"/command-batches/{batch['id']}/approve", json={})).status_code == 200
    assert len(await there.hand_out()) == 1, "one in ten seconds"
    stopped = (await there.desk.post(f"/command-batches/{batch['id']}/stop", json={"why": "够了"})).json()
    assert stopped["counts"] == {"queued": 1, "cancelled": batch["total"] - 1} and stopped["open"] == 1
    assert len(await there.hand_out(later_s=60)) == 1, "the one that left is sent again until it is answered"
    assert await there.pool.fetchval("SELECT count(*) FROM command WHERE sends > 0") == 1
    assert await there.actions() == ["command.batch_request", "command.batch_approve", "command.batch_stop"]
    await folded(there.pool)


async def test_broadcast_to_a_zone_reaches_its_loudspeakers_and_is_reviewed(there: Desk) -> None:
    nowhere = await there.batch(there.desk, kind="loudspeaker", name="speak", params={"text": "撤离"})
    assert nowhere.status_code == 422
    made = await there.batch(
        there.desk, kind="loudspeaker", name="speak", params={"text": "请撤离"}, everywhere=True, emergency=True
    )
    batch = made.json()
    assert batch["emergency"] and batch["to_review"] and batch["counts"] == {"queued": batch["total"]}
    verdict = {"verdict": "unjustified", "note": "演练未报备"}
    assert (await there.desk.post(f"/command-batches/{batch['id']}/review", json=verdict)).status_code == 403
    assert (await there.admin.post(f"/command-batches/{batch['id']}/review", json=verdict)).json()["to_review"] is False
    unknown = await there.batch(there.desk, kind="lamp_post", name="on", devices=["test-nothing"])
    assert unknown.status_code == 422 and "test-nothing" in unknown.json()["detail"]


async def test_history_cannot_be_changed_and_an_end_is_an_end(there: Desk) -> None:
    command = UUID((await there.ask(there.desk, "charger-1", "stop")).json()["id"])
    await there.desk.post(f"/commands/{command}/cancel", json={"why": "x"})
    for statement in (
        "UPDATE command SET state = 'queued', ended_at = NULL WHERE id = $1",
        "UPDATE command SET state = 'confirmed' WHERE id = $1",
        "UPDATE command SET requested_by = 'x' WHERE id = $1",
        "UPDATE command_history SET by = 'x' WHERE command_id = $1",
        "DELETE FROM command_history WHERE command_id = $1",
    ):
        with pytest.raises(asyncpg.RestrictViolationError):
            await there.pool.execute(statement, command)
    with pytest.raises(asyncpg.CheckViolationError):
        await there.pool.execute(
            "INSERT INTO command (id, community_id, partition, device_no, name, source, requested_by, dangerous,"
            " approved_by, requested_at, expires_at) SELECT gen_random_uuid(), community_id, partition, device_no,"
            " name, source, 'a', true, 'a', now(), now() + interval '1 min' FROM command WHERE id = $1",
            command,
        )


async def test_moves_of_the_database_are_those_of_the_domain(there: Desk) -> None:
    from services.domain.commands import PAIRS

    for before in (None, *CommandState):
        for after in CommandState:
            move = await there.pool.fetchval(
                "SELECT command_move($1, $2)", None if before is None else before.value, after.value
            )
            known = PAIRS.get((before, after))
            assert move == (known.value if known else None), f"{before} → {after}"
