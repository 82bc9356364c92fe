"""Sessions, tokens and accounts against running services: renewal, theft, ends across processes, lock-outs, bounds."""

from __future__ import annotations

import asyncio
from typing import Any
from uuid import uuid4

import httpx

from tests.api_server import api_server, client, connect
from tests.factory import PASSWORD, put_community, small_community

CSRF = {"X-LinHub": "1"}
NEW = "a sentence of my own"


async def token(http: httpx.AsyncClient, **form: str) -> httpx.Response:
    return await http.post("/auth/token", data=form)


async def granted(http: httpx.AsyncClient, username: str = "desk", **more: str) -> dict[str, Any]:
    answer = await token(http, grant_type="password", username=username, password=PASSWORD, **more)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def bearer(access: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {access}"}


async def renew(http: httpx.AsyncClient, refresh: str) -> httpx.Response:
    return await token(http, grant_type="refresh_token", refresh_token=refresh)


async def test_refresh_token_counts_once_and_its_theft_ends_the_session(database_url: str) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    async with api_server(database_url) as url, client(url) as http:
        first = await granted(http)
        second = (await renew(http, first["refresh_token"])).json()
        assert second["refresh_token"] != first["refresh_token"]
        raced = await renew(http, first["refresh_token"])
        assert raced.status_code == 200
        assert "refresh_token" not in raced.json(), "tabs that race get an access token and nothing else"
        assert (await http.get("/auth/me", headers=bearer(second["access_token"]))).status_code == 200
        await connection.execute("UPDATE app_session SET rotated_at = now() - interval '1 minute'")
        stolen = await renew(http, first["refresh_token"])
        assert (stolen.status_code, stolen.json()["error"]) == (400, "invalid_grant")
        assert (await renew(http, second["refresh_token"])).status_code == 400
        assert (await http.get("/auth/me", headers=bearer(second["access_token"]))).status_code == 401
        assert await connection.fetchval("SELECT count(*) FROM audit WHERE action = 'session.reuse'") == 1
    await connection.close()


async def test_renewal_whose_answer_was_lost_is_answered_again(database_url: str) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    async with api_server(database_url) as url, client(url) as http:
        first = await granted(http)
        lost = (await renew(http, first["refresh_token"])).json()
        await connection.execute("UPDATE app_session SET rotated_at = now() - interval '1 minute'")
        again = (await renew(http, first["refresh_token"])).json()
        assert (await http.get("/auth/me", headers=bearer(again["access_token"]))).status_code == 200
        assert (await renew(http, lost["refresh_token"])).status_code == 400, "the lost one is void; using it is theft"
        assert (await renew(http, again["refresh_token"])).status_code == 400
    await connection.close()


async def test_rubbish_for_a_refresh_token_ends_nobodys_session(database_url: str) -> None:
    await put_community(database_url, small_community())
    async with api_server(database_url) as url, client(url) as http:
        held = await granted(http)
        session = held["refresh_token"].split(".")[0]
        assert (await renew(http, f"{session}.guess.{'0' * 32}")).status_code == 400
        assert (await renew(http, held["refresh_token"])).status_code == 200


async def test_token_endpoint_refuses_as_the_standard_says(database_url: str) -> None:
    await put_community(database_url, small_community())
    async with api_server(database_url) as url, client(url) as http:
        scoped = await granted(http, scope="alerts users")
        assert scoped["scope"] == "alerts self"
        assert (await http.get("/communities/test/alerts", headers=bearer(scoped["access_token"]))).status_code == 200
        assert (await http.get("/communities/test/orders", headers=bearer(scoped["access_token"]))).status_code == 403
        wrong = {
            "invalid_request": [{}, {"grant_type": "password", "username": "desk"}],
            "invalid_grant": [{"grant_type": "password", "username": "desk", "password": "x"}],
            "invalid_scope": [{"grant_type": "password", "username": "desk", "password": PASSWORD, "scope": "fly"}],
            "unsupported_grant_type": [{"grant_type": "telepathy"}],
        }
        for error, forms in wrong.items():
            for form in forms:
                answer = await token(http, **form)
                assert (answer.status_code, answer.json()["error"]) == (400, error), form
                assert answer.headers["cache-control"] == "no-store"


async def test_session_ended_at_one_process_is_refused_by_the_other(database_url: str) -> None:
    await put_community(database_url, small_community())
    async with (
        api_server(database_url, session_check_s=0.2) as one,
        api_server(database_url, session_check_s=0.2) as two,
        client(one, "desk") as here,
        client(two) as there,
    ):
        there.headers["Authorization"] = here.headers["Authorization"]
        assert (await there.get("/auth/me")).status_code == 200
        assert (await here.post("/auth/logout")).status_code == 204
        async with asyncio.timeout(90):
            while (await there.get("/auth/me")).status_code == 200:  # noqa: ASYNC110
                await asyncio.sleep(0.05)


async def test_key_is_replaced_without_logging_anybody_out(database_url: str) -> None:
    await put_community(database_url, small_community())
    async with api_server(database_url) as url, client(url) as http:
        held = await granted(http)
    # KEY becomes the previous one by being given as such beside itself: what signs first is another.
    from tests.api_server import KEY

    async with api_server(database_url, secret_key="n" * 40, secret_key_previous=KEY) as url, client(url) as http:
        assert (await http.get("/auth/me", headers=bearer(held["access_token"]))).status_code == 200
        assert (await renew(http, held["refresh_token"])).status_code == 200
    async with api_server(database_url, secret_key="m" * 40) as url, client(url) as http:
        assert (await http.get("/auth/me", headers=bearer(held["access_token"]))).status_code == 401


async def test_cookies_renew_only_with_the_header_and_from_our_own_pages(database_url: str) -> None:
    await put_community(database_url, small_community())
    async with api_server(database_url) as url, client(url) as http:
        await http.post("/auth/login", json={"username": "desk", "password": PASSWORD})
        assert (await http.post("/auth/refresh")).status_code == 403
        for foreign in (
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Origin": "https://evil.example"},
        ):
            assert (await http.post("/auth/refresh", headers=CSRF | foreign)).status_code == 403, foreign
        renewed = await http.post("/auth/refresh", headers=CSRF | {"Sec-Fetch-Site": "same-origin"})
        assert renewed.status_code == 200
        cookies = renewed.headers.get_list("set-cookie")
        assert any("linhub_refresh" in one and "Path=/api/v1/auth" in one and "HttpOnly" in one for one in cookies)
        http.cookies.clear()
        assert (await http.post("/auth/refresh", headers=CSRF)).status_code == 401


async def test_lock_out_outlives_the_process_holds_elsewhere_open_and_ends_when_freed(database_url: str) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    body = {"username": "patrol1", "password": "guess"}
    right = body | {"password": PASSWORD}
    async with api_server(database_url, login_contact="值班室 0792-1234567") as url, client(url) as http:
        for _ in range(5):
            assert (await http.post("/auth/login", json=body)).status_code == 401
    contact = "值班室 0792-1234567"
    async with (
        api_server(database_url, login_contact=contact, forwarded_allow_ips="*") as url,
        client(url) as http,
        client(url, "desk") as desk,
    ):
        refused = await http.post("/auth/login", json=right)
        assert refused.status_code == 429
        assert "0792-1234567" in refused.json()["detail"]
        assert 0 < int(refused.headers["retry-after"]) <= 61
        elsewhere = {"X-Forwarded-For": "203.0.113.7"}
        assert (await http.post("/auth/login", json=right, headers=elsewhere)).status_code == 200
        listed = (await desk.post("/users/search", json={"words": "PATROL1"})).json()["items"][0]
        assert (await desk.get("/users", params={"q": "patrol1"})).status_code == 422, "a name in an address"
        assert listed["locked_until"] is not None
        assert (await desk.post(f"/users/{listed['id']}/free")).status_code == 204
        assert (await http.post("/auth/login", json=right)).status_code == 200
    assert await connection.fetchval("SELECT count(*) FROM audit WHERE action = 'account.locked'") == 1
    await connection.close()


async def test_guesses_at_once_are_all_counted(database_url: str) -> None:
    await put_community(database_url, small_community())
    async with api_server(database_url) as url, client(url) as http:
        body = {"username": "desk", "password": "guess"}
        answers = await asyncio.gather(*(http.post("/auth/login", json=body) for _ in range(12)))
        assert sorted(answer.status_code for answer in answers) == [401] * 5 + [429] * 7


async def test_account_is_made_used_and_disabled_within_bounds(database_url: str) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    await connection.execute("UPDATE app_user SET community_id = 'test' WHERE username = 'admin'")
    wish = {"username": "wang", "display_name": "王强", "role": "grid", "team": "grid", "community_id": "test"}
    fits = wish | {"grid_id": "test-grid-1"}
    async with api_server(database_url, session_check_s=0.2) as url, client(url, "admin") as admin, client(url) as http:
        key = {"Idempotency-Key": str(uuid4())}
        assert (await admin.post("/users", json=wish, headers=key)).status_code == 422, "without a grid"
        assert (await admin.post("/users", json=fits | {"grid_id": "x"}, headers=key)).status_code == 422
        above = {"username": "up", "display_name": "x", "role": "admin"}
        assert (await admin.post("/users", json=above, headers=key)).status_code == 403, "a scope above their own"
        made = await admin.post("/users", json=fits, headers=key)
        assert made.status_code == 201, made.text
        again = await admin.post("/users", json=fits, headers=key)
        assert again.json()["one_time_password"] == made.json()["one_time_password"]
        other = await admin.post("/users", json=fits, headers={"Idempotency-Key": "z"})
        assert other.status_code == 409
        once, account = made.json()["one_time_password"], made.json()["account"]

        session = (await http.post("/auth/login", json={"username": "wang", "password": once})).json()
        http.cookies.clear()
        http.headers.update(bearer(session["access_token"]))
        assert session["user"]["must_change"]
        refused = await http.get("/communities/test/orders")
        assert (refused.status_code, "one-time" in refused.json()["detail"]) == (403, True)
        assert (await http.post("/auth/password", json={"current": once, "new": "wang123456"})).status_code == 422
        assert (await http.post("/auth/password", json={"current": "x", "new": NEW})).status_code == 403
        assert (await http.post("/auth/password", json={"current": once, "new": NEW})).status_code == 204
        assert (await http.get("/communities/test/orders")).status_code == 200

        path = f"/users/{account['id']}"
        stale = await admin.post(f"{path}/disable", json={"why": "x"}, headers={"If-Match": '"1"'})
        assert stale.status_code == 412
        seen = {"If-Match": stale.headers["etag"]}
        assert (await admin.post(f"{path}/disable", json={"why": "离职"}, headers=seen)).status_code == 200
        assert (await http.get("/auth/me")).status_code == 401
        me = (await admin.get("/auth/me")).json()["id"]
        etag = (await admin.get(f"/users/{me}")).headers["etag"]
        itself = await admin.post(f"/users/{me}/disable", json={"why": "x"}, headers={"If-Match": etag})
        assert itself.status_code == 403
        text = str([dict(row) for row in await connection.fetch("SELECT * FROM audit")])
        assert once not in text
        assert NEW not in text
    await connection.close()


async def test_two_administrators_who_disable_each_other_leave_one(database_url: str) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    await connection.execute(
        "INSERT INTO app_user (id, username, password_hash, display_name, role) "
        "SELECT 'second', 'second', password_hash, 'x', 'admin' FROM app_user WHERE username = 'admin'"
    )
    await connection.execute("UPDATE app_user SET community_id = NULL WHERE username = 'admin'")
    first = await connection.fetchval("SELECT id FROM app_user WHERE username = 'admin'")
    async with api_server(database_url) as url, client(url, "admin") as one, client(url, "second") as two:
        more: dict[str, Any] = {"json": {"why": "x"}, "headers": {"If-Match": '"1"'}}
        for http in (one, two):
            assert (await http.get("/auth/me")).status_code == 200
        answers = await asyncio.gather(
            one.post("/users/second/disable", **more), two.post(f"/users/{first}/disable", **more)
        )
    assert 200 in [answer.status_code for answer in answers]
    left = "SELECT count(*) FROM app_user WHERE role = 'admin' AND disabled_at IS NULL"
    assert await connection.fetchval(left) == 1
    await connection.close()


async def test_own_sessions_are_listed_and_ended(database_url: str) -> None:
    await put_community(database_url, small_community())
    async with api_server(database_url) as url, client(url, "desk") as here, client(url, "desk") as there:
        items = (await here.get("/auth/sessions")).json()["items"]
        assert [one["current"] for one in items].count(True) == 1
        other = next(one["id"] for one in items if not one["current"])
        async with client(url, "patrol1") as stranger:
            assert (await stranger.delete(f"/auth/sessions/{other}")).status_code == 404
        assert (await here.delete(f"/auth/sessions/{other}")).status_code == 204
        assert (await there.get("/auth/me")).status_code == 401
        assert (await here.post("/auth/sessions/end-others")).json() == {"ended": 0}
        assert (await here.get("/auth/me")).status_code == 200
