"""Channels, links, one's own notices and emergency contacts, through the running API."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import asyncpg
import httpx
import pytest

from services.adapters.postgres import open_pool
from services.domain.vocabulary import Severity
from tests.api_data import raise_alert
from tests.api_server import api_server, client
from tests.factory import put_community, small_community
from tests.integration.alerts_support import until
from tests.notices_kit import Sink, account_id, give_channel, notifier, sink
from tests.said import lasting


@pytest.fixture
async def pool(database_url: str) -> AsyncIterator[asyncpg.Pool[Any]]:
    await put_community(database_url, small_community())
    opened = await open_pool(database_url, name="test", max_size=4)
    yield opened
    await opened.close()


@pytest.fixture
async def out() -> AsyncIterator[Sink]:
    async with sink() as one:
        yield one


def key() -> dict[str, str]:
    return {"Idempotency-Key": str(uuid4())}


async def told(pool: asyncpg.Pool[Any], database_url: str, out: Sink, severity: Severity) -> tuple[Any, str]:
    """An order of which the first of two patrols was told; the order, and the path of the link in the message."""
    await pool.execute(
        "INSERT INTO app_user (id, username, password_hash, display_name, role, team, community_id) "
        "SELECT 'zz-patrol2', 'patrol2', password_hash, 'patrol2', role, team, community_id "
        "FROM app_user WHERE username = 'patrol1'"
    )
    for name in ("patrol1", "patrol2"):
        await give_channel(pool, name, out.url(name))
    async with pool.acquire() as connection:
        _, order = await raise_alert(connection, "test-gas_alarm-1", severity=severity)
    async with notifier(database_url, public_url="https://linhub.example"):

        async def heard() -> bool:
            return bool(out.heard)

        async def recorded() -> bool:
            return bool(await pool.fetchval("SELECT count(*) FROM notice WHERE state = 'sent'"))

        await until(heard)
        await until(recorded)
    path = re.search(r"https://linhub\.example(/n/[\w-]{22})$", out.heard[0][1]["message"])
    assert path is not None
    return order, path[1]


async def test_link_acknowledges_by_its_button_only_and_ends_the_waiting_in_turn(
    database_url: str, pool: asyncpg.Pool[Any], out: Sink
) -> None:
    order, path = await told(pool, database_url, out, Severity.MAJOR)
    async with api_server(database_url) as url, httpx.AsyncClient(base_url=url, trust_env=False, timeout=90) as http:
        for _ in range(3):
            looked = await http.get(path)
            assert looked.status_code == 200 and "燃气泄漏" in looked.text and "<button>" in looked.text
        assert looked.headers["referrer-policy"] == "no-referrer" and looked.headers["cache-control"] == "no-store"
        assert await pool.fetchval("SELECT count(*) FROM notice WHERE acknowledged_at IS NOT NULL") == 0
        for _ in range(2):
            assert (await http.post(path)).status_code == 200
        assert "<button>" not in (await http.get(path)).text
    states = await pool.fetch("SELECT state FROM notice WHERE template = 'dispatch' ORDER BY turn")
    assert [row["state"] for row in states] == ["acknowledged", "cancelled"]
    lines = await pool.fetch("SELECT move, detail FROM work_order_history WHERE order_id = $1 ORDER BY version", order)
    assert [row["move"] for row in lines] == ["create", "dispatch", "note"]
    assert "patrol1" in lines[2]["detail"]["note"]
    assert await pool.fetchval("SELECT state FROM work_order WHERE id = $1", order) == "dispatched"


async def test_links_are_kept_as_hashes_expire_and_cannot_be_guessed_for_long(
    database_url: str, pool: asyncpg.Pool[Any], out: Sink, capsys: pytest.CaptureFixture[str]
) -> None:
    _, path = await told(pool, database_url, out, Severity.CRITICAL)
    rows = await pool.fetch("SELECT token_hash FROM notice_link")
    assert rows and all(len(row["token_hash"]) == 32 for row in rows)
    async with api_server(database_url) as url, httpx.AsyncClient(base_url=url, trust_env=False, timeout=90) as http:
        assert (await http.get(path)).status_code == 200
        await pool.execute("UPDATE notice_link SET expires_at = now() - interval '1 s'")
        assert (await http.get(path)).status_code == 404
        statuses = [(await http.post(f"/n/{number:022d}")).status_code for number in range(40)]
        assert statuses[:29] == [404] * 29 and statuses[-1] == 429
    said = capsys.readouterr()
    assert path not in said.out + said.err


async def test_ones_own_notices_are_listed_and_acknowledged_by_nobody_else(
    database_url: str, pool: asyncpg.Pool[Any], out: Sink
) -> None:
    order, _ = await told(pool, database_url, out, Severity.CRITICAL)
    async with (
        api_server(database_url) as url,
        client(url, "patrol1") as patrol,
        client(url, "maintenance1") as other,
        client(url, "desk") as desk,
    ):
        (own,) = (await patrol.get("/me/notices")).json()["items"]
        assert own["order_id"] == str(order) and own["title"]["en"] == "[Critical] New order: Gas leak"
        assert (await other.get("/me/notices")).json()["items"] == []
        assert (await other.post(f"/me/notices/{own['id']}/ack")).status_code == 404
        assert (await patrol.post(f"/me/notices/{own['id']}/ack")).status_code == 200
        assert (await patrol.get("/me/notices")).json()["items"] == []
        assert len((await patrol.get("/me/notices?unread=false")).json()["items"]) == 1
        listed = (await desk.get(f"/orders/{order}/notices")).json()
        assert {one["recipient"].strip() for one in listed} == {"patrol1", "patrol2"}
        assert any(tried["ok"] for one in listed for tried in one["tried"])
        found: list[str] = []
        more: str | None = ""
        while more is not None:
            page = (await desk.get(f"/communities/test/notices?limit=1{more and f'&cursor={more}'}")).json()
            found, more = found + [one["id"] for one in page["items"]], page["next"]
        assert sorted(found) == sorted(one["id"] for one in listed)
        page = (await desk.get("/communities/test/notices?state=acknowledged")).json()
        assert [one["id"] for one in page["items"]] == [own["id"]]


async def test_channel_is_used_once_its_code_was_given_and_its_address_is_never_shown(
    database_url: str, pool: asyncpg.Pool[Any], out: Sink
) -> None:
    secret = f"json://127.0.0.1:{out.port}/desk"
    own = f"/communities/test/staff/{await account_id(pool, 'desk')}/channels"
    async with (
        api_server(database_url) as url,
        client(url, "admin") as admin,
        client(url, "desk") as desk,
        notifier(database_url),
    ):
        here = datetime.now(ZoneInfo("Asia/Shanghai"))
        quiet = {name: f"{here + timedelta(hours=by):%H:%M}" for name, by in (("quiet_from", -1), ("quiet_to", 1))}
        body = {"sort": "webhook", "address": secret, **quiet}
        assert (await admin.post(own, json=body)).status_code == 400
        assert (await desk.post("/me/channels", json=body, headers=key())).status_code == 403
        header = key()
        made = await admin.post(own, json=body, headers=header)
        assert made.status_code == 200, made.text
        again = await admin.post(own, json=body, headers=header)
        assert again.json() == made.json() and made.json()["verified_at"] is None

        async def code_came() -> bool:
            return bool(out.heard)

        await until(code_came)
        code = re.search(r"\d{6}", out.heard[0][1]["title"])
        assert code is not None and len(out.heard) == 1
        at = f"/me/channels/{made.json()['id']}"
        wrong = f"{(int(code[0]) + 1) % 1_000_000:06d}"
        assert (await desk.post(f"{at}/verify", json={"code": wrong})).status_code == 422
        right = await desk.post(f"{at}/verify", json={"code": code[0]})
        assert right.status_code == 200 and right.json()["verified_at"] is not None

        async def forgotten() -> bool:
            return bool(await pool.fetchval("SELECT params = '{}' FROM notice WHERE template = 'code'"))

        await until(forgotten)
        everything = (await desk.get("/me/channels")).text + made.text + right.text
        assert "/desk" not in everything and "json://127.0.0.1/***" in everything
        changed = await desk.put(at, json={"position": 2, "language": "en"})
        assert (changed.json()["quiet_from"], changed.json()["language"]) == (None, "en")
        assert (await desk.delete(at)).status_code == 204
        assert (await desk.get("/me/channels")).json() == []


async def test_code_may_be_tried_five_times_and_asked_for_five_times_an_hour(
    database_url: str, pool: asyncpg.Pool[Any]
) -> None:
    async with api_server(database_url) as url, client(url, "patrol1") as http:
        made = await http.post("/me/channels", json={"sort": "sms", "address": "13800138000"}, headers=key())
        at = f"/me/channels/{made.json()['id']}"
        code = await pool.fetchval("SELECT params ->> 'code' FROM notice WHERE template = 'code'")
        for number in range(1, 6):
            wrong = f"{(int(code) + number) % 1_000_000:06d}"
            assert (await http.post(f"{at}/verify", json={"code": wrong})).status_code == 422
        assert (await http.post(f"{at}/verify", json={"code": code})).status_code == 422
        statuses = [(await http.post(f"{at}/code")).status_code for _ in range(5)]
        assert statuses == [204, 204, 204, 204, 429]


CHANNELS = (
    ("resident1", "sms", "138 0013 8000", 200),
    ("resident1", "mail", "a.b@example.com", 200),
    ("resident1", "webhook", "json://169.254.169.254/latest", 403),
    ("resident1", "dingtalk", "dingtalk://token", 403),
    ("patrol1", "wecom", "wecombot://key", 200),
    ("patrol1", "webhook", "json://10.0.0.1/x", 403),
    ("patrol1", "wecom", "json://10.0.0.1/x", 422),
    ("patrol1", "sms", "javascript:1", 422),
    ("desk", "webhook", "json://127.0.0.1:8080/x", 403),
    ("desk", "smtp", "file:///etc/passwd", 422),
    ("desk", "dingtalk", "dingtalk://token", 200),
)


async def test_desk_adds_a_channel_for_a_colleague_who_verifies_it(
    database_url: str, pool: asyncpg.Pool[Any], out: Sink
) -> None:
    patrol1 = await account_id(pool, "patrol1")
    at = f"/communities/test/staff/{patrol1}/channels"
    body = {"sort": "webhook", "address": f"json://127.0.0.1:{out.port}/patrol-secret"}
    async with (
        api_server(database_url) as url,
        client(url, "admin") as admin,
        client(url, "desk") as desk,
        client(url, "patrol1") as patrol,
        client(url, "resident1") as resident,
        notifier(database_url),
    ):
        header = key()
        assert (await desk.post(at, json=body, headers=header)).status_code == 403
        made = await admin.post(at, json=body, headers=header)
        assert made.status_code == 200, made.text
        assert (await admin.post(at, json=body, headers=header)).json() == made.json()
        assert (await admin.post(at, json=body)).status_code == 400
        assert (made.json()["verified_at"], "secret" in made.text) == (None, False)
        for nobody in (patrol, resident):
            assert (await nobody.post(at, json=body, headers=key())).status_code == 403
            assert (await nobody.get(at)).status_code == 403
        for person in ("nobody", await account_id(pool, "resident1")):
            answer = await desk.post(
                f"/communities/test/staff/{person}/channels",
                json={"sort": "sms", "address": "13800138000"},
                headers=key(),
            )
            assert answer.status_code == 404

        async def code_came() -> bool:
            return bool(out.to("patrol-secret"))

        await until(code_came)
        code = re.search(r"\d{6}", out.to("patrol-secret")[0]["title"])
        assert code is not None
        mine = f"/me/channels/{made.json()['id']}/verify"
        assert (await desk.post(mine, json={"code": code[0]})).status_code == 404
        right = await patrol.post(mine, json={"code": code[0]})
        assert right.status_code == 200, right.text
        (listed,) = (await desk.get(at)).json()
        assert listed["verified_at"] is not None and listed["shown"] == "json://127.0.0.1/***"
        assert (await desk.delete(f"{at}/{listed['id']}")).status_code == 204
        assert (await desk.get(at)).json() == []


async def test_channels_of_a_host_of_ones_own_choice_are_for_whom_they_are_trusted_to(
    database_url: str, pool: asyncpg.Pool[Any]
) -> None:
    async with api_server(database_url) as url:
        for who, sort, address, status in CHANNELS:
            async with client(url, who) as http:
                answer = await http.post("/me/channels", json={"sort": sort, "address": address}, headers=key())
                assert answer.status_code == status, (who, address, answer.text)


async def test_emergency_contacts_are_the_households_and_the_desks(database_url: str, pool: asyncpg.Pool[Any]) -> None:
    body = {"name": "李娜", "relation": "女儿", "phone": "+86 138-0013-8000"}
    async with (
        api_server(database_url) as url,
        client(url, "resident1") as own,
        client(url, "desk") as desk,
    ):
        # resident1 lives in the second household.
        assert (await own.post("/people/test-p1/contacts", json=body, headers=key())).status_code == 404
        assert (await own.post("/people/test-p2/contacts", json=body, headers=key())).status_code == 200
        header = key()
        made = await desk.post("/people/test-p1/contacts", json=body, headers=header)
        assert (await desk.post("/people/test-p1/contacts", json=body, headers=header)).json() == made.json()
        assert made.json()["phone"] == "+86****00"
        assert "0013" not in lasting((await desk.get("/people/test-p1/contacts")).text)
        channels = await pool.fetch(
            "SELECT sort, address FROM contact_channel WHERE contact_id = $1 ORDER BY position", made.json()["id"]
        )
        assert [tuple(row) for row in channels] == [("sms", "+8613800138000"), ("phone", "+8613800138000")]
        seen = {"If-Match": made.headers["ETag"]}
        assert (await own.delete(f"/contacts/{made.json()['id']}", headers=seen)).status_code == 404
        assert (await desk.delete(f"/contacts/{made.json()['id']}", headers=seen)).status_code == 204
        assert (await desk.get("/people/test-p1/contacts")).json() == []


async def test_gateway_is_set_by_the_administrator_and_not_shown(database_url: str, pool: asyncpg.Pool[Any]) -> None:
    async with api_server(database_url) as url, client(url, "admin") as http:
        at = "/communities/test/gateways/sms"
        for bad in ("json://sms.example/send", "file:///{to}", "syslog://{to}"):
            assert (await http.put(at, json={"template": bad})).status_code == 422
        answer = await http.put(at, json={"template": "jsons://user:hunter2@sms.example/{to}"})
        assert answer.status_code == 200 and "hunter2" not in answer.text + (await http.get(at[:-4])).text
        assert (
            await http.put("/communities/test/gateways/webhook", json={"template": "json://a/{to}"})
        ).status_code == 404
    assert await account_id(pool, "admin")
