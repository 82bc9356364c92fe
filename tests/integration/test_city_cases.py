"""Cases from above through the running service: opened once, worked on here, followed and pressed for above."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from services.adapters.orders import fetch_history, fetch_order
from services.domain.orders import fold
from tests import evidence_kit as kit
from tests.access_kit import key, service, with_key
from tests.api_data import raise_alert
from tests.api_server import api_server, client, connect
from tests.city_kit import subscribe
from tests.factory import put_community, small_community

DUE = (datetime.now(UTC) + timedelta(days=30)).replace(microsecond=0).isoformat()


@pytest.fixture
async def url(database_url: str, tmp_path: Path) -> AsyncIterator[str]:
    await put_community(database_url, small_community())
    await put_community(database_url, small_community("other", prefix="other-"))
    async with api_server(
        database_url, evidence_url=(tmp_path / "store").as_uri(), evidence_reserve_bytes=0
    ) as address:
        yield address


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Any]:
    connection = await connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def admin(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with client(url, "admin") as http:
        yield http


@pytest.fixture
async def desk(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with client(url, "desk") as http:
        yield http


async def above(admin: httpx.AsyncClient, community: str = "test", scopes: tuple[str, ...] = ("city_cases",)) -> str:
    """The key of a new platform of this community."""
    account = await service(admin, community_id=community)
    return str((await key(admin, account, scopes=list(scopes)))["secret"])


@pytest.fixture
async def platform(url: str, admin: httpx.AsyncClient) -> AsyncIterator[httpx.AsyncClient]:
    async with with_key(url, await above(admin)) as http:
        yield http


def wanted(**more: Any) -> dict[str, Any]:
    return {
        "community_id": "test", "external_id": "JJ20261122-1", "system": "hotline", "title": "楼道灯不亮",
        "text": "市民反映夜间无照明", "place": "1号楼2单元", "due_at": DUE, **more,
    }  # fmt: skip


async def opened(http: httpx.AsyncClient, **more: Any) -> dict[str, Any]:
    answer = await http.post("/city/cases", json=wanted(**more))
    assert answer.status_code == 201, answer.text
    case: dict[str, Any] = answer.json()
    return case


async def act(http: httpx.AsyncClient, case: dict[str, Any], what: str, key: str = "", **body: Any) -> httpx.Response:
    headers = {"Idempotency-Key": key or uuid4().hex}
    return await http.post(f"/city/cases/{case['id']}/{what}", json=body, headers=headers)


async def move(http: httpx.AsyncClient, order: str, name: str, **more: Any) -> dict[str, Any]:
    version = (await http.get(f"/orders/{order}")).json()["version"]
    answer = await http.post(
        f"/orders/{order}/moves", json={"move": name, "version": version, **more},
        headers={"Idempotency-Key": uuid4().hex},
    )  # fmt: skip
    assert answer.status_code == 200, answer.text
    done: dict[str, Any] = answer.json()
    return done


async def look(http: httpx.AsyncClient, case: dict[str, Any]) -> dict[str, Any]:
    answer = await http.get(f"/city/cases/{case['id']}")
    assert answer.status_code == 200, answer.text
    seen: dict[str, Any] = answer.json()
    return seen


async def upload(http: httpx.AsyncClient, path: str, phase: str | None = None, key: str = "") -> httpx.Response:
    return await http.post(
        path,
        params={"sort": "photo"} | ({"phase": phase} if phase else {}),
        files={"file": ("a.jpg", kit.jpeg(), "image/jpeg")},
        headers={"Idempotency-Key": key or uuid4().hex},
    )


async def test_case_is_opened_once_however_often_it_is_sent(platform: httpx.AsyncClient, db: Any) -> None:
    answers = await asyncio.gather(*(platform.post("/city/cases", json=wanted()) for _ in range(6)))
    assert sorted(one.status_code for one in answers) == [200, 200, 200, 200, 200, 201]
    assert len({one.json()["id"] for one in answers}) == 1
    case = answers[0].json()
    assert (case["state"], case["words"]["zh"], case["over"], case["joined"]) == ("received", "待签收", False, False)
    assert (
        case["id"] == case["order_id"]
        and case["title"]["zh"] == "楼道灯不亮"
        and not case["late"]
        and case["result"] is None
    )
    assert [one["name"] for one in case["may"]] == ["urge", "add", "hand_over", "withdraw"]
    assert await db.fetchval("SELECT count(*) FROM work_order") == 1
    order = await fetch_order(db, UUID(case["id"]))
    assert (order.source, order.state, order.team) == ("platform", "created", "desk")
    history = await fetch_history(db, order.id)
    assert fold(history) == order.order and history[0].detail["note"] == "市民反映夜间无照明"
    assert await db.fetchval("SELECT count(*) FROM outbox WHERE type = 'order.create'") == 1
    assert await db.fetchval("SELECT actor_role FROM audit WHERE action = 'order.create'") == "platform"
    listed = (await platform.get("/city/cases", params={"external_id": "JJ20261122-1"})).json()
    assert [one["id"] for one in listed["items"]] == [case["id"]]


async def test_same_id_for_another_request_is_refused_with_the_case_that_stands(platform: httpx.AsyncClient) -> None:
    case = await opened(platform)
    other = await platform.post("/city/cases", json=wanted(title="水管爆裂"))
    assert other.status_code == 409 and other.headers["Content-Type"] == "application/problem+json"
    assert other.json()["current"]["id"] == case["id"] and "JJ20261122-1" in other.json()["detail"]
    again = await platform.post("/city/cases", json=wanted())
    assert again.status_code == 200 and again.json()["id"] == case["id"]


async def test_ids_are_each_accounts_own_and_cases_are_nobody_elses(
    url: str, admin: httpx.AsyncClient, platform: httpx.AsyncClient
) -> None:
    case = await opened(platform)
    async with with_key(url, await above(admin)) as second:
        other = await opened(second)
        assert other["id"] != case["id"], "the same id of another account is another case"
        for path in ("", "/photos/" + str(uuid4())):
            assert (await second.get(f"/city/cases/{case['id']}{path}")).status_code == 404
        for what, body in (("urge", {"reason": "x"}), ("notes", {"text": "x"}), ("withdraw", {"reason": "x"})):
            assert (await act(second, case, what, **body)).status_code == 404, what
        assert (await upload(second, f"/city/cases/{case['id']}/evidence")).status_code == 404
        assert [one["id"] for one in (await second.get("/city/cases")).json()["items"]] == [other["id"]]
    seen = (await admin.get("/city/cases")).json()["items"]
    assert {one["id"] for one in seen} == {case["id"], other["id"]}
    assert (await act(admin, case, "withdraw", reason="x")).status_code == 403, "only whoever opened it"


async def test_nothing_is_opened_beyond_the_scope_or_without_the_permission(
    url: str, admin: httpx.AsyncClient, platform: httpx.AsyncClient, desk: httpx.AsyncClient, db: Any
) -> None:
    for community in ("other", "nowhere"):
        assert (await platform.post("/city/cases", json=wanted(community_id=community))).status_code == 404
    async with with_key(url, await above(admin, scopes=("city_events",))) as deaf:
        assert (await deaf.post("/city/cases", json=wanted())).status_code == 403
        assert (await deaf.get("/city/cases")).status_code == 403
    assert (await desk.post("/city/cases", json=wanted())).status_code == 403
    async with client(url) as nobody:
        assert (await nobody.post("/city/cases", json=wanted())).status_code == 401
    assert await db.fetchval("SELECT count(*) FROM work_order") == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"external_id": ""}, {"external_id": "a\nb"}, {"system": "other"}, {"title": ""},
        {"due_at": "2026-12-01T10:00"},
        {"latitude": 29.7}, {"place": ""}, {"building_id": "nowhere"}, {"category": "nothing_such"}, {"device_id": "x"},
        {"severity": "worst"},
    ],
)  # fmt: skip
async def test_what_is_not_a_case_is_refused(platform: httpx.AsyncClient, db: Any, wrong: dict[str, Any]) -> None:
    answer = await platform.post("/city/cases", json=wanted(**wrong))
    assert answer.status_code == 422, answer.text
    assert answer.json()["detail"]
    assert await db.fetchval("SELECT count(*) FROM work_order") == 0


async def test_position_lies_on_the_plan_and_one_far_off_refuses_nothing(platform: httpx.AsyncClient, db: Any) -> None:
    site = await db.fetchrow("SELECT latitude, longitude FROM community WHERE id = 'test'")
    near = await opened(platform, external_id="n", latitude=site["latitude"], longitude=site["longitude"])
    far = await opened(platform, external_id="f", latitude=site["latitude"] + 1, longitude=site["longitude"])
    assert near["located"] and not far["located"]
    order = await fetch_order(db, UUID(near["id"]))
    assert abs(order.x or 0.0) < 1 and abs(order.y or 0.0) < 1 and order.grid_id is not None


async def test_what_is_critical_waits_for_nobody(platform: httpx.AsyncClient, db: Any) -> None:
    case = await opened(platform, severity="critical")
    assert case["state"] == "assigned"
    assert (await fetch_order(db, UUID(case["id"]))).dispatched_at is not None


async def work_off(url: str, case: dict[str, Any], desk: httpx.AsyncClient, note: str) -> str:
    """From the desk's filing to its closing; the id of the photo that was taken after the work."""
    order = case["id"]
    await move(desk, order, "dispatch", team="patrol")
    async with client(url, "patrol1") as patrol:
        await move(patrol, order, "accept")
        await move(patrol, order, "arrive")
        photo = (await upload(patrol, f"/orders/{order}/evidence", "after")).json()["id"]
        await move(patrol, order, "resolve", note=note)
    await move(desk, order, "verify")
    await move(desk, order, "close")
    return str(photo)


async def test_case_goes_its_way_and_its_result_is_told(
    url: str, admin: httpx.AsyncClient, platform: httpx.AsyncClient, desk: httpx.AsyncClient, db: Any
) -> None:
    case = await opened(platform)
    photo = await work_off(url, case, desk, "已更换声控灯")
    seen = await look(platform, case)
    assert [one["state"] for one in seen["steps"]] == [
        "received", "assigned", "handling", "handled", "checked", "closed",
    ]  # fmt: skip
    assert seen["words"]["zh"] == "已办结" and seen["over"] and seen["may"] == []
    assert seen["result"]["note"] == "已更换声控灯" and seen["photos"] == []
    path = f"/city/cases/{case['id']}/photos/{photo}"
    assert (await platform.get(path)).status_code == 404, "not given"
    assert (await platform.get(f"/evidence/{photo}")).status_code == 403
    for _ in range(2):
        given = await desk.post(f"/city/cases/{case['id']}/photos", json={"evidence_id": photo})
        assert given.status_code == 200 and given.json()["photos"] == [photo], given.text
    [shown] = (await look(platform, case))["photos"]
    assert shown["id"] == photo
    whole = await platform.get(shown["url"].removeprefix("/api/v1"))
    assert whole.status_code == 200 and whole.headers["Content-Type"] == "image/jpeg" and len(whole.content) > 100
    told = await db.fetch("SELECT data FROM outbox WHERE type = 'case.photo'")
    assert [one["data"]["evidence_id"] for one in told] == [photo], "told once"
    assert await db.fetchval("SELECT count(*) FROM audit WHERE action = 'city.photo'") == 1
    for _ in range(2):
        assert (await desk.delete(path)).status_code == 204
    assert (await platform.get(path)).status_code == 404 and (await look(platform, case))["photos"] == []
    assert await db.fetchval("SELECT count(*) FROM audit WHERE action = 'city.photo_end'") == 1


async def test_status_is_followed_by_events(url: str, admin: httpx.AsyncClient, desk: httpx.AsyncClient) -> None:
    account = await service(admin, community_id="test")
    secret = (await key(admin, account, scopes=["city_cases", "city_events"]))["secret"]
    await subscribe(admin, account, types=["order.*", "case.*"])
    async with with_key(url, secret) as platform:
        case = await opened(platform)
        await work_off(url, case, desk, "好了")
        items = (await platform.get("/city/events")).json()["items"]
    mine = [one for one in items if one["data"]["order_id"] == case["id"]]
    assert mine and mine == items
    states = [one["data"]["case_state"] for one in mine]
    assert list(dict.fromkeys(states)) == ["received", "assigned", "handling", "handled", "checked", "closed"]
    assert "楼道" not in json.dumps(items, ensure_ascii=False), "payloads are thin"


async def test_returned_by_the_community_with_its_reason(platform: httpx.AsyncClient, desk: httpx.AsyncClient) -> None:
    case = await opened(platform)
    await move(desk, case["id"], "cancel", reason="不属本社区管辖，请转邻街道")
    seen = await look(platform, case)
    assert (seen["state"], seen["words"]["zh"], seen["over"]) == ("returned", "已退回", True)
    assert seen["steps"][-1]["reason"] == "不属本社区管辖，请转邻街道"
    late = await act(platform, case, "withdraw", reason="撤")
    assert late.status_code == 409 and late.json()["current"]["state"] == "returned"
    pressed = await act(platform, case, "urge", reason="急")
    assert pressed.status_code == 422 and "取消" in pressed.json()["detail"]
    assert (await upload(platform, f"/city/cases/{case['id']}/evidence")).status_code == 422
    assert [one["id"] for one in (await platform.get("/city/cases", params={"state": "returned"})).json()["items"]] == [
        case["id"]
    ]
    assert (await platform.get("/city/cases", params={"state": "withdrawn"})).json()["items"] == []


async def test_urging_is_heard_once_a_key_and_climbs_the_second_time(
    platform: httpx.AsyncClient, desk: httpx.AsyncClient, db: Any
) -> None:
    case = await opened(platform)
    await move(desk, case["id"], "dispatch", team="patrol")
    first = await act(platform, case, "urge", "one", reason="市民再次来电", until=DUE)
    assert first.status_code == 200 and first.json()["urges"] == 1
    assert (await act(platform, case, "urge", "one", reason="市民再次来电", until=DUE)).json()["urges"] == 1
    reused = await act(platform, case, "urge", "one", reason="另一个原因")
    assert reused.status_code == 422 and "Idempotency-Key" in reused.json()["detail"]
    before = (await fetch_order(db, UUID(case["id"]))).rung
    assert (await act(platform, case, "urge", "two", reason="仍未处理")).json()["urges"] == 2
    assert (await fetch_order(db, UUID(case["id"]))).rung > before
    past = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    assert (await act(platform, case, "urge", reason="x", until=past)).status_code == 422
    assert (await platform.post(f"/city/cases/{case['id']}/urge", json={"reason": "x"})).status_code == 400
    assert await db.fetchval("SELECT count(*) FROM audit WHERE action = 'order.urge'") == 2


async def test_whoever_works_on_the_order_knows_whose_case_it_is_and_nobody_else_does(
    url: str, admin: httpx.AsyncClient, platform: httpx.AsyncClient, desk: httpx.AsyncClient
) -> None:
    """What they write is read above; other platforms and displays learn of no case by it."""
    case, joined = await opened(platform), await opened(platform, external_id="JJ20261122-2")
    order = f"/orders/{case['id']}"
    await move(desk, joined["id"], "merge", merge_into=case["id"])
    async with client(url, "patrol1") as patrol:
        (own, other) = (await patrol.get(order)).json()["cases"]
        assert (own["system"], own["external_id"], own["joined"]) == ("hotline", "JJ20261122-1", False)
        assert own["due_at"] is not None and own["account"] and (other["external_id"], other["joined"]) == (
            "JJ20261122-2", True,
        )  # fmt: skip
        assert (await act(platform, case, "withdraw", reason="撤诉")).status_code == 200
        assert [one["joined"] for one in (await patrol.get(order)).json()["cases"]] == [True]
    async with with_key(url, await above(admin, scopes=("orders",))) as nosy:
        answer = await nosy.get(order)
        assert answer.status_code == 200 and answer.json()["cases"] == []


async def test_withdrawn_before_anybody_took_it_up_ends_the_order(platform: httpx.AsyncClient, db: Any) -> None:
    case = await opened(platform)
    for _ in range(2):
        answer = await act(platform, case, "withdraw", reason="市民撤诉")
        assert answer.status_code == 200
    gone = answer.json()
    assert (gone["state"], gone["words"]["zh"], gone["may"]) == ("withdrawn", "已撤单", [])
    assert (await fetch_order(db, UUID(case["id"]))).state == "cancelled"
    for what, body in (("urge", {"reason": "x"}), ("notes", {"text": "x"})):
        late = await act(platform, case, what, **body)
        assert late.status_code == 409 and late.json()["current"]["state"] == "withdrawn"
    assert (await platform.post("/city/cases", json=wanted())).json()["state"] == "withdrawn", "the same case"
    last = await db.fetchval("SELECT data FROM outbox WHERE type = 'order.cancel'")
    assert last["case_state"] == "withdrawn"


async def test_withdrawn_while_somebody_is_at_it_leaves_it_to_them(
    url: str, platform: httpx.AsyncClient, desk: httpx.AsyncClient, db: Any
) -> None:
    case = await opened(platform)
    await move(desk, case["id"], "dispatch", team="patrol")
    async with client(url, "patrol1") as patrol:
        await move(patrol, case["id"], "accept")
    gone = (await act(platform, case, "withdraw", reason="市民撤诉")).json()
    assert gone["state"] == "withdrawn" and gone["steps"][-1]["state"] == "withdrawn"
    order = await fetch_order(db, UUID(case["id"]))
    assert order.state == "accepted"
    assert "市民撤诉" in (await fetch_history(db, order.id))[-1].detail["note"]


@pytest.mark.parametrize("more", [{"severity": "critical"}, {}])
async def test_withdrawing_ends_no_order_that_a_life_or_somebody_else_hangs_on(
    platform: httpx.AsyncClient, db: Any, more: dict[str, Any]
) -> None:
    case = await opened(platform, **more)
    if not more:
        await db.execute(
            "INSERT INTO resident_report (id, community_id, order_id, category, created_at, idempotency_key, digest) "
            "VALUES (gen_random_uuid(), 'test', $1, 'noise', now(), 'k', sha256('x'))",
            UUID(case["id"]),
        )
    assert (await act(platform, case, "withdraw", reason="撤")).json()["state"] == "withdrawn"
    assert (await fetch_order(db, UUID(case["id"]))).state in ("created", "dispatched")


async def test_evidence_is_handed_over_once_and_counts_as_nobodys_work(
    platform: httpx.AsyncClient, desk: httpx.AsyncClient, db: Any
) -> None:
    case = await opened(platform)
    path = f"/city/cases/{case['id']}/evidence"
    first = await upload(platform, path, key="e1")
    assert first.status_code == 200, first.text
    assert (await upload(platform, path, key="e1")).json() == first.json()
    assert set(first.json()) == {"id", "sort", "bytes", "sha256", "original_sha256", "uploaded_at"}
    order = await fetch_order(db, UUID(case["id"]))
    assert (order.photos_before, order.photos_after) == (0, 0)
    assert fold(await fetch_history(db, order.id)) == order.order
    listed = (await desk.get(f"/orders/{case['id']}/evidence")).json()["items"]
    assert [one["id"] for one in listed] == [first.json()["id"]]
    refused = await platform.post(path, params={"sort": "signature"}, headers={"Idempotency-Key": "e2"})
    assert refused.status_code == 422


async def test_case_joined_to_another_order_follows_it_and_is_told_nothing_of_it(
    url: str, platform: httpx.AsyncClient, desk: httpx.AsyncClient, db: Any
) -> None:
    _, alarm = await raise_alert(db, "test-gas_alarm-1")
    case = await opened(platform)
    await move(desk, case["id"], "merge", merge_into=str(alarm))
    seen = await look(platform, case)
    assert seen["joined"] and seen["state"] == "assigned" and seen["order_id"] == str(alarm)
    assert [one["state"] for one in seen["steps"]] == ["received", "joined", "assigned"]
    assert [one["external_id"] for one in (await desk.get(f"/orders/{alarm}/cases")).json()["items"]] == [
        "JJ20261122-1"
    ]
    async with client(url, "patrol1") as patrol:
        photo = (await upload(desk, f"/orders/{alarm}/evidence", "after")).json()["id"]
        assert (await patrol.get("/city/cases")).status_code == 403
    await move(desk, str(alarm), "accept")
    await move(desk, str(alarm), "arrive", place="1号楼")
    await move(desk, str(alarm), "resolve", note="501 室王某家阀门已关")
    seen = await look(platform, case)
    assert seen["state"] == "handled" and seen["result"] is None and seen["photos"] == []
    assert "王某" not in json.dumps(seen, ensure_ascii=False)
    assert (await desk.post(f"/city/cases/{case['id']}/photos", json={"evidence_id": photo})).status_code == 200
    assert [one["id"] for one in (await look(platform, case))["photos"]] == [photo]
    assert (await act(platform, case, "notes", text="市民已知晓")).status_code == 200
    assert [one["id"] for one in (await platform.get("/city/cases", params={"state": "joined"})).json()["items"]] == [
        case["id"]
    ]


async def test_photos_of_an_order_about_health_and_of_other_orders_are_not_given(
    platform: httpx.AsyncClient, desk: httpx.AsyncClient, db: Any
) -> None:
    _, heart = await raise_alert(db, "test-wristband-1", rule_id="wristband.heart_rate_high")
    hidden = (await upload(desk, f"/orders/{heart}/evidence", "after")).json()["id"]
    case = await opened(platform)
    path = f"/city/cases/{case['id']}/photos"
    assert (await desk.post(path, json={"evidence_id": hidden})).status_code == 404, "of another order"
    await move(desk, case["id"], "merge", merge_into=str(heart))
    refused = await desk.post(path, json={"evidence_id": hidden})
    assert refused.status_code == 422 and "健康" in refused.json()["detail"]
    assert await db.fetchval("SELECT count(*) FROM city_case_photo") == 0


async def test_list_is_paged_newest_first(platform: httpx.AsyncClient) -> None:
    made = [(await opened(platform, external_id=f"p{number}"))["id"] for number in range(5)]
    found: list[str] = []
    after: str | None = None
    while True:
        page = (await platform.get("/city/cases", params={"limit": 2} | ({"cursor": after} if after else {}))).json()
        found += [one["id"] for one in page["items"]]
        if (after := page["next"]) is None:
            break
    assert found == made[::-1]
