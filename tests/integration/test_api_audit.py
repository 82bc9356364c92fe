"""The audit trail over HTTP: found by who somebody is, and a chain that says where it was broken."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from tests.api_server import api_server, client, connect
from tests.factory import put_community, small_community


@pytest.fixture
async def url(database_url: str) -> AsyncIterator[str]:
    await put_community(database_url, small_community())
    async with api_server(database_url) as url:
        yield url


async def _actors(http: httpx.AsyncClient, actor: str) -> set[str]:
    answer = await http.post("/audit/search", json={"actor": actor})
    assert answer.status_code == 200, answer.text
    return {row["actor_id"] for row in answer.json()["items"]}


async def test_audit_is_found_by_the_name_of_whoever_did_it(url: str) -> None:
    async with client(url, "desk"), client(url, "admin") as admin:
        everybody = {row["actor_id"] for row in (await admin.get("/audit")).json()["items"]}
        (me,) = {(await admin.get("/auth/me")).json()["id"]}
        assert len(everybody) > 1
        assert await _actors(admin, me) == {me}
        assert await _actors(admin, "admin") == {me}
        assert await _actors(admin, "nobody of this name") == set()
        by_id = (await admin.get("/audit", params={"actor": me})).json()["items"]
        assert {row["actor_id"] for row in by_id} == {me}
        assert (await admin.get("/audit", params={"actor": "admin"})).json()["items"] == [], "a name in an address"
        first = (await admin.post("/audit/search", json={"limit": 1})).json()
        second = (await admin.post("/audit/search", json={"limit": 1, "cursor": first["next"]})).json()
        assert second["items"][0]["id"] < first["items"][0]["id"]


async def test_audit_chain_says_which_line_was_edited(url: str, database_url: str) -> None:
    async with client(url, "desk") as desk, client(url, "admin") as admin:
        assert (await desk.get("/audit/chain")).status_code == 403
        good = (await admin.get("/audit/chain")).json()
        assert (good["wrong_id"], good["fault"]) == (None, None)
        assert good["rows"] == good["head_id"] >= 2 and len(good["head_hash"]) == 64
        connection = await connect(database_url)
        await connection.execute("ALTER TABLE audit DISABLE TRIGGER USER")
        await connection.execute("UPDATE audit SET actor_role = 'street' WHERE id = $1", good["head_id"])
        await connection.execute("ALTER TABLE audit ENABLE TRIGGER USER")
        await connection.close()
        bad = (await admin.get("/audit/chain")).json()
    assert (bad["wrong_id"], bad["fault"]) == (good["head_id"], "edited")
    assert bad["rows"] == good["rows"] - 1
