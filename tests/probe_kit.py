"""A community with something of everything in it, and what to ask for to see each of it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from services.adapters.plans.files import load_defaults
from services.adapters.plans.store import take_over_defaults
from tests.access_kit import key, pair, service
from tests.api_data import add_readings, raise_alert, set_state
from tests.api_server import api_server, client, connect
from tests.city_kit import subscribe
from tests.conftest import run
from tests.evidence_kit import jpeg
from tests.factory import put_community, small_community

C = "/communities/test"
TOKEN = "X-Report-Token"
CURVED = (("electricity_meter-1", "power"), ("pv_inverter-1", "power"), ("environment-1", "temperature"))


@dataclass(slots=True)
class World:
    """`things`: what to put into paths. `screen` and `secret`: a paired screen's cookie, a limited key.
    `city_secret`: a city platform's."""

    url: str
    database_url: str
    things: dict[str, str] = field(default_factory=dict)
    screen: dict[str, str] = field(default_factory=dict)
    secret: str = ""
    city_secret: str = ""
    report_token: str = ""


def once() -> dict[str, str]:
    return {"Idempotency-Key": str(uuid4())}


def seen(version: object) -> dict[str, str]:
    return {"If-Match": f'"{version}"'}


async def said(answer: httpx.Response, *wanted: int) -> Any:
    assert answer.status_code in (wanted or (200, 201)), f"{answer.request.url}: {answer.status_code} {answer.text}"
    return answer.json() if answer.content else None


@contextmanager
def served(database_url: str, store: Path) -> Iterator[World]:
    """The service on a thread and a loop of its own, over a community that `_fill` has filled."""
    import asyncio

    started, stop, found, loop = threading.Event(), asyncio.Event(), list[str](), asyncio.new_event_loop()

    async def serve() -> None:
        more: dict[str, Any] = {"auth_requests_per_min": 60_000, "query_timeout_s": 60, "evidence_url": store.as_uri()}
        async with api_server(database_url, evidence_reserve_bytes=0, **more) as base:
            found.append(base)
            started.set()
            await stop.wait()

    run(_rows_of_the_past(database_url))
    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        assert started.wait(60)
        world = World(found[0], database_url)
        run(_fill(world))
        yield world
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(30)
        loop.close()


async def _rows_of_the_past(database_url: str) -> None:
    """Two days of readings, and people of every role."""
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    now = datetime.now(UTC)
    for apart, (device, metric) in enumerate((*CURVED, ("wristband-1", "heart_rate"), ("wristband-1", "battery"))):
        points = [(now - timedelta(minutes=10 * n, seconds=apart), 60.0 + n % 7) for n in range(288)]
        await add_readings(connection, f"test-{device}", metric, points)
    for device in ("water_meter-1", "gas_meter-1"):
        points = [(now - timedelta(minutes=30 * n), 500.0 - n) for n in range(96)]
        await add_readings(connection, f"test-{device}", "total_m3", points)
    await set_state(connection, "test-wristband-1", heart_rate=77, spo2=96, battery=80)
    await set_state(connection, "test-environment-1", temperature=21.5)
    await set_state(connection, "test-electricity_meter-1", power=420)
    await set_state(connection, "test-bin-1", fill=40)
    await connection.execute(
        "INSERT INTO device_event (device_no, ts, event, data, received_at) "
        "SELECT device_no, now() - interval '1 h', 'opened', '{}', now() FROM device WHERE id = 'test-door_magnet-1'"
    )
    for role in ("merchant", "visitor"):
        await connection.execute(
            "INSERT INTO app_user (id, username, password_hash, display_name, role, community_id) "
            "SELECT $1, $1, password_hash, $1, $1, 'test' FROM app_user WHERE username = 'desk'",
            role,
        )
    await connection.execute("UPDATE person SET account_id = 'user-resident1' WHERE id = 'test-p2'")
    await connection.close()


async def _fill(world: World) -> None:
    """Whatever the API can make is made through it."""
    things, connection = world.things, await connect(world.database_url)
    alert, order = await raise_alert(connection, "test-gas_alarm-1")
    things |= {
        "community_id": "test", "device_id": "test-wristband-1", "alert_id": str(alert), "order_id": str(order),
        "name": "power", "rule_id": "wristband.heart_rate_high", "person_id": "test-p1", "plan_id": "gas_leak",
        "user_id": "user-desk", "rota_id": "probe", "sort": "building", "place_id": "test-b1",
    }  # fmt: skip
    await _plan_run(connection, things, alert)
    await _notices(connection, things)
    things["proof_id"] = str(
        await connection.fetchval(
            "INSERT INTO rule_proof (id, community_id, what, asked_by, from_at, to_at, documents, state, ended_at) "
            "VALUES (gen_random_uuid(), 'test', 'backtest', 'desk', now() - interval '1 day', now(), '{}', 'done', "
            "now()) RETURNING id"
        )
    )
    await connection.close()
    async with client(world.url, "admin") as admin, client(world.url, "desk") as desk, client(world.url) as stranger:
        await _registry(things, admin)
        await _access(world, admin, desk)
        await _evidence(things, desk)
        await _report(world, stranger)
        await _roster(desk)
        await _commands(things, desk)
        await _city(world, admin, desk)
        await said(await admin.put(f"{C}/open-data", json={"open_data": True}))
        await said(await admin.post("/people/test-p3/erase", json={"dry_run": False}, headers=once()))
        until = datetime.now(UTC) + timedelta(hours=2)
        silence = {"matcher": {"kinds": ["bin"]}, "why": "检修", "ends_at": until.isoformat()}
        await said(await desk.post(f"{C}/silences", json=silence | {"starts_at": datetime.now(UTC).isoformat()}))
        await said(
            await desk.post("/people/test-p1/emergency-access", json={"reason": "无人应答，需查看"}, headers=once())
        )
        contact = {"name": "李娜", "relation": "女儿", "phone": "13800138000"}
        await said(await desk.post("/people/test-p1/contacts", json=contact, headers=once()))


async def _plan_run(connection: Any, things: dict[str, str], alert: object) -> None:
    async with connection.transaction():
        documents = {"gas_leak": load_defaults()["gas_leak"].document}
        await take_over_defaults(connection, "test", "author", "approver", documents)
    things["run_id"] = str(
        await connection.fetchval(
            "INSERT INTO plan_run (id, community_id, partition, plan_id, version, alert_id, state, approved_by, facts,"
            " started_at, ended_at, correlation) VALUES (gen_random_uuid(), 'test', 0, 'gas_leak', 1, $1, 'done',"
            """ 'approver', '{"place": "", "title_zh": "", "title_en": "", "rule_id": "gas_alarm.alarm"}', now(),"""
            " now(), '') RETURNING id",
            alert,
        )
    )


async def _notices(connection: Any, things: dict[str, str]) -> None:
    """One to whoever is on the desk, and one with a link to somebody without an account."""
    for number, to in enumerate(("account:user-desk", "person:test-p1")):
        notice = await connection.fetchval(
            "INSERT INTO notice (id, seq, community_id, recipient, template, severity, created_at, not_before,"
            " expires_at, state, order_id) VALUES (gen_random_uuid(), $1, 'test', $2, 'over', 'minor', now(), now(),"
            " now() + interval '1 h', 'sent', $3) RETURNING id",
            number,
            to,
            things["order_id"],
        )
    things["token"] = "probe_________________"
    await connection.execute(
        "INSERT INTO notice_link (token_hash, notice_id, expires_at) VALUES (sha256($1), $2, now() + interval '1 h')",
        things["token"].encode(),
        notice,
    )


async def _registry(things: dict[str, str], admin: httpx.AsyncClient) -> None:
    sheet = "id,kind,name,building,floor\ntest-sheet-1,smoke_detector,门厅烟感,test-b1,1\n"
    checked = await admin.post(
        f"{C}/registry/imports", params={"what": "devices"}, content=sheet, headers={"Content-Type": "text/csv"}
    )
    things["import_id"] = (await said(checked))["id"]
    drawn = {"width": 100, "height": 80, "shapes": [{"kind": "green", "points": [[0, 0], [9, 0], [9, 9]]}]}
    made = await said(await admin.post(f"{C}/plan/drawings", json=drawn, headers=seen(1)))
    things["version"] = str(made["version"])


async def _access(world: World, admin: httpx.AsyncClient, desk: httpx.AsyncClient) -> None:
    account = await service(admin, community_id="test")
    made = await key(admin, account, scopes=["devices", "alerts"])
    world.secret, world.things["account_id"] = made["secret"], account
    world.things["key_id"] = made["key"]["id"]
    async with client(world.url) as screen:
        world.things["display_id"] = await pair(screen, desk)
        world.screen = dict(screen.cookies)


async def _evidence(things: dict[str, str], desk: httpx.AsyncClient) -> None:
    photo = {"file": ("IMG_1.jpg", jpeg(160, 120), "image/jpeg")}
    where = f"/orders/{things['order_id']}/evidence"
    sent = await desk.post(where, params={"sort": "photo", "phase": "before"}, files=photo, headers=once())
    things["evidence_id"] = (await said(sent))["id"]
    code = await desk.post(f"{C}/place-codes", json={"building_id": "test-b1"}, headers=once())
    things["code_id"] = (await said(code))["id"]


async def _report(world: World, stranger: httpx.AsyncClient) -> None:
    form = {"category": "clutter", "building_id": "test-b1", "text": "杂物"}
    files = [("photo", ("1.jpg", jpeg(160, 120), "image/jpeg"))]
    made = await said(await stranger.post(f"{C}/reports", data=form, files=files, headers=once()))
    world.report_token, world.things["report_id"] = made["token"], made["id"]
    shown = await said(await stranger.get(f"/reports/{made['id']}", headers={TOKEN: made["token"]}))
    world.things["photo_id"] = shown["own_photos"][0]


async def _commands(things: dict[str, str], desk: httpx.AsyncClient) -> None:
    one = {"device_id": "test-gas_meter-1", "name": "valve_close", "why": "漏气"}
    things["command_id"] = (await said(await desk.post(f"{C}/commands", json=one, headers=once())))["id"]
    many = {"kind": "gas_meter", "name": "valve_close", "everywhere": True, "why": "检修"}
    things["batch_id"] = (await said(await desk.post(f"{C}/command-batches", json=many, headers=once())))["id"]
    lamps = {"title": {"zh": "路灯", "en": "Streets"}}
    await said(await desk.put(f"{C}/lamp-schedules/streets", json=lamps, headers={"If-None-Match": "*"}))


async def _city(world: World, admin: httpx.AsyncClient, desk: httpx.AsyncClient) -> None:
    """A platform's subscriptions, of ours and of NGSI-LD, and an order that it opened."""
    things = world.things
    url = "https://events.example.cn/"
    account = await service(admin, community_id="test")
    world.city_secret = (await key(admin, account, scopes=["city_events", "city_cases", "devices"]))["secret"]
    subscription = (await subscribe(admin, account, way="webhook", url=url, types=["*"]))["subscription"]
    things |= {"subscription_id": subscription["id"], "type_name": "cn.linhub.alert.raised.v1",
               "entity_id": "urn:ngsi-ld:WasteContainer:test-bin-1"}  # fmt: skip
    connection = await connect(world.database_url)
    await connection.execute(
        "INSERT INTO city_attempt (subscription_id, seq, type, at, ok, status, ms, sort) "
        "VALUES ($1, 1, 'alert.raised', now(), false, 503, 9, 'event')",
        subscription["id"],
    )
    await connection.execute(
        "INSERT INTO city_dead_letter (subscription_id, seq, upto, type, at, why, attempts) "
        "VALUES ($1, 1, 1, 'alert.raised', now(), 'HTTP 503', 9)",
        subscription["id"],
    )
    await connection.close()
    async with client(world.url) as platform:
        platform.headers["X-API-Key"] = world.city_secret
        case = {"community_id": "test", "external_id": "JJ-1", "system": "hotline", "title": "灯不亮", "place": "1号楼"}
        things["case_id"] = (await said(await platform.post("/city/cases", json=case)))["id"]
        document: dict[str, Any] = {
            "id": "urn:ngsi-ld:Subscription:probe", "type": "Subscription", "entities": [{"type": "WasteContainer"}],
            "notification": {"endpoint": {"uri": url}},
        }  # fmt: skip
        await said(await platform.post(f"{world.url}/ngsi-ld/v1/subscriptions", json=document))
        things["ngsi_subscription_id"] = document["id"]
    photo = {"file": ("IMG_2.jpg", jpeg(160, 120), "image/jpeg")}
    where = f"/orders/{things['case_id']}/evidence"
    sent = await desk.post(where, params={"sort": "photo", "phase": "before"}, files=photo, headers=once())
    given = {"evidence_id": (await said(sent))["id"]}
    await said(await desk.post(f"/city/cases/{things['case_id']}/photos", json=given))
    things["case_photo_id"] = given["evidence_id"]


async def _roster(desk: httpx.AsyncClient) -> None:
    whole = [{"name": "全天", "from": "00:00", "to": "00:00"}]
    body = {"team": "general", "shifts": whole, "people": [["user-general1"]], "from": "2026-11-01"}
    await said(await desk.put(f"{C}/rotas/probe", json=body, headers={"If-None-Match": "*"}))
