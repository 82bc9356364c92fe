"""Reports by residents against the running service and a real database: opened, joined, followed, rated, forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from services.adapters.orders import fetch_order
from services.adapters.reports import erase_contacts, reporters_of
from services.api.uploads.intake import Intake
from services.api.web.problems import ApiError
from services.domain.vocabulary import Severity, Team
from tests.api_data import raise_alert
from tests.api_server import api_server, client, connect
from tests.evidence_kit import jpeg, zipped
from tests.factory import put_community, small_community
from tests.integration.reports_support import move, order_of, post, send, stranger, work_through

DONE = ("accept", "arrive", "resolve")


async def test_report_of_a_resident_is_dispatched_at_once_and_followed_to_its_end(database_url: str) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    async with (
        api_server(database_url) as url,
        client(url, "resident1") as resident,
        client(url, "cleaning1") as worker,
        client(url, "desk") as desk,
    ):
        made = await send(resident, "rubbish", building_id="test-b1", text="满了")
        assert made["token"] is None and not made["joined"] and made["stage"] == "dispatched"
        order = await order_of(connection, made["id"])
        assert (order["source"], order["team"], order["category"]) == ("resident", "cleaning", "rubbish")
        assert (order["x"], order["y"], order["grid_id"]) == (40.0, 26.0, "test-grid-1")
        await work_through(worker, connection, order["id"], *DONE)
        await work_through(desk, connection, order["id"], "verify", "close")
        shown = (await resident.get(f"/reports/{made['id']}")).json()
        assert [step["step"] for step in shown["steps"]] == [
            "received", "dispatched", "accepted", "arrived", "resolved", "verified", "closed",
        ]  # fmt: skip
        assert shown["to_rate"] and shown["may"] == ["rate"]
        assert "cleaning1" not in str(shown) and "desk" not in str(shown["steps"])
        mine = (await resident.get("/reports/mine")).json()
        assert [one["id"] for one in mine["items"]] == [made["id"]]
    types = [row["type"] for row in await connection.fetch("SELECT type FROM outbox ORDER BY seq")]
    assert types[:3] == ["order.create", "order.dispatch", "report.created"]
    await connection.close()


async def test_report_without_a_login_is_followed_with_its_token_alone(database_url: str) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    async with api_server(database_url) as url, stranger(url) as http, client(url, "resident1") as resident:
        one_key = str(uuid4())
        made = await send(http, "gas_smell", building_id="test-b1", contact_phone="13812345678", key=one_key)
        assert made["token"] and "燃气公司" in made["safety"]["zh"]
        again = await send(http, "gas_smell", building_id="test-b1", contact_phone="13812345678", key=one_key)
        assert again == made
        other = await http.post(
            "/communities/test/reports",
            json={"category": "gas_smell", "place": "x"},
            headers={"Idempotency-Key": one_key},
        )
        assert other.status_code == 409
        short = await http.post(
            "/communities/test/reports", json={"category": "noise", "place": "x"}, headers={"Idempotency-Key": "1"}
        )
        assert short.status_code == 400
        path = f"/reports/{made['id']}"
        assert (await http.get(path)).status_code == 404
        assert (await http.get(path, headers={"X-Report-Token": made["token"] + "x"})).status_code == 404
        assert (await resident.get(path)).status_code == 404
        shown = (await http.get(path, headers={"X-Report-Token": made["token"]})).json()
        assert shown["contact_phone"] == "13812345678" and shown["stage"] == "dispatched"
    row = await connection.fetchrow("SELECT * FROM resident_report")
    assert row["reporter_id"] is None and made["token"] not in str(dict(row))
    assert await connection.fetchval("SELECT count(*) FROM work_order") == 1
    # What forgets cannot forget what a history tells: it tells neither words nor whom to call.
    history = str([dict(one) for one in await connection.fetch("SELECT * FROM work_order_history")])
    assert "13812345678" not in history
    await connection.close()


async def test_report_kept_apart_from_the_account_leaves_no_trace_of_it(database_url: str) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    async with api_server(database_url) as url, client(url, "resident1") as resident:
        made = await send(resident, "noise", anonymous=True)
        assert made["token"]
        assert (await resident.get("/reports/mine")).json()["items"] == []
        answer = await post(resident, f"/reports/{made['id']}/information", made["token"], text="还在响")
        assert answer.status_code == 200
    for table in ("resident_report", "report_note", "work_order", "work_order_history", "audit", "outbox"):
        found = [dict(row) for row in await connection.fetch(f"SELECT * FROM {table}")]
        # That they logged in is told, as of everybody; not that they reported anything.
        rows = str([row for row in found if row.get("action") != "session.open"])
        assert "resident1" not in rows, table
    await connection.close()


async def test_ten_who_report_the_same_at_once_make_one_order(database_url: str) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    async with (
        api_server(database_url, reports_per_hour_account=40) as url,
        client(url, "desk") as desk,
        client(url, "patrol1") as patrol,
    ):
        async with client(url, "resident1") as resident:
            made = await asyncio.gather(
                *(send(resident, "smoke_fire", x=30.0 + n, y=25.0, place="1号楼") for n in range(10))
            )
        assert sum(not one["joined"] for one in made) == 1
        order = await order_of(connection, made[0]["id"])
        assert await connection.fetchval("SELECT count(*) FROM work_order") == 1
        listed = (await desk.get(f"/orders/{order['id']}/reports")).json()["items"]
        assert {one["number"] for one in listed} == {one["number"] for one in made}
        moves = await connection.fetch("SELECT move FROM work_order_history WHERE order_id = $1", order["id"])
        assert [row["move"] for row in moves].count("repeat") == 9
        await work_through(patrol, connection, order["id"], *DONE)
        async with client(url, "resident1") as resident:
            later = await send(resident, "smoke_fire", x=30.0, y=25.0, place="1号楼")
    assert not later["joined"]
    assert (await order_of(connection, later["id"]))["parent_id"] == order["id"]
    await connection.close()


async def test_report_joins_what_a_sensor_has_told_but_nothing_less_grave(database_url: str) -> None:

    await put_community(database_url, small_community())
    connection = await connect(database_url)
    _, order = await raise_alert(connection, "test-gas_alarm-1")
    await connection.execute("UPDATE work_order SET building_id = 'test-b1' WHERE id = $1", order)
    async with api_server(database_url) as url, client(url, "resident1") as resident:
        made = await send(resident, "gas_smell", building_id="test-b1")
        assert made["joined"] and (await order_of(connection, made["id"]))["id"] == order
        await raise_alert(connection, "test-bin-1", severity=Severity.INFO, team=Team.CLEANING)
        fault = await send(resident, "lift_fault", building_id="test-b1", unit_id="test-b1-u1")
        trapped = await send(resident, "lift_trapped", building_id="test-b1", unit_id="test-b1-u1")
        assert not fault["joined"] and not trapped["joined"]
        again = await send(resident, "lift_fault", building_id="test-b1", unit_id="test-b1-u1")
        assert again["joined"]
    await connection.close()


async def test_desk_files_refuses_and_joins_what_waits_for_it(database_url: str, tmp_path: Path) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    async with (
        api_server(database_url, evidence_url=f"file://{tmp_path}/store") as url,
        client(url, "resident1") as resident,
        client(url, "desk") as desk,
        client(url, "patrol1") as patrol,
    ):
        noise = await send(resident, "noise", building_id="test-b1", text="装修")
        pets = await send(resident, "pets", place="花园", x=100.0, y=90.0)
        waiting = (await desk.get("/communities/test/reports", params={"which": "unfiled"})).json()["items"]
        assert [one["id"] for one in waiting] == [pets["id"], noise["id"]]
        assert all(one["file_due"] for one in waiting)
        order = await order_of(connection, noise["id"])
        assert (order["state"], order["dispatched_at"]) == ("created", None)
        assert order["attention_at"] is not None
        assert (await post(patrol, f"/reports/{noise['id']}/file", version=1)).status_code == 403
        filed = await post(desk, f"/reports/{noise['id']}/file", version=1, category="clutter", severity="major")
        assert filed.status_code == 200, filed.text
        shown = filed.json()
        assert (shown["order_state"], shown["order_team"], shown["order_severity"], shown["category"]) == (
            "dispatched", "environment", "major", "clutter",
        )  # fmt: skip
        assert (await post(desk, f"/reports/{noise['id']}/file", version=3)).status_code == 409
        refused = await post(desk, f"/reports/{pets['id']}/refuse", version=1, reason="已联系主人，无需立案")
        assert refused.json()["order_state"] == "cancelled"
        told = (await resident.get(f"/reports/{pets['id']}")).json()
        assert (told["stage"], told["steps"][-1]["reason"]) == ("refused", "已联系主人，无需立案")
        parked = (
            await resident.post(
                "/communities/test/reports",
                data={"category": "illegal_parking", "x": "60", "y": "40"},
                files=[("photo", ("a.jpg", jpeg(64, 64), "image/jpeg"))],
                headers={"Idempotency-Key": "parked"},
            )
        ).json()
        lane = await send(resident, "fire_lane", x=61.0, y=40.0)
        assert not lane["joined"], "what waits for the desk takes nobody to a fire lane"
        near = (await desk.get(f"/reports/{parked['id']}/nearby")).json()["items"]
        into = await order_of(connection, lane["id"])
        assert [(one["order_id"], one["same"]) for one in near] == [(str(into["id"]), True)]
        joined = await post(desk, f"/reports/{parked['id']}/join", order_id=str(into["id"]))
        assert joined.status_code == 200, joined.text
        assert joined.json()["order_id"] == str(into["id"])
        told = (await resident.get(f"/reports/{parked['id']}")).json()
        assert told["stage"] == "dispatched"
        assert {one.number for one in await reporters_of(connection, into["id"])} == {parked["number"], lane["number"]}
        assert await _moves_of(connection, into["id"], "repeat") == 1, "the merge says it; nobody says it again"
    await connection.close()


async def _moves_of(connection: Any, order: Any, move: str) -> int:
    asked = "SELECT count(*) FROM work_order_history WHERE order_id = $1 AND move = $2"
    found: int = await connection.fetchval(asked, order, move)
    return found


async def test_report_taken_out_of_a_sensors_order_brings_its_gravity_along(database_url: str) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    _, leak = await raise_alert(connection, "test-gas_alarm-1")
    await connection.execute("UPDATE work_order SET building_id = 'test-b1' WHERE id = $1", leak)
    async with (
        api_server(database_url) as url,
        client(url, "resident1") as resident,
        client(url, "desk") as desk,
    ):
        fault = await send(resident, "rubbish", building_id="test-b1")
        smell = await send(resident, "gas_smell", building_id="test-b1")
        assert smell["joined"]
        sensed, into = await order_of(connection, smell["id"]), await order_of(connection, fault["id"])
        assert into["severity"] != sensed["severity"] == "critical"
        for _ in range(2):
            joined = await post(desk, f"/reports/{smell['id']}/join", order_id=str(into["id"]))
            assert joined.status_code == 200, joined.text
        became, left = [await fetch_order(connection, one["id"]) for one in (into, sensed)]
    assert became.severity.value == "critical"
    assert became.terms == left.terms
    assert left.state.value == "dispatched", "what the sensor told is still worked on"
    assert await _moves_of(connection, into["id"], "repeat") == 1
    await connection.close()


async def test_complaint_sends_people_back_once_and_the_desk_calls(database_url: str) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    async with (
        api_server(database_url) as url,
        client(url, "resident1") as resident,
        client(url, "cleaning1") as worker,
        client(url, "desk") as desk,
    ):
        made = await send(resident, "rubbish", building_id="test-b1")
        path = f"/reports/{made['id']}/rating"
        early = await post(resident, path, rating=5)
        assert early.status_code == 409 and "完成后" in early.json()["detail"]
        order = (await order_of(connection, made["id"]))["id"]
        await work_through(worker, connection, order, *DONE)
        bad = await post(resident, path, rating=1, comment="还是满的 <b>!</b>")
        assert bad.json()["rework"] is True
        row = await order_of(connection, made["id"])
        assert (row["state"], row["reworks"], row["rating"]) == ("dispatched", 1, 1)
        assert (await resident.get(f"/reports/{made['id']}")).json()["stage"] == "rework"
        await work_through(worker, connection, order, *DONE)
        worse = await post(resident, path, rating=2)
        assert worse.json()["rework"] is False, "a second complaint is the desk's"
        unhappy = (await desk.get("/communities/test/reports", params={"which": "unsatisfied"})).json()["items"]
        assert [one["id"] for one in unhappy] == [made["id"]]
        asked = (await desk.get("/communities/test/call-backs")).json()["items"]
        assert [(one["order_id"], one["complained"]) for one in asked] == [(str(order), True)]
        said = await post(
            desk, f"/orders/{order}/call-back", version=asked[0]["version"], outcome="satisfied", note="已解释"
        )
        assert said.status_code == 200, said.text
        assert (await desk.get("/communities/test/call-backs")).json()["items"] == []
        assert (await desk.get("/communities/test/reports", params={"which": "unsatisfied"})).json()["items"] == []
        good = await post(resident, path, rating=4)
        assert good.status_code == 200 and (await order_of(connection, made["id"]))["rating"] == 4
        assert (await order_of(connection, made["id"]))["call_back"] == "satisfied"
    types = [row["type"] for row in await connection.fetch("SELECT type FROM outbox ORDER BY seq")]
    assert types.count("report.unsatisfied") == 2
    await connection.close()


async def test_call_back_that_is_not_satisfied_opens_the_order_again(database_url: str) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    async with (
        api_server(database_url) as url,
        client(url, "resident1") as resident,
        client(url, "cleaning1") as worker,
        client(url, "desk") as desk,
    ):
        made = await send(resident, "rubbish", building_id="test-b1")
        order = await order_of(connection, made["id"])
        await work_through(worker, connection, order["id"], *DONE)
        await work_through(desk, connection, order["id"], "verify", "close")
        headers = {"Idempotency-Key": "call-1"}
        version = (await order_of(connection, made["id"]))["version"]
        body = {"version": version, "outcome": "unsatisfied", "report_ids": [made["id"]]}
        answers = [
            await desk.post(f"/orders/{order['id']}/call-back", json=body, headers=headers) for _ in range(3)
        ]  # fmt: skip
        assert [answer.status_code for answer in answers] == [200] * 3
        row = await order_of(connection, made["id"])
        assert (row["state"], row["reworks"], row["call_back"]) == ("dispatched", 1, "unsatisfied")
        stranger_report = str(uuid4())
        wrong = await post(
            desk,
            f"/orders/{order['id']}/call-back",
            version=row["version"],
            outcome="satisfied",
            report_ids=[stranger_report],
        )
        assert wrong.status_code == 409
    await connection.close()


async def test_urge_by_the_desk_shows_and_the_second_climbs_a_rung(database_url: str) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    async with (
        api_server(database_url) as url,
        client(url, "resident1") as resident,
        client(url, "desk") as desk,
        client(url, "street") as street,
        client(url, "patrol1") as patrol,
    ):
        made = await send(resident, "rubbish", building_id="test-b1")
        order = (await order_of(connection, made["id"]))["id"]
        assert (await post(patrol, f"/orders/{order}/urge", version=2, reason="快")).status_code == 422
        first = await post(
            desk, f"/orders/{order}/urge", version=2, reason="群众反映强烈", until="2099-01-01T00:00:00Z"
        )
        assert first.status_code == 200, first.text
        assert (await order_of(connection, made["id"]))["rung"] == 0
        second = await post(street, f"/orders/{order}/urge", version=3, reason="请今日办结")
        assert second.status_code == 200, second.text
        row = await order_of(connection, made["id"])
        assert row["urges"] == 2 and row["rung"] >= 1
        shown = (await resident.get(f"/reports/{made['id']}")).json()
        assert [step["step"] for step in shown["steps"]][-1] == "urged"
        assert "群众反映" not in str(shown)
        own = await post(resident, f"/reports/{made['id']}/urge")
        assert own.status_code == 409, "nothing is late yet"
        past = datetime.now(UTC) - timedelta(hours=1)
        await connection.execute("UPDATE work_order SET accept_due = $2 WHERE id = $1", order, past)
        assert (await post(resident, f"/reports/{made['id']}/urge")).status_code == 200
        assert (await post(resident, f"/reports/{made['id']}/urge")).status_code == 409
    assert await connection.fetchval("SELECT count(*) FROM outbox WHERE type = 'report.urged'") == 1
    await connection.close()


async def test_withdrawn_report_ends_its_order_unless_life_may_hang_on_it(database_url: str) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    async with api_server(database_url) as url, client(url, "resident1") as resident, stranger(url) as http:
        made = await send(resident, "rubbish", building_id="test-b1")
        grave = await send(resident, "gas_smell", building_id="test-b1")
        shared = await send(resident, "power_cut", building_id="test-b1")
        other = await send(http, "power_cut", building_id="test-b1")
        assert other["joined"]
        for one, token, state in (
            (made, None, "cancelled"),
            (grave, None, "dispatched"),
            (shared, None, "dispatched"),
            (other, other["token"], "dispatched"),
        ):
            for _ in range(2):
                answer = await post(http if token else resident, f"/reports/{one['id']}/withdraw", token)
                assert answer.status_code == 200, answer.text
            assert (await order_of(connection, one["id"]))["state"] == state
        assert (await resident.get(f"/reports/{grave['id']}")).json()["stage"] == "withdrawn"
    await connection.close()


async def test_withdrawn_report_spares_the_order_that_took_an_alert_over(database_url: str) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    alert, part = await raise_alert(connection, "test-bin-1", severity=Severity.MINOR)
    async with api_server(database_url) as url, client(url, "resident1") as resident, client(url, "desk") as desk:
        made = await send(resident, "power_cut", building_id="test-b1")
        order = (await order_of(connection, made["id"]))["id"]
        await move(desk, connection, part, "merge", merge_into=str(order))
        assert await connection.fetchval("SELECT order_id FROM alert WHERE id = $1", alert) == order
        answer = await post(resident, f"/reports/{made['id']}/withdraw")
        assert answer.status_code == 200, answer.text
        assert (await order_of(connection, made["id"]))["state"] == "dispatched"
    await connection.close()


async def test_flood_without_a_login_is_limited_and_nobody_else_is(database_url: str) -> None:
    await put_community(database_url, small_community())
    await put_community(database_url, small_community("other", "o-"))
    async with (
        api_server(database_url, reports_per_hour_address=6, reports_per_hour_community=10) as url,
        stranger(url, "127.0.0.1") as flooder,
        stranger(url, "127.0.0.2") as neighbour,
        stranger(url, "127.0.0.3") as third,
        client(url, "resident1") as resident,
    ):

        async def status(http: object, category: str = "noise", community: str = "test") -> int:
            answer = await http.post(  # type: ignore[attr-defined]
                f"/communities/{community}/reports",
                json={"category": category, "place": "x"},
                headers={"Idempotency-Key": str(uuid4())},
            )
            if answer.status_code == 429:
                assert int(answer.headers["Retry-After"]) > 0 and "119" in answer.json()["detail"]
            return int(answer.status_code)

        flood = [await status(flooder) for _ in range(30)]
        assert flood == [200] * 3 + [429] * 27
        assert await status(neighbour) == 200, "another address is heard"
        assert await status(flooder, "gas_smell") == 200, "and a fire from the same one"
        assert [await status(neighbour) for _ in range(3)] == [200, 429, 429], "the community is full: 5 in all"
        assert await status(third) == 429
        assert await status(third, "smoke_fire") == 200
        assert await status(third, community="other") == 200, "the next community is not"
        assert await status(resident) == 200, "nor is who is logged in"


async def test_words_that_look_like_markup_stay_words(database_url: str) -> None:
    await put_community(database_url, small_community())
    attack = '<script>alert(1)</script><img src=x onerror="alert(2)">'
    async with api_server(database_url) as url, client(url, "resident1") as resident, client(url, "desk") as desk:
        made = await send(resident, "noise", text=attack, place=attack)
        for http, path in ((resident, f"/reports/{made['id']}"), (desk, "/communities/test/reports")):
            answer = await http.get(path)
            assert answer.headers["content-type"].startswith("application/json")
            assert answer.headers["x-content-type-options"] == "nosniff"
            found = answer.json()
            found = found["items"][0] if "items" in found else found
            assert (found["text"], found["place"]) == (attack, attack)
        orders = (await desk.get("/communities/test/orders")).json()["items"]
        assert orders[0]["title"]["zh"] == "噪音扰民"
        for bad in ({"place": "a\x00b"}, {"text": "x" * 2001, "place": "y"}, {}, {"x": 1.0}, {"x": 1e9, "y": 0.0}):
            answer = await resident.post(
                "/communities/test/reports", json={"category": "noise", **bad}, headers={"Idempotency-Key": "k"}
            )
            assert answer.status_code == 422, bad


async def test_telephone_numbers_are_masked_for_all_but_who_handles_it_and_forgotten(database_url: str) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    async with (
        api_server(database_url) as url,
        client(url, "resident1") as resident,
        client(url, "cleaning1") as worker,
        client(url, "patrol1") as patrol,
        client(url, "desk") as desk,
        client(url, "platform") as platform,
    ):
        made = await send(
            resident, "rubbish", building_id="test-b1", contact_name="王秀英", contact_phone="13812345678"
        )
        order = (await order_of(connection, made["id"]))["id"]
        for http, phone, name in (
            (worker, "13812345678", "王秀英"), (desk, "13812345678", "王秀英"), (patrol, "138****5678", "王**"),
        ):  # fmt: skip
            shown = (await http.get(f"/orders/{order}/reports")).json()["items"][0]
            assert (shown["contact_phone"], shown["contact_name"]) == (phone, name)
        assert (await platform.get(f"/orders/{order}/reports")).status_code == 403
        listed = (await worker.get("/communities/test/reports")).json()["items"][0]
        assert listed["contact_phone"] == "138****5678"
        now = datetime.now(UTC)
        assert await erase_contacts(connection, now, now) == 0, "it is open"
        await work_through(worker, connection, order, *DONE)
        await work_through(desk, connection, order, "verify", "close")
        assert await erase_contacts(connection, now - timedelta(days=30), now) == 0
        assert await erase_contacts(connection, datetime.now(UTC), now) == 1
        shown = (await desk.get(f"/orders/{order}/reports")).json()["items"][0]
        assert (shown["contact_phone"], shown["contact_name"]) == (None, None)
    await connection.close()


async def test_statistics_of_a_rule_count_orders_by_how_they_ended(database_url: str) -> None:

    await put_community(database_url, small_community())
    connection = await connect(database_url)
    async with api_server(database_url) as url, client(url, "patrol1") as patrol, client(url, "desk") as desk:
        for n in range(3):
            _, order = await raise_alert(connection, "test-gas_alarm-1", family=str(n))
            await work_through(patrol, connection, order, "accept", "arrive")
            if n < 2:
                await move(patrol, connection, order, "false_alarm", reason="油烟")
        old = datetime.now(UTC) - timedelta(days=40)
        await raise_alert(connection, "test-gas_alarm-1", family="old", at=old)
        path = "/communities/test/rules/gas_alarm.alarm/statistics"
        found = (await desk.get(path)).json()
        assert found["whole"] == {
            "device_id": None, "alerts": 3, "orders": 3, "ended": 2, "false_alarms": 2, "share": 1.0,
        }  # fmt: skip
        assert [one["device_id"] for one in found["devices"]] == ["test-gas_alarm-1"]
        assert (await desk.get(path, params={"days": 90})).json()["whole"]["alerts"] == 4
        assert (await desk.get("/communities/test/rules/no.such/statistics")).status_code == 404
        listed = (await desk.get("/communities/test/rules")).json()
        assert listed["false_alarms"] == {"gas_alarm.alarm": {"ended": 2, "false_alarms": 2}}
    await connection.close()


async def test_reports_page_by_cursor_without_gaps(database_url: str) -> None:
    await put_community(database_url, small_community())
    async with (
        api_server(database_url, reports_per_hour_account=100) as url,
        client(url, "resident1") as resident,
        client(url, "desk") as desk,
    ):
        made = [(await send(resident, "noise", place=str(n)))["id"] for n in range(7)]
        for http, path in ((resident, "/reports/mine"), (desk, "/communities/test/reports")):
            seen: list[str] = []
            cursor = None
            while True:
                page = (await http.get(path, params={"limit": 3, **({"cursor": cursor} if cursor else {})})).json()
                seen += [one["id"] for one in page["items"]]
                cursor = page["next"]
                if cursor is None:
                    break
            assert seen == made[::-1]


async def test_photos_come_with_a_report_and_the_finished_work_is_shown(database_url: str, tmp_path: Path) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    async with (
        api_server(database_url, evidence_url=f"file://{tmp_path}/store") as url,
        stranger(url) as http,
        client(url, "environment1") as worker,
        client(url, "desk") as desk,
        client(url, "resident1") as resident,
    ):
        without = await http.post(
            "/communities/test/reports",
            json={"category": "clutter", "place": "楼道"},
            headers={"Idempotency-Key": str(uuid4())},
        )
        assert without.status_code == 422 and "照片" in without.json()["detail"]
        form = {"category": "clutter", "building_id": "test-b1", "text": "杂" * 1500, "x": "", "contact_name": ""}
        files = [("photo", (f"{n}.jpg", jpeg(320 + n, 240), "image/jpeg")) for n in range(2)]
        files.append(("photo", ("", b"", "application/octet-stream")))
        headers = {"Idempotency-Key": str(uuid4())}
        answers = [
            await http.post("/communities/test/reports", data=form, files=files, headers=headers) for _ in range(2)
        ]
        assert [answer.status_code for answer in answers] == [200, 200], answers[0].text
        assert answers[0].json() == answers[1].json()
        made = answers[0].json()
        assert (made["photos"], made["photos_lost"]) == (2, 0)
        other = await http.post("/communities/test/reports", data=form, files=files[:1], headers=headers)
        assert other.status_code == 409, "the same key with other photos is another report"
        token = {"X-Report-Token": made["token"]}
        shown = (await http.get(f"/reports/{made['id']}", headers=token)).json()
        assert len(shown["own_photos"]) == 2 and shown["after_photos"] == []
        path = f"/reports/{made['id']}/photos/{shown['own_photos'][0]}"
        picture = await http.get(path, headers=token)
        assert picture.headers["content-type"] == "image/jpeg" and b"SECRET" not in picture.content
        assert (await http.get(path)).status_code == 404
        order = await order_of(connection, made["id"])
        assert order["photos_before"] == 2
        listed = (await desk.get("/communities/test/reports")).json()["items"][0]
        assert listed["photos"] == shown["own_photos"]
        assert (await desk.get(f"/evidence/{listed['photos'][0]}")).status_code == 200
        assert (await post(desk, f"/reports/{made['id']}/file", version=order["version"])).status_code == 200
        await work_through(worker, connection, order["id"], "accept", "arrive")
        after = await worker.post(
            f"/orders/{order['id']}/evidence",
            params={"sort": "photo", "phase": "after"},
            files={"file": ("a.jpg", jpeg(200, 200), "image/jpeg")},
            headers={"Idempotency-Key": "after-1"},
        )
        assert after.status_code == 200, after.text
        shown = (await http.get(f"/reports/{made['id']}", headers=token)).json()
        assert shown["after_photos"] == [after.json()["id"]]
        assert (await http.get(f"/reports/{made['id']}/photos/{after.json()['id']}", headers=token)).status_code == 200
        mine = await send(resident, "rubbish", building_id="test-b1")
        foreign = f"/reports/{mine['id']}/photos/{shown['own_photos'][0]}"
        assert (await resident.get(foreign)).status_code == 404
    stored = await connection.fetch("SELECT uploaded_by, report_id FROM evidence WHERE report_id IS NOT NULL")
    assert [(row["uploaded_by"], str(row["report_id"])) for row in stored] == [("anonymous", made["id"])] * 2
    await connection.close()


@asynccontextmanager
async def _no_turn(_: Intake) -> AsyncIterator[None]:
    raise ApiError(503, "too many uploads at once")
    yield


async def test_what_is_no_photo_is_refused_and_what_cannot_be_kept_is_said(database_url: str, tmp_path: Path) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    store = tmp_path / "store"
    async with (
        api_server(database_url, evidence_url=f"file://{store}", evidence_photo_bytes=200_000) as url,
        client(url, "resident1") as http,
    ):

        async def form(*photos: bytes, **fields: str) -> httpx.Response:
            files = [("photo", ("a.jpg", photo, "image/jpeg")) for photo in photos]
            sent = {"category": "rubbish", "place": "x", **fields}
            headers = {"Idempotency-Key": str(uuid4())}
            return await http.post("/communities/test/reports", data=sent, files=files, headers=headers)

        for photos, status in (
            ([zipped()], 415),
            ([jpeg()[:2000]], 422),
            ([jpeg(64, 64)] * 7, 422),
            ([b"\xff\xd8\xff" + bytes(300_000)], 413),
            ([b"\xff\xd8\xff" + bytes(190_000)] * 5, 413),
        ):
            try:
                assert (await form(*photos)).status_code == status
            except httpx.TransportError:
                assert status == 413, "refused before all of it was sent: the answer may be lost with the rest"
        long = b'{"category": "rubbish", "text": "' + b"x" * 70_000 + b'"}'
        for kind in ("application/json", "text/plain"):
            headers = {"Idempotency-Key": "long", "Content-Type": kind}
            answer = await http.post("/communities/test/reports", content=long, headers=headers)
            assert answer.status_code == 413, "only photos may be large"
        assert (await form(jpeg(64, 64), category="no_such")).status_code == 422
        assert (await form(jpeg(64, 64), extra="1")).status_code == 422
        assert await connection.fetchval("SELECT count(*) FROM resident_report") == 0
        # Of what is grave the words are heard, whatever is wrong with the pictures.
        heic = b"\0\0\0\x18ftypheic" + bytes(64)
        grave = (await form(heic, jpeg()[:2000], jpeg(64, 64), category="smoke_fire")).json()
        assert (grave["photos"], grave["photos_lost"]) == (1, 2)
        assert len(grave["photos_lost_why"]) == 2 and "HEIC" in grave["photos_lost_why"][0]
        assert (await form(heic)).status_code == 415
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Intake, "_turn", _no_turn)
            calls = (await form(jpeg(64, 64), category="gas_smell")).json()
            busy = await form(jpeg(64, 64))
        assert (calls["photos"], calls["photos_lost"]) == (0, 1)
        assert busy.status_code == 503
        assert await connection.fetchval("SELECT count(*) FROM resident_report") == 2
        good = await form(jpeg(64, 64))
        assert good.json()["photos"] == 1
    # A store that is full or away costs the photo, not the call for help.
    from services.adapters.evidence import NoRoom, Store

    async def full(self: Store, source: Path) -> str:
        raise NoRoom(28, "no space left")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "keep", full)
        async with (
            api_server(database_url, evidence_url=f"file://{store}") as url,
            client(url, "resident1") as http,
        ):
            answer = await http.post(
                "/communities/test/reports",
                data={"category": "smoke_fire", "place": "5号楼"},
                files=[("photo", ("a.jpg", jpeg(64, 64), "image/jpeg"))],
                headers={"Idempotency-Key": str(uuid4())},
            )
            assert answer.status_code == 200, answer.text
            assert (answer.json()["photos"], answer.json()["photos_lost"]) == (0, 1)
    await connection.close()


async def test_report_that_nobody_files_climbs_the_ladder(database_url: str) -> None:
    import asyncpg

    from services.alerts.escalation import escalate_due
    from services.domain.ids import CommunityId, partition_of

    await put_community(database_url, small_community())
    connection = await connect(database_url)
    async with api_server(database_url) as url, client(url, "resident1") as resident:
        made = await send(resident, "noise", building_id="test-b1")
    order = await order_of(connection, made["id"])
    assert order["file_due"] > order["created_at"]
    partition = partition_of(CommunityId("test"))
    async with asyncpg.create_pool(database_url, min_size=1, max_size=2) as pool:
        for minutes in (0, 1):
            await escalate_due(pool, [partition], order["file_due"] + timedelta(minutes=minutes))
    moves = await connection.fetch("SELECT move FROM work_order_history WHERE order_id = $1", order["id"])
    assert {"breach", "escalate"} <= {row["move"] for row in moves}
    assert (await order_of(connection, made["id"]))["rung"] >= 2, "the desk is asked"
    await connection.close()
