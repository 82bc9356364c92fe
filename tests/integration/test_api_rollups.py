"""Roll-ups by the API: exact figures, the community's own days, and no health data for whoever may not see it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from tests.api_data import add_readings
from tests.api_server import api_server, client, connect
from tests.factory import put_community, small_community

START = datetime(2026, 11, 1, 15, 0, tzinfo=UTC)
"""An hour before midnight in Shanghai."""
SPAN = {"from": "2026-11-01T15:00:00Z", "to": "2026-11-01T18:00:00Z"}


async def test_rollups_of_a_meter_and_of_its_community(database_url: str) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    for meter, base in ((1, 100.0), (2, 900.0)):
        points = [(START + timedelta(minutes=30 * n), base + n / 4) for n in range(5)]
        await add_readings(connection, f"test-water_meter-{meter}", "total_m3", points)
    await connection.close()
    async with api_server(database_url) as url, client(url, "desk") as http:
        path = "/devices/test-water_meter-1/rollups"
        hours = (await http.get(path, params={"metric": "total_m3", "bucket": "hour", **SPAN})).json()
        assert [(p["count"], p["used"], p["last"], p["breaks"]) for p in hours["points"]] == [
            (2, 0.25, 100.25, 0),
            (2, 0.5, 100.75, 0),
            (1, 0.25, 101.0, 0),
        ]
        days = (await http.get(path, params={"metric": "total_m3", **SPAN})).json()
        midnight = 1000 * int(datetime(2026, 11, 1, 16, 0, tzinfo=UTC).timestamp())
        assert [(p["ts_ms"], p["used"]) for p in days["points"]] == [(midnight - 86_400_000, 0.25), (midnight, 0.75)]
        whole = await http.get(
            "/communities/test/rollups", params={"kind": "water_meter", "metric": "total_m3", "bucket": "hour", **SPAN}
        )
        assert [(p["count"], p["used"]) for p in whole.json()["points"]] == [(2, 0.5), (2, 1.0), (2, 0.5)]


@pytest.mark.parametrize(("username", "status"), [("desk", 200), ("patrol1", 403)])
async def test_rollups_of_health_data_are_for_those_who_may_see_it(
    database_url: str, username: str, status: int
) -> None:
    await put_community(database_url, small_community())
    async with api_server(database_url) as url, client(url, username) as http:
        http.headers["X-Purpose"] = "duty"
        mine = await http.get("/devices/test-wristband-1/rollups", params={"metric": "heart_rate", **SPAN})
        assert mine.status_code == status
        all_of_them = {"kind": "wristband", "metric": "steps", **SPAN}
        assert (await http.get("/communities/test/rollups", params=all_of_them)).status_code == 403
    connection = await connect(database_url)
    looked = await connection.fetchval("SELECT count(*) FROM audit WHERE action LIKE '%health%'")
    await connection.close()
    assert looked == (1 if status == 200 else 0)


async def test_rollups_refuse_what_would_be_too_much(database_url: str) -> None:
    await put_community(database_url, small_community())
    async with api_server(database_url) as url, client(url, "desk") as http:
        path, long = (
            "/devices/test-water_meter-1/rollups",
            {"from": "2020-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"},
        )
        for wrong in ({"bucket": "hour", **long}, {"from": SPAN["to"], "to": SPAN["from"]}, {**SPAN, "bucket": "week"}):
            assert (await http.get(path, params={"metric": "total_m3", **wrong})).status_code == 422
        assert (await http.get(path, params={"metric": "nonsense", **SPAN})).status_code == 404
        assert (await http.get(path, params={"metric": "total_m3", **long})).json()["points"] == []
