"""Orders opened by people, moved in batches, listed and looked at whole."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx

from services.adapters.orders import open_order
from services.domain.ids import CommunityId, OrderId
from services.domain.orders import Source
from services.domain.vocabulary import Severity
from tests.api_data import raise_alert
from tests.api_server import api_server, client, connect
from tests.factory import put_community, small_community
from tests.integration.test_api_moves import make
from tests.unit.orders_support import draft, terms

SEEN: dict[str, Any] = {"source": "patrol", "title": "消防通道堆物", "severity": "major", "team": "patrol"}


async def opened(http: httpx.AsyncClient, key: str = "", **more: Any) -> httpx.Response:
    body = {**SEEN, **more}
    return await http.post("/communities/test/orders", json=body, headers={"Idempotency-Key": key or str(uuid4())})


async def a_classed_order(database_url: str, **needs: tuple[str, ...]) -> UUID:
    """Of a class with reasons for a pause, in the hands of the patrol."""
    connection = await connect(database_url)
    wanted = draft(
        id=OrderId(uuid4()), community_id=CommunityId("test"), source=Source.STAFF, grid_id="test-grid-1",
        severity=Severity.MINOR, terms=terms(needs=needs),
    )  # fmt: skip
    async with connection.transaction():
        row = await open_order(connection, wanted, datetime.now(UTC))
    await connection.close()
    return row.id


async def test_order_is_opened_once_for_a_key_and_names_who_saw_it(database_url: str) -> None:
    await put_community(database_url, small_community())
    async with api_server(database_url) as url, client(url, "patrol1") as http:
        answers = await asyncio.gather(
            *(opened(http, "k1", building_id="test-b1", note="三辆电动车") for _ in range(4))
        )
        assert [answer.status_code for answer in answers] == [201] * 4, [answer.text for answer in answers]
        assert len({answer.json()["id"] for answer in answers}) == 1
        order = answers[0].json()
        assert (order["source"], order["state"], order["place"]) == ("patrol", "dispatched", "1号楼")
        detail = (await http.get(f"/orders/{order['id']}")).json()
        line = detail["history"][0]
        assert (line["actor"].strip(), line["actor_role"], line["detail"]["note"]) == ("patrol1", "staff", "三辆电动车")
        assert "digest" not in line["detail"]
        other = await opened(http, "k1", title="别的事")
        assert other.status_code == 422
        assert "Idempotency-Key" in other.json()["detail"]
        assert (await http.post("/communities/test/orders", json=SEEN)).status_code == 400
    connection = await connect(database_url)
    assert await connection.fetchval("SELECT count(*) FROM work_order") == 1
    actions = [row["action"] for row in await connection.fetch("SELECT action FROM audit ORDER BY id")]
    assert [one for one in actions if one != "session.open"] == ["order.create"]
    await connection.close()


async def test_order_knows_its_place_from_a_device_a_building_or_a_point(database_url: str) -> None:
    await put_community(database_url, small_community())
    async with api_server(database_url) as url, client(url, "desk") as http:
        device = (await opened(http, device_id="test-gas_alarm-1")).json()
        assert (device["kind"], device["device_id"], device["building_id"]) == (
            "gas_alarm",
            "test-gas_alarm-1",
            "test-b1",
        )
        point = (await opened(http, x=30, y=30, category="lighting", team=None)).json()
        assert (point["kind"], point["x"], point["team"]) == ("lighting", 30.0, "desk")
        waiting = (await opened(http, dispatch=False)).json()
        assert (waiting["state"], waiting["version"]) == ("created", 1)
        assert {"dispatch", "cancel"} <= set(waiting["moves"])
        for wrong in (
            {"building_id": "nowhere"},
            {"device_id": "nothing"},
            {"x": 1.0},
            {"team": None},
            {"source": "alert"},
            {"title": ""},
            {"category": "Not One"},
        ):
            answer = await opened(http, **wrong)
            assert answer.status_code == 422, wrong
        assert (
            await http.post("/communities/other/orders", json=SEEN, headers={"Idempotency-Key": "x"})
        ).status_code == 404
    connection = await connect(database_url)
    grids = await connection.fetch("SELECT grid_id FROM work_order ORDER BY number")
    assert [row["grid_id"] for row in grids] == ["test-grid-1", "test-grid-1", None]
    await connection.close()


async def test_order_refuses_in_full(database_url: str) -> None:
    await put_community(database_url, small_community())
    order = await a_classed_order(database_url, resolve=("note", "photo_after"))
    async with (
        api_server(database_url) as url,
        client(url, "patrol1") as patrol,
        client(url, "cleaning1") as cleaning,
        client(url, "desk") as desk,
    ):
        refused = (await make(cleaning, order, "accept", 2)).json()
        assert refused["status"] == 422
        assert refused["errors"] == [
            {
                "code": "who",
                "state": "dispatched",
                "move": "accept",
                "who": ["assignee", "offered", "helper", "leader", "desk"],
                "needs": [],
                "allowed": [],
            }
        ]
        wrong_state = (await make(patrol, order, "resolve", 2)).json()["errors"][0]
        assert (wrong_state["code"], wrong_state["state"], wrong_state["who"]) == ("state", "dispatched", [])
        assert wrong_state["allowed"] == ["accept", "return", "evidence", "note"]
        shown = (await make(patrol, order, "accept", 2)).json()
        assert shown["needs"]["arrive"] == []
        shown = (await make(patrol, order, "arrive", 3)).json()
        assert shown["needs"]["resolve"] == ["note", "photo_after"]
        lacking = (await make(patrol, order, "resolve", 4, note="done")).json()
        assert lacking["errors"][0]["needs"] == ["photo_after"]
        assert "处置后照片" in lacking["detail"]
        for move in ("evidence", "rate"):
            bare = await make(desk, order, move, 4)
            assert bare.status_code == 422
        used = await make(patrol, order, "note", 4, "k", note="a")
        assert used.status_code == 200
        reused = await make(patrol, order, "note", 5, "k", note="b")
        assert (reused.status_code, reused.json()["errors"][0]["code"]) == (422, "key")


async def test_order_is_shown_whole(database_url: str) -> None:
    await put_community(database_url, small_community())
    order, other = await a_classed_order(database_url), await a_classed_order(database_url)
    async with api_server(database_url) as url, client(url, "patrol1") as patrol, client(url, "desk") as desk:
        # The street office of this community may have it; whoever works nowhere here may not.
        assert (await make(desk, other, "assign", 2, assignee_id="user-street")).status_code == 200
        assert (await make(desk, other, "assign", 3, assignee_id="user-nobody")).status_code == 422
        async with client(url, "street") as street:
            assert (await make(street, other, "accept", 3)).status_code == 200
        assigned = await make(desk, order, "assign", 2, assignee_id="user-patrol1")
        assert assigned.status_code == 200, assigned.text
        await make(patrol, order, "accept", 3)
        until = datetime.now(UTC) + timedelta(minutes=30)
        paused = await make(patrol, order, "pause", 4, pause_reason="waiting_parts", pause_until=until.isoformat())
        assert (paused.status_code, paused.json()["pause_reason"]) == (200, "waiting_parts"), paused.text
        detail = (await desk.get(f"/orders/{order}")).json()
        assert [one["id"] for one in detail["offered"]] == ["user-patrol1"]
        assert [one["id"] for one in detail["workers"]] == ["user-patrol1"]
        assert detail["order_class"]["id"] == "test"
        assert len(detail["order_class"]["pause_reasons"]) == 5
        clocks = {clock["name"]: clock for clock in detail["clocks"]}
        assert list(clocks) == ["accept", "arrive", "resolve", "verify"]
        assert clocks["accept"]["done_at"] is not None
        assert 3400 < clocks["arrive"]["left_s"] <= 3600
        assert not clocks["arrive"]["late"]
        assert [(one["reason"]["name"], one["ended_at"]) for one in detail["pauses"]] == [("waiting_parts", None)]
        await make(patrol, order, "resume", 5)
        detail = (await desk.get(f"/orders/{order}")).json()
        assert detail["pauses"][0]["ended_at"] is not None
        clocks = {clock["name"]: clock for clock in detail["clocks"]}
        assert clocks["arrive"]["warn_at"] < clocks["arrive"]["due"]
        connection = await connect(database_url)
        alert, part = await raise_alert(connection, "test-gas_alarm-1")
        await connection.close()
        merged = await make(desk, part, "merge", 2, merge_into=str(order))
        assert merged.status_code == 200, merged.text
        detail = (await desk.get(f"/orders/{order}")).json()
        assert [one["id"] for one in detail["links"]["merged"]] == [str(part)]
        assert [one["id"] for one in detail["links"]["alerts"]] == [str(alert)]
        assert (await desk.get(f"/orders/{part}")).json()["links"]["merged_into"]["id"] == str(order)


async def test_orders_move_in_batches_each_with_its_own_answer(database_url: str) -> None:
    await put_community(database_url, small_community())
    await put_community(database_url, small_community("other", "o-"))
    connection = await connect(database_url)
    _, foreign = await raise_alert(connection, "other-gas_alarm-1")
    await connection.close()
    async with api_server(database_url) as url, client(url, "desk") as desk:
        orders = [(await opened(desk)).json()["id"] for _ in range(5)]
        moves = [{"order_id": id, "move": "assign", "version": 2, "assignee_id": "user-patrol1"} for id in orders]
        moves[1]["version"] = 1
        moves[2]["move"] = "close"
        moves[3]["assignee_id"] = "user-nobody"
        moves.append({"order_id": str(foreign), "move": "note", "version": 2, "note": "x"})
        moves.append({"order_id": str(uuid4()), "move": "note", "version": 2, "note": "x"})
        path, headers = "/communities/test/orders/moves", {"Idempotency-Key": "b1"}
        answer = await desk.post(path, json={"moves": moves}, headers=headers)
        assert answer.status_code == 200, answer.text
        items = answer.json()["items"]
        assert [one["status"] for one in items] == [200, 409, 422, 422, 200, 404, 404]
        assert items[0]["order"]["assignee_id"] == "user-patrol1"
        assert items[1]["problem"]["current"]["version"] == 2
        assert items[2]["problem"]["errors"][0]["code"] == "state"
        again = (await desk.post(path, json={"moves": moves}, headers=headers)).json()["items"]
        assert [one["status"] for one in again] == [200, 409, 422, 422, 200, 404, 404]
        assert again[0]["order"]["version"] == items[0]["order"]["version"] == 3
        twice = await desk.post(path, json={"moves": [moves[0], moves[0]]}, headers={"Idempotency-Key": "b2"})
        assert twice.status_code == 422
        assert (await desk.post(path, json={"moves": []}, headers=headers)).status_code == 422
        assert (await desk.post(path, json={"moves": moves})).status_code == 400


async def test_orders_are_found_by_what_people_ask_for(database_url: str) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    await raise_alert(connection, "test-wristband-1", rule_id="wristband.heart_rate_high")
    await connection.close()
    async with api_server(database_url) as url, client(url, "desk") as desk, client(url, "patrol1") as patrol:
        lane = (await opened(desk, building_id="test-b1")).json()
        lamp = (await opened(desk, title="路灯不亮", title_en="Lamp out", team="maintenance", severity="minor")).json()
        await make(patrol, lane["id"], "accept", 2)

        async def found(http: httpx.AsyncClient, **by: Any) -> list[int]:
            answer = await http.get("/communities/test/orders", params=by)
            assert answer.status_code == 200, answer.text
            return [one["number"] for one in answer.json()["items"]]

        assert await found(desk, state="accepted") == [lane["number"]]
        assert await found(desk, team="maintenance") == [lamp["number"]]
        assert await found(patrol, assignee="me") == [lane["number"]]
        assert await found(desk, assignee="user-patrol1") == [lane["number"]]
        assert await found(desk, source="patrol", severity="minor") == [lamp["number"]]
        assert await found(desk, building="test-b1", source="patrol") == [lane["number"]]
        assert await found(desk, **{"class": lamp["class_id"]}, team="maintenance") == [lamp["number"]]
        assert await found(desk, q="LAMP") == [lamp["number"]]
        assert await found(desk, q="路灯") == [lamp["number"]]
        assert await found(desk, q=str(lane["number"])) == [lane["number"]]
        assert await found(desk, q="%") == []
        # Of an order about somebody's health, the title is not searched by whoever may not read it.
        assert len(await found(desk, q="燃气泄漏")) == 1
        assert await found(patrol, q="燃气泄漏") == []
        for wrong in ({"state": "lost"}, {"team": "nobody"}, {"q": ""}):
            assert (await desk.get("/communities/test/orders", params=wrong)).status_code == 422
