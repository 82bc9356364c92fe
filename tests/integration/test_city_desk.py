"""What the community sees of its platforms: the list of cases from above, and how far behind a subscription is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx

from services.api.city.models import SubscriptionIn
from tests.access_kit import with_key
from tests.api_server import api_server, client, connect
from tests.city_kit import append, order_data, subscribe
from tests.factory import put_community, small_community
from tests.integration.test_city_cases import above, act, move, opened, upload

CASES = "/communities/test/cases"


async def listed(http: httpx.AsyncClient, **query: Any) -> list[str]:
    """External ids, newest first, page by page."""
    found: list[str] = []
    cursor: dict[str, str] = {}
    while True:
        answer = await http.get(CASES, params={**query, **cursor})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        found += [one["external_id"] for one in page["items"]]
        if page["next"] is None:
            return found
        cursor = {"cursor": page["next"]}


async def test_cases_are_listed_for_the_desk_of_their_community(database_url: str, tmp_path: Any) -> None:
    await put_community(database_url, small_community())
    await put_community(database_url, small_community("other", prefix="other-"))
    stored = {"evidence_url": (tmp_path / "store").as_uri(), "evidence_reserve_bytes": 0}
    async with (
        api_server(database_url, **stored) as url,
        client(url, "admin") as admin,
        client(url, "desk") as desk,
        client(url, "patrol1") as patrol,
    ):
        async with (
            with_key(url, await above(admin)) as platform,
            with_key(url, await above(admin, "other")) as elsewhere,
        ):
            cases = {name: await opened(platform, external_id=name) for name in ("a", "b", "c", "d")}
            await opened(elsewhere, external_id="x", community_id="other")
            await act(platform, cases["a"], "urge", reason="市民再次来电")
            await act(platform, cases["b"], "withdraw", reason="撤诉")
            await move(desk, cases["c"]["id"], "cancel", reason="不属本社区")
        connection = await connect(database_url)
        past = datetime.now(UTC) - timedelta(hours=1)
        await connection.execute("UPDATE city_case SET due_at = $1 WHERE external_id IN ('b', 'd')", past)
        await connection.close()

        assert await listed(desk) == ["d", "c", "b", "a"] == await listed(desk, limit=1)
        assert await listed(desk, over="false") == ["d", "a"] and await listed(desk, over="true") == ["c", "b"]
        assert await listed(desk, state="withdrawn") == ["b"] and await listed(desk, state="returned") == ["c"]
        # The time limit of one that was over in time was never passed, whatever the clock says now.
        assert await listed(desk, late="true") == ["d", "b"] and await listed(desk, late="true", over="false") == ["d"]
        first = (await desk.get(CASES, params={"state": "received", "limit": 1})).json()["items"][0]
        assert (first["external_id"], first["title"]["zh"], first["place"], first["late"], first["account"]) == (
            "d", "楼道灯不亮", "1号楼2单元", True, "平台",
        )  # fmt: skip
        assert (await desk.get(CASES, params={"over": "false"})).json()["items"][1]["urges"] == 1

        # What was given is in the list and in the order; what was taken back is in neither.
        order = cases["d"]["id"]
        photo = (await upload(desk, f"/orders/{order}/evidence", "after")).json()["id"]
        given = await desk.post(f"/city/cases/{order}/photos", json={"evidence_id": photo})
        assert given.status_code == 200 and given.json()["photos"] == [photo]
        assert (await desk.get(CASES)).json()["items"][0]["photos"] == [photo]
        assert (await desk.get(f"/orders/{order}/cases")).json()["items"][0]["photos"] == [photo]
        assert (await desk.delete(f"/city/cases/{order}/photos/{photo}")).status_code == 204
        assert (await desk.get(CASES)).json()["items"][0]["photos"] == []

        assert (await patrol.get(CASES)).status_code == 403
        assert (await desk.get("/communities/other/cases")).status_code == 404
        assert (await desk.get(CASES, params={"cursor": "???"})).status_code == 400


async def test_how_far_behind_a_subscription_is(database_url: str) -> None:
    """Nothing delivers here. A platform that pulls keeps its own place, so of it nothing is claimed."""
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    async with api_server(database_url) as url, client(url, "admin") as admin:
        hook = (await subscribe(admin, way="webhook", url="https://events.example.cn/hook"))["subscription"]
        pull = (await subscribe(admin))["subscription"]
        assert hook["progress"]["behind"] == 0 and hook["progress"]["behind_since"] is None
        for version in range(3):
            await append(connection, "order.dispatch", order_data(version=version))
        oldest = await connection.fetchval("SELECT at FROM outbox WHERE type = 'order.dispatch' ORDER BY seq LIMIT 1")
        items = {one["id"]: one for one in (await admin.get("/city/subscriptions")).json()["items"]}
        late = items[hook["id"]]["progress"]
        assert late["behind"] == 3 and datetime.fromisoformat(late["behind_since"]) == oldest
        assert items[pull["id"]]["progress"]["behind"] is None
        await connection.execute(
            "UPDATE city_delivery SET seq = (SELECT max(seq) FROM outbox) WHERE subscription_id = $1", UUID(hook["id"])
        )
        there = (await admin.get(f"/city/subscriptions/{hook['id']}")).json()["progress"]
        assert there["behind"] == 0 and there["behind_since"] is None
    await connection.close()


async def test_ways_to_subscribe_are_published_as_the_schema_has_them(database_url: str) -> None:
    async with api_server(database_url) as url, client(url) as anybody:
        ways = (await anybody.get("/city/schemas")).json()["ways"]
    published = SubscriptionIn.model_json_schema()["$defs"]["Way"]["enum"]
    assert ways == published and {"webhook", "pull", "mqtt"} <= set(ways)
