"""What the phone page leans on: whose act it is, when it was done, what an order will need, and what nobody is told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx

from tests.api_server import api_server, client
from tests.factory import put_community, small_community

ORDER = {"source": "patrol", "title": "消防通道堆物", "severity": "major", "team": "patrol", "place": "1号楼东侧"}


def _key(**more: str) -> dict[str, str]:
    return {"Idempotency-Key": str(uuid4()), **more}


async def _open(desk: httpx.AsyncClient, community: str) -> dict[str, Any]:
    answer = await desk.post(f"/communities/{community}/orders", json=ORDER, headers=_key())
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_phone_api_knows_whose_act_it_is_and_when(database_url: str) -> None:
    home = small_community("phoneapi")
    await put_community(database_url, home)
    async with (
        api_server(database_url) as url,
        client(url, "desk") as desk,
        client(url, "patrol1") as patrol,
        client(url) as nobody,
    ):
        own = (await patrol.get("/auth/me")).json()["id"]
        now = datetime.now(UTC)
        # Before the order was there, and after now by more than a clock is off: not believed, and the act stands.
        for at, believed in (
            (now - timedelta(days=2), None),
            (now + timedelta(days=2), None),
            (now + timedelta(seconds=1), "now at the latest"),
        ):
            order = await _open(desk, home.id)
            body = {"move": "accept", "version": order["version"], "acted_at": at.isoformat()}
            for account in ("somebody-else", ""):
                refused = await patrol.post(
                    f"/orders/{order['id']}/moves", json=body, headers=_key(**{"X-LinHub-Account": account})
                )
                assert refused.status_code == 412 and refused.json()["status"] == 412
            done = await patrol.post(
                f"/orders/{order['id']}/moves", json=body, headers=_key(**{"X-LinHub-Account": own})
            )
            assert done.status_code == 200, done.text
            seen = (await patrol.get(f"/orders/{order['id']}")).json()
            line = seen["history"][-1]
            acted = line["detail"].get("acted_at")
            assert (acted is None) == (believed is None)
            assert acted is None or datetime.fromisoformat(acted) <= datetime.fromisoformat(line["at"])
            # What the moves to come will ask for, so that a phone without a network can ask as well.
            assert isinstance(seen["order_class"]["needs"], dict)
        naive = {"move": "arrive", "version": seen["version"], "acted_at": "2026-11-22T08:00:00"}
        assert (await patrol.post(f"/orders/{seen['id']}/moves", json=naive, headers=_key())).status_code == 422

        # A cookie that has run out makes them nobody: not somebody else, so a renewed session sends it yet.
        report = {"category": "rubbish", "place": "北门", "language": "zh"}
        path = f"/communities/{home.id}/reports"
        late = await nobody.post(path, json=report, headers=_key(**{"X-LinHub-Account": own}))
        assert late.status_code == 401


async def test_phone_api_tells_a_stranger_of_the_ground_and_of_no_home(database_url: str) -> None:
    home = small_community("stranger")
    await put_community(database_url, home)
    async with api_server(database_url) as url, client(url) as nobody, client(url, "desk") as desk:
        (where,) = (await nobody.get("/report-communities")).json()
        assert where["id"] == home.id and set(where) == {"id", "name", "district", "street"}
        places = (await nobody.get(f"/communities/{home.id}/report-places")).json()
        assert set(places) == {"id", "name", "width", "height", "shapes", "buildings"}
        assert {key for one in places["buildings"] for key in one} == {"id", "name", "x", "y", "width", "depth"}

        building = places["buildings"][0]["id"]
        report = {
            "category": "rubbish",
            "building_id": building,
            "language": "zh",
            "text": "秘密",
            "contact_name": "王",
        }
        once = _key()
        first = await nobody.post(f"/communities/{home.id}/reports", json=report, headers=once)
        again = await nobody.post(f"/communities/{home.id}/reports", json=report, headers=once)
        assert first.status_code == 200 and again.json()["id"] == first.json()["id"]
        listed = (await desk.get(f"/communities/{home.id}/reports", params={"which": "all"})).json()
        assert len(listed["items"]) == 1

        asked = {"category": "rubbish", "building_id": building}
        told = await nobody.get(f"/communities/{home.id}/reports/told", params=asked)
        (seen,) = told.json()["items"]
        assert set(seen) == {"title", "stage", "words", "reported_at", "apart_m", "same"}
        assert "秘密" not in told.text and "王" not in told.text and first.json()["id"] not in told.text
        for missing in ("report-places", "reports/told?category=rubbish"):
            assert (await nobody.get(f"/communities/not-there/{missing}")).status_code == 404
