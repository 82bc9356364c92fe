"""Logging in: cookies and bearer tokens, refusals alike for all reasons, limits, and sessions that end."""

from __future__ import annotations

import asyncio

import httpx
import jwt
import pytest

from services.api.settings import ApiSettings
from tests.api_server import KEY, api_server, client, connect
from tests.factory import PASSWORD, put_community, small_community

LOGIN = "/auth/login"


async def test_login_gives_a_token_and_a_cookie_that_scripts_cannot_read(database_url: str) -> None:
    await put_community(database_url, small_community())
    async with api_server(database_url) as url, client(url) as http:
        answer = await http.post(LOGIN, json={"username": "patrol1", "password": PASSWORD})
        session = answer.json()
        assert answer.status_code == 200
        assert (session["user"]["role"], session["user"]["team"], session["user"]["community_id"]) == (
            "staff",
            "patrol",
            "test",
        )
        cookie = answer.headers.get_list("set-cookie")[0].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert "path=/" in cookie
        assert "secure" not in cookie
        assert 590 < int(cookie.split("max-age=")[1].split(";")[0]) <= 600
        assert (await http.get("/auth/me")).json()["username"] == "patrol1"
        http.cookies.clear()
        assert (await http.get("/auth/me")).status_code == 401
        bearer = {"Authorization": f"Bearer {session['access_token']}"}
        assert (await http.get("/auth/me", headers=bearer)).json() == session["user"]


async def test_login_refuses_unknown_wrong_and_disabled_alike(database_url: str) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    await connection.execute("UPDATE app_user SET disabled_at = now() WHERE username = 'desk'")
    await connection.close()
    async with api_server(database_url) as url, client(url) as http:
        answers = [
            await http.post(LOGIN, json={"username": name, "password": password})
            for name, password in (("nobody", PASSWORD), ("patrol1", "wrong"), ("desk", PASSWORD))
        ]
    assert [answer.status_code for answer in answers] == [401, 401, 401]
    assert len({answer.text for answer in answers}) == 1
    assert answers[0].headers["content-type"] == "application/problem+json"
    assert answers[0].headers["www-authenticate"] == "Bearer"
    assert "set-cookie" not in answers[1].headers


async def test_login_is_limited_by_name_and_says_when_to_come_back(database_url: str) -> None:
    await put_community(database_url, small_community())
    async with api_server(database_url) as url, client(url) as http:
        for _ in range(5):
            assert (await http.post(LOGIN, json={"username": "desk", "password": "guess"})).status_code == 401
        refused = await http.post(LOGIN, json={"username": "desk", "password": PASSWORD})
        assert refused.status_code == 429
        assert 0 < int(refused.headers["retry-after"]) <= 61
        assert (await http.post(LOGIN, json={"username": "patrol1", "password": PASSWORD})).status_code == 200


async def test_cookie_needs_the_csrf_header_to_change_something_and_bearer_does_not(database_url: str) -> None:
    await put_community(database_url, small_community())
    async with api_server(database_url) as url, client(url) as http:
        token = (await http.post(LOGIN, json={"username": "desk", "password": PASSWORD})).json()["access_token"]
        refused = await http.post("/auth/logout")
        assert refused.status_code == 403
        assert "X-LinHub" in refused.json()["detail"]
        assert (await http.get("/auth/me")).status_code == 200
        assert (await http.post("/auth/logout", headers={"X-LinHub": "1"})).status_code == 204
        assert "linhub_session" not in http.cookies
        bearer = {"Authorization": f"Bearer {token}"}
        assert (await http.get("/auth/me", headers=bearer)).status_code == 401, "logging out ends the session itself"
    async with api_server(database_url) as url, client(url, "desk") as http:
        assert (await http.post("/auth/logout")).status_code == 204


@pytest.mark.parametrize(
    "change",
    ["UPDATE app_user SET disabled_at = now() WHERE username = 'desk'", "DELETE FROM app_user WHERE username = 'desk'"],
)
async def test_session_ends_within_seconds_of_the_account(database_url: str, change: str) -> None:
    await put_community(database_url, small_community())
    async with api_server(database_url, session_check_s=0.2) as url, client(url, "desk") as http:
        assert (await http.get("/auth/me")).status_code == 200
        connection = await connect(database_url)
        await connection.execute(change)
        await connection.close()
        async with asyncio.timeout(90):
            while (await http.get("/auth/me")).status_code == 200:
                pass


async def test_session_ends_with_a_new_password(database_url: str) -> None:
    await put_community(database_url, small_community())
    async with api_server(database_url, session_check_s=0.1) as url, client(url, "desk") as http:
        connection = await connect(database_url)
        await connection.execute("UPDATE app_user SET password_hash = password_hash || 'x' WHERE username = 'desk'")
        await connection.close()
        async with asyncio.timeout(90):
            while (await http.get("/auth/me")).status_code == 200:
                pass


async def test_session_refuses_forged_and_expired_tokens(database_url: str) -> None:
    await put_community(database_url, small_community())
    async with api_server(database_url) as url, client(url, "desk") as http:
        real = http.headers["Authorization"].split()[1]
        claims = jwt.decode(real, options={"verify_signature": False})
        typ = {"typ": "at+jwt"}
        same = jwt.encode(claims, KEY, algorithm="HS256", headers=typ)
        assert (await http.get("/auth/me", headers={"Authorization": f"Bearer {same}"})).status_code == 200
        forged = {
            "other key": jwt.encode(claims, "k" * 32, algorithm="HS256", headers=typ),
            "no signature": jwt.encode(claims, "", algorithm="none", headers=typ),
            "other algorithm": jwt.encode(claims, KEY.ljust(64, "x"), algorithm="HS512", headers=typ),
            "other issuer": jwt.encode({**claims, "iss": "elsewhere"}, KEY, algorithm="HS256", headers=typ),
            "no end": jwt.encode({k: v for k, v in claims.items() if k != "exp"}, KEY, algorithm="HS256", headers=typ),
            "text": "abc",
            "expired": jwt.encode({**claims, "exp": claims["exp"] - 3600}, KEY, algorithm="HS256", headers=typ),
        }
        for name, token in forged.items():
            answer = await http.get("/auth/me", headers={"Authorization": f"Bearer {token}"})
            assert answer.status_code == 401, name


async def test_errors_are_all_problems(database_url: str) -> None:
    await put_community(database_url, small_community())
    async with api_server(database_url) as url, client(url, "desk") as http:
        cases: dict[int, list[httpx.Response]] = {
            400: [await http.get("/communities/test/orders", params={"cursor": "zzz"})],
            404: [await http.get("/nowhere"), await http.get("/devices/none"), await http.get("/devices/a%00b")],
            405: [await http.delete("/communities")],
            413: [await http.post("/auth/login", content=b"x" * 70_000, headers={"content-type": "application/json"})],
            422: [
                await http.post("/auth/login", json={"username": "", "password": 5, "more": 1}),
                await http.post("/auth/login", content=b"{", headers={"content-type": "application/json"}),
                await http.post("/auth/login", json={"username": "a\0b", "password": "x"}),
                await http.get("/orders/17"),
                await http.get("/communities/test/devices", params={"limit": 100_000}),
                await http.get("/communities/test/series/power", params={"hours": 10_000}),
            ],
        }
        cases[404].append(await http.get("/communities/test/series/wind"))
    for status, answers in cases.items():
        for answer in answers:
            if answer.status_code == 422 and status == 404:
                continue  # a NUL cannot be looked up; it is refused as unstorable
            assert answer.status_code == status, answer.text
            assert answer.headers["content-type"] == "application/problem+json", answer.url
            problem = answer.json()
            assert problem["status"] == status
            assert problem["title"]
            assert " · " in problem["detail"]
            assert "x-request-id" in answer.headers


def test_settings_refuse_a_short_key_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from services.adapters.settings import from_environment

    monkeypatch.setenv("LINHUB_DATABASE_URL", "postgresql://x")
    monkeypatch.setenv("LINHUB_SECRET_KEY", "short")
    with pytest.raises(SystemExit) as ended:
        from_environment(ApiSettings)
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert said.count("\n") == 1
    assert "LINHUB_SECRET_KEY" in said
    assert "32" in said
    assert "short" not in said
