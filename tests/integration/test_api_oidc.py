"""Login elsewhere against a provider over HTTP: there and back, and everything that must not come in this way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey
from pydantic import ValidationError

from tests.api_server import api_server, client, connect
from tests.factory import put_community, small_community
from tests.oidc_provider import CLIENT, SECRET, Provider, provider, symmetric, unsigned

OUTSIDE = "https://linhub.test"


@asynccontextmanager
async def world(database_url: str, **settings: Any) -> AsyncIterator[tuple[str, Provider]]:
    """A community, its API, and the provider that it believes."""
    await put_community(database_url, small_community())
    async with provider() as one:
        chosen = {
            "oidc_issuer": one.url,
            "oidc_client_id": CLIENT,
            "oidc_client_secret": SECRET,
            "oidc_link": "by_name",
            "public_url": OUTSIDE,
        }
        async with api_server(database_url, auth_requests_per_min=6000, **(chosen | settings)) as url:
            yield url, one


def outcome(answer: httpx.Response) -> str:
    """The word for the login page; `ok` is believed only together with a session's cookie."""
    assert answer.status_code == 303, answer.text
    word = parse_qs(urlsplit(answer.headers["Location"]).query)["oidc"][0]
    session = any(name.startswith("linhub_session=") for name in answer.headers.get_list("set-cookie"))
    assert session == (word == "ok")
    return word


async def there(http: httpx.AsyncClient) -> str:
    """To the provider and to the address it sends the browser back to."""
    begun = await http.get("/auth/oidc/start")
    assert begun.status_code == 303, begun.text
    back = await http.get(begun.headers["Location"])
    assert back.status_code == 302, back.text
    location = str(back.headers["Location"])
    assert location.startswith(OUTSIDE), "the way back is what the settings say, whatever the Host header is"
    return str(http.base_url.copy_with(path="")).rstrip("/") + location.removeprefix(OUTSIDE)


def browser(url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url=f"{url}/api/v1", trust_env=False, timeout=60)


async def login(url: str) -> str:
    async with browser(url) as http:
        return outcome(await http.get(await there(http)))


async def test_oidc_login_is_a_session_of_the_account_and_is_bound_to_its_subject(database_url: str) -> None:
    connection = await connect(database_url)
    async with world(database_url) as (url, one):
        async with browser(url) as http:
            begun = await http.get("/auth/oidc/start")
            asked = parse_qs(urlsplit(begun.headers["Location"]).query)
            assert asked["code_challenge_method"] == ["S256"] and asked["redirect_uri"][0].startswith(OUTSIDE)
            cookie = begun.headers["set-cookie"].lower()
            assert "httponly" in cookie and "samesite=lax" in cookie and asked["state"][0] not in cookie
            assert outcome(await http.get(await there(http))) == "ok"
            assert (await http.get("/auth/me")).json()["username"] == "patrol1"
            mine = (await http.get("/auth/sessions")).json()["items"]
            assert len(mine) == 1
        bound = await connection.fetch("SELECT issuer, subject, user_id FROM external_identity")
        assert [tuple(row) for row in bound] == [(one.url, "subject-1", "user-patrol1")]
        assert await connection.fetchval("SELECT count(*) FROM audit WHERE action = 'account.link'") == 1
        # From now on the subject counts: another name is still patrol1, and the name with another subject is nobody.
        one.username = "admin"
        assert await login(url) == "ok"
        one.subject, one.username = "subject-2", "patrol1"
        assert await login(url) == "unknown", "names are given away again, subjects are not"
        one.subject, one.username = "subject-3", "nobody-here"
        assert await login(url) == "unknown"
        await connection.execute("UPDATE app_user SET disabled_at = now() WHERE username = 'patrol1'")
        one.subject = "subject-1"
        assert await login(url) == "disabled"
        assert await connection.fetchval("SELECT count(*) FROM app_user WHERE username = 'nobody-here'") == 0
    await connection.close()


async def test_oidc_token_that_is_not_right_in_every_point_opens_nothing(database_url: str) -> None:
    connection = await connect(database_url)
    async with world(database_url) as (url, one):
        before = await connection.fetchval("SELECT count(*) FROM app_session")
        stranger = ECKey.generate_key("P-256", {"kid": "one"})

        def by_stranger(claims: Mapping[str, Any]) -> str:
            return jwt.encode({"alg": "ES256", "kid": "one"}, dict(claims), stranger, algorithms=["ES256"])

        def by_public_key(claims: Mapping[str, Any]) -> str:
            return symmetric(claims, one.key.as_pem(private=False).decode())

        def cut(claims: Mapping[str, Any]) -> str:
            whole = jwt.encode({"alg": "ES256", "kid": "one"}, dict(claims), one.key, algorithms=["ES256"])
            return whole.rpartition(".")[0] + "."

        spoilt: dict[str, dict[str, Any]] = {
            "nonce": {"nonce": "of another login"},
            "no nonce": {"nonce": None},
            "audience": {"aud": "another client"},
            "audiences and no party": {"aud": [CLIENT, "another"], "azp": "another"},
            "issuer": {"iss": "https://id.example"},
            "expired": {"iat": 1_000_000_000, "exp": 1_000_000_300},
            "no end": {"exp": None},
            "no subject": {"sub": None},
            "issued tomorrow": {"iat": 4_000_000_000, "exp": 4_000_000_300},
        }
        for what, wrong in spoilt.items():

            def change(claims: dict[str, Any], wrong: dict[str, Any] = wrong) -> None:
                claims.update(wrong)
                for name in [name for name, value in claims.items() if value is None]:
                    del claims[name]

            one.change = change
            assert await login(url) == "token", what
        one.change = lambda claims: None
        for write in (unsigned, by_public_key, by_stranger, cut, lambda claims: "not a token"):
            one.write = write
            assert await login(url) == "token", write
        one.write = None
        assert await connection.fetchval("SELECT count(*) FROM app_session") == before
        assert await connection.fetchval("SELECT count(*) FROM external_identity") == 0
        assert await login(url) == "ok", "nothing of it has locked out who comes rightly"
    await connection.close()


async def test_oidc_way_back_belongs_to_the_browser_that_went_and_counts_once(database_url: str) -> None:
    async with world(database_url) as (url, one), browser(url) as http, browser(url) as other:
        back = await there(http)
        exchanged = one.exchanged
        assert outcome(await other.get(back)) == "state", "another browser has no cookie"
        await there(other)
        assert outcome(await other.get(back)) == "state", "and that of its own login is of another state"
        assert one.exchanged == exchanged, "a code is not even asked about"
        kept = http.cookies.get("linhub_oidc")
        assert kept is not None
        assert outcome(await http.get(f"{back}&iss=https://id.example")) == "state"
        http.cookies.set("linhub_oidc", kept, domain="127.0.0.1", path="/api/v1/auth/oidc")
        assert outcome(await http.get(back)) == "ok"
        again = {"Cookie": f"linhub_oidc={kept}"}
        async with browser(url) as thief:
            assert outcome(await thief.get(back, headers=again)) == "token", "the code was used up"
        http.cookies.clear()
        refused = await there(http)
        denied = refused.replace("code=", "error=access_denied&nothing=")
        assert outcome(await http.get(denied)) == "denied"
        http.cookies.clear()
        forged = f"{url}/api/v1/auth/oidc/callback?code=x&state=y"
        assert outcome(await http.get(forged, headers={"Cookie": "linhub_oidc=forged"})) == "state"


async def test_oidc_provider_that_is_away_or_signs_with_keys_of_its_own_is_told(database_url: str) -> None:
    async with world(database_url) as (url, one):
        one.status = 503
        assert await login(url) == "away"
        one.status = 200
        assert await login(url) == "ok"
        # Keys that nobody has announced are not believed, however the token names them.
        one.published, one.key = one.key, ECKey.generate_key("P-256", {"kid": "one"})
        assert await login(url) == "token"
    async with (
        api_server(
            database_url,
            oidc_issuer="http://127.0.0.1:9/",
            oidc_client_id=CLIENT,
            oidc_client_secret=SECRET,
            public_url=OUTSIDE,
        ) as url,
        browser(url) as http,
    ):
        assert outcome(await http.get("/auth/oidc/start")) == "away"
        login_by_password = await http.post("/auth/login", json={"username": "desk", "password": "wrong"})
        assert login_by_password.status_code == 401, "the other way in stays open"


async def test_oidc_name_opens_no_account_that_an_administrator_has_not_linked(database_url: str) -> None:
    connection = await connect(database_url)
    async with world(database_url, oidc_link="none", oidc_role="visitor", oidc_community="test") as (url, one):
        for one.username in ("patrol1", "resident1", "desk", "admin"):
            assert await login(url) == "unknown", one.username
        one.username = "newcomer"
        assert await login(url) == "ok", "accounts that are made at a first login are no one else's"
        assert await connection.fetchval("SELECT role FROM app_user WHERE username = 'newcomer'") == "visitor"
    async with world(database_url) as (url, one):
        for one.username in ("desk", "street", "admin", "platform"):
            assert await login(url) == "unknown", f"{one.username} watches over others"
        one.username, one.subject = "patrol1", "subject-p"
        assert await login(url) == "ok"

        link = "/users/user-desk/external-identity"
        body = {"issuer": one.url, "subject": "subject-desk"}
        async with client(url, "admin") as admin:
            assert (await admin.post(link, json=body | {"issuer": "https://id.example"})).status_code == 422
            done = await admin.post(link, json=body)
            assert done.status_code == 200 and done.json()["external"], done.text
            assert (await admin.post(link, json=body)).status_code == 200, "said again, it changes nothing"
            assert (await admin.post(link, json=body | {"subject": "another"})).status_code == 409
            assert (await admin.post(link, json=body | {"subject": "subject-p"})).status_code == 409
            own = await admin.post("/users/user-admin/external-identity", json=body | {"subject": "subject-admin"})
            assert own.status_code == 403
        assert (
            await connection.fetchval(
                "SELECT count(*) FROM audit WHERE action = 'account.link' AND subject = 'user:user-desk'"
            )
            == 1
        )
        one.username, one.subject = "whatever", "subject-desk"
        async with browser(url) as http:
            assert outcome(await http.get(await there(http))) == "ok"
            assert (await http.get("/auth/me")).json()["username"] == "desk"
            async with client(url, "admin") as admin:
                assert (await admin.get("/auth/options")).json()["oidc"]["issuer"] == one.url
                assert (await admin.delete("/users/user-admin/external-identity")).status_code == 403
                for _ in "twice":
                    assert (await admin.delete(link)).status_code == 204
            assert (await http.get("/auth/me")).status_code == 401, "what began there has ended"
        assert await login(url) == "unknown", "nothing is bound any more"
        unlinked = "SELECT count(*) FROM audit WHERE action = 'account.unlink' AND subject = 'user:user-desk'"
        assert await connection.fetchval(unlinked) == 1, "said again, it changes nothing"
    await connection.close()


async def test_oidc_link_is_for_administrators_of_that_scope(database_url: str) -> None:
    connection = await connect(database_url)
    await put_community(database_url, small_community("other", "o-"))
    async with world(database_url) as (url, one):
        await connection.execute("UPDATE app_user SET community_id = 'other' WHERE username = 'o-admin'")
        body = {"issuer": one.url, "subject": "subject-x"}
        for username, status in (("o-admin", 404), ("desk", 403), ("grid1", 403)):
            async with client(url, username) as http:
                answer = await http.post("/users/user-patrol1/external-identity", json=body)
                assert answer.status_code == status, (username, answer.text)
        assert await connection.fetchval("SELECT count(*) FROM external_identity") == 0
    await connection.close()


async def test_oidc_without_a_public_address_does_not_start(database_url: str) -> None:
    with pytest.raises(ValidationError, match="LINHUB_PUBLIC_URL"):
        async with api_server(database_url, oidc_issuer="http://127.0.0.1:9/", oidc_client_id=CLIENT):
            pass
