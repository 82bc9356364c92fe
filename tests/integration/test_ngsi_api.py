"""NGSI-LD and CAP over the API: what an account is shown under which grants, and how a client of either asks."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from defusedxml.ElementTree import fromstring
from jsonschema import Draft202012Validator, FormatChecker

from services.domain.city.ngsi import TYPES
from services.domain.vocabulary import Severity
from tests.api_data import raise_alert, set_state
from tests.api_server import api_server, connect
from tests.factory import put_community, small_community
from tests.ngsi_kit import EVERYTHING, platform
from tests.said import lasting

GOLDEN = Path(__file__).parents[1] / "golden" / "ngsi"


@pytest.fixture
async def url(database_url: str) -> AsyncIterator[str]:
    await put_community(database_url, small_community())
    await put_community(database_url, small_community("other", prefix="other-"))
    async with api_server(database_url) as url:
        yield url


@pytest.fixture
async def db(url: str, database_url: str) -> AsyncIterator[Any]:
    """With a bin, an air station, a parking sensor, a common water meter and a wristband that have spoken."""
    connection = await connect(database_url)
    await connection.execute(
        "UPDATE device SET household_id = NULL, unit_id = NULL, place = '总表' WHERE id = 'test-water_meter-4'"
    )
    for community in ("test", "other"):
        await set_state(connection, f"{community}-bin-1", fill=82.0, temperature=21.0, tilt=1.0)
        await set_state(
            connection, f"{community}-environment-1", pm2_5=35.0, pm10=60.0, temperature=19.5, humidity=55.0
        )
        await set_state(connection, f"{community}-parking_sensor-2", occupied=1.0, battery=80.0)
        await set_state(connection, f"{community}-wristband-1", heart_rate=173.0, latitude=29.123, longitude=116.456)
        for number in range(1, 5):
            await set_state(connection, f"{community}-water_meter-{number}", total_m3=71.5, flow=0.1)
    yield connection
    await connection.close()


async def ids(http: httpx.AsyncClient, **parameters: Any) -> list[str]:
    answer = await http.get("/entities", params=parameters)
    assert answer.status_code == 200, answer.text
    return [one["id"] for one in answer.json()]


async def test_ngsi_entities_of_every_type_are_valid_and_of_the_accounts_community(url: str, db: Any) -> None:
    spaces = 10 * [("test", "parking_sensor")]
    for number, (community, kind) in enumerate(spaces, 10):
        await db.execute(
            "INSERT INTO device (id, community_id, kind, name, place, interval_s)"
            " VALUES ($1, $2, $3, 'p', '东区', 3600)",
            f"{community}-{kind}-{number}", community, kind,
        )  # fmt: skip
        await set_state(db, f"{community}-{kind}-{number}", occupied=float(number % 2))
    await raise_alert(db, "test-gas_alarm-1")
    await raise_alert(db, "other-gas_alarm-1")
    counts = {}
    async with platform(url, **EVERYTHING) as http:
        for name in TYPES:
            answer = await http.get("/entities", params={"type": name, "options": "keyValues", "limit": 1000})
            found = answer.json()
            counts[name] = len(found)
            check = Draft202012Validator(
                json.loads((GOLDEN / f"{name}.json").read_text()), format_checker=FormatChecker()
            )
            for one in found:
                check.validate(one)
                assert one["location"] == {"type": "Point", "coordinates": [116.0, 29.7]}
            assert "other-" not in answer.text
        assert counts.pop("Device") == await db.fetchval(
            "SELECT count(*) FROM device WHERE community_id = 'test' AND person_id IS NULL"
            " AND kind NOT IN ('gateway', 'patrol_vehicle')"
        )
        assert counts == {
            "AirQualityObserved": 1, "Alert": 1, "OffStreetParking": 1, "ParkingSpot": 11, "WasteContainer": 1,
            "WaterConsumptionObserved": 1,
        }  # fmt: skip
        parking = (
            await http.get("/entities/urn:ngsi-ld:OffStreetParking:test", params={"format": "simplified"})
        ).json()
        assert (parking["totalSpotNumber"], parking["availableSpotNumber"]) == (11, 5)
        water = (await http.get("/entities/urn:ngsi-ld:WaterConsumptionObserved:test-water_meter-4")).json()
        assert water["waterConsumption"]["value"] == 71.5 and water["waterConsumption"]["unitCode"] == "MTQ"


async def test_ngsi_shows_no_health_whatever_is_granted_and_consented_to(url: str, db: Any) -> None:
    device_no = await db.fetchval("SELECT device_no FROM device WHERE id = 'test-wristband-1'")
    always = "tstzmultirange(tstzrange(now() - interval '1 day', NULL))"
    await db.execute(
        "INSERT INTO device_consent (device_no, vitals, location, worn_since)"
        f" VALUES ($1, {always}, {always}, '-infinity')"
        f" ON CONFLICT (device_no) DO UPDATE SET vitals = {always}, location = {always}, worn_since = '-infinity'",
        device_no,
    )
    private, _ = await raise_alert(db, "test-wristband-1", rule_id="wristband.heart_rate_high")
    own, _ = await raise_alert(db, "test-wristband-1", rule_id="wristband.battery_low")
    called, _ = await raise_alert(db, "test-sos_button-1", rule_id="sos_button.sos")
    async with platform(url, **EVERYTHING) as http:
        everything = await http.get("/entities", params={"type": ",".join(TYPES), "limit": 1000})
        assert everything.status_code == 200
        assert str(private) not in everything.text and str(own) not in everything.text
        for word in ("wristband", "173", "29.123", "116.456", "sos_button-1", "door_magnet-1"):
            assert word not in lasting(everything.text), word
        assert f"urn:ngsi-ld:Alert:{called}" in everything.text, "a call for help is no vital sign"
        for id in (f"Alert:{private}", f"Alert:{own}", "Device:test-wristband-1", "Device:test-sos_button-1"):
            assert (await http.get(f"/entities/urn:ngsi-ld:{id}")).status_code == 404
        for alert in (private, own):
            assert (await http.get(f"{url}/api/v1/alerts/{alert}/cap")).status_code == 404


async def test_ngsi_is_thin_without_grants(url: str, db: Any) -> None:
    alert, _ = await raise_alert(db, "test-gas_alarm-1")
    place = await db.fetchval("SELECT place FROM device WHERE id = 'test-gas_alarm-1'")
    async with platform(url) as http:
        assert (await http.get("/types")).json()["typeList"] == [
            "AirQualityObserved", "Alert", "OffStreetParking", "WasteContainer", "WaterConsumptionObserved",
        ]  # fmt: skip
        answer = await http.get("/entities", params={"type": ",".join(TYPES), "limit": 1000})
        assert place not in answer.text and "燃气泄漏" not in answer.text and "ngsi-ld:Device" not in answer.text
        one = (await http.get(f"/entities/urn:ngsi-ld:Alert:{alert}", params={"options": "keyValues"})).json()
        assert one["severity"] == "critical" and one["alertSource"] == "urn:ngsi-ld:Community:test"
    async with platform(url, classes=["text", "location", "device"], classes_reason="联动") as http:
        one = (await http.get(f"/entities/urn:ngsi-ld:Alert:{alert}", params={"options": "keyValues"})).json()
        assert one["alertSource"] == "urn:ngsi-ld:Device:test-gas_alarm-1"
        assert one["address"]["streetAddress"] == place and one["name"] == "燃气泄漏 · Gas leak"
        home = (await http.get("/entities/urn:ngsi-ld:Device:test-water_meter-1")).json()
        assert "value" not in home, "what a home uses is nobody's, whatever is granted"


async def test_ngsi_grants_end_with_their_subscription(url: str, db: Any) -> None:
    async with platform(url, **EVERYTHING) as http:
        device = "/entities/urn:ngsi-ld:Device:test-bin-1"
        assert (await http.get(device)).status_code == 200
        await db.execute("UPDATE city_subscription SET state = 'paused'")
        assert (await http.get(device)).status_code == 404
        await db.execute("UPDATE city_subscription SET state = 'active', classes = '{text}'")
        assert (await http.get(device)).status_code == 404


async def test_ngsi_types_need_what_the_key_was_given(url: str, db: Any) -> None:
    await raise_alert(db, "test-gas_alarm-1")
    async with platform(url, scopes=["city_events", "alerts"], **EVERYTHING) as http:
        assert (await http.get("/types")).json()["typeList"] == ["Alert"]
        assert await ids(http, type="WasteContainer") == []
        assert (await http.get("/entities/urn:ngsi-ld:WasteContainer:test-bin-1")).status_code == 404
        assert len(await ids(http, type="Alert,WasteContainer")) == 1
    async with platform(url, scopes=["devices"]) as http:
        assert (await http.get("/entities", params={"type": "WasteContainer"})).status_code == 403


async def test_ngsi_scope_is_the_accounts(url: str, db: Any) -> None:
    async with platform(url) as http, platform(url, community_id=None) as everywhere:
        assert (await http.get("/entities/urn:ngsi-ld:WasteContainer:other-bin-1")).status_code == 404
        assert await ids(http, id="urn:ngsi-ld:WasteContainer:other-bin-1") == []
        mine, others = "urn:ngsi-ld:WasteContainer:test-bin-1", "urn:ngsi-ld:WasteContainer:other-bin-1"
        assert await ids(http, type="WasteContainer") == [mine]
        assert await ids(everywhere, type="WasteContainer") == [others, mine], "by community, then by id"


async def test_ngsi_query_pages_count_and_links(url: str, db: Any) -> None:
    async with platform(url, **EVERYTHING) as http:
        assert await ids(http, q="fillingLevel>=0.8") == ["urn:ngsi-ld:WasteContainer:test-bin-1"]
        assert await ids(http, type="WasteContainer", q="fillingLevel>0.82") == []
        assert await ids(http, type="AirQualityObserved", q='pm25>30;name=="environment 1"') != []
        assert await ids(http, idPattern="^urn:ngsi-ld:Waste.*$") == ["urn:ngsi-ld:WasteContainer:test-bin-1"]
        whole = await http.get("/entities", params={"type": "Device", "limit": 1000, "count": "true"})
        every = [one["id"] for one in whole.json()]
        assert whole.headers["NGSILD-Results-Count"] == str(len(every)) and every == sorted(every)
        paged: list[str] = []
        path = "/ngsi-ld/v1/entities?type=Device&limit=7"
        while path:
            page = await http.get(f"{url}{path}")
            paged += [one["id"] for one in page.json()]
            following = re.search(r'<([^>]+)>; rel="next"', page.headers["Link"])
            path = following[1] if following else ""
        assert paged == every
        assert (await http.get("/entities", params={"type": "Device", "limit": 0, "count": "true"})).json() == []
        some = await http.get("/entities", params={"type": "WasteContainer", "attrs": "fillingLevel,pm25"})
        assert [set(one) for one in some.json()] == [{"id", "type", "fillingLevel"}]


async def test_ngsi_context_is_served_here(url: str, db: Any) -> None:
    one = "/entities/urn:ngsi-ld:WasteContainer:test-bin-1"
    async with platform(url) as http:
        plain = await http.get(one)
        assert plain.headers["Content-Type"] == "application/json" and "@context" not in plain.json()
        address = re.search(r'<([^>]+)>; rel="http://www.w3.org/ns/json-ld#context"', plain.headers["Link"])
        linked = await http.get(one, headers={"Accept": "application/ld+json"})
        assert linked.headers["Content-Type"] == "application/ld+json"
        assert address is not None and linked.json()["@context"] == address[1]
        assert address[1].startswith(url)
        del http.headers["Authorization"]
        terms = await http.get(address[1])
        assert terms.headers["Content-Type"] == "application/ld+json"
        assert terms.json()["@context"]["fillingLevel"].startswith("https://smartdatamodels.org/")
        assert (await http.get(one)).status_code == 401


@pytest.mark.parametrize(
    ("path", "parameters", "status", "fault"),
    [
        ("/entities", {}, 400, "BadRequestData"),
        ("/entities", {"type": "Device", "limit": "many"}, 400, "BadRequestData"),
        ("/entities", {"type": "Device", "colour": "red"}, 400, "InvalidRequest"),
        ("/entities", {"type": "Device", "georel": "near;maxDistance==5"}, 422, "OperationNotSupported"),
        ("/entities", {"type": "Device", "q": "a~=b"}, 422, "OperationNotSupported"),
        ("/entities/urn:ngsi-ld:Device:nobody", {}, 404, "ResourceNotFound"),
        ("/entities/urn:ngsi-ld:Alert:nobody", {}, 404, "ResourceNotFound"),
        ("/entities/nonsense", {}, 400, "BadRequestData"),
        ("/entities/urn:x:y", {}, 404, "ResourceNotFound"),
        ("/types", {"colour": "red"}, 400, "InvalidRequest"),
    ],
)
async def test_ngsi_errors_are_those_of_ngsi_ld(
    url: str, path: str, parameters: dict[str, str], status: int, fault: str
) -> None:
    async with platform(url, **EVERYTHING) as http:
        answer = await http.get(path, params=parameters)
        problem = answer.json()
        assert answer.status_code == problem["status"] == status, answer.text
        assert problem["type"] == f"https://uri.etsi.org/ngsi-ld/errors/{fault}" and problem["title"] == fault
        assert answer.headers["Content-Type"] == "application/problem+json" and " · " in problem["detail"]


async def test_ngsi_refuses_tenants_media_types_and_writing(url: str) -> None:
    async with platform(url) as http:
        asked: dict[str, Any] = {"params": {"type": "WasteContainer"}}
        assert (await http.get("/entities", headers={"NGSILD-Tenant": "x"}, **asked)).status_code == 501
        assert (await http.get("/entities", headers={"Accept": "text/html"}, **asked)).status_code == 406
        assert (await http.post("/entities", json={"id": "urn:x:y", "type": "Device"})).status_code == 405
        assert (await http.get("/nothing")).status_code == 404


async def test_cap_message_of_a_critical_alert(url: str, db: Any) -> None:
    alert, _ = await raise_alert(db, "test-gas_alarm-1")
    minor, _ = await raise_alert(db, "test-gas_alarm-2", severity=Severity.MINOR)
    far, _ = await raise_alert(db, "other-gas_alarm-1")
    space = {"c": "urn:oasis:names:tc:emergency:cap:1.2"}
    path = f"{url}/api/v1/alerts/{alert}/cap"
    async with platform(url) as thin, platform(url, mark="Test", **EVERYTHING) as granted:
        answer = await thin.get(path)
        assert answer.headers["Content-Type"].startswith("application/cap+xml")
        message = fromstring(answer.content)
        said = {name: message.find(f"c:{name}", space).text for name in ("status", "msgType", "incidents")}
        assert said == {"status": "Actual", "msgType": "Alert", "incidents": str(alert)}
        assert "燃气泄漏" not in answer.text
        full = await granted.get(path)
        assert fromstring(full.content).find("c:status", space).text == "Test"
        assert "燃气泄漏" in full.text and "Gas leak" in full.text
        await db.execute("UPDATE alert SET state = 'cleared', cleared_at = now() WHERE id = $1", alert)
        assert fromstring((await thin.get(path)).content).find("c:msgType", space).text == "Cancel"
        for other in (minor, far):
            assert (await thin.get(f"{url}/api/v1/alerts/{other}/cap")).status_code == 404
