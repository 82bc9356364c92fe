"""Screens against the running service: paired by code, read-only, lasting, cut off at once."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest

from services.api.access.pairing import LENGTH, LETTERS, new_code, shown, typed
from services.api.guard import DISPLAY_COOKIE
from services.api.live.hub import Hub
from services.domain.access import PERMISSIONS, Permission
from services.domain.vocabulary import Role
from tests.access_kit import pair
from tests.api_data import raise_alert, set_state
from tests.api_server import api_server, client, connect, stream
from tests.factory import put_community, small_community
from tests.said import lasting

CHANGE = {"X-LinHub": "1"}


@pytest.fixture
async def url(database_url: str) -> AsyncIterator[str]:
    await put_community(database_url, small_community())
    async with api_server(database_url) as url:
        yield url


def test_display_codes_have_no_look_alikes_and_are_read_however_they_are_typed() -> None:
    assert not set("B8O0I1Z2S5") & set(LETTERS) and len(set(LETTERS)) == len(LETTERS) == 26
    for _ in range(200):
        code = new_code()
        assert len(code) == LENGTH and typed(shown(code)) == code
        assert typed(f" {code[:3].lower()} {code[3:]}.") == code
    for wrong in ("", "ACDE", "ACDE-FGH0", "ACDEFGHJK", "一二三四五六七八"):
        assert typed(wrong) is None


async def test_display_is_paired_by_its_code_and_only_looks(url: str, database_url: str) -> None:
    connection = await connect(database_url)
    await set_state(connection, "test-wristband-1", heart_rate=173, battery=51)
    _, order = await raise_alert(connection, "test-gas_alarm-1")
    await connection.execute(
        "UPDATE app_user SET display_name = '欧阳志远' WHERE username = 'patrol1';",
    )
    await connection.execute("UPDATE work_order SET assignee_id = 'user-patrol1' WHERE id = $1", order)
    async with client(url) as screen, client(url, "desk") as desk:
        asked = (await screen.post("/displays/pairings")).json()
        assert re.fullmatch(f"[{LETTERS}]{{4}}-[{LETTERS}]{{4}}", asked["code"])
        assert asked["qr"].startswith("<svg") and asked["secret"] not in asked["qr"]
        claim = {"secret": asked["secret"]}
        path = f"/displays/pairings/{asked['id']}/claim"
        assert (await screen.post(path, json=claim)).json() == {"state": "waiting", "community_id": None, "name": None}
        assert (await screen.post(path, json={"secret": "x" * 43})).status_code == 404
        body = {"code": asked["code"].lower().replace("-", " "), "name": "大厅主屏", "place": "1号楼大厅"}
        made = await desk.post("/communities/test/displays", json=body)
        assert made.status_code == 201 and made.json()["status"] == "waiting"
        again = await desk.post("/communities/test/displays", json=body)
        assert again.json()["id"] == made.json()["id"]
        async with client(url, "admin") as admin:
            assert (await admin.post("/communities/test/displays", json=body)).status_code == 409
        # The first answer is lost with the power; the second counts.
        lost = await screen.post(path, json=claim)
        old = lost.cookies[DISPLAY_COOKIE]
        got = await screen.post(path, json=claim)
        assert got.json()["state"] == "paired" and got.json()["community_id"] == "test"
        kept = got.headers["set-cookie"]
        assert "HttpOnly" in kept and "SameSite=strict" in kept and "Max-Age=34560000" in kept

        me = (await screen.get("/auth/me")).json()
        assert me["role"] == "display" and me["community_id"] == "test"
        snapshot = (await screen.get("/communities/test/snapshot")).text
        assert "heart_rate" not in snapshot and "173" not in lasting(snapshot)
        assert "欧阳志远" not in snapshot and "欧**" in snapshot
        detail = await screen.get(f"/orders/{order}")
        assert detail.status_code == 200 and "欧阳志远" not in detail.text
        for method, wanted in (
            ("POST", "/me/channels"),
            ("POST", "/auth/logout"),
            ("POST", "/communities/test/reports"),
        ):
            assert (await screen.request(method, wanted, headers=CHANGE, json={})).status_code == 403, wanted
        async with client(url) as thief:
            thief.cookies.set(DISPLAY_COOKIE, old)
            assert (await thief.get("/auth/me")).status_code == 401
        listed = (await desk.get("/communities/test/displays")).json()
        assert [one["status"] for one in listed["items"]] == ["seen"]
        assert listed["items"][0]["address"] == "127.0.0.1" and listed["items"][0]["paired_by"] == "desk"
    await connection.close()


async def test_display_survives_a_restart_and_moves_its_end_on(database_url: str) -> None:
    await put_community(database_url, small_community())
    async with api_server(database_url) as url, client(url) as screen, client(url, "desk") as desk:
        id = await pair(screen, desk)
        cookie = screen.cookies[DISPLAY_COOKIE]
    connection = await connect(database_url)
    await connection.execute(
        "UPDATE display SET expires_at = now() + interval '1 h', last_seen_at = now() - interval '1 day'"
    )
    async with api_server(database_url) as url, client(url) as screen:
        screen.cookies.set(DISPLAY_COOKIE, cookie)
        async with stream(screen, "test", 0) as live:
            await live.named("hello")
        left = await connection.fetchval("SELECT expires_at - now() FROM display")
        assert left.days >= 89
        refreshed = await screen.post("/displays/me/refresh", json={"build": "abc"}, headers=CHANGE)
        assert refreshed.status_code == 200 and DISPLAY_COOKIE in refreshed.headers["set-cookie"]
        assert (await screen.post("/displays/me/refresh", json={"build": "abc"})).status_code == 403
        assert await connection.fetchval("SELECT build FROM display") == "abc"
        async with client(url, "desk") as desk:
            assert (await desk.post("/displays/me/refresh", json={})).status_code == 403
            assert (await desk.get(f"/displays/{id}")).headers["etag"] == '"1"'
            edit = {"name": "西门屏", "place": "西门"}
            assert (await desk.put(f"/displays/{id}", json=edit)).status_code == 428
            done = await desk.put(f"/displays/{id}", json=edit, headers={"If-Match": '"1"'})
            assert done.json()["name"] == "西门屏" and done.headers["etag"] == '"2"'
            assert (await desk.put(f"/displays/{id}", json=edit, headers={"If-Match": '"1"'})).status_code == 412
        told = await screen.post("/displays/me/refresh", json={}, headers=CHANGE)
        assert told.json()["name"] == "西门屏"
        assert (await screen.post("/displays/me/logout", headers=CHANGE)).status_code == 204
        screen.cookies.set(DISPLAY_COOKIE, cookie)
        told = await screen.get("/auth/me")
        assert told.status_code == 401 and "cut off" in told.json()["detail"]
    await connection.close()


async def test_display_codes_run_out_and_wrong_ones_are_limited(url: str, database_url: str) -> None:
    connection = await connect(database_url)
    async with client(url) as screen, client(url, "desk") as desk, client(url, "admin") as admin:
        asked = (await screen.post("/displays/pairings")).json()
        await connection.execute("UPDATE display_pairing SET expires_at = now() - interval '1 s'")
        body = {"code": asked["code"], "name": "x"}
        assert (await desk.post("/communities/test/displays", json=body)).status_code == 422
        claimed = await screen.post(f"/displays/pairings/{asked['id']}/claim", json={"secret": asked["secret"]})
        assert claimed.json()["state"] == "expired" and DISPLAY_COOKIE not in claimed.cookies
        good = (await screen.post("/displays/pairings")).json()
        for wrong in ("ACDE-FGHJ", "KLMN-PQRT", "0000-0000", "UVWX-Y346"):
            answer = await desk.post("/communities/test/displays", json={"code": wrong, "name": "x"})
            assert answer.status_code == 422
        many = await desk.post("/communities/test/displays", json={"code": good["code"], "name": "x"})
        assert many.status_code == 429 and int(many.headers["Retry-After"]) > 0
        # The limit is of the one who guesses.
        assert (
            await admin.post("/communities/test/displays", json={"code": good["code"], "name": "x"})
        ).status_code == 201
        statuses = [(await screen.post("/displays/pairings")).status_code for _ in range(6)]
        assert statuses[-1] == 429 and statuses[0] == 201
    await connection.close()


async def test_display_revoked_falls_back_and_the_code_of_another_community_is_out_of_reach(
    url: str, database_url: str
) -> None:
    await put_community(database_url, small_community("other", "o-"))
    async with client(url) as screen, client(url, "desk") as desk, client(url, "o-desk") as other:
        id = await pair(screen, desk)
        for path in (f"/displays/{id}", "/communities/test/displays"):
            assert (await other.get(path)).status_code == 404
        assert (await other.post(f"/displays/{id}/revoke")).status_code == 404
        async with stream(screen, "test", 0) as live:
            await live.named("hello")
            assert (await desk.post(f"/displays/{id}/revoke")).json()["status"] == "revoked"
            while await live.next() is not None:
                pass
        gone = await screen.get("/auth/me")
        assert gone.status_code == 401 and "断开" in gone.json()["detail"]
        assert (await desk.get("/communities/test/displays")).json()["items"] == []
        kept = (await desk.get("/communities/test/displays", params={"state": "all"})).json()["items"]
        assert [one["revoked_by"] for one in kept] == ["desk"]


async def test_display_cut_off_is_refused_by_who_cut_it_off_before_word_of_it_comes(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The notification of the commit goes by another connection, which may be slow or being made anew."""
    monkeypatch.setattr(Hub, "_heard", lambda *_: None)
    await put_community(database_url, small_community())
    async with api_server(database_url, session_check_s=10) as url, client(url, "desk") as desk:
        for end in ("/displays/me/logout", "/displays/{}/revoke"):
            async with client(url) as screen:
                id = await pair(screen, desk)
                cookie = screen.cookies[DISPLAY_COOKIE]
                assert [(await screen.get("/auth/me")).status_code for _ in range(3)] == [200, 200, 200]
                who = screen if end.endswith("logout") else desk
                assert (await who.post(end.format(id), headers=CHANGE)).is_success
                screen.cookies.set(DISPLAY_COOKIE, cookie)
                assert (await screen.get("/auth/me")).status_code == 401, end


def test_display_role_has_nothing_that_changes_or_tells_of_people() -> None:
    private = {Permission.HEALTH, Permission.PEOPLE, Permission.HOUSEHOLD, Permission.AUDIT, Permission.EVIDENCE}
    assert not PERMISSIONS[Role.DISPLAY] & private


async def test_display_codes_of_one_network_leave_room_for_another_s(database_url: str) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    fill = (
        "INSERT INTO display_pairing (id, code, secret_hash, address, expires_at) "
        "SELECT gen_random_uuid(), $1 || n, sha256(($1 || n)::bytea), $2::text::inet, now() + interval '9 min' "
        "FROM generate_series(1, $3::integer) AS n"
    )
    async with api_server(database_url, public_url="https://linhub.test") as url, client(url) as screen:
        await connection.execute(fill, "A", "203.0.113.7", 600)
        asked = await screen.post("/displays/pairings", headers={"Host": "evil.example"})
        assert asked.status_code == 201, "a flood from elsewhere is not this network's affair"
        assert asked.json()["address"] == "https://linhub.test/displays"
        await connection.execute(fill, "B", "127.0.0.1", 30)
        full = await screen.post("/displays/pairings")
        assert full.status_code == 429 and int(full.headers["Retry-After"]) > 0
    await connection.close()
