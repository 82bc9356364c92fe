"""City events over the API: who may subscribe, what is shown under which grants, and from which point on."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_structured
from cloudevents.core.formats.json import JSONFormat
from jsonschema import Draft202012Validator

from services.domain.city import BY_NAME, EventMark
from tests.access_kit import key, service, with_key
from tests.api_server import Event, Stream, api_server, client, connect
from tests.city_kit import alert_data, append, many, order_data, subscribe
from tests.factory import put_community, small_community
from tests.said import lasting


@pytest.fixture
async def url(database_url: str) -> AsyncIterator[str]:
    await put_community(database_url, small_community())
    await put_community(database_url, small_community("other", prefix="other-"))
    async with api_server(database_url) as url:
        yield url


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Any]:
    connection = await connect(database_url)
    yield connection
    await connection.close()


@pytest.fixture
async def admin(url: str) -> AsyncIterator[httpx.AsyncClient]:
    async with client(url, "admin") as http:
        yield http


async def platform(admin: httpx.AsyncClient, url: str, **more: Any) -> tuple[dict[str, Any], str]:
    """A subscription to pull by, and the key of its account."""
    account = await service(admin, community_id=more.pop("community_id", "test"))
    made = await subscribe(admin, account, **more)
    secret = (await key(admin, account, scopes=["city_events"]))["secret"]
    return made["subscription"], secret


async def test_events_are_pulled_in_order_from_a_cursor(url: str, admin: httpx.AsyncClient, db: Any) -> None:
    await append(db, "alert.raised", alert_data())
    _, secret = await platform(admin, url)
    seqs = [await append(db, "order.dispatch", order_data(version=one)) for one in range(1, 8)]
    await append(db, "order.dispatch", order_data(), community="other")
    async with with_key(url, secret) as http:
        first = (await http.get("/city/events", params={"limit": 3})).json()
        assert [int(one["id"]) for one in first["items"]] == seqs[:3], "what was before the subscription is not in it"
        assert first["more"] and first["lost"] is None
        rest = (await http.get("/city/events", params={"cursor": first["next"]})).json()
        assert [int(one["id"]) for one in rest["items"]] == seqs[3:]
        assert [one["sequence"] for one in rest["items"]] == sorted(one["sequence"] for one in rest["items"])
        end = (await http.get("/city/events", params={"cursor": rest["next"]})).json()
        assert end["items"] == [] and not end["more"] and end["next"] == rest["next"] == seqs[-1] + 1
        earlier = (await http.get("/city/events", params={"cursor": 0})).json()
        assert earlier["items"][0]["type"] == "cn.linhub.alert.raised.v1"
        ahead = await http.get("/city/events", params={"cursor": seqs[-1] + 1000})
        assert ahead.status_code == 410 and str(seqs[-1] + 1) in ahead.json()["detail"]


async def test_events_are_cloudevents_that_fit_their_schemas(url: str, admin: httpx.AsyncClient, db: Any) -> None:
    """Parsed by the CloudEvents project's own package, checked by the schema that is published."""
    _, secret = await platform(admin, url, classes=["text", "location", "device"], classes_reason="联动")
    await append(db, "alert.raised", alert_data())
    await append(db, "order.dispatch", order_data())
    await append(
        db, "device.offline", {"device_id": "test-bin-1", "kind": "bin", "online": False, "at": "2026-11-22T08:00:00Z"}
    )
    async with with_key(url, secret) as http:
        items = (await http.get("/city/events")).json()["items"]
        assert len(items) == 3
        for item in items:
            message = HTTPMessage({"content-type": "application/cloudevents+json"}, json.dumps(item).encode())
            parsed = from_structured(message, JSONFormat())
            assert parsed.get_id() == item["id"] and parsed.get_source() == "/communities/test"
            assert abs((parsed.get_time() - datetime.now(UTC)).total_seconds()) < 120  # type: ignore[operator]
            schema = (await http.get(f"/city/schemas/{parsed.get_type()}")).json()
            assert schema["$id"] == parsed.get_dataschema() == BY_NAME[parsed.get_type()].schema_id
            Draft202012Validator(schema).validate(parsed.get_data())
        document = (await http.get("/city/asyncapi.json")).json()
        for item in items:
            Draft202012Validator(document["components"]["schemas"][item["type"]]["schema"]).validate(item)


async def test_payloads_are_thin_without_grants(url: str, admin: httpx.AsyncClient, db: Any) -> None:
    _, secret = await platform(admin, url)
    await append(db, "alert.raised", alert_data())
    await append(
        db, "device.offline", {"device_id": "test-bin-1", "kind": "bin", "online": False, "at": "2026-11-22T08:00:00Z"}
    )
    async with with_key(url, secret) as http:
        answer = await http.get("/city/events")
    [item] = answer.json()["items"]
    assert not {"title", "why", "place", "building_id", "device_id"} & set(item["data"])
    assert item["data"]["severity"] == "critical"
    assert "501" not in lasting(answer.text) and "test-bin-1" not in answer.text and "test-gas-1" not in answer.text


async def test_what_is_about_health_needs_its_grant_and_the_wearers_consent(
    url: str, admin: httpx.AsyncClient, db: Any
) -> None:
    alert = alert_data(
        rule_id="wristband.heart_rate_high", kind="wristband", health=True,
        title={"zh": "心率过高 173", "en": "Heart rate 173"}, why={"zh": "心率 173", "en": "heart rate 173"},
    )  # fmt: skip
    grants = {"classes": ["text", "device", "location"], "classes_reason": "联动"}
    _, blind = await platform(admin, url, **grants)
    _, seeing = await platform(admin, url, **(grants | {"classes": ["text", "health"]}))
    device_no = await db.fetchval("SELECT device_no FROM device WHERE id = 'test-wristband-1'")
    await db.execute(
        "INSERT INTO alert (id, community_id, rule_id, rule_version, family, subject, active_rules, device_no, kind, "
        "severity, team, state, title_zh, title_en, why_zh, why_en, onset_at, fired_at, last_at, correlation) VALUES "
        "($1, 'test', $2, 1, 'f', 'device:1', ARRAY[$2], $3, 'wristband', 'major', 'grid', 'firing', '', '', '', '', "
        "now(), now(), now(), 'x')",
        alert["id"], alert["rule_id"], device_no,
    )  # fmt: skip
    await append(db, "alert.raised", alert)

    async def told(secret: str) -> dict[str, Any]:
        async with with_key(url, secret) as http:
            answer = await http.get("/city/events")
            [item] = answer.json()["items"]
            data: dict[str, Any] = item["data"]
            if data["title"]["en"] == "Wellbeing check":
                assert "173" not in lasting(answer.text) and data["rule_id"] == "health" and "why" not in data
            return data

    everything = "tstzmultirange(tstzrange(now() - interval '1 day', NULL))"
    await db.execute(
        "INSERT INTO device_consent (device_no, vitals, location, worn_since) VALUES ($1, '{}', '{}', '-infinity') "
        "ON CONFLICT (device_no) DO UPDATE SET vitals = '{}', location = '{}', worn_since = '-infinity'",
        device_no,
    )
    assert (await told(blind))["title"]["en"] == (await told(seeing))["title"]["en"] == "Wellbeing check"
    await db.execute(f"UPDATE device_consent SET vitals = {everything} WHERE device_no = $1", device_no)
    assert (await told(blind))["title"]["en"] == "Wellbeing check"
    assert (await told(seeing))["why"]["en"] == "heart rate 173"
    rows = await db.fetch("SELECT detail FROM audit WHERE action = 'health.read'")
    person = await db.fetchval("SELECT person_id FROM device WHERE device_no = $1", device_no)
    said = [(row["detail"]["alerts"], row["detail"]["purpose"], row["detail"]["person"]) for row in rows]
    assert said == [([alert["id"]], "city", person)]
    await db.execute("UPDATE device_consent SET vitals = '{}' WHERE device_no = $1", device_no)
    assert (await told(seeing))["title"]["en"] == "Wellbeing check"


async def test_filters_hold_back_and_the_cursor_passes_what_did_not_fit(
    url: str, admin: httpx.AsyncClient, db: Any
) -> None:
    _, secret = await platform(admin, url, types=["alert.raised"], severities=["critical"], kinds=["gas_alarm"])
    wanted = await append(db, "alert.raised", alert_data())
    await append(db, "alert.raised", alert_data(severity="minor"))
    await append(db, "alert.raised", alert_data(kind="smoke"))
    await append(db, "alert.cleared", alert_data())
    _, last = await many(db, 12_000)
    async with with_key(url, secret) as http:
        page = (await http.get("/city/events")).json()
    assert [int(one["id"]) for one in page["items"]] == [wanted]
    assert page["next"] == last and not page["more"]


async def test_what_was_let_go_of_is_said(url: str, admin: httpx.AsyncClient, db: Any) -> None:
    first, last = await many(db, 20)
    _, secret = await platform(admin, url, start=first)
    await db.execute("DELETE FROM outbox WHERE seq <= $1", first + 9)
    async with with_key(url, secret) as http:
        page = (await http.get("/city/events")).json()
    assert page["lost"] == {"first": first + 1, "last": first + 9}
    assert [int(one["id"]) for one in page["items"]] == list(range(first + 10, last + 1))


async def test_subscription_is_marked_by_its_administrator_and_by_who_wrote_the_event(
    url: str, admin: httpx.AsyncClient, db: Any
) -> None:
    _, joined = await platform(admin, url)
    _, joining = await platform(admin, url, mark="Test")
    await append(db, "order.note", order_data())
    await append(db, "order.note", order_data(), mark=EventMark.EXERCISE)
    for secret, marks in ((joined, ["Actual", "Exercise"]), (joining, ["Test", "Test"])):
        async with with_key(url, secret) as http:
            assert [one["mark"] for one in (await http.get("/city/events")).json()["items"]] == marks


async def test_subscription_belongs_to_its_account_and_its_scope(url: str, admin: httpx.AsyncClient, db: Any) -> None:
    mine, secret = await platform(admin, url)
    theirs, stranger = await platform(admin, url, community_id="other")
    await append(db, "order.note", order_data())
    async with with_key(url, stranger) as http:
        assert (await http.get(f"/city/subscriptions/{mine['id']}")).status_code == 404
        assert (await http.get("/city/events", params={"subscription": mine["id"]})).status_code == 404
        assert (await http.get("/city/events", params={"cursor": 0})).json()["items"] == []
        assert (
            await http.post(f"/city/subscriptions/{mine['id']}/replay", json={"first": 1, "last": 1})
        ).status_code == 404
        assert [one["id"] for one in (await http.get("/city/subscriptions")).json()["items"]] == [theirs["id"]]
        assert (await http.post("/city/subscriptions", json={}, headers={"Idempotency-Key": "x"})).status_code == 403
    # Whoever grants does not read by what was granted.
    assert (await admin.get("/city/events", params={"subscription": mine["id"]})).status_code == 404
    # The account's reach is asked at each read: moved to another community it hears of that one.
    await db.execute("UPDATE app_user SET community_id = 'other' WHERE id = $1", mine["account_id"])
    async with with_key(url, secret) as http:
        assert (await http.get("/city/events", params={"subscription": mine["id"]})).json().get("items", []) == []


async def test_subscription_is_made_once_changed_by_version_and_audited(
    url: str, admin: httpx.AsyncClient, db: Any
) -> None:
    account = await service(admin, community_id="test")
    hook = {"way": "webhook", "url": "https://events.example.cn/in?token=s3cret"}
    made = await subscribe(admin, account, key="one", **hook)
    again = await subscribe(admin, account, key="one", **hook)
    assert made["subscription"]["id"] == again["subscription"]["id"]
    assert made["secret"].startswith("whsec_") and again["secret"] is None
    both = await asyncio.gather(*(subscribe(admin, account, key="two") for _ in range(2)))
    assert len({one["subscription"]["id"] for one in both}) == 1
    path = f"/city/subscriptions/{made['subscription']['id']}"
    body = {"name": "新名", "url": "https://events.example.cn/in", "types": ["order.*"], "state": "paused"}
    assert (await admin.put(path, json=body)).status_code == 428
    changed = await admin.put(path, json=body, headers={"If-Match": '"1"'})
    assert changed.status_code == 200 and changed.headers["ETag"] == '"2"' and changed.json()["state"] == "paused"
    assert (await admin.put(path, json=body, headers={"If-Match": '"1"'})).status_code == 412
    ungrounded = body | {"classes": ["text"]}
    assert (await admin.put(path, json=ungrounded, headers={"If-Match": '"2"'})).status_code == 422
    assert (await admin.delete(path, headers={"If-Match": '"1"'})).status_code == 412
    assert (await admin.delete(path, headers={"If-Match": '"2"'})).status_code == 204
    assert (await admin.get(path)).status_code == 404
    rows = await db.fetch("SELECT action, detail::text FROM audit WHERE action LIKE 'city.%' ORDER BY id")
    assert [row["action"] for row in rows] == ["city.subscribe", "city.subscribe", "city.change", "city.remove"]
    assert "s3cret" not in str(rows) and "whsec" not in str(rows)


WRONG: list[dict[str, Any]] = [
    {"types": ["order"]},
    {"types": ["valve.closed"]},
    {"types": []},
    {"severities": ["grave"]},
    {"way": "webhook"},
    {"way": "telex"},
    {"url": "https://x.example.cn/"},
    {"classes": ["text"]},
    {"way": "webhook", "url": "ftp://x.example.cn/"},
    {"way": "webhook", "url": "https://a:b@x.example.cn/"},
    {"way": "webhook", "url": "https://0x7f.1/"},
    {"way": "webhook", "url": "https://2130706433/"},
    {"way": "webhook", "url": "https://x.example.cn\\@evil/"},
    {"communities": ["other"]},
    {"start": -1},
]


async def test_subscription_that_makes_no_sense_is_refused(url: str, admin: httpx.AsyncClient) -> None:
    account = await service(admin, community_id="test")
    for number, wrong in enumerate(WRONG):
        body = {"account_id": account, "name": "x", "way": "pull", **wrong}
        answer = await admin.post("/city/subscriptions", json=body, headers={"Idempotency-Key": f"k{number}"})
        assert answer.status_code == 422, (wrong, answer.text)


async def test_stream_resumes_where_it_was_left(url: str, admin: httpx.AsyncClient, db: Any) -> None:
    subscription, secret = await platform(admin, url)
    first = await append(db, "order.note", order_data())

    async def events(stream: Stream, count: int) -> list[Event]:
        seen: list[Event] = []
        while len(seen) < count:
            event = await stream.next()
            assert event is not None
            if event.name != "hb":
                seen.append(event)
        return seen

    async with with_key(url, secret) as http:
        async with asyncio.timeout(90), http.stream("GET", "/city/events/stream") as response:
            [one] = await events(Stream(response), 1)
            assert (one.id, one.name, one.data["id"]) == (first, "cn.linhub.order.note.v1", str(first))
        seqs = [await append(db, "order.note", order_data()) for _ in range(3)]
        headers = {"Last-Event-ID": str(first)}
        async with asyncio.timeout(90), http.stream("GET", "/city/events/stream", headers=headers) as response:
            stream = Stream(response)
            assert [one.id for one in await events(stream, 3)] == seqs
            later = await append(db, "order.note", order_data())
            assert [one.id for one in await events(stream, 1)] == [later]
            revoked = await admin.post(f"/service-accounts/{subscription['account_id']}/disable")
            assert revoked.status_code == 200
            while (event := await stream.next()) is not None:
                assert event.name == "hb"


async def test_stream_ends_when_its_subscription_is_paused(url: str, admin: httpx.AsyncClient, db: Any) -> None:
    subscription, secret = await platform(admin, url)
    async with with_key(url, secret) as http:
        async with asyncio.timeout(60), http.stream("GET", "/city/events/stream") as response:
            stream = Stream(response)
            body = {"name": "x", "state": "paused"}
            path = f"/city/subscriptions/{subscription['id']}"
            assert (await admin.put(path, json=body, headers={"If-Match": '"1"'})).status_code == 200
            await append(db, "order.note", order_data())
            while (event := await stream.next()) is not None:
                assert event.name == "hb"
        assert (await http.get("/city/events/stream")).status_code == 409
        assert (await http.get("/city/events")).status_code == 409


async def test_signing_keys_overlap_and_end(url: str, admin: httpx.AsyncClient, db: Any) -> None:
    made = await subscribe(admin, way="webhook", url="https://events.example.cn/")
    path = f"/city/subscriptions/{made['subscription']['id']}/keys"
    pair = (await admin.post(path, json={"sort": "ed25519"})).json()
    assert pair["secret"] is None and pair["key"]["public"].startswith("whpk_")
    new = (await admin.post(path, json={"sort": "hmac", "overlap_s": 3600})).json()
    listed = await admin.get(path)
    assert [one["ends_at"] is None for one in listed.json()["items"]] == [True, False, False]
    assert "whsec" not in listed.text and "whsk" not in listed.text
    ended = (await admin.post(f"{path}/{new['key']['id']}/end")).json()
    assert all(one["ends_at"] for one in ended["items"])


async def test_replay_and_test_are_asked_for_by_the_account_itself(url: str, admin: httpx.AsyncClient, db: Any) -> None:
    pulled, _ = await platform(admin, url)
    account = await service(admin, community_id="test")
    first, last = await many(db, 5)
    hook = (await subscribe(admin, account, way="webhook", url="https://events.example.cn/"))["subscription"]
    secret = (await key(admin, account, scopes=["city_events"]))["secret"]
    path = f"/city/subscriptions/{hook['id']}"
    async with with_key(url, secret) as http:
        assert (await http.post(f"{path}/replay", json={"first": first, "last": last + 1})).status_code == 409
        assert (await http.post(f"{path}/replay", json={"first": last, "last": first})).status_code == 422
        asked = await http.post(f"{path}/replay", json={"first": first, "last": last})
        assert asked.status_code == 202 and asked.json()["progress"]["replay_upto"] == last
        assert (await http.post(f"{path}/replay", json={"first": first, "last": last})).status_code == 409
        tested = await http.post(f"{path}/test")
        assert tested.status_code == 202
        assert (
            await db.fetchval("SELECT test_id::text FROM city_delivery WHERE test_id IS NOT NULL")
            == (tested.json()["test_id"])
        )
        for what in ("attempts", "dead-letters", "keys"):
            assert (await http.get(f"{path}/{what}")).json()["items"] is not None
        assert (await http.put(path, json={"name": "x"}, headers={"If-Match": '"1"'})).status_code == 403
    pull = f"/city/subscriptions/{pulled['id']}"
    assert (await admin.post(f"{pull}/test")).status_code == 409
    assert (await admin.post(f"{pull}/replay", json={"first": 1, "last": 1})).status_code == 409


async def test_lists_are_read_page_by_page(url: str, admin: httpx.AsyncClient, db: Any) -> None:
    account = await service(admin, community_id="test")
    made = [(await subscribe(admin, account))["subscription"]["id"] for _ in range(3)]
    hook = (await subscribe(admin, account, way="webhook", url="https://events.example.cn/"))["subscription"]["id"]
    await db.execute(
        "INSERT INTO city_attempt (subscription_id, seq, type, at, ok, ms, sort) "
        "SELECT $1, n, 'order.note', now(), n % 2 = 0, 1, 'event' FROM generate_series(1, 5) AS n",
        hook,
    )

    async def through(path: str, **params: Any) -> list[Any]:
        found: list[Any] = []
        more: str | None = ""
        while more is not None:
            page = (await admin.get(path, params={"limit": 2, **params} | ({"cursor": more} if more else {}))).json()
            found, more = found + page["items"], page["next"]
        return found

    assert [one["id"] for one in await through("/city/subscriptions")] == [hook, *reversed(made)]
    log = f"/city/subscriptions/{hook}/attempts"
    assert [one["seq"] for one in await through(log)] == [5, 4, 3, 2, 1]
    assert [one["seq"] for one in await through(log, ok="false")] == [5, 3, 1]
    assert (await admin.get(log, params={"cursor": "nonsense"})).status_code == 400
