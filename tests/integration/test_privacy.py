"""Health data behind consent and purpose: withdrawn at once, refused without a reason, opened in an emergency."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from services.api.answers.health import HEALTH_RULES
from services.api.routes import ROUTERS
from tests.api_data import add_readings, raise_alert, set_state
from tests.api_server import api_server, client, connect, stream
from tests.factory import put_community, small_community
from tests.ingest_kit import until
from tests.said import lasting

BAND = "test-wristband-1"
RULE = sorted(HEALTH_RULES)[0]


def once() -> dict[str, str]:
    return {"Idempotency-Key": str(uuid.uuid4())}


def said(answer: httpx.Response) -> str:
    """Without ids and times, in which any digits may stand."""
    return lasting(answer.text)


async def prepared(database_url: str) -> Any:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    await set_state(connection, BAND, heart_rate=173, systolic=199, battery=51, latitude=29.71234, longitude=116.01234)
    now = datetime.now(UTC)
    await add_readings(connection, BAND, "heart_rate", [(now - timedelta(minutes=5 * n), 173.0) for n in range(1, 9)])
    return connection


async def consent_ids(http: Any, what: str) -> list[str]:
    return [one["id"] for one in (await http.get("/people/test-p1/consents")).json() if one["what"] == what]


async def test_privacy_a_purpose_is_asked_for_and_must_fit_the_role(database_url: str) -> None:
    connection = await prepared(database_url)
    async with api_server(database_url) as url, client(url, "grid1") as http:
        for path in (
            f"/devices/{BAND}",
            f"/devices/{BAND}/readings?metric=heart_rate",
            f"/devices/{BAND}/rollups?metric=heart_rate&from=2026-11-01T00:00:00Z&to=2026-11-02T00:00:00Z",
            "/people/test-p1/wellbeing",
        ):
            bare = await http.get(path)
            assert bare.status_code == 422 and "X-Purpose" in bare.json()["detail"], path
            assert (await http.get(path, headers={"X-Purpose": "visit"})).status_code == 200, path
            for wrong in ("self", "rules"):
                assert (await http.get(path, headers={"X-Purpose": wrong})).status_code == 422, path
            assert (await http.get(path, headers={"X-Purpose": "curiosity"})).status_code == 422, path
        assert (await http.get("/devices/test-bin-1")).status_code == 200
    audited = await connection.fetch("SELECT detail FROM audit WHERE action = 'health.read'")
    assert [row["detail"]["purpose"] for row in audited] == ["visit"] * 4
    await connection.close()


async def test_privacy_without_consent_vitals_are_shown_to_nobody_and_help_still_comes(database_url: str) -> None:
    connection = await prepared(database_url)
    sos, _ = await raise_alert(
        connection, BAND, rule_id="wristband.sos", trigger={"event": "sos", "data": {"latitude": 29.71234}}
    )
    vital, order = await raise_alert(connection, BAND, rule_id=RULE, trigger={"value": 173})
    async with api_server(database_url) as url:
        async with client(url, "desk") as http:
            assert "173" in (await http.get("/communities/test/snapshot")).text
            for what in ("vitals", "location"):
                for id in await consent_ids(http, what):
                    done = await http.post(f"/consents/{id}/withdraw")
                    assert done.status_code == 200 and not done.json()["valid"]
        for username in ("desk", "admin", "grid1", "patrol1"):
            async with client(url, username) as http:
                http.headers["X-Purpose"] = "duty"
                for path in (
                    "/communities/test/snapshot",
                    "/communities/test/devices?kind=wristband",
                    f"/devices/{BAND}",
                    "/communities/test/alerts",
                    f"/alerts/{sos}",
                    f"/alerts/{vital}",
                    f"/orders/{order}",
                    "/communities/test/elders",
                    "/people/test-p1/wellbeing",
                ):
                    text = said(await http.get(path))
                    assert not any(one in text for one in ("173", "199", "29.71234", RULE)), (username, path)
                assert (await http.get(f"/alerts/{sos}")).json()["rule_id"] == "wristband.sos"
                readings = await http.get(f"/devices/{BAND}/readings", params={"metric": "heart_rate"})
                assert readings.status_code == 403
                listed = await http.get("/communities/test/orders", params={"q": "燃气泄漏", "state": "open"})
                assert str(order) not in listed.text
    await connection.close()


async def test_privacy_a_withdrawal_takes_the_values_off_an_open_stream(database_url: str) -> None:
    connection = await prepared(database_url)
    alert, order = await raise_alert(connection, BAND, rule_id=RULE, trigger={"value": 173})
    async with api_server(database_url, device_poll_s=0.2) as url, client(url, "desk") as http:
        cursor = (await http.get("/communities/test/snapshot")).json()["cursor"]
        async with stream(http, "test", cursor) as live:
            await live.named("hello")
            (id,) = await consent_ids(http, "vitals")
            assert (await http.post(f"/consents/{id}/withdraw")).status_code == 200
            seen: dict[str, Any] = {}

            def told(event: Any) -> bool:
                if event.name == "devices":
                    seen.update({one["id"]: one["values"] for one in event.data["items"]})
                elif event.name in ("alert", "order"):
                    seen[event.data["id"]] = event.data
                # What was opened with may still say what was so before.

                gone = "heart_rate" not in seen.get(BAND, {"heart_rate"})
                return gone and {str(alert), str(order)} <= set(seen)

            await live.until(told)
            assert "heart_rate" not in seen[BAND] and seen[BAND]["battery"] == 51
            assert (seen[str(alert)]["trigger"], seen[str(alert)]["title"]["zh"]) == ({}, "健康关怀")
            assert seen[str(order)]["title"]["zh"] == "健康关怀"
            given = {"what": "vitals", "given_by": "self", "how": "paper"}
            assert (await http.post("/people/test-p1/consents", json=given, headers=once())).status_code == 201
            events = await live.until(lambda e: e.name == "devices" and e.data["items"][0]["id"] == BAND)
            assert events[-1].data["items"][0]["values"]["heart_rate"] == 173
    await connection.close()


async def test_privacy_a_consent_begins_and_ends_by_its_time(database_url: str) -> None:
    connection = await prepared(database_url)
    await connection.execute("DELETE FROM consent")
    for starts, ends, shown in (
        ("1 hour", "2 hours", False),
        ("-2 hours", "-1 hour", False),
        ("-1 hour", "1 hour", True),
    ):
        await connection.execute("DELETE FROM consent")
        await connection.execute(
            "INSERT INTO consent (id, community_id, person_id, what, given_by, how, starts_at, ends_at, recorded_by) "
            "VALUES (gen_random_uuid(), 'test', 'test-p1', 'vitals', 'self', 'paper', now() + $1::text::interval, "
            "now() + $2::text::interval, 'x')",
            starts,
            ends,
        )
        async with api_server(database_url) as url, client(url, "desk") as http:
            assert ("173" in said(await http.get("/communities/test/snapshot"))) == shown
    await connection.execute("UPDATE device SET person_id = NULL WHERE id = $1", BAND)
    async with api_server(database_url) as url, client(url, "desk") as http:
        assert "173" not in said(await http.get("/communities/test/snapshot"))
    await connection.close()


async def test_privacy_consents_are_the_persons_own_to_give(database_url: str) -> None:
    connection = await prepared(database_url)
    await connection.execute("UPDATE app_user SET household_id = 'test-h1' WHERE username = 'resident1'")
    given = {"what": "vitals", "given_by": "self", "how": "app"}
    path = "/people/test-p1/consents"
    async with api_server(database_url) as url, client(url, "resident1") as http:
        assert (await http.post(path, json=given, headers=once())).status_code == 403
        look = "/people/test-p1/wellbeing"
        assert (await http.get(look, headers={"X-Purpose": "family"})).status_code == 200
        await connection.execute("UPDATE consent SET withdrawn_at = now(), withdrawn_by = 'x' WHERE what = 'family'")
        assert (await http.get(look, headers={"X-Purpose": "family"})).status_code == 403
        assert (await http.get(look, headers={"X-Purpose": "self"})).status_code == 403
        await connection.execute("UPDATE person SET guardian_id = 'user-resident1' WHERE id = 'test-p1'")
        assert (await http.post(path, json=given, headers=once())).status_code == 422
        mine = given | {"given_by": "guardian"}
        assert (await http.post(path, json=mine, headers=once())).json()["valid"]
        detail = (await http.get(look, headers={"X-Purpose": "self"})).json()
        assert detail["vitals"][0]["latest"] == 173 and detail["room"] == "101"
        assert any(point["value"] == 173 for point in detail["vitals"][0]["points"])
        reads = (await http.get("/people/test-p1/health-reads")).json()["items"]
        assert [one["purpose"] for one in reads] == ["self", "family"]
    async with api_server(database_url) as url, client(url, "desk") as http:
        assert (await http.post(path, json=given, headers=once())).status_code == 422
    await connection.close()


async def test_privacy_in_an_emergency_one_account_looks_and_it_is_told(database_url: str) -> None:
    connection = await prepared(database_url)
    await connection.execute("DELETE FROM consent")
    await connection.execute("UPDATE person SET guardian_id = 'user-resident1' WHERE id = 'test-p1'")
    async with api_server(database_url) as url:
        async with client(url, "desk") as http:
            http.headers["X-Purpose"] = "emergency"
            readings: dict[str, Any] = {"url": f"/devices/{BAND}/readings", "params": {"metric": "heart_rate"}}
            assert (await http.get(**readings)).status_code == 403
            asked = {"reason": "跌倒告警后无人应答", "minutes": 30}
            opened = await http.post("/people/test-p1/emergency-access", json=asked, headers=once())
            assert opened.status_code == 201
            assert (await http.get(**readings)).status_code == 200
            detail = (await http.get("/people/test-p1/wellbeing")).json()
            assert detail["vitals"][0]["latest"] == 173 and detail["vitals_withheld"] is None
            assert (await http.get(**readings, headers={"X-Purpose": "duty"})).status_code == 403
            assert "173" not in said(await http.get("/communities/test/snapshot"))
        async with client(url, "grid1") as http:
            assert (await http.get(**readings, headers={"X-Purpose": "emergency"})).status_code == 403
        async with client(url, "admin") as http:
            shown = (await http.get("/communities/test/emergency-access")).json()["items"]
            assert [(one["person_id"], one["reason"]) for one in shown] == [("test-p1", asked["reason"])]
        async with client(url, "resident1") as http:
            reads = (await http.get("/people/test-p1/health-reads")).json()["items"]
            assert {one["what"] for one in reads} == {"access", "heart_rate", "wellbeing"}
        await connection.execute("UPDATE emergency_access SET at = at - interval '2 h', until = now()")
        async with client(url, "desk") as http:
            assert (await http.get(**readings, headers={"X-Purpose": "emergency"})).status_code == 403
    await connection.close()


async def test_privacy_property_staff_read_no_heart_rate_by_any_route(database_url: str) -> None:
    """Every GET there is, with whatever can be put into its path."""
    connection = await prepared(database_url)
    alert, order = await raise_alert(connection, BAND, rule_id=RULE, trigger={"value": 173})
    await connection.execute("UPDATE device SET created_at = now() - interval '1 d'")
    await connection.close()
    now = datetime.now(UTC)
    filled = {
        "community_id": "test", "device_id": BAND, "person_id": "test-p1", "alert_id": str(alert),
        "order_id": str(order), "name": "power", "rule_id": RULE, "plan_id": "gas_leak", "token": "x" * 22,
        "rota_id": "x", "sort": "sms", "user_id": "user-patrol1",
    }  # fmt: skip
    walked = 0
    async with api_server(database_url) as url:
        for username in ("patrol1", "street", "platform", "resident1"):
            async with client(url, username) as http:
                http.headers["X-Purpose"] = "duty"
                for router in ROUTERS:
                    for route in router.routes:
                        path = str(getattr(route, "path", "")).removeprefix("/api/v1")
                        if "GET" not in getattr(route, "methods", ()) or path.endswith("/stream"):
                            continue
                        for name in route.param_convertors:  # type: ignore[attr-defined]
                            path = path.replace(f"{{{name}}}", filled.get(name, str(uuid.uuid4())))
                        for metric in ("heart_rate", "systolic"):
                            params = {"metric": metric, "kind": "wristband", "state": "all", "month": "2026-10"}
                            params |= {"from": f"{now - timedelta(days=7):%FT%TZ}", "to": f"{now:%FT%TZ}"}
                            params |= {"devices": BAND, "metrics": metric, "at": f"{now:%FT%TZ}"}
                            text = (await http.get(path, params=params)).text
                            walked += 1
                            assert '"heart_rate":' not in text and ":173" not in text and ":199" not in text, path
                            assert "Z,173" not in text and "Z,199" not in text, path
    assert walked > 300


async def test_privacy_lists_files_and_replays_ask_for_consent_and_a_purpose(database_url: str) -> None:
    connection = await prepared(database_url)
    await connection.execute("UPDATE consent SET starts_at = now() - interval '1 h'")
    await connection.execute("UPDATE device SET created_at = now() - interval '1 d'")
    now = datetime.now(UTC)
    span = {"from": (now - timedelta(hours=3)).isoformat(), "to": (now + timedelta(minutes=1)).isoformat()}
    await add_readings(connection, BAND, "heart_rate", [(now - timedelta(hours=2), 173.0)])
    many: dict[str, Any] = {
        "url": "/communities/test/readings", "params": {"devices": BAND, "metrics": "heart_rate,battery", **span}
    }  # fmt: skip
    file: dict[str, Any] = {
        "url": "/communities/test/export/readings",
        "params": {"kind": "wristband", "metrics": "heart_rate", **span},
    }
    then: dict[str, Any] = {
        "url": "/communities/test/replay",
        "params": {"at": (now - timedelta(minutes=1)).isoformat()},
    }
    live: dict[str, Any] = {"url": "/communities/test/states"}
    earlier: dict[str, Any] = {
        "url": "/communities/test/replay",
        "params": {"at": (now - timedelta(minutes=100)).isoformat()},
    }
    duty, emergency = {"X-Purpose": "duty"}, {"X-Purpose": "emergency"}
    async with api_server(database_url) as url, client(url, "desk") as http:
        for asked in (many, file):
            assert (await http.get(**asked)).status_code == 422
            assert (await http.get(**asked, headers={"X-Purpose": "self"})).status_code == 422
            given = await http.get(**asked, headers=duty)
            assert given.status_code == 200 and "173" in given.text, given.text
        assert given.headers["X-Left-Out"] == "0"
        assert "173" in (await http.get(**then)).text
        # Of a time before the consent nothing is replayed.
        assert "173" not in said(await http.get(**earlier))
        assert "173" in (await http.get("/communities/test/states")).text
        first = await http.get("/communities/test/snapshot")
        assert "173" in first.text
        (id,) = await consent_ids(http, "vitals")
        assert (await http.post(f"/consents/{id}/withdraw")).status_code == 200
        # The very next picture, for whoever has the one before as well.
        after = await http.get("/communities/test/snapshot", headers={"If-None-Match": first.headers["ETag"]})
        assert after.status_code == 200 and "173" not in said(after) and "199" not in said(after)
        for one in (then, earlier, live):
            assert "173" not in said(await http.get(**one))
        assert (await http.get(**many, headers=duty)).status_code == 403
        bare = await http.get(**file, headers=duty)
        assert bare.text.splitlines() == ["device,ts,heart_rate"] and bare.headers["X-Left-Out"] == "1"
        assert (await http.get(**many, headers=emergency)).status_code == 403
        stated = {"reason": "跌倒告警后无人应答", "minutes": 30}
        assert (await http.post("/people/test-p1/emergency-access", json=stated, headers=once())).status_code == 201
        for asked in (many, file):
            assert "173" in (await http.get(**asked, headers=emergency)).text
    audited = await connection.fetch("SELECT detail FROM audit WHERE action = 'health.read' ORDER BY id")
    assert [(row["detail"]["purpose"], row["detail"]["metric"], row["detail"]["person"]) for row in audited] == [
        (why, "heart_rate", "test-p1") for why in ("duty", "duty", "emergency", "emergency")
    ]
    watched = await connection.fetch("SELECT detail FROM audit WHERE action = 'health.watch'")
    assert {row["detail"].get("what") for row in watched} == {None, "replay"}
    await connection.close()


async def test_privacy_a_consent_that_ends_by_its_time_leaves_the_picture_by_itself(database_url: str) -> None:
    connection = await prepared(database_url)
    async with api_server(database_url) as url, client(url, "desk") as http:
        assert "173" in (await http.get("/communities/test/snapshot")).text
        await connection.execute("UPDATE device_consent SET vitals = '{}', location = '{}'")

        async def gone() -> bool:
            return "173" not in said(await http.get("/communities/test/snapshot"))

        await until(gone)
    await connection.close()


async def test_privacy_a_band_that_changes_hands_shows_its_new_wearer_nothing_of_the_one_before(
    database_url: str,
) -> None:
    connection = await prepared(database_url)
    now = datetime.now(UTC)
    await set_state(connection, BAND, heart_rate=173.4375, systolic=199.4375, battery=51, latitude=29.71234)
    await connection.execute("DELETE FROM reading")
    await connection.execute("UPDATE consent SET starts_at = now() - interval '1 day'")
    past = [(now - timedelta(minutes=5 * n, seconds=1), 173.4375) for n in range(1, 9)]
    await add_readings(connection, BAND, "heart_rate", past)
    await connection.execute("UPDATE device SET created_at = now() - interval '1 day'")
    await add_readings(connection, BAND, "steps", [(now - timedelta(minutes=5 * n), 17300.0 - n) for n in range(1, 9)])
    alert, order = await raise_alert(connection, BAND, rule_id=RULE, trigger={"value": 173.4375})
    long = f"from={(now - timedelta(days=3)):%Y-%m-%dT%H:%M:%SZ}&to={(now + timedelta(days=1)):%Y-%m-%dT%H:%M:%SZ}"
    of_band = (
        "/communities/test/snapshot",
        "/communities/test/devices?kind=wristband",
        f"/devices/{BAND}",
        f"/devices/{BAND}/readings?metric=heart_rate&{long}&bucket_s=0",
        f"/devices/{BAND}/readings?metric=heart_rate&{long}&bucket_s=300",
        f"/devices/{BAND}/rollups?metric=heart_rate&{long}&bucket=hour",
        f"/communities/test/readings?devices={BAND}&metrics=heart_rate&{long}",
        f"/communities/test/readings?devices={BAND}&metrics=heart_rate&{long}&aggregate=max&bucket_s=60",
        f"/communities/test/export/readings?kind=wristband&metrics=heart_rate&{long}",
        f"/communities/test/replay?at={(now - timedelta(minutes=1)):%Y-%m-%dT%H:%M:%SZ}",
    )
    counted = f"/communities/test/readings?devices={BAND}&metrics=steps&{long}&aggregate=consumption&bucket_s=3600"

    async with api_server(database_url) as url, client(url, "desk") as http:
        http.headers["X-Purpose"] = "duty"
        for path in of_band:
            answer = await http.get(path)
            assert answer.status_code == 200 and "173.4375" in answer.text, (path, answer.text[:300])
        assert any(one["value"] for curve in (await http.get(counted)).json()["curves"] for one in curve["points"])
        await connection.execute(
            "INSERT INTO person (id, community_id, household_id, name) "
            "SELECT 'test-p9', community_id, household_id, '新戴' FROM person WHERE id = 'test-p1'"
        )
        for what in ("vitals", "location"):
            await connection.execute(
                "INSERT INTO consent (id, community_id, person_id, what, given_by, how, starts_at, recorded_by) "
                "VALUES (gen_random_uuid(), 'test', 'test-p9', $1, 'self', 'paper', now() - interval '1 year', 'x')",
                what,
            )
        await connection.execute("UPDATE device SET person_id = 'test-p9' WHERE id = $1", BAND)

        async def forgotten() -> bool:
            return "173.4375" not in said(await http.get("/communities/test/snapshot"))

        await until(forgotten)
        for path in (*of_band, "/people/test-p9/wellbeing", f"/alerts/{alert}", f"/orders/{order}"):
            answer = await http.get(path)
            assert answer.status_code == 200, (path, answer.text)
            assert not any(one in answer.text for one in ("173.4375", "199.4375", "29.71234", RULE)), (
                path,
                answer.text[:500],
            )
        assert not any(curve["points"] for curve in (await http.get(counted)).json()["curves"])
        assert not await connection.fetchval(
            "SELECT count(*) FROM device_states('test') AS s JOIN device AS d USING (device_no) "
            "WHERE d.id = $1 AND s.vals <> '{}'",
            BAND,
        )

        # The new wearer's own are shown from their first reading on.
        await set_state(connection, BAND, heart_rate=91.4375, battery=50)
        await add_readings(connection, BAND, "heart_rate", [(datetime.now(UTC), 91.4375)])
        for path in (of_band[2], of_band[3], of_band[6]):
            shown = (await http.get(path)).text
            assert "91.4375" in shown and "173.4375" not in shown, path
    await connection.close()
