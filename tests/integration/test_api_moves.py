"""Moves of work orders by people: once, in order, and only by who may."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import httpx

from services.domain.vocabulary import Team
from tests.api_data import raise_alert
from tests.api_server import api_server, client, connect
from tests.factory import put_community, small_community


async def make(
    http: httpx.AsyncClient, order: object, move: str, version: int, key: str = "", **more: Any
) -> httpx.Response:
    body = {"move": move, "version": version, **more}
    return await http.post(f"/orders/{order}/moves", json=body, headers={"Idempotency-Key": key or str(uuid4())})


async def test_move_takes_an_order_from_dispatch_to_close(database_url: str) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    _, order = await raise_alert(connection, "test-gas_alarm-1")
    async with api_server(database_url) as url, client(url, "patrol1") as patrol, client(url, "desk") as desk:
        version = 2
        for http, move, state in (
            (patrol, "accept", "accepted"),
            (patrol, "arrive", "arrived"),
            (patrol, "resolve", "resolved"),
            (desk, "verify", "verified"),
            (desk, "close", "closed"),
        ):
            answer = await make(http, order, move, version, place="1号楼", note="已处理")
            assert answer.status_code == 200, answer.text
            version += 1
            shown = answer.json()
            assert (shown["state"], shown["version"]) == (state, version)
        detail = (await desk.get(f"/orders/{order}")).json()
        assert [line["move"] for line in detail["history"]] == [
            "create", "dispatch", "accept", "arrive", "resolve", "verify", "close",
        ]  # fmt: skip
        assert detail["history"][2]["actor"].strip() == "patrol1"
        assert detail["assignee"].strip() == "patrol1"
    outgoing = await connection.fetch("SELECT type FROM outbox WHERE subject = $1 ORDER BY seq", str(order))
    assert [row["type"] for row in outgoing][2:] == [
        "order.accept", "order.arrive", "order.resolve", "order.verify", "order.close",
    ]  # fmt: skip
    await connection.close()


async def test_move_needs_a_key_and_the_same_key_moves_once(database_url: str) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    _, order = await raise_alert(connection, "test-gas_alarm-1")
    async with api_server(database_url) as url, client(url, "patrol1") as http:
        missing = await http.post(f"/orders/{order}/moves", json={"move": "accept", "version": 2})
        assert missing.status_code == 400
        assert "Idempotency-Key" in missing.json()["detail"]
        answers = await asyncio.gather(*(make(http, order, "accept", 2, "key-1") for _ in range(5)))
        assert [answer.status_code for answer in answers] == [200] * 5
        assert {answer.json()["version"] for answer in answers} == {3}
        later = await make(http, order, "arrive", 3)
        assert later.json()["state"] == "arrived"
        again = await make(http, order, "accept", 2, "key-1")
        assert (again.status_code, again.json()["state"]) == (200, "arrived")
    assert await connection.fetchval("SELECT count(*) FROM work_order_history WHERE order_id = $1", order) == 4
    await connection.close()


async def test_move_with_an_old_version_is_a_conflict_that_names_the_current_one(database_url: str) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    _, order = await raise_alert(connection, "test-gas_alarm-1")
    await connection.close()
    async with api_server(database_url) as url, client(url, "patrol1") as http:
        answers = await asyncio.gather(*(make(http, order, "accept", 2) for _ in range(4)))
        assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
        conflict = next(answer for answer in answers if answer.status_code == 409).json()
        assert conflict["errors"] == [{"version": 3, "state": "accepted"}]
        whole = (await http.get(f"/orders/{order}")).json()
        assert conflict["current"] == {name: whole[name] for name in conflict["current"]}
        assert set(whole) - set(conflict["current"]) == {
            "order_class", "clocks", "offered", "workers", "pauses", "links", "cases", "history",
        }  # fmt: skip


async def test_move_that_is_not_legal_is_refused_with_the_reason(database_url: str) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    _, order = await raise_alert(connection, "test-gas_alarm-1", team=Team.PATROL)
    async with api_server(database_url) as url, client(url, "cleaning1") as cleaning, client(url, "desk") as desk:
        for http, move, more in (
            (cleaning, "accept", {}),
            (desk, "close", {}),
            (desk, "cancel", {}),
            (desk, "transfer", {}),
            (desk, "transfer", {"team": "maintenance", "assignee_id": "user-nobody"}),
            (desk, "transfer", {"team": "maintenance", "assignee_id": "user-resident1"}),
            (desk, "arrive", {"note": "a\0b"}),
        ):
            answer = await make(http, order, move, 2, **more)
            assert answer.status_code == 422, (move, more)
            assert " · " in answer.json()["detail"]
        assert (
            await make(desk, order, "transfer", 2, team="maintenance", assignee_id="user-maintenance1")
        ).status_code == 200
        assert (await make(desk, uuid4(), "accept", 2)).status_code == 404
    assert await connection.fetchval("SELECT version FROM work_order WHERE id = $1", order) == 3
    await connection.close()
