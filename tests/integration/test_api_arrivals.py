"""Arriving, shown by position or by the code at the place; and the codes themselves, made, printed and voided."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID, uuid4
from xml.etree import ElementTree

import httpx

from services.adapters.orders import fetch_history, fetch_order
from services.domain.orders import fold
from tests.api_data import raise_alert
from tests.api_server import api_server, client, connect
from tests.factory import put_community, small_community


async def arrive(http: httpx.AsyncClient, order: UUID, **shown: Any) -> httpx.Response:
    version = (await http.get(f"/orders/{order}")).json()["version"]
    body = {"move": "arrive", "version": version, **shown}
    return await http.post(f"/orders/{order}/moves", json=body, headers={"Idempotency-Key": str(uuid4())})


async def accepted(http: httpx.AsyncClient, connection: Any, device: str = "test-smoke_detector-1") -> UUID:
    """An order at building 1 that patrol1 has accepted."""
    _, order = await raise_alert(connection, device, rule_id="smoke_detector.alarm", family=str(uuid4()))
    assert order is not None
    await connection.execute("UPDATE work_order SET building_id = 'test-b1', x = 31, y = 25 WHERE id = $1", order)
    body = {"move": "accept", "version": 2}
    assert (
        await http.post(f"/orders/{order}/moves", json=body, headers={"Idempotency-Key": str(uuid4())})
    ).status_code == 200
    return order


async def test_arrival_by_position(database_url: str) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    async with api_server(database_url) as url, client(url, "patrol1") as http:
        order = await accepted(http, connection)
        far = await arrive(http, order, position={"x": 31, "y": 325, "accuracy_m": 10})
        assert far.status_code == 422 and "293 米" in far.json()["detail"], far.text
        assert far.json()["errors"] == [{"code": "on_site"}]
        for vague in ({"x": 31, "y": 25, "accuracy_m": 500}, {"x": 31, "accuracy_m": 5}, {"accuracy_m": 5}):
            assert (await arrive(http, order, position=vague)).status_code == 422
        # 29.7, 116.0 is the plan's origin: the building lies 20 m east and south of it.
        there = {"latitude": 29.6998, "longitude": 116.0003, "accuracy_m": 12}
        answer = await arrive(http, order, position=there)
        assert answer.status_code == 200, answer.text
        other = await accepted(http, connection)
        assert (await arrive(http, other)).status_code == 200, "who shows nothing is believed where the class allows it"
    row = await fetch_order(connection, order)
    history = await fetch_history(connection, order)
    assert row.on_site == "position" and fold(history).on_site == "position"
    assert history[-1].detail["on_site"]["distance_m"] < 60
    assert (await fetch_order(connection, other)).on_site is None
    await connection.close()


async def test_arrival_by_code(database_url: str) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    async with api_server(database_url) as url, client(url, "patrol1") as http, client(url, "desk") as desk:
        made = await desk.post(
            "/communities/test/place-codes", json={"building_id": "test-b1", "unit_id": "test-b1-u2"}
        )
        assert made.status_code == 200, made.text
        assert made.json()["place"] == "1号楼2单元"
        code = made.json()["code"]
        order = await accepted(http, connection)
        for wrong in (code[:-1] + ("A" if code[-1] != "A" else "B"), "LINHUB:" + "A" * 48, "http://x/"):
            refused = await arrive(http, order, code=wrong)
            assert refused.status_code == 422 and "不是本社区的场所码" in refused.json()["detail"]
        elsewhere = await desk.post("/communities/test/place-codes", json={"place": "东门", "x": 500, "y": 300})
        refused = await arrive(http, order, code=elsewhere.json()["code"])
        assert refused.status_code == 422 and "东门" in refused.json()["detail"]
        new = await desk.post(f"/place-codes/{made.json()['id']}/rotate")
        assert new.status_code == 200 and new.json()["code"] != code
        void = await arrive(http, order, code=code)
        assert void.status_code == 422 and "作废" in void.json()["detail"]
        assert (await arrive(http, order, code=new.json()["code"])).status_code == 200
        history = await fetch_history(connection, order)
        assert history[-1].detail["on_site"] == {
            "by": "code", "code_id": new.json()["id"], "place": "1号楼2单元", "distance_m": 0.0,
        }  # fmt: skip
        assert (await fetch_order(connection, order)).on_site == "code"
    await connection.close()


async def test_codes_of_another_installation_or_key_are_refused(database_url: str) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    async with api_server(database_url, place_code_key="another key") as url, client(url, "desk") as desk:
        made = (await desk.post("/communities/test/place-codes", json={"building_id": "test-b1"})).json()
    async with api_server(database_url) as url, client(url, "patrol1") as http:
        order = await accepted(http, connection)
        assert (await arrive(http, order, code=made["code"])).status_code == 422
    await connection.close()


async def test_codes_are_listed_printed_and_voided(database_url: str, tmp_path: Path) -> None:
    await put_community(database_url, small_community())
    async with api_server(database_url) as url, client(url, "desk") as desk:
        headers = {"Idempotency-Key": "k"}
        body = {"place": "3号<配电>房 & 水泵", "x": 10, "y": 20}
        first = await desk.post("/communities/test/place-codes", json=body, headers=headers)
        again = await desk.post("/communities/test/place-codes", json=body, headers=headers)
        assert first.json() == again.json()
        for n in range(3):
            await desk.post("/communities/test/place-codes", json={"place": f"门{n}", "x": n, "y": n})
        for wrong in ({}, {"place": "门"}, {"building_id": "nowhere"}, {"building_id": "test-b1", "unit_id": "x"}):
            assert (await desk.post("/communities/test/place-codes", json=wrong)).status_code == 422, wrong
        page = (await desk.get("/communities/test/place-codes", params={"limit": 3})).json()
        rest = (await desk.get("/communities/test/place-codes", params={"limit": 3, "cursor": page["next"]})).json()
        assert [one["place"] for one in page["items"] + rest["items"]] == ["门2", "门1", "门0", body["place"]]

        id = first.json()["id"]
        label = await desk.get(f"/place-codes/{id}/label")
        assert label.headers["content-type"].startswith("image/svg+xml")
        root = ElementTree.fromstring(label.text)  # noqa: S314 - our own
        assert (root.get("width"), root.get("height")) == ("105mm", "148mm")
        words = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
        assert "测试社区" in words and body["place"] in words
        assert any(node.tag.endswith("path") for node in root.iter())
        assert (await desk.post(f"/place-codes/{id}/revoke")).json()["code"] is None
        for path in ("label", "revoke", "rotate"):
            method = "GET" if path == "label" else "POST"
            assert (await desk.request(method, f"/place-codes/{id}/{path}")).status_code == 409
        assert len((await desk.get("/communities/test/place-codes")).json()["items"]) == 3
        assert len((await desk.get("/communities/test/place-codes", params={"state": "all"})).json()["items"]) == 4
