"""Programs that run longer than an access token lives: renewed in time, in turns, and logged in again when ended."""

from __future__ import annotations

import asyncio

import asyncpg
import httpx
import pytest

from device_sim.bearer import Bearer
from device_sim.theatre.api import AccountInfo, Api, ApiRefused
from tests.api_server import api_server
from tests.factory import PASSWORD, put_community, small_community

ACCESS_S = 4.0


async def _sessions(database_url: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(database_url)
    try:
        return list(await connection.fetch("SELECT id FROM app_session WHERE revoked_at IS NULL"))
    finally:
        await connection.close()


async def test_bearer_outlives_its_tokens_in_one_session(database_url: str) -> None:
    await put_community(database_url, small_community("bearer"))
    async with api_server(database_url, access_s=ACCESS_S) as url:
        base = f"{url}/api/v1"
        login = Bearer(f"{base}/auth/token", "desk", PASSWORD)
        async with httpx.AsyncClient(base_url=base, auth=login, trust_env=False, timeout=60) as http:
            tokens: set[str] = set()
            while len(tokens) < 3:
                # Ten at once whenever the token has run out: one renews, and all of them are let in.
                answers = await asyncio.gather(*(http.get("/auth/me") for _ in range(10)))
                assert [one.status_code for one in answers] == [200] * 10
                tokens |= {one.request.headers["Authorization"] for one in answers}
                await asyncio.sleep(ACCESS_S / 5)
            assert len(await _sessions(database_url)) == 1

            # Somebody ended it: the next request opens another by the password, and is done once.
            assert (await http.post("/auth/logout")).status_code == 204
            assert await _sessions(database_url) == []
            assert (await http.get("/auth/me")).json()["username"] == "desk"
            assert len(await _sessions(database_url)) == 1


async def test_theatre_acts_for_longer_than_a_token_and_says_who_may_not(database_url: str) -> None:
    home = small_community("theatre")
    await put_community(database_url, home)
    accounts = {
        "desk": AccountInfo("desk", PASSWORD, "desk", None),
        "patrol1": AccountInfo("patrol1", "not the password", "staff", "patrol"),
    }
    async with api_server(database_url, access_s=ACCESS_S) as url, Api(url, accounts) as api:
        body = {"source": "patrol", "title": "堆物", "severity": "major", "team": "patrol", "place": "1号楼"}
        first = await api.call("POST", f"communities/{home.id}/orders", as_user="desk", json=body, key="one-order")
        await asyncio.sleep(ACCESS_S * 1.1)
        again = await api.call("POST", f"communities/{home.id}/orders", as_user="desk", json=body, key="one-order")
        assert again["id"] == first["id"]
        with pytest.raises(ApiRefused, match="auth/token said 400"):
            await api.get("auth/me", as_user="patrol1")
        with pytest.raises(ApiRefused, match="no account nobody"):
            await api.get("auth/me", as_user="nobody")
