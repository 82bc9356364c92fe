"""Snapshot, lists, pages, figures, curves, the quarantine and the ledger, against a real database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from services.api.answers.models import CatalogueOut, DevicePage, SnapshotOut
from services.domain.devices import CATALOGUE
from services.ingest import rollups
from tests.api_data import add_readings, raise_alert, set_state
from tests.api_server import api_server, client, connect
from tests.factory import put_community, small_community


async def walk(http: httpx.AsyncClient, path: str, limit: int, **params: Any) -> list[dict[str, Any]]:
    """All rows of a list, page by page."""
    rows: list[dict[str, Any]] = []
    cursor: str | None = None
    while True:
        page = {**params, "limit": limit} | ({"cursor": cursor} if cursor else {})
        answer = await http.get(path, params=page)
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert len(body["items"]) <= limit
        rows += body["items"]
        cursor = body["next"]
        if cursor is None:
            return rows


async def test_snapshot_is_everything_at_once(database_url: str) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    await set_state(connection, "test-environment-1", temperature=21.5)
    alert, order = await raise_alert(connection, "test-gas_alarm-1")
    await raise_alert(connection, "test-gas_alarm-2", state="cleared", opens_order=False)
    head = await connection.fetchval("SELECT max(seq) FROM outbox")
    await connection.close()
    async with api_server(database_url) as url, client(url, "patrol1") as http:
        answer = await http.get("/communities/test/snapshot")
        taken = SnapshotOut.model_validate_json(answer.content)
    assert taken.cursor == head
    assert taken.build == "unbuilt"
    assert (taken.community.name, taken.community.street) == ("测试社区", "测试街道")
    assert (taken.plan.width, len(taken.plan.buildings), len(taken.plan.shapes)) == (120.0, 1, 1)
    assert {device.id for device in taken.devices} == {device.id for device in small_community().devices}
    air = next(device for device in taken.devices if device.id == "test-environment-1")
    assert (air.online, air.values) == (True, {"temperature": 21.5})
    assert air.last_seen_at is not None
    meter = next(device for device in taken.devices if device.kind == "water_meter")
    assert (meter.gateway_id, meter.building_id, meter.online, meter.values) == ("test-gateway-1", "test-b1", False, {})
    assert [(one.id, one.order_id, one.device_id) for one in taken.alerts] == [(alert, order, "test-gas_alarm-1")]
    assert [(one.id, one.alert_id, one.state) for one in taken.orders] == [(order, alert, "dispatched")]
    assert "accept" in taken.orders[0].moves
    figures = {kpi.name: kpi for kpi in taken.kpis.items}
    assert (figures["devices_online"].numerator, figures["devices_online"].denominator) == (1, len(taken.devices))
    assert figures["open_alerts"].value == 1


async def test_lists_walk_every_row_exactly_once(database_url: str) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    same = datetime.now(UTC) - timedelta(minutes=5)
    raised = [
        await raise_alert(connection, "test-gas_alarm-1", at=same, family=str(number), opens_order=number % 2 == 0)
        for number in range(12)
    ]
    raised += [await raise_alert(connection, "test-gas_alarm-2", state="cleared", family=str(n)) for n in range(5)]
    await connection.close()
    async with api_server(database_url) as url, client(url, "desk") as http:
        for limit in (1, 3, 12, 500):
            alerts = await walk(http, "/communities/test/alerts", limit)
            assert sorted(one["id"] for one in alerts) == sorted(str(alert) for alert, _ in raised[:12])
        every = await walk(http, "/communities/test/alerts", 4, state="all")
        assert sorted(one["id"] for one in every) == sorted(str(alert) for alert, _ in raised)
        assert [one["fired_at"] for one in every] == sorted((one["fired_at"] for one in every), reverse=True)
        of_device = await walk(http, "/communities/test/alerts", 2, state="all", device_id="test-gas_alarm-2")
        assert len(of_device) == 5
        orders = await walk(http, "/communities/test/orders", 2)
        assert sorted(one["id"] for one in orders) == sorted(str(order) for _, order in raised if order)
        one = await walk(http, "/communities/test/orders", 2, alert_id=str(raised[0][0]))
        assert [row["id"] for row in one] == [str(raised[0][1])]
        DevicePage.model_validate_json((await http.get("/communities/test/devices")).content)
        devices = await walk(http, "/communities/test/devices", 7)
        assert [one["id"] for one in devices] == sorted(device.id for device in small_community().devices)
        meters = await walk(http, "/communities/test/devices", 3, kind="gas_meter", building_id="test-b1")
        assert [one["kind"] for one in meters] == ["gas_meter"] * 4
        assert await walk(http, "/communities/test/devices", 3, kind="gas_meter", building_id="nowhere") == []


async def test_catalogue_is_the_code_s(database_url: str) -> None:
    await put_community(database_url, small_community())
    async with api_server(database_url) as url, client(url, "resident1") as http:
        catalogue = CatalogueOut.model_validate_json((await http.get("/catalogue")).content)
    assert [kind.name for kind in catalogue.kinds] == [kind.name for kind in CATALOGUE]
    assert {role.name for role in catalogue.roles} >= {"resident", "admin"}


async def test_public_values_are_air_and_parking_and_nothing_of_a_household(database_url: str) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    await set_state(connection, "test-environment-1", temperature=18, pm2_5=35)
    await set_state(connection, "test-parking_sensor-1", occupied=1)
    await set_state(connection, "test-parking_sensor-2", occupied=0)
    await set_state(connection, "test-water_meter-1", flow=0.4)
    await connection.close()
    async with api_server(database_url) as url, client(url, "resident1") as http:
        shown = (await http.get("/communities/test/public")).json()
    assert [station["values"] for station in shown["stations"]] == [{"temperature": 18, "pm2_5": 35}]
    assert (shown["parking_spaces"], shown["parking_left"]) == (2, 1)


async def test_kpis_count_real_orders(database_url: str) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    now = datetime.now(UTC)
    orders = [
        (await raise_alert(connection, "test-gas_alarm-1", at=now - timedelta(hours=age), family=str(age)))[1]
        for age in range(2, 8)
    ]

    async def change(number: int, what: str) -> None:
        await connection.execute(f"UPDATE work_order SET {what} WHERE id = $1", orders[number])

    quick = "accepted_at = dispatched_at + interval '30 s', arrived_at = dispatched_at + interval '9 min'"
    await change(0, f"{quick}, resolved_at = dispatched_at + interval '1 h', closed_at = now(), state = 'closed'")
    await change(1, "accepted_at = dispatched_at + interval '2 min', resolved_at = resolve_due + interval '1 s', "
                    "closed_at = now(), state = 'closed'")  # fmt: skip
    await change(2, f"{quick}, closed_at = now(), state = 'false_alarm'")
    await change(3, "resolve_due = now() - interval '1 min', paused_at = now(), state = 'paused'")
    await change(4, "resolve_due = now() - interval '1 min'")
    await change(5, "resolve_due = now() + interval '1 h'")
    await connection.close()
    async with api_server(database_url) as url, client(url, "desk") as http:
        shown = {kpi["name"]: kpi for kpi in (await http.get("/communities/test/kpis")).json()["items"]}
    counts = {name: (kpi["numerator"], kpi["denominator"]) for name, kpi in shown.items()}
    assert counts["closing"] == (2, 4)
    assert counts["closing_on_time"] == (1, 3)
    assert counts["accept_1min"] == (2, 6)
    assert counts["arrive_10min"] == (2, 6)
    assert counts["false_alarms"] == (1, 3)
    assert shown["closing_on_time"]["value"] == 33.33
    assert "÷" in shown["closing"]["formula"]["zh"]


async def test_series_of_gauges_is_the_sum_of_each_meter_s_average(database_url: str) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    start = (datetime.now(UTC) - timedelta(hours=2)).replace(minute=0, second=0, microsecond=0)
    await add_readings(
        connection, "test-electricity_meter-1", "power", [(start, 100), (start + timedelta(minutes=5), 200)]
    )
    await add_readings(connection, "test-electricity_meter-2", "power", [(start + timedelta(minutes=1), 50)])
    await add_readings(connection, "test-electricity_meter-2", "voltage", [(start + timedelta(minutes=2), 230)])
    await connection.close()
    async with api_server(database_url) as url, client(url, "patrol1") as http:
        body = (await http.get("/communities/test/series/power", params={"hours": 4, "bucket_s": 900})).json()
    known = {point["ts_ms"]: point["value"] for point in body["points"] if point["value"] is not None}
    assert known == {int(start.timestamp() * 1000): 200.0}
    assert (body["unit"], body["bucket_s"]) == ("W", 900)
    assert len(body["points"]) in (16, 17)


async def test_series_of_whole_hours_come_from_the_rollups_and_are_the_same(database_url: str) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    start = (datetime.now(UTC) - timedelta(hours=6)).replace(minute=0, second=0, microsecond=0)
    spoken = {
        "test-electricity_meter-1": {0: 100, 5: 200, 65: 600},
        "test-electricity_meter-2": {1: 50, 70: 20, 190: 5},
    }
    for device, values in spoken.items():
        readings = [(start + timedelta(minutes=minute), value) for minute, value in values.items()]
        await add_readings(connection, device, "power", readings)

    async def seen(http: Any, hours: int, bucket_s: int) -> dict[int, float]:
        params = {"hours": hours, "bucket_s": bucket_s}
        body = (await http.get("/communities/test/series/power", params=params)).json()
        return {p["ts_ms"]: p["value"] for p in body["points"] if p["value"] is not None}

    async with api_server(database_url) as url, client(url, "desk") as http:
        at = int(start.timestamp() * 1000)
        hours = {at: 200.0, at + 3_600_000: 620.0, at + 3 * 3_600_000: 5.0}
        assert await seen(http, 7, 3600) == hours
        days = await seen(http, 30, 86_400)
        partition = await connection.fetchval("SELECT partition FROM community WHERE id = 'test'")
        assert await rollups.close(connection, [partition], timedelta())
        while (await rollups.step(connection, partition, 1000)).more:
            pass
        # Other lengths: an answer is kept for a while. Without the readings, nothing but the roll-ups can say it.
        assert await seen(http, 31, 86_400) == days
        await connection.execute("DELETE FROM reading")
        assert await seen(http, 8, 3600) == hours
        assert await seen(http, 32, 86_400) == days
        assert await seen(http, 8, 1800) == {}
    await connection.close()


async def test_series_of_counters_is_what_was_consumed_and_survives_a_meter_swap(database_url: str) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    start = (datetime.now(UTC) - timedelta(hours=3)).replace(minute=0, second=0, microsecond=0)
    steps = [(-30, 10.0), (10, 10.4), (40, 10.6), (70, 11.0), (100, 2.0), (115, 2.5)]
    await add_readings(
        connection, "test-water_meter-1", "total_m3", [(start + timedelta(minutes=m), value) for m, value in steps]
    )
    await connection.close()
    at = int(start.timestamp() * 1000)
    async with api_server(database_url) as url, client(url, "desk") as http:
        body = (await http.get("/communities/test/series/water", params={"hours": 5, "bucket_s": 3600})).json()
        known = {
            point["ts_ms"] - at: round(point["value"], 6) for point in body["points"] if point["value"] is not None
        }
        assert known == {0: 0.6, 3_600_000: 0.9}
        params: dict[str, str | int] = {
            "metric": "total_m3",
            "from": start.isoformat(),
            "to": (start + timedelta(hours=2)).isoformat(),
            "bucket_s": 3600,
        }
        one = (await http.get("/devices/test-water_meter-1/readings", params=params)).json()
        assert [round(point["value"], 6) for point in one["points"]] == [0.6, 0.9]
        raw = (await http.get("/devices/test-water_meter-1/readings", params={**params, "bucket_s": 0})).json()
        assert [point["value"] for point in raw["points"]] == [10.4, 10.6, 11.0, 2.0, 2.5]


async def test_readings_refuse_ranges_nobody_can_draw(database_url: str) -> None:
    await put_community(database_url, small_community())
    async with api_server(database_url) as url, client(url, "desk") as http:
        path = "/devices/test-water_meter-1/readings"
        refused: list[dict[str, str | int]] = [
            {"metric": "flow", "bucket_s": 1},
            {"metric": "flow", "from": "2026-11-22T02:00:00Z", "to": "2026-11-22T01:00:00Z"},
            {"metric": "flow", "from": "0001-01-01T00:00:00Z"},
            {"metric": "flow", "from": "2026-11-22T02:00:00"},
            {},
        ]
        for params in refused:
            assert (await http.get(path, params=params)).status_code == 422, params
        assert (await http.get(path, params={"metric": "nonsense"})).status_code == 404


async def test_quarantine_shows_why_and_pages(database_url: str) -> None:
    await put_community(database_url, small_community())
    connection = await connect(database_url)
    await connection.executemany(
        "INSERT INTO quarantine (worker, scope, reason, detail, topic, community_id, payload, payload_size) "
        "VALUES ('w', 'message', $1, 'd', 't', $2, $3, 3)",
        [("malformed", "test", b"\xff{" + bytes(5000))] * 3 + [("future_timestamp", "test", b"{}")]
        + [("malformed", "elsewhere", b"")],
    )  # fmt: skip
    await connection.execute(
        "INSERT INTO ingest_ledger (worker, partition, lane, received, stored, duplicate, rejected) "
        "VALUES ('w', 3, 0, 10, 6, 3, 1), ('w', 3, 1, 0, 0, 0, 0)"
    )
    await connection.close()
    async with api_server(database_url) as url, client(url, "desk") as http:
        rows = await walk(http, "/communities/test/quarantine", 3)
        page = (await http.get("/communities/test/quarantine")).json()
        ledger = (await http.get("/ingest/ledger")).json()
    assert len(rows) == len({row["id"] for row in rows}) == 4
    assert page["counts"] == {"malformed": 3, "future_timestamp": 1}
    assert len(rows[-1]["payload"]) == 2048
    assert rows[-1]["payload"].startswith("\ufffd{")
    assert ledger["balanced"] is True
    assert [(row["lane"], row["received"]) for row in ledger["rows"]] == [("event", 10), ("telemetry", 0)]
