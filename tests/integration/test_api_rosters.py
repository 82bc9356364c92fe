"""Rosters through the API: saved by version, stood in for, swapped by consent, handed over, positions shared."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from services.domain.registry import Account
from services.domain.vocabulary import Role, Severity, Team
from tests.api_data import raise_alert
from tests.api_server import api_server, client, connect
from tests.integration.roster_support import settle, staff

NEW = {"If-None-Match": "*"}


def rota(*crews: str, shifts: list[dict[str, str]] | None = None, **values: Any) -> dict[str, Any]:
    whole = [{"name": "全天", "from": "00:00", "to": "00:00"}]
    people = [[f"user-{name}" for name in crew.split("+")] for crew in crews]
    return {"team": "patrol", "shifts": shifts or whole, "people": people, "from": "2026-11-01", **values}


def key(text: str) -> dict[str, str]:
    return {"Idempotency-Key": text}


async def said(answer: httpx.Response, status: int = 200) -> Any:
    assert answer.status_code == status, answer.text
    if status >= 400:
        assert answer.headers["content-type"] == "application/problem+json"
    return answer.json()


def iso(moment: datetime) -> str:
    return moment.isoformat()


async def test_rota_is_saved_by_version_and_says_who_is_on_duty(database_url: str) -> None:
    await settle(database_url, staff("patrol2", leads=True), staff("patrol3"))
    async with api_server(database_url) as url, client(url, "desk") as desk:
        home = "/communities/test"
        before = await said(await desk.get(f"{home}/on-duty"))
        patrol = next(one for one in before["teams"] if one["team"] == "patrol")
        assert not patrol["rostered"] and len(patrol["people"]) == 3
        await said(await desk.put(f"{home}/rotas/p", json=rota("patrol2")), 428)
        wrong = await said(await desk.put(f"{home}/rotas/p", json=rota("desk"), headers=NEW), 422)
        assert "user-desk" in wrong["detail"]
        saved = await said(await desk.put(f"{home}/rotas/p", json=rota("patrol2"), headers=NEW))
        assert saved["version"] == 1 and saved["shifts_added"] >= 14 and saved["cover"] == "always"
        await said(await desk.put(f"{home}/rotas/p", json=rota("patrol3"), headers=NEW), 412)
        now = await said(await desk.get(f"{home}/on-duty"))
        patrol = next(one for one in now["teams"] if one["team"] == "patrol")
        assert patrol["rostered"] and [one["user_id"] for one in patrol["people"]] == ["user-patrol2"]
        assert now["people"] == sum(len(one["people"]) for one in now["teams"])
        assert (await said(await desk.get(f"{home}/roster-gaps")))["items"] == []
        far = await said(await desk.get(f"{home}/roster-gaps", params={"hours": 24 * 20}))
        assert [one["team"] for one in far["items"]] == ["patrol"], "as far as shifts were made"
        more = await said(await desk.post(f"{home}/rotas/p/generate", json={"days": 30}))
        assert more["added"] > 0
        assert (await said(await desk.post(f"{home}/rotas/p/generate", json={"days": 30})))["added"] == 0
        clash = await said(await desk.put(f"{home}/rotas/q", json=rota("patrol2"), headers=NEW), 422)
        assert "user-patrol2" in clash["detail"] and "same time" in clash["detail"]
        assert len(await said(await desk.get(f"{home}/rotas"))) == 1, "refused whole"
        gone = await said(await desk.delete(f"{home}/rotas/p", headers={"If-Match": '"1"'}))
        assert gone["rota"] is None and gone["shifts_cancelled"] >= 29
        assert [one["version"] for one in await said(await desk.get(f"{home}/rotas/p"))] == [2, 1]


async def test_shift_is_stood_in_for_and_a_retry_changes_nothing(database_url: str) -> None:
    await settle(database_url, staff("patrol2"), staff("patrol3"))
    async with api_server(database_url) as url, client(url, "desk") as desk, client(url, "patrol2") as patrol:
        home = "/communities/test"
        await said(await desk.put(f"{home}/rotas/p", json=rota("patrol2"), headers=NEW))
        start = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(hours=5)
        body = {"absent": "user-patrol2", "user_id": "user-patrol3", "starts_at": iso(start), "why": "事假"}
        body["ends_at"] = iso(start + timedelta(hours=30))
        await said(await patrol.post(f"{home}/stand-ins", json=body, headers=key("a")), 403)
        await said(await desk.post(f"{home}/stand-ins", json=body), 400)
        done = await said(await desk.post(f"{home}/stand-ins", json=body, headers=key("a")))
        assert done["cancelled"] >= 2
        again = await said(await desk.post(f"{home}/stand-ins", json=body, headers=key("a")))
        assert again == {"cancelled": 0, "added": 0}
        span: dict[str, Any] = {
            "from": iso(start - timedelta(hours=30)),
            "to": iso(start + timedelta(hours=60)),
            "limit": 2,
        }
        items: list[dict[str, Any]] = []
        page = await said(await desk.get(f"{home}/shifts", params=span))
        while True:
            items += page["items"]
            if page["next"] is None:
                break
            page = await said(await desk.get(f"{home}/shifts", params={**span, "cursor": page["next"]}))
        assert len({one["id"] for one in items}) == len(items)
        theirs = [one for one in items if one["user_id"] == "user-patrol3"]
        assert {one["stands_in_for"] for one in theirs} == {"user-patrol2"}
        lasts = [datetime.fromisoformat(one["ends_at"]) - datetime.fromisoformat(one["starts_at"]) for one in theirs]
        assert sum(lasts, timedelta()) == timedelta(hours=30)
        assert (await said(await desk.get(f"{home}/roster-gaps")))["items"] == []
        one = theirs[0]
        await said(await desk.post(f"/shifts/{one['id']}/cancel", json={"why": "误排"}))
        assert (await said(await desk.post(f"/shifts/{one['id']}/cancel", json={"why": "误排"})))["cancelled"] == 0
        gaps = (await said(await desk.get(f"{home}/roster-gaps")))["items"]
        assert [(gap["starts_at"], gap["ends_at"]) for gap in gaps] == [(one["starts_at"], one["ends_at"])]


async def test_swap_takes_place_when_the_other_one_agrees(database_url: str) -> None:
    await settle(database_url, staff("patrol2"), staff("patrol3"))
    async with (
        api_server(database_url) as url,
        client(url, "desk") as desk,
        client(url, "patrol2") as two,
        client(url, "patrol3") as three,
        client(url, "patrol1") as one,
    ):
        home = "/communities/test"
        await said(await desk.put(f"{home}/rotas/p", json=rota("patrol2", "patrol3"), headers=NEW))
        now = datetime.now(UTC)
        span = {"from": iso(now + timedelta(days=1)), "to": iso(now + timedelta(days=9))}
        shifts = (await said(await two.get(f"{home}/shifts", params=span)))["items"]
        ahead = [shift for shift in shifts if datetime.fromisoformat(shift["starts_at"]) > now + timedelta(days=1)]
        mine = next(shift for shift in ahead if shift["user_id"] == "user-patrol2")
        theirs = next(shift for shift in ahead if shift["user_id"] == "user-patrol3")
        body = {"for_shift_id": theirs["id"], "why": "家里有事"}
        await said(await three.post(f"/shifts/{mine['id']}/swap", json=body, headers=key("s")), 422)
        swap = await said(await two.post(f"/shifts/{mine['id']}/swap", json=body, headers=key("s")))
        assert swap == await said(await two.post(f"/shifts/{mine['id']}/swap", json=body, headers=key("s")))
        assert swap["agreed"] is None and len(await said(await three.get(f"{home}/swaps"))) == 1
        for other in (one, two, desk):
            await said(await other.post(f"/swaps/{swap['id']}/answer", json={"agree": True}), 422)
        done = await said(await three.post(f"/swaps/{swap['id']}/answer", json={"agree": True}))
        assert done == await said(await three.post(f"/swaps/{swap['id']}/answer", json={"agree": True}))
        await said(await three.post(f"/swaps/{swap['id']}/answer", json={"agree": False}), 422)
        after = (await said(await two.get(f"{home}/shifts", params=span)))["items"]
        who = {shift["starts_at"]: shift["user_id"] for shift in after}
        assert who[mine["starts_at"]] == "user-patrol3" and who[theirs["starts_at"]] == "user-patrol2"
        assert len(after) == len(shifts)


async def test_shift_is_handed_over_with_its_orders_and_taken_over_by_the_next(database_url: str) -> None:
    await settle(database_url, staff("patrol2"), staff("patrol3"))
    connection = await connect(database_url)
    await raise_alert(connection, "test-gas_alarm-1")
    _, private = await raise_alert(
        connection, "test-wristband-1", rule_id="wristband.heart_rate_very_low", severity=Severity.MAJOR
    )
    await connection.close()
    async with (
        api_server(database_url) as url,
        client(url, "desk") as desk,
        client(url, "patrol1") as one,
        client(url, "patrol2") as two,
        client(url, "patrol3") as three,
    ):
        home, now = "/communities/test", datetime.now(UTC)
        for name, start, end in (("patrol1", -60, 20), ("patrol2", 20, 300)):
            shift = {"team": "patrol", "user_id": f"user-{name}", "starts_at": iso(now + timedelta(minutes=start))}
            shift["ends_at"] = iso(now + timedelta(minutes=end))
            first = await said(await desk.post(f"{home}/shifts", json=shift, headers=key(name)))
            assert first == await said(await desk.post(f"{home}/shifts", json=shift, headers=key(name)))
        body = {"team": "patrol", "note": "钥匙在值班室"}
        await said(await three.post(f"{home}/handovers", json=body, headers=key("h")), 422)
        made = await said(await one.post(f"{home}/handovers", json=body, headers=key("h")))
        assert made == await said(await one.post(f"{home}/handovers", json=body, headers=key("h")))
        assert [order["state"] for order in made["open_orders"]] == ["dispatched"] * 2 and made["to_shift"] is not None
        titles = {order["id"]: order["title_zh"] for order in made["open_orders"]}
        assert titles.pop(str(private)) == "健康关怀" and list(titles.values()) == ["燃气泄漏"]
        await said(await one.post(f"/handovers/{made['id']}/confirm"), 422)
        await said(await three.post(f"/handovers/{made['id']}/confirm"), 422)
        taken = await said(await two.post(f"/handovers/{made['id']}/confirm"))
        assert taken["confirmed_by"] == "user-patrol2"
        assert (await said(await desk.get(f"{home}/handovers")))["items"] == [taken]


async def test_position_is_shared_on_duty_alone_and_withdrawn_at_once(database_url: str) -> None:
    await settle(database_url, staff("patrol2"))
    async with api_server(database_url) as url, client(url, "desk") as desk, client(url, "patrol1") as patrol:
        there = await said(await patrol.put("/me/position", json={"latitude": 29.7, "longitude": 116.0}))
        assert (there["x"], there["y"]) == (60.0, 40.0), "the middle of the plan"
        east = await said(await patrol.put("/me/position", json={"latitude": 29.701, "longitude": 116.001}))
        assert 96 < east["x"] - 60 < 97 and -112 < east["y"] - 40 < -111, "east is right, north is up"
        await said(await patrol.put("/me/position", json={"x": 1, "latitude": 29.7}), 422)
        await said(await patrol.delete("/me/position"))
        connection = await connect(database_url)
        assert await connection.fetchval("SELECT count(*) FROM staff_position") == 0
        await connection.close()
        await said(await desk.put("/communities/test/rotas/p", json=rota("patrol2"), headers=NEW))
        await said(await patrol.put("/me/position", json={"x": 1, "y": 2}), 422)


async def test_desk_sets_who_leads_and_what_people_can(database_url: str) -> None:
    await settle(database_url, Account("street2", "street2", Role.STREET, Team.STREET))
    async with api_server(database_url) as url, client(url, "desk") as desk, client(url, "admin") as admin:
        staff_of = "/communities/test/staff"
        body = {"leads": True, "skills": ["gas", "fire"]}
        done = await said(await desk.put(f"{staff_of}/user-patrol1", json=body))
        assert (done["leads"], done["skills"]) == (True, ["fire", "gas"])
        await said(await desk.put(f"{staff_of}/user-patrol1", json={"skills": ["juggling"]}), 422)
        await said(await desk.put(f"{staff_of}/user-patrol1", json={"grid_id": "test-grid-1"}), 422)
        await said(await desk.put(f"{staff_of}/user-grid1", json={"grid_id": "nowhere"}), 422)
        assert (await said(await desk.put(f"{staff_of}/user-grid1", json={"grid_id": "test-grid-2"})))["grid_id"]
        await said(await desk.put(f"{staff_of}/user-street2", json=body), 422)
        await said(await admin.put(f"{staff_of}/user-street2", json={"leads": True}))
        await said(await desk.put(f"{staff_of}/user-resident1", json=body), 404)
        known = await said(await desk.get(staff_of))
        assert {one["user_id"] for one in known["items"]} >= {"user-desk", "user-street", "user-grid1"}
        assert known["skills"]["gas"] == {"zh": "燃气", "en": "gas"}
