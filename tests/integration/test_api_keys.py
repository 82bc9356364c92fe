"""Keys and clients of platforms against the running service: what they open, what they never do, and how they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest

from services.api.access.credentials import admits
from services.api.live.hub import Hub
from tests.access_kit import WATCHING, key, service, with_key
from tests.api_data import raise_alert, set_state
from tests.api_server import api_server, client, connect, stream
from tests.factory import put_community, small_community


@pytest.fixture
async def url(database_url: str) -> AsyncIterator[str]:
    await put_community(database_url, small_community())
    async with api_server(database_url) as url:
        yield url


async def test_key_opens_what_its_scopes_name_and_nothing_else(url: str, database_url: str) -> None:
    async with client(url, "admin") as admin:
        account = await service(admin, community_id="test")
        made = await key(admin, account, scopes=["devices"])
        assert made["secret"].startswith(f"lhk_{made['key']['id']}_")
        listed = await admin.get("/keys")
        drawn = made["secret"].removeprefix(f"lhk_{made['key']['id']}_")
        assert len(drawn) == 43 and drawn not in listed.text
        async with with_key(url, made["secret"]) as http:
            assert (await http.get("/devices/test-bin-1")).status_code == 200
            assert (await http.get("/communities/test/alerts")).status_code == 403
            assert (await http.get("/auth/me")).status_code == 403
            assert (await http.get("/keys")).status_code == 403
        async with client(url) as http:
            http.headers["X-API-Key"] = made["secret"]
            assert (await http.get("/devices/test-bin-1")).status_code == 200
            http.headers["X-API-Key"] = made["secret"][:-1] + ("A" if made["secret"][-1] != "A" else "B")
            assert (await http.get("/devices/test-bin-1")).status_code == 401
    connection = await connect(database_url)
    kept = await connection.fetchrow("SELECT secret_hash, last_used_at FROM api_key")
    actions = [row["action"] for row in await connection.fetch("SELECT action FROM audit ORDER BY id")]
    logs = [row["detail"] for row in await connection.fetch("SELECT detail FROM audit")]
    await connection.close()
    assert len(kept["secret_hash"]) == 32 and kept["last_used_at"] is not None
    assert {"service.create", "key.create"} <= set(actions)
    assert made["secret"] not in str(logs)


async def test_key_with_the_role_of_a_desk_sees_no_vitals_unless_it_was_given_them(url: str, database_url: str) -> None:
    connection = await connect(database_url)
    await set_state(connection, "test-wristband-1", heart_rate=173, battery=51)
    await connection.close()
    async with client(url, "admin") as admin:
        account = await service(admin, "desk", community_id="test")
        blind = await key(admin, account, scopes=["devices", "cockpit"])
        seeing = await key(admin, account, scopes=["devices", "cockpit", "health"])
        for secret, sees in ((blind["secret"], False), (seeing["secret"], True)):
            async with with_key(url, secret) as http:
                for path in ("/devices/test-wristband-1", "/communities/test/snapshot"):
                    shown = await http.get(path, headers={"X-Purpose": "duty"})
                    assert ("heart_rate" in shown.text) == sees, path


async def test_key_reaches_the_communities_of_its_account_alone(url: str, database_url: str) -> None:
    await put_community(database_url, small_community("other", "o-"))
    async with client(url, "admin") as admin:
        made = await key(admin, await service(admin, community_id="test"))
        async with with_key(url, made["secret"]) as http:
            assert [one["id"] for one in (await http.get("/communities")).json()] == ["test"]
            assert (await http.get("/communities/other/alerts")).status_code == 404


async def test_key_is_refused_for_more_than_its_maker_or_its_account_may(url: str, database_url: str) -> None:
    connection = await connect(database_url)
    await connection.execute("UPDATE app_user SET community_id = 'test' WHERE username = 'admin'")
    await connection.close()
    await put_community(database_url, small_community("other", "o-"))
    async with client(url, "admin") as admin:
        account = await service(admin)
        refused = await admin.post(f"/service-accounts/{account}/keys", json={"name": "x", "scopes": ["health"]})
        assert refused.status_code == 422 and "health" in refused.json()["detail"]
        assert (await admin.post("/service-accounts", json={"name": "x", "community_id": "other"})).status_code == 404
        assert (await admin.post("/service-accounts", json={"name": "x", "role": "display"})).status_code == 422
        # A key that makes keys makes none that may more than itself.
        robot = await service(admin, "admin")
        made = await key(admin, robot, scopes=["keys", "devices"])
        async with with_key(url, made["secret"]) as http:
            more = await http.post(f"/service-accounts/{robot}/keys", json={"name": "x", "scopes": ["audit"]})
            assert more.status_code == 403 and "audit" in more.json()["detail"]
            less = await http.post(f"/service-accounts/{robot}/keys", json={"name": "x", "scopes": ["devices"]})
            assert less.status_code == 201
            assert (await http.post("/service-accounts", json={"name": "x", "role": "admin"})).status_code == 403
    async with client(url, "o-admin") as other:
        assert (await other.get("/keys")).status_code == 200


async def test_key_works_from_its_addresses_alone(url: str) -> None:
    async with client(url, "admin") as admin:
        account = await service(admin, community_id="test")
        here = await key(admin, account, addresses=["127.0.0.0/8"])
        elsewhere = await key(admin, account, addresses=["203.0.113.7", "2001:db8::/32"])
        assert elsewhere["key"]["addresses"] == ["203.0.113.7/32", "2001:db8::/32"]
        wrong = {"name": "x", "scopes": ["alerts"], "addresses": ["here"]}
        assert (await admin.post(f"/service-accounts/{account}/keys", json=wrong)).status_code == 422
    async with with_key(url, here["secret"]) as http:
        assert (await http.get("/communities/test/alerts")).status_code == 200
    async with with_key(url, elsewhere["secret"]) as http:
        refused = await http.get("/communities/test/alerts")
        assert refused.status_code == 403 and "address" in refused.json()["detail"]


@pytest.mark.parametrize(
    ("networks", "address", "admitted"),
    [
        ([], "203.0.113.7", True),
        (["203.0.113.0/24"], "203.0.113.7", True),
        (["203.0.113.0/24"], "203.0.114.7", False),
        (["203.0.113.0/24"], "::ffff:203.0.113.7", True),
        (["2001:db8::/32"], "2001:db8::1", True),
        (["2001:db8::/32"], "?", False),
    ],
)
def test_key_addresses_are_networks(networks: list[str], address: str, admitted: bool) -> None:
    assert admits(networks, address) is admitted


async def test_key_that_asks_too_often_is_told_to_wait(url: str) -> None:
    async with client(url, "admin") as admin:
        account = await service(admin, community_id="test")
        slow, other = await key(admin, account, per_minute=3), await key(admin, account, per_minute=3)
    async with with_key(url, slow["secret"]) as http:
        statuses = [(await http.get("/communities/test/alerts")).status_code for _ in range(3)]
        late = await http.get("/communities/test/alerts")
    assert statuses == [200] * 3
    assert late.status_code == 429 and 1 <= int(late.headers["Retry-After"]) <= 60
    async with with_key(url, other["secret"]) as http:
        assert (await http.get("/communities/test/alerts")).status_code == 200


async def test_key_rotated_lives_on_beside_the_new_one_until_the_overlap_ends(url: str) -> None:
    async with client(url, "admin") as admin:
        old = await key(admin, await service(admin, community_id="test"))
        new = (await admin.post(f"/keys/{old['key']['id']}/rotate", json={"overlap_s": 3600})).json()
        assert new["key"]["rotated_from"] == old["key"]["id"] and new["key"]["scopes"] == old["key"]["scopes"]
        for secret in (old["secret"], new["secret"]):
            async with with_key(url, secret) as http:
                assert (await http.get("/communities/test/alerts")).status_code == 200
        last = (await admin.post(f"/keys/{new['key']['id']}/rotate", json={"overlap_s": 0})).json()
        async with with_key(url, new["secret"]) as http:
            gone = await http.get("/communities/test/alerts")
            assert gone.status_code == 401 and "run out" in gone.json()["detail"]
        async with with_key(url, last["secret"]) as http:
            assert (await http.get("/communities/test/alerts")).status_code == 200
        assert (await admin.post(f"/keys/{new['key']['id']}/rotate", json={})).status_code == 409


async def test_key_revoked_or_its_account_disabled_is_refused_at_the_next_request(url: str) -> None:
    async with client(url, "admin") as admin:
        account = await service(admin, community_id="test")
        first, second = await key(admin, account), await key(admin, account)
        async with with_key(url, first["secret"]) as one, with_key(url, second["secret"]) as two:
            for http in (one, two):
                assert (await http.get("/communities/test/alerts")).status_code == 200
            revoked = (await admin.post(f"/keys/{first['key']['id']}/revoke")).json()
            assert revoked["status"] == "revoked"
            assert await _until(one, 401)
            assert (await two.get("/communities/test/alerts")).status_code == 200
            assert (await admin.post(f"/service-accounts/{account}/disable")).json()["disabled"]
            assert await _until(two, 401)
            assert not (await admin.post(f"/service-accounts/{account}/enable")).json()["disabled"]
            assert await _until(two, 200)
        assert [one["id"] for one in (await admin.get("/keys")).json()["items"]] == [second["key"]["id"]]
        everything = (await admin.get("/keys", params={"state": "all", "limit": 1})).json()
        following = (await admin.get("/keys", params={"state": "all", "cursor": everything["next"]})).json()
        assert len(everything["items"]) == 1 and len(following["items"]) == 1


async def test_key_that_ended_is_refused_by_who_ended_it_before_word_of_it_comes(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The notification of the commit goes by another connection, which may be slow or being made anew."""
    monkeypatch.setattr(Hub, "_heard", lambda *_: None)
    await put_community(database_url, small_community())
    async with api_server(database_url, session_check_s=10) as url, client(url, "admin") as admin:
        account = await service(admin, community_id="test")
        made = [await key(admin, account) for _ in range(3)]
        ends = [f"/keys/{made[0]['key']['id']}/revoke", f"/keys/{made[1]['key']['id']}/rotate"]
        for one, end in zip(made, [*ends, f"/service-accounts/{account}/disable"], strict=True):
            async with with_key(url, one["secret"]) as http:
                assert [(await http.get("/communities/test/alerts")).status_code for _ in range(2)] == [200, 200]
                body = {"overlap_s": 0} if end.endswith("rotate") else None
                assert (await admin.post(end, json=body)).is_success
                assert (await http.get("/communities/test/alerts")).status_code == 401, end


async def _until(http: httpx.AsyncClient, status: int) -> bool:
    """The word of the commit is on its way: a few requests at most still meet what was remembered."""
    async with asyncio.timeout(90):
        while (await http.get("/communities/test/alerts")).status_code != status:
            pass
    return True


async def test_client_gets_a_short_token_that_ends_with_the_client(url: str) -> None:
    async with client(url, "admin") as admin, client(url) as http:
        account = await service(admin, community_id="test")
        made = await key(admin, account, sort="client", scopes=["alerts", "devices", "cockpit"])
        form = {"grant_type": "client_credentials", "client_id": made["client_id"], "client_secret": made["secret"]}
        whole = (await http.post("/auth/token", data=form)).json()
        assert set(whole["scope"].split()) == {"alerts", "devices", "cockpit"} and "refresh_token" not in whole
        assert 0 < whole["expires_in"] <= 900
        basic = {"grant_type": "client_credentials", "scope": "alerts"}
        less = await http.post("/auth/token", data=basic, auth=(made["client_id"], made["secret"]))
        assert less.json()["scope"] == "alerts"
        assert (await http.post("/auth/token", data=form | {"scope": "orders"})).json()["error"] == "invalid_scope"
        wrong = await http.post("/auth/token", data=form | {"client_secret": "x" * 43})
        assert wrong.status_code == 401 and wrong.json()["error"] == "invalid_client"
        http.headers["Authorization"] = f"Bearer {less.json()['access_token']}"
        assert (await http.get("/communities/test/alerts")).status_code == 200
        assert (await http.get("/devices/test-bin-1")).status_code == 403
        http.headers["Authorization"] = f"Bearer {made['secret']}"
        assert (await http.get("/communities/test/alerts")).status_code == 401
        http.headers["Authorization"] = f"Bearer {whole['access_token']}"
        async with stream(http, "test", 0) as live:
            await live.named("hello")
            await admin.post(f"/keys/{made['key']['id']}/revoke")
            while await live.next() is not None:
                pass
        assert await _until(http, 401)
        del http.headers["Authorization"]
        assert (await http.post("/auth/token", data=form)).status_code == 401


async def test_service_account_cannot_log_in_and_is_nobody_to_send(url: str, database_url: str) -> None:
    async with client(url, "admin") as admin:
        account = await service(admin, "desk", community_id="test")
        robot = await service(admin, "admin", community_id="test")
    async with client(url) as http:
        for password in ("!", "", "x"):
            answer = await http.post("/auth/login", json={"username": account, "password": password or "y"})
            assert answer.status_code == 401
    connection = await connect(database_url)
    assert await connection.fetchval("SELECT duty_team FROM app_user WHERE id = $1", account) is None
    await raise_alert(connection, "test-gas_alarm-1")
    offered = await connection.fetch("SELECT * FROM work_order WHERE assignee_id = ANY ($1::text[])", [account, robot])
    await connection.close()
    assert offered == []


def test_key_scopes_of_the_kit_are_permissions() -> None:
    from services.domain.access import Permission

    assert {Permission(one) for one in WATCHING}
